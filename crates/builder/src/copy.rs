//! `COPY` and `ADD`: choosing what to copy, and writing it into a sandbox.
//!
//! Choosing is separate from writing because the cache is asked in between: the digest of what was
//! chosen is part of the step's name.
//!
//! Symbolic links in what is copied are replaced by what they lead to within their own tree:
//! a link of a Linux client has no counterpart that every Windows program reads.

use std::io::{BufReader, Read};
use std::path::Path;
use std::time::SystemTime;

use oriel_ignore::Pattern;
use oriel_image::{Digest, FileKind, ImageError, ImageId, SandboxFiles};

use crate::{
    BuildError, TransferError, archive,
    context::{self, Blob, Context, Node},
    parse::TransferKind,
    paths::{self, Destination},
};

/// Most files that links may lead to.
const MAX_FILES: usize = 1 << 20;

/// Directories in directories; links can make circles.
const MAX_DEPTH: usize = 256;

/// Something chosen to be copied.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// Its name.
    name: String,
    tree: Tree,
}

/// A file or a directory with all that is in it.
#[derive(Debug)]
enum Tree {
    File(Origin),
    Directory(Vec<(String, Self)>),
}

/// Where a file's content is.
#[derive(Debug)]
enum Origin {
    /// In the context.
    Context(Blob),
    /// In an image, at this path.
    Image(String, SystemTime),
}

/// What a chosen list is called in the history, such as `file:3f2a…`.
pub(crate) fn label(chosen: &[Chosen], image: Option<&ImageId>) -> String {
    let mut text = String::new();
    for Chosen { name, tree } in chosen {
        describe(name, tree, image, &mut text);
    }
    let kind = match chosen {
        [Chosen { tree: Tree::File(_), .. }] => "file",
        [_] => "dir",
        _ => "multi",
    };
    format!("{kind}:{}", Digest::of(text.as_bytes()).hex())
}

/// One line per file: kind, name, content. An image's content is named by the image's id.
fn describe(name: &str, tree: &Tree, image: Option<&ImageId>, text: &mut String) {
    match tree {
        Tree::File(Origin::Context(blob)) => {
            let digest: String = blob.digest.iter().map(|byte| format!("{byte:02x}")).collect();
            text.push_str(&format!("file {name:?} {digest}\n"));
        }
        Tree::File(Origin::Image(path, _)) => {
            let id = image.map(ToString::to_string).unwrap_or_default();
            text.push_str(&format!("file {name:?} {id} {path:?}\n"));
        }
        Tree::Directory(inner) => {
            text.push_str(&format!("directory {name:?} {}\n", inner.len()));
            for (name, tree) in inner {
                describe(name, tree, image, text);
            }
        }
    }
}

/// Chooses from the context.
pub(crate) fn from_context(
    context: &Context,
    sources: &[String],
) -> Result<Vec<Chosen>, TransferError> {
    let mut chosen = Vec::new();
    let mut walk = Walk { context, left: MAX_FILES };
    for source in sources {
        let lower = source.to_ascii_lowercase();
        if ["http://", "https://", "git@", "git://"].iter().any(|scheme| lower.starts_with(scheme))
        {
            return Err(TransferError::Url { url: source.clone() });
        }
        let path = source.replace('\\', "/");
        let path = path.trim_start_matches('/');
        if Context::is_root(path) {
            let tree = walk.directory("", context.root(), 0)?;
            chosen.push(Chosen { name: String::new(), tree });
        } else if path.contains(['*', '?', '[']) {
            let pattern = Pattern::path(path.trim_start_matches("./").trim_end_matches('/'))
                .ok_or(TransferError::BadPattern)?;
            walk.matching(&pattern, "", context.root(), &mut chosen)?;
        } else {
            let missing = || TransferError::NotInContext { path: source.clone() };
            let (name, node) = context.find(path).ok_or_else(missing)?;
            let tree = walk.tree(path.trim_end_matches('/'), node, 0)?;
            chosen.push(Chosen { name, tree: tree.ok_or_else(missing)? });
        }
    }
    if chosen.is_empty() { Err(TransferError::NothingMatches) } else { Ok(chosen) }
}

