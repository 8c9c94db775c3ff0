//! Changing limits and restart policy: `docker update`.
//!
//! What a container was given is kept as it was sent; an update is laid over that, and the limits
//! of the engine are settled anew from the whole.

use hyper::StatusCode;
use oriel_api::resources::{Resources, UpdateRequest, UpdateResponse};
use oriel_engine::{EngineError, HostOptions, RestartPolicy};
use oriel_hcs::{Class, Limit};
use serde_json::{Value, json};

use super::create::limits::limits;
use crate::http::{Answer, Call, HttpError, ok};

pub(crate) async fn update(mut call: Call, id: &str) -> Answer {
    let engine = call.daemon.engine.clone();
    let container = engine.container(id)?.id;
    let UpdateRequest { mut resources, restart_policy } = call.json().await?;
    if !call.version.at_least(40) {
        resources.pids_limit = None;
    }
    if call.daemon.fixed.strict && says_something(&resources) {
        let reason = "resource updating isn't supported on Windows";
        let text = format!("Cannot update container {container}: {reason}");
        return Err(HttpError::new(StatusCode::BAD_REQUEST, text));
    }
    let restart =
        restart_policy.filter(|policy| policy.name.as_ref().is_some_and(|n| !n.is_empty()));
    let restart = restart.map(|policy| {
        let retries = policy.maximum_retry_count.unwrap_or_default();
        RestartPolicy::parse(policy.name.as_deref().unwrap_or_default(), retries)
    });
    let restart = restart.transpose()?;
    let enforced = engine.enforces();
    check(&resources, &enforced)?;
    let change = move |host: &mut HostOptions| {
        let mut warnings = Vec::new();
        change(host, resources, &enforced, &mut warnings)?;
        if let Some(restart) = restart {
            host.restart = restart;
            let (name, retries) = restart.parts();
            let policy = json!({ "Name": name, "MaximumRetryCount": retries });
            host.document.insert("RestartPolicy".to_owned(), policy);
        }
        Ok(warnings)
    };
    let warnings = engine.update(&container, change).await?;
    ok(&UpdateResponse { warnings })
}

/// Refuses what is wrong whatever the container has.
fn check(resources: &Resources, enforced: &[Limit]) -> Result<(), EngineError> {
    // A limit of memory may be there already.
    let memory_swap = resources.memory_swap.filter(|_| resources.memory.is_some_and(|m| m != 0));
    let alone = Resources { memory_swap, ..resources.clone() };
    limits(&alone, enforced, &mut Vec::new()).map(drop)
}

/// Whether there is anything that Windows would have to change.
fn says_something(resources: &Resources) -> bool {
    let mut fields = serde_json::to_value(resources).unwrap_or_default();
    // These say something by being there, and nothing by their usual values.
    if fields["MemorySwappiness"] == json!(-1) {
        fields["MemorySwappiness"] = Value::Null;
    }
    !super::create::is_empty(&fields)
}

fn change(
    host: &mut HostOptions,
    wanted: Resources,
    enforced: &[Limit],
    warnings: &mut Vec<String>,
) -> Result<(), EngineError> {
    let document = Value::Object(host.document.clone());
    let mut resources: Resources = serde_json::from_value(document).unwrap_or_default();
    refuse_conflicts(&resources, &wanted)?;
    let stays = [
        ("Ulimits", wanted.ulimits.as_ref().is_some_and(|list| !list.is_empty())),
        ("CgroupParent", wanted.cgroup_parent.as_ref().is_some_and(|name| !name.is_empty())),
    ];
    for (name, _) in stays.into_iter().filter(|(_, asked)| *asked) {
        warnings.push(format!("{name} cannot be updated: it holds from the start of a container."));
    }
    lay_over(&mut resources, wanted);
    host.limits = limits(&resources, enforced, warnings)?;
    if let Ok(Value::Object(fields)) = serde_json::to_value(resources) {
        host.document.extend(fields.into_iter().filter(|(_, value)| !value.is_null()));
    }
    Ok(())
}

/// Docker's conflicts between what is and what is to be (moby
/// `daemon/container/container_unix.go`).
fn refuse_conflicts(now: &Resources, wanted: &Resources) -> Result<(), EngineError> {
    let set = |value: Option<i64>| value.is_some_and(|value| value > 0);
    let nano = (set(wanted.nano_cpus), set(now.nano_cpus));
    let conflicts = [
        (
            nano.0 && set(now.cpu_period),
            "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set",
        ),
        (
            nano.0 && set(now.cpu_quota),
            "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set",
        ),
        (
            set(wanted.cpu_period) && nano.1,
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set",
        ),
        (
            set(wanted.cpu_quota) && nano.1,
            "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
        ),
        (
            set(now.memory_swap)
                && wanted.memory_swap.unwrap_or_default() == 0
                && wanted.memory > now.memory_swap,
            "Memory limit should be smaller than already set memoryswap limit, update the \
             memoryswap at the same time",
        ),
    ];
    match conflicts.into_iter().find(|(conflict, _)| *conflict) {
        Some((_, reason)) => {
            Err(EngineError::Refused { class: Class::Conflict, reason: reason.to_owned() })
        }
        None => Ok(()),
    }
}

