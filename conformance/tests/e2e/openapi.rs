//! The API as `docs/openapi.yaml` describes it, asked by schemathesis, which knows nothing else.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use oriel_conformance::{Case, Daemon, Outcome, Settings};

use crate::{PASSED, settings};

pub(crate) const CASES: &[Case] =
    &[Case { name: "every_answer_is_as_described", run: answers_are_as_described }];

/// What every answer is checked for.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance";

/// Seconds after which no further request is thought up.
const BUDGET: &str = "75";

/// On a daemon of its own, for it may remove whatever it finds.
fn answers_are_as_described(daemon: &mut Daemon) -> Result<Outcome> {
    let root = tempfile::TempDir::new_in(daemon.scratch())?;
    let own = Settings { data_root: root.path().join("data"), number: 1, ..settings()? };
    let mut asked = Daemon::start(own)?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    asked.restart_with(&["--host", &format!("tcp://{address}"), "--allow-insecure-tcp"])?;
    furnish(&asked)?;
    let output = schemathesis(&address, root.path())?;
    let log = asked.log();
    asked.stop()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    ensure!(!log.contains("panicked"), "{log}");
    PASSED
}

/// Makes what the examples of the description name.
fn furnish(daemon: &Daemon) -> Result<()> {
    let docker = daemon.docker();
    let tar = daemon.scratch().join("tiny.tar");
    // Two empty blocks are the end of an archive.
    fs_err::write(&tar, [0; 1024])?;
    docker.run(&["import", &tar.display().to_string(), "tiny"])?;
    docker.run(&["create", "--name", "idle", "tiny", "cmd"])?;
    docker.run(&["volume", "create", "vol"])?;
    docker.run(&["network", "create", "-d", "nat", "net"])?;
    Ok(())
}

fn schemathesis(address: &str, scratch: &Path) -> Result<std::process::Output> {
    let clients =
        std::env::var_os("ORIEL_TEST_CLIENTS").context("ORIEL_TEST_CLIENTS is not set")?;
    let program = PathBuf::from(clients).join("schemathesis/bin/schemathesis");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(&program)
        .current_dir(scratch)
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", here.join("openapi"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg("--config-file")
        .arg(here.join("openapi/schemathesis.toml"))
        .arg("run")
        .arg(here.join("../docs/openapi.yaml"))
        .args(["--url", &format!("http://{address}/v1.51"), "--checks", CHECKS])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "20"])
        .arg("--generation-deterministic")
        .args(["--max-time", BUDGET, "--request-timeout", "30"])
        .args(["--continue-on-failure", "--no-color", "--warnings", "off"])
        .output();
    output.with_context(|| format!("start {}", program.display()))
}
