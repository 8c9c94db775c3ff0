//! Volumes: data that outlives containers.
//!
//! A volume is a directory `volumes/NAME/_data` of the data root and a record. What it holds
//! belongs to user 0 on disk, which a container sees as its own user. What a crash leaves is put
//! in order when the engine opens:
//!
//! | found | becomes |
//! |---|---|
//! | `.removing-NAME` | removed, with its record: the removal goes on |
//! | `.creating-NAME` and a record | renamed: the creation goes on |
//! | `.creating-NAME` without a record | removed |
//! | a record without a directory | a volume that is empty |
//! | a directory without a record | a volume without labels: data is never thrown away |
//!
//! Who uses a volume is not written down: the records of containers say it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::Permissions,
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

use fs_err as fs;
use oriel_hcs::Class;
use serde::{Deserialize, Serialize};

use crate::{Engine, EngineError, Time, mounts::MountPoint, records::Records};

/// The one driver there is.
pub const DRIVER_LOCAL: &str = "local";

/// Label of volumes that nobody named (moby `daemon/volume/service`).
pub const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";

/// Directory of a volume's data, in the volume's own.
const DATA: &str = "_data";
const CREATING: &str = ".creating-";
const REMOVING: &str = ".removing-";

/// A request for a volume.
#[derive(Clone, Debug, Default)]
pub struct VolumeRequest {
    /// Name; empty has one invented.
    pub name: String,
    /// Driver; empty is `local`.
    pub driver: String,
    /// Options of the driver; `local` has none.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A volume as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeView {
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created: Time,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The directory of its data on the host.
    pub mountpoint: PathBuf,
    /// Ids of the containers that have it, whether they run or not.
    pub users: Vec<String>,
}

impl VolumeView {
    /// Whether nobody named it.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.labels.contains_key(ANONYMOUS_LABEL)
    }
}

/// What is kept of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeRecord {
    pub(crate) version: u32,
    pub(crate) name: String,
    pub(crate) created: Time,
    pub(crate) labels: BTreeMap<String, String>,
}

impl VolumeRecord {
    fn new(name: String, created: Time, labels: BTreeMap<String, String>) -> Self {
        Self { version: 1, name, created, labels }
    }
}

/// All volumes. Changes hold the lock while they write, so that each is seen whole or not at all.
pub(crate) struct Volumes {
    root: PathBuf,
    records: Records,
    known: Mutex<BTreeMap<String, Known>>,
}

/// A volume that exists.
struct Known {
    record: VolumeRecord,
    users: BTreeSet<String>,
}

impl Volumes {
    /// Opens what is below `root`, and puts in order what a crash left.
    pub(crate) fn open(root: PathBuf, records: Records, now: Time) -> Result<Self, EngineError> {
        let file = |attempt| move |source| EngineError::File { attempt, source };
        fs::create_dir_all(&root).map_err(file("make the directory of volumes"))?;
        // As with Docker, other users of the host do not see what containers keep.
        fs::set_permissions(&root, Permissions::from_mode(0o700))
            .map_err(file("close the directory of volumes"))?;
        let mut known: BTreeMap<String, Known> = BTreeMap::new();
        for record in records.volumes()? {
            known.insert(record.name.clone(), Known { record, users: BTreeSet::new() });
        }
        let volumes = Self { root, records, known: Mutex::new(known) };
        volumes.reconcile(now)?;
        Ok(volumes)
    }

    fn reconcile(&self, now: Time) -> Result<(), EngineError> {
        let file = |source| EngineError::File { attempt: "put the volumes in order", source };
        let mut known = self.lock();
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(&self.root).map_err(file)? {
            let entry = entry.map_err(file)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if let Some(name) = name.strip_prefix(REMOVING) {
                self.records.forget_volume(name)?;
                known.remove(name);
                fs::remove_dir_all(entry.path()).map_err(file)?;
            } else if let Some(name) = name.strip_prefix(CREATING) {
                if known.contains_key(name) {
                    fs::rename(entry.path(), self.root.join(name)).map_err(file)?;
                    found.insert(name.to_owned());
                } else {
                    fs::remove_dir_all(entry.path()).map_err(file)?;
                }
            } else if entry.file_type().map_err(file)?.is_dir() && check_name(&name).is_ok() {
                found.insert(name);
            }
        }
        for name in &found {
            if !known.contains_key(name) && self.data(name).is_dir() {
                tracing::warn!(volume = name, "taking up a volume that has no record");
                let record = VolumeRecord::new(name.clone(), now, BTreeMap::new());
                self.records.save_volume(&record)?;
                known.insert(name.clone(), Known { record, users: BTreeSet::new() });
            }
        }
        for name in known.keys().filter(|name| !self.data(name).is_dir()) {
            tracing::warn!(volume = name, "a volume has lost its data");
            fs::create_dir_all(self.data(name)).map_err(file)?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().expect("no panic while volumes are changed")
    }

    /// The directory of a volume's data.
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.root.join(name).join(DATA)
    }

