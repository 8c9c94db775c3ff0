//! `oriel` as people use it: run, look, build and ship, over every way to the daemon, and on a
//! terminal.

mod terminal;

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use oriel_conformance::{Case, Daemon, Docker, Door, Outcome, Registry};
use serde_json::Value;

use crate::{
    PASSED,
    access::{certificate, free_address},
};

pub(crate) const CASES: &[Case] = &[
    Case { name: "cli_codes_are_dockers_and_the_programs", run: codes },
    Case { name: "cli_streams_are_the_programs", run: streams },
    Case { name: "cli_lists_are_tables_templates_and_json", run: lists },
    Case { name: "cli_files_volumes_and_networks", run: files },
    Case { name: "cli_builds_pushes_and_pulls", run: ship },
    Case { name: "cli_gives_the_terminal_back", run: terminal::given_back },
    Case { name: "cli_passes_signals_on", run: signals },
    Case { name: "cli_reaches_daemons_over_tls_and_ssh", run: far },
];

/// A container that stays until it is stopped.
const STAYS: [&str; 6] = ["nanoserver", "ping", "-n", "600", "127.0.0.1", "-w"];

fn oriel(daemon: &Daemon) -> Docker {
    Docker::new(&daemon.program("oriel"), &daemon.socket())
}

fn codes(daemon: &mut Daemon) -> Result<Outcome> {
    let oriel = oriel(daemon);
    for (arguments, code, said) in [
        (&["run", "--rm", "nanoserver", "cmd", "/c", "exit 7"][..], 7, ""),
        (&["run", "--rm", "nanoserver", "cmd", "/c", "exit 256"], 255, "256"),
        (
            &["run", "--rm", "nanoserver", "cmd", "/c", "exit 3221225781"],
            0x35,
            "STATUS_DLL_NOT_FOUND",
        ),
        (&["run", "--rm", "nanoserver", "no-such-program"], 127, "cannot find the file"),
        (&["run", "--rm", "--pull", "never", "no-such-image"], 125, "No such image"),
        (&["run", "--no-such-option"], 125, "--no-such-option"),
        (&["run", "--memory", "lots", "nanoserver"], 125, "write for example 512m"),
        (&["rm", "nobody"], 1, "No such container: nobody"),
        (&["ps", "--format", "{{.Nmaes}}"], 0, ""),
    ] {
        let ended = oriel.try_run(arguments)?;
        ensure!(ended.status == code && ended.stderr.contains(said), "{arguments:?}: {ended:?}");
    }
    oriel.run(&[&["run", "-d", "--name", "coded"], &STAYS[..5]].concat())?;
    let misspelt = oriel.try_run(&["ps", "--format", "{{.Nmaes}}"])?;
    ensure!(misspelt.status == 1 && misspelt.stderr.contains(".Names"), "{misspelt:?}");
    let program = oriel.try_run(&["exec", "coded", "cmd", "/c", "exit 5"])?;
    let missing = oriel.try_run(&["exec", "coded", "no-such-program"])?;
    oriel.run(&["rm", "-f", "coded"])?;
    ensure!(program.status == 5, "{program:?}");
    ensure!(missing.status == 127, "{missing:?}");
    PASSED
}

