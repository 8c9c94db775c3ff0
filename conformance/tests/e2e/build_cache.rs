//! The cache of steps: from other hosts, by content, reproducible; and pruning what builds keep.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use oriel_conformance::{Case, Daemon, Docker, Door, Outcome, Registry};
use serde_json::Value;

use crate::{PASSED, build::context, fidelity::python};

pub(crate) const CASES: &[Case] = &[
    Case { name: "a_fresh_host_takes_pushed_steps_and_runs_nothing", run: from_registry },
    Case { name: "with_an_epoch_two_hosts_build_the_same_image", run: reproducible },
    Case { name: "a_stage_that_gives_the_same_files_is_no_change", run: by_content },
    Case { name: "files_given_to_an_account_are_its_own_in_the_layer", run: owners },
    Case { name: "build_caches_are_listed_and_pruned_by_filters", run: pruned },
];

/// Another host, with the base image of this one.
fn another(daemon: &Daemon, root: &Path) -> Result<Daemon> {
    let saved = daemon.scratch().join("base.tar");
    let saved = saved.to_string_lossy();
    daemon.docker().run(&["save", "-o", &saved, "nanoserver"])?;
    let other = Daemon::start(daemon.beside(root)?)?;
    other.docker().run(&["load", "-i", &saved])?;
    fs_err::remove_file(&*saved)?;
    Ok(other)
}

fn build(docker: &Docker, directory: &Path, options: &[&str]) -> Result<String> {
    docker.run(&[&["build"], options, &[&directory.to_string_lossy()]].concat())
}

/// A context with a text of its own, so that no earlier run has built it.
fn fresh(daemon: &Daemon, name: &str, dockerfile: &str) -> Result<PathBuf> {
    let directory = context(daemon, name, dockerfile)?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    fs_err::write(directory.join("text.txt"), format!("text of {now:?}"))?;
    Ok(directory)
}

fn from_registry(daemon: &mut Daemon) -> Result<Outcome> {
    let registry = Registry::start(Door::Open)?;
    let docker = daemon.docker();
    let name = format!("{}/cached/app:1", registry.host());
    let dockerfile = "FROM nanoserver\nUSER ContainerAdministrator\nENV A=1\nWORKDIR /app\n\
        COPY text.txt .\nRUN echo made> made.txt && reg add HKLM\\Software\\Made /v a /d b /f\n\
        CMD type made.txt\n";
    let directory = fresh(daemon, "pushed", dockerfile)?;
    build(&docker, &directory, &["-t", &name])?;
    docker.run(&["push", &name])?;

    let root = tempfile::Builder::new().prefix("oriel-cache-").tempdir()?;
    let other = another(daemon, root.path())?;
    let there = other.docker();
    let missing = format!("{}/nothing:1", registry.host());
    let nowhere = "127.0.0.1:1/nobody/there:1";
    let sources = ["--cache-from", &missing, "--cache-from", nowhere, "--cache-from", &name];
    let text = build(&there, &directory, &[&sources[..], &["-t", "app"]].concat())?;
    ensure!(text.matches("Using cache").count() == 6 && !text.contains("Running in"), "{text}");
    for name in [missing.as_str(), nowhere] {
        ensure!(text.contains(&format!("[Warning] --cache-from {name} is left out")), "{text}");
    }
    ensure!(docker.inspect(&name)?["Id"] == there.inspect("app")?["Id"], "another image: {text}");
    let run = ["run", "--rm", "app", "cmd", "/c", r"type made.txt & reg query HKLM\Software\Made"];
    let seen = there.run(&run)?;
    ensure!(seen.starts_with("made") && seen.contains("REG_SZ"), "{seen}");

    // A changed step takes the layers below from here, and none of those above.
    fs_err::write(directory.join("Dockerfile"), dockerfile.replace("made.txt &&", "other.txt &&"))?;
    let text = build(&there, &directory, &["--cache-from", &name])?;
    ensure!(text.matches("Using cache").count() == 4 && text.contains("Running in"), "{text}");
    let left = other.stop()?;
    ensure!(left.list().is_empty(), "{:?}", left.list());
    docker.run(&["rmi", &name])?;
    PASSED
}

