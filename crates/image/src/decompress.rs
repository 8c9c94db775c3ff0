//! Streams that may be compressed.

use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use crate::ImageError;
use crate::content::{BUFFER, GZIP_LAYER, LAYER, ZSTD_LAYER};
use crate::error::Attempt;

/// Most memory for unpacking xz: what `xz -9` needs, and a little more.
const XZ_MEMORY_KIB: u32 = 80 << 10;

/// How a stream is compressed; what it begins with says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

impl Compression {
    /// Bytes that tell.
    const TELLING: u64 = 6;

    /// Looks at the start of a stream.
    pub(crate) fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::None,
        }
    }

    /// Looks at the start of `input`, which is consumed.
    pub(crate) fn read(input: impl Read) -> io::Result<Self> {
        let mut start = Vec::new();
        input.take(Self::TELLING).read_to_end(&mut start)?;
        Ok(Self::of(&start))
    }

    /// Media type of a layer that is so compressed; `None` when there is none.
    pub(crate) fn layer(self) -> Option<&'static str> {
        match self {
            Self::None => Some(LAYER),
            Self::Gzip => Some(GZIP_LAYER),
            Self::Zstd => Some(ZSTD_LAYER),
            Self::Bzip2 | Self::Xz => None,
        }
    }
}

/// Reads `input` decompressed, whatever it is compressed with.
pub(crate) fn decompressed<'a>(
    input: impl Read + Send + 'a,
) -> Result<Box<dyn Read + Send + 'a>, ImageError> {
    let attempt = || "read a compressed stream".to_owned();
    let mut input = BufReader::with_capacity(BUFFER, input);
    let mut start = Vec::new();
    input.by_ref().take(Compression::TELLING).read_to_end(&mut start).attempt(attempt)?;
    let compression = Compression::of(&start);
    let whole = io::Cursor::new(start).chain(input);
    Ok(match compression {
        Compression::None => Box::new(whole),
        Compression::Gzip => Box::new(MultiGzDecoder::new(whole)),
        Compression::Zstd => {
            Box::new(zstd::stream::read::Decoder::with_buffer(whole).attempt(attempt)?)
        }
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(whole)),
        Compression::Xz => {
            Box::new(lzma_rust2::XzReader::new_mem_limit(whole, true, XZ_MEMORY_KIB))
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::decompressed;

    /// A word and a line feed, as the programs of these names wrote it.
    const GZIP: &[u8] = &[
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0xf3, 0x2f, 0xca, 0x4c, 0xcd,
        0xe1, 0x02, 0x00, 0x42, 0xd6, 0x71, 0xed, 0x06, 0x00, 0x00, 0x00,
    ];
    const ZSTD: &[u8] = &[
        0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x58, 0x31, 0x00, 0x00, 0x4f, 0x72, 0x69, 0x65, 0x6c, 0x0a,
        0xdc, 0x79, 0xc2, 0x3a,
    ];
    const BZIP2: &[u8] = &[
        0x42, 0x5a, 0x68, 0x39, 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, 0x4d, 0x05, 0x4f, 0x95, 0x00,
        0x00, 0x00, 0xc5, 0x80, 0x00, 0x10, 0x00, 0x00, 0x82, 0x24, 0x10, 0x00, 0x20, 0x00, 0x22,
        0x18, 0x68, 0x30, 0x0a, 0xa8, 0x18, 0x5d, 0xc9, 0x14, 0xe1, 0x42, 0x41, 0x34, 0x15, 0x3e,
        0x54,
    ];
    const XZ: &[u8] = &[
        0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x04, 0xe6, 0xd6, 0xb4, 0x46, 0x02, 0x00, 0x21,
        0x01, 0x16, 0x00, 0x00, 0x00, 0x74, 0x2f, 0xe5, 0xa3, 0x01, 0x00, 0x05, 0x4f, 0x72, 0x69,
        0x65, 0x6c, 0x0a, 0x00, 0x00, 0x00, 0xd6, 0xd0, 0x36, 0x2a, 0xc4, 0xb3, 0x19, 0x98, 0x00,
        0x01, 0x1e, 0x06, 0xc1, 0x2f, 0xa4, 0x1d, 0x1f, 0xb6, 0xf3, 0x7d, 0x01, 0x00, 0x00, 0x00,
        0x00, 0x04, 0x59, 0x5a,
    ];

    #[test]
    fn streams_are_read_whatever_they_are_compressed_with() {
        for stream in [GZIP, ZSTD, BZIP2, XZ, b"Oriel\n", b""] {
            let mut text = String::new();
            decompressed(stream).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, if stream.is_empty() { "" } else { "Oriel\n" });
        }
    }

    #[test]
    fn concatenated_streams_are_one() {
        for stream in [GZIP, ZSTD, BZIP2, XZ] {
            let mut text = String::new();
            decompressed(&[stream, stream].concat()[..])
                .unwrap()
                .read_to_string(&mut text)
                .unwrap();
            assert_eq!(text, "Oriel\nOriel\n");
        }
    }

    #[test]
    fn a_stream_that_wants_too_much_memory_is_refused() {
        let mut stream = XZ.to_vec();
        // The dictionary's size, largest there is, and the check of the block's header.
        stream[16] = 40;
        let mut crc = flate2::Crc::new();
        crc.update(&stream[12..20]);
        stream[20..24].copy_from_slice(&crc.sum().to_le_bytes());
        let read = decompressed(&stream[..]).unwrap().read_to_end(&mut Vec::new());
        assert!(read.unwrap_err().to_string().contains("memory"));
    }
}
