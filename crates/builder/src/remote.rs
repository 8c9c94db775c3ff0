//! What addresses name: contexts of `POST /build?remote=` (an archive is a context, anything else a
//! Dockerfile that needs none), files for `ADD`, and Git repositories, which nothing here fetches.

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

/// Whether a source is an address of the web.
pub(crate) fn is_web(source: &str) -> bool {
    let lower = source.to_ascii_lowercase();
    lower.starts_with("http://") || lower.starts_with("https://")
}

/// Whether an address is that of a Git repository (buildkit's `util/gitutil`).
#[must_use]
pub fn is_git(source: &str) -> bool {
    let lower = source.to_ascii_lowercase();
    let path = lower.split(['#', '?']).next().unwrap_or_default().trim_end_matches('/');
    ["git://", "git@", "ssh://"].iter().any(|scheme| lower.starts_with(scheme))
        || is_web(source) && path.ends_with(".git")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_told_from_files() {
        for url in ["git://h/x", "git@h:x.git", "https://h/x.git", "HTTPS://h/x.git#main:dir"] {
            assert!(is_git(url), "{url}");
        }
        for url in ["https://h/x.git.zip", "https://h/x?y=.git", "github.com/x", "x.git"] {
            assert!(!is_git(url), "{url}");
        }
    }
}