fn reproducible(daemon: &mut Daemon) -> Result<Outcome> {
    let dockerfile = "FROM nanoserver\nENV A=1\nWORKDIR /app\nCOPY text.txt docs ./\n\
        COPY --chown=ContainerUser docs C:/docs/\nCMD [\"cmd\"]\n";
    let root = tempfile::Builder::new().prefix("oriel-epoch-").tempdir()?;
    let other = another(daemon, root.path())?;
    let mut images = Vec::new();
    for (docker, name) in [(daemon.docker(), "here"), (other.docker(), "there")] {
        let directory = context(daemon, name, dockerfile)?;
        fs_err::create_dir_all(directory.join("docs/more"))?;
        fs_err::write(directory.join("text.txt"), "text")?;
        fs_err::write(directory.join("docs/more/a.txt"), "a")?;
        let path = directory.to_string_lossy();
        let arguments = ["build", "--no-cache", "--build-arg", "SOURCE_DATE_EPOCH", "-t", name];
        let mut command = docker.command(&[&arguments[..], &[&path]].concat());
        let output = command.env("SOURCE_DATE_EPOCH", "1700000000").output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success() && !text.contains("[Warning]"), "{text}");
        images.push(docker.inspect(name)?);
    }
    other.stop()?;
    for key in ["Created", "RootFS", "Config", "Id"] {
        ensure!(images[0][key] == images[1][key], "{key}: {} {}", images[0][key], images[1][key]);
    }
    ensure!(images[0]["Created"] == "2023-11-14T22:13:20Z", "{}", images[0]);
    PASSED
}

fn by_content(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let dockerfile = |noise: &str| {
        format!(
            "FROM nanoserver AS maker\nUSER ContainerAdministrator\nCOPY text.txt C:/out/\n\
             RUN echo {noise}> C:\\noise.txt\nFROM nanoserver\nUSER ContainerAdministrator\n\
             COPY --from=maker C:/out C:/got\nRUN --mount=from=maker,source=C:/out,target=C:/in \
             type C:\\in\\text.txt > C:\\copy.txt\nCMD type C:\\got\\text.txt C:\\copy.txt\n"
        )
    };
    let directory = fresh(daemon, "content", &dockerfile("one"))?;
    let first = build(&docker, &directory, &["-q"])?;
    fs_err::write(directory.join("Dockerfile"), dockerfile("two"))?;
    let text = build(&docker, &directory, &["-t", "content"])?;
    ensure!(text.matches("Running in").count() == 1, "{text}");
    ensure!(docker.inspect("content")?["Id"] == first.trim(), "another image: {text}");
    let seen = docker.run(&["run", "--rm", "content"])?;
    ensure!(seen.matches("text of").count() == 2, "{seen}");
    // The same bytes of another time are the same file.
    let file = fs_err::File::options().write(true).open(directory.join("text.txt"))?;
    file.file().set_modified(std::time::SystemTime::UNIX_EPOCH)?;
    let again = build(&docker, &directory, &["-q"])?;
    ensure!(first == again, "{first} then {again}");
    PASSED
}

/// The descriptor of a file of `ContainerUser`:
/// `O:S-1-5-93-2-2G:SYD:(A;;FA;;;BA)(A;;FA;;;SY)(A;;0x1701bf;;;S-1-5-93-2-2)`.
const USERS: &str = "\
    AQAEgBQAAAAoAAAAAAAAADQAAAABAwAAAAAABV0AAAACAAAAAgAAAAEBAAAAAAAFEgAAAAIAUAADAAAA\
    AAAYAP8BHwABAgAAAAAABSAAAAAgAgAAAAAUAP8BHwABAQAAAAAABRIAAAAAABwAvwEXAAEDAAAAAAAF\
    XQAAAAIAAAACAAAA";

