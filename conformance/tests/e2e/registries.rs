//! Registries: pull, push, log-in, substituted bases and rebase, against Debian's docker-registry.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use oriel_conformance::{Case, Daemon, Docker, Door, Outcome, Registry};

use crate::{PASSED, build::context};

pub(crate) const CASES: &[Case] = &[
    Case { name: "an_image_built_here_is_pushed_pulled_elsewhere_and_run", run: elsewhere },
    Case { name: "a_guarded_registry_wants_a_login", run: guarded },
    Case { name: "what_a_registry_has_is_not_sent_again", run: sent_once },
    Case { name: "the_bars_of_a_pull_move", run: bars },
    Case { name: "a_layer_compressed_with_zstd_is_pulled_and_run", run: zstd },
    Case { name: "a_base_that_no_registry_holds_is_substituted", run: substituted },
    Case { name: "a_substituted_image_is_saved_loaded_and_pushed_by_reference", run: by_reference },
    Case { name: "a_build_pulls_its_base_and_stands_on_the_substitute", run: build_on_substitute },
    Case { name: "a_base_stands_in_when_its_registry_is_out_of_reach", run: stand_in },
    Case { name: "an_image_is_rebased_by_its_manifest", run: rebased },
    Case { name: "a_damaged_blob_of_a_registry_leaves_nothing_behind", run: damaged },
    Case { name: "a_pull_goes_on_after_a_killed_daemon", run: killed },
    Case { name: "what_a_registry_lacks_is_said_in_dockers_words", run: lacking },
];

/// Builds an image `name` with a file and a registry value on top of `base`.
fn build(daemon: &Daemon, name: &str, base: &str) -> Result<String> {
    let dockerfile = format!(
        "FROM {base}\nUSER ContainerAdministrator\nRUN echo shipped> C:\\shipped.txt && reg add \
         HKLM\\Software\\Shipped /v kind /d delta /f\nCMD type C:\\shipped.txt\n"
    );
    let directory = context(daemon, "registry-context", &dockerfile)?;
    daemon.docker().run(&["build", "-t", name, &directory.to_string_lossy()])
}

/// Runs an image of [`build`]: file and registry value are there.
fn check_run(docker: &Docker, name: &str) -> Result<()> {
    let text = docker.run(&["run", "--rm", name])?;
    ensure!(text.trim() == "shipped", "{text}");
    let text = docker.run(&["run", "--rm", name, "reg", "query", "HKLM\\Software\\Shipped"])?;
    ensure!(text.contains("delta"), "{text}");
    Ok(())
}

/// Runs a program that must succeed and returns what it printed.
fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {stderr}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Publishes an image on absent base layers and returns their digests: see `publish.py`.
fn publish(
    registry: &Registry,
    name: (&str, &str),
    saved: &str,
    steps: &[&str],
) -> Result<Vec<String>> {
    let mut script = Command::new("python3");
    script.args(["-c", include_str!("publish.py"), &registry.host(), name.0, name.1, saved]);
    let base: Vec<String> = run(script.args(steps))?.lines().map(str::to_owned).collect();
    for digest in &base {
        fs_err::remove_file(registry.blob(digest)?)?;
    }
    Ok(base)
}

/// Has the daemon look for images of `host` at `address`.
fn mirror(daemon: &Daemon, host: &str, address: &str) -> Result<()> {
    let directory = daemon.certs_dir().join(host);
    fs_err::create_dir_all(&directory)?;
    let text = format!(
        "server = \"http://{address}\"\n[host.\"http://{address}\"]\ncapabilities = [\"pull\", \
         \"resolve\"]\n"
    );
    Ok(fs_err::write(directory.join("hosts.toml"), text)?)
}

const NANO_STEP: &str = "Apply image 10.0.20348.5622";

