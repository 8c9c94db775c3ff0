//! `oriel logs`: what a container has written.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use crate::{
    completion,
    connection::{At, Client},
    format::human::{clock, since},
    streams::{Screens, frames::Demultiplexer},
};

#[derive(Args)]
pub(crate) struct Logs {
    /// Container
    #[arg(add = completion::containers())]
    container: String,
    /// Go on as the container writes
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines; all
    #[arg(short = 'n', long, value_name = "LINES", default_value = "all", alias = "lines")]
    tail: String,
    /// Begin each line with its time
    #[arg(short, long)]
    timestamps: bool,
    /// Only lines since a time, such as 2026-01-02T03:04:05Z, or 10m ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only lines before a time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Begin each line with the attributes of the log driver
    #[arg(long)]
    details: bool,
}

/// `oriel logs`
pub(crate) async fn run(client: &Client, wanted: &Logs) -> anyhow::Result<ExitCode> {
    let id = &wanted.container;
    let found: Value = client.get(&At::path(&["containers", id, "json"])).await?;
    let moment = |text: &Option<String>| text.as_deref().map(|text| since(text, clock()));
    let at = At::path(&["containers", id, "logs"])
        .with("stdout", 1)
        .with("stderr", 1)
        .with("tail", &wanted.tail)
        .flag("follow", wanted.follow)
        .flag("timestamps", wanted.timestamps)
        .flag("details", wanted.details)
        .maybe("since", moment(&wanted.since))
        .maybe("until", moment(&wanted.until));
    let mut stream = client.open(&at).await?;
    let tty = found["Config"]["Tty"] == true;
    let mut frames = if tty { Demultiplexer::raw() } else { Demultiplexer::new() };
    let mut screens = Screens::new();
    while let Some(piece) = stream.piece().await? {
        screens.show(frames.pass(&piece)?).await?;
    }
    Ok(ExitCode::SUCCESS)
}
