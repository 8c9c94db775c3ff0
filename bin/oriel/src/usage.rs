//! `oriel system df`: what takes up disk space.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use crate::{
    connection::{At, Client},
    format::{
        Column, Listing, Row, Shown,
        human::{short, size},
        render, row,
    },
    screen::print,
};

const FIELDS: &[Column] = &[
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
];

#[derive(Args)]
pub(crate) struct DiskUsage {
    /// Show every thing by itself
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    shown: Shown,
}

/// Numbers about one kind of things.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    total: usize,
    active: usize,
    size: u64,
    reclaimable: u64,
}

/// `oriel system df`
pub(crate) async fn run(client: &Client, wanted: &DiskUsage) -> anyhow::Result<ExitCode> {
    let usage: Value = client.get(&At::path(&["system", "df"])).await?;
    if wanted.verbose {
        print(&verbose(&usage))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut listing =
        Listing::new(FIELDS, &["Type", "TotalCount", "Active", "Size", "Reclaimable"]);
    for (kind, sum) in [
        ("Images", images(&usage)),
        ("Containers", containers(&usage)),
        ("Local Volumes", volumes(&usage)),
        ("Build Cache", Sum::default()),
    ] {
        let share = sum.reclaimable * 100 / sum.size.max(1);
        listing.push(
            Row::default()
                .with("Type", kind)
                .with("TotalCount", sum.total.to_string())
                .with("Active", sum.active.to_string())
                .with("Size", size(sum.size))
                .with("Reclaimable", format!("{} ({share}%)", size(sum.reclaimable))),
        );
    }
    listing.show(&wanted.shown)?;
    Ok(ExitCode::SUCCESS)
}

fn list<'a>(usage: &'a Value, name: &str) -> &'a [Value] {
    usage[name].as_array().map_or(&[], Vec::as_slice)
}

fn bytes(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

fn images(usage: &Value) -> Sum {
    let list = list(usage, "Images");
    let used = |image: &&Value| image["Containers"].as_i64().unwrap_or_default() > 0;
    let size = bytes(&usage["LayersSize"]);
    let kept: u64 = list.iter().filter(used).map(|image| bytes(&image["Size"])).sum();
    Sum {
        total: list.len(),
        active: list.iter().filter(used).count(),
        size,
        // Layers are shared, so that sizes of images say more than there is.
        reclaimable: size.saturating_sub(kept),
    }
}

fn containers(usage: &Value) -> Sum {
    let list = list(usage, "Containers");
    let running =
        |c: &&Value| matches!(c["State"].as_str(), Some("running" | "paused" | "restarting"));
    let size = |c: &Value| bytes(&c["SizeRw"]);
    let total: u64 = list.iter().map(size).sum();
    let kept: u64 = list.iter().filter(running).map(size).sum();
    Sum {
        total: list.len(),
        active: list.iter().filter(running).count(),
        size: total,
        reclaimable: total.saturating_sub(kept),
    }
}

fn volumes(usage: &Value) -> Sum {
    let list = list(usage, "Volumes");
    let used = |v: &&Value| v["UsageData"]["RefCount"].as_i64().unwrap_or_default() > 0;
    let size = |v: &Value| bytes(&v["UsageData"]["Size"]);
    let total: u64 = list.iter().map(size).sum();
    let kept: u64 = list.iter().filter(used).map(size).sum();
    Sum {
        total: list.len(),
        active: list.iter().filter(used).count(),
        size: total,
        reclaimable: total.saturating_sub(kept),
    }
}

fn verbose(usage: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut images = vec![row(["IMAGE", "IMAGE ID", "SIZE", "SHARED SIZE", "CONTAINERS"])];
    for image in list(usage, "Images") {
        let name = image["RepoTags"][0].as_str().unwrap_or("<none>");
        let count = image["Containers"].to_string();
        images.push(row([
            name,
            &short(&text(&image["Id"])),
            &size(bytes(&image["Size"])),
            &size(bytes(&image["SharedSize"])),
            &count,
        ]));
    }
    let mut containers = vec![row(["CONTAINER ID", "IMAGE", "SIZE", "STATUS", "NAMES"])];
    for c in list(usage, "Containers") {
        containers.push(row([
            &short(&text(&c["Id"])),
            &text(&c["Image"]),
            &size(bytes(&c["SizeRw"])),
            &text(&c["Status"]),
            text(&c["Names"][0]).trim_start_matches('/'),
        ]));
    }
    let mut volumes = vec![row(["VOLUME NAME", "LINKS", "SIZE"])];
    for volume in list(usage, "Volumes") {
        let (used, data) = (&volume["UsageData"]["RefCount"], &volume["UsageData"]["Size"]);
        volumes.push(row([&text(&volume["Name"]), &used.to_string(), &size(bytes(data))]));
    }
    format!(
        "Images:\n\n{}\nContainers:\n\n{}\nLocal volumes:\n\n{}",
        render(&images),
        render(&containers),
        render(&volumes)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_used_cannot_be_reclaimed() {
        let usage = json!({
            "LayersSize": 100,
            "Images": [{"Size": 60, "Containers": 1}, {"Size": 90, "Containers": 0}],
            "Containers": [{"State": "running", "SizeRw": 5}, {"State": "exited", "SizeRw": 7}],
            "Volumes": [{"UsageData": {"Size": 3, "RefCount": 0}}],
        });
        let sum = |total, active, size, reclaimable| Sum { total, active, size, reclaimable };
        assert_eq!(images(&usage), sum(2, 1, 100, 40));
        assert_eq!(containers(&usage), sum(2, 1, 12, 7));
        assert_eq!(volumes(&usage), sum(1, 0, 3, 3));
        assert_eq!(images(&json!({})), Sum::default());
    }
}
