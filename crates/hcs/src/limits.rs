//! What a compute system may use, and what it has used.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

/// Resource limits; what is `None` or empty is unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// What may be used beyond memory, when that is limited.
    pub swap: Swap,
    /// Memory in bytes that is taken from the system last when the host runs out of it.
    pub reserved_memory_bytes: Option<u64>,
    /// How readily memory is swapped out, 0 to 100.
    pub swappiness: Option<u8>,
    /// Whether programs wait for memory at the limit instead of being killed.
    pub wait_for_memory: bool,
    /// Processor time in billionths of one processor.
    pub nano_cpus: Option<u64>,
    /// Processor time in microseconds per period, in place of `nano_cpus`.
    pub quota_micros: Option<u64>,
    /// The period, in microseconds; `None` is the kernel's.
    pub period_micros: Option<u64>,
    /// Relative processor weight, 1 to 10 000 as on Windows, where 5 000 is normal.
    pub cpu_weight: Option<u32>,
    /// Processors it runs on, such as `0-2,7`; empty is all.
    pub processors: String,
    /// Nodes its memory is on, such as `0,1`; empty is all.
    pub memory_nodes: String,
    /// Number of Linux tasks.
    pub tasks: Option<u64>,
    /// Relative weight of its input and output, 10 to 1000.
    pub block_weight: Option<u16>,
    /// Limits of input and output by device.
    pub devices: Vec<DeviceLimit>,
    /// Reads a second from the disk that drive C: is on, and writes to it.
    pub drive_operations: Option<u64>,
    /// Bytes a second read from the disk that drive C: is on, and written to it.
    pub drive_bytes: Option<u64>,
}

/// What may be used beyond memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Swap {
    /// Nothing: the limit is one of committed memory, as on Windows.
    #[default]
    None,
    /// Swap, up to these bytes of both together.
    UpTo(u64),
    /// All swap that there is.
    Unlimited,
}

/// A limit of input and output on one block device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceLimit {
    /// The device's file on the host.
    pub path: PathBuf,
    /// What is limited.
    pub rule: DeviceRule,
    /// To how much.
    pub value: u64,
}

/// What is limited on a block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceRule {
    /// Relative weight, 10 to 1000.
    Weight,
    /// Bytes read a second.
    ReadBytes,
    /// Bytes written a second.
    WriteBytes,
    /// Reads a second.
    ReadOperations,
    /// Writes a second.
    WriteOperations,
}

/// A kind of limit, to ask who can enforce it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// Memory.
    Memory,
    /// Memory and swap together.
    Swap,
    /// Memory taken last.
    Reservation,
    /// How readily memory is swapped out.
    Swappiness,
    /// Waiting for memory.
    WaitForMemory,
    /// Processor time and weight.
    Processor,
    /// Which processors and memory nodes.
    Processors,
    /// Number of tasks.
    Tasks,
    /// Weight of input and output.
    BlockWeight,
    /// Rates of input and output by device.
    BlockRate,
    /// Rates of input and output on the disk that drive C: is on.
    DriveRate,
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Memory,
        Self::Swap,
        Self::Reservation,
        Self::Swappiness,
        Self::WaitForMemory,
        Self::Processor,
        Self::Processors,
        Self::Tasks,
        Self::BlockWeight,
        Self::BlockRate,
        Self::DriveRate,
    ];

    /// Whether `limits` have one of this kind.
    #[must_use]
    pub fn asked(self, limits: &Limits) -> bool {
        let weighs = |device: &DeviceLimit| device.rule == DeviceRule::Weight;
        match self {
            Self::Memory => limits.memory_bytes.is_some(),
            Self::Swap => limits.swap != Swap::None,
            Self::Reservation => limits.reserved_memory_bytes.is_some(),
            Self::Swappiness => limits.swappiness.is_some(),
            Self::WaitForMemory => limits.wait_for_memory,
            Self::Processor => {
                limits.nano_cpus.is_some()
                    || limits.cpu_weight.is_some()
                    || limits.quota_micros.is_some()
                    || limits.period_micros.is_some()
            }
            Self::Processors => !limits.processors.is_empty() || !limits.memory_nodes.is_empty(),
            Self::Tasks => limits.tasks.is_some(),
            Self::BlockWeight => limits.block_weight.is_some() || limits.devices.iter().any(weighs),
            Self::BlockRate => limits.devices.iter().any(|device| !weighs(device)),
            Self::DriveRate => limits.drive_operations.is_some() || limits.drive_bytes.is_some(),
        }
    }
}

/// How a compute system is bound besides by [`Limits`], for as long as it lives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Confinement {
    /// Whether nothing can be written on drive C:, except below mounts.
    pub read_only: bool,
    /// Limits of each Linux process.
    pub process_limits: Vec<ProcessLimit>,
    /// How much rather (up to 1000) or less (down to -1000) its processes are killed than others
    /// when the host runs out of memory.
    pub oom_score: i32,
    /// Settings of its network namespace, by their names with dots: `net.core.somaxconn`.
    pub network_settings: BTreeMap<String, String>,
    /// Control group that the system's is made in, from the root of each hierarchy; empty is the
    /// host's choice.
    pub cgroup_parent: String,
}

/// A limit of each Linux process, as setrlimit(2) has them; `None` is unlimited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessLimit {
    /// Name in lower case without its prefix, such as `nofile`.
    pub name: String,
    /// The limit.
    pub soft: Option<u64>,
    /// How far a process may raise it.
    pub hard: Option<u64>,
}

/// What a compute system uses now, and has used since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Processor time, in units of 100 ns.
    pub cpu_100ns: u64,
    /// Of this in the kernel.
    pub cpu_kernel_100ns: u64,
    /// Of this in programs.
    pub cpu_user_100ns: u64,
    /// Memory that belongs to no file, in memory or swapped out, in bytes.
    pub commit_bytes: u64,
    /// The most memory used at a time, caches of files included, in bytes.
    pub commit_peak_bytes: u64,
    /// Memory that belongs to no file and is not swapped out, in bytes.
    pub private_bytes: u64,
    /// Linux tasks.
    pub tasks: u64,
    /// Reads from disks.
    pub reads: u64,
    /// Bytes read from disks.
    pub read_bytes: u64,
    /// Writes to disks.
    pub writes: u64,
    /// Bytes written to disks.
    pub write_bytes: u64,
    /// What went over its network adapters, by their names.
    pub adapters: BTreeMap<String, Traffic>,
}

/// What went over a network adapter, as the system sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes received.
    pub received_bytes: u64,
    /// Packets received.
    pub received_packets: u64,
    /// Packets that came broken.
    pub received_errors: u64,
    /// Packets that came and were dropped.
    pub received_dropped: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Packets that could not be sent.
    pub sent_errors: u64,
    /// Packets that were dropped instead of sent.
    pub sent_dropped: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_asked_needs_nobody() {
        assert!(!Limit::ALL.iter().any(|limit| limit.asked(&Limits::default())));
    }

    #[test]
    fn a_weight_is_no_rate() {
        let path = PathBuf::from("/dev/sda");
        let device = DeviceLimit { path, rule: DeviceRule::Weight, value: 10 };
        let limits = Limits { devices: vec![device], ..Limits::default() };
        assert!(Limit::BlockWeight.asked(&limits) && !Limit::BlockRate.asked(&limits));
    }

    #[test]
    fn limits_of_an_earlier_daemon_are_read() {
        let limits: Limits = serde_json::from_str(r#"{"memory_bytes":5,"tasks":null}"#).unwrap();
        assert_eq!(limits, Limits { memory_bytes: Some(5), ..Limits::default() });
    }
}
