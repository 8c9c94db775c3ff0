//! Removing what nothing uses: asks first, then says what it gained.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    process::ExitCode,
};

use anyhow::bail;
use clap::Args;
use serde_json::Value;

use crate::{
    connection::{At, Client},
    format::{filters, human::size},
    screen::print,
};

/// Options of every prune.
#[derive(Args, Clone)]
pub(crate) struct Prune {
    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Only what fits, KEY=VALUE: until, label
    #[arg(long = "filter", value_name = "FILTER")]
    pub(crate) filters: Vec<String>,
}

#[derive(Args)]
pub(crate) struct PruneImages {
    /// Images with a name, too
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    prune: Prune,
}

#[derive(Args)]
pub(crate) struct PruneSystem {
    /// Images with a name, too
    #[arg(short, long)]
    all: bool,
    /// Volumes without a name, too
    #[arg(long)]
    volumes: bool,
    #[command(flatten)]
    prune: Prune,
}

/// Prunes things of some kinds, one after the other.
pub(crate) async fn run(
    client: &Client,
    kinds: &[&str],
    what: &str,
    wanted: &Prune,
) -> anyhow::Result<ExitCode> {
    if !wanted.force && !agreed(what)? {
        return Ok(ExitCode::FAILURE);
    }
    let filters = filters(&wanted.filters)?;
    let (mut text, mut gained) = (String::new(), 0);
    for kind in kinds {
        let at = At::path(&[kind, "prune"]).maybe("filters", filters.as_deref());
        let done: Value = client.post(&at).await?.json().await?;
        text += &removed(&done);
        gained += done["SpaceReclaimed"].as_u64().unwrap_or_default();
    }
    print(&format!("{text}Total reclaimed space: {}\n", size(gained)))?;
    Ok(ExitCode::SUCCESS)
}

/// `oriel image prune`
pub(crate) async fn images(client: &Client, wanted: &PruneImages) -> anyhow::Result<ExitCode> {
    let mut prune = wanted.prune.clone();
    prune.filters.push(format!("dangling={}", !wanted.all));
    let what = match wanted.all {
        true => "all images that no container uses",
        false => "all images without a name that no container uses",
    };
    run(client, &["images"], what, &prune).await
}

/// `oriel system prune`
pub(crate) async fn system(client: &Client, wanted: &PruneSystem) -> anyhow::Result<ExitCode> {
    let mut what = "all stopped containers, all networks that no container uses".to_owned();
    if wanted.volumes {
        what += ", all volumes without a name that no container uses";
    }
    what += match wanted.all {
        true => ", all images that no container uses",
        false => ", all images without a name that no container uses",
    };
    if !wanted.prune.force && !agreed(&what)? {
        return Ok(ExitCode::FAILURE);
    }
    let mut kinds = vec!["containers", "networks"];
    if wanted.volumes {
        kinds.push("volumes");
    }
    let (mut text, mut gained) = (String::new(), 0);
    for kind in kinds.into_iter().chain(["images", "build"]) {
        let mut list = wanted.prune.filters.clone();
        match kind {
            "images" => list.push(format!("dangling={}", !wanted.all)),
            // Volumes have no age.
            "volumes" => list.retain(|filter| !filter.starts_with("until=")),
            _ => {}
        }
        let at = At::path(&[kind, "prune"]).maybe("filters", filters(&list)?);
        let done: Value = client.post(&at).await?.json().await?;
        text += &removed(&done);
        gained += done["SpaceReclaimed"].as_u64().unwrap_or_default();
    }
    print(&format!("{text}Total reclaimed space: {}\n", size(gained)))?;
    Ok(ExitCode::SUCCESS)
}

/// The lists of an answer, each under its name.
fn removed(done: &Value) -> String {
    let mut text = String::new();
    for (name, list) in done.as_object().into_iter().flatten() {
        let Some(list) = list.as_array().filter(|list| !list.is_empty()) else { continue };
        let heading = match name.as_str() {
            "ContainersDeleted" => "Deleted containers:",
            "NetworksDeleted" => "Deleted networks:",
            "VolumesDeleted" => "Deleted volumes:",
            "ImagesDeleted" => "Deleted images:",
            _ => "Deleted build cache objects:",
        };
        text += &format!("{heading}\n");
        for item in list {
            text += &match (item.as_str(), item["Untagged"].as_str(), item["Deleted"].as_str()) {
                (Some(name), ..) => format!("{name}\n"),
                (_, Some(name), _) => format!("untagged: {name}\n"),
                (.., Some(id)) => format!("deleted: {id}\n"),
                _ => String::new(),
            };
        }
        text.push('\n');
    }
    text
}

/// Asks whether to go on; a person has to be there to answer.
fn agreed(what: &str) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("this removes {what}, and nobody is here to ask; give --force if you are sure");
    }
    let mut err = io::stderr();
    write!(err, "This removes {what}. Go on? [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_removed_is_listed_by_kind() {
        let done = json!({"ContainersDeleted": ["a"], "SpaceReclaimed": 5,
            "ImagesDeleted": [{"Untagged": "x:1"}, {"Deleted": "sha256:1"}],
            "VolumesDeleted": null});
        assert_eq!(
            removed(&done),
            "Deleted containers:\na\n\nDeleted images:\nuntagged: x:1\ndeleted: sha256:1\n\n"
        );
    }
}