fn elsewhere(daemon: &mut Daemon) -> Result<Outcome> {
    let registry = Registry::start(Door::Open)?;
    let docker = daemon.docker();
    let name = format!("{}/shipped/app:1", registry.host());
    build(daemon, &name, "nanoserver")?;
    let text = docker.run(&["push", &name])?;
    ensure!(text.contains("The push refers to repository"), "{text}");
    ensure!(text.contains(": Pushed") && text.contains("1: digest: sha256:"), "{text}");

    let root = tempfile::Builder::new().prefix("oriel-elsewhere-").tempdir()?;
    let other = Daemon::start(daemon.beside(root.path())?)?;
    let pulled = other.docker().run(&["pull", &name])?;
    for line in ["1: Pulling from shipped/app", "Pull complete", "Downloaded newer image for"] {
        ensure!(pulled.contains(line), "{line} in {pulled}");
    }
    ensure!(!pulled.contains("Substituted"), "a base of Oriel's was replaced: {pulled}");
    check_run(&other.docker(), &name)?;
    let [here, there] = [docker.inspect(&name)?, other.docker().inspect(&name)?];
    for key in ["Id", "RootFS", "Config"] {
        ensure!(here[key] == there[key], "{key}: {} {}", here[key], there[key]);
    }
    ensure!(other.docker().run(&["pull", &name])?.contains("Image is up to date for"));
    let digest = there["RepoDigests"][0].as_str().context("no digest")?.to_owned();
    other.docker().run(&["rmi", &name])?;
    let text = other.docker().run(&["pull", &digest])?;
    ensure!(text.contains("Downloaded newer image for"), "{text}");
    let left = other.stop()?;
    ensure!(left.list().is_empty(), "{:?}", left.list());

    let target = format!("docker://{name}");
    let seen = run(Command::new("skopeo").args(["inspect", "--tls-verify=false", &target]))?;
    ensure!(seen.contains("\"Os\": \"windows\""), "{seen}");
    PASSED
}

