//! End-to-end tests: a real daemon, real containers, the real Docker CLI, real Windows programs.
//!
//! `cargo test -p oriel-conformance -- [NAME]`. Needs root, a release build, base images in the
//! data root and the programs of `scripts/fetch-programs`; `make test` provides all of it. Where
//! to find them: `ORIEL_TEST_BIN`, `ORIEL_TEST_DATA_ROOT`, `ORIEL_TEST_PROGRAMS`,
//! `ORIEL_TEST_DOCKER`.

mod access;
mod archives;
mod build;
mod build_cache;
mod builds;
mod buildx;
mod cli;
mod clients;
mod dockerfiles;
mod examples;
mod faults;
mod fidelity;
mod health;
mod images;
mod isolation;
mod language;
mod limits;
mod load;
mod logs;
mod network;
mod networks;
mod openapi;
mod pipes;
mod processes;
mod programs;
mod registries;
mod registry;
mod running;
mod settings;
mod storage;
mod surface;
mod terminal;
mod volumes;
mod warm;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use oriel_conformance::{Case, Daemon, Outcome, Settings, run};

/// What every case returns when its claim holds.
const PASSED: Result<Outcome> = Ok(Outcome::Passed);

#[expect(clippy::print_stdout, reason = "a test runner reports on standard output")]
fn main() -> ExitCode {
    let filter = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    if !rustix::process::geteuid().is_root() {
        println!("skipped: end-to-end tests need root");
        println!("0 passed, 0 failed, 1 skipped");
        return ExitCode::SUCCESS;
    }
    match suite(&filter) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("{error:?}\n0 passed, 1 failed, 0 skipped");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "a test runner reports on standard output")]
fn suite(filter: &str) -> Result<bool> {
    let mut daemon = Daemon::start(settings()?)?;
    let cases: Vec<Case> = [
        surface::CASES,
        processes::CASES,
        isolation::CASES,
        limits::CASES,
        network::CASES,
        networks::CASES,
        build::CASES,
        warm::CASES,
        builds::CASES,
        build_cache::CASES,
        buildx::CASES,
        dockerfiles::CASES,
        examples::CASES,
        language::CASES,
        cli::CASES,
        images::CASES,
        archives::CASES,
        fidelity::CASES,
        health::CASES,
        logs::CASES,
        storage::CASES,
        volumes::CASES,
        programs::CASES,
        registries::CASES,
        registry::CASES,
        settings::CASES,
        access::CASES,
        running::CASES,
        clients::CASES,
        openapi::CASES,
        load::CASES,
        terminal::CASES,
        pipes::CASES,
        faults::CASES,
    ]
    .into_iter()
    .flat_map(|cases| cases.iter().map(|case| Case { name: case.name, run: case.run }))
    .collect();
    let good = run(&cases, filter, &mut daemon);
    if !good {
        println!("---- orield's log, its end ----\n{}", tail(&daemon.log(), 200));
    }
    let leftovers = daemon.stop()?;
    for line in leftovers.list() {
        println!("left behind: {line}");
    }
    Ok(good && leftovers.list().is_empty())
}

fn settings() -> Result<Settings> {
    let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    Ok(Settings {
        programs: path("ORIEL_TEST_BIN").unwrap_or_else(|| root.join("target/release")),
        data_root: path("ORIEL_TEST_DATA_ROOT").context("ORIEL_TEST_DATA_ROOT is not set")?,
        docker: path("ORIEL_TEST_DOCKER").unwrap_or_else(|| "docker".into()),
        number: 0,
    })
}

/// A real Windows program fetched by `scripts/fetch-programs`: a folder below its `programs`.
fn windows_program(name: &str) -> Result<PathBuf> {
    let root = std::env::var_os("ORIEL_TEST_PROGRAMS").context("ORIEL_TEST_PROGRAMS is not set")?;
    Ok(PathBuf::from(root).join(name))
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