/// A walk through the context, bounded in what it finds.
struct Walk<'a> {
    context: &'a Context,
    left: usize,
}

impl Walk<'_> {
    /// Everything below a node; `None` for a link that leads nowhere.
    fn tree(
        &mut self,
        path: &str,
        node: &Node,
        depth: usize,
    ) -> Result<Option<Tree>, TransferError> {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 || depth > MAX_DEPTH {
            return Err(TransferError::TooManyFiles { limit: MAX_FILES });
        }
        match node {
            Node::File(blob) => Ok(Some(Tree::File(Origin::Context(blob.clone())))),
            Node::Directory(inner) => self.directory(path, inner, depth).map(Some),
            Node::Link(_) => match self.context.find(path) {
                Some((_, Node::Link(_))) | None => Ok(None),
                Some((_, node)) => self.tree(path, node, depth + 1),
            },
        }
    }

    fn directory(
        &mut self,
        path: &str,
        inner: &std::collections::BTreeMap<String, Node>,
        depth: usize,
    ) -> Result<Tree, TransferError> {
        let mut list = Vec::with_capacity(inner.len());
        for (name, node) in inner {
            let path = join(path, name);
            let missing = || TransferError::NotInContext { path: path.clone() };
            let tree = self.tree(&path, node, depth + 1)?.ok_or_else(missing)?;
            list.push((name.clone(), tree));
        }
        Ok(Tree::Directory(list))
    }

    /// Adds every path that fits. What lies in a directory that fits comes with it.
    fn matching(
        &mut self,
        pattern: &Pattern,
        path: &str,
        inner: &std::collections::BTreeMap<String, Node>,
        chosen: &mut Vec<Chosen>,
    ) -> Result<(), TransferError> {
        for (name, node) in inner {
            let path = join(path, name);
            if pattern.matches(&path) {
                if let Some(tree) = self.tree(&path, node, 0)? {
                    chosen.push(Chosen { name: name.clone(), tree });
                }
            } else if let Node::Directory(inner) = node {
                self.matching(pattern, &path, inner, chosen)?;
            }
        }
        Ok(())
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

/// Chooses from an image or a finished stage, through a sandbox on top of it.
pub(crate) fn from_image(
    files: &SandboxFiles,
    sources: &[String],
) -> Result<Vec<Chosen>, BuildError> {
    let fail = |problem| BuildError::Transfer { keyword: "COPY", problem };
    let mut chosen = Vec::new();
    for source in sources {
        if paths::is_forbidden_source(source) {
            return Err(fail(TransferError::ForbiddenSource));
        }
        let path = paths::destination("", source).map_err(|e| fail(e.into()))?.path;
        let before = chosen.len();
        let (parent, last) = path.rsplit_once('\\').unwrap_or(("C:", &path));
        if last.contains(['*', '?', '[']) {
            let pattern = Pattern::path(last).ok_or_else(|| fail(TransferError::BadPattern))?;
            let parent = format!("{parent}\\");
            if files.is_dir(&parent)? {
                for item in files.list(&parent)?.iter().filter(|i| pattern.matches(&i.name)) {
                    chosen.extend(image_entry(files, &format!("{parent}{}", item.name))?);
                }
            }
        } else {
            chosen.extend(image_entry(files, &path)?);
        }
        if chosen.len() == before {
            return Err(fail(TransferError::NotInImage { path: source.clone() }));
        }
    }
    Ok(chosen)
}

fn image_entry(files: &SandboxFiles, path: &str) -> Result<Option<Chosen>, ImageError> {
    let name = path.rsplit('\\').next().unwrap_or_default().to_owned();
    let Some(stat) = files.stat(path)? else { return Ok(None) };
    let tree = match stat.kind {
        FileKind::File => Tree::File(Origin::Image(path.to_owned(), stat.modified)),
        FileKind::Directory => image_directory(files, path, 0)?,
        FileKind::Link => return Ok(None),
    };
    Ok(Some(Chosen { name, tree }))
}

fn image_directory(files: &SandboxFiles, path: &str, depth: usize) -> Result<Tree, ImageError> {
    let mut inner = Vec::new();
    for item in files.list(path)? {
        let path = format!("{path}\\{}", item.name);
        let tree = match item.stat.kind {
            FileKind::File => Tree::File(Origin::Image(path, item.stat.modified)),
            FileKind::Directory if depth < MAX_DEPTH => image_directory(files, &path, depth + 1)?,
            _ => continue,
        };
        inner.push((item.name, tree));
    }
    Ok(Tree::Directory(inner))
}

/// Writes what was chosen into a sandbox.
pub(crate) struct Writer<'a> {
    /// The sandbox.
    pub(crate) files: &'a SandboxFiles,
    /// Where files of images are read from.
    pub(crate) source: Option<&'a SandboxFiles>,
    /// Which instruction it is.
    pub(crate) kind: TransferKind,
    /// Where archives may be unpacked for a moment.
    pub(crate) scratch: &'a Path,
    /// Tells whether the client has gone away.
    pub(crate) cancelled: &'a dyn Fn() -> bool,
}

