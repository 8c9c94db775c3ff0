//! Which crate may depend on which, and how many come from outside.

use std::{path::Path, process::Command};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::Finding;

/// Most packages in the lock file. More is more to audit and to build.
const MAX_LOCKED: usize = 300;

/// The house: each crate with the crates of the house that it may know. Arrows point down only.
const ALLOWED: &[(&str, &[&str])] = &[
    // The command line knows the wire, what a build does not send over it, and exit codes.
    ("oriel", &["oriel-api", "oriel-hcs", "oriel-ignore"]),
    // The daemon wires everything together.
    (
        "orield",
        &[
            "oriel-api",
            "oriel-builder",
            "oriel-buildkit",
            "oriel-distribution",
            "oriel-engine",
            "oriel-hcs",
            "oriel-hive",
            "oriel-hns",
            "oriel-image",
            "oriel-personality",
            "oriel-silo",
            "oriel-sys",
        ],
    ),
    ("oriel-agent", &["oriel-hcs", "oriel-silo", "oriel-sys"]),
    // Docker floor. The engine runs in a unit test without root: neither silo nor sys nor HTTP.
    ("oriel-engine", &["oriel-builder", "oriel-hcs", "oriel-hive", "oriel-image"]),
    ("oriel-builder", &["oriel-hcs", "oriel-ignore", "oriel-image"]),
    // A protocol; what it is used for is the daemon's business.
    ("oriel-buildkit", &[]),
    // Of images it knows names and digests, never the store.
    ("oriel-distribution", &["oriel-hcs", "oriel-image"]),
    ("oriel-image", &["oriel-hcs", "oriel-hive", "oriel-sys", "oriel-wclayer"]),
    // Windows floor: strangers to each other.
    ("oriel-silo", &["oriel-hcs", "oriel-sys"]),
    ("oriel-hns", &["oriel-hcs", "oriel-sys"]),
    ("oriel-personality", &["oriel-hcs", "oriel-hive", "oriel-sys", "oriel-wclayer"]),
    // Byte floor, ground and contract.
    ("oriel-wclayer", &[]),
    ("oriel-hive", &[]),
    ("oriel-hcs", &[]),
    ("oriel-ignore", &[]),
    ("oriel-api", &[]),
    ("oriel-sys", &[]),
    // Outside of the house.
    ("conformance", &[]),
    ("oriel-conformance", &[]),
    ("xtask", &[]),
];

/// Crates from outside that a crate must not know, with the reason.
const FORBIDDEN: &[(&str, &[&str], &str)] = &[
    ("oriel-engine", &["axum", "hyper", "hyper-util", "nix", "rustix"], "it runs on fakes"),
    ("oriel-hive", &["tokio", "fs-err", "nix", "rustix"], "the byte floor does no I/O"),
    ("oriel-wclayer", &["tokio", "fs-err", "nix", "rustix"], "the byte floor does no I/O"),
];

/// Compares `cargo metadata` with the tables, and counts the lock file.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let mut findings = compare(&packages(&metadata));
    let lock = fs_err::read_to_string(root.join("Cargo.lock"))?;
    let locked = lock.lines().filter(|line| line.trim() == "[[package]]").count();
    if locked > MAX_LOCKED {
        let text = format!("{locked} packages, {MAX_LOCKED} are allowed");
        findings.push(Finding::new("Cargo.lock", text));
    }
    Ok(findings)
}

/// Names of the workspace's packages with their dependencies; those of tests alone left out.
fn packages(metadata: &Value) -> Vec<(String, Vec<String>)> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    list(&metadata["packages"])
        .iter()
        .map(|package| {
            let dependencies = list(&package["dependencies"]);
            let used = dependencies.iter().filter(|dependency| dependency["kind"] != "dev");
            (name(package), used.map(name).collect())
        })
        .collect()
}

fn compare(packages: &[(String, Vec<String>)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (package, dependencies) in packages {
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| name == package) else {
            let text = "has no place in the table of xtask/src/arrows.rs; give it one";
            findings.push(Finding::new(package, text));
            continue;
        };
        let house = dependencies.iter().filter(|name| packages.iter().any(|(p, _)| p == *name));
        for dependency in house.filter(|name| !allowed.contains(&name.as_str())) {
            let text = format!("must not know {dependency}: arrows point down only");
            findings.push(Finding::new(package, text));
        }
        for (_, crates, reason) in FORBIDDEN.iter().filter(|(name, ..)| name == package) {
            for dependency in dependencies.iter().filter(|name| crates.contains(&name.as_str())) {
                findings
                    .push(Finding::new(package, format!("must not use {dependency}: {reason}")));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(packages: &[(&str, &[&str])]) -> Vec<String> {
        let owned: Vec<_> = packages
            .iter()
            .map(|(name, list)| {
                (String::from(*name), list.iter().map(|name| String::from(*name)).collect())
            })
            .collect();
        compare(&owned)
            .into_iter()
            .map(|finding| format!("{} {}", finding.place, finding.text))
            .collect()
    }

    #[test]
    fn arrows_down_pass_and_arrows_up_are_found() {
        let down: &[(&str, &[&str])] =
            &[("oriel-engine", &["oriel-image", "serde"]), ("oriel-image", &[])];
        assert!(findings(down).is_empty());
        let up: &[(&str, &[&str])] = &[("oriel-engine", &[]), ("oriel-image", &["oriel-engine"])];
        assert_eq!(
            findings(up),
            ["oriel-image must not know oriel-engine: arrows point down only"]
        );
    }

    #[test]
    fn newcomers_and_forbidden_crates_are_found() {
        assert_eq!(findings(&[("oriel-new", &[])]).len(), 1);
        let http: &[(&str, &[&str])] = &[("oriel-engine", &["axum"])];
        assert_eq!(findings(http), ["oriel-engine must not use axum: it runs on fakes"]);
    }
}
