//! `oriel stats`: what containers use, again and again.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use clap::Args;
use oriel_api::container::Summary;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{
    completion,
    connection::{At, Client},
    format::{
        Column, Listing, Row, Shown,
        human::{binary_size, short, size},
    },
    lines::Lines,
    screen::{is_terminal, print},
};

/// How often the table is drawn: as often as the daemon measures.
const AGAIN: Duration = Duration::from_secs(1);

const FIELDS: &[Column] = &[
    ("Container", "CONTAINER"),
    ("ID", "CONTAINER ID"),
    ("Name", "NAME"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "PRIV WORKING SET"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];

#[derive(Args)]
pub(crate) struct Stats {
    /// Containers; all that run unless named
    #[arg(value_name = "CONTAINER", add = completion::running())]
    containers: Vec<String>,
    /// Show containers that do not run, too
    #[arg(short, long)]
    all: bool,
    /// Measure once
    #[arg(long)]
    no_stream: bool,
    /// Do not cut ids
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    shown: Shown,
}

/// `oriel stats`
pub(crate) async fn run(client: &Client, wanted: &Stats) -> anyhow::Result<ExitCode> {
    if wanted.no_stream {
        let names = names(client, wanted).await?;
        let mut rows = BTreeMap::new();
        for (at, name) in names.iter().enumerate() {
            let at_path = At::path(&["containers", name, "stats"]).with("stream", 0);
            let sample: Value = client.get(&at_path).await?;
            rows.insert(at, row(name, &sample, wanted.no_trunc));
        }
        listing(rows.into_values()).show(&wanted.shown)?;
        return Ok(ExitCode::SUCCESS);
    }
    follow(client, wanted).await?;
    Ok(ExitCode::SUCCESS)
}

/// Names of the containers to measure.
async fn names(client: &Client, wanted: &Stats) -> anyhow::Result<Vec<String>> {
    if !wanted.containers.is_empty() {
        return Ok(wanted.containers.clone());
    }
    let at = At::path(&["containers", "json"]).flag("all", wanted.all);
    let list: Vec<Summary> = client.get(&at).await?;
    Ok(list.into_iter().map(|container| container.id).collect())
}

/// A container with what it uses, or none once it has ended.
type Measured = (String, anyhow::Result<Option<Value>>);

/// Draws the table anew as long as anybody looks.
async fn follow(client: &Client, wanted: &Stats) -> anyhow::Result<()> {
    let (sender, mut samples) = tokio::sync::mpsc::channel::<Measured>(64);
    let mut tasks = JoinSet::new();
    let mut known: Vec<String> = Vec::new();
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    let mut again = tokio::time::interval(AGAIN);
    loop {
        tokio::select! {
            Some((name, sample)) = samples.recv() => match sample {
                Ok(Some(sample)) => {
                    rows.insert(name.clone(), row(&name, &sample, wanted.no_trunc));
                }
                // One that is named is missed; others may have gone since they were listed.
                Err(error) if !wanted.containers.is_empty() => return Err(error),
                Ok(None) | Err(_) => {
                    rows.remove(&name);
                    known.retain(|known| *known != name);
                }
            },
            _ = again.tick() => {
                for name in names(client, wanted).await? {
                    if !known.contains(&name) {
                        known.push(name.clone());
                        tasks.spawn(measure(client.clone(), name, sender.clone()));
                    }
                }
                draw(&rows, wanted)?;
            }
        }
    }
}

/// Sends what one container uses, then that it has ended.
async fn measure(client: Client, name: String, sender: tokio::sync::mpsc::Sender<Measured>) {
    let at = At::path(&["containers", &name, "stats"]).with("stream", 1);
    let stream = match client.open(&at).await {
        Ok(stream) => stream,
        Err(error) => {
            // Nobody listens once the command ends; so below.
            let _ = sender.send((name, Err(error))).await;
            return;
        }
    };
    let mut lines = Lines::new(stream);
    while let Ok(Some(sample)) = lines.next::<Value>().await {
        if sender.send((name.clone(), Ok(Some(sample)))).await.is_err() {
            return;
        }
    }
    let _ = sender.send((name, Ok(None))).await;
}

fn draw(rows: &BTreeMap<String, Row>, wanted: &Stats) -> anyhow::Result<()> {
    let text = listing(rows.values().cloned()).text(&wanted.shown)?;
    match is_terminal() {
        // Home, each line cleared to its end, then everything below.
        true => print(&format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))),
        false => print(&text),
    }
}

