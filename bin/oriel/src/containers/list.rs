//! `oriel ps`: containers.

use std::process::ExitCode;

use clap::Args;
use oriel_api::container::{Port, Summary};
use serde_json::Value;

use crate::{
    connection::{At, Client},
    format::{
        Column, Listing, Row, Shown, filters,
        human::{ago, clip, moment, now, short, size},
    },
    screen::print,
};

/// Characters of a command that a table has room for.
const COMMAND: usize = 30;

const FIELDS: &[Column] = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("State", "STATE"),
    ("Ports", "PORTS"),
    ("Names", "NAMES"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
    ("Platform", "PLATFORM"),
];

#[derive(Args)]
pub(crate) struct List {
    /// Show containers that do not run, too
    #[arg(short, long)]
    all: bool,
    /// Only what fits, KEY=VALUE: name, status, label, ancestor, health, network, volume ...
    #[arg(short, long = "filter", value_name = "FILTER")]
    filters: Vec<String>,
    /// Show the newest containers, whatever they do
    #[arg(short = 'n', long, value_name = "NUMBER", allow_negative_numbers = true)]
    last: Option<i64>,
    /// Show the newest container, whatever it does
    #[arg(short, long)]
    latest: bool,
    /// Do not cut anything
    #[arg(long)]
    no_trunc: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// Show how large they are
    #[arg(short, long)]
    size: bool,
    #[command(flatten)]
    shown: Shown,
}

/// `oriel ps`
pub(crate) async fn run(client: &Client, wanted: &List) -> anyhow::Result<ExitCode> {
    let last = if wanted.latest { Some(1) } else { wanted.last };
    let at = At::path(&["containers", "json"])
        .flag("all", wanted.all)
        .flag("size", wanted.size)
        .maybe("limit", last)
        .maybe("filters", filters(&wanted.filters)?);
    let list: Vec<Summary> = client.get(&at).await?;
    let id = |container: &Summary| match wanted.no_trunc {
        true => container.id.clone(),
        false => short(&container.id),
    };
    if wanted.quiet {
        print(&list.iter().map(|container| id(container) + "\n").collect::<String>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut columns = vec!["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"];
    if wanted.size {
        columns.push("Size");
    }
    let mut listing = Listing::new(FIELDS, &columns);
    let now = now();
    for container in &list {
        listing.push(row(container, wanted.no_trunc, now).with("ID", id(container)));
    }
    listing.show(&wanted.shown)?;
    Ok(ExitCode::SUCCESS)
}

fn row(container: &Summary, whole: bool, now: i64) -> Row {
    let names: Vec<_> = container.names.iter().map(|name| name.trim_start_matches('/')).collect();
    let ports: Vec<_> = container.ports.iter().map(port).collect();
    let command = match whole {
        true => container.command.clone(),
        false => clip(&container.command, COMMAND),
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mounts: Vec<_> = container
        .mounts
        .iter()
        .map(
            |mount| if text(&mount["Name"]).is_empty() { &mount["Source"] } else { &mount["Name"] },
        )
        .map(text)
        .collect();
    let volumes = container.mounts.iter().filter(|mount| mount["Type"] == "volume").count();
    let networks: Vec<_> = container.network_settings.networks.keys().cloned().collect();
    Row::default()
        .with("Image", container.image.as_str())
        .with("Command", format!("\"{command}\""))
        .with("CreatedAt", moment(container.created))
        .with("RunningFor", ago(now, container.created))
        .with("Status", container.status.as_str())
        .with("State", container.state.as_str())
        .with("Ports", ports.join(", "))
        .with("Names", names.join(","))
        .with("Size", sizes(container))
        .with("Mounts", mounts.join(","))
        .with("LocalVolumes", volumes.to_string())
        .with("Networks", networks.join(","))
        .with("Platform", "windows")
        .labels(&container.labels)
}

fn sizes(container: &Summary) -> String {
    let own = size(container.size_rw.unwrap_or_default());
    match container.size_root_fs {
        Some(all) => format!("{own} (virtual {})", size(all)),
        None => own,
    }
}

fn port(port: &Port) -> String {
    let inside = format!("{}/{}", port.private_port, port.kind);
    match (&port.ip, port.public_port) {
        (Some(ip), Some(public)) if ip.contains(':') => format!("[{ip}]:{public}->{inside}"),
        (Some(ip), Some(public)) => format!("{ip}:{public}->{inside}"),
        (None, Some(public)) => format!("{public}->{inside}"),
        _ => inside,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_a_row() {
        let container: Summary = serde_json::from_value(serde_json::json!({
            "Id": "0123456789abcdef", "Names": ["/web"], "Image": "nanoserver", "ImageID": "x",
            "Command": "cmd /c a very long command line indeed", "Created": 0,
            "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
                {"PrivatePort": 53, "Type": "udp"}],
            "Labels": {"a": "b"}, "State": "running", "Status": "Up 1 second", "HostConfig": {},
            "NetworkSettings": {"Networks": {"nat": {}}},
            "Mounts": [{"Type": "volume", "Name": "v"}],
        }))
        .unwrap();
        let mut listing = Listing::new(FIELDS, &["Names", "Command", "Ports", "RunningFor"]);
        listing.push(row(&container, false, 7200));
        assert_eq!(
            listing.text(&Shown::default()).unwrap(),
            "NAMES  COMMAND                           PORTS                         CREATED\n\
             web    \"cmd /c a very long command li…\"  0.0.0.0:8080->80/tcp, 53/udp  2 hours ago\n"
        );
    }
}
