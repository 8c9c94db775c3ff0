//! Limits that hold for real programs, and what `docker stats` says of them.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use oriel_conformance::{Case, Daemon, Docker, Outcome};
use serde_json::Value;

use crate::{PASSED, windows_program};

pub(crate) const CASES: &[Case] = &[
    Case { name: "a_program_ends_at_its_limit_of_memory", run: memory },
    Case { name: "a_fork_bomb_stops_at_its_limit_of_tasks", run: fork_bomb },
    Case { name: "a_read_only_drive_takes_no_write_and_a_volume_does", run: read_only },
    Case { name: "an_update_raises_a_limit_of_what_runs", run: update },
    Case { name: "statistics_show_a_busy_program_and_its_limit_holds", run: busy },
    Case { name: "docker_stats_lists_what_runs", run: stats },
    Case { name: "limits_of_processes_and_networks_are_theirs", run: processes },
];

/// A loop that ends never and waits for nothing.
const BUSY: &str = "for /l %i in (1,0,2) do @rem";

/// The option that shows the container a folder with `deno.exe`.
fn deno() -> Result<String> {
    Ok(format!("{}:C:\\deno:ro", windows_program("deno")?.display()))
}

/// A program for deno that takes as many megabytes, for good.
fn take(megabytes: u32) -> String {
    format!(
        "const kept = []; for (let i = 0; i < {megabytes}; i++) {{ kept.push(new Uint8Array(1 << \
         20).fill(1)); }} console.log('took', kept.length)"
    )
}

fn memory(daemon: &mut Daemon) -> Result<Outcome> {
    let (docker, folder) = (daemon.docker(), deno()?);
    let run = ["run", "--name", "bomb", "-m", "200m", "-v", &folder, "nanoserver"];
    let bomb = take(4000);
    let program = ["C:\\deno\\deno.exe", "eval", bomb.as_str()];
    let output = docker.try_run(&[&run[..], &program[..]].concat())?;
    ensure!(output.status != 0 && !output.stdout.contains("took"), "{output:?}");
    let state = &docker.inspect("bomb")?["State"];
    ensure!(state["OOMKilled"] == true && state["Status"] == "exited", "{state}");
    let since = ["events", "--since", "1h", "--until", "0s", "--filter", "container=bomb"];
    // The client asks up to the second that has begun.
    docker.wait_until("an event oom", |docker| {
        let events = docker.run(&[&since[..], &["--format", "{{.Action}}"][..]].concat())?;
        Ok(events.lines().any(|action| action == "oom"))
    })?;
    docker.run(&["rm", "bomb"])?;
    PASSED
}

fn fork_bomb(daemon: &mut Daemon) -> Result<Outcome> {
    let (docker, folder) = (daemon.docker(), deno()?);
    let bomb = "let n = 0; const all = []; try { for (; n < 400; n++) { all.push(new Deno.Command(\
                'cmd.exe', { args: ['/c', 'pause'], stdin: 'piped', stdout: 'null' }).spawn()); } \
                } catch { } console.log('started', n); Deno.exit(n < 400 ? 7 : 8)";
    let run = ["run", "--rm", "--pids-limit", "120", "-v", &folder, "nanoserver"];
    let program = ["C:\\deno\\deno.exe", "eval", bomb];
    let output = docker.try_run(&[&run[..], &program[..]].concat())?;
    // Whether it sees the refusal or dies of it, it does not get through.
    ensure!(output.status != 0 && output.status != 8, "{output:?}");
    let other = docker.try_run(&["run", "--rm", "nanoserver", "cmd", "/c", "echo well"])?;
    ensure!(other.stdout.trim() == "well", "{other:?}");
    PASSED
}

fn read_only(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let options = ["--read-only", "-v", "kept:C:\\kept", "--tmpfs", "C:\\scratch"];
    let command = "(echo a> C:\\kept\\f) & (echo b> C:\\scratch\\f) & (echo c> C:\\f) & \
                   (md C:\\d) & type C:\\kept\\f & type C:\\scratch\\f & \
                   if not exist C:\\f echo none";
    let program = ["nanoserver", "cmd", "/c", command];
    let run = ["run", "--name", "firm", "-u", "ContainerAdministrator"];
    let output = docker.try_run(&[&run[..], &options[..], &program[..]].concat())?;
    let words: Vec<&str> = output.stdout.split_whitespace().collect();
    ensure!(words == ["a", "b", "none"], "{output:?}");
    let scratch = daemon.scratch().join("file");
    fs_err::write(&scratch, "x")?;
    let copied = docker.try_run(&["cp", &scratch.to_string_lossy(), "firm:C:\\f"])?;
    ensure!(copied.stderr.contains("rootfs is marked read-only"), "{copied:?}");
    docker.run(&["rm", "firm"])?;
    docker.run(&["volume", "rm", "kept"])?;
    PASSED
}

