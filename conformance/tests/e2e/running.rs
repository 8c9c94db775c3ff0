//! Containers while they run: pauses, and what is read of them meanwhile.

use std::{
    collections::BTreeSet,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use oriel_conformance::{Case, Daemon, Docker, Outcome};

use crate::{PASSED, faults::kill_during};

pub(crate) const CASES: &[Case] = &[
    Case { name: "a_running_container_is_committed_as_it_is_at_that_moment", run: committed },
    Case { name: "what_is_committed_running_is_what_is_committed_stopped", run: same_noise },
    Case { name: "a_running_container_is_exported", run: exported },
    Case { name: "a_paused_container_stands_still_and_goes_on", run: paused },
    Case { name: "a_paused_container_can_be_ended", run: ended },
    Case { name: "a_paused_container_outlives_the_daemon", run: outlives },
    Case { name: "a_paused_container_is_committed", run: committed_paused },
    Case { name: "a_running_container_with_a_size_is_committed", run: committed_size },
    Case { name: "a_daemon_killed_during_a_commit_leaves_the_container_running", run: killed },
    Case { name: "a_container_without_its_agent_fails_in_time", run: no_agent },
    Case { name: "a_container_that_deletes_everything_breaks_only_itself", run: vandal },
];

/// A program that counts to its output and to a file, ten times a second or so.
const COUNTER: &str =
    "for /l %i in (1,1,100000) do @(echo %i& echo %i>C:\\count.txt& ping -n 1 127.0.0.1 >nul)";

const ADMINISTRATOR: [&str; 2] = ["--user", "ContainerAdministrator"];

fn start(docker: &Docker, name: &str, command: &str) -> Result<()> {
    let run = ["run", "-d", "--name", name];
    docker.run(&[&run[..], &ADMINISTRATOR, &["nanoserver", "cmd", "/c", command]].concat())?;
    Ok(())
}

fn start_counter(docker: &Docker, name: &str) -> Result<()> {
    start(docker, name, COUNTER)?;
    grows(docker, name)
}

fn exec(docker: &Docker, name: &str, command: &str) -> Result<String> {
    docker.run(&["exec", name, "cmd", "/c", command])
}

/// Lines a container has written.
fn lines(docker: &Docker, name: &str) -> Result<usize> {
    Ok(docker.run(&["logs", name])?.lines().count())
}

fn grows(docker: &Docker, name: &str) -> Result<()> {
    let before = lines(docker, name)?;
    docker.wait_until("the counter counts", |docker| Ok(lines(docker, name)? > before + 1))
}

fn stands_still(docker: &Docker, name: &str) -> Result<()> {
    // What was written before the pause may still be on its way to the log.
    std::thread::sleep(Duration::from_millis(300));
    let before = lines(docker, name)?;
    std::thread::sleep(Duration::from_secs(2));
    let after = lines(docker, name)?;
    ensure!(before == after, "{before} lines, then {after}");
    Ok(())
}

fn state(docker: &Docker, name: &str) -> Result<String> {
    let state = docker.inspect(name)?["State"].clone();
    Ok(format!("{} {} {}", state["Status"], state["Running"], state["Paused"]))
}

const RUNNING: &str = "\"running\" true false";
const PAUSED: &str = "\"paused\" true true";

/// What was saved of a container's registry and not removed.
fn leftovers(daemon: &Daemon, name: &str) -> Result<Vec<String>> {
    let id = daemon.docker().inspect(name)?["Id"].as_str().context("an id")?.to_owned();
    let sandbox = daemon.data_root().join("windowsfilter").join(id);
    let mut found = Vec::new();
    for directory in [sandbox.clone(), sandbox.join("registry")] {
        for entry in fs_err::read_dir(directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            found.extend(name.starts_with("saved").then_some(name));
        }
    }
    Ok(found)
}

fn committed(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    start_counter(&docker, "live")?;
    let key = "HKLM\\Software\\Live";
    exec(&docker, "live", &format!("echo early> C:\\early.txt& reg add {key} /v Early /f"))?;
    for image in ["live:still", "live:moving"] {
        // Nothing between the two commands but the commit itself.
        exec(&docker, "live", &format!("reg add {key} /v Last /d {image} /f"))?;
        let pause = if image == "live:still" { "--pause=true" } else { "--pause=false" };
        docker.run(&["commit", pause, "live", image])?;
        ensure!(state(&docker, "live")? == RUNNING, "{}", state(&docker, "live")?);
        exec(&docker, "live", &format!("echo late> C:\\late.txt& reg add {key} /v Late /f"))?;
        grows(&docker, "live")?;
        let look =
            format!("reg query {key}& type C:\\early.txt& if exist C:\\count.txt echo count");
        let look = [&["run", "--rm"][..], &ADMINISTRATOR, &[image, "cmd", "/c", &look]].concat();
        let seen = docker.run(&look)?;
        for word in ["Early", image, "early", "count"] {
            ensure!(seen.contains(word), "{word} is not in the image: {seen}");
        }
        let undo = format!("del C:\\late.txt& reg delete {key} /v Late /f");
        ensure!(!seen.contains("Late"), "the image has what came later: {seen}");
        exec(&docker, "live", &undo)?;
    }
    ensure!(leftovers(daemon, "live")?.is_empty(), "{:?}", leftovers(daemon, "live")?);
    let diff = docker.run(&["diff", "live"])?;
    ensure!(diff.lines().any(|line| line == "A /early.txt"), "{diff}");
    docker.run(&["rm", "-f", "live"])?;
    docker.run(&["rmi", "live:still", "live:moving"])?;
    PASSED
}

/// Names of the layers on disk.
fn layers(daemon: &Daemon) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs_err::read_dir(daemon.data_root().join("windowsfilter"))? {
        let entry = entry?;
        if entry.path().join("Hives").is_dir() {
            names.insert(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// The hives of the layer that a commit made, as a reader of hives tells them.
fn committed_hives(daemon: &Daemon, container: &str, image: &str) -> Result<String> {
    let before = layers(daemon)?;
    daemon.docker().run(&["commit", container, image])?;
    let after = layers(daemon)?;
    let layer = after.difference(&before).next().context("the commit made no layer")?;
    let hives = daemon.data_root().join("windowsfilter").join(layer).join("Hives");
    let mut told = String::new();
    let mut files: Vec<_> = fs_err::read_dir(&hives)?.collect::<Result<_, _>>()?;
    files.sort_by_key(fs_err::DirEntry::file_name);
    for file in files {
        let output = Command::new("reglookup").arg("-H").arg(file.path()).output()?;
        ensure!(output.status.success(), "reglookup: {}", String::from_utf8_lossy(&output.stderr));
        // The fourth column is the time of writing.
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let columns: Vec<&str> = line.split(',').take(3).collect();
            told.push_str(&format!("{} {}\n", file.file_name().display(), columns.join(",")));
        }
    }
    Ok(told)
}

fn same_noise(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    start(&docker, "noise", "ping -n 1000 127.0.0.1 >nul")?;
    exec(&docker, "noise", "reg add HKLM\\Software\\Noise /v a /d b /f")?;
    exec(&docker, "noise", "reg add HKCU\\Software\\Noise /v c /d d /f")?;
    let running = committed_hives(daemon, "noise", "noise:running")?;
    docker.run(&["stop", "-t", "5", "noise"])?;
    docker.run(&["rmi", "noise:running"])?;
    let stopped = committed_hives(daemon, "noise", "noise:stopped")?;
    docker.run(&["rm", "noise"])?;
    docker.run(&["rmi", "noise:stopped"])?;
    ensure!(running.matches("Noise").count() >= 2, "{running}");
    ensure!(running == stopped, "running:\n{running}\nstopped:\n{stopped}");
    ensure!(running.lines().count() < 40, "more than was changed:\n{running}");
    PASSED
}

fn exported(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    start(&docker, "busy", "ping -n 1000 127.0.0.1 >nul")?;
    exec(&docker, "busy", "echo kept> C:\\kept.txt& reg add HKLM\\Software\\Busy /v a /d yes /f")?;
    let tar = daemon.scratch().join("busy.tar").to_string_lossy().into_owned();
    docker.run(&["export", "-o", &tar, "busy"])?;
    ensure!(state(&docker, "busy")? == RUNNING && leftovers(daemon, "busy")?.is_empty());
    docker.run(&["rm", "-f", "busy"])?;
    docker.run(&["import", &tar, "busy:flat"])?;
    let look = ["run", "--rm", "busy:flat", "cmd", "/c"];
    let look = [&look[..], &["type C:\\kept.txt& reg query HKLM\\Software\\Busy"]].concat();
    let seen = docker.run(&look)?;
    docker.run(&["rmi", "busy:flat"])?;
    ensure!(seen.contains("kept") && seen.contains("yes"), "{seen}");
    PASSED
}

fn paused(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    start_counter(&docker, "counter")?;
    let begun = Instant::now();
    docker.run(&["pause", "counter"])?;
    let took = begun.elapsed();
    ensure!(took < Duration::from_secs(5), "a pause took {took:?}");
    stands_still(&docker, "counter")?;
    ensure!(state(&docker, "counter")? == PAUSED, "{}", state(&docker, "counter")?);
    let shown = docker.run(&["ps", "--filter", "status=paused", "--format", "{{.Status}}"])?;
    ensure!(shown.trim().ends_with("(Paused)"), "{shown}");
    let counts = "{{.ContainersRunning}} {{.ContainersPaused}}";
    let counts = docker.run(&["info", "--format", counts])?;
    ensure!(counts.trim() == "0 1", "{counts}");
    for (words, refusal) in [
        (&["pause", "counter"][..], "is already paused"),
        (&["exec", "counter", "cmd"], "is paused, unpause the container before exec"),
        (&["attach", "counter"], "unpause"),
        (&["start", "counter"], "cannot start a paused container, try unpause instead"),
        (&["rm", "counter"], "container is paused and must be unpaused first"),
    ] {
        let refused = docker.try_run(words)?;
        let good = refused.status != 0 && refused.stderr.contains(refusal);
        ensure!(good, "{words:?}: {refused:?}");
    }
    let top = docker.run(&["top", "counter"])?;
    ensure!(top.contains("cmd.exe"), "{top}");
    docker.run(&["unpause", "counter"])?;
    grows(&docker, "counter")?;
    ensure!(state(&docker, "counter")? == RUNNING, "{}", state(&docker, "counter")?);
    let twice = docker.try_run(&["unpause", "counter"])?;
    ensure!(twice.stderr.contains("is not paused"), "{twice:?}");
    // What an exec starts afterwards is stopped by the next pause, too.
    docker.run(&[&["exec", "-d", "counter", "cmd", "/c"], &[COUNTER][..]].concat())?;
    docker.run(&["pause", "counter"])?;
    stands_still(&docker, "counter")?;
    docker.run(&["rm", "-f", "counter"])?;
    PASSED
}

fn ended(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    for words in [&["stop", "-t", "3", "end"][..], &["kill", "end"], &["rm", "-f", "end"]] {
        start_counter(&docker, "end")?;
        docker.run(&["pause", "end"])?;
        let begun = Instant::now();
        docker.run(words)?;
        let took = begun.elapsed();
        ensure!(took < Duration::from_secs(20), "{words:?} took {took:?}");
        if words[0] != "rm" {
            ensure!(state(&docker, "end")? == "\"exited\" false false", "{words:?}");
            docker.run(&["rm", "end"])?;
        }
    }
    start_counter(&docker, "end")?;
    docker.run(&["pause", "end"])?;
    docker.run(&["restart", "-t", "3", "end"])?;
    grows(&docker, "end")?;
    docker.run(&["rm", "-f", "end"])?;
    PASSED
}

fn outlives(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    start_counter(&docker, "sleeper")?;
    docker.run(&["pause", "sleeper"])?;
    daemon.kill()?;
    daemon.restart()?;
    ensure!(state(&docker, "sleeper")? == PAUSED, "{}", state(&docker, "sleeper")?);
    stands_still(&docker, "sleeper")?;
    docker.run(&["unpause", "sleeper"])?;
    grows(&docker, "sleeper")?;
    let text = exec(&docker, "sleeper", "echo awake")?;
    ensure!(text.trim() == "awake", "{text}");
    docker.run(&["rm", "-f", "sleeper"])?;
    PASSED
}

fn committed_paused(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    start_counter(&docker, "asleep")?;
    exec(&docker, "asleep", "reg add HKCU\\Software\\Asleep /v a /d dream /f")?;
    docker.run(&["pause", "asleep"])?;
    docker.run(&["commit", "asleep", "asleep:1"])?;
    ensure!(state(&docker, "asleep")? == PAUSED, "{}", state(&docker, "asleep")?);
    stands_still(&docker, "asleep")?;
    docker.run(&["rm", "-f", "asleep"])?;
    let run = ["run", "--rm"];
    let query = ["asleep:1", "reg", "query", "HKCU\\Software\\Asleep"];
    let seen = docker.run(&[&run[..], &ADMINISTRATOR, &query].concat())?;
    docker.run(&["rmi", "asleep:1"])?;
    ensure!(seen.contains("dream"), "{seen}");
    PASSED
}

fn committed_size(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let run = ["run", "-d", "--name", "tight", "--storage-opt", "size=64m", "nanoserver"];
    docker.run(&[&run[..], &["ping", "-n", "1000", "127.0.0.1"]].concat())?;
    exec(&docker, "tight", "echo kept> C:\\kept.txt& reg add HKLM\\Software\\Tight /v a /f")?;
    docker.run(&["commit", "tight", "tight:1"])?;
    ensure!(state(&docker, "tight")? == RUNNING, "{}", state(&docker, "tight")?);
    docker.run(&["rm", "-f", "tight"])?;
    let look = "type C:\\kept.txt& reg query HKLM\\Software\\Tight";
    let seen = docker.run(&["run", "--rm", "tight:1", "cmd", "/c", look])?;
    docker.run(&["rmi", "tight:1"])?;
    ensure!(seen.contains("kept") && seen.contains("REG_SZ"), "{seen}");
    PASSED
}

fn killed(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    start_counter(&docker, "struck")?;
    for delay in [5, 30, 60, 90, 150] {
        let delay = Duration::from_millis(delay);
        kill_during(daemon, &["commit", "-c", "LABEL of=struck", "struck", "struck:1"], delay)?;
        ensure!(state(&docker, "struck")? == RUNNING, "{}", state(&docker, "struck")?);
        ensure!(leftovers(daemon, "struck")?.is_empty(), "{:?}", leftovers(daemon, "struck")?);
        grows(&docker, "struck")?;
    }
    docker.run(&["commit", "-c", "LABEL of=struck", "struck", "struck:1"])?;
    docker.run(&["rm", "-f", "struck"])?;
    docker.run(&["rmi", "struck:1"])?;
    docker.run(&["image", "prune", "-f", "--filter", "label=of=struck"])?;
    PASSED
}

fn no_agent(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    start(&docker, "rebel", "ping -n 1000 127.0.0.1 >nul")?;
    // The execution agent dies: the silo cannot go on without it.
    let _ = docker.try_run(&["exec", "rebel", "taskkill", "/f", "/im", "cexecsvc.exe"])?;
    let begun = Instant::now();
    let _ = docker.try_run(&["commit", "rebel", "rebel:1"])?;
    let _ = docker.try_run(&["pause", "rebel"])?;
    docker.run(&["rm", "-f", "rebel"])?;
    let _ = docker.try_run(&["rmi", "rebel:1"])?;
    let took = begun.elapsed();
    ensure!(took < Duration::from_secs(90), "it took {took:?}");
    PASSED
}

/// Deletes all it can reach; the registry first, for afterwards there is no reg.exe. Wine's reg
/// gives up at a link that leads nowhere, so what is left is deleted key by key.
const VANDAL: &str = "\
reg delete HKLM\\SOFTWARE\\Microsoft /f
for /f \"delims=\" %%k in ('reg query HKLM\\SOFTWARE\\Microsoft /s') do reg delete \"%%k\" /f
del /f /s /q C:\\*
rd /s /q C:\\
";

/// Every file below these places, with its owner, mode, link and content.
fn fingerprint(places: &[&Path]) -> Result<String> {
    let mut told = String::new();
    for place in places {
        let script = "find . -printf '%p %y %m %U %G %l\\n' | sort; \
                      find . -type f -print0 | sort -z | xargs -0 -r sha256sum";
        let output = Command::new("sh").args(["-c", script]).current_dir(place).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        told.push_str(&String::from_utf8_lossy(&output.stdout));
    }
    Ok(told)
}

/// Everything of the host that a container of `nanoserver` could reach if anything were wrong.
fn host_fingerprint(daemon: &Daemon, sentinel: &Path) -> Result<String> {
    let root = daemon.data_root();
    let image = daemon.docker().inspect("nanoserver")?;
    // One layer: the id of the chain is the digest of the layer.
    let layer = image["RootFS"]["Layers"][0].as_str().unwrap_or_default();
    let layer = layer.strip_prefix("sha256:").context("the base image has no layer")?;
    let current = fs_err::read_to_string(root.join("personality/current.json"))?;
    let current: serde_json::Value = serde_json::from_str(&current)?;
    let personality = current["id"].as_str().context("no personality")?;
    fingerprint(&[
        &root.join("windowsfilter").join(layer),
        &root.join("registry-cache"),
        &root.join("personality").join(personality).join("root"),
        sentinel,
    ])
}

/// Files and registry keys that a container changed.
fn oriel_diff(daemon: &Daemon, name: &str) -> Result<String> {
    let mut oriel = Command::new(daemon.program("oriel"));
    let socket = format!("unix://{}", daemon.socket().display());
    let output = oriel.args(["-H", &socket, "diff", name]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn works(docker: &Docker, name: &str) -> Result<()> {
    let file = "if exist C:\\Windows\\System32\\kernel32.dll (echo whole) else (echo broken)";
    let seen = exec(docker, name, file)?;
    ensure!(seen.trim() == "whole", "{name}: {seen}");
    let keys = docker.run(&["exec", name, "reg", "query", "HKLM\\Software\\Microsoft"])?;
    ensure!(keys.contains("Windows NT"), "{name}: {keys}");
    Ok(())
}

fn vandal(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let sentinel = daemon.scratch().join("sentinel");
    fs_err::create_dir_all(&sentinel)?;
    fs_err::write(sentinel.join("precious"), "the host's")?;
    fs_err::write(sentinel.join("vandal.cmd"), VANDAL.replace('\n', "\r\n"))?;
    let idle = "ping -n 1000 127.0.0.1 >nul";
    start(&docker, "sibling", idle)?;
    let shown = format!("{}:C:\\t:ro", sentinel.display());
    let run = ["run", "-d", "--name", "vandal", "-v", &shown];
    docker.run(&[&run[..], &ADMINISTRATOR, &["nanoserver", "cmd", "/c", idle]].concat())?;
    let before = host_fingerprint(daemon, &sentinel)?;
    let _ = docker.try_run(&["exec", "vandal", "C:\\t\\vandal.cmd"])?;
    let left = daemon.docker().run(&["diff", "vandal"])?;
    let gone = left.lines().filter(|line| line.starts_with("D ")).count();
    ensure!(gone > 5 && left.contains("/Windows/System32"), "{gone} gone:\n{left}");

    let keys = oriel_diff(daemon, "vandal")?;
    let gone = keys.lines().filter(|line| line.starts_with("D HKEY_LOCAL_MACHINE\\Software"));
    ensure!(gone.count() > 100, "{keys}");
    for key in ["Rpc", "Windows\\CurrentVersion\\Uninstall", "Windows NT\\CurrentVersion\\Winlogon"]
    {
        let line = format!("D HKEY_LOCAL_MACHINE\\Software\\Microsoft\\{key}");
        ensure!(keys.lines().any(|told| told == line), "{key} is not deleted: {keys}");
    }

    let begun = Instant::now();
    let broken = docker.run(&["commit", "vandal", "vandal:1"]);
    ensure!(broken.is_ok(), "{broken:?}");
    docker.run(&["rmi", "vandal:1"])?;
    docker.run(&["pause", "vandal"])?;
    docker.run(&["unpause", "vandal"])?;
    docker.run(&["stop", "-t", "5", "vandal"])?;
    let again = docker.try_run(&["start", "vandal"])?;
    docker.run(&["rm", "-f", "vandal"])?;
    let took = begun.elapsed();
    ensure!(took < Duration::from_secs(150), "ending it took {took:?} ({again:?})");

    works(&docker, "sibling")?;
    start(&docker, "latecomer", idle)?;
    works(&docker, "latecomer")?;
    let after = host_fingerprint(daemon, &sentinel)?;
    docker.run(&["rm", "-f", "sibling", "latecomer"])?;
    for (old, new) in before.lines().zip(after.lines()) {
        ensure!(old == new, "the host changed: {old} became {new}");
    }
    ensure!(before.len() == after.len(), "the host has other files than before");
    PASSED
}
