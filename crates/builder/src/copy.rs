//! `COPY` and `ADD`: choosing what to copy, and writing it into a sandbox.
//!
//! Choosing is separate from writing because the cache is asked in between: the digest of what was
//! chosen is part of the step's name.
//!
//! Symbolic links in what is copied are replaced by what they lead to within their own tree:
//! a link of a Linux client has no counterpart that every Windows program reads.

mod export;

use std::io::{BufReader, Read};
use std::path::Path;
use std::time::SystemTime;

use oriel_ignore::Pattern;
use oriel_image::{Content, Digest, FileKind, ImageError, OpenDirectory, SandboxFiles};

pub(crate) use export::Exporter;

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

impl Origin {
    /// When the file was last written.
    fn modified(&self) -> Option<SystemTime> {
        match self {
            Self::Context(blob) => blob.modified,
            Self::Image(_, modified) => Some(*modified),
        }
    }
}

/// Opens a file that was chosen; `source` is where those of images are read from.
fn open<'a>(
    origin: &Origin,
    source: Option<&'a SandboxFiles>,
) -> Result<Box<dyn Read + 'a>, TransferError> {
    match (origin, source) {
        (Origin::Context(blob), _) => {
            let file = context::open(blob).map_err(|e| TransferError::Archive(e.into()))?;
            Ok(Box::new(file))
        }
        (Origin::Image(path, _), Some(files)) => {
            let file = files.read(path).map_err(TransferError::Image)?;
            Ok(Box::new(BufReader::new(file)))
        }
        (Origin::Image(path, _), None) => Err(TransferError::NotInImage { path: path.clone() }),
    }
}

/// What a chosen list is called in the history, such as `file:3f2a…`: by names, kinds and contents,
/// and by nothing else. So it is the same on every host, from the context and from an image, and
/// times make no difference, as in Docker. `source` is where files of images are read from.
pub(crate) fn label(
    chosen: &[Chosen],
    source: Option<&SandboxFiles>,
    cancelled: &dyn Fn() -> bool,
) -> Result<String, BuildError> {
    let mut names = Names { source, cancelled, text: String::new() };
    for Chosen { name, tree } in chosen {
        names.add(name, tree)?;
    }
    let kind = match chosen {
        [Chosen { tree: Tree::File(_), .. }] => "file",
        [_] => "dir",
        _ => "multi",
    };
    Ok(format!("{kind}:{}", Digest::of(names.text.as_bytes()).hex()))
}

/// The list that a label is the digest of: a line per file, with kind, name and content. A name
/// has its length before it, so that no name looks like a line.
struct Names<'a> {
    source: Option<&'a SandboxFiles>,
    cancelled: &'a dyn Fn() -> bool,
    text: String,
}

impl Names<'_> {
    fn add(&mut self, name: &str, tree: &Tree) -> Result<(), BuildError> {
        let length = name.len();
        match tree {
            Tree::File(origin) => {
                let digest = self.digest(origin)?;
                self.text.push_str(&format!("file {length} {name} {digest}\n"));
            }
            Tree::Directory(inner) => {
                let count = inner.len();
                self.text.push_str(&format!("directory {length} {name} {count}\n"));
                for (name, tree) in inner {
                    self.add(name, tree)?;
                }
            }
        }
        Ok(())
    }

    fn digest(&self, origin: &Origin) -> Result<String, BuildError> {
        if (self.cancelled)() {
            return Err(BuildError::Cancelled);
        }
        match (origin, self.source) {
            (Origin::Context(blob), _) => {
                Ok(blob.digest.iter().map(|byte| format!("{byte:02x}")).collect())
            }
            (Origin::Image(path, _), Some(files)) => Ok(files.digest(path)?.hex()),
            (Origin::Image(..), None) => Err(BuildError::Lost),
        }
    }
}

/// Files made of texts that stand in the Dockerfile, by their names.
pub(crate) fn from_texts(
    context: &Context,
    texts: Vec<(String, String)>,
) -> Result<Vec<Chosen>, TransferError> {
    let chosen = texts.into_iter().map(|(name, text)| {
        let blob = context.keep(text.as_bytes()).map_err(TransferError::Archive)?;
        Ok(Chosen { name, tree: Tree::File(Origin::Context(blob)) })
    });
    chosen.collect()
}

/// Files of the web, by their names.
pub(crate) fn from_web(files: Vec<(String, Blob)>) -> impl Iterator<Item = Chosen> {
    let file = |(name, blob)| Chosen { name, tree: Tree::File(Origin::Context(blob)) };
    files.into_iter().map(file)
}

