//! Tests of cgroups: on trees of plain files, and of pausing on real ones in `freezer`.

use oriel_hcs::{DeviceLimit, DeviceRule, Swap, SystemId};

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

/// A unified host with these controllers, and files that the kernel would offer.
fn unified(controllers: &str) -> (tempfile::TempDir, Roots) {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("cgroup.controllers"), controllers).unwrap();
    fs::create_dir_all(root.path().join("oriel/abc")).unwrap();
    for file in ["oriel/memory.swap.max", "oriel/io.weight", "oriel/abc/memory.swap.max"] {
        fs::write(root.path().join(file), "").unwrap();
    }
    let line = format!("1 1 0:1 / {} rw - cgroup2 cgroup2 rw", root.path().display());
    let roots = Roots::from_mounts(&line);
    (root, roots)
}

/// A host with one hierarchy of the first version.
fn separate(controller: &str) -> (tempfile::TempDir, Roots) {
    let root = tempfile::tempdir().unwrap();
    let place = root.path().display();
    let roots = Roots::from_mounts(&format!("1 1 0:1 / {place} rw - cgroup cgroup {controller}"));
    (root, roots)
}

fn place() -> Place {
    Place::usual(&SystemId("abc".into()))
}

fn read(root: &tempfile::TempDir, file: &str) -> String {
    fs::read_to_string(root.path().join("oriel/abc").join(file)).unwrap()
}

/// The limits of memory, processors and tasks that most clients use.
fn limits() -> Limits {
    Limits {
        memory_bytes: Some(1 << 29),
        nano_cpus: Some(1_500_000_000),
        cpu_weight: Some(5_000),
        tasks: Some(64),
        ..Limits::default()
    }
}

#[test]
fn limits_become_files_on_a_unified_host() {
    let (root, roots) = unified("cpu cpuset io memory pids\n");
    let disk = Disk::of(8, 16);
    let limits = Limits {
        swap: Swap::UpTo(1 << 30),
        reserved_memory_bytes: Some(1 << 20),
        processors: "0-1".into(),
        block_weight: Some(1000),
        drive_bytes: Some(1_000_000),
        drive_operations: Some(50),
        ..limits()
    };
    Job::create(&roots, &place(), &limits, Some(disk)).unwrap().keep();
    for (file, content) in [
        ("memory.max", "536870912"),
        ("memory.swap.max", "536870912"),
        ("memory.low", "1048576"),
        ("cpu.max", "150000 100000"),
        ("cpu.weight", "100"),
        ("cpuset.cpus", "0-1"),
        ("pids.max", "64"),
        ("io.weight", "10000"),
        ("io.max", "8:16 riops=50 wiops=50 rbps=1000000 wbps=1000000"),
    ] {
        assert_eq!(read(&root, file), content, "{file}");
    }
}

#[test]
fn a_quota_and_its_period_are_taken_as_they_are() {
    let (root, roots) = unified("cpu\n");
    let limits =
        Limits { quota_micros: Some(20_000), period_micros: Some(50_000), ..Limits::default() };
    Job::create(&roots, &place(), &limits, None).unwrap().keep();
    assert_eq!(read(&root, "cpu.max"), "20000 50000");
}

#[test]
fn limits_change_while_a_silo_runs_and_those_not_asked_any_more_go() {
    for (kind, controllers) in [("v2", "cpu memory pids\n"), ("v1", "rw,pids")] {
        let (root, roots) = match kind {
            "v2" => unified(controllers),
            _ => separate(controllers),
        };
        let before = Limits { tasks: Some(64), ..Limits::default() };
        Job::create(&roots, &place(), &before, None).unwrap().keep();
        let after = Limits { tasks: Some(128), ..Limits::default() };
        change(&roots, &place(), None, (&before, &after)).unwrap();
        assert_eq!(read(&root, "pids.max"), "128", "{kind}");
        change(&roots, &place(), None, (&after, &Limits::default())).unwrap();
        assert_eq!(read(&root, "pids.max"), "max", "{kind}");
    }
}

#[test]
fn a_change_that_fails_leaves_what_was() {
    let (root, roots) = unified("cpu memory pids\n");
    Job::create(&roots, &place(), &limits(), None).unwrap().keep();
    // In the place of a file, what cannot be written.
    fs::remove_file(root.path().join("oriel/abc/pids.max")).unwrap();
    fs::create_dir(root.path().join("oriel/abc/pids.max")).unwrap();
    let after = Limits { memory_bytes: Some(1 << 30), tasks: Some(1), ..limits() };
    assert!(change(&roots, &place(), None, (&limits(), &after)).is_err());
    assert_eq!(read(&root, "memory.max"), "536870912");
}