impl Writer<'_> {
    /// Writes everything to the destination.
    pub(crate) fn write(&self, chosen: &[Chosen], to: &Destination) -> Result<(), BuildError> {
        let keyword = self.kind.keyword();
        if chosen.len() > 1 && !to.directory {
            return Err(self.fail(TransferError::NotADirectory { keyword }));
        }
        for Chosen { name, tree } in chosen {
            match tree {
                Tree::Directory(_) => self.tree(tree, &to.path)?,
                Tree::File(origin) if self.is_archive(origin)? => self.unpack(origin, &to.path)?,
                Tree::File(origin) if to.directory || self.files.is_dir(&to.path)? => {
                    self.file(origin, &self.below(&to.path, name)?)?;
                }
                Tree::File(origin) => self.file(origin, &to.path)?,
            }
        }
        Ok(())
    }

    fn fail(&self, problem: TransferError) -> BuildError {
        BuildError::Transfer { keyword: self.kind.keyword(), problem }
    }

    fn below(&self, directory: &str, name: &str) -> Result<String, BuildError> {
        if !paths::is_name(name) {
            return Err(self.fail(TransferError::BadName { name: name.to_owned() }));
        }
        Ok(format!("{}\\{name}", directory.trim_end_matches('\\')))
    }

    fn tree(&self, tree: &Tree, path: &str) -> Result<(), BuildError> {
        match tree {
            Tree::File(origin) => self.file(origin, path),
            Tree::Directory(inner) => {
                self.files.create_dir_all(path)?;
                inner.iter().try_for_each(|(name, tree)| self.tree(tree, &self.below(path, name)?))
            }
        }
    }

    fn file(&self, origin: &Origin, path: &str) -> Result<(), BuildError> {
        if (self.cancelled)() {
            return Err(BuildError::Cancelled);
        }
        let modified = match origin {
            Origin::Context(blob) => blob.modified,
            Origin::Image(_, modified) => Some(*modified),
        };
        self.files.write_file(path, &mut self.open(origin)?, modified)?;
        Ok(())
    }

    fn open(&self, origin: &Origin) -> Result<Box<dyn Read + '_>, BuildError> {
        match (origin, self.source) {
            (Origin::Context(blob), _) => {
                let file =
                    context::open(blob).map_err(|e| self.fail(TransferError::Archive(e.into())))?;
                Ok(Box::new(file))
            }
            (Origin::Image(path, _), Some(files)) => {
                Ok(Box::new(BufReader::new(files.read(path)?)))
            }
            (Origin::Image(path, _), None) => {
                Err(self.fail(TransferError::NotInImage { path: path.clone() }))
            }
        }
    }

    /// Whether `ADD` unpacks it.
    fn is_archive(&self, origin: &Origin) -> Result<bool, BuildError> {
        Ok(self.kind == TransferKind::Add && archive::is_archive(&mut self.open(origin)?))
    }

    fn unpack(&self, origin: &Origin, path: &str) -> Result<(), BuildError> {
        let inner = Context::unpack(&mut self.open(origin)?, self.scratch)
            .map_err(|error| self.fail(error.into()))?;
        let mut walk = Walk { context: &inner, left: MAX_FILES };
        let tree = walk.directory("", inner.root(), 0).map_err(|error| self.fail(error))?;
        self.tree(&tree, path)
    }
}
