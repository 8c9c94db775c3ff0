//! House rules as a program.
//!
//! `cargo xtask tidy` checks what a compiler does not: which crate may know which, how long files
//! are, what they are called, and that every promise names a test that exists. A rule that is not
//! checked is a wish.

mod arrows;
mod files;
mod promises;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};

/// Something against the rules.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// File and line, or what it is about.
    place: String,
    /// The rule and how to keep it.
    text: String,
}

impl Finding {
    fn new(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self { place: place.into(), text: text.into() }
    }
}

fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    let result = match argument.as_deref() {
        Some("tidy") => tidy(),
        _ => Err(anyhow::anyhow!("usage: cargo xtask tidy")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn tidy() -> anyhow::Result<()> {
    let root = root()?;
    let sources = files::collect(&root)?;
    let mut findings = arrows::check(&root)?;
    findings.extend(sources.iter().flat_map(files::check));
    findings.extend(promises::check(&root, &sources)?);
    findings.sort();
    for Finding { place, text } in &findings {
        say(&format!("{place}: {text}"));
    }
    match findings.len() {
        0 => Ok(()),
        count => bail!("tidy: {count} findings in {} files", sources.len()),
    }
}

/// The root of the workspace.
fn root() -> anyhow::Result<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(Into::into).context("xtask stands outside of a workspace")
}

#[expect(clippy::print_stderr, reason = "findings are for a person or a CI log")]
fn say(text: &str) {
    eprintln!("{text}");
}