/// The same for Administrators.
const ADMINISTRATORS: &str = "\
    AQAEgBQAAAAkAAAAAAAAADAAAAABAgAAAAAABSAAAAAgAgAAAQEAAAAAAAUSAAAAAgBMAAMAAAAAABgA\
    /wEfAAECAAAAAAAFIAAAACACAAAAABQA/wEfAAEBAAAAAAAFEgAAAAAAGAC/ARcAAQIAAAAAAAUgAAAA\
    IAIAAA==";

fn owners(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    for (account, name, descriptor) in
        [("ContainerUser", "user", USERS), ("BUILTIN\\\\Administrators", "admins", ADMINISTRATORS)]
    {
        let dockerfile = format!("FROM nanoserver\nCOPY --chown={account} text.txt C:/{name}/\n");
        let directory = fresh(daemon, name, &dockerfile)?;
        let text = build(&docker, &directory, &["-t", name])?;
        ensure!(!text.contains("[Warning]"), "{text}");
        let saved = daemon.scratch().join(name).join("saved.tar");
        let saved = saved.to_string_lossy();
        docker.run(&["save", "-o", &saved, name])?;
        let shown: Value = serde_json::from_slice(&python(&["show", &saved])?)?;
        let file = &shown["members"][format!("Files/{name}/text.txt")]["records"];
        ensure!(file["MSWINDOWS.rawsd"] == descriptor, "{account}: {shown:#}");
        // Who is no administrator reads it.
        let path = format!("C:\\{name}\\text.txt");
        let user = ["run", "--rm", "-u", "ContainerUser", name, "cmd", "/c", "type", &path];
        ensure!(docker.run(&user)?.starts_with("text of"), "{account}: not to be read");
    }
    PASSED
}

fn pruned(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    docker.run(&["builder", "prune", "-af"])?;
    let dockerfile = "FROM nanoserver\nUSER ContainerAdministrator\nCOPY text.txt C:/\n\
        RUN --mount=type=cache,id=one,target=C:/c echo 12345> C:\\c\\f\n\
        RUN --mount=type=cache,id=two,target=C:/c echo 12345> C:\\c\\f\n";
    let directory = fresh(daemon, "pruned", dockerfile)?;
    build(&docker, &directory, &["-q"])?;
    let records = || -> Result<Vec<Value>> {
        let (_, body) = docker.http("GET", "/system/df?type=build-cache", "")?;
        let usage: Value = serde_json::from_str(&body)?;
        Ok(usage["BuildCache"].as_array().cloned().unwrap_or_default())
    };
    let found = records()?;
    ensure!(found.len() == 2, "{found:?}");
    for record in &found {
        ensure!(record["Type"] == "exec.cachemount" && record["UsageCount"] == 1, "{record}");
        ensure!(record["Size"] == 7 && record["InUse"] == false, "{record}");
    }
    let prune =
        |arguments: &[&str]| docker.try_run(&[&["builder", "prune", "-f"], arguments].concat());
    let count = |arguments: &[&str]| -> Result<usize> {
        let output = prune(arguments)?;
        ensure!(output.status == 0, "{arguments:?}: {output:?}");
        Ok(records()?.len())
    };
    for kept in ["type=regular", "parent=x", "inuse=true", "shared=true", "until=1h", "id=zzz"] {
        ensure!(count(&["--filter", kept])? == 2, "{kept} removed something");
    }
    ensure!(count(&["--keep-storage", "1GB"])? == 2, "much may be kept");
    let twice = prune(&["--filter", "until=1h", "--filter", "unused-for=2h"])?;
    ensure!(twice.status != 0 && twice.stderr.contains("conflicting filters"), "{twice:?}");
    ensure!(count(&["--filter", "description=cached mount one"])? == 1, "not by description");
    let id = records()?[0]["ID"].as_str().context("no id")?.to_owned();
    ensure!(count(&["--filter", &format!("id={}", &id[..12])])? == 0, "not by id");
    PASSED
}
