//! `fork` for programs that have one thread.
//!
//! `std::process::Command` can only start another program; a silo's pid 1 goes on in this one.
//! After `fork` the child of a program with several threads may call next to nothing, because
//! locks held by the other threads stay locked. So [`fork`] refuses unless there is one thread,
//! and then the child may do whatever the parent may.
#![expect(unsafe_code, reason = "fork and close_range have no safe form")]

use std::{io, os::fd::RawFd};

use nix::{
    libc,
    unistd::{ForkResult, Pid},
};

/// Which side of a [`fork`] this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// The parent, and its new child.
    Parent(Pid),
    /// The child.
    Child,
}

/// Splits this process in two.
///
/// # Errors
/// Those of fork(2); `Unsupported` when the process has more than one thread.
pub fn fork() -> io::Result<Fork> {
    if thread_count()? != 1 {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "fork needs a process with one thread",
        ));
    }
    // SAFETY: this is the only thread (checked above, and no other can appear meanwhile, for only
    // this one could start it), so no lock is held and no state is half changed in the child.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Fork::Parent(child)),
        ForkResult::Child => Ok(Fork::Child),
    }
}

/// Closes every descriptor from `first` on, for a program that has just started and wants nothing
/// its parent may have leaked to it.
///
/// # Errors
/// Those of `close_range`(2); `Unsupported` when the process has more than one thread.
pub fn close_inherited(first: RawFd) -> io::Result<()> {
    let first =
        libc::c_uint::try_from(first).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    if thread_count()? != 1 {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "descriptors can be closed by a process with one thread only",
        ));
    }
    // SAFETY: marks descriptors close-on-exec instead of closing them, so that no owned descriptor
    // of this process is closed behind its owner's back.
    let result = unsafe { libc::close_range(first, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `CLOSE_RANGE_CLOEXEC` of linux/close_range.h.
const CLOSE_RANGE_CLOEXEC: libc::c_int = 1 << 2;

fn thread_count() -> io::Result<usize> {
    let mut count = 0;
    for entry in fs_err::read_dir("/proc/self/task")? {
        entry?;
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fork_is_refused_beside_other_threads() {
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || wait.recv());
        let error = fork().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        drop(release);
        assert!(other.join().unwrap().is_err());
    }
}
