//! What a container shows besides its image and its sandbox: from a client's wishes to
//! [`MountPoint`]s, settled once, when the container is created.
//!
//! The order is moby's (`daemon/volumes.go`): what comes from other containers, then `-v`, then
//! `--mount`, then `--tmpfs`, then the image's `VOLUME`s where nothing is mounted yet. Sources are
//! Linux paths and may be files; targets are Windows paths. As on Windows a source must exist, and
//! what the image has at a target is not copied into a new volume (`create_windows.go`).

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use oriel_hcs::{Mount, MountSource};
use serde::{Deserialize, Serialize};

use crate::{
    Engine, EngineError, VolumeRequest,
    mount_text::{self, Bind},
    pipes,
    storage::parse_size,
    volumes::DRIVER_LOCAL,
};

/// What a client wants a container to show.
#[derive(Clone, Debug, Default)]
pub struct MountWishes {
    /// `[source:]target[:mode]`, as of `-v`.
    pub binds: Vec<String>,
    /// As of `--mount`.
    pub mounts: Vec<MountWish>,
    /// Target and options, as of `--tmpfs`.
    pub tmpfs: Vec<(String, String)>,
    /// `container[:mode]`, as of `--volumes-from`.
    pub volumes_from: Vec<String>,
    /// Driver of volumes that `binds` name; empty is `local`.
    pub volume_driver: String,
}

/// One `--mount`.
#[derive(Clone, Debug, Default)]
pub struct MountWish {
    /// `bind`, `volume`, `tmpfs` ...
    pub kind: String,
    /// Host path or name of a volume.
    pub source: String,
    /// Path inside.
    pub target: String,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Mount propagation, which Windows does not know.
    pub propagation: String,
    /// Name, driver, options and labels for a volume that is made.
    pub volume: VolumeRequest,
    /// Bytes of a tmpfs.
    pub size_bytes: Option<u64>,
    /// The part of a volume that is shown, as a relative path; empty is all of it.
    pub subpath: String,
    /// Names of groups of options that belong to other kinds.
    pub foreign_options: Vec<&'static str>,
}

/// What kind of thing is mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    /// A directory or file of the host.
    #[default]
    Bind,
    /// A volume.
    Volume,
    /// Memory.
    Tmpfs,
    /// A named pipe that leads to a socket of the host.
    Npipe,
}

impl MountKind {
    /// Docker's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Volume => "volume",
            Self::Tmpfs => "tmpfs",
            Self::Npipe => "npipe",
        }
    }
}

/// Something a container shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// What kind of thing it is.
    #[serde(default)]
    pub kind: MountKind,
    /// Name of the volume; empty for the others.
    #[serde(default)]
    pub name: String,
    /// Path on the host, or a named pipe of it; empty for memory.
    pub source: PathBuf,
    /// Path inside, such as `C:\data`, or a named pipe.
    pub target: String,
    /// Whether writes are refused.
    pub read_only: bool,
    /// The mode as it was written: `ro`, `rw` or nothing.
    #[serde(default)]
    pub mode: String,
    /// Whether it is a volume that nobody named.
    #[serde(default)]
    pub anonymous: bool,
    /// Bytes of memory; `None` is the host's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// The part of a volume that is shown, with slashes; empty is all of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subpath: String,
}

impl MountPoint {
    /// Whether it is a volume.
    #[must_use]
    pub fn is_volume(&self) -> bool {
        self.kind == MountKind::Volume
    }

    /// As the compute host takes it.
    pub(crate) fn document(&self) -> Mount {
        let source = match self.kind {
            MountKind::Tmpfs => MountSource::Memory { size_bytes: self.size_bytes },
            MountKind::Volume if !self.subpath.is_empty() => {
                MountSource::Below(self.source.clone(), PathBuf::from(&self.subpath))
            }
            MountKind::Bind | MountKind::Volume => MountSource::Host(self.source.clone()),
            // Where it leads is looked up when it starts: see `pipes`.
            MountKind::Npipe => MountSource::Pipe(self.source.clone()),
        };
        Mount { source, target: self.target.clone(), read_only: self.read_only }
    }
}

/// Mount points under way, by their targets without case.
#[derive(Default)]
struct Settled {
    points: BTreeMap<String, MountPoint>,
    /// Targets that a client named, each of which it may name once.
    named: Vec<String>,
    /// Volumes that the container has for now.
    claimed: BTreeSet<String>,
    /// Those of them that were made for it.
    made: Vec<String>,
}

