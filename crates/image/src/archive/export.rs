//! `docker export` and `docker import`: a container's files as one base layer.
//!
//! An export is a layer tar that stands on nothing: all files as the container sees them, with
//! their attributes, and whole hives in the place of base hives and deltas. Imported, it is a base
//! image. A tar of plain files is taken as the content of C:.

use std::collections::HashMap;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::time::SystemTime;

use oriel_wclayer::archive::{Archive, Member, MemberKind};
use oriel_wclayer::{Entry, Kind, LayerError, LayerPath, Root, Writer, security};

use crate::commit::{Export, Extent};
use crate::content::{BUFFER, BlobWriter};
use crate::decompress::decompressed;
use crate::disk::fold;
use crate::error::Attempt;
use crate::{
    Arrival, History, ImageConfig, ImageError, ImageId, ImageStore, Reference, RootFs, RunConfig,
    Sandbox, rfc3339,
};

/// Where hives are in a base layer.
const HIVES: &str = "Windows/System32/config";

/// An image to be made of an archive of files.
#[derive(Clone, Debug)]
pub struct Import {
    /// Name it gets, if any.
    pub name: Option<Reference>,
    /// How containers of it run.
    pub config: RunConfig,
    /// Version of Windows it says it is, in four parts.
    pub os_version: String,
    /// Why, for the history.
    pub comment: String,
    /// When.
    pub created: SystemTime,
}

/// What an import made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The image.
    pub image: ImageId,
    /// Whether it has a Windows directory, without which no container starts.
    pub bootable: bool,
}

impl ImageStore {
    /// Writes all files of `sandbox` as the tar of a base layer. `saved` is where its container
    /// wrote its registry to, when it runs.
    ///
    /// # Errors
    /// [`ImageError::Hive`], [`ImageError::Io`].
    pub fn export(
        &self,
        sandbox: &Sandbox,
        saved: Option<&Path>,
        output: &mut dyn Write,
    ) -> Result<(), ImageError> {
        let _lease = self.lease();
        let attempt = || format!("export {}", sandbox.id);
        let registry = self.whole_hives(sandbox, saved)?;
        let places: Vec<_> =
            registry.hives.iter().map(|(name, _)| format!("{HIVES}/{name}")).collect();
        let hives = registry.hives.into_iter().map(|(_, hive)| hive);
        let hives: HashMap<_, _> = places.iter().map(|place| fold(place)).zip(hives).collect();
        let sandbox_files = self.sandbox_files(sandbox);
        let mut export = Export {
            files: &sandbox_files,
            writer: Writer::new(BufWriter::with_capacity(BUFFER, output)),
            linked: HashMap::new(),
            time: crate::time::file_time(SystemTime::now()),
            hive: registry.user.as_deref().map(|hive| (sandbox.account.as_str(), hive)),
            extent: Extent::Whole(hives),
            latest: None,
        };
        let root = sandbox_files.root().attempt(attempt)?;
        let files = LayerPath::root_of(Root::Files);
        export.bare(files.clone(), Kind::Directory, b"")?;
        export.directory(&root, &crate::upper::below_root(&root).attempt(attempt)?, &files)?;
        // What the image has no files for yet.
        let extent = std::mem::replace(&mut export.extent, Extent::Changes);
        for place in &places {
            let Extent::Whole(hives) = &extent else { break };
            let Some(hive) = hives.get(&fold(place)) else { continue };
            let path = LayerPath::below(Root::Files, place).attempt(attempt)?;
            export.bare(path, Kind::File { size: hive.len() as u64 }, hive)?;
        }
        export.writer.finish().attempt(attempt)?.flush().attempt(attempt)
    }

    /// Makes a base image of an archive: tar, compressed or not.
    ///
    /// What [`ImageStore::export`] wrote, or any base layer, is taken as it is; of other archives
    /// the files are taken as those of C:.
    ///
    /// # Errors
    /// [`ImageError::Layer`], [`ImageError::Damaged`], [`ImageError::Io`]. Then nothing is kept.
    pub fn import(
        &self,
        input: &mut (dyn Read + Send),
        import: Import,
    ) -> Result<Imported, ImageError> {
        let result = {
            let _lease = self.lease();
            self.import_leased(input, import)
        };
        if result.is_err() {
            self.clean_up();
        }
        result
    }