fn streams(daemon: &mut Daemon) -> Result<Outcome> {
    let oriel = oriel(daemon);
    let both = ["run", "--name", "both", "nanoserver", "cmd", "/c", "echo out& echo err>&2"];
    let ended = oriel.try_run(&both)?;
    ensure!(ended.stdout.trim() == "out" && ended.stderr.trim() == "err", "{ended:?}");
    let logged = oriel.try_run(&["logs", "both"])?;
    ensure!(logged.stdout.trim() == "out" && logged.stderr.trim() == "err", "{logged:?}");
    let dated = oriel.try_run(&["logs", "-t", "--tail", "1", "both"])?;
    ensure!(format!("{}{}", dated.stdout, dated.stderr).contains("Z "), "{dated:?}");
    let again = oriel.try_run(&["start", "-a", "both"])?;
    ensure!(again.stdout.trim() == "out" && again.status == 0, "{again:?}");
    oriel.run(&["rm", "both"])?;
    let input = b"axb\r\nab\r\n";
    let run = ["run", "--rm", "-i", "nanoserver", "findstr", "x"];
    let ended = oriel.run_with_input(&run, input)?;
    ensure!(ended.stdout.trim() == "axb" && ended.status == 0, "{ended:?}");
    oriel.run(&[&["run", "-d", "--name", "stays"], &STAYS[..5]].concat())?;
    let ended = oriel.run_with_input(&["exec", "-i", "stays", "findstr", "x"], input);
    let set = oriel.run(&[
        "exec",
        "-e",
        "A=b",
        "-w",
        "C:\\Windows",
        "stays",
        "cmd",
        "/c",
        "echo %A% %CD%",
    ]);
    oriel.run(&["rm", "-f", "stays"])?;
    let ended = ended?;
    ensure!(ended.stdout.trim() == "axb" && ended.status == 0, "{ended:?}");
    ensure!(set?.trim() == "b C:\\Windows", "variable and directory of an exec");
    PASSED
}

fn lists(daemon: &mut Daemon) -> Result<Outcome> {
    let oriel = oriel(daemon);
    let id = oriel.run(&[&["run", "-d", "--name", "listed", "-l", "k=v"], &STAYS[..5]].concat())?;
    let outcome = look(&oriel, id.trim());
    oriel.run(&["rm", "-f", "listed"])?;
    outcome?;
    PASSED
}

fn look(oriel: &Docker, id: &str) -> Result<()> {
    let short = &id[..12];
    let filter = ["--filter", "label=k=v"];
    let ps = |more: &[&str]| oriel.run(&[&["ps"], &filter[..], more].concat());
    let table = ps(&[])?;
    ensure!(table.starts_with("CONTAINER ID  IMAGE") && table.contains(short), "{table}");
    ensure!(ps(&["-q", "--no-trunc"])?.trim() == id, "ids alone");
    let json: Value = serde_json::from_str(&ps(&["--json"])?)?;
    ensure!(json["Names"] == "listed" && json["State"] == "running", "{json}");
    let made = ps(&["--format", "{{.Names}}/{{.Label \"k\"}}"])?;
    ensure!(made.trim() == "listed/v", "{made}");
    let made = ps(&["--format", "table {{.Names}}\\t{{.ID}}"])?;
    ensure!(made == format!("NAMES   CONTAINER ID\nlisted  {short}\n"), "{made}");
    let status = "{{.State.Status}}{{if .State.Health}} healthy{{end}}";
    ensure!(oriel.run(&["inspect", "-f", status, "listed"])?.trim() == "running", "inspect -f");
    let whole: Value = serde_json::from_str(&oriel.run(&["inspect", "listed"])?)?;
    ensure!(whole[0]["Id"] == id, "{whole}");
    let top = oriel.run(&["top", "listed"])?;
    ensure!(top.contains("ping.exe"), "{top}");
    let events = ["events", "--since", "10m", "--until", "0s", "--filter", "container=listed"];
    let events = oriel.run(&[&events[..], &["--format", "{{.Action}}"]].concat())?;
    ensure!(events.lines().any(|line| line == "start"), "{events}");
    let images = oriel.run(&["images", "--format", "{{.Repository}}:{{.Tag}}", "nanoserver"])?;
    ensure!(images.contains("nanoserver:latest"), "{images}");
    for listing in [
        &["images"][..],
        &["volume", "ls"],
        &["network", "ls"],
        &["system", "df"],
        &["history", "nanoserver"],
        &["context", "ls"],
    ] {
        let lines = oriel.run(&[listing, &["--json"]].concat())?;
        for line in lines.lines() {
            serde_json::from_str::<Value>(line).with_context(|| format!("{listing:?}: {line}"))?;
        }
    }
    Ok(())
}

