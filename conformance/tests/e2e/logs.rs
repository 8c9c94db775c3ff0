//! Log drivers under a program that talks, and under a daemon that dies.

use anyhow::{Result, ensure};
use oriel_conformance::{Case, Daemon, Docker, Outcome};

use crate::PASSED;

pub(crate) const CASES: &[Case] = &[
    Case { name: "who_follows_a_log_sees_every_line_across_rotations", run: rotations },
    Case { name: "a_local_log_survives_the_death_of_the_daemon", run: survives },
    Case { name: "a_container_without_a_log_says_so", run: none },
    Case { name: "the_daemon_has_defaults_for_logs", run: defaults },
];

/// Lines that a talkative program prints.
const LINES: u32 = 3000;

/// Prints numbers, one a line, and waits.
fn talks(lines: u32) -> String {
    format!("for /l %i in (1,1,{lines}) do @echo line %i")
}

fn expected(lines: u32) -> String {
    (1..=lines).map(|number| format!("line {number}\n")).collect()
}

/// Starts a container that prints `lines` lines; returns its id.
fn started(docker: &Docker, options: &[&str], lines: u32) -> Result<String> {
    let command = talks(lines);
    let arguments = [&["run", "-d"], options, &["nanoserver", "cmd", "/c", &command]].concat();
    Ok(docker.run(&arguments)?.trim().to_owned())
}

fn rotations(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    for driver in ["json-file", "local"] {
        let options = [
            "--log-driver",
            driver,
            "--log-opt",
            "max-size=20k",
            "--log-opt",
            "max-file=50",
            "--log-opt",
            "compress=true",
        ];
        let id = started(&docker, &options, LINES)?;
        let followed = docker.run(&["logs", "-f", &id])?;
        ensure!(followed == expected(LINES), "{driver}: {} bytes", followed.len());
        let again = docker.run(&["logs", &id])?;
        ensure!(again == followed, "{driver}: a second reader sees something else");
        let tail = docker.run(&["logs", "--tail", "1500", &id])?;
        ensure!(tail.lines().count() == 1500 && followed.ends_with(&tail), "{driver}: {tail}");
        let directory = daemon.data_root().join("containers").join(&id);
        let packed = count(&directory, ".gz")?;
        ensure!(packed > 1, "{driver}: only {packed} files are compressed");
        docker.run(&["rm", "-f", &id])?;
        ensure!(!directory.exists(), "{} is left behind", directory.display());
    }
    PASSED
}

/// Files below a directory whose names end so.
fn count(directory: &std::path::Path, end: &str) -> Result<usize> {
    let mut found = 0;
    for entry in fs_err::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found += count(&entry.path(), end)?;
        } else if entry.file_name().to_string_lossy().ends_with(end) {
            found += 1;
        }
    }
    Ok(found)
}

fn survives(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    // Slow enough that the daemon dies in the middle.
    let command = "for /l %i in (1,1,40) do @(echo line %i& ping -n 1 -w 50 127.0.0.1 >nul)";
    let run = ["run", "-d", "--log-driver", "local", "nanoserver", "cmd", "/c", command];
    let id = docker.run(&run)?.trim().to_owned();
    docker.wait_until("the first lines", |docker| {
        Ok(docker.run(&["logs", &id])?.lines().count() >= 3)
    })?;
    daemon.kill()?;
    daemon.restart()?;
    let docker = daemon.docker();
    docker.run(&["wait", &id])?;
    let log = docker.run(&["logs", &id])?;
    let whole = expected(40);
    let whole: Vec<&str> = whole.lines().collect();
    let mut rest = whole.iter();
    let mut found = log.lines();
    ensure!(found.all(|line| rest.any(|expected| *expected == line)), "{log}");
    // What the agent was just sending to the daemon that died is lost with it.
    let missing = whole.len() - log.lines().count();
    ensure!(missing <= 2 && log.ends_with("line 40\n"), "{missing} lines are missing: {log}");
    docker.run(&["rm", &id])?;
    PASSED
}

fn none(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let printed = docker.run(&[
        "run",
        "--name",
        "silent",
        "--log-driver",
        "none",
        "nanoserver",
        "cmd",
        "/c",
        "echo hi",
    ])?;
    ensure!(printed == "hi\n", "{printed:?}");
    let output = docker.try_run(&["logs", "silent"])?;
    let text = "configured logging driver does not support reading";
    ensure!(output.status == 1 && output.stderr.contains(text), "{output:?}");
    ensure!(docker.inspect("silent")?["LogPath"] == "");
    docker.run(&["rm", "silent"])?;
    let output = docker.try_run(&["run", "--log-driver", "loki", "nanoserver"])?;
    let text = "error looking up logging plugin loki: plugin \"loki\" not found";
    ensure!(output.status == 125 && output.stderr.contains(text), "{output:?}");
    let output = docker.try_run(&["run", "--log-opt", "x=1", "nanoserver"])?;
    let text = "unknown log opt 'x' for json-file log driver";
    ensure!(output.status == 125 && output.stderr.contains(text), "{output:?}");
    PASSED
}

fn defaults(daemon: &mut Daemon) -> Result<Outcome> {
    daemon.restart_with(&["--log-driver", "local", "--log-opt", "max-size=1m"])?;
    let docker = daemon.docker();
    ensure!(docker.run(&["info", "-f", "{{.LoggingDriver}}"])?.trim() == "local");
    let labelled = ["--label", "app=web", "--log-opt", "labels=app"];
    let id = started(&docker, &labelled, 2)?;
    docker.run(&["wait", &id])?;
    let config = docker.inspect(&id)?["HostConfig"]["LogConfig"].clone();
    ensure!(config["Type"] == "local" && config["Config"]["max-size"] == "1m", "{config}");
    let log = docker.run(&["logs", "--details", &id])?;
    ensure!(log == "app=web line 1\napp=web line 2\n", "{log:?}");
    docker.run(&["rm", &id])?;
    daemon.restart_with(&[])?;
    PASSED
}