    /// Makes a volume, unless there is one of that name, and has `user` use it. Tells whether it
    /// was made.
    fn create(
        &self,
        record: VolumeRecord,
        user: Option<&str>,
    ) -> Result<(VolumeView, bool), EngineError> {
        let mut known = self.lock();
        let name = record.name.clone();
        let is_new = !known.contains_key(&name);
        if is_new {
            self.write(&record)?;
            known.insert(name.clone(), Known { record, users: BTreeSet::new() });
        }
        let volume = known.get_mut(&name).expect("it is there or was put there");
        volume.users.extend(user.map(str::to_owned));
        Ok((self.view(volume), is_new))
    }

    /// The directory first, then the record, then the directory's name.
    fn write(&self, record: &VolumeRecord) -> Result<(), EngineError> {
        let file = |source| EngineError::File { attempt: "make a volume", source };
        let made = self.root.join(format!("{CREATING}{}", record.name));
        fs::create_dir_all(made.join(DATA)).map_err(file)?;
        let sync = |path: &Path| fs::File::open(path).and_then(|directory| directory.sync_all());
        sync(&made).map_err(file)?;
        let kept = self.records.save_volume(record).and_then(|()| {
            fs::rename(&made, self.root.join(&record.name))
                .and_then(|()| sync(&self.root))
                .map_err(file)
        });
        if kept.is_err() {
            // The record goes first: without it the rest goes when the engine opens.
            let _ = self.records.forget_volume(&record.name);
            let _ = fs::remove_dir_all(&made);
        }
        kept
    }

    /// Has `user` use a volume that exists.
    pub(crate) fn claim(&self, name: &str, user: &str) -> Result<(), EngineError> {
        let mut known = self.lock();
        let missing = || EngineError::NoSuchVolume { name: name.to_owned() };
        known.get_mut(name).ok_or_else(missing)?.users.insert(user.to_owned());
        Ok(())
    }

    /// Has `user` no longer use a volume.
    pub(crate) fn release(&self, name: &str, user: &str) {
        if let Some(volume) = self.lock().get_mut(name) {
            volume.users.remove(user);
        }
    }

    /// Removes a volume that nobody uses. Its name is free at once; deleting its data may take
    /// longer.
    fn remove(&self, name: &str) -> Result<(), EngineError> {
        let file = |source| EngineError::File { attempt: "remove a volume", source };
        let doomed = self.root.join(format!("{REMOVING}{name}"));
        {
            let mut known = self.lock();
            let missing = || EngineError::NoSuchVolume { name: name.to_owned() };
            let users = &known.get(name).ok_or_else(missing)?.users;
            if !users.is_empty() {
                let users = users.iter().cloned().collect();
                return Err(EngineError::VolumeInUse { name: name.to_owned(), users });
            }
            fs::rename(self.root.join(name), &doomed).map_err(file)?;
            self.records.forget_volume(name)?;
            known.remove(name);
        }
        match fs::remove_dir_all(&doomed) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file(error)),
            _ => Ok(()),
        }
    }

    fn list(&self) -> Vec<VolumeView> {
        self.lock().values().map(|volume| self.view(volume)).collect()
    }

    fn find(&self, name: &str) -> Result<VolumeView, EngineError> {
        let missing = || EngineError::NoSuchVolume { name: name.to_owned() };
        self.lock().get(name).map(|volume| self.view(volume)).ok_or_else(missing)
    }

    fn view(&self, volume: &Known) -> VolumeView {
        VolumeView {
            name: volume.record.name.clone(),
            created: volume.record.created,
            labels: volume.record.labels.clone(),
            mountpoint: self.data(&volume.record.name),
            users: volume.users.iter().cloned().collect(),
        }
    }
}

