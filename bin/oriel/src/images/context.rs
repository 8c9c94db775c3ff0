//! The context of a build: the files of a directory that `.dockerignore` leaves.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use oriel_ignore::Ignore;
use tar::{Builder, Header};

use crate::connection::{PieceWriter, Pieces};

/// What is sent: files of a directory, and perhaps a Dockerfile from elsewhere.
pub(super) struct Files {
    /// The directory; none when there is but the Dockerfile.
    pub(super) root: Option<PathBuf>,
    /// What is left out of it.
    pub(super) ignore: Ignore,
    /// Paths in it that are sent whatever is ignored: the builder reads them.
    pub(super) needed: Vec<String>,
    /// Name and text of a Dockerfile that is not in the directory.
    pub(super) extra: Option<(String, Vec<u8>)>,
}

impl Files {
    /// The tar of the files, made while it is sent.
    pub(super) fn send(self) -> Pieces {
        let (writer, pieces) = Pieces::channel();
        tokio::task::spawn_blocking(move || {
            let mut out = io::BufWriter::with_capacity(64 << 10, writer);
            if let Err(error) = self.write(&mut out) {
                out.get_ref().fail(error);
            }
        });
        pieces
    }

    fn write(&self, out: &mut io::BufWriter<PieceWriter>) -> io::Result<()> {
        let mut builder = Builder::new(&mut *out);
        builder.follow_symlinks(false);
        self.pack(&mut builder)?;
        builder.finish()?;
        drop(builder);
        out.flush()
    }

    fn pack(&self, builder: &mut Builder<impl Write>) -> io::Result<()> {
        if let Some(root) = &self.root {
            self.directory(builder, root, "")?;
        }
        if let Some((name, text)) = &self.extra {
            let mut header = Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(u64::try_from(text.len()).map_err(io::Error::other)?);
            builder.append_data(&mut header, name, text.as_slice())?;
        }
        Ok(())
    }

    /// Packs what is in a directory, in the order of names, so that two builds send the same.
    fn directory(
        &self,
        builder: &mut Builder<impl Write>,
        root: &Path,
        path: &str,
    ) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in fs_err::read_dir(root.join(path))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        for name in names {
            let inside = if path.is_empty() { name } else { format!("{path}/{name}") };
            self.entry(builder, root, &inside)?;
        }
        Ok(())
    }

    fn entry(&self, builder: &mut Builder<impl Write>, root: &Path, path: &str) -> io::Result<()> {
        let place = root.join(path);
        let found = fs_err::symlink_metadata(&place)?;
        let ignored = self.ignore.excludes(path) && !self.needed.iter().any(|n| n == path);
        if found.is_dir() {
            if !ignored {
                append(builder, path, &place, &found)?;
            }
            if !ignored || self.ignore.takes_back() || self.leads_to_needed(path) {
                self.directory(builder, root, path)?;
            }
        } else if !ignored && (found.is_file() || found.is_symlink()) {
            append(builder, path, &place, &found)?;
        }
        Ok(())
    }

    fn leads_to_needed(&self, path: &str) -> bool {
        self.needed.iter().any(|needed| Path::new(needed).starts_with(path))
    }
}

/// Appends one entry; who owns it here means nothing in an image.
fn append(
    builder: &mut Builder<impl Write>,
    path: &str,
    place: &Path,
    found: &std::fs::Metadata,
) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_metadata(found);
    header.set_uid(0);
    header.set_gid(0);
    if found.is_symlink() {
        header.set_size(0);
        return builder.append_link(&mut header, path, fs_err::read_link(place)?);
    }
    if found.is_dir() {
        header.set_size(0);
        return builder.append_data(&mut header, path, io::empty());
    }
    builder.append_data(&mut header, path, fs_err::File::open(place)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(ignore: &str, needed: &[&str]) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        for file in ["Dockerfile", "a.txt", "bin/x.dll", "bin/keep/y.dll", "logs/z.log"] {
            let path = root.path().join(file);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, file).unwrap();
        }
        let files = Files {
            root: Some(root.path().to_owned()),
            ignore: Ignore::parse(ignore).unwrap(),
            needed: needed.iter().map(|name| (*name).to_owned()).collect(),
            extra: None,
        };
        let mut builder = Builder::new(Vec::new());
        files.pack(&mut builder).unwrap();
        let bytes = builder.into_inner().unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let names = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string());
        names.collect()
    }

    #[test]
    fn the_context_is_what_dockerignore_leaves() {
        assert_eq!(
            sent("", &[]),
            [
                "Dockerfile",
                "a.txt",
                "bin",
                "bin/keep",
                "bin/keep/y.dll",
                "bin/x.dll",
                "logs",
                "logs/z.log"
            ]
        );
        assert_eq!(
            sent("*\n!bin/keep", &["Dockerfile"]),
            ["Dockerfile", "bin/keep", "bin/keep/y.dll"]
        );
        assert_eq!(sent("bin\nlogs\n*.txt", &[]), ["Dockerfile"]);
        assert_eq!(sent("bin\nlogs\n*.txt", &["bin/x.dll"]), ["Dockerfile", "bin/x.dll"]);
    }
}
