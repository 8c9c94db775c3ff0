//! `oriel commit`: an image of what a container changed.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use crate::{
    completion,
    connection::{At, Client},
    images::split_name,
    screen::print,
};

#[derive(Args)]
pub(crate) struct Commit {
    /// Container
    #[arg(add = completion::containers())]
    container: String,
    /// Name for the image, NAME[:TAG]
    image: Option<String>,
    /// Who made it
    #[arg(short, long, value_name = "NAME")]
    author: Option<String>,
    /// Dockerfile instruction to apply, such as 'CMD app.exe'; may be given more than once
    #[arg(short, long = "change", value_name = "INSTRUCTION")]
    changes: Vec<String>,
    /// Words about it
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Pause the container meanwhile
    #[arg(short, long, value_name = "YES", default_value_t = true, action = clap::ArgAction::Set,
        num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pause: bool,
}

/// `oriel commit`
pub(crate) async fn commit(client: &Client, wanted: &Commit) -> anyhow::Result<ExitCode> {
    let (repository, tag) = match &wanted.image {
        Some(image) => {
            let (repository, tag) = split_name(image);
            (Some(repository), tag)
        }
        None => (None, None),
    };
    let mut at = At::path(&["commit"])
        .with("container", &wanted.container)
        .maybe("repo", repository)
        .maybe("tag", tag)
        .maybe("author", wanted.author.as_deref())
        .maybe("comment", wanted.message.as_deref())
        .with("pause", u8::from(wanted.pause));
    for change in &wanted.changes {
        at = at.with("changes", change);
    }
    let made: Value = client.post(&at).await?.json().await?;
    print(&format!("{}\n", made["Id"].as_str().unwrap_or_default()))?;
    Ok(ExitCode::SUCCESS)
}
