//! The job object of a silo: a cgroup per hierarchy.
//!
//! Two kernels' worth of cgroups look alike from here: a [`Hierarchy`] turns limits into files to
//! write. What is mounted decides which are used; on a host with both, limits go to whichever has
//! the controller. A controller that is missing matters only to a limit that needs it.

mod freezer;
mod v1;
mod v2;

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use fs_err as fs;
use oriel_hcs::{Limits, SystemId};

pub(crate) use self::freezer::Freezer;
use self::freezer::Switch;
use crate::error::{Attempt, SiloError};

/// Name of the directory that holds the cgroups of all silos.
const PARENT: &str = "oriel";

/// How long to wait for killed tasks to leave a cgroup: they are gone in milliseconds unless stuck
/// in the kernel on a disk or network that does not answer.
const REMOVE_DEADLINE: Duration = Duration::from_secs(10);

/// Pause between two looks at a cgroup that still has tasks.
const REMOVE_PAUSE: Duration = Duration::from_millis(2);

/// One kind of cgroup hierarchy.
trait Hierarchy: std::fmt::Debug {
    /// Makes the cgroup directory ready to take `limits`, which its parents must allow.
    fn prepare(&self, root: &Path) -> io::Result<()>;

    /// Files to write in the cgroup's directory for `limits`, and what they say.
    fn settings(&self, limits: &Limits) -> Vec<(&'static str, String)>;

    /// Limits it can enforce.
    fn enforces(&self) -> Vec<Limit>;

    /// How it stops programs, if it can.
    fn switch(&self) -> Option<Switch>;
}

/// A limit, to ask who can enforce it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Memory.
    Memory,
    /// Processor time and weight.
    Processor,
    /// Number of tasks.
    Tasks,
}

impl Limit {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Memory, Self::Processor, Self::Tasks];

    /// Name of the controller that enforces it.
    pub(crate) fn controller(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Processor => "cpu",
            Self::Tasks => "pids",
        }
    }

    fn asked(self, limits: &Limits) -> bool {
        match self {
            Self::Memory => limits.memory_bytes.is_some(),
            Self::Processor => limits.nano_cpus.is_some() || limits.cpu_weight.is_some(),
            Self::Tasks => limits.tasks.is_some(),
        }
    }
}

/// The hierarchies of this host.
#[derive(Debug)]
pub(crate) struct Roots(Vec<(PathBuf, Box<dyn Hierarchy>)>);

