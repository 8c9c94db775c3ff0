//! Archives of images and of containers, as other tools write and read them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use oriel_conformance::{Case, Daemon, Outcome};

use crate::PASSED;

pub(crate) const CASES: &[Case] = &[
    Case { name: "skopeo_and_umoci_read_what_save_writes", run: others_read },
    Case { name: "archives_of_other_tools_load", run: others_write },
    Case { name: "an_exported_container_runs_again_as_an_image", run: export_and_import },
    Case { name: "changes_of_a_commit_are_instructions", run: changes },
];

fn tool(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("{program} is missing: see scripts/install-deps"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {arguments:?}: {said}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn others_read(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let [tar, layout] = ["skopeo.tar", "skopeo-oci"].map(|name| text(&daemon.scratch().join(name)));
    docker.run(&["save", "-o", &tar, "nanoserver:latest"])?;
    let seen = tool("skopeo", &["inspect", &format!("docker-archive:{tar}")])?;
    let layers = &docker.inspect("nanoserver")?["RootFS"]["Layers"];
    let layer = layers[0].as_str().context("no layer")?;
    ensure!(seen.contains(layer) && seen.contains("\"windows\""), "{seen}");
    let [from, to] = [format!("docker-archive:{tar}"), format!("oci:{layout}:x")];
    tool("skopeo", &["--override-os", "windows", "copy", &from, &to])?;
    ensure!(tool("umoci", &["list", "--layout", &layout])?.trim() == "x");
    let stat = tool("umoci", &["stat", "--image", &format!("{layout}:x")])?;
    ensure!(stat.contains("Apply image"), "{stat}");
    let store = format!("oci:{}:latest", text(&daemon.data_root().join("content")));
    // Several images may have the tag; the store is read, which is what counts.
    let raw = Command::new("skopeo").args(["inspect", "--raw", &store]).output()?;
    let said = String::from_utf8_lossy(&raw.stderr);
    ensure!(raw.status.success() || said.contains("more than one"), "{said}");
    PASSED
}

fn others_write(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let scratch = |name: &str| text(&daemon.scratch().join(name));
    let tar = scratch("original.tar");
    docker.run(&["save", "-o", &tar, "nanoserver:latest"])?;
    let id = docker.inspect("nanoserver")?["Id"].clone();
    let from = format!("docker-archive:{tar}");
    for (kind, file) in [("docker-archive", "again.tar"), ("oci-archive", "oci.tar")] {
        let file = scratch(file);
        let to = format!("{kind}:{file}:copied/{kind}:1");
        tool("skopeo", &["--override-os", "windows", "copy", &from, &to])?;
        let said = docker.run(&["load", "-i", &file])?;
        ensure!(said.contains("Loaded image"), "{said}");
        if kind == "docker-archive" {
            ensure!(docker.inspect(&format!("copied/{kind}:1"))?["Id"] == id, "{said}");
            docker.run(&["rmi", &format!("copied/{kind}:1")])?;
        }
    }
    for compressor in ["bzip2", "xz"] {
        let mut words = vec!["-k", "-f", "-1"];
        words.push(&tar);
        tool(compressor, &words)?;
        let end = if compressor == "xz" { "xz" } else { "bz2" };
        let said = docker.run(&["load", "-i", &format!("{tar}.{end}")])?;
        ensure!(said.contains("Loaded image: nanoserver:latest"), "{said}");
    }
    PASSED
}

fn export_and_import(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let tar = text(&daemon.scratch().join("exported.tar"));
    let script = r"echo kept> C:\kept.txt && reg add HKLM\Software\Kept /v Word /d yes /f";
    let user = ["--user", "ContainerAdministrator"];
    let run = ["run", "--name", "exported", "nanoserver", "cmd", "/S", "/C", script];
    docker.run(&[&run[..1], &user, &run[1..]].concat())?;
    docker.run(&["export", "-o", &tar, "exported"])?;
    docker.run(&["rm", "exported"])?;
    let said = docker.run(&["import", "-c", "ENV WORD=given", "-m", "flat", &tar, "flat:1"])?;
    ensure!(said.trim().starts_with("sha256:"), "{said}");
    let image = docker.inspect("flat:1")?;
    ensure!(image["RootFS"]["Layers"].as_array().map(Vec::len) == Some(1), "{image}");
    ensure!(image["Comment"] == "flat" && image["OsVersion"] == "10.0.20348.2113", "{image}");
    let look = r"type C:\kept.txt && reg query HKLM\Software\Kept && echo %WORD%";
    let seen = docker.run(&["run", "--rm", "flat:1", "cmd", "/S", "/C", look])?;
    for word in ["kept", "yes", "given"] {
        ensure!(seen.contains(word), "{seen}");
    }
    docker.run(&["rmi", "flat:1"])?;
    PASSED
}

fn changes(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    docker.run(&["create", "--name", "changed", "nanoserver", "cmd"])?;
    let refused = docker.try_run(&["commit", "-c", "RUN dir", "changed", "changed:1"])?;
    ensure!(refused.stderr.contains("run is not a valid change command"), "{}", refused.stderr);
    let words = ["commit", "-c", "LABEL a=b", "-c", r#"CMD ["x.exe"]"#, "changed", "changed:1"];
    docker.run(&words)?;
    let config = docker.inspect("changed:1")?["Config"].clone();
    ensure!(config["Labels"]["a"] == "b" && config["Cmd"][0] == "x.exe", "{config}");
    docker.run(&["rm", "changed"])?;
    docker.run(&["rmi", "changed:1"])?;
    PASSED
}
