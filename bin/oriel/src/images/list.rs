//! `oriel images` and `oriel history`.

use std::{collections::BTreeMap, process::ExitCode};

use clap::Args;
use oriel_api::image::{HistoryItem, Summary};

use crate::{
    completion,
    connection::{At, Client},
    format::{
        Column, Listing, Row, Shown, filters,
        human::{ago, clip, moment, now, short, size},
    },
    screen::print,
};

const FIELDS: &[Column] = &[
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("VirtualSize", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("Containers", "CONTAINERS"),
];

const HISTORY: &[Column] = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

/// Characters of an instruction that a table has room for.
const INSTRUCTION: usize = 45;

/// What stands for a name or tag that is not there.
const NONE: &str = "<none>";

#[derive(Args)]
pub(crate) struct List {
    /// Only images of this name, NAME[:TAG]; may hold *
    name: Option<String>,
    /// Show images that are only steps of others, too
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Only what fits, KEY=VALUE: reference, label, dangling, before, since, until
    #[arg(short, long = "filter", value_name = "FILTER")]
    filters: Vec<String>,
    /// Do not cut anything
    #[arg(long)]
    no_trunc: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Args)]
pub(crate) struct History {
    /// Image
    #[arg(add = completion::images())]
    image: String,
    /// Show exact times and sizes as people say them
    #[arg(long, value_name = "YES", default_value_t = true,
        action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    human: bool,
    /// Do not cut anything
    #[arg(long)]
    no_trunc: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    shown: Shown,
}

/// `oriel images`
pub(crate) async fn run(client: &Client, wanted: &List) -> anyhow::Result<ExitCode> {
    let mut wanted_filters = wanted.filters.clone();
    wanted_filters.extend(wanted.name.iter().map(|name| format!("reference={name}")));
    let at = At::path(&["images", "json"])
        .flag("all", wanted.all)
        .maybe("filters", filters(&wanted_filters)?);
    let list: Vec<Summary> = client.get(&at).await?;
    let id = |image: &Summary| match wanted.no_trunc {
        true => image.id.clone(),
        false => short(&image.id),
    };
    if wanted.quiet {
        print(&list.iter().map(|image| id(image) + "\n").collect::<String>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let columns: &[&str] = match wanted.digests {
        true => &["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"],
        false => &["Repository", "Tag", "ID", "CreatedSince", "Size"],
    };
    let mut listing = Listing::new(FIELDS, columns);
    let now = now();
    for image in &list {
        for (repository, tag, digest) in names(image, wanted.digests) {
            let row = row(image, now).with("ID", id(image));
            listing
                .push(row.with("Repository", repository).with("Tag", tag).with("Digest", digest));
        }
    }
    listing.show(&wanted.shown)?;
    Ok(ExitCode::SUCCESS)
}

/// Repository, tag and digest of every name an image has.
fn names(image: &Summary, digests: bool) -> Vec<(String, String, String)> {
    let none = || NONE.to_owned();
    let known: BTreeMap<&str, &str> =
        image.repo_digests.iter().filter_map(|name| name.split_once('@')).collect();
    let mut names = Vec::new();
    for name in image.repo_tags.iter().filter(|name| !name.starts_with(NONE)) {
        let (repository, tag) = name.rsplit_once(':').unwrap_or((name, NONE));
        let digest = known.get(repository).map_or_else(none, |digest| (*digest).to_owned());
        names.push((repository.to_owned(), tag.to_owned(), digest));
    }
    if names.is_empty() && !known.is_empty() {
        let cut = if digests { known.len() } else { 1 };
        let untagged = known.iter().take(cut);
        names.extend(
            untagged.map(|(name, digest)| ((*name).to_owned(), none(), (*digest).to_owned())),
        );
    }
    if names.is_empty() {
        names.push((none(), none(), none()));
    }
    names
}

fn row(image: &Summary, now: i64) -> Row {
    let labels = image.labels.clone().unwrap_or_default();
    let shared = u64::try_from(image.shared_size).ok();
    let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "N/A".to_owned(), size);
    let count = |count: i64| match count {
        -1 => "N/A".to_owned(),
        count => count.to_string(),
    };
    Row::default()
        .with("CreatedSince", ago(now, image.created))
        .with("CreatedAt", moment(image.created))
        .with("Size", size(image.size))
        .with("VirtualSize", size(image.size))
        .with("SharedSize", bytes(shared))
        .with("UniqueSize", bytes(shared.map(|shared| image.size.saturating_sub(shared))))
        .with("Containers", count(image.containers))
        .labels(&labels)
}

/// `oriel history`
pub(crate) async fn history(client: &Client, wanted: &History) -> anyhow::Result<ExitCode> {
    let list: Vec<HistoryItem> =
        client.get(&At::path(&["images", &wanted.image, "history"])).await?;
    let id = |item: &HistoryItem| match wanted.no_trunc || item.id == "<missing>" {
        true => item.id.clone(),
        false => short(&item.id),
    };
    if wanted.quiet {
        print(&list.iter().map(|item| id(item) + "\n").collect::<String>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut listing =
        Listing::new(HISTORY, &["ID", "CreatedSince", "CreatedBy", "Size", "Comment"]);
    let now = now();
    for item in &list {
        let by = item.created_by.replace('\t', " ");
        let since = if wanted.human { ago(now, item.created) } else { moment(item.created) };
        let bytes = if wanted.human { size(item.size) } else { item.size.to_string() };
        listing.push(
            Row::default()
                .with("ID", id(item))
                .with("CreatedSince", since)
                .with("CreatedAt", moment(item.created))
                .with("CreatedBy", if wanted.no_trunc { by } else { clip(&by, INSTRUCTION) })
                .with("Size", bytes)
                .with("Comment", item.comment.as_str()),
        );
    }
    listing.show(&wanted.shown)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(tags: &[&str], digests: &[&str]) -> Summary {
        serde_json::from_value(serde_json::json!({
            "Id": "sha256:1", "ParentId": "", "RepoTags": tags, "RepoDigests": digests,
            "Created": 0, "Size": 10, "SharedSize": -1, "Labels": null, "Containers": -1,
        }))
        .unwrap()
    }

    #[test]
    fn every_name_is_a_row_and_no_name_is_one() {
        let name = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let found = |image| {
            let names: Vec<_> = names(&image, false).into_iter().collect();
            names.into_iter().map(|(r, t, d)| format!("{r} {t} {d}")).collect::<Vec<_>>()
        };
        assert_eq!(
            found(image(&["h:1/a:1", "b:2"], &["h:1/a@sha256:9"])),
            name(&["h:1/a 1 sha256:9", "b 2 <none>"])
        );
        assert_eq!(found(image(&[], &["a@sha256:9"])), name(&["a <none> sha256:9"]));
        assert_eq!(found(image(&["<none>:<none>"], &[])), name(&["<none> <none> <none>"]));
    }
}
