//! Limits: from Docker's words to the engine's.
//!
//! Where Windows and Linux mean different things by one option, Windows' meaning holds; what only
//! Linux has is honoured as Linux' daemons do, and their texts say what is wrong. A limit that
//! this kernel cannot enforce is left out with a warning when a container is much the same
//! without; a limit of memory, processors or tasks is not, and such a container does not start.

use oriel_api::resources::{Resources, ThrottleDevice};
use oriel_engine::EngineError;
use oriel_hcs::{DeviceLimit, DeviceRule, Limit, Limits, Swap};

use super::sets;

const ONE_CPU: i64 = 1_000_000_000;

/// The least memory that a daemon on Linux accepts as a limit.
const LEAST_MEMORY: i64 = 6 << 20;

/// Settles limits. `enforced` are those that this host can enforce.
pub(crate) fn limits(
    resources: &Resources,
    enforced: &[Limit],
    warnings: &mut Vec<String>,
) -> Result<Limits, EngineError> {
    let mut limits = Limits::default();
    memory(resources, &mut limits)?;
    time(resources, &mut limits, warnings)?;
    weight(resources, &mut limits, warnings)?;
    (limits.processors, limits.memory_nodes) = sets::check(resources)?;
    limits.tasks = resources.pids_limit.and_then(positive);
    block(resources, &mut limits)?;
    discard(&mut limits, enforced, warnings);
    Ok(limits)
}

