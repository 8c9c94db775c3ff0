//! `oriel update`: other limits for containers.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value};

use super::{
    each,
    lifecycle::Several,
    options::{billionths, bytes_or_none},
    text,
};
use crate::{
    connection::{At, Client},
    format::human::parse_bytes,
    screen::talk,
};

#[derive(Args)]
pub(crate) struct Update {
    #[command(flatten)]
    several: Several,
    /// Memory, such as 512m
    #[arg(short, long, value_name = "BYTES", value_parser = parse_bytes)]
    memory: Option<i64>,
    /// Memory and swap together; -1 is no limit
    #[arg(long, value_name = "BYTES", value_parser = bytes_or_none, allow_hyphen_values = true)]
    memory_swap: Option<i64>,
    /// Memory that is kept when the host runs out
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    memory_reservation: Option<i64>,
    /// Processors, such as 1.5
    #[arg(long, value_name = "NUMBER", value_parser = billionths)]
    cpus: Option<i64>,
    /// Weight against other containers
    #[arg(short, long, value_name = "NUMBER")]
    cpu_shares: Option<i64>,
    /// Microseconds in which a quota counts
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<i64>,
    /// Microseconds of a processor in a period
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// Processors it may run on, such as 0-1
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes it may use
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Weight of its reads and writes
    #[arg(long, value_name = "NUMBER")]
    blkio_weight: Option<u16>,
    /// Most tasks; -1 is no limit
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// When to start it again: no, always, unless-stopped, on-failure[:MOST]
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
}

/// `oriel update`
pub(crate) async fn run(client: &Client, wanted: &Update) -> anyhow::Result<ExitCode> {
    let body = body(wanted)?;
    if body.is_empty() {
        anyhow::bail!("there is nothing to update; give for example --memory 1g");
    }
    each(&wanted.several.containers, async |id: &str| {
        let at = At::path(&["containers", id, "update"]);
        let answer: Value = client.post_json(&at, &body).await?.json().await?;
        for warning in answer["Warnings"].as_array().into_iter().flatten() {
            talk(&format!("warning: {}", warning.as_str().unwrap_or_default()));
        }
        Ok(id.to_owned())
    })
    .await
}

fn body(wanted: &Update) -> anyhow::Result<Map<String, Value>> {
    let restart = wanted.restart.as_deref().map(text::restart).transpose()?;
    let number = |value: Option<i64>| value.map(Value::from);
    let text = |value: &Option<String>| value.clone().map(Value::from);
    let fields = [
        ("Memory", number(wanted.memory)),
        ("MemorySwap", number(wanted.memory_swap)),
        ("MemoryReservation", number(wanted.memory_reservation)),
        ("NanoCpus", number(wanted.cpus)),
        ("CpuShares", number(wanted.cpu_shares)),
        ("CpuPeriod", number(wanted.cpu_period)),
        ("CpuQuota", number(wanted.cpu_quota)),
        ("CpusetCpus", text(&wanted.cpuset_cpus)),
        ("CpusetMems", text(&wanted.cpuset_mems)),
        ("BlkioWeight", wanted.blkio_weight.map(Value::from)),
        ("PidsLimit", number(wanted.pids_limit)),
        ("RestartPolicy", restart.map(serde_json::to_value).transpose()?),
    ];
    let given = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Ok(given.collect())
}
