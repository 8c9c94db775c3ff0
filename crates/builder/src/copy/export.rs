//! Chosen files as files of the host, for `RUN --mount` to show.

use std::io::Read;
use std::path::Path;

use fs_err::File;
use oriel_image::SandboxFiles;

use super::{Chosen, Origin, Tree, open};
use crate::{BuildError, TransferError};

/// Writes files to the host.
pub(crate) struct Exporter<'a> {
    /// Where files of images are read from.
    pub(crate) source: Option<&'a SandboxFiles>,
    /// Tells whether the client has gone away.
    pub(crate) cancelled: &'a dyn Fn() -> bool,
}

impl Exporter<'_> {
    /// Writes what was chosen to `to`, which becomes a directory or a file as that is one.
    pub(crate) fn write(&self, chosen: &Chosen, to: &Path) -> Result<(), BuildError> {
        self.tree(&chosen.tree, to)
    }

    fn tree(&self, tree: &Tree, to: &Path) -> Result<(), BuildError> {
        match tree {
            Tree::File(origin) => self.file(origin, to),
            Tree::Directory(inner) => {
                fs_err::create_dir_all(to)
                    .map_err(|error| failed(TransferError::Archive(error.into())))?;
                inner.iter().try_for_each(|(name, tree)| {
                    // A host's path: only what walks out of the directory matters here.
                    if name.contains(['/', '\0']) || name == ".." || name == "." {
                        return Err(failed(TransferError::BadName { name: name.clone() }));
                    }
                    self.tree(tree, &to.join(name))
                })
            }
        }
    }

    fn file(&self, origin: &Origin, to: &Path) -> Result<(), BuildError> {
        if (self.cancelled)() {
            return Err(BuildError::Cancelled);
        }
        let mut input: Box<dyn Read + '_> = open(origin, self.source).map_err(failed)?;
        let copied = File::create(to).and_then(|mut file| {
            std::io::copy(&mut input, &mut file)?;
            match origin.modified() {
                Some(modified) => file.set_modified(modified),
                None => Ok(()),
            }
        });
        copied.map_err(|error| failed(TransferError::Archive(error.into())))
    }
}

fn failed(problem: TransferError) -> BuildError {
    BuildError::Transfer { keyword: "RUN --mount", problem }
}
