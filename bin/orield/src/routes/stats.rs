//! What containers use, in the shape of a daemon on Windows (moby `daemon/stats_windows.go`).

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use oriel_engine::{NEVER, Sample, Samples};
use oriel_hcs::{Statistics, Traffic};
use serde_json::{Map, Value, json};

use super::create::limits::processors;
use crate::http::{Answer, Call, ok, streamed};

/// Whose statistics they are.
#[derive(Clone)]
struct Owner {
    id: String,
    name: String,
    /// The limit of tasks.
    tasks: Option<u64>,
    /// Whether the client's version knows `os_type`.
    says_system: bool,
}

pub(crate) async fn stats(call: &Call, id: &str) -> Answer {
    let engine = &call.daemon.engine;
    let view = engine.container(id)?;
    let owner = Owner {
        id: view.id.clone(),
        name: format!("/{}", view.name),
        tasks: view.spec.host.limits.tasks,
        says_system: call.version.at_least(52),
    };
    if call.query.flag_or("stream", true) {
        let samples = engine.samples(&view.id)?;
        return Ok(streamed("application/json", follow(owner, samples)));
    }
    let one_shot = call.version.at_least(41) && call.query.flag("one-shot");
    if one_shot || !view.state.is_running() {
        let sample = engine.sample(&view.id).await?;
        return ok(&shown(&owner, &sample, None));
    }
    let mut samples = engine.samples(&view.id)?;
    let first = samples.next().await;
    match samples.next().await {
        Some(second) => ok(&shown(&owner, &second, first.as_deref())),
        // Removed meanwhile.
        None => ok(&shown(&owner, &engine.sample(&view.id).await?, None)),
    }
}

/// Samples as they come, each with the one before, to the end of the container.
fn follow(
    owner: Owner,
    samples: Samples,
) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    let start = (owner, samples, None::<Arc<Sample>>);
    stream::unfold(start, |(owner, mut samples, before)| async move {
        let sample = samples.next().await?;
        let mut line = shown(&owner, &sample, before.as_deref()).to_string();
        line.push('\n');
        Some((Ok(Bytes::from(line)), (owner, samples, Some(sample))))
    })
}

fn shown(owner: &Owner, sample: &Sample, before: Option<&Sample>) -> Value {
    let used = sample.statistics.as_ref();
    let running = used.is_some();
    let before = before.filter(|_| running);
    let time = |sample: Option<&Sample>| {
        sample.map_or_else(|| NEVER.to_owned(), |sample| sample.read.to_string())
    };
    let mut value = json!({
        "id": owner.id,
        "name": owner.name,
        "read": time(running.then_some(sample)),
        "preread": time(before),
        "pids_stats": tasks(owner, used),
        "blkio_stats": blkio(),
        "num_procs": if running { processors() } else { 0 },
        "storage_stats": storage(used),
        "cpu_stats": cpu(used),
        "precpu_stats": cpu(before.and_then(|before| before.statistics.as_ref())),
        "memory_stats": memory(used),
    });
    if running {
        let networks: Map<String, Value> =
            sample.endpoints.iter().map(|(id, traffic)| (id.clone(), network(traffic))).collect();
        value["networks"] = networks.into();
    }
    if owner.says_system {
        value["os_type"] = json!("windows");
    }
    value
}

fn tasks(owner: &Owner, used: Option<&Statistics>) -> Value {
    let Some(used) = used else { return json!({}) };
    let mut tasks = json!({ "current": used.tasks });
    if let Some(limit) = owner.tasks {
        tasks["limit"] = json!(limit);
    }
    tasks
}

/// What only Linux has; Windows' daemons send it empty.
fn blkio() -> Value {
    let lists = [
        "io_service_bytes_recursive",
        "io_serviced_recursive",
        "io_queue_recursive",
        "io_service_time_recursive",
        "io_wait_time_recursive",
        "io_merged_recursive",
        "io_time_recursive",
        "sectors_recursive",
    ];
    lists.into_iter().map(|name| (name.to_owned(), Value::Null)).collect::<Map<_, _>>().into()
}

fn cpu(used: Option<&Statistics>) -> Value {
    let none = Statistics::default();
    let used = used.unwrap_or(&none);
    json!({
        "cpu_usage": {
            "total_usage": used.cpu_100ns,
            "usage_in_kernelmode": used.cpu_kernel_100ns,
            "usage_in_usermode": used.cpu_user_100ns,
        },
        "throttling_data": { "periods": 0, "throttled_periods": 0, "throttled_time": 0 },
    })
}

fn memory(used: Option<&Statistics>) -> Value {
    let Some(used) = used else { return json!({}) };
    json!({
        "commitbytes": used.commit_bytes,
        "commitpeakbytes": used.commit_peak_bytes,
        "privateworkingset": used.private_bytes,
    })
}

fn storage(used: Option<&Statistics>) -> Value {
    let Some(used) = used else { return json!({}) };
    json!({
        "read_count_normalized": used.reads,
        "read_size_bytes": used.read_bytes,
        "write_count_normalized": used.writes,
        "write_size_bytes": used.write_bytes,
    })
}

fn network(traffic: &Traffic) -> Value {
    json!({
        "rx_bytes": traffic.received_bytes,
        "rx_packets": traffic.received_packets,
        "rx_errors": traffic.received_errors,
        "rx_dropped": traffic.received_dropped,
        "tx_bytes": traffic.sent_bytes,
        "tx_packets": traffic.sent_packets,
        "tx_errors": traffic.sent_errors,
        "tx_dropped": traffic.sent_dropped,
    })
}
