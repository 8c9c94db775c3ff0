//! The build context: what the client sent, unpacked where it can do no harm.
//!
//! The archive comes from a client and may be hostile, so its names never become names on the
//! host: the tree is kept in memory, and each file's content goes into a numbered file of a
//! temporary directory. A path, a symbolic link or a hard link of the archive is resolved in that
//! tree only, where there is nothing to escape to.

use std::{
    collections::BTreeMap,
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use fs_err::File;
use oriel_ignore::Ignore;
use ring::digest;
use tempfile::TempDir;

use crate::{
    ContextError,
    archive::{self, EntryKind},
};

/// Most bytes of content. Well above any real context; a compressed bomb stops here.
const MAX_BYTES: u64 = 64 << 30;

/// Most entries. A large `node_modules` has a tenth of it.
const MAX_ENTRIES: usize = 1 << 20;

/// Deepest path, in components; Windows paths of 32 767 characters stay below.
const MAX_DEPTH: usize = 256;

/// Most symbolic links followed for one path, as Linux does.
const MAX_LINKS: usize = 40;

/// A build context.
#[derive(Debug)]
pub(crate) struct Context {
    /// Holds the content of the files; removed when dropped.
    scratch: TempDir,
    root: Directory,
}

type Directory = BTreeMap<String, Node>;

/// Something in the context.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// A directory.
    Directory(BTreeMap<String, Self>),
    /// A file.
    File(Blob),
    /// A symbolic link.
    Link(String),
}

/// The content of a file.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    /// Host file that holds it.
    pub(crate) path: PathBuf,
    /// SHA-256 of it.
    pub(crate) digest: [u8; 32],
    /// When it was last written.
    pub(crate) modified: Option<SystemTime>,
}

impl Context {
    /// Unpacks an archive, plain or gzip or zstd, below `scratch`.
    pub(crate) fn unpack(input: &mut dyn Read, scratch: &Path) -> Result<Self, ContextError> {
        fs_err::create_dir_all(scratch)?;
        let scratch = tempfile::Builder::new().prefix("build-").tempdir_in(scratch)?;
        let mut context = Self { scratch, root: Directory::new() };
        let mut budget = MAX_BYTES;
        let mut count = 0_usize;
        archive::read(input, &mut |path, kind, content| {
            count += 1;
            if count > MAX_ENTRIES {
                return Err(ContextError::TooManyEntries { limit: MAX_ENTRIES });
            }
            context.add(path, kind, content, (count, &mut budget))
        })?;
        Ok(context)
    }

    fn add(
        &mut self,
        path: &str,
        kind: EntryKind,
        content: &mut dyn Read,
        (number, budget): (usize, &mut u64),
    ) -> Result<(), ContextError> {
        let components = components(path)?;
        let node = match kind {
            EntryKind::Directory => Node::Directory(Directory::new()),
            EntryKind::Link { target } => Node::Link(target),
            EntryKind::HardLink { target } => {
                let found = self.exact(&self::components(&target)?);
                let Some(Node::File(blob)) = found else {
                    let path = path.to_owned();
                    return Err(ContextError::BadHardLink { path, target });
                };
                Node::File(blob.clone())
            }
            EntryKind::File { modified } => {
                let host = self.scratch.path().join(number.to_string());
                let digest = store(content, &host, budget)?;
                Node::File(Blob { path: host, digest, modified })
            }
        };
        insert(&mut self.root, &components, node, path)
    }

    /// Removes everything a `.dockerignore` excludes.
    pub(crate) fn apply(&mut self, ignore: &Ignore) {
        if !ignore.is_empty() {
            prune(&mut self.root, "", ignore);
        }
    }