fn files(daemon: &mut Daemon) -> Result<Outcome> {
    let oriel = oriel(daemon);
    let directory = tempfile::TempDir::new_in(daemon.scratch())?;
    let path = |name: &str| directory.path().join(name).display().to_string();
    fs_err::create_dir_all(directory.path().join("tree/sub"))?;
    fs_err::write(path("tree/sub/f.txt"), "content")?;
    oriel.run(&["volume", "create", "cli-volume", "--label", "a=b"])?;
    oriel.run(&["network", "create", "cli-network", "--subnet", "10.213.90.0/24"])?;
    let mount = "cli-volume:C:\\data";
    let options = ["-v", mount, "--network", "cli-network", "--network-alias", "nick"];
    oriel.run(&[&["run", "-d", "--name", "filed"], &options[..], &STAYS[..5]].concat())?;
    oriel.run(&["cp", &path("tree"), "filed:C:\\data"])?;
    let seen = oriel.run(&["exec", "filed", "cmd", "/c", "type C:\\data\\tree\\sub\\f.txt"])?;
    ensure!(seen.trim() == "content", "{seen}");
    oriel.run(&["cp", "filed:C:\\data\\tree\\sub\\f.txt", &path("back.txt")])?;
    ensure!(fs_err::read_to_string(path("back.txt"))? == "content", "the file came back");
    oriel.run(&["cp", "filed:C:\\data\\tree\\.", &path("all")])?;
    ensure!(fs_err::read_to_string(path("all/sub/f.txt"))? == "content", "and its directory");
    let missing = oriel.try_run(&["cp", "filed:C:\\nowhere", &path("x")])?;
    ensure!(missing.status == 1 && missing.stderr.contains("C:\\nowhere"), "{missing:?}");
    oriel.run(&["network", "disconnect", "cli-network", "filed"])?;
    oriel.run(&["network", "connect", "--ip", "10.213.90.77", "cli-network", "filed"])?;
    let address = "{{(index .NetworkSettings.Networks \"cli-network\").IPAddress}}";
    let address = oriel.run(&["inspect", "-f", address, "filed"])?;
    ensure!(address.trim() == "10.213.90.77", "{address}");
    let used = oriel.try_run(&["volume", "rm", "cli-volume"])?;
    ensure!(used.status == 1 && used.stderr.contains("in use"), "{used:?}");
    oriel.run(&["pause", "filed"])?;
    ensure!(oriel.run(&["ps"])?.contains("(Paused)"), "a paused container is shown as such");
    oriel.run(&["unpause", "filed"])?;
    oriel.run(&["stop", "-t", "1", "filed"])?;
    oriel.run(&["commit", "-c", "CMD cmd /c echo committed", "filed", "cli-committed:1"])?;
    let said = oriel.run(&["run", "--rm", "cli-committed:1"])?;
    ensure!(said.trim() == "committed", "{said}");
    oriel.run(&["export", "-o", &path("e.tar"), "filed"])?;
    ensure!(fs_err::metadata(path("e.tar"))?.len() > 1 << 20, "an export has files");
    oriel.run(&["rm", "filed"])?;
    oriel.run(&["rmi", "cli-committed:1"])?;
    oriel.run(&["volume", "rm", "cli-volume"])?;
    oriel.run(&["network", "rm", "cli-network"])?;
    PASSED
}

/// The command line of somebody whose home is `home`.
fn at_home(daemon: &Daemon, home: &Path, arguments: &[&str]) -> Command {
    let mut command = oriel(daemon).command(arguments);
    command
        .env("HOME", home)
        .env("XDG_CONFIG_HOME", home.join("config"))
        .env("DOCKER_CONFIG", home.join("docker"))
        .stdin(Stdio::null());
    command
}

fn said(mut command: Command) -> Result<String> {
    let output = command.output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {error}");
    Ok(String::from_utf8(output.stdout)?)
}

