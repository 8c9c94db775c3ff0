//! Network namespaces, and work inside one.
//!
//! The network namespace belongs to the thread, so work in one runs on an OS thread of its own that
//! ends with it; no thread of the runtime ever changes its own. `/proc/sys/net` shows the
//! namespace of the thread that looks, which makes settings inside plain files too.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use fs_err as fs;
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
};
use tokio::sync::oneshot;

/// The namespaces of an instance: files in a directory, each a mount of a namespace, which keeps
/// it alive without a process.
#[derive(Clone, Debug)]
pub(crate) struct Namespaces {
    directory: PathBuf,
}

impl Namespaces {
    /// Makes the directory. It becomes a private mount, so that mounts in it do not spread into
    /// the mount namespaces of containers, which would keep removed ones alive.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let directory = fs::canonicalize(directory)?;
        if !is_mount_point(&directory)? {
            let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some(&directory), &directory, None::<&str>, bind, None::<&str>)?;
        }
        mount(None::<&str>, &directory, None::<&str>, MsFlags::MS_PRIVATE, None::<&str>)?;
        Ok(Self { directory })
    }

    /// Undoes the mount, unless a namespace is left in the directory.
    pub(crate) fn close(&self) -> io::Result<()> {
        if fs::read_dir(&self.directory)?.next().is_some() {
            return Ok(());
        }
        umount2(&self.directory, MntFlags::MNT_DETACH)?;
        Ok(())
    }

    /// Where the namespace of the compartment is, or would be.
    pub(crate) fn path(&self, id: &str) -> PathBuf {
        self.directory.join(id)
    }

    /// Makes a namespace and leaves it mounted at its path.
    pub(crate) async fn create(&self, id: &str) -> io::Result<OwnedFd> {
        let path = self.path(id);
        on_thread(move || {
            fs::File::create_new(&path)?;
            unshare(CloneFlags::CLONE_NEWNET)?;
            let own = Path::new("/proc/thread-self/ns/net");
            mount(Some(own), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
            Ok(OwnedFd::from(fs::File::open(&path)?.into_parts().0))
        })
        .await
    }

    /// A namespace that exists.
    pub(crate) fn open_one(&self, id: &str) -> io::Result<OwnedFd> {
        Ok(OwnedFd::from(fs::File::open(self.path(id))?.into_parts().0))
    }

    /// Removes the name of a namespace; it ends when no process is left in it.
    pub(crate) fn remove(&self, id: &str) -> io::Result<()> {
        let path = self.path(id);
        match umount2(&path, MntFlags::MNT_DETACH) {
            // Not mounted, or not there: a making that was interrupted.
            Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Ids of all namespaces there are.
    pub(crate) fn ids(&self) -> io::Result<Vec<String>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            ids.extend(entry?.file_name().into_string().ok());
        }
        Ok(ids)
    }
}

/// Runs `work` on a thread of its own inside the namespace, with a runtime there.
pub(crate) async fn within<T: Send + 'static>(
    namespace: OwnedFd,
    work: impl AsyncFnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    on_thread(move || {
        setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(work())
    })
    .await
}

/// Runs blocking work on a thread that ends with it, so that the thread may change what belongs to
/// it. When dropped, the work goes on to its end.
pub(crate) async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new().name("netns".to_owned()).spawn(move || {
        // Nobody listens any more when the caller was dropped.
        let _ = sender.send(work());
    })?;
    receiver.await.unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
}

/// Mount points of this process, from `proc_pid_mountinfo(5)`: the fifth field, blanks escaped.
fn is_mount_point(path: &Path) -> io::Result<bool> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let path = path.to_string_lossy().replace(' ', "\\040");
    Ok(mounts.lines().any(|line| line.split(' ').nth(4) == Some(&path)))
}