/// What of a source's path comes with what is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The last name.
    Name,
    /// All names (`--parents`), or those after `/./`.
    Parents,
}

impl Keep {
    /// What is at `path`, the last name of which is `name`, when `source` was written.
    fn chosen(self, source: &str, path: &str, name: String, tree: Tree) -> Chosen {
        if self == Self::Name {
            return Chosen { name, tree };
        }
        let names = |path: &str| -> Vec<String> {
            let names = path.split(['/', '\\']).filter(|name| !["", "."].contains(name));
            names.map(str::to_owned).collect()
        };
        let pivot = source.split_once("/./").map_or(0, |(before, _)| names(before).len());
        let mut names = names(path);
        names.pop();
        let names = names.into_iter().skip(pivot).rev();
        let tree = names.fold(Tree::Directory(vec![(name, tree)]), |tree, name| {
            Tree::Directory(vec![(name, tree)])
        });
        Chosen { name: String::new(), tree }
    }
}

/// Chooses from the context.
pub(crate) fn from_context(
    context: &Context,
    sources: &[String],
    keep: Keep,
) -> Result<Vec<Chosen>, TransferError> {
    let mut chosen = Vec::new();
    let mut walk = Walk { context, left: MAX_FILES };
    for source in sources {
        // Those of ADD are fetched and no longer among the sources.
        if source.contains("://") || source.starts_with("git@") {
            return Err(TransferError::Url { url: source.clone() });
        }
        let source = source.replace('\\', "/");
        let path = source.trim_start_matches('/');
        if Context::is_root(path) {
            let tree = walk.directory("", context.root(), 0)?;
            chosen.push(Chosen { name: String::new(), tree });
        } else if path.contains(['*', '?', '[']) {
            let pattern = path.replace("/./", "/");
            let pattern = Pattern::path(pattern.trim_start_matches("./").trim_end_matches('/'))
                .ok_or(TransferError::BadPattern)?;
            let mut found = Vec::new();
            walk.matching(&pattern, "", context.root(), &mut found)?;
            let found = found.into_iter();
            chosen.extend(found.map(|(path, name, tree)| keep.chosen(&source, &path, name, tree)));
        } else {
            let missing = || TransferError::NotInContext { path: source.clone() };
            let (name, node) = context.find(path).ok_or_else(missing)?;
            let tree = walk.tree(path.trim_end_matches('/'), node, 0)?.ok_or_else(missing)?;
            chosen.push(keep.chosen(&source, path, name, tree));
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

    /// Adds every path that fits, with its last name. What lies in a directory that fits comes with
    /// it.
    fn matching(
        &mut self,
        pattern: &Pattern,
        path: &str,
        inner: &std::collections::BTreeMap<String, Node>,
        found: &mut Vec<(String, String, Tree)>,
    ) -> Result<(), TransferError> {
        for (name, node) in inner {
            let path = join(path, name);
            if pattern.matches(&path) {
                if let Some(tree) = self.tree(&path, node, 0)? {
                    found.push((path, name.clone(), tree));
                }
            } else if let Node::Directory(inner) = node {
                self.matching(pattern, &path, inner, found)?;
            }
        }
        Ok(())
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

/// Leaves out what fits one of `patterns`: paths from a chosen directory on, and names of chosen
/// files.
pub(crate) fn exclude(
    chosen: Vec<Chosen>,
    patterns: &[String],
) -> Result<Vec<Chosen>, TransferError> {
    let patterns = patterns
        .iter()
        .map(|text| {
            let text = text.replace('\\', "/");
            Pattern::ignore(text.trim_matches('/')).ok_or(TransferError::BadPattern)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let excluded = |path: &str| patterns.iter().any(|pattern| pattern.matches(path));
    let kept = chosen.into_iter().filter_map(|Chosen { name, tree }| match tree {
        Tree::File(_) if excluded(&name) => None,
        Tree::File(_) => Some(Chosen { name, tree }),
        Tree::Directory(inner) => {
            let tree = Tree::Directory(without(inner, "", &excluded));
            Some(Chosen { name, tree })
        }
    });
    Ok(kept.collect())
}

fn without(
    inner: Vec<(String, Tree)>,
    path: &str,
    excluded: &dyn Fn(&str) -> bool,
) -> Vec<(String, Tree)> {
    let kept = inner.into_iter().filter_map(|(name, tree)| {
        let path = join(path, &name);
        if excluded(&path) {
            return None;
        }
        let tree = match tree {
            Tree::Directory(inner) => Tree::Directory(without(inner, &path, excluded)),
            file @ Tree::File(_) => file,
        };
        Some((name, tree))
    });
    kept.collect()
}

/// Chooses from an image or a finished stage, through a sandbox on top of it.
pub(crate) fn from_image(
    files: &SandboxFiles,
    sources: &[String],
    keep: Keep,
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
                    let path = format!("{parent}{}", item.name);
                    chosen.extend(image_entry(files, source, &path, keep)?);
                }
            }
        } else {
            chosen.extend(image_entry(files, source, &path, keep)?);
        }
        if chosen.len() == before {
            return Err(fail(TransferError::NotInImage { path: source.clone() }));
        }
    }
    Ok(chosen)
}

fn image_entry(
    files: &SandboxFiles,
    source: &str,
    path: &str,
    keep: Keep,
) -> Result<Option<Chosen>, ImageError> {
    let name = path.rsplit('\\').next().unwrap_or_default().to_owned();
    let Some(stat) = files.stat(path)? else { return Ok(None) };
    let tree = match stat.kind {
        FileKind::File => Tree::File(Origin::Image(path.to_owned(), stat.modified)),
        FileKind::Directory => image_directory(files, path, 0)?,
        FileKind::Link => return Ok(None),
    };
    let below_drive = path.split_once(':').map_or(path, |(_, below)| below);
    Ok(Some(keep.chosen(&source.replace('\\', "/"), below_drive, name, tree)))
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
    /// Whether archives are unpacked.
    pub(crate) unpacks: bool,
    /// SID of the account that is to own what is made.
    pub(crate) owner: Option<&'static str>,
    /// Where archives may be unpacked for a moment.
    pub(crate) scratch: &'a Path,
    /// Tells whether the client has gone away.
    pub(crate) cancelled: &'a dyn Fn() -> bool,
}

impl Writer<'_> {
    /// Writes everything to the destination.
    pub(crate) fn write(&self, chosen: &[Chosen], to: &Destination) -> Result<(), BuildError> {
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
                let is_new = !self.files.exists(path)?;
                let mut directory = self.files.open_directory(path)?;
                if is_new {
                    self.own(path)?;
                }
                for (name, tree) in inner {
                    let below = self.below(path, name)?;
                    match tree {
                        Tree::File(origin) => self.write_in(&mut directory, origin, &below)?,
                        Tree::Directory(_) => self.tree(tree, &below)?,
                    }
                }
                Ok(())
            }
        }
    }

    /// Writes a file that is one of many.
    fn write_in(
        &self,
        directory: &mut OpenDirectory<'_>,
        origin: &Origin,
        path: &str,
    ) -> Result<(), BuildError> {
        if (self.cancelled)() {
            return Err(BuildError::Cancelled);
        }
        let (_, name) = path.rsplit_once('\\').unwrap_or(("", path));
        let modified = origin.modified();
        match origin {
            Origin::Context(blob) => directory.write(name, Content::Kept(&blob.path), modified)?,
            Origin::Image(..) => {
                directory.write(name, Content::Read(&mut self.open(origin)?), modified)?;
            }
        }
        self.own(path)
    }

    /// Gives what was made to its owner.
    fn own(&self, path: &str) -> Result<(), BuildError> {
        self.owner.map_or(Ok(()), |sid| Ok(self.files.set_owner(path, sid)?))
    }

    fn file(&self, origin: &Origin, path: &str) -> Result<(), BuildError> {
        match path.rsplit_once('\\') {
            Some((parent, _)) if !self.files.is_dir(path)? => {
                let mut directory = self.files.open_directory(&format!("{parent}\\"))?;
                self.write_in(&mut directory, origin, path)
            }
            _ => {
                self.files.write_file(path, &mut self.open(origin)?, origin.modified())?;
                self.own(path)
            }
        }
    }

    fn open(&self, origin: &Origin) -> Result<Box<dyn Read + '_>, BuildError> {
        open(origin, self.source).map_err(|problem| self.fail(problem))
    }

    /// Whether `ADD` unpacks it.
    fn is_archive(&self, origin: &Origin) -> Result<bool, BuildError> {
        Ok(self.unpacks && archive::is_archive(&mut self.open(origin)?))
    }

    fn unpack(&self, origin: &Origin, path: &str) -> Result<(), BuildError> {
        let inner = Context::unpack(&mut self.open(origin)?, self.scratch)
            .map_err(|error| self.fail(error.into()))?;
        let mut walk = Walk { context: &inner, left: MAX_FILES };
        let tree = walk.directory("", inner.root(), 0).map_err(|error| self.fail(error))?;
        self.tree(&tree, path)
    }
}