fn listing(rows: impl Iterator<Item = Row>) -> Listing {
    let mut listing =
        Listing::new(FIELDS, &["ID", "Name", "CPUPerc", "MemUsage", "NetIO", "BlockIO"]);
    rows.for_each(|row| listing.push(row));
    listing
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}

fn row(asked: &str, sample: &Value, whole: bool) -> Row {
    let id = sample["id"].as_str().unwrap_or(asked);
    let bytes = |value: &Value| size(value.as_u64().unwrap_or_default());
    let sum = |list: &Value, name: &str| {
        let each = list.as_object().into_iter().flatten();
        let total: u64 = each.filter_map(|(_, value)| value[name].as_u64()).sum();
        size(total)
    };
    let (networks, storage) = (&sample["networks"], &sample["storage_stats"]);
    let set = number(&sample["memory_stats"]["privateworkingset"]);
    Row::default()
        .with("Container", asked)
        .with("ID", if whole { id.to_owned() } else { short(id) })
        .with("Name", sample["name"].as_str().unwrap_or_default().trim_start_matches('/'))
        .with("CPUPerc", format!("{:.2}%", percent(sample)))
        .with("MemUsage", binary_size(set))
        .with("MemPerc", "--")
        .with("NetIO", format!("{} / {}", sum(networks, "rx_bytes"), sum(networks, "tx_bytes")))
        .with(
            "BlockIO",
            format!(
                "{} / {}",
                bytes(&storage["read_size_bytes"]),
                bytes(&storage["write_size_bytes"])
            ),
        )
        .with("PIDs", sample["num_procs"].to_string())
}

/// Processor time used since the last sample, of what all processors had: Docker's formula for
/// Windows, in units of 100 ns (docker/cli, `cli/command/container/stats_helpers.go`).
fn percent(sample: &Value) -> f64 {
    let moment = |name: &str| {
        let time: Option<jiff::Timestamp> = sample[name].as_str()?.parse().ok();
        time.map(|time| time.as_nanosecond() / 100)
    };
    let (Some(read), Some(before)) = (moment("read"), moment("preread")) else { return 0.0 };
    let processors = number(&sample["num_procs"]).max(1.0);
    let total = |name: &str| number(&sample[name]["cpu_usage"]["total_usage"]);
    let used = total("cpu_stats") - total("precpu_stats");
    let elapsed =
        f64::from(i32::try_from((read - before).clamp(0, i128::from(i32::MAX))).unwrap_or(0));
    match elapsed > 0.0 && before > 0 && used > 0.0 {
        true => used / (elapsed * processors) * 100.0,
        false => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sample_is_a_row_in_windows_terms() {
        let sample = json!({
            "id": "0123456789abcdef", "name": "/web", "num_procs": 2,
            "read": "2026-01-02T03:04:06Z", "preread": "2026-01-02T03:04:05Z",
            "cpu_stats": {"cpu_usage": {"total_usage": 10_000_000}},
            "precpu_stats": {"cpu_usage": {"total_usage": 0}},
            "memory_stats": {"privateworkingset": 3 << 20},
            "networks": {"a": {"rx_bytes": 1000, "tx_bytes": 5}, "b": {"rx_bytes": 500}},
            "storage_stats": {"read_size_bytes": 2000, "write_size_bytes": 0},
        });
        let text = listing([row("x", &sample, false)].into_iter()).text(&Shown::default()).unwrap();
        assert_eq!(
            text,
            "CONTAINER ID  NAME  CPU %   PRIV WORKING SET  NET I/O     BLOCK I/O\n\
             0123456789ab  web   50.00%  3MiB              1.5kB / 5B  2.0kB / 0B\n"
        );
        assert!(percent(&json!({})).abs() < f64::EPSILON);
    }
}
