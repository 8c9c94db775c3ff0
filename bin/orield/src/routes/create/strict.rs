//! What Docker's daemon on Windows refuses, in its words: for those who want to know here what
//! would fail there (moby `daemon/daemon_windows.go` and
//! `daemon/internal/runconfig/hostconfig_windows.go`).

use oriel_api::{
    container::{HostConfig, PortBinding},
    resources::Resources,
};
use oriel_engine::EngineError;

/// Refuses what Windows cannot do.
pub(super) fn check(host: &HostConfig) -> Result<(), EngineError> {
    let modes = [
        (host.privileged == Some(true), "privileged mode"),
        (host.readonly_rootfs == Some(true), "read-only mode"),
    ];
    if let Some((_, what)) = modes.into_iter().find(|(asked, _)| *asked) {
        return refuse(format!("invalid option: {what} is not supported for Windows containers"));
    }
    let mut mounts = host.mounts.iter().flatten().map(|mount| mount.kind.as_deref());
    if mounts.any(|kind| kind == Some("tmpfs")) {
        return refuse("invalid mount config for type \"tmpfs\": mount type unknown");
    }
    check_ports(host)?;
    resources(&host.resources)
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, EngineError> {
    Err(EngineError::invalid(reason))
}

fn check_ports(host: &HostConfig) -> Result<(), EngineError> {
    for bindings in host.port_bindings.iter().flat_map(|ports| ports.values()).flatten() {
        if bindings.len() > 1 {
            return refuse("Windows does not support more than one host port in NAT settings");
        }
        let address = |binding: &PortBinding| {
            !matches!(binding.host_ip.as_deref(), None | Some("" | "0.0.0.0" | "::"))
        };
        if bindings.iter().any(address) {
            return refuse("Windows does not support host IP addresses in NAT settings");
        }
    }
    Ok(())
}

/// Refuses the limits that Windows does not have.
fn resources(resources: &Resources) -> Result<(), EngineError> {
    let number = |value: Option<i64>| value.is_some_and(|value| value != 0);
    let positive = |value: Option<i64>| value.is_some_and(|value| value > 0);
    let text = |value: &Option<String>| value.as_ref().is_some_and(|value| !value.is_empty());
    if resources.cpu_percent.is_some_and(|percent| !(0..=100).contains(&percent)) {
        return refuse("range of CPUPercent is from 1 to 100");
    }
    for (what, also) in
        [("Percent", positive(resources.cpu_percent)), ("Shares", positive(resources.cpu_shares))]
    {
        if positive(resources.nano_cpus) && also {
            return refuse(format!(
                "conflicting options: Nano CPUs and CPU {what} cannot both be set"
            ));
        }
    }
    let swappiness = resources.memory_swappiness.is_some_and(|value| value != -1);
    for (name, asked) in [
        ("BlkioDeviceReadBps", some(&resources.blkio_device_read_bps)),
        ("BlkioDeviceReadIOps", some(&resources.blkio_device_read_iops)),
        ("BlkioDeviceWriteBps", some(&resources.blkio_device_write_bps)),
        ("BlkioDeviceWriteIOps", some(&resources.blkio_device_write_iops)),
        ("BlkioWeight", number(resources.blkio_weight)),
        ("BlkioWeightDevice", some(&resources.blkio_weight_device)),
        ("CgroupParent", text(&resources.cgroup_parent)),
        ("CPUPeriod", number(resources.cpu_period)),
        ("CpusetCpus", text(&resources.cpuset_cpus)),
        ("CpusetMems", text(&resources.cpuset_mems)),
        ("MemoryReservation", number(resources.memory_reservation)),
        ("MemorySwap", number(resources.memory_swap)),
        ("MemorySwappiness", swappiness),
        ("OomKillDisable", resources.oom_kill_disable == Some(true)),
        ("PidsLimit", number(resources.pids_limit)),
        ("Ulimits", some(&resources.ulimits)),
    ] {
        if asked {
            return refuse(format!("invalid option: Windows does not support {name}"));
        }
    }
    Ok(())
}

fn some<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_some_and(|list| !list.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn refusal(host: Value) -> Option<String> {
        let host = serde_json::from_value(host).unwrap();
        check(&host).err().map(|error| error.to_string())
    }

    #[test]
    fn what_windows_has_not_is_refused_by_name() {
        let device = json!([{ "Path": "/dev/sda", "Rate": 1, "Weight": 10 }]);
        for (name, key, value) in [
            ("BlkioDeviceReadBps", "BlkioDeviceReadBps", device.clone()),
            ("BlkioDeviceReadIOps", "BlkioDeviceReadIOps", device.clone()),
            ("BlkioDeviceWriteBps", "BlkioDeviceWriteBps", device.clone()),
            ("BlkioDeviceWriteIOps", "BlkioDeviceWriteIOps", device.clone()),
            ("BlkioWeight", "BlkioWeight", json!(10)),
            ("BlkioWeightDevice", "BlkioWeightDevice", device),
            ("CgroupParent", "CgroupParent", json!("a")),
            ("CPUPeriod", "CpuPeriod", json!(1000)),
            ("CpusetCpus", "CpusetCpus", json!("0")),
            ("CpusetMems", "CpusetMems", json!("0")),
            ("MemoryReservation", "MemoryReservation", json!(1)),
            ("MemorySwap", "MemorySwap", json!(-1)),
            ("MemorySwappiness", "MemorySwappiness", json!(0)),
            ("OomKillDisable", "OomKillDisable", json!(true)),
            ("PidsLimit", "PidsLimit", json!(5)),
            ("Ulimits", "Ulimits", json!([{ "Name": "nofile" }])),
        ] {
            let text = refusal(json!({ key: value })).unwrap();
            assert_eq!(text, format!("invalid option: Windows does not support {name}"));
        }
    }

    #[test]
    fn modes_and_conflicts_are_refused() {
        for (host, text) in [
            (json!({ "Privileged": true }), "privileged mode is not supported for Windows"),
            (json!({ "ReadonlyRootfs": true }), "read-only mode is not supported for Windows"),
            (json!({ "CpuPercent": 101 }), "range of CPUPercent is from 1 to 100"),
            (
                json!({ "NanoCpus": 1, "CpuShares": 1 }),
                "conflicting options: Nano CPUs and CPU Shares cannot both be set",
            ),
            (json!({ "Mounts": [{ "Type": "tmpfs" }] }), "mount type unknown"),
            (
                json!({ "PortBindings": { "80/tcp": [{ "HostIp": "127.0.0.1" }] } }),
                "Windows does not support host IP addresses in NAT settings",
            ),
        ] {
            let found = refusal(host).unwrap();
            assert!(found.contains(text), "{found}");
        }
    }

    #[test]
    fn what_the_docker_cli_sends_to_windows_is_accepted() {
        let host = json!({
            "MemorySwappiness": -1, "OomKillDisable": false, "PidsLimit": 0, "Memory": 1 << 30,
            "BlkioWeightDevice": [], "NanoCpus": 1_000_000_000, "IOMaximumIOps": 5,
            "PortBindings": { "80/tcp": [{ "HostIp": "", "HostPort": "80" }] },
        });
        assert_eq!(refusal(host), None);
    }
}