/// What is 0 or empty stays; only the number of tasks can be made unlimited again so.
fn lay_over(now: &mut Resources, wanted: Resources) {
    fn number(now: &mut Option<i64>, wanted: Option<i64>) {
        *now = wanted.filter(|value| *value != 0).or(*now);
    }
    fn rate(now: &mut Option<u64>, wanted: Option<u64>) {
        *now = wanted.filter(|value| *value != 0).or(*now);
    }
    fn text(now: &mut Option<String>, wanted: Option<String>) {
        *now = wanted.filter(|text| !text.is_empty()).or_else(|| now.take());
    }
    fn list<T>(now: &mut Option<Vec<T>>, wanted: Option<Vec<T>>) {
        *now = wanted.filter(|list| !list.is_empty()).or_else(|| now.take());
    }
    number(&mut now.memory, wanted.memory);
    number(&mut now.memory_swap, wanted.memory_swap);
    number(&mut now.memory_reservation, wanted.memory_reservation);
    number(&mut now.memory_swappiness, wanted.memory_swappiness.filter(|value| *value != -1));
    now.oom_kill_disable = wanted.oom_kill_disable.or(now.oom_kill_disable);
    number(&mut now.nano_cpus, wanted.nano_cpus);
    number(&mut now.cpu_count, wanted.cpu_count);
    number(&mut now.cpu_percent, wanted.cpu_percent);
    number(&mut now.cpu_shares, wanted.cpu_shares);
    number(&mut now.cpu_quota, wanted.cpu_quota);
    number(&mut now.cpu_period, wanted.cpu_period);
    text(&mut now.cpuset_cpus, wanted.cpuset_cpus);
    text(&mut now.cpuset_mems, wanted.cpuset_mems);
    now.pids_limit = wanted.pids_limit.map(|limit| limit.max(0)).or(now.pids_limit);
    number(&mut now.blkio_weight, wanted.blkio_weight);
    list(&mut now.blkio_weight_device, wanted.blkio_weight_device);
    list(&mut now.blkio_device_read_bps, wanted.blkio_device_read_bps);
    list(&mut now.blkio_device_write_bps, wanted.blkio_device_write_bps);
    list(&mut now.blkio_device_read_iops, wanted.blkio_device_read_iops);
    list(&mut now.blkio_device_write_iops, wanted.blkio_device_write_iops);
    rate(&mut now.io_maximum_iops, wanted.io_maximum_iops);
    rate(&mut now.io_maximum_bandwidth, wanted.io_maximum_bandwidth);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(value: Value) -> Resources {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn an_update_is_laid_over_what_is() {
        let mut host = HostOptions::default();
        host.document.insert("Memory".to_owned(), json!(100 << 20));
        host.document.insert("PidsLimit".to_owned(), json!(5));
        let wanted = resources(json!({ "NanoCpus": 1_000_000, "Memory": 0, "PidsLimit": -1 }));
        let mut warnings = Vec::new();
        change(&mut host, wanted, &Limit::ALL, &mut warnings).unwrap();
        assert_eq!(host.limits.memory_bytes, Some(100 << 20));
        assert_eq!((host.limits.nano_cpus, host.limits.tasks), (Some(1_000_000), None));
        assert_eq!(host.document["NanoCpus"], json!(1_000_000));
        assert_eq!(host.document["PidsLimit"], json!(0));
    }

    #[test]
    fn conflicts_are_dockers() {
        for (now, wanted, text) in [
            (json!({ "CpuQuota": 5000 }), json!({ "NanoCpus": 1 }), "CPU Quota has already"),
            (json!({ "CpuPeriod": 5000 }), json!({ "NanoCpus": 1 }), "CPU Period has already"),
            (json!({ "NanoCpus": 1 }), json!({ "CpuQuota": 5000 }), "NanoCPUs has already"),
            (json!({ "NanoCpus": 1 }), json!({ "CpuPeriod": 5000 }), "NanoCPUs has already"),
            (json!({ "MemorySwap": 5 }), json!({ "Memory": 6 }), "update the memoryswap"),
        ] {
            let error = refuse_conflicts(&resources(now), &resources(wanted)).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
        let raised = json!({ "Memory": 6, "MemorySwap": 7 });
        let now = resources(json!({ "MemorySwap": 5 }));
        assert!(refuse_conflicts(&now, &resources(raised)).is_ok());
    }

    #[test]
    fn only_a_restart_policy_says_nothing_of_resources() {
        assert!(!says_something(&resources(json!({ "Memory": 0, "MemorySwappiness": -1 }))));
        assert!(says_something(&resources(json!({ "CpuShares": 5 }))));
    }
}