#[test]
fn a_missing_controller_matters_only_to_a_limit_that_needs_it() {
    let (_root, roots) = unified("cpu\n");
    Job::create(&roots, &place(), &Limits::default(), None).unwrap().keep();
    let limits = Limits { tasks: Some(1), ..Limits::default() };
    let refused = Job::create(&roots, &place(), &limits, None);
    assert!(matches!(refused, Err(SiloError::Document { .. })));
}

#[test]
fn what_is_no_block_device_is_named() {
    let (_root, roots) = unified("io\n");
    let device = DeviceLimit { path: "/dev/null".into(), rule: DeviceRule::ReadBytes, value: 1 };
    let limits = Limits { devices: vec![device], ..Limits::default() };
    let error = Job::create(&roots, &place(), &limits, None).unwrap_err().to_string();
    assert!(error.contains("/dev/null is not a block device"), "{error}");
}

#[test]
fn a_silo_goes_where_it_is_told() {
    let (root, roots) = unified("memory\n");
    let place = Place::of(&SystemId("abc".into()), "/a/b").unwrap();
    Job::create(&roots, &place, &limits_of_memory(), None).unwrap().keep();
    let file = root.path().join("a/b/abc/memory.max");
    assert_eq!(fs::read_to_string(file).unwrap(), "5");
    let given = fs::read_to_string(root.path().join("a/b/cgroup.subtree_control")).unwrap();
    assert_eq!(given, "+memory");
}

fn limits_of_memory() -> Limits {
    Limits { memory_bytes: Some(5), ..Limits::default() }
}

#[test]
fn a_set_of_processors_is_inherited_before_tasks_come() {
    let (root, roots) = separate("rw,cpuset");
    for (file, set) in [("cpuset.cpus", "0-3\n"), ("cpuset.mems", "0\n")] {
        fs::write(root.path().join(file), set).unwrap();
        fs::create_dir_all(root.path().join("oriel/abc")).unwrap();
        for level in ["oriel", "oriel/abc"] {
            fs::write(root.path().join(level).join(file), "\n").unwrap();
        }
    }
    let limits = Limits { processors: "1".into(), ..Limits::default() };
    Job::create(&roots, &place(), &limits, None).unwrap().keep();
    assert_eq!(read(&root, "cpuset.cpus"), "1");
    assert_eq!(read(&root, "cpuset.mems"), "0");
}

#[test]
fn what_a_unified_host_counts_is_read() {
    let (root, roots) = unified("cpu memory pids io\n");
    Job::create(&roots, &place(), &Limits::default(), None).unwrap().keep();
    for (file, content) in [
        ("cpu.stat", "usage_usec 30\nuser_usec 20\nsystem_usec 10\n"),
        ("memory.stat", "anon 100\nfile 900\nshmem 20\n"),
        ("memory.swap.current", "5\n"),
        ("memory.peak", "2000\n"),
        ("memory.events", "low 0\noom 2\noom_kill 1\n"),
        ("pids.current", "7\n"),
        ("io.stat", "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n"),
    ] {
        fs::write(root.path().join("oriel/abc").join(file), content).unwrap();
    }
    let found = measure(&roots, &place(), 0);
    assert_eq!((found.cpu_100ns, found.cpu_user_100ns, found.cpu_kernel_100ns), (300, 200, 100));
    assert_eq!((found.private_bytes, found.commit_bytes), (120, 125));
    assert_eq!((found.commit_peak_bytes, found.tasks), (2000, 7));
    assert_eq!((found.reads, found.read_bytes, found.writes, found.write_bytes), (1, 10, 2, 20));
    assert_eq!(roots.killed(&place()), 1);
}

#[test]
fn what_separate_hierarchies_count_is_read() {
    let (root, roots) = separate("rw,memory");
    Job::create(&roots, &place(), &Limits::default(), None).unwrap().keep();
    let stat = "rss 1\ntotal_rss 100\ntotal_swap 5\ntotal_shmem 20\n";
    fs::write(root.path().join("oriel/abc/memory.stat"), stat).unwrap();
    let control = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
    fs::write(root.path().join("oriel/abc/memory.oom_control"), control).unwrap();
    let found = measure(&roots, &place(), 0);
    assert_eq!((found.private_bytes, found.commit_bytes), (120, 125));
    assert_eq!(roots.killed(&place()), 3);
}

#[test]
fn removal_is_idempotent() {
    let (root, roots) = unified("");
    for file in ["memory.swap.max", "cgroup.subtree_control"] {
        let _ = fs::remove_file(root.path().join("oriel/abc").join(file));
    }
    remove(&roots, &place()).unwrap();
    Job::create(&roots, &place(), &Limits::default(), None).unwrap().keep();
    remove(&roots, &place()).unwrap();
    remove(&roots, &place()).unwrap();
    assert!(!root.path().join("oriel/abc").exists());
}