/// A number that says something: for most options 0 and less are as good as nothing.
fn positive(value: i64) -> Option<u64> {
    u64::try_from(value).ok().filter(|value| *value > 0)
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, EngineError> {
    Err(EngineError::invalid(reason))
}

fn memory(resources: &Resources, limits: &mut Limits) -> Result<(), EngineError> {
    let memory = resources.memory.unwrap_or_default();
    let swap = resources.memory_swap.unwrap_or_default();
    let reserved = resources.memory_reservation.unwrap_or_default();
    if memory != 0 && memory < LEAST_MEMORY {
        return refuse("Minimum memory limit allowed is 6MB");
    }
    if memory > 0 && swap > 0 && swap < memory {
        return refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if memory == 0 && swap > 0 {
        return refuse(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        );
    }
    if reserved != 0 && reserved < LEAST_MEMORY {
        return refuse("Minimum memory reservation allowed is 6MB");
    }
    if memory > 0 && reserved > memory {
        return refuse(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        );
    }
    limits.memory_bytes = positive(memory);
    limits.reserved_memory_bytes = positive(reserved);
    limits.swap = match (limits.memory_bytes, swap) {
        (None, _) | (_, 0) => Swap::None,
        (Some(_), swap) => positive(swap).map_or(Swap::Unlimited, Swap::UpTo),
    };
    limits.swappiness = match resources.memory_swappiness {
        None | Some(-1) => None,
        Some(value) => match u8::try_from(value) {
            Ok(value) if value <= 100 => Some(value),
            _ => {
                return refuse(format!(
                    "Invalid value: {value}, valid memory swappiness range is 0-100"
                ));
            }
        },
    };
    limits.wait_for_memory = resources.oom_kill_disable.unwrap_or_default();
    Ok(())
}

/// Processor time. On Windows a count comes before shares, and shares before a percentage.
fn time(
    resources: &Resources,
    limits: &mut Limits,
    warnings: &mut Vec<String>,
) -> Result<(), EngineError> {
    let of = Option::unwrap_or_default;
    let (nano, count, percent) =
        (of(resources.nano_cpus), of(resources.cpu_count), of(resources.cpu_percent));
    let (period, quota) = (of(resources.cpu_period), of(resources.cpu_quota));
    let host = i64::try_from(processors()).unwrap_or(i64::MAX);
    if nano < 0 || nano > host.saturating_mul(ONE_CPU) {
        return refuse(format!(
            "range of CPUs is from 0.01 to {host}.00, as there are only {host} CPUs available"
        ));
    }
    if count < 0 {
        return refuse("invalid CPUCount: CPUCount cannot be negative");
    }
    if percent < 0 {
        return refuse("range of CPUPercent is from 1 to 100");
    }
    for (other, set, also) in [
        ("CPU Percent", percent > 0, nano > 0),
        ("CPU Period", period > 0, nano > 0),
        ("CPU Quota", quota > 0, nano > 0),
        ("CPU Quota", quota > 0, count > 0 || percent > 0),
    ] {
        if set && also {
            let first = if nano > 0 { "Nano CPUs" } else { "CPU count or percent" };
            return refuse(format!("Conflicting options: {first} and {other} cannot both be set"));
        }
    }
    if period != 0 && !(1_000..=1_000_000).contains(&period) {
        return refuse(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        );
    }
    if (1..1_000).contains(&quota) {
        return refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    let shares = of(resources.cpu_shares) > 0;
    if percent > 0 && (count > 0 || shares) {
        let stronger = if count > 0 { "count" } else { "shares" };
        warnings.push(conflict(stronger, "percent"));
    }
    let percent = if count > 0 || shares { 0 } else { percent };
    if percent > 100 {
        warnings.push("CPUPercent is above 100. Using 100.".to_owned());
    }
    let whole = [nano, count.saturating_mul(ONE_CPU), percent.min(100) * host * (ONE_CPU / 100)];
    limits.nano_cpus = whole.into_iter().find_map(positive);
    (limits.period_micros, limits.quota_micros) = (positive(period), positive(quota));
    Ok(())
}

fn conflict(stronger: &str, weaker: &str) -> String {
    format!(
        "Conflicting options: CPU {stronger} takes priority over CPU {weaker} on Windows Server \
         Containers. CPU {weaker} discarded"
    )
}

fn weight(
    resources: &Resources,
    limits: &mut Limits,
    warnings: &mut Vec<String>,
) -> Result<(), EngineError> {
    let shares = resources.cpu_shares.unwrap_or_default();
    if !(0..=10_000).contains(&shares) {
        return refuse("range of CPUShares is from 1 to 10000");
    }
    if shares > 0 && resources.cpu_count.is_some_and(|count| count > 0) {
        warnings.push(conflict("count", "shares"));
        return Ok(());
    }
    limits.cpu_weight = u32::try_from(shares).ok().filter(|shares| *shares > 0);
    Ok(())
}

/// Processors of this host.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn block(resources: &Resources, limits: &mut Limits) -> Result<(), EngineError> {
    let good = |weight: i64| weight == 0 || (10..=1000).contains(&weight);
    let devices = resources.blkio_weight_device.iter().flatten();
    let all = resources.blkio_weight.unwrap_or_default();
    if !good(all) || !devices.clone().all(|device| good(device.weight.into())) {
        return refuse("Range of blkio weight is from 10 to 1000");
    }
    limits.block_weight = u16::try_from(all).ok().filter(|weight| *weight > 0);
    let weights = devices.map(|device| (&device.path, DeviceRule::Weight, device.weight.into()));
    let rates = |list: &'_ Option<Vec<ThrottleDevice>>, rule| {
        let devices = list.clone().unwrap_or_default().into_iter();
        devices.map(move |device| (device.path, rule, device.rate)).collect::<Vec<_>>()
    };
    let rates = [
        rates(&resources.blkio_device_read_bps, DeviceRule::ReadBytes),
        rates(&resources.blkio_device_write_bps, DeviceRule::WriteBytes),
        rates(&resources.blkio_device_read_iops, DeviceRule::ReadOperations),
        rates(&resources.blkio_device_write_iops, DeviceRule::WriteOperations),
    ];
    let weights = weights.map(|(path, rule, value)| (path.clone(), rule, value));
    for (path, rule, value) in weights.chain(rates.into_iter().flatten()) {
        if !path.starts_with('/') {
            return refuse(format!("bad format for path: {path}"));
        }
        // A rate of 0 is none.
        if value > 0 {
            limits.devices.push(DeviceLimit { path: path.into(), rule, value });
        }
    }
    limits.drive_operations = resources.io_maximum_iops.filter(|rate| *rate > 0);
    limits.drive_bytes = resources.io_maximum_bandwidth.filter(|rate| *rate > 0);
    Ok(())
}

/// Leaves out what this kernel cannot do, in the words of Docker's daemon on Linux.
fn discard(limits: &mut Limits, enforced: &[Limit], warnings: &mut Vec<String>) {
    for limit in Limit::ALL {
        if enforced.contains(&limit) || !limit.asked(limits) {
            continue;
        }
        let (what, then) = match limit {
            // Without these a container is not what was asked for: it does not start.
            Limit::Memory | Limit::Processor | Limit::Tasks => continue,
            Limit::Swap => {
                limits.swap = Swap::None;
                (
                    "swap limit capabilities or the cgroup is not mounted",
                    "Memory limited without \
                 swap",
                )
            }
            Limit::Reservation => {
                limits.reserved_memory_bytes = None;
                ("memory soft limit capabilities or the cgroup is not mounted", DISCARDED)
            }
            Limit::Swappiness => {
                limits.swappiness = None;
                (
                    "memory swappiness capabilities or the cgroup is not mounted",
                    "Memory swappiness discarded",
                )
            }
            Limit::WaitForMemory => {
                limits.wait_for_memory = false;
                ("OomKillDisable", "OomKillDisable discarded")
            }
            Limit::Processors => {
                limits.processors.clear();
                limits.memory_nodes.clear();
                ("cpuset or the cgroup is not mounted", "Cpuset discarded")
            }
            Limit::BlockWeight => {
                limits.block_weight = None;
                limits.devices.retain(|device| device.rule != DeviceRule::Weight);
                ("Block I/O weight or the cgroup is not mounted", "Weight discarded")
            }
            Limit::BlockRate => {
                limits.devices.retain(|device| device.rule == DeviceRule::Weight);
                ("Block I/O limits or the cgroup is not mounted", DISCARDED)
            }
            Limit::DriveRate => {
                (limits.drive_operations, limits.drive_bytes) = (None, None);
                ("limits of input and output on the disk of the data root", DISCARDED)
            }
        };
        warnings.push(format!("Your kernel does not support {what}. {then}."));
    }
}

const DISCARDED: &str = "Limitation discarded";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settled(resources: Value) -> Result<(Limits, Vec<String>), String> {
        let resources = serde_json::from_value(resources).unwrap();
        let mut warnings = Vec::new();
        match limits(&resources, &Limit::ALL, &mut warnings) {
            Ok(limits) => Ok((limits, warnings)),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn what_is_out_of_range_is_refused_in_dockers_words() {
        for (resources, text) in [
            (json!({ "Memory": 1 }), "Minimum memory limit allowed is 6MB"),
            (json!({ "Memory": -1 }), "Minimum memory limit allowed is 6MB"),
            (json!({ "MemorySwap": 1 }), "You should always set the Memory limit"),
            (
                json!({ "Memory": 100 << 20, "MemorySwap": 50 << 20 }),
                "Minimum memoryswap limit should be larger than memory limit",
            ),
            (json!({ "MemoryReservation": 5 }), "Minimum memory reservation allowed is 6MB"),
            (
                json!({ "Memory": 10 << 20, "MemoryReservation": 20 << 20 }),
                "Minimum memory limit can not be less than memory reservation limit",
            ),
            (json!({ "MemorySwappiness": 101 }), "valid memory swappiness range is 0-100"),
            (json!({ "NanoCpus": -1 }), "range of CPUs is from 0.01 to"),
            (json!({ "NanoCpus": i64::MAX }), "range of CPUs is from 0.01 to"),
            (json!({ "CpuCount": -1 }), "invalid CPUCount"),
            (json!({ "CpuPercent": -1 }), "range of CPUPercent is from 1 to 100"),
            (json!({ "CpuShares": 10_001 }), "range of CPUShares is from 1 to 10000"),
            (json!({ "CpuPeriod": 1 }), "CPU cfs period can not be less than 1ms"),
            (json!({ "CpuQuota": 1 }), "CPU cfs quota can not be less than 1ms"),
            (
                json!({ "NanoCpus": 1, "CpuQuota": 5000 }),
                "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
            ),
            (json!({ "BlkioWeight": 5 }), "Range of blkio weight is from 10 to 1000"),
            (json!({ "BlkioDeviceReadBps": [{ "Path": "sda", "Rate": 1 }] }), "bad format"),
        ] {
            let error = settled(resources).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn windows_order_of_processor_limits_holds() {
        let (limits, warnings) =
            settled(json!({ "CpuCount": 1, "CpuShares": 50, "CpuPercent": 10 })).unwrap();
        assert_eq!((limits.nano_cpus, limits.cpu_weight), (Some(1_000_000_000), None));
        assert_eq!(warnings.len(), 2);
        let (limits, warnings) = settled(json!({ "CpuShares": 50, "CpuPercent": 10 })).unwrap();
        assert_eq!((limits.nano_cpus, limits.cpu_weight), (None, Some(50)));
        assert_eq!(warnings.len(), 1);
        let (limits, warnings) = settled(json!({ "CpuPercent": 5000 })).unwrap();
        assert!(limits.nano_cpus.is_some() && warnings.len() == 1);
    }

    #[test]
    fn swap_is_none_unless_asked_for() {
        let swap =
            |swap: i64| settled(json!({ "Memory": 100 << 20, "MemorySwap": swap })).unwrap().0.swap;
        assert_eq!(swap(0), Swap::None);
        assert_eq!(swap(-1), Swap::Unlimited);
        assert_eq!(swap(200 << 20), Swap::UpTo(200 << 20));
        assert_eq!(settled(json!({ "MemorySwap": -1 })).unwrap().0, Limits::default());
    }

    #[test]
    fn what_the_kernel_cannot_do_is_left_out_with_a_word() {
        let resources = json!({
            "Memory": 100 << 20, "MemorySwap": 200 << 20, "MemorySwappiness": 5,
            "OomKillDisable": true, "CpusetCpus": "0", "BlkioWeight": 10, "IOMaximumIOps": 5,
        });
        let resources = serde_json::from_value(resources).unwrap();
        let mut warnings = Vec::new();
        let limits = limits(&resources, &[Limit::Memory], &mut warnings).unwrap();
        let only = Limits { memory_bytes: Some(100 << 20), ..Limits::default() };
        assert_eq!((limits, warnings.len()), (only, 6));
    }
}