fn ship(daemon: &mut Daemon) -> Result<Outcome> {
    let home = tempfile::TempDir::new_in(daemon.scratch())?;
    let home = home.path();
    let registry = Registry::start(Door::Guarded)?;
    let certs = daemon.certs_dir().join(registry.host());
    fs_err::create_dir_all(&certs)?;
    fs_err::copy(registry.certificate(), certs.join("ca.crt"))?;
    let name = format!("{}/cli/app:1", registry.host());
    let context = home.join("context");
    fs_err::create_dir_all(context.join("logs"))?;
    fs_err::write(context.join("logs/big.log"), "ignored")?;
    fs_err::write(context.join("app.txt"), "shipped")?;
    fs_err::write(context.join(".dockerignore"), "logs\n")?;
    let dockerfile = "ARG FROM=none\nFROM ${FROM}\nCOPY . C:/app/\nRUN dir C:\\app\n\
                      CMD cmd /c type C:\\app\\app.txt\n";
    fs_err::write(context.join("Dockerfile"), dockerfile)?;
    let (id_file, context) = (home.join("id"), context.display().to_string());
    let id_file = id_file.display().to_string();
    let options = ["--build-arg", "FROM=nanoserver", "--iidfile", &id_file, "-t", &name];
    let built = said(at_home(daemon, home, &[&["build"], &options[..], &[&context]].concat()))?;
    ensure!(built.contains("app.txt") && !built.contains("big.log"), "{built}");
    let id = fs_err::read_to_string(&id_file)?;
    let known = said(at_home(daemon, home, &["inspect", "-f", "{{.Id}}", &name]))?;
    ensure!(known.trim() == id, "{known} is not {id}");
    let closed = at_home(daemon, home, &["push", &name]).output()?;
    ensure!(!closed.status.success(), "a guarded registry takes nothing from strangers");
    log_in(daemon, home, &registry)?;
    let pushed = said(at_home(daemon, home, &["push", "-q", &name]))?;
    ensure!(pushed.trim() == name, "{pushed}");
    said(at_home(daemon, home, &["rmi", &name]))?;
    let run = said(at_home(daemon, home, &["run", "--rm", &name]))?;
    ensure!(run.trim() == "shipped", "a missing image is pulled: {run}");
    let archive = home.join("image.tar").display().to_string();
    said(at_home(daemon, home, &["save", "-o", &archive, &name]))?;
    said(at_home(daemon, home, &["rmi", &name]))?;
    let loaded = said(at_home(daemon, home, &["load", "-q", "-i", &archive]))?;
    ensure!(loaded.contains(&name), "{loaded}");
    said(at_home(daemon, home, &["rmi", &name]))?;
    said(at_home(daemon, home, &["logout", &registry.host()]))?;
    let stored = fs_err::read_to_string(home.join("docker/config.json"))?;
    ensure!(!stored.contains(&registry.host()), "{stored}");
    PASSED
}

fn log_in(daemon: &Daemon, home: &Path, registry: &Registry) -> Result<()> {
    let host = registry.host();
    let login = ["login", "-u", "ann", "--password-stdin", &host];
    let password = home.join("password");
    for (text, works) in [("wrong", false), ("secret\n", true)] {
        fs_err::write(&password, text)?;
        let mut command = at_home(daemon, home, &login);
        command.stdin(fs_err::File::open(&password)?.into_parts().0);
        ensure!(command.output()?.status.success() == works, "a log-in with {text:?}");
    }
    let mode = fs_err::metadata(home.join("docker/config.json"))?.permissions().mode();
    ensure!(mode & 0o777 == 0o600, "credentials are for their owner: {mode:o}");
    Ok(())
}

fn signals(daemon: &mut Daemon) -> Result<Outcome> {
    let oriel = oriel(daemon);
    let run = [&["run", "--rm", "--name", "signalled"], &STAYS[..5]].concat();
    let mut child = oriel.command(&run).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let running = ["ps", "-q", "--filter", "name=signalled"];
    oriel.wait_until("the container runs", |oriel| Ok(!oriel.run(&running)?.is_empty()))?;
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    let pid = pid.context("process ids are positive")?;
    rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
    let status = child.wait()?;
    ensure!(status.code() == Some(0x3A), "STATUS_CONTROL_C_EXIT in 8 bits: {status}");
    ensure!(oriel.run(&["ps", "-aq", "--filter", "name=signalled"])?.is_empty(), "it is removed");
    PASSED
}

fn far(daemon: &mut Daemon) -> Result<Outcome> {
    let home = tempfile::TempDir::new_in(daemon.scratch())?;
    let outcome = over_tls(daemon, home.path()).and_then(|()| over_ssh(daemon, home.path()));
    daemon.restart_with(&[])?;
    outcome?;
    PASSED
}

