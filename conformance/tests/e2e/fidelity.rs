//! What a layer says of its files: what a container sees of it, and what is exported again.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use oriel_conformance::{Case, Daemon, Outcome};
use serde_json::Value;

use crate::PASSED;

pub(crate) const CASES: &[Case] = &[
    Case { name: "a_container_sees_the_attributes_of_a_layer", run: seen },
    Case { name: "what_a_layer_says_survives_run_commit_and_save", run: survives },
];

/// The image with everything, made by an independent writer.
const IMAGE: &str = "faithful:1";

/// Python's tar reader and writer, which know nothing of Oriel.
pub(crate) fn python(arguments: &[&str]) -> Result<Vec<u8>> {
    let script = include_str!("fidelity.py");
    let output =
        std::process::Command::new("python3").args(["-c", script]).args(arguments).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn load(daemon: &Daemon) -> Result<()> {
    let docker = daemon.docker();
    let [base, made] = ["plain.tar", "faithful.tar"].map(|name| text(&daemon.scratch().join(name)));
    docker.run(&["save", "-o", &base, "nanoserver"])?;
    python(&["make", &base, &made])?;
    let said = docker.run(&["load", "-i", &made])?;
    ensure!(said.contains(IMAGE), "{said}");
    Ok(())
}

/// Runs a command in a container of its own and returns what it wrote, errors included.
fn shell(daemon: &Daemon, command: &str) -> Result<String> {
    let user = ["run", "--rm", "--user", "ContainerAdministrator", IMAGE, "cmd", "/S", "/C"];
    let output = daemon.docker().try_run(&[&user[..], &[command]].concat())?;
    Ok(format!("{}{}", output.stdout, output.stderr).replace("\r\n", "\n"))
}

fn seen(daemon: &mut Daemon) -> Result<Outcome> {
    load(daemon)?;
    let attributes = shell(daemon, r"attrib C:\w\*")?;
    for (name, expected) in
        [("hs.txt", "SH"), ("ro.txt", "R"), ("plain.txt", ""), ("sparse", ""), (".dot", "")]
    {
        let line = attributes.lines().find(|line| line.ends_with(&format!(r"\{name}")));
        let line = line.with_context(|| format!("{name} is missing: {attributes}"))?;
        let letters: String = line[..10].chars().filter(|c| "SHR".contains(*c)).collect();
        ensure!(letters == expected, "{line}");
    }
    let plain = shell(daemon, r"dir /b C:\w")?;
    ensure!(plain.contains("plain.txt") && plain.contains(".dot"), "{plain}");
    ensure!(!plain.contains("hs.txt") && !plain.contains(':'), "{plain}");
    ensure!(shell(daemon, r"dir /a C:\w")?.contains("hs.txt"), "dir /a hides a file");
    let junction = shell(daemon, r"dir /b /ad C:\w & dir /b C:\w\junction")?;
    ensure!(junction.contains("junction") && junction.contains("ContainerUser"), "{junction}");
    ensure!(shell(daemon, r"type C:\w\link.txt")?.trim() == "plain", "the link leads elsewhere");
    ensure!(shell(daemon, r"C:\w\hard.exe")?.trim().len() > 1, "the hard link does not run");
    ensure!(shell(daemon, r"type C:\w\hs.txt:zone")?.trim() == "internet", "no stream");
    let denied = shell(daemon, r"del C:\w\ro.txt & echo x> C:\w\ro.txt & type C:\w\ro.txt")?;
    ensure!(denied.starts_with("read only"), "{denied}");
    PASSED
}

fn survives(daemon: &mut Daemon) -> Result<Outcome> {
    load(daemon)?;
    let docker = daemon.docker();
    let change = [
        r"attrib -r C:\w\ro.txt",
        r"attrib +r C:\w\hs.txt",
        r"echo more>> C:\w\plain.txt",
        r"echo new> C:\w\new.txt",
        r"echo w> C:\w\new.txt:mine",
        r"del C:\w\plain.txt:two",
        r"attrib -h -s C:\w\.dot",
        r"attrib +h C:\w\sparse",
    ]
    .join("&&");
    let command = ["--user", "ContainerAdministrator", IMAGE, "cmd", "/S", "/C", &change];
    docker.run(&[&["run", "--name", "changed"], &command[..]].concat())?;
    let listed = docker.run(&["diff", "changed"])?;
    docker.run(&["commit", "changed", "faithful:2"])?;
    docker.run(&["rm", "changed"])?;
    let saved = text(&daemon.scratch().join("committed.tar"));
    docker.run(&["save", "-o", &saved, "faithful:2"])?;
    let shown: Value = serde_json::from_slice(&python(&["show", &saved])?)?;
    ensure!(!listed.contains(':'), "a stream is no change of its own: {listed}");
    let records = |name: &str, key: &str| shown["members"][name]["records"][key].clone();
    for (name, attributes) in [
        ("Files/w", "8208"),
        ("Files/w/ro.txt", "32"),
        ("Files/w/hs.txt", "39"),
        ("Files/w/plain.txt", "8224"),
        ("Files/w/.dot", "32"),
        ("Files/w/sparse", "546"),
        ("Files/w/new.txt", "32"),
    ] {
        ensure!(records(name, "MSWINDOWS.fileattr") == attributes, "{name}: {shown:#}");
        let old = name != "Files/w/new.txt";
        let created = records(name, "LIBARCHIVE.creationtime");
        ensure!((created == "1500000000.1234567") == old, "{name}: {created}");
        let same = records(name, "MSWINDOWS.rawsd") == shown["descriptor"];
        ensure!(same == old, "{name}: {shown:#}");
    }
    for name in ["ro.txt", "hs.txt", "plain.txt"] {
        let value = records(&format!("Files/w/{name}"), "MSWINDOWS.xattr.ORIEL");
        ensure!(value == "AQB2YWx1ZQ==", "{name}: {value}");
    }
    let data = |name: &str| shown["members"][name]["data"].clone();
    ensure!(data("Files/w/plain.txt:one") == "1", "a stream of a copied file is lost: {shown:#}");
    ensure!(data("Files/w/plain.txt:two").is_null(), "a deleted stream is back: {shown:#}");
    ensure!(data("Files/w/hs.txt:zone") == "internet", "{shown:#}");
    ensure!(data("Files/w/new.txt:mine") == "w\r\n", "{shown:#}");
    ensure!(data("Files/w/plain.txt") == "plainmore\r\n", "{shown:#}");
    ensure!(shown["members"]["Files/w/ro.txt"]["mtime"] == 1_600_000_000, "{shown:#}");
    PASSED
}
