//! The job object of a silo: a cgroup per hierarchy.
//!
//! Two kernels' worth of cgroups look alike from here: a [`Hierarchy`] turns limits into files to
//! write, and files into what was used. What is mounted decides which are used; on a host with
//! both, limits go to whichever has the controller. A controller that is missing matters only to a
//! limit that needs it.

mod block;
mod change;
mod freezer;
mod place;
mod read;
mod v1;
mod v2;

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use fs_err as fs;
use oriel_hcs::{Limit, Limits, Statistics};

pub(crate) use self::{
    block::Disk, change::change, freezer::Freezer, place::Place, read::measure, v2::PERIOD_MICROS,
};
use self::{block::Rate, freezer::Switch};
use crate::error::{Attempt, SiloError};

/// How long to wait for killed tasks to leave a cgroup: they are gone in milliseconds unless stuck
/// in the kernel on a disk or network that does not answer.
const REMOVE_DEADLINE: Duration = Duration::from_secs(10);

/// Pause between two looks at a cgroup that still has tasks.
const REMOVE_PAUSE: Duration = Duration::from_millis(2);

/// A file of a cgroup, and what to write to it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Setting {
    file: &'static str,
    value: String,
    /// Whether the host may be without the file.
    optional: bool,
}

impl Setting {
    fn new(file: &'static str, value: impl ToString) -> Self {
        Self { file, value: value.to_string(), optional: false }
    }

    fn optional(file: &'static str, value: impl ToString) -> Self {
        Self { optional: true, ..Self::new(file, value) }
    }
}

/// Limits, with the devices they name found.
#[derive(Clone, Copy, Debug)]
struct Wanted<'a> {
    limits: &'a Limits,
    rates: &'a [Rate],
}

/// One kind of cgroup hierarchy.
trait Hierarchy: std::fmt::Debug + Send + Sync {
    /// Makes a cgroup give its limits on to those below it.
    fn give_on(&self, parent: &Path) -> io::Result<()>;

    /// Makes a cgroup just made below `parent` ready for tasks.
    fn inherit(&self, parent: &Path, level: &Path) -> io::Result<()>;

    /// What to write in the cgroup's directory.
    fn settings(&self, wanted: Wanted<'_>) -> Vec<Setting>;

    /// What to write in the place of a setting to have no such limit.
    fn lifted(&self, setting: &Setting) -> String;

    /// Limits it can enforce.
    fn enforces(&self) -> Vec<Limit>;

    /// Adds what it counts of a cgroup.
    fn measure(&self, directory: &Path, statistics: &mut Statistics);

    /// How many of a cgroup's processes were killed at its limit of memory, if it counts them.
    fn killed(&self, directory: &Path) -> Option<u64>;

    /// How it stops programs, if it can.
    fn switch(&self) -> Option<Switch>;
}

/// Name of the cgroup controller that enforces a limit.
pub(crate) fn controller(limit: Limit) -> &'static str {
    match limit {
        Limit::Memory
        | Limit::Swap
        | Limit::Reservation
        | Limit::Swappiness
        | Limit::WaitForMemory => "memory",
        Limit::Processor => "cpu",
        Limit::Processors => "cpuset",
        Limit::Tasks => "pids",
        Limit::BlockWeight | Limit::BlockRate | Limit::DriveRate => "blkio or io",
    }
}

/// The hierarchies of this host.
#[derive(Debug)]
pub(crate) struct Roots(Vec<(PathBuf, Box<dyn Hierarchy>)>);

impl Roots {
    /// Finds what is mounted. Makes the cgroup that holds those of all silos, because some files
    /// by which the kernel tells what it can are in no root.
    pub(crate) fn discover() -> Result<Self, SiloError> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")
            .attempt(|| "read the list of mounts".to_owned())?;
        for (place, ..) in mounts.lines().filter_map(mount_line).filter(is_cgroup) {
            // Where this is not possible a limit that needs it is refused.
            let _ = Place::ensure_parent(Path::new(place));
        }
        Ok(Self::from_mounts(&mounts))
    }

    fn from_mounts(mounts: &str) -> Self {
        let mut roots: Vec<(PathBuf, Box<dyn Hierarchy>)> = Vec::new();
        for (place, kind, options) in mounts.lines().filter_map(mount_line).filter(is_cgroup) {
            if roots.iter().any(|(root, _)| root == Path::new(place)) {
                continue;
            }
            let root = Path::new(place);
            if kind == "cgroup2" {
                roots.push((root.into(), Box::new(v2::Unified::at(root))));
            } else if let Some(controller) = v1::Controller::of(root, options) {
                roots.push((root.into(), Box::new(controller)));
            }
        }
        Self(roots)
    }

    /// Limits that this host can enforce, whatever the disk.
    pub(crate) fn enforces(&self) -> Vec<Limit> {
        self.0.iter().flat_map(|(_, hierarchy)| hierarchy.enforces()).collect()
    }

    fn each(&self, place: &Place) -> impl Iterator<Item = (PathBuf, &dyn Hierarchy)> {
        self.0.iter().map(|(root, hierarchy)| (place.below(root), hierarchy.as_ref()))
    }
}

