//! What a container cannot see or do.

use anyhow::{Result, ensure};
use oriel_conformance::{Case, Daemon, Outcome};

use crate::PASSED;

pub(crate) const CASES: &[Case] = &[
    Case { name: "only_drive_c_exists", run: only_drive_c },
    Case { name: "no_file_of_the_host_can_be_read", run: no_host_file },
    Case { name: "the_agents_have_no_capability_and_a_filter", run: no_capability },
    Case { name: "containers_have_registries_of_their_own", run: own_registry },
    Case { name: "a_memory_limit_is_in_force", run: memory_limit },
];

fn only_drive_c(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    for drive in ["D:\\", "Z:\\"] {
        let command = format!("if exist {drive} (echo there) else (echo absent)");
        let text = docker.run(&["run", "--rm", "nanoserver", "cmd", "/c", &command])?;
        ensure!(text.trim() == "absent", "{drive}: {text}");
    }
    PASSED
}

fn no_host_file(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let secret = daemon.scratch().join("secret");
    fs_err::write(&secret, "the host's secret")?;
    for path in ["/etc/shadow", "/bin/sh", "/root", &secret.to_string_lossy()] {
        let path = format!("\\\\?\\unix{}", path.replace('/', "\\"));
        let command = ["run", "--rm", "nanoserver", "cmd", "/c", "type", path.as_str()];
        let output = docker.try_run(&command)?;
        ensure!(output.status != 0 && output.stdout.is_empty(), "{path}: {output:?}");
    }
    PASSED
}

fn no_capability(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    docker.run(&[
        "run",
        "-d",
        "--name",
        "caged",
        "nanoserver",
        "ping",
        "-n",
        "1000",
        "127.0.0.1",
    ])?;
    let pid = docker.inspect("caged")?["State"]["Pid"].to_string();
    let status = fs_err::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).unwrap_or_default().to_owned()
    };
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        ensure!(field(set) == "0000000000000000", "{set} {}", field(set));
    }
    ensure!(field("NoNewPrivs:") == "1" && field("Seccomp:") == "2", "{status}");
    ensure!(field("Uid:") != "0", "pid 1 is root on the host");
    for namespace in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let of = |pid: &str| fs_err::read_link(format!("/proc/{pid}/ns/{namespace}"));
        ensure!(of(&pid)? != of("self")?, "the {namespace} namespace is the host's");
    }
    docker.run(&["rm", "-f", "caged"])?;
    PASSED
}

fn own_registry(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let add = "reg add HKLM\\Software\\OrielTest /v mine /d 1 /f";
    docker.run(&["run", "--name", "writer", "nanoserver", "cmd", "/c", add])?;
    let query = ["reg", "query", "HKLM\\Software\\OrielTest"];
    let other = docker.try_run(&[&["run", "--rm", "nanoserver"], &query[..]].concat())?;
    ensure!(other.status != 0, "{other:?}");
    docker.run(&["rm", "writer"])?;
    PASSED
}

fn memory_limit(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let arguments = ["run", "-d", "--name", "small", "-m", "256m", "nanoserver"];
    docker.run(&[&arguments[..], &["ping", "-n", "1000", "127.0.0.1"]].concat())?;
    let pid = docker.inspect("small")?["State"]["Pid"].to_string();
    let groups = fs_err::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let limit = groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        match controllers {
            "memory" => {
                fs_err::read_to_string(format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes"))
                    .ok()
            }
            "" => fs_err::read_to_string(format!("/sys/fs/cgroup{path}/memory.max")).ok(),
            _ => None,
        }
    });
    docker.run(&["rm", "-f", "small"])?;
    ensure!(limit.as_deref().map(str::trim) == Some("268435456"), "{limit:?}\n{groups}");
    PASSED
}