fn update(daemon: &mut Daemon) -> Result<Outcome> {
    let (docker, folder) = (daemon.docker(), deno()?);
    let run = ["run", "-di", "--name", "grows", "-m", "128m", "-v", &folder, "nanoserver", "cmd"];
    docker.run(&run)?;
    let program = take(200);
    let take = ["exec", "grows", "C:\\deno\\deno.exe", "eval", program.as_str()];
    let killed = docker.try_run(&take)?;
    ensure!(killed.status != 0 && !killed.stdout.contains("took 200"), "{killed:?}");
    docker.run(&["update", "-m", "1g", "--restart", "on-failure:2", "grows"])?;
    let took = docker.try_run(&take)?;
    ensure!(took.stdout.contains("took 200"), "{took:?}");
    daemon.restart()?;
    let host = &docker.inspect("grows")?["HostConfig"];
    ensure!(host["Memory"] == 1 << 30, "{host}");
    ensure!(host["RestartPolicy"]["MaximumRetryCount"] == 2, "{host}");
    docker.run(&["rm", "-f", "grows"])?;
    PASSED
}

/// Processors that a container uses, over two samples of its statistics.
fn used(docker: &Docker, name: &str) -> Result<f64> {
    let (status, body) = docker.http("GET", &format!("/containers/{name}/stats?stream=0"), "")?;
    ensure!(status == 200, "{body}");
    let stats: Value = serde_json::from_str(&body)?;
    let total = |which: &str| stats[which]["cpu_usage"]["total_usage"].as_f64();
    let spent = total("cpu_stats").zip(total("precpu_stats")).map(|(now, before)| now - before);
    let at = |which: &str| -> Result<f64> {
        let text = stats[which].as_str().context("a moment")?;
        let (_, time) = text.trim_end_matches('Z').split_once('T').context("a time")?;
        let parts: Vec<f64> = time.split(':').map(str::parse).collect::<Result<_, _>>()?;
        Ok(parts.iter().fold(0.0, |sum, part| sum * 60.0 + part))
    };
    // A day has so many seconds; the two may be on both sides of midnight.
    let passed = (at("read")? - at("preread")?).rem_euclid(86_400.0);
    Ok(spent.context("processor time")? / 1e7 / passed)
}

fn busy(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    docker.run(&["run", "-d", "--name", "busy", "nanoserver", "cmd", "/c", BUSY])?;
    let limited = ["run", "-d", "--name", "slow", "--cpus", "0.1", "nanoserver", "cmd", "/c", BUSY];
    docker.run(&limited)?;
    let (free, bound) = (used(&docker, "busy")?, used(&docker, "slow")?);
    docker.run(&["rm", "-f", "busy", "slow"])?;
    ensure!(free > 0.2, "a busy program uses {free} processors");
    ensure!(bound < 0.2, "a limit of 0.1 processors lets {bound} through");
    PASSED
}

fn stats(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    docker.run(&["run", "-di", "--name", "idle", "nanoserver", "cmd"])?;
    docker.run(&["create", "--name", "still", "nanoserver", "cmd"])?;
    let table = docker.run(&["stats", "--no-stream"])?;
    let format = "{{.Name}} {{.MemUsage}} {{.NetIO}} {{.BlockIO}}";
    let all = docker.run(&["stats", "--no-stream", "--all", "--format", format])?;
    docker.run(&["rm", "-f", "idle", "still"])?;
    ensure!(table.contains("PRIV WORKING SET") && !table.contains("still"), "{table}");
    let line = all.lines().find(|line| line.starts_with("idle ")).context("a line")?;
    ensure!(line.contains("MiB") && line.matches(" / ").count() == 2, "{all}");
    ensure!(all.lines().any(|line| line.starts_with("still ")), "{all}");
    PASSED
}

fn processes(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let options = [
        "--ulimit",
        "nofile=2000:3000",
        "--ulimit",
        "core=-1",
        "--oom-score-adj",
        "300",
        "--sysctl",
        "net.core.somaxconn=321",
        "--cpuset-cpus",
        "0",
        "--cgroup-parent",
        "/oriel-e2e",
        "--init",
    ];
    docker.run(
        &[&["run", "-di", "--name", "bound"], &options[..], &["nanoserver", "cmd"]].concat(),
    )?;
    let pid = docker.inspect("bound")?["State"]["Pid"].to_string();
    let read = |file: &str| fs_err::read_to_string(format!("/proc/{pid}/{file}"));
    let (limits, score) = (read("limits")?, read("oom_score_adj")?);
    let (groups, status) = (read("cgroup")?, read("status")?);
    let inside = Command::new("nsenter")
        .args(["-t", &pid, "-n", "cat", "/proc/sys/net/core/somaxconn"])
        .output()?;
    docker.run(&["rm", "-f", "bound"])?;
    remove_parent()?;
    let limit = |name: &str| limits.lines().find(|line| line.starts_with(name));
    let files = limit("Max open files").context("a limit of files")?;
    ensure!(files.contains("2000") && files.contains("3000"), "{files}");
    let core = limit("Max core file size").context("a limit of cores")?;
    ensure!(core.matches("unlimited").count() == 2, "{core}");
    ensure!(score.trim() == "300", "{score}");
    ensure!(groups.contains(":/oriel-e2e/"), "{groups}");
    ensure!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");
    ensure!(String::from_utf8_lossy(&inside.stdout).trim() == "321", "{inside:?}");
    PASSED
}

/// A parent that somebody names is theirs: the daemon makes it and leaves it.
fn remove_parent() -> Result<()> {
    let root = std::path::Path::new("/sys/fs/cgroup");
    let below = fs_err::read_dir(root)?.flatten().map(|entry| entry.path());
    for hierarchy in below.chain([root.to_owned()]) {
        let parent = hierarchy.join("oriel-e2e");
        if parent.exists() {
            fs_err::remove_dir(parent)?;
        }
    }
    Ok(())
}
