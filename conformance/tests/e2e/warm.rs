//! Steps of a build that are made ready while the step before runs.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use oriel_conformance::{Case, Daemon, Docker, Outcome};

use crate::{PASSED, build::context};

pub(crate) const CASES: &[Case] = &[
    Case { name: "a_process_that_a_step_leaves_is_gone_in_the_next", run: left_behind },
    Case { name: "a_step_made_ready_gives_the_layer_of_one_that_was_not", run: same_layers },
    Case { name: "a_build_of_ten_steps_leaves_nothing_behind", run: ten_steps },
    Case { name: "a_build_that_is_cancelled_gives_up_what_it_made_ready", run: cancelled },
    Case { name: "a_daemon_that_died_in_a_build_finds_what_was_made_ready", run: killed },
];

fn left_behind(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let dockerfile = "FROM windowsservercore\nUSER ContainerAdministrator\n\
        RUN start /b ping -n 1000 127.0.0.1\nRUN tasklist> C:\\tasks.txt\n";
    let directory = context(daemon, "left-behind", dockerfile)?;
    docker.run(&["build", "-q", "--no-cache", "-t", "warm:left", &directory.to_string_lossy()])?;
    let tasks = docker.run(&["run", "--rm", "warm:left", "cmd", "/c", "type C:\\tasks.txt"])?;
    ensure!(tasks.contains("cmd.exe"), "{tasks}");
    ensure!(!tasks.to_lowercase().contains("ping.exe"), "{tasks}");
    PASSED
}

/// What programs of a step can see, and what they change. The second of each pair depends on the
/// first.
const STEPS: [&str; 8] = [
    "md C:\\kept & echo one> C:\\kept\\one.txt & echo two> C:\\kept\\two.txt",
    "del C:\\kept\\one.txt & cd> C:\\cd.txt & set> C:\\set.txt & dir /b C:\\kept> C:\\dir.txt",
    "reg add HKLM\\Software\\Warm /v Number /t REG_DWORD /d 7 /f",
    "reg query HKLM\\Software\\Warm> C:\\query.txt & reg delete HKLM\\Software\\Warm /f",
    "reg add HKCU\\Software\\Warm /v Text /d text /f & reg query HKLM\\Software\\Warm> C:\\q.txt",
    "echo temporary> %TEMP%\\left.txt & dir /b /a %TEMP%> C:\\temp.txt",
    "reg query HKCU /s> C:\\user.txt & reg query HKLM\\Hardware /s> C:\\hardware.txt",
    "hostname> C:\\name.txt & ver> C:\\ver.txt & whoami> C:\\who.txt & vol> C:\\vol.txt",
];

fn same_layers(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let head = "USER ContainerAdministrator\nENV GIVEN=value\nWORKDIR C:/work\n";
    let steps: Vec<String> = STEPS.iter().map(|step| format!("RUN {step} & exit 0\n")).collect();
    let warm = format!("FROM nanoserver\n{head}{}", steps.concat());
    let directory = context(daemon, "warm", &warm)?;
    let build = |name: &str, directory: &std::path::Path| {
        docker.run(&["build", "-q", "--no-cache", "-t", name, &directory.to_string_lossy()])
    };
    build("warm:ready", &directory)?;
    // A build of one step has nothing to make ready.
    let directory = context(daemon, "cold", &format!("FROM nanoserver\n{head}"))?;
    build("warm:cold0", &directory)?;
    for (index, step) in steps.iter().enumerate() {
        let directory = context(daemon, "cold", &format!("FROM warm:cold{index}\n{step}"))?;
        build(&format!("warm:cold{}", index + 1), &directory)?;
    }
    let (ready, cold) = (layers(daemon, "warm:ready")?, layers(daemon, "warm:cold8")?);
    ensure!(ready.len() == cold.len() && ready.len() > STEPS.len(), "{ready:?}\n{cold:?}");
    for (index, (ready, cold)) in ready.iter().zip(&cold).enumerate() {
        ensure!(ready == cold, "layer {index}:\n{ready:#?}\n{cold:#?}");
    }
    PASSED
}