/// Mount point, file system type and its options, of a line of /proc/self/mountinfo.
fn mount_line(line: &str) -> Option<(&str, &str, &str)> {
    let (left, right) = line.split_once(" - ")?;
    let place = left.split(' ').nth(4)?;
    let mut right = right.splitn(3, ' ');
    let kind = right.next()?;
    Some((place, kind, right.nth(1).unwrap_or_default()))
}

fn is_cgroup((_, kind, options): &(&str, &str, &str)) -> bool {
    *kind == "cgroup2" || (*kind == "cgroup" && v1::is_known(options))
}

/// The cgroups of one silo. Dropping it removes them, unless it is kept.
#[derive(Debug)]
pub(crate) struct Job {
    /// Root of each hierarchy, and the silo's cgroup there.
    directories: Vec<(PathBuf, PathBuf)>,
    freezer: Option<Freezer>,
    kept: bool,
}

impl Job {
    /// Makes the cgroups of the system at `place` and sets its limits. `disk` is what drive C: is
    /// on.
    pub(crate) fn create(
        roots: &Roots,
        place: &Place,
        limits: &Limits,
        disk: Option<Disk>,
    ) -> Result<Self, SiloError> {
        change::need(roots, limits)?;
        let rates = block::rates(limits, disk)?;
        let freezer = Freezer::of(roots, place);
        let directories = roots.0.iter().map(|(root, _)| (root.clone(), place.below(root)));
        let job = Self { directories: directories.collect(), freezer, kept: false };
        for ((root, hierarchy), (_, directory)) in roots.0.iter().zip(&job.directories) {
            place
                .make(root, hierarchy.as_ref())
                .attempt(|| format!("make the cgroup {}", directory.display()))?;
            let wanted = Wanted { limits, rates: &rates };
            change::write_all(directory, &hierarchy.settings(wanted))?;
        }
        if let Some(freezer) = &job.freezer {
            freezer.prepare().attempt(|| "make the cgroup of programs".to_owned())?;
        }
        Ok(job)
    }

    /// Puts this process, and so all it will start, into the cgroups.
    pub(crate) fn join(&self) -> Result<(), SiloError> {
        for (_, directory) in &self.directories {
            fs::write(directory.join("cgroup.procs"), "0")
                .attempt(|| format!("join the cgroup {}", directory.display()))?;
        }
        Ok(())
    }

    /// Leaves the cgroups in place; the silo lives in them now.
    pub(crate) fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !self.kept {
            if let Some(freezer) = &self.freezer {
                freezer.remove();
            }
            // This process may be inside; moved out, it no longer holds them.
            for (root, directory) in &self.directories {
                let _ = fs::write(root.join("cgroup.procs"), "0");
                let _ = fs::remove_dir(directory);
            }
        }
    }
}

/// Kills whatever is in the cgroups of the system at `place` and removes them. Blocks, a bounded
/// time.
pub(crate) fn remove(roots: &Roots, place: &Place) -> Result<(), SiloError> {
    let deadline = Instant::now() + REMOVE_DEADLINE;
    if let Some(freezer) = Freezer::of(roots, place) {
        // In the first version what is frozen does not die.
        freezer.release()?;
        let programs = freezer.programs();
        remove_one(&programs, deadline)
            .attempt(|| format!("remove the cgroup {}", programs.display()))?;
    }
    for (directory, _) in roots.each(place) {
        remove_one(&directory, deadline)
            .attempt(|| format!("remove the cgroup {}", directory.display()))?;
    }
    Ok(())
}

fn remove_one(directory: &Path, deadline: Instant) -> io::Result<()> {
    loop {
        match fs::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => {}
        }
        kill_members(directory)?;
        std::thread::sleep(REMOVE_PAUSE);
    }
}

fn kill_members(directory: &Path) -> io::Result<()> {
    let members = match fs::read_to_string(directory.join("cgroup.procs")) {
        Ok(members) => members,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for pid in members.lines().filter_map(|line| line.parse().ok()) {
        let name = oriel_sys::process::ProcessName::of(pid);
        let handle = name.and_then(oriel_sys::process::Handle::open);
        if let Ok(Some(handle)) = handle {
            handle.kill()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
