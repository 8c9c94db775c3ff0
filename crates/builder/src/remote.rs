//! Contexts that an address names (`POST /build?remote=`): an archive is a context, anything else
//! is a Dockerfile that needs none.

use std::io::{self, Read};

use tar::{Builder, Header};

use crate::{BuildError, ContextError, archive, parse};

/// Name of the Dockerfile unless the client says another.
pub(crate) const DOCKERFILE: &str = "Dockerfile";

/// Bytes that tell an archive from a text.
const FRONT: usize = 512;

/// What an address gave.
pub(crate) struct Remote<'a> {
    /// A context.
    pub(crate) archive: Box<dyn Read + 'a>,
    /// Whether that was made for a Dockerfile alone.
    pub(crate) is_dockerfile: bool,
}

/// Reads what an address gave.
pub(crate) fn read<'a>(content: &'a mut dyn Read) -> Result<Remote<'a>, BuildError> {
    let failed = |source| ContextError::Archive { source };
    let mut front = Vec::new();
    content.take(FRONT as u64).read_to_end(&mut front).map_err(failed)?;
    if archive::looks_packed(&front) {
        let archive = Box::new(io::Cursor::new(front).chain(content));
        return Ok(Remote { archive, is_dockerfile: false });
    }
    let limit = parse::MAX_DOCKERFILE_BYTES;
    let mut text = Vec::new();
    let whole = io::Cursor::new(front).chain(content);
    whole.take(limit + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > limit {
        return Err(ContextError::FileTooLong { path: DOCKERFILE.to_owned(), limit }.into());
    }
    let mut builder = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(text.len() as u64);
    builder.append_data(&mut header, DOCKERFILE, text.as_slice()).map_err(failed)?;
    let archive = builder.into_inner().map_err(failed)?;
    Ok(Remote { archive: Box::new(io::Cursor::new(archive)), is_dockerfile: true })
}
