//! What happens when something dies.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use oriel_conformance::{Case, Daemon, Outcome};
use rustix::process::{Pid, Signal, kill_process};

use crate::PASSED;

pub(crate) const CASES: &[Case] = &[
    Case { name: "a_container_outlives_the_daemon", run: outlives },
    Case { name: "an_exit_while_the_daemon_is_dead_is_not_lost", run: exit_meanwhile },
    Case { name: "a_daemon_killed_during_run_leaves_no_half_container", run: killed_during_run },
    Case { name: "ctrl_c_with_rm_leaves_nothing", run: ctrl_c },
    Case { name: "a_client_that_vanishes_leaves_nothing_with_rm", run: vanished_client },
];

fn outlives(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    // Wine's ping keeps its lines back while its output is no console.
    let talk = "for /l %i in (1,1,1000) do @(echo line %i& ping -n 2 127.0.0.1 >nul)";
    docker.run(&["run", "-d", "--name", "survivor", "nanoserver", "cmd", "/c", talk])?;
    let pid = docker.inspect("survivor")?["State"]["Pid"].clone();
    daemon.kill()?;
    daemon.restart()?;
    let state = docker.inspect("survivor")?["State"].clone();
    ensure!(state["Status"] == "running" && state["Pid"] == pid, "{state}");
    let text = docker.run(&["exec", "survivor", "cmd", "/c", "echo still here"])?;
    ensure!(text.trim() == "still here", "{text}");
    let before = docker.run(&["logs", "survivor"])?.lines().count();
    docker.wait_until("the log grows again", |docker| {
        Ok(docker.run(&["logs", "survivor"])?.lines().count() > before)
    })?;
    docker.run(&["rm", "-f", "survivor"])?;
    PASSED
}

fn exit_meanwhile(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let command = "ping -n 4 127.0.0.1 >nul& echo last words& exit 3221225786";
    docker.run(&["run", "-d", "--name", "orphan", "nanoserver", "cmd", "/c", command])?;
    daemon.kill()?;
    std::thread::sleep(Duration::from_secs(6));
    daemon.restart()?;
    let code = docker.run(&["wait", "orphan"])?;
    let log = docker.run(&["logs", "orphan"])?;
    docker.run(&["rm", "-f", "orphan"])?;
    ensure!(code.trim() == "3221225786", "exit code {code}");
    ensure!(log.contains("last words"), "log {log:?}");
    PASSED
}

/// Kills the daemon while a client waits for it, and starts it again.
pub(crate) fn kill_during(daemon: &mut Daemon, words: &[&str], delay: Duration) -> Result<()> {
    let mut client =
        daemon.docker().command(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    std::thread::sleep(delay);
    daemon.kill()?;
    client.wait()?;
    daemon.restart()
}

fn killed_during_run(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    for delay in [5, 20, 40, 60, 90, 130] {
        let words = ["run", "--rm", "nanoserver", "ping", "-n", "2", "127.0.0.1"];
        kill_during(daemon, &words, Duration::from_millis(delay))?;
        docker.wait_until("every container is gone or whole", |docker| {
            Ok(docker.run(&["ps", "-aq", "--filter", "status=running"])?.is_empty())
        })?;
        for id in docker.run(&["ps", "-aq"])?.lines() {
            let state = docker.inspect(id)?["State"]["Status"].clone();
            ensure!(state == "created" || state == "exited", "after {delay} ms: {state}");
            docker.run(&["rm", "-f", id])?;
        }
    }
    PASSED
}

fn ctrl_c(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let mut client = docker
        .command(&[
            "run",
            "--rm",
            "--name",
            "interrupted",
            "nanoserver",
            "ping",
            "-n",
            "1000",
            "127.0.0.1",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    docker.wait_until("the container runs", |docker| {
        Ok(!docker.run(&["ps", "-q", "--filter", "name=interrupted"])?.is_empty())
    })?;
    let pid = i32::try_from(client.id()).ok().and_then(Pid::from_raw).context("a pid")?;
    kill_process(pid, Signal::INT)?;
    let start = Instant::now();
    client.wait()?;
    ensure!(start.elapsed() < Duration::from_secs(20), "the client took {:?}", start.elapsed());
    docker
        .wait_until("the container is gone", |docker| Ok(docker.run(&["ps", "-aq"])?.is_empty()))?;
    PASSED
}

fn vanished_client(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let mut client = docker
        .command(&[
            "run",
            "--rm",
            "--name",
            "deserted",
            "nanoserver",
            "ping",
            "-n",
            "3",
            "127.0.0.1",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    docker.wait_until("the container runs", |docker| {
        Ok(!docker.run(&["ps", "-q", "--filter", "name=deserted"])?.is_empty())
    })?;
    client.kill()?;
    client.wait()?;
    docker
        .wait_until("the container is gone", |docker| Ok(docker.run(&["ps", "-aq"])?.is_empty()))?;
    PASSED
}