impl Settled {
    fn name(&mut self, target: &str) -> Result<(), EngineError> {
        let key = target.to_lowercase();
        if self.named.contains(&key) {
            return Err(EngineError::invalid(format!("Duplicate mount point: {target}")));
        }
        self.named.push(key);
        Ok(())
    }

    fn put(&mut self, point: MountPoint) {
        self.points.insert(point.target.to_lowercase(), point);
    }

    fn has(&self, target: &str) -> bool {
        self.points.contains_key(&target.to_lowercase())
    }

    /// Outer places before inner ones.
    fn into_points(self) -> Vec<MountPoint> {
        let mut points: Vec<_> = self.points.into_values().collect();
        points.sort_by_key(|point| point.target.matches('\\').count());
        points
    }
}

impl Engine {
    /// Settles what a container shows; volumes that are missing are made, and all are taken. On
    /// error those that were made here are gone again.
    pub(crate) fn settle_mounts<'a>(
        &self,
        container: &str,
        wishes: MountWishes,
        declared: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<MountPoint>, EngineError> {
        let mut settled = Settled::default();
        let done = self.fill(container, wishes, declared, &mut settled);
        if done.is_ok() {
            // What a later wish took the place of is not shown.
            let shown = |name: &String| settled.points.values().any(|point| point.name == *name);
            settled.claimed.retain(|name| !shown(name));
        }
        for name in &settled.claimed {
            self.inner.volumes.release(name, container);
        }
        if done.is_err() {
            self.drop_unused(&settled.made);
        }
        done.map(|()| settled.into_points())
    }