fn over_tls(daemon: &mut Daemon, home: &Path) -> Result<()> {
    for (kind, name, signer) in [
        ("authority", "ca", None),
        ("daemon", "daemon", Some("ca")),
        ("client", "client", Some("ca")),
        ("authority", "other", None),
    ] {
        certificate(home, kind, name, signer)?;
    }
    let path = |name: &str| home.join(name).display().to_string();
    let host = format!("tcp://{}", free_address()?);
    let (ca, own, key) = (path("ca.pem"), path("daemon.pem"), path("daemon-key.pem"));
    let files = ["--tlscacert", &ca, "--tlscert", &own, "--tlskey", &key];
    daemon.restart_with(&[&["--host", &host, "--tlsverify"], files.as_slice()].concat())?;
    let (own, key, other) = (path("client.pem"), path("client-key.pem"), path("other.pem"));
    let oriel = |arguments: &[&str]| {
        let mut command = Command::new(daemon.program("oriel"));
        command.args(arguments).env("HOME", home).env("XDG_CONFIG_HOME", home.join("config"));
        command.env_remove("ORIEL_HOST").env_remove("DOCKER_HOST").stdin(Stdio::null());
        command
    };
    let files = ["--tlscert", &own, "--tlskey", &key];
    let verify = [&["-H", &host, "--tlsverify", "--tlscacert", &ca], &files[..]].concat();
    let run = ["run", "--rm", "nanoserver", "cmd", "/c", "echo over TLS"];
    ensure!(said(oriel(&[&verify[..], &run].concat()))?.trim() == "over TLS", "a run over TLS");
    let doubts = [&["-H", &host, "--tlsverify", "--tlscacert", &other], &files[..]].concat();
    let refused = oriel(&[&doubts[..], &["version"]].concat()).output()?;
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && error.contains("--tlscacert"), "{error}");
    let create = ["context", "create", "lab", "--host", &host, "--ca", &ca, "--cert", &own];
    said(oriel(&[&create[..], &["--key", &key]].concat()))?;
    said(oriel(&["context", "use", "lab"]))?;
    ensure!(said(oriel(&["version"]))?.contains("Daemon"), "the context in use");
    ensure!(said(oriel(&["context", "show"]))?.trim() == "lab", "its name");
    said(oriel(&["context", "rm", "-f", "lab"]))?;
    Ok(())
}

/// Another machine is played by a program `ssh` that runs here what it should run there.
fn over_ssh(daemon: &Daemon, home: &Path) -> Result<()> {
    let programs = home.join("programs");
    fs_err::create_dir_all(&programs)?;
    let (ssh, oriel) = (programs.join("ssh"), programs.join("oriel"));
    fs_err::write(
        &ssh,
        "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift 2\neval \"$*\"\n",
    )?;
    fs_err::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755))?;
    fs_err::os::unix::fs::symlink(daemon.program("oriel"), &oriel)?;
    let path = std::env::var("PATH").unwrap_or_default();
    let host = format!("ssh://ann@box{}", daemon.socket().display());
    let run = |arguments: &[&str]| {
        let mut command = Command::new(daemon.program("oriel"));
        command.arg("-H").arg(&host).args(arguments).stdin(Stdio::null());
        command.env("PATH", format!("{}:{path}", programs.display()));
        command
    };
    let echo = ["run", "--rm", "nanoserver", "cmd", "/c", "echo over SSH"];
    ensure!(said(run(&echo))?.trim() == "over SSH", "a run over SSH");
    let input = home.join("input");
    fs_err::write(&input, "axb\r\nab\r\n")?;
    let mut search = run(&["run", "--rm", "-i", "nanoserver", "findstr", "x"]);
    search.stdin(fs_err::File::open(&input)?.into_parts().0);
    ensure!(said(search)?.trim() == "axb", "the end of input goes over SSH");
    fs_err::remove_file(&oriel)?;
    let refused = run(&["ps"]).output()?;
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(error.contains("ssh box oriel version"), "the next step is said: {error}");
    Ok(())
}
