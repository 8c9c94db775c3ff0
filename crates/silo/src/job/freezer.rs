//! Stopping a silo's programs where they are.
//!
//! Not everything may stop: the agent answers the daemon, wineserver and the execution agent save
//! the registry. So a silo's programs are in a cgroup of their own below the silo's. A process is
//! born where its parent is, and all programs descend from the execution agent, so that one is kept
//! among them and taken out for the time of a pause:
//!
//! ```text
//! oriel/ID            agent, wineserver, drivers        while paused: execution agent
//! oriel/ID/programs   execution agent, programs         while paused: programs, frozen
//! ```
//!
//! One hierarchy suffices: the second version of cgroups, or the freezer of the first.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use fs_err::{self as fs, OpenOptions};
use oriel_sys::process::{Handle, ProcessName};

use super::{Place, Roots};
use crate::error::{Attempt, SiloError};

/// Name of the cgroup of a silo's programs.
const PROGRAMS: &str = "programs";

/// How long programs may take to stand still: milliseconds, unless stuck in the kernel on a disk or
/// network that does not answer.
const FREEZE_DEADLINE: Duration = Duration::from_secs(10);

/// Pause between two looks whether they do.
const FREEZE_PAUSE: Duration = Duration::from_millis(1);

/// How a hierarchy is told to stop a cgroup, and tells that it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switch {
    /// File to write.
    pub(super) file: &'static str,
    /// What to write there to stop, and to go on.
    pub(super) words: [&'static str; 2],
    /// File that tells.
    pub(super) told_in: &'static str,
    /// Its line when all have stopped.
    pub(super) stopped: &'static str,
}

/// The cgroups that matter for pausing one silo.
#[derive(Debug)]
pub(crate) struct Freezer {
    silo: PathBuf,
    switch: Switch,
}

impl Freezer {
    /// The freezer of the system at `place`; `None` when the host has none.
    pub(crate) fn of(roots: &Roots, place: &Place) -> Option<Self> {
        // The second version comes first: there a frozen program can still be killed.
        let switches = roots.0.iter().filter_map(|(root, kind)| Some((root, kind.switch()?)));
        let (root, switch) = switches.max_by_key(|(_, switch)| switch.file == "cgroup.freeze")?;
        Some(Self { silo: place.below(root), switch })
    }

    pub(super) fn programs(&self) -> PathBuf {
        self.silo.join(PROGRAMS)
    }

    /// Makes the cgroup of programs.
    pub(super) fn prepare(&self) -> io::Result<()> {
        fs::create_dir_all(self.programs())
    }

    /// Removes the cgroup of programs, unless some are in it.
    pub(super) fn remove(&self) {
        let _ = fs::remove_dir(self.programs());
    }

    /// The member of the silo that has the number `pid` in the silo's own numbering.
    pub(crate) fn find(&self, pid: u32) -> io::Result<Option<ProcessName>> {
        let wanted = pid.to_string();
        for directory in [self.silo.clone(), self.programs()] {
            let members = fs::read_to_string(directory.join("cgroup.procs"))?;
            for member in members.lines().filter_map(|line| line.parse().ok()) {
                let Ok(status) = fs::read_to_string(format!("/proc/{member}/status")) else {
                    continue;
                };
                let inner = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
                if inner.and_then(|pids| pids.split_whitespace().last()) == Some(&wanted) {
                    return ProcessName::of(member).map(Some);
                }
            }
        }
        Ok(None)
    }

    /// Puts the process that starts programs where a pause finds what it starts.
    pub(crate) fn enclose(&self, starter: ProcessName) -> Result<(), SiloError> {
        place(&self.programs(), starter)
    }

    /// Stops all programs; `starter` goes on. Idempotent. Blocks, a bounded time; on failure
    /// everything goes on.
    pub(crate) fn freeze(&self, starter: ProcessName) -> Result<(), SiloError> {
        place(&self.silo, starter)?;
        let frozen = self.set(self.switch.words[0]).and_then(|()| self.wait_until_stopped());
        if frozen.is_err() {
            self.release().and_then(|()| self.enclose(starter))?;
        }
        frozen
    }

    /// Lets all programs go on. Idempotent.
    pub(crate) fn thaw(&self, starter: ProcessName) -> Result<(), SiloError> {
        self.release()?;
        self.enclose(starter)
    }

