//! User namespaces with a mapping, held by a descriptor.
//!
//! The mapping of a user namespace is written from outside it, and the namespace must exist before
//! the mounts that map ids by it and before the process that lives in it. So a short-lived child
//! makes it, and the descriptor keeps it.
#![expect(unsafe_code, reason = "the flags of a link are changed by ioctl")]

use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use nix::{
    libc,
    sched::{CloneFlags, setns, unshare},
    sys::wait::{WaitStatus, waitpid},
    unistd::{Pid, pipe2, read, write},
};

use crate::fork::{Fork, fork};

/// A range of ids: `inside..inside + count` in a user namespace are `outside..` in its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// A user namespace.
#[derive(Debug)]
pub struct UserNamespace(OwnedFd);

impl UserNamespace {
    /// Makes a user namespace in which users and groups are mapped alike.
    ///
    /// # Errors
    /// Those of fork(2), unshare(2) and of writing the mapping; `Unsupported` when the process has
    /// more than one thread.
    pub fn new(range: IdRange) -> io::Result<Self> {
        Self::with(&[range], &[range])
    }

    /// Makes a user namespace in which users and groups are mapped each in their own way.
    ///
    /// # Errors
    /// Those of [`UserNamespace::new`]; the kernel refuses ranges that overlap.
    pub fn with(users: &[IdRange], groups: &[IdRange]) -> io::Result<Self> {
        let (made, tell_made) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let (stop, tell_stop) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        match fork()? {
            Fork::Child => {
                drop((made, tell_stop));
                hold_namespace(tell_made, &stop)
            }
            Fork::Parent(child) => {
                drop((tell_made, stop));
                let namespace = take_namespace(child, &made, users, groups);
                drop(tell_stop);
                wait_for(child)?;
                namespace
            }
        }
    }

    /// Moves this process into the namespace, where it is user 0 with all capabilities.
    ///
    /// # Errors
    /// Those of setns(2).
    pub fn enter(&self) -> io::Result<()> {
        Ok(setns(&self.0, CloneFlags::CLONE_NEWUSER)?)
    }
}

impl AsFd for UserNamespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The child: makes the namespace, says so, and ends when the parent has taken it.
fn hold_namespace(tell_made: OwnedFd, stop: &OwnedFd) -> ! {
    let status = match unshare(CloneFlags::CLONE_NEWUSER) {
        Ok(()) => {
            let told = write(&tell_made, &[1]).is_ok();
            drop(tell_made);
            let waited = read(stop, &mut [0]);
            i32::from(!(told && waited.is_ok()))
        }
        Err(_) => 1,
    };
    crate::process::exit_now(status)
}

fn take_namespace(
    child: Pid,
    made: &OwnedFd,
    users: &[IdRange],
    groups: &[IdRange],
) -> io::Result<UserNamespace> {
    if read(made, &mut [0])? != 1 {
        return Err(io::Error::other("the kernel made no user namespace"));
    }
    let process = PathBuf::from(format!("/proc/{child}"));
    fs_err::write(process.join("uid_map"), lines(users))?;
    fs_err::write(process.join("gid_map"), lines(groups))?;
    let (namespace, _) = fs_err::File::open(process.join("ns/user"))?.into_parts();
    Ok(UserNamespace(namespace.into()))
}

fn lines(ranges: &[IdRange]) -> String {
    let line = |range: &IdRange| format!("{} {} {}\n", range.inside, range.outside, range.count);
    ranges.iter().map(line).collect()
}

fn wait_for(child: Pid) -> io::Result<WaitStatus> {
    loop {
        match waitpid(child, None) {
            Err(nix::Error::EINTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Brings up the loopback link of this process's network namespace.
///
/// # Errors
/// Those of socket(2) and of `SIOCSIFFLAGS`.
pub fn raise_loopback() -> io::Result<()> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: all bytes zero is a valid `ifreq`: an empty name and a union of plain data.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(*b"lo") {
        *place = libc::c_char::from_ne_bytes([byte]);
    }
    let flags = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags =
        libc::c_short::try_from(flags).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the descriptor is open, and `request` is a valid `ifreq` with a name that ends with
    // NUL and the flags set, which the call only reads.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
