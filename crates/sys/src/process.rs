//! Naming a process so that a reused number is not mistaken for it.
//!
//! A process id alone means little once the process has ended: the kernel gives the number away
//! again. Together with the start time it names one process per boot; a [`Handle`] is a pidfd that
//! was checked against it, and from then on cannot point elsewhere.
#![expect(unsafe_code, reason = "_exit has no safe form")]

use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    str::FromStr,
};

use nix::libc;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Names one process of this boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessName {
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot, field 22 of /proc/PID/stat.
    pub start: u64,
}

impl ProcessName {
    /// The name of the process that has the number `pid` now.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = fs_err::read_to_string(format!("/proc/{pid}/stat"))?;
        let start = start_time(&stat).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { pid, start })
    }
}

impl fmt::Display for ProcessName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.start)
    }
}

impl FromStr for ProcessName {
    type Err = io::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.trim().split_once(' ');
        let parse = |(pid, start): (&str, &str)| {
            Some(Self { pid: pid.parse().ok()?, start: start.parse().ok()? })
        };
        parts.and_then(parse).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// Field 22 of /proc/PID/stat. The second field, the program's name, is in parentheses and may
/// hold anything, parentheses too.
fn start_time(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

/// A process that cannot be confused with another. Readable (poll) when the process has ended.
#[derive(Debug)]
pub struct Handle(OwnedFd);

impl Handle {
    /// Opens the process named; `None` when it is gone.
    ///
    /// # Errors
    /// Those of `pidfd_open`(2) but "no such process".
    pub fn open(name: ProcessName) -> io::Result<Option<Self>> {
        let Some(pid) = i32::try_from(name.pid).ok().and_then(Pid::from_raw) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => Self(handle),
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Checked after opening: the number cannot be reused while the start time is right.
        match ProcessName::of(name.pid) {
            Ok(now) if now == name => Ok(Some(handle)),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Kills it. Succeeds when it has ended already.
    ///
    /// # Errors
    /// Those of `pidfd_send_signal`(2).
    pub fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(&self.0, Signal::KILL) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            other => Ok(other?),
        }
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Handle> for OwnedFd {
    fn from(handle: Handle) -> Self {
        handle.0
    }
}

/// Ends this process at once: no destructor, no exit handler, no flush. For the child of a fork,
/// which must not run what belongs to its parent.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit takes any integer, touches no memory and does not return.
    unsafe { libc::_exit(status) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_a_hostile_program_name() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(start_time(stat), Some(4711));
    }

    #[test]
    fn a_name_survives_being_written_down() {
        let name = ProcessName::of(std::process::id()).unwrap();
        assert_eq!(name.to_string().parse::<ProcessName>().unwrap(), name);
        assert!("7".parse::<ProcessName>().is_err());
    }

    #[test]
    fn a_reused_number_is_not_the_process() {
        let name = ProcessName::of(std::process::id()).unwrap();
        assert!(Handle::open(name).unwrap().is_some());
        let other = ProcessName { start: name.start + 1, ..name };
        assert!(Handle::open(other).unwrap().is_none());
    }
}