impl Roots {
    /// Finds what is mounted.
    pub(crate) fn discover() -> Result<Self, SiloError> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")
            .attempt(|| "read the list of mounts".to_owned())?;
        Ok(Self::from_mounts(&mounts))
    }

    fn from_mounts(mounts: &str) -> Self {
        let mut roots: Vec<(PathBuf, Box<dyn Hierarchy>)> = Vec::new();
        for line in mounts.lines() {
            let Some((place, kind, options)) = mount_line(line) else { continue };
            if roots.iter().any(|(root, _)| root == Path::new(place)) {
                continue;
            }
            match kind {
                "cgroup2" => roots.push((place.into(), Box::new(v2::Unified::at(place)))),
                "cgroup" => {
                    if let Some(controller) = v1::Controller::from_options(options) {
                        roots.push((place.into(), Box::new(controller)));
                    }
                }
                _ => {}
            }
        }
        Self(roots)
    }

    /// Limits that this host can enforce.
    pub(crate) fn enforces(&self) -> Vec<Limit> {
        self.0.iter().flat_map(|(_, hierarchy)| hierarchy.enforces()).collect()
    }

    fn directories(&self, id: &SystemId) -> Vec<PathBuf> {
        self.0.iter().map(|(root, _)| root.join(PARENT).join(&id.0)).collect()
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

/// The cgroups of one silo. Dropping it removes them, unless it is kept.
#[derive(Debug)]
pub(crate) struct Job {
    directories: Vec<PathBuf>,
    freezer: Option<Freezer>,
    kept: bool,
}

impl Job {
    /// Makes the cgroups of the system `id` and sets its limits.
    pub(crate) fn create(roots: &Roots, id: &SystemId, limits: &Limits) -> Result<Self, SiloError> {
        let enforced = roots.enforces();
        let missing = |limit: &Limit| limit.asked(limits) && !enforced.contains(limit);
        if let Some(limit) = Limit::ALL.into_iter().find(missing) {
            let detail = format!("a limit needs the cgroup controller {}", limit.controller());
            return Err(SiloError::Document { detail });
        }
        let freezer = Freezer::of(roots, id);
        let job = Self { directories: roots.directories(id), freezer, kept: false };
        for ((root, hierarchy), directory) in roots.0.iter().zip(&job.directories) {
            hierarchy
                .prepare(root)
                .and_then(|()| fs::create_dir_all(directory))
                .attempt(|| format!("make the cgroup {}", directory.display()))?;
            for (file, value) in hierarchy.settings(limits) {
                let file = directory.join(file);
                fs::write(&file, &value)
                    .attempt(|| format!("set {} to {value}", file.display()))?;
            }
        }
        if let Some(freezer) = &job.freezer {
            freezer.prepare().attempt(|| format!("make the cgroup of the programs of {id}"))?;
        }
        Ok(job)
    }

    /// Puts this process, and so all it will start, into the cgroups.
    pub(crate) fn join(&self) -> Result<(), SiloError> {
        for directory in &self.directories {
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
            for directory in &self.directories {
                let root = directory.parent().and_then(Path::parent);
                if let Some(root) = root {
                    let _ = fs::write(root.join("cgroup.procs"), "0");
                }
                let _ = fs::remove_dir(directory);
            }
        }
    }
}

/// Kills whatever is in the cgroups of the system `id` and removes them. Blocks, a bounded time.
pub(crate) fn remove(roots: &Roots, id: &SystemId) -> Result<(), SiloError> {
    let deadline = Instant::now() + REMOVE_DEADLINE;
    if let Some(freezer) = Freezer::of(roots, id) {
        // In the first version what is frozen does not die.
        freezer.release()?;
        let programs = freezer.programs();
        remove_one(&programs, deadline)
            .attempt(|| format!("remove the cgroup {}", programs.display()))?;
    }
    for directory in roots.directories(id) {
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
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 24 0:26 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 24 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
33 24 0:29 / /proc rw - proc proc rw
34 24 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
";

    #[test]
    fn a_hybrid_host_is_understood() {
        let roots = Roots::from_mounts(HYBRID);
        let places: Vec<_> = roots.0.iter().map(|(root, _)| root.to_str().unwrap()).collect();
        assert_eq!(
            places,
            ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/unified"]
        );
    }

    fn unified(controllers: &str) -> (tempfile::TempDir, Roots) {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("cgroup.controllers"), controllers).unwrap();
        let line = format!("1 1 0:1 / {} rw - cgroup2 cgroup2 rw", place.path().display());
        let roots = Roots::from_mounts(&line);
        (place, roots)
    }

    #[test]
    fn limits_become_files_on_a_unified_host() {
        let (place, roots) = unified("cpu memory pids\n");
        let limits = Limits {
            memory_bytes: Some(1 << 29),
            nano_cpus: Some(1_500_000_000),
            cpu_weight: Some(5_000),
            tasks: Some(64),
        };
        let id = SystemId("abc".into());
        Job::create(&roots, &id, &limits).unwrap().keep();
        let read =
            |file: &str| fs::read_to_string(place.path().join("oriel/abc").join(file)).unwrap();
        assert_eq!(read("memory.max"), "536870912");
        assert_eq!(read("cpu.max"), "150000 100000");
        assert_eq!(read("cpu.weight"), "100");
        assert_eq!(read("pids.max"), "64");
    }

    #[test]
    fn a_missing_controller_matters_only_to_a_limit_that_needs_it() {
        let (_place, roots) = unified("cpu\n");
        let id = SystemId("abc".into());
        Job::create(&roots, &id, &Limits::default()).unwrap().keep();
        let limits = Limits { tasks: Some(1), ..Limits::default() };
        let refused = Job::create(&roots, &id, &limits);
        assert!(matches!(refused, Err(SiloError::Document { .. })));
    }

    #[test]
    fn removal_is_idempotent() {
        let (place, roots) = unified("");
        let id = SystemId("abc".into());
        remove(&roots, &id).unwrap();
        Job::create(&roots, &id, &Limits::default()).unwrap().keep();
        remove(&roots, &id).unwrap();
        remove(&roots, &id).unwrap();
        assert!(!place.path().join("oriel/abc").exists());
    }
}