    /// Lets all programs go on, in a silo that may be half gone.
    pub(crate) fn release(&self) -> Result<(), SiloError> {
        match self.set(self.switch.words[1]) {
            Err(SiloError::Kernel { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(())
            }
            other => other,
        }
    }

    fn set(&self, word: &str) -> Result<(), SiloError> {
        let file = self.programs().join(self.switch.file);
        let write = || {
            io::Write::write_all(&mut OpenOptions::new().write(true).open(&file)?, word.as_bytes())
        };
        write().attempt(|| format!("set {} to {word}", file.display()))
    }

    fn wait_until_stopped(&self) -> Result<(), SiloError> {
        let file = self.programs().join(self.switch.told_in);
        let attempt = || format!("wait for {} to say {:?}", file.display(), self.switch.stopped);
        let deadline = Instant::now() + FREEZE_DEADLINE;
        loop {
            let told = fs::read_to_string(&file).attempt(attempt)?;
            if told.lines().any(|line| line.trim() == self.switch.stopped) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(io::Error::from(io::ErrorKind::TimedOut)).attempt(attempt);
            }
            std::thread::sleep(FREEZE_PAUSE);
        }
    }
}

/// Moves a process into a cgroup. One that has ended needs no place.
fn place(directory: &Path, process: ProcessName) -> Result<(), SiloError> {
    let attempt = || format!("move process {} to {}", process.pid, directory.display());
    // While the handle is held the number is this process's or nobody's.
    let Some(_handle) = Handle::open(process).attempt(attempt)? else { return Ok(()) };
    match fs::write(directory.join("cgroup.procs"), process.pid.to_string()) {
        Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => Ok(()),
        other => other.attempt(attempt),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use oriel_hcs::{Limits, SystemId};

    use super::*;
    use crate::job::{self, Job};

    /// The real hierarchies of this host that can freeze, each alone.
    fn real_roots() -> Vec<Roots> {
        if !rustix::process::geteuid().is_root() {
            return Vec::new();
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let alone = mounts.lines().map(Roots::from_mounts);
        alone
            .filter(|roots| Freezer::of(roots, &Place::usual(&SystemId("x".into()))).is_some())
            .collect()
    }

    fn sleeper() -> Child {
        let mut sleep = Command::new("sleep");
        sleep.arg("600").stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
    }

    #[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
    fn skip() {
        eprintln!("skipped: no cgroup hierarchy that can freeze, or not root");
    }

    #[test]
    fn programs_stand_still_and_what_starts_them_does_not() {
        let all = real_roots();
        if all.is_empty() {
            return skip();
        }
        for (number, roots) in all.iter().enumerate() {
            let id = SystemId(format!("t-freezer-{}-{number}", std::process::id()));
            let place_of = Place::usual(&id);
            Job::create(roots, &place_of, &Limits::default(), None).unwrap().keep();
            let freezer = Freezer::of(roots, &place_of).unwrap();
            let (mut starter, mut program) = (sleeper(), sleeper());
            let [starting, running] =
                [&starter, &program].map(|child| ProcessName::of(child.id()).unwrap());
            place(&freezer.silo, starting).unwrap();
            assert_eq!(freezer.find(starting.pid).unwrap(), Some(starting));
            freezer.enclose(starting).unwrap();
            freezer.enclose(running).unwrap();
            for _ in 0..2 {
                freezer.freeze(starting).unwrap();
            }
            let members = |at: &Path| fs::read_to_string(at.join("cgroup.procs")).unwrap();
            assert_eq!(members(&freezer.silo).trim(), starting.pid.to_string());
            assert_eq!(members(&freezer.programs()).trim(), running.pid.to_string());
            freezer.thaw(starting).unwrap();
            freezer.thaw(starting).unwrap();
            assert_eq!(members(&freezer.silo), "");
            freezer.freeze(starting).unwrap();
            // A frozen silo is killed and removed all the same.
            job::remove(roots, &place_of).unwrap();
            assert!(!freezer.silo.exists());
            assert!(!starter.wait().unwrap().success() && !program.wait().unwrap().success());
            freezer.thaw(starting).unwrap();
        }
    }

    #[test]
    fn the_second_version_is_preferred_to_the_first() {
        const HYBRID: &str = "\
37 31 0:34 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";
        let file = |mounts: &str| {
            Freezer::of(&Roots::from_mounts(mounts), &Place::usual(&SystemId("x".into())))
                .map(|freezer| freezer.switch.file)
        };
        assert_eq!(file(HYBRID), Some("cgroup.freeze"));
        assert_eq!(file(HYBRID.lines().next().unwrap()), Some("freezer.state"));
        assert_eq!(file("30 24 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"), None);
    }
}
