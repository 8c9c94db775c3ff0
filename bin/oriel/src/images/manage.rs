//! `oriel tag`, `oriel rmi`, `oriel image rebase` and `oriel search`.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use hyper::Method;
use oriel_api::image::Deleted;
use serde_json::Value;

use super::split_name;
use crate::{
    completion,
    connection::{At, Client},
    containers::each,
    credentials,
    format::{Column, Listing, Row, Shown, filters, human::clip},
    screen::print,
};

#[derive(Args)]
pub(crate) struct Tag {
    /// Image
    #[arg(add = completion::images())]
    image: String,
    /// Further name for it, NAME[:TAG]
    name: String,
}

#[derive(Args)]
pub(crate) struct Remove {
    /// Images
    #[arg(required = true, value_name = "IMAGE", add = completion::images())]
    images: Vec<String>,
    /// Remove it although it has several names, or a container uses it
    #[arg(short, long)]
    force: bool,
    /// Keep parents that have no name
    #[arg(long)]
    no_prune: bool,
}

/// Arguments of `oriel image rebase`.
#[derive(Args)]
pub(crate) struct Rebase {
    /// The image; it stays as it is
    #[arg(add = completion::images())]
    image: String,
    /// The new base, in its registry
    #[arg(long, value_name = "IMAGE")]
    onto: String,
    /// Name for the result; may be given more than once
    #[arg(short, long = "tag", value_name = "NAME")]
    tags: Vec<String>,
    /// Go on although layers need the base the image has
    #[arg(long)]
    force: bool,
}

#[derive(Args)]
pub(crate) struct Search {
    /// What to look for
    term: String,
    /// Only what fits, KEY=VALUE: is-official, stars
    #[arg(short, long = "filter", value_name = "FILTER")]
    filters: Vec<String>,
    /// Most results
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u32>,
    /// Do not cut anything
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    shown: Shown,
}

/// `oriel tag`
pub(crate) async fn tag(client: &Client, wanted: &Tag) -> anyhow::Result<ExitCode> {
    let (repository, tag) = split_name(&wanted.name);
    let at = At::path(&["images", &wanted.image, "tag"])
        .with("repo", repository)
        .with("tag", tag.unwrap_or("latest"));
    client.post(&at).await?;
    Ok(ExitCode::SUCCESS)
}

/// `oriel rmi`
pub(crate) async fn remove(client: &Client, wanted: &Remove) -> anyhow::Result<ExitCode> {
    each(&wanted.images, async |name: &str| {
        let at = At::path(&["images", name])
            .flag("force", wanted.force)
            .flag("noprune", wanted.no_prune);
        let deleted: Vec<Deleted> = client.delete(&at).await?.json().await?;
        let lines = deleted.iter().map(|deleted| match deleted {
            Deleted::Untagged(name) => format!("Untagged: {name}"),
            Deleted::Deleted(id) => format!("Deleted: {id}"),
        });
        Ok(lines.collect::<Vec<_>>().join("\n"))
    })
    .await
}

/// `oriel image rebase`
pub(crate) async fn rebase(client: &Client, wanted: &Rebase) -> anyhow::Result<ExitCode> {
    let mut at = At::path(&["oriel", "images", &wanted.image, "rebase"])
        .with("onto", &wanted.onto)
        .with("force", wanted.force);
    for tag in &wanted.tags {
        at = at.with("t", tag);
    }
    let credentials = credentials::header(&wanted.onto);
    let call = client.call(Method::POST, &at).header("X-Registry-Auth", credentials.as_deref());
    let made: Value = call.send().await?.json().await?;
    let id = made["Id"].as_str().context("the daemon's answer has no image id")?;
    print(&format!("{id}\n"))?;
    Ok(ExitCode::SUCCESS)
}

const RESULTS: &[Column] = &[
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("StarCount", "STARS"),
    ("IsOfficial", "OFFICIAL"),
];

/// `oriel search`
pub(crate) async fn search(client: &Client, wanted: &Search) -> anyhow::Result<ExitCode> {
    let at = At::path(&["images", "search"])
        .with("term", &wanted.term)
        .maybe("limit", wanted.limit)
        .maybe("filters", filters(&wanted.filters)?);
    let list: Vec<Value> = client.get(&at).await?;
    let mut listing = Listing::new(RESULTS, &["Name", "Description", "StarCount", "IsOfficial"]);
    for found in &list {
        let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
        let description = text("description").replace('\n', " ");
        let description = if wanted.no_trunc { description } else { clip(&description, 45) };
        listing.push(
            Row::default()
                .with("Name", text("name"))
                .with("Description", description)
                .with("StarCount", found["star_count"].to_string())
                .with("IsOfficial", if found["is_official"] == true { "[OK]" } else { "" }),
        );
    }
    listing.show(&wanted.shown)?;
    Ok(ExitCode::SUCCESS)
}