/// Checks a name as moby's `local` driver and its Windows parser do.
fn check_name(name: &str) -> Result<(), EngineError> {
    let refuse = |problem: String| Err(EngineError::invalid(format!("create {name}: {problem}")));
    if name.len() == 1 {
        return refuse(
            "volume name is too short, names should be at least two alphanumeric characters"
                .to_owned(),
        );
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(plain) {
        return refuse(format!(
            "\"{name}\" includes invalid characters for a local volume name, only \
             \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, \
             use absolute path"
        ));
    }
    // Room for what the name gets on disk while the volume is made.
    if name.len() > 255 - CREATING.len() {
        return refuse("volume name is too long".to_owned());
    }
    if is_reserved(name) {
        return refuse(format!(
            "volume name \"{name}\" cannot be a reserved word for Windows filenames"
        ));
    }
    Ok(())
}

/// Whether Windows keeps a name for a device.
fn is_reserved(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let numbered = |device: &str| {
        lower.strip_prefix(device).is_some_and(|n| matches!(n.as_bytes(), [b'1'..=b'9']))
    };
    ["con", "prn", "nul", "aux"].contains(&lower.as_str()) || numbered("com") || numbered("lpt")
}

impl Engine {
    /// All volumes, by name.
    #[must_use]
    pub fn volumes(&self) -> Vec<VolumeView> {
        self.inner.volumes.list()
    }

    /// One volume.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn volume(&self, name: &str) -> Result<VolumeView, EngineError> {
        self.inner.volumes.find(name)
    }

    /// Creates a volume. One of that name that is there already is as good.
    ///
    /// # Errors
    /// `Invalid` for a bad name or for options, `NotFound` for another driver.
    pub async fn create_volume(&self, request: VolumeRequest) -> Result<VolumeView, EngineError> {
        let task = {
            let engine = self.clone();
            async move { engine.blocking(move |e| e.make_volume(request, None)).await }
        };
        Ok(self.inner.tasks.complete(task).await?.0)
    }

    /// The same, for a container to be, which has it from then on. Tells whether it was made.
    pub(crate) fn make_volume(
        &self,
        request: VolumeRequest,
        user: Option<&str>,
    ) -> Result<(VolumeView, bool), EngineError> {
        let VolumeRequest { mut name, driver, options, mut labels } = request;
        if !driver.is_empty() && driver != DRIVER_LOCAL {
            return Err(EngineError::NoSuchVolumeDriver { name, driver });
        }
        if name.is_empty() {
            name = self.inner.parts.ids.id();
            labels.insert(ANONYMOUS_LABEL.to_owned(), String::new());
        }
        check_name(&name)?;
        if !options.is_empty() {
            return Err(EngineError::invalid(format!(
                "create {name}: options are not supported on this platform"
            )));
        }
        let record = VolumeRecord::new(name, self.now(), labels);
        let (view, is_new) = self.inner.volumes.create(record, user)?;
        if is_new {
            self.emit_volume(&view.name, "create", &[]);
        }
        Ok((view, is_new))
    }

    /// Removes a volume that no container has; with `force`, there being none is fine.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when a container has it.
    pub async fn remove_volume(&self, name: &str, force: bool) -> Result<(), EngineError> {
        let task = {
            let (engine, name) = (self.clone(), name.to_owned());
            async move { engine.blocking(move |engine| engine.drop_volume(&name)).await }
        };
        match self.inner.tasks.complete(task).await {
            Err(EngineError::NoSuchVolume { .. }) if force => Ok(()),
            other => other,
        }
    }

    fn drop_volume(&self, name: &str) -> Result<(), EngineError> {
        self.inner.volumes.remove(name)?;
        self.emit_volume(name, "destroy", &[]);
        Ok(())
    }

    /// Removes all volumes that no container has and that `wanted` accepts. Returns their names
    /// and the bytes of their files.
    ///
    /// # Errors
    /// `Host`; what was removed before stays so.
    pub async fn prune_volumes(
        &self,
        wanted: impl Fn(&VolumeView) -> bool,
    ) -> Result<(Vec<String>, u64), EngineError> {
        let (mut removed, mut reclaimed) = (Vec::new(), 0);
        let unused = self.volumes().into_iter().filter(|volume| volume.users.is_empty());
        for volume in unused.filter(wanted) {
            let sizes = self.volume_sizes(std::slice::from_ref(&volume)).await;
            match self.remove_volume(&volume.name, false).await {
                Ok(()) => {
                    reclaimed += sizes.get(&volume.name).copied().unwrap_or_default();
                    removed.push(volume.name);
                }
                // Taken or removed by somebody else meanwhile.
                Err(error) if matches!(error.class(), Class::Conflict | Class::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        self.emit_prune("volume", reclaimed);
        Ok((removed, reclaimed))
    }

    /// Bytes of the files of volumes, by name. One that cannot be measured is left out. Takes time
    /// in proportion to the number of files.
    pub async fn volume_sizes(&self, volumes: &[VolumeView]) -> BTreeMap<String, u64> {
        let wanted: Vec<_> =
            volumes.iter().map(|volume| (volume.name.clone(), volume.mountpoint.clone())).collect();
        let measured = self.blocking(move |_| {
            let measured = wanted.into_iter().filter_map(|(name, path)| {
                let size = oriel_image::directory_bytes(&path);
                match size {
                    Ok(size) => Some((name, size)),
                    Err(error) => {
                        tracing::warn!(volume = name, error = %error, "cannot measure a volume");
                        None
                    }
                }
            });
            Ok::<_, EngineError>(measured.collect())
        });
        measured.await.unwrap_or_default()
    }

    /// Gives up the volumes of a container that is gone, and removes those that came with it when
    /// `anonymous` says so.
    pub(crate) fn release_volumes(
        &self,
        container: &str,
        mounts: &[MountPoint],
        anonymous: Anonymous,
    ) {
        for mount in mounts.iter().filter(|mount| mount.is_volume()) {
            self.inner.volumes.release(&mount.name, container);
        }
        if anonymous == Anonymous::Remove {
            let unnamed = mounts.iter().filter(|mount| mount.is_volume() && mount.anonymous);
            self.drop_unused(unnamed.map(|mount| &mount.name));
        }
    }

    /// Removes those of `names` that no container has.
    pub(crate) fn drop_unused<'a>(&self, names: impl IntoIterator<Item = &'a String>) {
        for name in names {
            match self.drop_volume(name) {
                Ok(()) => {}
                Err(error) if matches!(error.class(), Class::Conflict | Class::NotFound) => {}
                Err(error) => {
                    tracing::warn!(volume = name, error = %error, "cannot remove a volume");
                }
            }
        }
    }

    /// Emits an event of a volume.
    pub(crate) fn emit_volume(&self, name: &str, action: &str, further: &[(&str, String)]) {
        let mut attributes = BTreeMap::from([("driver".to_owned(), DRIVER_LOCAL.to_owned())]);
        let further = further.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
        attributes.extend(further);
        self.emit_event("volume", action, name, attributes);
    }

    /// Emits the events of volumes that a container begins or ceases to show.
    pub(crate) fn emit_mounts(&self, container: &str, mounts: &[MountPoint], action: &str) {
        for mount in mounts.iter().filter(|mount| mount.is_volume()) {
            let mut further = vec![("container", container.to_owned())];
            if action == "mount" {
                further.extend([
                    ("destination", mount.target.clone()),
                    ("propagation", String::new()),
                    ("read/write", (!mount.read_only).to_string()),
                ]);
            }
            self.emit_volume(&mount.name, action, &further);
        }
    }
}

/// What becomes of the volumes that nobody named when their container goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anonymous {
    /// They stay.
    Keep,
    /// They go with it, unless another container has them too.
    Remove,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_refused_in_dockers_words() {
        for (name, words) in [
            ("v", "create v: volume name is too short, names should be at least two"),
            ("a/b", "\"a/b\" includes invalid characters for a local volume name, only"),
            (".x", "If you intended to pass a host directory, use absolute path"),
            ("..", "includes invalid characters"),
            ("a b", "includes invalid characters"),
            ("con", "volume name \"con\" cannot be a reserved word for Windows filenames"),
            ("LPT9", "cannot be a reserved word"),
            (&"x".repeat(300), "too long"),
        ] {
            let error = check_name(name).unwrap_err();
            assert!(error.to_string().contains(words), "{name}: {error}");
        }
        for name in ["v1", "My.Data_1-x", "com10", "console", "lpt0"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
    }
}
