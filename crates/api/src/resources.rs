//! Limits of a container on the wire: part of `HostConfig`, and the body of an update.

use serde::{Deserialize, Serialize};

use crate::container::RestartPolicy;

/// Limits of a container. Numbers are wide and signed, so that what is out of range can be named.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Resources {
    /// Memory limit in bytes.
    pub memory: Option<i64>,
    /// Limit of memory and swap together in bytes; -1 is none.
    pub memory_swap: Option<i64>,
    /// Memory in bytes that is taken last.
    pub memory_reservation: Option<i64>,
    /// How readily memory is swapped out, 0 to 100; -1 is not said.
    pub memory_swappiness: Option<i64>,
    /// Whether programs wait for memory instead of being killed.
    pub oom_kill_disable: Option<bool>,
    /// Processor limit in billionths of one.
    pub nano_cpus: Option<i64>,
    /// Processor limit in processors.
    pub cpu_count: Option<i64>,
    /// Processor limit in percent of all.
    pub cpu_percent: Option<i64>,
    /// Relative processor weight.
    pub cpu_shares: Option<i64>,
    /// Microseconds of processor time per period.
    pub cpu_quota: Option<i64>,
    /// The period, in microseconds.
    pub cpu_period: Option<i64>,
    /// Real-time scheduling.
    pub cpu_realtime_period: Option<i64>,
    /// Real-time scheduling.
    pub cpu_realtime_runtime: Option<i64>,
    /// Processors it runs on.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes it uses.
    pub cpuset_mems: Option<String>,
    /// Linux tasks it may have.
    pub pids_limit: Option<i64>,
    /// Limits of each process.
    pub ulimits: Option<Vec<Ulimit>>,
    /// Relative weight of input and output.
    pub blkio_weight: Option<i64>,
    /// The same by device.
    pub blkio_weight_device: Option<Vec<WeightDevice>>,
    /// Bytes read a second, by device.
    pub blkio_device_read_bps: Option<Vec<ThrottleDevice>>,
    /// Bytes written a second, by device.
    pub blkio_device_write_bps: Option<Vec<ThrottleDevice>>,
    /// Reads a second, by device.
    #[serde(rename = "BlkioDeviceReadIOps")]
    pub blkio_device_read_iops: Option<Vec<ThrottleDevice>>,
    /// Writes a second, by device.
    #[serde(rename = "BlkioDeviceWriteIOps")]
    pub blkio_device_write_iops: Option<Vec<ThrottleDevice>>,
    /// Operations a second on drive C:.
    #[serde(rename = "IOMaximumIOps")]
    pub io_maximum_iops: Option<u64>,
    /// Bytes a second on drive C:.
    #[serde(rename = "IOMaximumBandwidth")]
    pub io_maximum_bandwidth: Option<u64>,
    /// Control group to be in.
    pub cgroup_parent: Option<String>,
}

/// A limit of each process; -1 is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Ulimit {
    /// Name, such as `nofile`.
    pub name: String,
    /// How far a process may raise it.
    pub hard: i64,
    /// The limit.
    pub soft: i64,
}

/// A weight of input and output of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WeightDevice {
    /// The device's file.
    pub path: String,
    /// The weight.
    pub weight: u16,
}

/// A rate of input or output of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ThrottleDevice {
    /// The device's file.
    pub path: String,
    /// The rate.
    pub rate: u64,
}

/// Body of `POST /containers/{id}/update`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UpdateRequest {
    /// Limits; what is 0, empty or absent stays.
    #[serde(flatten)]
    pub resources: Resources,
    /// What happens when it ends; without a name it stays.
    #[serde(rename = "RestartPolicy", default)]
    pub restart_policy: Option<RestartPolicy>,
}

/// Answer to `POST /containers/{id}/update`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateResponse {
    /// What will not be as asked; never `null`.
    pub warnings: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dockers() {
        let text = r#"{"CpusetCpus":"0","IOMaximumIOps":5,"BlkioDeviceReadIOps":[{"Path":"/dev/sda",
            "Rate":7}],"Ulimits":[{"Name":"nofile","Hard":2,"Soft":1}],"PidsLimit":null,
            "RestartPolicy":{"Name":"always"}}"#;
        let update: UpdateRequest = serde_json::from_str(text).unwrap();
        let resources = update.resources;
        assert_eq!(resources.cpuset_cpus.as_deref(), Some("0"));
        assert_eq!(resources.io_maximum_iops, Some(5));
        assert_eq!(resources.blkio_device_read_iops.unwrap()[0].rate, 7);
        assert_eq!(resources.ulimits.unwrap()[0].soft, 1);
        assert_eq!(resources.pids_limit, None);
        assert_eq!(update.restart_policy.unwrap().name.as_deref(), Some("always"));
    }
}
