//! A Dockerfile that comes by itself rather than in the context, as BuildKit's clients send it.

use std::{io::Read, path::Path};

use crate::{BuildError, context::Context, parse};

/// A Dockerfile with the `.dockerignore` that goes with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definition {
    /// The Dockerfile.
    pub text: Vec<u8>,
    /// What the context leaves out; empty for nothing.
    pub ignore: Vec<u8>,
}

/// A few files of a client, found as those of a context are: through links, and without case where
/// there is no other way.
#[derive(Debug)]
pub struct Files(Context);

impl Files {
    /// Unpacks an archive below `scratch`, for as long as this lives. Blocking.
    ///
    /// # Errors
    /// `Invalid` for a bad archive; `Host` when the disk refuses.
    pub fn unpack(archive: &mut dyn Read, scratch: &Path) -> Result<Self, BuildError> {
        Ok(Self(Context::unpack(archive, scratch)?))
    }

    /// The content of a file of at most `limit` bytes; `None` when there is none of that path.
    ///
    /// # Errors
    /// `Invalid` when it is longer.
    pub fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, BuildError> {
        Ok(self.0.read(path, limit)?)
    }

    /// The content of a Dockerfile.
    ///
    /// # Errors
    /// `Invalid` when there is none of that path, or when it is too long for one.
    pub fn dockerfile(&self, path: &str) -> Result<Vec<u8>, BuildError> {
        let text = self.read(path, parse::MAX_DOCKERFILE_BYTES)?;
        text.ok_or_else(|| BuildError::NoDockerfile { name: path.to_owned() })
    }
}
