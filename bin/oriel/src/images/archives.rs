//! `oriel save`, `oriel load` and `oriel import`: images as files.

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::bail;
use clap::Args;
use hyper::Method;
use oriel_api::Line;

use super::split_name;
use crate::{
    completion,
    connection::{At, Client, Pieces},
    lines::Lines,
    progress::Progress,
    screen::print,
    spool,
};

#[derive(Args)]
pub(crate) struct Save {
    /// Images
    #[arg(required = true, value_name = "IMAGE", add = completion::images())]
    images: Vec<String>,
    /// File to write; standard output unless given
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Load {
    /// File to read; standard input unless given
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Do not show the progress
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Args)]
pub(crate) struct Import {
    /// File with a container's files, as export writes it; - is standard input
    file: String,
    /// Name for the image, NAME[:TAG]
    name: Option<String>,
    /// Dockerfile instruction to apply; may be given more than once
    #[arg(short, long = "change", value_name = "INSTRUCTION")]
    changes: Vec<String>,
    /// Words about it
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Platform, such as windows/amd64
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
}

/// `oriel save`
pub(crate) async fn save(client: &Client, wanted: &Save) -> anyhow::Result<ExitCode> {
    if wanted.output.is_none() && io::stdout().is_terminal() {
        bail!("an image is nothing to look at; give -o FILE, or write to a pipe");
    }
    let mut at = At::path(&["images", "get"]);
    for image in &wanted.images {
        at = at.with("names", image);
    }
    spool::save(client.open(&at).await?, wanted.output.as_deref()).await?;
    Ok(ExitCode::SUCCESS)
}

/// `oriel load`
pub(crate) async fn load(client: &Client, wanted: &Load) -> anyhow::Result<ExitCode> {
    let pieces = match &wanted.input {
        Some(file) => Pieces::of(fs_err::File::open(file)?),
        None if io::stdin().is_terminal() => {
            bail!("there is nothing to load; give -i FILE, or read from a pipe");
        }
        None => Pieces::of(io::stdin()),
    };
    let at = At::path(&["images", "load"]).with("quiet", u8::from(wanted.quiet));
    let stream = client.call(Method::POST, &at).pieces("application/x-tar", pieces).send().await?;
    let mut lines = Lines::new(stream);
    let mut progress = Progress::new(wanted.quiet);
    while let Some(line) = lines.next::<Line>().await? {
        if let Some(detail) = line.error_detail {
            progress.finish();
            bail!("{}", detail.message);
        }
        match &line.stream {
            Some(text) => print(text)?,
            None => progress.show(&Line { error_detail: None, ..line }),
        }
    }
    progress.finish();
    Ok(ExitCode::SUCCESS)
}

/// `oriel import`
pub(crate) async fn import(client: &Client, wanted: &Import) -> anyhow::Result<ExitCode> {
    if wanted.file.starts_with("http://") || wanted.file.starts_with("https://") {
        bail!("a file from the network is not taken; fetch it and name the file");
    }
    let pieces = match wanted.file.as_str() {
        "-" => Pieces::of(io::stdin()),
        file => Pieces::of(fs_err::File::open(file)?),
    };
    let (repository, tag) = match wanted.name.as_deref().map(split_name) {
        Some((repository, tag)) => (Some(repository), tag),
        None => (None, None),
    };
    let mut at = At::path(&["images", "create"])
        .with("fromSrc", "-")
        .maybe("repo", repository)
        .maybe("tag", tag)
        .maybe("message", wanted.message.as_deref())
        .maybe("platform", wanted.platform.as_deref());
    for change in &wanted.changes {
        at = at.with("changes", change);
    }
    let stream = client.call(Method::POST, &at).pieces("application/x-tar", pieces).send().await?;
    let mut lines = Lines::new(stream);
    let mut last = None;
    while let Some(line) = lines.next::<Line>().await? {
        if let Some(detail) = line.error_detail {
            bail!("{}", detail.message);
        }
        last = line.status.or(last);
    }
    print(&format!("{}\n", last.unwrap_or_default()))?;
    Ok(ExitCode::SUCCESS)
}
