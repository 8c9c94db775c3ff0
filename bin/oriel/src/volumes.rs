//! `oriel volume`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::{
    completion,
    connection::{At, Client},
    containers::{each, text::pairs},
    format::{Column, Listing, Row, Shown, filters, human::size},
    inspect::{self, Inspect},
    labels_of,
    prune::{self, Prune},
    screen::print,
};

const FIELDS: &[Column] = &[
    ("Driver", "DRIVER"),
    ("Name", "VOLUME NAME"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Scope", "SCOPE"),
    ("Labels", "LABELS"),
    ("Size", "SIZE"),
    ("Links", "LINKS"),
];

#[derive(Subcommand)]
pub(crate) enum VolumeCommand {
    /// Make a volume
    Create(Create),
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(List),
    /// Show all about volumes
    Inspect(Inspect),
    /// Remove volumes
    #[command(visible_alias = "remove")]
    Rm(Remove),
    /// Remove volumes that no container uses
    Prune(PruneVolumes),
}

#[derive(Args)]
pub(crate) struct Create {
    /// Name; a volume without one gets a random one
    name: Option<String>,
    /// Driver
    #[arg(short, long, value_name = "DRIVER", default_value = "local")]
    driver: String,
    /// Option of the driver, NAME=VALUE
    #[arg(short, long = "opt", value_name = "OPTION")]
    options: Vec<String>,
    /// Label, NAME=VALUE
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,
}

#[derive(Args)]
pub(crate) struct List {
    /// Only what fits, KEY=VALUE: name, label, driver, dangling
    #[arg(short, long = "filter", value_name = "FILTER")]
    filters: Vec<String>,
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Args)]
pub(crate) struct Remove {
    /// Volumes
    #[arg(required = true, value_name = "VOLUME", add = completion::volumes())]
    volumes: Vec<String>,
    /// Do not mind volumes that are not there
    #[arg(short, long)]
    force: bool,
}

#[derive(Args)]
pub(crate) struct PruneVolumes {
    /// Those with a name, too
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    prune: Prune,
}

/// `oriel volume`
pub(crate) async fn run(client: &Client, command: VolumeCommand) -> anyhow::Result<ExitCode> {
    match command {
        VolumeCommand::Create(wanted) => create(client, &wanted).await,
        VolumeCommand::Ls(wanted) => list(client, &wanted).await,
        VolumeCommand::Inspect(wanted) => inspect::of_kind(client, "volume", &wanted).await,
        VolumeCommand::Rm(wanted) => {
            each(&wanted.volumes, async |name: &str| {
                let at = At::path(&["volumes", name]).flag("force", wanted.force);
                client.delete(&at).await.map(|_| name.to_owned())
            })
            .await
        }
        VolumeCommand::Prune(wanted) => {
            let mut prune = wanted.prune;
            let what = if wanted.all {
                prune.filters.push("all=true".to_owned());
                "all volumes that no container uses"
            } else {
                "all volumes without a name that no container uses"
            };
            prune::run(client, &["volumes"], what, &prune).await
        }
    }
}

async fn create(client: &Client, wanted: &Create) -> anyhow::Result<ExitCode> {
    let body = json!({
        "Name": wanted.name,
        "Driver": wanted.driver,
        "DriverOpts": pairs(&wanted.options),
        "Labels": pairs(&wanted.labels),
    });
    let at = At::path(&["volumes", "create"]);
    let made: Value = client.post_json(&at, &body).await?.json().await?;
    print(&format!("{}\n", made["Name"].as_str().unwrap_or_default()))?;
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, wanted: &List) -> anyhow::Result<ExitCode> {
    let at = At::path(&["volumes"]).maybe("filters", filters(&wanted.filters)?);
    let found: Value = client.get(&at).await?;
    let mut listing = Listing::new(FIELDS, &["Driver", "Name"]);
    let mut names = String::new();
    for volume in found["Volumes"].as_array().into_iter().flatten() {
        names += &format!("{}\n", volume["Name"].as_str().unwrap_or_default());
        listing.push(row(volume));
    }
    match wanted.quiet {
        true => print(&names)?,
        false => listing.show(&wanted.shown)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A volume as a row.
pub(crate) fn row(volume: &Value) -> Row {
    let text = |name: &str| volume[name].as_str().unwrap_or_default().to_owned();
    let usage = &volume["UsageData"];
    let number = |value: &Value, shown: fn(u64) -> String| {
        value.as_u64().map_or_else(|| "N/A".to_owned(), shown)
    };
    Row::default()
        .with("Driver", text("Driver"))
        .with("Name", text("Name"))
        .with("Mountpoint", text("Mountpoint"))
        .with("Scope", text("Scope"))
        .with("Size", number(&usage["Size"], size))
        .with("Links", number(&usage["RefCount"], |count| count.to_string()))
        .labels(&labels_of(&volume["Labels"]))
}