    fn import_leased(
        &self,
        input: &mut (dyn Read + Send),
        import: Import,
    ) -> Result<Imported, ImageError> {
        let mut spool = self.content().begin()?;
        let mut archive = BufReader::with_capacity(BUFFER, decompressed(input)?);
        io::copy(&mut archive, &mut spool).attempt(|| "read the archive".into())?;
        let blob = if is_layer(&spool)? { spool } else { self.as_layer(&spool)? };
        let layer = self.install_plain(blob, &[], None)?;
        let files = self.layers().directory(layer.chain_id);
        let windows = LayerPath::below(Root::Files, "Windows/System32/ntdll.dll");
        let windows = windows.attempt(|| "name a file".into())?;
        let found = crate::disk::Dir::open(&files)
            .and_then(|dir| crate::extract::find_file(&dir, &windows))
            .attempt(|| "look at the imported layer".into())?;
        let created = Some(rfc3339(import.created));
        let config = ImageConfig {
            architecture: "amd64".into(),
            os: "windows".into(),
            os_version: import.os_version,
            created: created.clone(),
            config: import.config,
            rootfs: RootFs { diff_ids: vec![layer.diff_id], ..RootFs::default() },
            history: vec![History { created, comment: import.comment, ..History::default() }],
            ..ImageConfig::default()
        };
        let image = self.record(Arrival {
            config: serde_json::to_vec(&config).attempt(|| "write a configuration".into())?,
            layers: vec![layer],
            names: import.name.into_iter().collect(),
            ..Arrival::default()
        })?;
        Ok(Imported { image, bootable: found.is_some() })
    }

    /// Writes an archive of plain files as a layer with those files on C:.
    fn as_layer(&self, spool: &BlobWriter) -> Result<BlobWriter, ImageError> {
        let attempt = || "write a layer".to_owned();
        let mut archive = Archive::new(spool.reopen()?);
        let blob = BufWriter::with_capacity(BUFFER, self.content().begin()?);
        let mut writer = Writer::new(blob);
        while let Some(member) = archive.next_member().attempt(|| "read the archive".into())? {
            let Some(path) = below_files(&member.name)? else { continue };
            let entry = plain_entry(path, &member)?;
            writer.add(&entry, &mut archive).attempt(|| format!("write `{}`", entry.path))?;
        }
        let blob = writer.finish().attempt(attempt)?;
        blob.into_inner().map_err(io::IntoInnerError::into_error).attempt(attempt)
    }
}

/// Whether an archive is a layer: then its first member is one of a layer's own directories.
fn is_layer(spool: &BlobWriter) -> Result<bool, ImageError> {
    let mut archive = Archive::new(spool.reopen()?);
    while let Some(first) = archive.next_member().attempt(|| "read the archive".into())? {
        if !matches!(first.name.as_str(), "." | "./") {
            return Ok(matches!(LayerPath::parse(&first.name), Ok(Some(_))));
        }
    }
    Ok(true)
}

/// Where a plain file goes; `None` for the top of the archive.
fn below_files(name: &str) -> Result<Option<LayerPath>, ImageError> {
    let plain = name.strip_prefix("./").unwrap_or(name).trim_matches('/');
    if matches!(plain, "" | ".") {
        return Ok(None);
    }
    LayerPath::below(Root::Files, plain).attempt(|| "read the archive".into()).map(Some)
}

/// The entry that a plain member becomes.
fn plain_entry(path: LayerPath, member: &Member) -> Result<Entry, ImageError> {
    let unfit = |detail| LayerError::Name { name: member.name.clone(), detail };
    let kind = match member.kind {
        MemberKind::File => Kind::File { size: member.size },
        MemberKind::Directory => Kind::Directory,
        MemberKind::Symlink => Kind::Symlink { target: member.link.replace('/', "\\") },
        MemberKind::HardLink => {
            let target = below_files(&member.link)?;
            let target = target.ok_or_else(|| unfit("a link to nothing"));
            Kind::HardLink { target: target.attempt(|| "read the archive".into())? }
        }
        MemberKind::Other(_) => {
            return Err(unfit("neither file, directory nor link"))
                .attempt(|| "read the archive".into());
        }
    };
    let mut entry = Entry::new(path, kind, member.modified);
    entry.security = match entry.kind {
        Kind::Directory => Some(security::default_directory()),
        Kind::HardLink { .. } => None,
        _ => Some(security::default_file()),
    };
    Ok(entry)
}
