//! Streams that may be compressed.

use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use crate::ImageError;
use crate::error::Attempt;

/// Length of the buffer before a decoder.
const BUFFER: usize = 256 * 1024;

/// Reads `input` decompressed, whatever it is compressed with: what it begins with says it.
pub(crate) fn decompressed<'a>(
    input: impl Read + Send + 'a,
) -> Result<Box<dyn Read + Send + 'a>, ImageError> {
    let attempt = || "read a compressed stream".to_owned();
    let mut input = BufReader::with_capacity(BUFFER, input);
    let mut start = Vec::new();
    input.by_ref().take(4).read_to_end(&mut start).attempt(attempt)?;
    let kind = start.clone();
    let whole = io::Cursor::new(start).chain(input);
    match kind.as_slice() {
        [0x1f, 0x8b, ..] => Ok(Box::new(MultiGzDecoder::new(whole))),
        [0x28, 0xb5, 0x2f, 0xfd] => {
            let decoder = zstd::stream::read::Decoder::with_buffer(whole).attempt(attempt)?;
            Ok(Box::new(decoder))
        }
        _ => Ok(Box::new(whole)),
    }
}