    fn fill<'a>(
        &self,
        container: &str,
        wishes: MountWishes,
        declared: impl Iterator<Item = &'a str>,
        settled: &mut Settled,
    ) -> Result<(), EngineError> {
        for other in &wishes.volumes_from {
            self.take_from(container, other, settled)?;
        }
        for text in &wishes.binds {
            let point = self.bind(container, text, &wishes.volume_driver, settled)?;
            settled.put(point);
        }
        for wish in wishes.mounts {
            let point = self.mount(container, wish, settled)?;
            settled.put(point);
        }
        for (target, options) in &wishes.tmpfs {
            let point = tmpfs(target, options)?;
            settled.name(&point.target)?;
            settled.put(point);
        }
        for path in declared {
            let target = mount_text::target(path).map_err(|problem| spec_error(path, &problem))?;
            if !settled.has(&target) {
                let request = VolumeRequest {
                    driver: wishes.volume_driver.clone(),
                    ..VolumeRequest::default()
                };
                let volume = self.volume_point(container, request, settled)?;
                settled.put(MountPoint { target, ..volume });
            }
        }
        Ok(())
    }

    /// Takes over what another container shows.
    fn take_from(
        &self,
        container: &str,
        text: &str,
        settled: &mut Settled,
    ) -> Result<(), EngineError> {
        let (other, mode) = text.split_once(':').unwrap_or((text, ""));
        if other.is_empty() {
            let words = "volumes-from specification cannot be an empty string";
            return Err(EngineError::invalid(words));
        }
        if !mount_text::is_mode(mode) && !mode.is_empty() {
            return Err(EngineError::invalid(format!("invalid mode: {mode}")));
        }
        // Not `NotFound`: a client would take it for the image and pull that.
        let other = self.container(other).map_err(|e| EngineError::invalid(e.to_string()))?;
        for mut point in other.spec.host.mounts.iter().cloned() {
            if point.is_volume() {
                self.inner.volumes.claim(&point.name, container)?;
                settled.claimed.insert(point.name.clone());
            }
            point.read_only |= mode.eq_ignore_ascii_case("ro");
            settled.put(point);
        }
        Ok(())
    }

    /// One `-v`.
    fn bind(
        &self,
        container: &str,
        text: &str,
        driver: &str,
        settled: &mut Settled,
    ) -> Result<MountPoint, EngineError> {
        let Bind { source, target, mode } =
            mount_text::bind(text).map_err(|problem| spec_error(text, &problem))?;
        settled.name(&target)?;
        let read_only = mode.eq_ignore_ascii_case("ro");
        let point = if mount_text::is_pipe(&target) {
            pipes::point(&source).map_err(|problem| spec_error(text, &problem))?
        } else if source.starts_with('/') {
            host_point(&source).map_err(|problem| spec_error(text, &problem))?
        } else {
            let driver = driver.to_owned();
            let request = VolumeRequest { name: source, driver, ..VolumeRequest::default() };
            self.volume_point(container, request, settled)?
        };
        Ok(MountPoint { target, read_only, mode: mode.to_ascii_lowercase(), ..point })
    }

    /// One `--mount`.
    fn mount(
        &self,
        container: &str,
        wish: MountWish,
        settled: &mut Settled,
    ) -> Result<MountPoint, EngineError> {
        let kind = wish.kind.clone();
        let refuse = |problem: String| {
            EngineError::invalid(format!("invalid mount config for type {kind:?}: {problem}"))
        };
        if let Some(group) = wish.foreign_options.first() {
            return Err(refuse(format!("field {group} must not be specified")));
        }
        if wish.target.is_empty() {
            return Err(refuse("field Target must not be empty".to_owned()));
        }
        let target = match kind.as_str() {
            "npipe" => mount_text::pipe(&wish.target),
            _ => mount_text::target(&wish.target),
        };
        let target = target.map_err(refuse)?;
        settled.name(&target)?;
        let point = match kind.as_str() {
            "npipe" if wish.read_only => {
                return Err(refuse("field ReadOnly must not be specified".to_owned()));
            }
            "npipe" if wish.source.is_empty() => {
                return Err(refuse("field Source must not be empty".to_owned()));
            }
            "npipe" => pipes::point(&wish.source).map_err(refuse)?,
            "bind" if wish.source.is_empty() => {
                return Err(refuse("field Source must not be empty".to_owned()));
            }
            "bind" if !wish.propagation.is_empty() => {
                return Err(refuse(format!("invalid propagation mode: {}", wish.propagation)));
            }
            "bind" => host_point(&wish.source).map_err(refuse)?,
            "tmpfs" if !wish.source.is_empty() => {
                return Err(refuse("field Source must not be specified".to_owned()));
            }
            "tmpfs" => MountPoint {
                kind: MountKind::Tmpfs,
                size_bytes: wish.size_bytes.filter(|size| *size > 0),
                ..MountPoint::default()
            },
            "volume" if !wish.subpath.is_empty() && wish.source.is_empty() => {
                let words = "must not set Subpath when using anonymous volumes";
                return Err(refuse(words.to_owned()));
            }
            "volume" => {
                let subpath = subpath(&wish.subpath).map_err(refuse)?;
                let request = VolumeRequest { name: wish.source, ..wish.volume };
                MountPoint { subpath, ..self.volume_point(container, request, settled)? }
            }
            _ => return Err(refuse("mount type unknown".to_owned())),
        };
        Ok(MountPoint { target, read_only: wish.read_only, ..point })
    }

    /// A volume that `container` has from now on.
    fn volume_point(
        &self,
        container: &str,
        request: VolumeRequest,
        settled: &mut Settled,
    ) -> Result<MountPoint, EngineError> {
        let anonymous = request.name.is_empty();
        let made = self.make_volume(request, Some(container));
        // Not `NotFound`, as for the container above.
        let (volume, is_new) = made.map_err(|error| match error {
            EngineError::NoSuchVolumeDriver { .. } => EngineError::invalid(error.to_string()),
            other => other,
        })?;
        settled.claimed.insert(volume.name.clone());
        settled.made.extend(is_new.then(|| volume.name.clone()));
        Ok(MountPoint {
            kind: MountKind::Volume,
            name: volume.name,
            source: volume.mountpoint,
            anonymous,
            ..MountPoint::default()
        })
    }

    /// Checks before a start that what is to be shown is still there.
    pub(crate) fn check_mounts(&self, mounts: &[MountPoint]) -> Result<(), EngineError> {
        for mount in mounts {
            match mount.kind {
                MountKind::Bind => {
                    host_point(&mount.source.to_string_lossy()).map_err(|problem| {
                        let words = "invalid mount config for type \"bind\"";
                        EngineError::invalid(format!("{words}: {problem}"))
                    })?;
                }
                MountKind::Volume => {
                    self.volume(&mount.name)?;
                    check_part(mount)?;
                }
                MountKind::Tmpfs | MountKind::Npipe => {}
            }
        }
        Ok(())
    }
}

/// A path below a volume, made normal: relative, and nowhere above the volume.
fn subpath(text: &str) -> Result<String, String> {
    let plain = text.replace('\\', "/");
    let names: Vec<_> = plain.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    let absolute = plain.starts_with('/') || plain.contains(':');
    if absolute || names.contains(&"..") || plain.contains('\0') {
        return Err("subpath must be a relative path within the volume".to_owned());
    }
    Ok(names.join("/"))
}