/// The Docker CLI with a configuration of its own.
fn as_user(docker: &Docker, config: &Path, arguments: &[&str]) -> Result<(bool, String)> {
    let output = docker.command(arguments).env("DOCKER_CONFIG", config).output()?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

fn guarded(daemon: &mut Daemon) -> Result<Outcome> {
    let registry = Registry::start(Door::Guarded)?;
    let (docker, host) = (daemon.docker(), registry.host());
    let certs = daemon.certs_dir().join(&host);
    fs_err::create_dir_all(&certs)?;
    fs_err::copy(registry.certificate(), certs.join("ca.crt"))?;
    let config = tempfile::tempdir()?;
    let name = format!("{host}/private/app:1");
    build(daemon, &name, "nanoserver")?;
    let (good, text) = as_user(&docker, config.path(), &["push", &name])?;
    ensure!(!good && text.contains("no basic auth credentials"), "{text}");
    let wrong = ["login", "-u", "ann", "-p", "guess", &host];
    let (good, text) = as_user(&docker, config.path(), &wrong)?;
    ensure!(!good && text.contains("401 Unauthorized"), "{text}");
    let right = ["login", "-u", "ann", "-p", "secret", &host];
    let (good, text) = as_user(&docker, config.path(), &right)?;
    ensure!(good && text.contains("Login Succeeded"), "{text}");
    let (good, text) = as_user(&docker, config.path(), &["push", &name])?;
    ensure!(good, "{text}");
    let (good, text) = as_user(&docker, config.path(), &["pull", &name])?;
    ensure!(good, "{text}");
    as_user(&docker, config.path(), &["logout", &host])?;
    let (good, text) = as_user(&docker, config.path(), &["pull", &name])?;
    ensure!(!good && text.contains("no basic auth credentials"), "{text}");
    PASSED
}

fn sent_once(daemon: &mut Daemon) -> Result<Outcome> {
    let registry = Registry::start(Door::Open)?;
    let (docker, host) = (daemon.docker(), registry.host());
    let [first, second] = ["once/a:1", "once/b:2"].map(|name| format!("{host}/{name}"));
    build(daemon, &first, "nanoserver")?;
    docker.run(&["push", &first])?;
    let again = docker.run(&["push", &first])?;
    ensure!(again.contains("Layer already exists") && !again.contains(": Pushed"), "{again}");
    docker.run(&["tag", &first, &second])?;
    let mounted = docker.run(&["push", &second])?;
    ensure!(mounted.contains("Mounted from once/a") && !mounted.contains(": Pushed"), "{mounted}");
    let digests = docker.inspect(&first)?["RepoDigests"].to_string();
    ensure!(digests.matches(&format!("{host}/once/")).count() == 2, "{digests}");
    let (status, body) = docker.http("GET", &format!("/distribution/{first}/json"), "")?;
    ensure!(status == 200 && body.contains("\"os\":\"windows\""), "{status} {body}");
    PASSED
}

fn bars(daemon: &mut Daemon) -> Result<Outcome> {
    let registry = Registry::start(Door::Open)?;
    let (docker, name) = (daemon.docker(), format!("{}/big:1", registry.host()));
    docker.run(&["tag", "windowsservercore", &name])?;
    docker.run(&["push", &name])?;
    let root = tempfile::Builder::new().prefix("oriel-bars-").tempdir()?;
    let other = Daemon::start(daemon.beside(root.path())?)?;
    let pull = format!("{:?}", other.docker().command(&["pull", &name])).replace("env -u ", "");
    let words: Vec<&str> = pull.split('"').skip(1).step_by(2).collect();
    let words = format!("stty cols 120; {}", words.join(" "));
    let text = run(Command::new("script").args(["-qec", &words, "/dev/null"]))?;
    for bar in ["Downloading [", "Extracting [", "Pull complete"] {
        ensure!(text.contains(bar), "{bar} in {text}");
    }
    other.stop()?;
    docker.run(&["rmi", &name])?;
    PASSED
}

fn zstd(daemon: &mut Daemon) -> Result<Outcome> {
    let registry = Registry::start(Door::Open)?;
    let name = format!("{}/zstd:1", registry.host());
    let tar = daemon.scratch().join("zstd.tar");
    daemon.docker().run(&["save", "-o", &tar.to_string_lossy(), "nanoserver"])?;
    let (from, to) = (format!("docker-archive:{}", tar.display()), format!("docker://{name}"));
    let words = ["--dest-tls-verify=false", "--dest-compress-format", "zstd", "--format", "oci"];
    run(Command::new("skopeo").arg("copy").args(words).args([&from, &to]))?;
    let raw = run(Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false", &to]))?;
    ensure!(raw.contains("application/vnd.oci.image.layer.v1.tar+zstd"), "{raw}");
    let root = tempfile::Builder::new().prefix("oriel-zstd-").tempdir()?;
    let other = Daemon::start(daemon.beside(root.path())?)?;
    other.docker().run(&["pull", &name])?;
    let text = other.docker().run(&["run", "--rm", &name, "cmd", "/c", "echo", "unpacked"])?;
    ensure!(text.trim() == "unpacked", "{text}");
    other.stop()?;
    PASSED
}

/// A registry that plays Microsoft's: a base image, and an image on it. Returns the base's digest.
fn microsoft(daemon: &Daemon) -> Result<(Registry, String)> {
    let registry = Registry::start(Door::Open)?;
    mirror(daemon, "mcr.microsoft.com", &registry.host())?;
    build(daemon, "made-on-nano:1", "nanoserver")?;
    let saved: PathBuf = daemon.scratch().join("made-on-nano.tar");
    let saved = saved.to_string_lossy();
    daemon.docker().run(&["save", "-o", &saved, "made-on-nano:1"])?;
    let name = ("windows/nanoserver", "ltsc2022");
    let base = publish(&registry, name, "-", &[NANO_STEP])?;
    let name = ("dotnet/runtime", "8.0-nanoserver-ltsc2022");
    publish(&registry, name, &saved, &[NANO_STEP])?;
    let steps = [NANO_STEP, "Install update 10.0.20348.5622"];
    publish(&registry, ("windows/servercore", "ltsc2022"), "-", &steps)?;
    Ok((registry, base.into_iter().next().context("no base digest")?))
}

const RUNTIME: &str = "mcr.microsoft.com/dotnet/runtime:8.0-nanoserver-ltsc2022";
const NANO: &str = "mcr.microsoft.com/windows/nanoserver:ltsc2022";
const CORE: &str = "mcr.microsoft.com/windows/servercore:ltsc2022";

fn substituted(daemon: &mut Daemon) -> Result<Outcome> {
    let (_registry, base) = microsoft(daemon)?;
    let docker = daemon.docker();
    let text = docker.run(&["pull", RUNTIME])?;
    ensure!(text.contains("Substituted by nanoserver:"), "{text}");
    ensure!(text.contains("stands in for 1 base layer(s) of Windows"), "{text}");
    let image = docker.inspect(RUNTIME)?;
    ensure!(image["Substitution"]["Base"].as_str().is_some_and(|it| it.starts_with("nanoserver")));
    let stated = &image["Substitution"]["Layers"][0]["Descriptor"]["digest"];
    ensure!(*stated == base.as_str(), "{stated} {base}");
    ensure!(image["OsVersion"] == "10.0.20348.5622", "{image}");
    check_run(&docker, RUNTIME)?;
    let history = docker.run(&["history", "--no-trunc", RUNTIME])?;
    ensure!(history.contains(NANO_STEP), "{history}");

    let text = docker.run(&["pull", CORE])?;
    ensure!(text.contains("stands in for 2 base layer(s) of Windows"), "{text}");
    ensure!(text.contains("Substituted by windowsservercore:"), "{text}");
    let text = docker.run(&["run", "--rm", CORE, "cmd", "/c", "echo", "core"])?;
    ensure!(text.trim() == "core", "{text}");
    docker.run(&["rmi", RUNTIME, CORE])?;
    PASSED
}

fn by_reference(daemon: &mut Daemon) -> Result<Outcome> {
    let (registry, base) = microsoft(daemon)?;
    let docker = daemon.docker();
    docker.run(&["pull", RUNTIME])?;
    let id = docker.inspect(RUNTIME)?["Id"].clone();
    let tar = daemon.scratch().join("by-reference.tar");
    docker.run(&["save", "-o", &tar.to_string_lossy(), RUNTIME])?;
    docker.run(&["rmi", "-f", RUNTIME])?;
    docker.run(&["load", "-i", &tar.to_string_lossy()])?;
    let image = docker.inspect(RUNTIME)?;
    ensure!(image["Id"] == id && image["Substitution"].is_object(), "{image}");
    check_run(&docker, RUNTIME)?;

    let other = Registry::start(Door::Open)?;
    let name = format!("{}/mine/runtime:1", other.host());
    docker.run(&["tag", RUNTIME, &name])?;
    let text = docker.run(&["push", &name])?;
    ensure!(text.contains("Skipped foreign layer"), "{text}");
    let target = format!("docker://{name}");
    let raw =
        run(Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false", &target]))?;
    let manifest: serde_json::Value = serde_json::from_str(&raw)?;
    let first = &manifest["layers"][0];
    ensure!(first["digest"] == base.as_str(), "{raw}");
    let url = first["urls"][0].as_str().unwrap_or_default();
    ensure!(url.starts_with("https://mcr.microsoft.com/v2/dotnet/runtime/blobs/"), "{raw}");
    docker.run(&["rmi", "-f", &name, RUNTIME])?;
    drop(registry);
    PASSED
}

fn build_on_substitute(daemon: &mut Daemon) -> Result<Outcome> {
    let (_registry, base) = microsoft(daemon)?;
    let docker = daemon.docker();
    let text = build(daemon, "on-substitute:1", NANO)?;
    ensure!(text.contains("Pulling from windows/nanoserver"), "{text}");
    check_run(&docker, "on-substitute:1")?;
    let image = docker.inspect("on-substitute:1")?;
    let stated = &image["Substitution"]["Layers"][0]["Descriptor"]["digest"];
    ensure!(*stated == base.as_str(), "{image}");
    docker.run(&["rmi", "-f", "on-substitute:1", NANO])?;
    PASSED
}

fn stand_in(daemon: &mut Daemon) -> Result<Outcome> {
    // Nothing listens there.
    mirror(daemon, "mcr.microsoft.com", "127.0.0.1:9")?;
    let docker = daemon.docker();
    let name = "mcr.microsoft.com/windows/servercore:ltsc2019";
    let text = docker.run(&["pull", name])?;
    ensure!(text.contains("windowsservercore of this host stands in"), "{text}");
    ensure!(docker.inspect(name)?["Id"] == docker.inspect("windowsservercore")?["Id"]);
    docker.run(&["rmi", name])?;
    let refused = docker.try_run(&["pull", "mcr.microsoft.com/dotnet/sdk:8.0"])?;
    ensure!(refused.status != 0, "{}", refused.stdout);
    PASSED
}

fn rebased(daemon: &mut Daemon) -> Result<Outcome> {
    let (registry, base) = microsoft(daemon)?;
    let (docker, name) = (daemon.docker(), format!("{}/ship/app:1", registry.host()));
    let oriel = |words: &[&str]| {
        let mut command = Command::new(daemon.program("oriel"));
        let socket = format!("unix://{}", daemon.scratch().join("oriel.sock").display());
        command.env("ORIEL_HOST", socket).args(words);
        command
    };
    let words = ["image", "rebase", "made-on-nano:1", "--onto", NANO, "-t", &name];
    run(&mut oriel(&words))?;
    check_run(&docker, &name)?;
    let [before, after] = [docker.inspect("made-on-nano:1")?, docker.inspect(&name)?];
    let layers = |image: &serde_json::Value| image["RootFS"]["Layers"].as_array().cloned();
    let [before, after] = [layers(&before), layers(&after)].map(Option::unwrap_or_default);
    ensure!(before.len() == after.len() && before[0] != after[0] && before[1..] == after[1..]);
    let text = docker.run(&["push", &name])?;
    ensure!(text.contains("1: digest: sha256:"), "{text}");
    let target = format!("docker://{name}");
    let raw =
        run(Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false", &target]))?;
    ensure!(raw.contains(&base), "{raw}");

    let dockerfile = "FROM nanoserver\nUSER ContainerAdministrator\nRUN copy /y \
                      C:\\Windows\\System32\\find.exe C:\\Windows\\System32\\findstr.exe\n";
    let directory = context(daemon, "needs-base", dockerfile)?;
    docker.run(&["build", "-q", "-t", "needs-base:1", &directory.to_string_lossy()])?;
    let words = ["image", "rebase", "needs-base:1", "--onto", NANO];
    let output = oriel(&words).output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success() && text.contains("findstr.exe"), "{text}");
    run(oriel(&words).arg("--force"))?;
    PASSED
}

/// All files below a directory, with their sizes; the records of images aside.
fn files(root: &Path) -> Result<Vec<String>> {
    let mut find = Command::new("find");
    find.arg(root).args(["-not", "-name", "meta.redb", "-type", "f", "-printf", "%P %s\\n"]);
    let mut lines: Vec<String> = run(&mut find)?.lines().map(str::to_owned).collect();
    lines.sort();
    Ok(lines)
}

fn damaged(daemon: &mut Daemon) -> Result<Outcome> {
    let registry = Registry::start(Door::Open)?;
    let (docker, name) = (daemon.docker(), format!("{}/damaged:1", registry.host()));
    build(daemon, &name, "nanoserver")?;
    docker.run(&["push", &name])?;
    let target = format!("docker://{name}");
    let raw =
        run(Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false", &target]))?;
    let manifest: serde_json::Value = serde_json::from_str(&raw)?;
    let digest = manifest["layers"][1]["digest"].as_str().context("no second layer")?;
    let mut bytes = fs_err::read(registry.blob(digest)?)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs_err::write(registry.blob(digest)?, bytes)?;

    let root = tempfile::Builder::new().prefix("oriel-damaged-").tempdir()?;
    let other = Daemon::start(daemon.beside(root.path())?)?;
    let before = files(root.path())?;
    let output = other.docker().try_run(&["pull", &name])?;
    ensure!(output.status != 0 && output.stderr.contains("digest"), "{}", output.stderr);
    ensure!(other.docker().run(&["images", "-aq"])?.is_empty(), "an image was recorded");
    let left: Vec<_> =
        files(root.path())?.into_iter().filter(|line| !before.contains(line)).collect();
    let of_damaged = left.iter().filter(|line| !line.starts_with("content/index.json"));
    ensure!(of_damaged.count() == 0, "{left:?}");
    other.stop()?;
    PASSED
}

fn killed(daemon: &mut Daemon) -> Result<Outcome> {
    let registry = Registry::start(Door::Open)?;
    let (docker, name) = (daemon.docker(), format!("{}/killed:1", registry.host()));
    docker.run(&["tag", "windowsservercore", &name])?;
    docker.run(&["push", &name])?;
    docker.run(&["rmi", &name])?;
    let root = tempfile::Builder::new().prefix("oriel-killed-").tempdir()?;
    let mut other = Daemon::start(daemon.beside(root.path())?)?;
    let mut pull = other.docker().command(&["pull", "-q", &name]).spawn()?;
    let downloads = root.path().join("content/downloads");
    let begun = |_: &Docker| {
        let mut entries = fs_err::read_dir(&downloads).into_iter().flatten().flatten();
        Ok(entries.any(|entry| entry.metadata().is_ok_and(|it| it.len() > 4 << 20)))
    };
    docker.wait_until("some megabytes of a layer", begun)?;
    other.kill()?;
    pull.wait()?;
    other.restart()?;
    ensure!(other.docker().run(&["images", "-aq"])?.is_empty(), "an image was recorded");
    other.docker().run(&["pull", &name])?;
    let text = other.docker().run(&["run", "--rm", &name, "cmd", "/c", "echo", "whole"])?;
    ensure!(text.trim() == "whole", "{text}");
    let left = fs_err::read_dir(&downloads)?.count();
    ensure!(left == 0, "{left} partial downloads are left");
    let left = other.stop()?;
    ensure!(left.list().is_empty(), "{:?}", left.list());
    PASSED
}

fn lacking(daemon: &mut Daemon) -> Result<Outcome> {
    let registry = Registry::start(Door::Open)?;
    let (docker, host) = (daemon.docker(), registry.host());
    let refused = |words: &[&str], text: &str| -> Result<()> {
        let output = docker.try_run(words)?;
        let said = output.stdout + &output.stderr;
        ensure!(output.status != 0 && said.contains(text), "{words:?}: {said}");
        Ok(())
    };
    let name = format!("{host}/lacking:1");
    refused(&["pull", &name], "manifest unknown")?;
    refused(&["push", &name], "An image does not exist locally with the tag")?;
    refused(&["run", "--rm", &name, "cmd"], "manifest unknown")?;
    refused(&["pull", "--platform", "linux/amd64", &name], "operating system is not supported")?;
    PASSED
}
