//! Files in and out of containers: `docker cp`.
//!
//! A container that does not run is read and written through its layers; one that runs through its
//! own drive C:. Either way it neither starts nor ends meanwhile, so archives are kept in files:
//! only the disk is waited for while a container is held, never a client.

use std::{fs::File, io::Read, path::PathBuf, sync::Arc};

use oriel_image::{Clash, FileMount, ImageError, PathStat, SandboxFiles, Unpack};

use crate::{Engine, EngineError, MountKind, MountPoint, container::Container, mount_text};

impl Engine {
    /// What is at a path of a container; a link at its end is not followed.
    ///
    /// # Errors
    /// `NotFound` for the container and for the path, `Invalid` for what is no path.
    pub async fn path_stat(&self, reference: &str, path: &str) -> Result<PathStat, EngineError> {
        let wanted = path.to_owned();
        let stat = self.with_files(reference, path, move |_, files| files.path_stat(&wanted));
        stat.await?.ok_or_else(|| missing(reference, path))
    }

    /// A path of a container with all that is in it, as a tar in a file without a name.
    ///
    /// # Errors
    /// Those of [`Engine::path_stat`]; `Invalid` when it is larger than there is room for.
    pub async fn copy_out(
        &self,
        reference: &str,
        path: &str,
    ) -> Result<(PathStat, File), EngineError> {
        let wanted = path.to_owned();
        let copied = self.with_files(reference, path, move |engine, files| {
            let Some(stat) = files.path_stat(&wanted)? else { return Ok(None) };
            let mut tar = engine.images().scratch_file()?;
            files.pack(&wanted, &mut tar)?;
            Ok(Some((stat, tar)))
        });
        let copied = copied.await?.ok_or_else(|| missing(reference, path))?;
        self.emit(&self.find(reference)?.record(), "archive-path", &[]);
        Ok(copied)
    }

    /// Unpacks a tar, compressed or not, in a directory of a container.
    ///
    /// # Errors
    /// Those of [`Engine::path_stat`]; `Invalid` for an archive that no container should get,
    /// which then changes nothing, and for what is read-only.
    pub async fn copy_in(
        &self,
        reference: &str,
        path: &str,
        mut archive: impl Read + Send + 'static,
        clash: Clash,
    ) -> Result<(), EngineError> {
        let container = self.find(reference)?;
        check_writable(&container, path)?;
        let kept = self.blocking(move |engine| engine.images().keep_archive(&mut archive));
        let mut archive = kept.await?;
        let directory = path.to_owned();
        self.with_files(reference, path, move |_, files| {
            files.unpack(&mut Unpack { directory: &directory, archive: &mut archive, clash })
        })
        .await?;
        self.emit(&container.record(), "extract-to-dir", &[]);
        Ok(())
    }

    /// Does something with the files of a container, which neither starts nor ends meanwhile.
    async fn with_files<T: Send + 'static>(
        &self,
        reference: &str,
        path: &str,
        work: impl FnOnce(&Self, &SandboxFiles) -> Result<T, ImageError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let container = self.find(reference)?;
        let engine = self.clone();
        let task = async move {
            let _operation = container.operation.lock().await;
            let of = container.clone();
            engine.blocking(move |engine| work(engine, &engine.files(&of)?)).await
        };
        match self.inner.tasks.complete(task).await {
            Err(EngineError::Image(ImageError::PathNotFound { .. })) => {
                Err(missing(reference, path))
            }
            other => other,
        }
    }

    /// The files of a container, with what is mounted among them.
    fn files(&self, container: &Arc<Container>) -> Result<SandboxFiles, ImageError> {
        let sandbox = self.images().sandbox(&container.id)?;
        let files = self.images().sandbox_files(&sandbox);
        let mounts = container.record().spec.host.mounts.clone();
        let shown: Vec<_> = mounts.iter().filter_map(file_mount).collect();
        if let Some(live) = container.live() {
            return files.live(&live.system.drive())?.with_mounts(&shown);
        }
        // Mount points are made when a container starts; this one may never have.
        for mount in mounts.iter().filter(|mount| mount.kind != MountKind::Npipe) {
            let (parent, _) = mount.target.rsplit_once('\\').unwrap_or(("C:", ""));
            let _ = files.create_dir_all(parent);
        }
        files.with_mounts(&shown)
    }
}

/// What is mounted, unless it is memory, which is there only while its container runs.
fn file_mount(mount: &MountPoint) -> Option<FileMount> {
    let MountPoint { kind, source, target, read_only, .. } = mount.clone();
    // A part of a volume is found by names that its container can change: on the host nobody may
    // follow them.
    if !mount.subpath.is_empty() {
        return None;
    }
    (!matches!(kind, MountKind::Tmpfs | MountKind::Npipe) && source != PathBuf::new())
        .then_some(FileMount { target, source, read_only })
}

/// Docker's refusal to write where the container itself may not.
fn check_writable(container: &Container, path: &str) -> Result<(), EngineError> {
    let host = container.record().spec.host.clone();
    if !host.confinement.read_only {
        return Ok(());
    }
    let path = mount_text::target(path).unwrap_or_default().to_lowercase();
    let holds = |mount: &MountPoint| {
        let rest = path.strip_prefix(&mount.target.to_lowercase());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('\\'))
    };
    match host.mounts.iter().any(holds) {
        // Whether it may be written is looked at where it is.
        true => Ok(()),
        false => Err(EngineError::invalid("container rootfs is marked read-only")),
    }
}

fn missing(reference: &str, path: &str) -> EngineError {
    EngineError::NoSuchFile { path: path.to_owned(), container: reference.to_owned() }
}
