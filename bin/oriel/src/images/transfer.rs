//! `oriel pull` and `oriel push`.

use std::process::ExitCode;

use clap::Args;
use hyper::Method;

use super::split_name;
use crate::{
    completion,
    connection::{At, Client},
    credentials,
    progress::Progress,
    screen::print,
};

#[derive(Args)]
pub(crate) struct Pull {
    /// Image, NAME[:TAG] or NAME@DIGEST
    image: String,
    /// Pull every tag
    #[arg(short, long)]
    all_tags: bool,
    /// Platform, such as windows/amd64
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// Print the image's name only
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Args)]
pub(crate) struct Push {
    /// Image, NAME[:TAG]
    #[arg(add = completion::images())]
    image: String,
    /// Push every tag
    #[arg(short, long)]
    all_tags: bool,
    /// Print the image's name only
    #[arg(short, long)]
    quiet: bool,
}

/// `oriel pull`
pub(crate) async fn run_pull(client: &Client, wanted: &Pull) -> anyhow::Result<ExitCode> {
    let (_, tag) = split_name(&wanted.image);
    let named = match tag {
        Some(_) if wanted.all_tags => {
            anyhow::bail!("a tag and --all-tags exclude each other; leave one away")
        }
        None if !wanted.all_tags => format!("{}:latest", wanted.image),
        _ => wanted.image.clone(),
    };
    fetch(client, &named, wanted.platform.as_deref(), wanted.quiet).await?;
    print(&format!("{named}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Fetches an image; without a tag, the latest.
pub(crate) async fn pull(
    client: &Client,
    image: &str,
    platform: Option<&str>,
    quiet: bool,
) -> anyhow::Result<()> {
    let named = match split_name(image) {
        (_, Some(_)) => image.to_owned(),
        (_, None) => format!("{image}:latest"),
    };
    fetch(client, &named, platform, quiet).await
}

async fn fetch(
    client: &Client,
    image: &str,
    platform: Option<&str>,
    quiet: bool,
) -> anyhow::Result<()> {
    let (name, tag) = split_name(image);
    let at = At::path(&["images", "create"])
        .with("fromImage", name)
        .maybe("tag", tag)
        .maybe("platform", platform);
    let credentials = credentials::header(image);
    let stream = client
        .call(Method::POST, &at)
        .header("X-Registry-Auth", credentials.as_deref())
        .send()
        .await?;
    Progress::new(quiet).follow(stream).await?;
    Ok(())
}

/// `oriel push`
pub(crate) async fn run_push(client: &Client, wanted: &Push) -> anyhow::Result<ExitCode> {
    let (name, tag) = split_name(&wanted.image);
    let tag = if wanted.all_tags { None } else { Some(tag.unwrap_or("latest")) };
    let at = At::path(&["images", name, "push"]).maybe("tag", tag);
    // A push without credentials still carries the header: older daemons insist.
    let credentials = credentials::header(&wanted.image).unwrap_or_else(|| "e30=".to_owned());
    let stream =
        client.call(Method::POST, &at).header("X-Registry-Auth", Some(&credentials)).send().await?;
    Progress::new(wanted.quiet).follow(stream).await?;
    let pushed = tag.map_or_else(|| name.to_owned(), |tag| format!("{name}:{tag}"));
    print(&format!("{pushed}\n"))?;
    Ok(ExitCode::SUCCESS)
}
