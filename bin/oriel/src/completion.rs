//! Completion in shells: verbs, options, and the names of what is there.
//!
//! The shell runs this program with `COMPLETE` set for every completion, so that names are those
//! of the moment. A daemon that does not answer at once has none to offer.

use std::{io::Write, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::{Args, ValueEnum};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::Shells;
use serde_json::Value;

use crate::{connection::At, place};

/// Time that a person who has pressed Tab waits for names.
const PATIENCE: Duration = Duration::from_millis(500);

#[derive(Args)]
#[command(
    after_help = "To turn it on, for example in ~/.bashrc:\n  source <(oriel completion bash)"
)]
pub(crate) struct Completion {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Shells that can complete.
#[derive(Clone, Copy, ValueEnum)]
enum Shell {
    /// Bash.
    Bash,
    /// Z shell.
    Zsh,
    /// Fish.
    Fish,
    /// PowerShell.
    Powershell,
}

/// `oriel completion`: prints what a shell reads to complete this program's arguments.
pub(crate) fn run(wanted: &Completion) -> anyhow::Result<ExitCode> {
    let name = match wanted.shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
        Shell::Powershell => "powershell",
    };
    std::io::stdout().write_all(&script(name)?)?;
    Ok(ExitCode::SUCCESS)
}

/// The script for a shell.
pub(crate) fn script(shell: &str) -> anyhow::Result<Vec<u8>> {
    let shells = Shells::builtins();
    let shell = shells.completer(shell).with_context(|| format!("there is no shell {shell:?}"))?;
    let mut script = Vec::new();
    shell.write_registration("COMPLETE", "oriel", "oriel", "oriel", &mut script)?;
    Ok(script)
}

/// Names of containers.
pub(crate) fn containers() -> ArgValueCandidates {
    ArgValueCandidates::new(|| names(&At::path(&["containers", "json"]).with("all", 1)))
}

/// Names of containers that run.
pub(crate) fn running() -> ArgValueCandidates {
    ArgValueCandidates::new(|| names(&At::path(&["containers", "json"])))
}

/// Names of images.
pub(crate) fn images() -> ArgValueCandidates {
    ArgValueCandidates::new(|| names(&At::path(&["images", "json"])))
}

/// Names of networks.
pub(crate) fn networks() -> ArgValueCandidates {
    ArgValueCandidates::new(|| names(&At::path(&["networks"])))
}

/// Names of volumes.
pub(crate) fn volumes() -> ArgValueCandidates {
    ArgValueCandidates::new(|| names(&At::path(&["volumes"])))
}

/// Names of containers and images.
pub(crate) fn anything() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let mut all = names(&At::path(&["containers", "json"]).with("all", 1));
        all.extend(names(&At::path(&["images", "json"])));
        all
    })
}

/// Names in a listing; none when anything goes wrong, since nobody asked for an error.
fn names(at: &At) -> Vec<CompletionCandidate> {
    let listed = || -> Option<Value> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let listed = runtime.block_on(async {
            let client = place::Place::default().client().ok()?;
            tokio::time::timeout(PATIENCE, client.get(at)).await.ok()?.ok()
        });
        runtime.shutdown_background();
        listed
    };
    listed()
        .map(|listed| names_in(&listed))
        .unwrap_or_default()
        .into_iter()
        .map(Into::into)
        .collect()
}

/// `Names`, `RepoTags` or `Name` of each element.
fn names_in(listed: &Value) -> Vec<String> {
    let list = listed.as_array().or_else(|| listed["Volumes"].as_array());
    let own = |item: &Value| {
        let several = item["Names"].as_array().or_else(|| item["RepoTags"].as_array());
        let several = several.into_iter().flatten().chain([&item["Name"]]);
        several.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    let all = list.into_iter().flatten().flat_map(own);
    all.map(|name| name.trim_start_matches('/').to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_found_in_every_listing() {
        assert_eq!(names_in(&json!([{"Names": ["/web"]}, {"Names": ["/db"]}])), ["web", "db"]);
        assert_eq!(names_in(&json!([{"RepoTags": ["a:1", "b:2"]}])), ["a:1", "b:2"]);
        assert_eq!(names_in(&json!({"Volumes": [{"Name": "v"}]})), ["v"]);
        assert_eq!(names_in(&json!(null)), [""; 0]);
    }

    #[test]
    fn every_shell_has_a_script() {
        for shell in ["bash", "zsh", "fish", "powershell"] {
            let script = String::from_utf8(script(shell).unwrap()).unwrap();
            assert!(script.contains("COMPLETE"), "{shell}");
        }
    }
}