/// What the layers of an image hold, base first and without that: names, and the text of files but
/// for what names a container.
fn layers(daemon: &Daemon, image: &str) -> Result<Vec<Vec<(String, String)>>> {
    let docker = daemon.docker();
    let container = docker.run(&["create", image, "cmd"])?;
    let store = daemon.data_root().join("windowsfilter");
    let record = fs_err::read(store.join(container.trim()).join("sandbox.json"))?;
    docker.run(&["rm", container.trim()])?;
    let record: serde_json::Value = serde_json::from_slice(&record)?;
    let mut chains: Vec<&str> = record["layers"]
        .as_array()
        .context("layers")?
        .iter()
        .filter_map(|id| id.as_str())
        .collect();
    chains.pop();
    let read = |chain: &&str| {
        let mut files = Vec::new();
        walk(&store.join(chain.trim_start_matches("sha256:")), "", &mut files)?;
        files.sort();
        Ok(files)
    };
    chains.iter().rev().map(read).collect()
}

fn walk(place: &std::path::Path, prefix: &str, files: &mut Vec<(String, String)>) -> Result<()> {
    for entry in fs_err::read_dir(place)?.flatten() {
        let name = format!("{prefix}/{}", entry.file_name().to_string_lossy());
        if name == "/layerchain.json" {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            files.push((name.clone(), String::new()));
            walk(&entry.path(), &name, files)?;
        } else if kind.is_file() {
            let bytes = fs_err::read(entry.path())?;
            let text = match name.starts_with("/Hives") || name.ends_with("NTUSER.DAT") {
                // Hives have times in them.
                true => format!("{} bytes", bytes.len()),
                false => plain(&String::from_utf8_lossy(&bytes)),
            };
            files.push((name, text));
        } else {
            files.push((name, format!("{kind:?}")));
        }
    }
    Ok(())
}

/// A text without the lines that name the container, whose names differ.
fn plain(text: &str) -> String {
    let named = |line: &str| {
        let line = line.trim().to_lowercase();
        let id = line.get(..12).is_some_and(|id| id.chars().all(|c| c.is_ascii_hexdigit()));
        let names = ["computername", "logonserver", "userdomain", "prompt"];
        id || names.iter().any(|name| line.contains(name))
    };
    text.lines().filter(|line| !named(line)).collect::<Vec<_>>().join("\n")
}

fn ten_steps(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let steps: String = (0..10).map(|n| format!("RUN echo {n}> C:\\{n}.txt\n")).collect();
    let dockerfile = format!("FROM nanoserver\nUSER ContainerAdministrator\n{steps}");
    let directory = context(daemon, "ten", &dockerfile)?;
    docker.run(&["build", "-q", "--no-cache", "-t", "warm:ten", &directory.to_string_lossy()])?;
    let text = docker.run(&["run", "--rm", "warm:ten", "cmd", "/c", "dir /b C:\\*.txt"])?;
    let names: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    ensure!(names == (0..10).map(|n| format!("{n}.txt")).collect::<Vec<_>>(), "{names:?}");
    nothing_left(daemon, &docker)
}

/// Begins a build whose first step takes long, and waits until its second is made ready.
fn long_build(daemon: &Daemon, docker: &Docker) -> Result<std::process::Child> {
    let dockerfile = "FROM nanoserver\nRUN ping -n 1000 127.0.0.1\nRUN echo never\n";
    let directory = context(daemon, "long", dockerfile)?;
    let mut command = docker.command(&["build", "--no-cache", &directory.to_string_lossy()]);
    let client = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    docker.wait_until("a second sandbox is there", |docker| {
        let containers = docker.run(&["ps", "-q"])?.lines().count();
        Ok(containers == 1 && sandboxes(daemon)? == 2)
    })?;
    Ok(client)
}

fn cancelled(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let mut client = long_build(daemon, &docker)?;
    client.kill()?;
    client.wait()?;
    nothing_left(daemon, &docker)
}

fn killed(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let mut client = long_build(daemon, &docker)?;
    daemon.kill()?;
    client.wait()?;
    daemon.restart()?;
    let docker = daemon.docker();
    ensure!(sandboxes(daemon)? == 1, "what was made ready is still there");
    let container = docker.run(&["ps", "-q"])?;
    docker.run(&["rm", "-f", container.trim()])?;
    nothing_left(daemon, &docker)
}

fn nothing_left(daemon: &Daemon, docker: &Docker) -> Result<Outcome> {
    docker.wait_until("nothing of the build is left", |docker| {
        Ok(docker.run(&["ps", "-aq"])?.is_empty() && sandboxes(daemon)? == 0)
    })?;
    PASSED
}

fn sandboxes(daemon: &Daemon) -> Result<usize> {
    let entries = fs_err::read_dir(daemon.data_root().join("windowsfilter"))?;
    Ok(entries.flatten().filter(|entry| entry.path().join("sandbox.json").exists()).count())
}