/// Says in Docker's words why a part of a volume cannot be shown. What is shown is looked up again
/// when it is mounted, where nothing can change in between.
fn check_part(mount: &MountPoint) -> Result<(), EngineError> {
    if mount.subpath.is_empty() {
        return Ok(());
    }
    let (base, part) = (&mount.source, &mount.subpath);
    let path = base.join(part);
    let found = fs_err::canonicalize(&path)
        .and_then(|found| Ok(found.starts_with(fs_err::canonicalize(base)?)));
    match found {
        Ok(true) => Ok(()),
        Ok(false) => Err(EngineError::invalid(format!(
            "path concatenation escapes the base directory: base: {base:?}, subpath: {part:?}"
        ))),
        Err(error) => {
            let why = if error.kind() == std::io::ErrorKind::NotFound {
                "no such file or directory".to_owned()
            } else {
                error.to_string()
            };
            Err(EngineError::invalid(format!("cannot access path {}: {why}", path.display())))
        }
    }
}

/// Docker's words for a specification that is wrong.
fn spec_error(text: &str, problem: &str) -> EngineError {
    if problem.ends_with(mount_text::ONLY_DRIVE) {
        return EngineError::unsupported(problem);
    }
    let colon = if problem.is_empty() { "" } else { ": " };
    EngineError::invalid(format!("invalid volume specification: '{text}'{colon}{problem}"))
}

/// A directory or file of the host.
fn host_point(source: &str) -> Result<MountPoint, String> {
    let path = Path::new(source);
    if !path.is_absolute() {
        return Err(format!("invalid mount path: '{source}' mount path must be absolute"));
    }
    let Ok(metadata) = fs_err::metadata(path) else {
        return Err(format!("bind source path does not exist: {source}"));
    };
    if !metadata.is_dir() && !metadata.is_file() {
        return Err("source path must be a directory or a regular file".to_owned());
    }
    Ok(MountPoint { source: path.to_owned(), ..MountPoint::default() })
}

/// One `--tmpfs`.
fn tmpfs(target: &str, options: &str) -> Result<MountPoint, EngineError> {
    let target = mount_text::target(target).map_err(EngineError::invalid)?;
    let mut point = MountPoint { kind: MountKind::Tmpfs, target, ..MountPoint::default() };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", size)) => point.size_bytes = Some(parse_size(size)?).filter(|s| *s > 0),
            None if option == "ro" => point.read_only = true,
            // What every mount of a container is.
            None if ["rw", "nosuid", "nodev", "exec"].contains(&option) => {}
            _ => {
                return Err(EngineError::invalid(format!("invalid tmpfs option [{option:?}]")));
            }
        }
    }
    Ok(point)
}

/// Driver of a mount as Docker shows it.
#[must_use]
pub fn driver(mount: &MountPoint) -> &'static str {
    if mount.is_volume() { DRIVER_LOCAL } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_volume_is_below_it() {
        for (text, part) in [("a/b", "a/b"), (r"a\b\", "a/b"), ("./a//b", "a/b"), (".", "")] {
            assert_eq!(subpath(text).as_deref(), Ok(part), "{text}");
        }
        for text in ["/a", r"\a", "../a", "a/../b", "C:a", "a\0"] {
            let error = subpath(text).unwrap_err();
            assert_eq!(error, "subpath must be a relative path within the volume", "{text}");
        }
    }

    #[test]
    fn a_part_that_is_not_there_or_leads_elsewhere_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let volume = place.path().join("_data");
        fs_err::create_dir_all(volume.join("in")).unwrap();
        fs_err::os::unix::fs::symlink("/etc", volume.join("out")).unwrap();
        fs_err::os::unix::fs::symlink("in", volume.join("link")).unwrap();
        let point = |part: &str| MountPoint {
            source: volume.clone(),
            subpath: part.to_owned(),
            ..MountPoint::default()
        };
        assert!(check_part(&point("in")).is_ok() && check_part(&point("link")).is_ok());
        let error = check_part(&point("out")).unwrap_err().to_string();
        assert!(error.contains("escapes the base directory"), "{error}");
        let error = check_part(&point("none")).unwrap_err().to_string();
        assert!(error.contains("cannot access path") && error.contains("no such file"), "{error}");
    }
}
