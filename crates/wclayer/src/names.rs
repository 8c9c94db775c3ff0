//! The names a layer has had so far.
//!
//! A name that stands twice in a layer means one thing to one reader and another to the next, and
//! a link that is written through leads anywhere. Genuine producers do neither; they repeat
//! directories, though, and so may others. Windows compares without case, and so does this.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use crate::path::fold_char;
use crate::{Entry, Kind, LayerError, LayerPath};

/// Most names of a layer. Windows Server with everything has about 200 000; a set of this many
/// takes some 20 MiB.
const MAX_NAMES: u64 = 1_800_000;

/// What a name is hashed with; the keys are random, so that nobody can prepare collisions.
type NameHasher = <RandomState as std::hash::BuildHasher>::Hasher;

/// Remembers names as 64-bit hashes, eight bytes each, however long they are.
#[derive(Default)]
pub(crate) struct Names {
    keys: RandomState,
    /// Directories, those that are only implied by what is in them included.
    directories: HashSet<u64>,
    /// Everything else.
    others: HashSet<u64>,
    /// The directory of the last entry and its hash: tars are mostly depth first.
    last: Option<(LayerPath, NameHasher)>,
}

impl Names {
    /// Notes `entry`.
    ///
    /// # Errors
    /// [`LayerError::Name`] when the layer has something else of that name, or something that is
    /// no directory where the entry needs one, or when a stream has no owner;
    /// [`LayerError::Limit`].
    pub(crate) fn admit(&mut self, entry: &Entry) -> Result<(), LayerError> {
        if matches!(entry.kind, Kind::Whiteout | Kind::OpaqueWhiteout) {
            return Ok(());
        }
        let Some(parent) = entry.path.parent() else { return Ok(()) };
        let refused = |detail| Err(LayerError::Name { name: entry.path.to_string(), detail });
        let Some(mut hasher) = self.enter(parent) else {
            return refused("the layer has something else where this needs a directory");
        };
        add(&mut hasher, entry.path.file_name());
        let mut hash = hasher.finish();
        if let Kind::Stream { name, .. } = &entry.kind {
            if !self.directories.contains(&hash) && !self.others.contains(&hash) {
                return refused("a stream whose file did not come before it");
            }
            add(&mut hasher, ":");
            add(&mut hasher, name);
            hash = hasher.finish();
        }
        let fresh = match entry.kind {
            Kind::Directory => {
                self.directories.insert(hash);
                !self.others.contains(&hash)
            }
            _ => !self.directories.contains(&hash) && self.others.insert(hash),
        };
        if !fresh {
            return refused("the layer has another entry of that name");
        }
        if (self.directories.len() + self.others.len()) as u64 > MAX_NAMES {
            return Err(LayerError::Limit { what: "names", limit: MAX_NAMES });
        }
        Ok(())
    }

    /// Notes the directory `path` and all above it; `None` when one is something else.
    fn enter(&mut self, path: LayerPath) -> Option<NameHasher> {
        if let Some((_, hasher)) = self.last.as_ref().filter(|(last, _)| *last == path) {
            return Some(hasher.clone());
        }
        let mut hasher = self.keys.build_hasher();
        add(&mut hasher, path.root().name());
        for component in path.components() {
            add(&mut hasher, component);
            let hash = hasher.finish();
            if self.others.contains(&hash) {
                return None;
            }
            self.directories.insert(hash);
        }
        self.last = Some((path, hasher.clone()));
        Some(hasher)
    }
}

/// Adds one component of a name.
fn add(hasher: &mut NameHasher, component: &str) {
    component.chars().for_each(|c| hasher.write_u32(fold_char(c).into()));
    hasher.write_u32('/'.into());
}

#[cfg(test)]
mod tests {
    use super::Names;
    use crate::{Entry, FileTime, Kind, LayerError, LayerPath};

    fn entry(name: &str, kind: Kind) -> Entry {
        let path = LayerPath::parse(name).unwrap().unwrap();
        Entry::new(path, kind, FileTime::UNIX_EPOCH)
    }

    fn admitted(entries: &[(&str, Kind)]) -> Result<(), LayerError> {
        let mut names = Names::default();
        entries.iter().try_for_each(|(name, kind)| names.admit(&entry(name, kind.clone())))
    }

    const FILE: Kind = Kind::File { size: 0 };

    fn link() -> Kind {
        Kind::Symlink { target: "x".into() }
    }

    fn stream(name: &str) -> Kind {
        Kind::Stream { name: name.into(), size: 0 }
    }

    #[test]
    fn what_genuine_producers_write_is_admitted() {
        admitted(&[
            ("Files", Kind::Directory),
            ("Files/a", Kind::Directory),
            ("Files/A", Kind::Directory),
            ("Files", Kind::Directory),
            ("Files/a/x", FILE),
            ("Files/a/x", stream("s")),
            ("Files/a/x", stream("t")),
            ("Files/a", stream("s")),
            ("Files/b", Kind::Whiteout),
            ("Files/b", FILE),
            ("Files/b", Kind::Whiteout),
            ("Hives/b", FILE),
            ("UtilityVM/Files/b", FILE),
            ("Files/l", link()),
            ("Files/l", stream("s")),
        ])
        .unwrap();
    }

    #[test]
    fn one_name_is_one_thing() {
        for second in [
            ("Files/d/a", FILE),
            ("Files/D/A", FILE),
            ("Files/d/a", link()),
            ("Files/d/\u{e4}", FILE),
            ("Files/d/\u{c4}", FILE),
            ("Files/d/a", Kind::Directory),
            ("Files/d", FILE),
            ("Files/d", link()),
            ("Files/d/a/b", FILE),
            ("Files/d/A/b/c", Kind::Directory),
            ("Files/d/l/b", FILE),
            ("Files/d/a", stream("S")),
            ("Files/d/none", stream("s")),
        ] {
            let name = second.0;
            let result = admitted(&[
                ("Files/d/a", FILE),
                ("Files/d/a", stream("s")),
                ("Files/d/l", link()),
                ("Files/d/\u{e4}", FILE),
                second,
            ]);
            assert!(matches!(result, Err(LayerError::Name { .. })), "{name}");
        }
    }
}