    /// The content of a small file, or `None` when there is none of that path.
    pub(crate) fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, ContextError> {
        let Some((_, Node::File(blob))) = self.find(path) else { return Ok(None) };
        let mut bytes = Vec::new();
        File::open(&blob.path)?.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(ContextError::FileTooLong { path: path.to_owned(), limit });
        }
        Ok(Some(bytes))
    }

    /// Finds what a path names, both separators allowed, following symbolic links within the
    /// context. Names are compared with case first and without case then, as Windows would find
    /// them. Returns the name it has in the context as well.
    pub(crate) fn find(&self, path: &str) -> Option<(String, &Node)> {
        let mut waiting: Vec<String> =
            path.split(['/', '\\']).rev().filter(|name| !name.is_empty()).map(Into::into).collect();
        let mut trail: Vec<(&str, &Directory)> = vec![("", &self.root)];
        let mut links = 0;
        while let Some(name) = waiting.pop() {
            if name == "." {
                continue;
            }
            if name == ".." {
                if trail.len() > 1 {
                    trail.pop();
                }
                continue;
            }
            let (_, directory) = trail.last()?;
            let (found, node) = entry(directory, &name)?;
            match node {
                Node::Directory(inner) => trail.push((found, inner)),
                Node::File(_) if waiting.is_empty() => return Some((found.clone(), node)),
                Node::File(_) => return None,
                Node::Link(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return None;
                    }
                    if target.starts_with('/') {
                        trail.truncate(1);
                    }
                    let parts = target.split('/').rev().filter(|name| !name.is_empty());
                    waiting.extend(parts.map(str::to_owned));
                }
            }
        }
        self.directory_node(&trail)
    }

    /// The node of the directory at the end of a trail. The root has no node of its own, so its
    /// callers get `None` and ask [`Context::root`].
    fn directory_node<'a>(&'a self, trail: &[(&str, &'a Directory)]) -> Option<(String, &'a Node)> {
        let [.., (_, parent), (name, _)] = trail else { return None };
        parent.get_key_value(*name).map(|(name, node)| (name.clone(), node))
    }

    /// Whether a path names the context's own directory, such as `.` or `/`.
    pub(crate) fn is_root(path: &str) -> bool {
        path.split(['/', '\\']).all(|name| name.is_empty() || name == "." || name == "..")
    }

    /// Keeps a text as long as the context lives.
    pub(crate) fn keep(&self, text: &[u8]) -> Result<Blob, ContextError> {
        self.keep_content(&mut &*text, &mut { MAX_BYTES })
    }

    /// Keeps what is read as long as the context lives, at most `budget` bytes.
    pub(crate) fn keep_content(
        &self,
        content: &mut dyn Read,
        budget: &mut u64,
    ) -> Result<Blob, ContextError> {
        let (_, path) = tempfile::Builder::new()
            .prefix("text-")
            .tempfile_in(self.scratch())?
            .keep()
            .map_err(|error| ContextError::from(error.error))?;
        let digest = store(content, &path, budget)?;
        Ok(Blob { path, digest, modified: None })
    }

    /// The temporary directory, in which others may make their own.
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// The context's own directory.
    pub(crate) fn root(&self) -> &BTreeMap<String, Node> {
        &self.root
    }

    /// What is at a path in the archive's own terms.
    fn exact(&self, components: &[&str]) -> Option<&Node> {
        let (last, parents) = components.split_last()?;
        let mut directory = &self.root;
        for name in parents {
            let Some(Node::Directory(inner)) = directory.get(*name) else { return None };
            directory = inner;
        }
        directory.get(*last)
    }
}

/// Finds a name, with case first and without case then.
fn entry<'a>(directory: &'a Directory, name: &str) -> Option<(&'a String, &'a Node)> {
    directory.get_key_value(name).or_else(|| {
        let folded = name.to_lowercase();
        directory.iter().find(|(candidate, _)| candidate.to_lowercase() == folded)
    })
}

/// Splits a path of the archive, refusing what points outside.
fn components(path: &str) -> Result<Vec<&str>, ContextError> {
    let outside = || ContextError::Outside { path: path.to_owned() };
    if path.starts_with('/') || path.contains('\0') {
        return Err(outside());
    }
    let mut components = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => return Err(outside()),
            name => components.push(name),
        }
    }
    if components.len() > MAX_DEPTH {
        return Err(ContextError::TooDeep { limit: MAX_DEPTH });
    }
    Ok(components)
}

/// Puts a node at its place, making the directories above it.
fn insert(
    root: &mut Directory,
    components: &[&str],
    node: Node,
    path: &str,
) -> Result<(), ContextError> {
    let Some((last, parents)) = components.split_last() else { return Ok(()) };
    let mut directory = root;
    for name in parents {
        let next = directory
            .entry((*name).to_owned())
            .or_insert_with(|| Node::Directory(Directory::new()));
        let Node::Directory(inner) = next else {
            return Err(ContextError::ThroughFile { path: path.to_owned() });
        };
        directory = inner;
    }
    let both_directories = matches!(node, Node::Directory(_))
        && matches!(directory.get(*last), Some(Node::Directory(_)));
    if !both_directories {
        directory.insert((*last).to_owned(), node);
    }
    Ok(())
}

/// Removes what is excluded; a directory stays while something in it does.
fn prune(directory: &mut Directory, prefix: &str, ignore: &Ignore) {
    directory.retain(|name, node| {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        let excluded = ignore.excludes(&path);
        let Node::Directory(inner) = node else { return !excluded };
        prune(inner, &path, ignore);
        !excluded || !inner.is_empty()
    });
}

/// Writes a file's content and returns its digest.
fn store(content: &mut dyn Read, host: &Path, budget: &mut u64) -> Result<[u8; 32], ContextError> {
    let mut output = File::create(host)?;
    let mut hasher = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(ContextError::Archive { source: error }),
        };
        let Some(left) = budget.checked_sub(length as u64) else {
            return Err(ContextError::TooLarge { limit: MAX_BYTES });
        };
        *budget = left;
        hasher.update(&buffer[..length]);
        output.write_all(&buffer[..length])?;
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hasher.finish().as_ref());
    Ok(bytes)
}

/// Opens a blob for reading.
pub(crate) fn open(blob: &Blob) -> io::Result<BufReader<File>> {
    File::open(&blob.path).map(BufReader::new)
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
