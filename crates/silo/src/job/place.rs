//! Where a silo's cgroups are: the same path below the root of each hierarchy.

use std::{
    io,
    path::{Component, Path, PathBuf},
};

use fs_err as fs;
use oriel_hcs::SystemId;

use super::Hierarchy;
use crate::error::SiloError;

/// Name of the cgroup that holds those of all silos that ask for no other.
const PARENT: &str = "oriel";

/// The path of a silo's cgroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place(PathBuf);

impl Place {
    /// The place of the system `id` below the cgroup `parent`; empty is the usual one.
    pub(crate) fn of(id: &SystemId, parent: &str) -> Result<Self, SiloError> {
        let parent = match parent.trim_matches('/') {
            "" => PARENT,
            parent => parent,
        };
        let parent = Path::new(parent);
        if !parent.components().all(|part| matches!(part, Component::Normal(_))) {
            let detail = format!("{} is no path of a cgroup", parent.display());
            return Err(SiloError::Document { detail });
        }
        Ok(Self(parent.join(&id.0)))
    }

    /// The usual place of the system `id`.
    pub(crate) fn usual(id: &SystemId) -> Self {
        Self(Path::new(PARENT).join(&id.0))
    }

    /// The directory in the hierarchy at `root`.
    pub(super) fn below(&self, root: &Path) -> PathBuf {
        root.join(&self.0)
    }

    /// Makes the directory in a hierarchy, and what is missing above it.
    pub(super) fn make(&self, root: &Path, hierarchy: &dyn Hierarchy) -> io::Result<()> {
        let mut parent = root.to_owned();
        for part in self.0.components() {
            let level = parent.join(part);
            hierarchy.give_on(&parent)?;
            fs::create_dir_all(&level)?;
            hierarchy.inherit(&parent, &level)?;
            parent = level;
        }
        Ok(())
    }

    /// Makes the cgroup that holds those of silos in the hierarchy at `root`.
    pub(super) fn ensure_parent(root: &Path) -> io::Result<()> {
        fs::create_dir_all(root.join(PARENT))
    }
}

/// Whether the kernel offers a file in cgroups of the hierarchy at `root`.
pub(super) fn offers(root: &Path, file: &str) -> bool {
    root.join(PARENT).join(file).exists() || root.join(file).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_stays_below_the_root() {
        let id = SystemId("abc".into());
        for (parent, place) in [
            ("", "oriel/abc"),
            ("/", "oriel/abc"),
            ("/a/b/", "a/b/abc"),
            ("x.slice", "x.slice/abc"),
        ] {
            assert_eq!(Place::of(&id, parent).unwrap(), Place(place.into()), "{parent}");
        }
        for parent in ["..", "a/../..", "/../a"] {
            assert!(Place::of(&id, parent).is_err(), "{parent}");
        }
    }
}
