//! Cgroups, first version: one hierarchy per controller.

use std::{io, path::Path};

use fs_err as fs;
use oriel_hcs::{DeviceRule, Limit, Limits, Statistics, Swap};

use super::{
    Hierarchy, Setting, Switch, Wanted,
    place::offers,
    read::{Table, number},
    v2,
};

/// A controller that silos use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Controller {
    /// Memory, as far as the kernel was built with it.
    Memory { swap: bool, swappiness: bool, waits: bool },
    /// Processor time; counts it as well where both are mounted as one.
    Cpu,
    /// Counts processor time.
    Cpuacct,
    /// Processors and memory nodes.
    Cpuset,
    /// Tasks.
    Pids,
    /// Input and output; the file of weights is the scheduler's.
    Blkio { weight: Option<Weight>, rates: bool },
    /// Limits nothing; lets a silo be stopped as a whole.
    Freezer,
}

/// The two files of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Weight {
    all: &'static str,
    device: &'static str,
}

const WEIGHTS: [Weight; 2] = [
    Weight { all: "blkio.bfq.weight", device: "blkio.bfq.weight_device" },
    Weight { all: "blkio.weight", device: "blkio.weight_device" },
];

/// Whether a mount with these options has a controller that silos use.
pub(super) fn is_known(options: &str) -> bool {
    const KNOWN: [&str; 7] = ["memory", "cpu", "cpuacct", "cpuset", "pids", "blkio", "freezer"];
    options.split(',').any(|option| KNOWN.contains(&option))
}

impl Controller {
    /// The controller of a mount at `root` with these options.
    pub(super) fn of(root: &Path, options: &str) -> Option<Self> {
        let has = |file| offers(root, file);
        options.split(',').find_map(|option| match option {
            "memory" => Some(Self::Memory {
                swap: has("memory.memsw.limit_in_bytes"),
                swappiness: has("memory.swappiness"),
                waits: has("memory.oom_control"),
            }),
            "cpu" => Some(Self::Cpu),
            "cpuacct" => Some(Self::Cpuacct),
            "cpuset" => Some(Self::Cpuset),
            "pids" => Some(Self::Pids),
            "blkio" => Some(Self::Blkio {
                weight: WEIGHTS.into_iter().find(|weight| has(weight.all)),
                rates: has("blkio.throttle.read_bps_device"),
            }),
            "freezer" => Some(Self::Freezer),
            _ => None,
        })
    }
}

/// Windows' normal weight of 5 000 is this kernel's normal of 1 024 shares.
const NORMAL_SHARES: u64 = 1_024;

/// Files by which tasks are kept to processors and memory nodes. A new cgroup has none of either,
/// and takes no task.
const SETS: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

impl Hierarchy for Controller {
    fn give_on(&self, _parent: &Path) -> io::Result<()> {
        Ok(())
    }

    fn inherit(&self, parent: &Path, level: &Path) -> io::Result<()> {
        if *self != Self::Cpuset {
            return Ok(());
        }
        for file in SETS {
            if fs::read_to_string(level.join(file)).is_ok_and(|set| set.trim().is_empty()) {
                fs::write(level.join(file), fs::read_to_string(parent.join(file))?.trim())?;
            }
        }
        Ok(())
    }

    fn settings(&self, wanted: Wanted<'_>) -> Vec<Setting> {
        let limits = wanted.limits;
        match self {
            Self::Memory { swap, .. } => memory(limits, *swap),
            Self::Cpu => cpu(limits),
            Self::Cpuset => v2::sets(limits),
            Self::Pids => {
                limits.tasks.map(|tasks| Setting::new("pids.max", tasks)).into_iter().collect()
            }
            Self::Blkio { weight, .. } => blkio(wanted, *weight),
            Self::Cpuacct | Self::Freezer => Vec::new(),
        }
    }

    fn lifted(&self, setting: &Setting) -> String {
        let device = setting.value.split_once(' ').map_or("", |(device, _)| device);
        match setting.file {
            "pids.max" => "max".to_owned(),
            "cpu.shares" => NORMAL_SHARES.to_string(),
            "cpu.cfs_period_us" => v2::PERIOD_MICROS.to_string(),
            "memory.oom_control" => "0".to_owned(),
            "memory.swappiness" => "60".to_owned(),
            "blkio.weight" => "500".to_owned(),
            "blkio.bfq.weight" => "100".to_owned(),
            file if file.ends_with("_device") => format!("{device} 0"),
            _ => "-1".to_owned(),
        }
    }

    fn enforces(&self) -> Vec<Limit> {
        let when = |there: bool, limit: Limit| there.then_some(limit);
        match *self {
            Self::Memory { swap, swappiness, waits } => [
                Some(Limit::Memory),
                Some(Limit::Reservation),
                when(swap, Limit::Swap),
                when(swappiness, Limit::Swappiness),
                when(waits, Limit::WaitForMemory),
            ]
            .into_iter()
            .flatten()
            .collect(),
            Self::Cpu => vec![Limit::Processor],
            Self::Cpuset => vec![Limit::Processors],
            Self::Pids => vec![Limit::Tasks],
            Self::Blkio { weight, rates } => {
                let found =
                    [when(rates, Limit::BlockRate), when(weight.is_some(), Limit::BlockWeight)];
                found.into_iter().flatten().collect()
            }
            Self::Cpuacct | Self::Freezer => Vec::new(),
        }
    }

    fn measure(&self, directory: &Path, statistics: &mut Statistics) {
        match self {
            Self::Memory { .. } => measure_memory(directory, statistics),
            Self::Cpu | Self::Cpuacct => measure_time(directory, statistics),
            Self::Pids => {
                statistics.tasks = number(directory, "pids.current").unwrap_or_default();
            }
            Self::Blkio { .. } => measure_disks(directory, statistics),
            Self::Cpuset | Self::Freezer => {}
        }
    }

    fn killed(&self, directory: &Path) -> Option<u64> {
        match self {
            Self::Memory { .. } => Table::read(directory, "memory.oom_control")?.get("oom_kill"),
            _ => None,
        }
    }

    fn switch(&self) -> Option<Switch> {
        (*self == Self::Freezer).then_some(Switch {
            file: "freezer.state",
            words: ["FROZEN", "THAWED"],
            told_in: "freezer.state",
            stopped: "FROZEN",
        })
    }
}

fn memory(limits: &Limits, swap: bool) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(bytes) = limits.memory_bytes {
        settings.push(Setting::new("memory.limit_in_bytes", bytes));
        if swap {
            let both = match limits.swap {
                Swap::None => bytes.to_string(),
                Swap::UpTo(both) => both.to_string(),
                Swap::Unlimited => "-1".to_owned(),
            };
            settings.push(Setting::new("memory.memsw.limit_in_bytes", both));
        }
    }
    let reserved = limits.reserved_memory_bytes;
    settings.extend(reserved.map(|bytes| Setting::new("memory.soft_limit_in_bytes", bytes)));
    settings.extend(limits.swappiness.map(|value| Setting::new("memory.swappiness", value)));
    if limits.wait_for_memory {
        settings.push(Setting::new("memory.oom_control", 1));
    }
    settings
}

fn cpu(limits: &Limits) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some((quota, period)) = v2::processor_time(limits) {
        settings.push(Setting::new("cpu.cfs_period_us", period));
        settings.extend(quota.map(|quota| Setting::new("cpu.cfs_quota_us", quota)));
    }
    settings.extend(limits.cpu_weight.map(|weight| {
        let shares = u64::from(weight) * NORMAL_SHARES / v2::NORMAL_WINDOWS_WEIGHT;
        Setting::new("cpu.shares", shares.max(2))
    }));
    settings
}

fn blkio(wanted: Wanted<'_>, weight: Option<Weight>) -> Vec<Setting> {
    let all = weight.zip(wanted.limits.block_weight);
    let mut settings: Vec<_> =
        all.map(|(weight, value)| Setting::new(weight.all, value)).into_iter().collect();
    for rate in wanted.rates {
        let file = match rate.rule {
            DeviceRule::Weight => weight.map(|weight| weight.device),
            DeviceRule::ReadBytes => Some("blkio.throttle.read_bps_device"),
            DeviceRule::WriteBytes => Some("blkio.throttle.write_bps_device"),
            DeviceRule::ReadOperations => Some("blkio.throttle.read_iops_device"),
            DeviceRule::WriteOperations => Some("blkio.throttle.write_iops_device"),
        };
        let value = format!("{} {}", rate.disk, rate.value);
        settings.extend(file.map(|file| Setting::new(file, value)));
    }
    settings
}

fn measure_memory(directory: &Path, statistics: &mut Statistics) {
    let Some(table) = Table::read(directory, "memory.stat") else { return };
    let get = |name: &str| table.get(name).unwrap_or_default();
    statistics.private_bytes = get("total_rss") + get("total_shmem");
    statistics.commit_bytes = statistics.private_bytes + get("total_swap");
    statistics.commit_peak_bytes =
        number(directory, "memory.max_usage_in_bytes").unwrap_or_default();
}

fn measure_time(directory: &Path, statistics: &mut Statistics) {
    /// Nanoseconds in what Windows counts time by.
    const UNIT: u64 = 100;

    let Some(total) = number(directory, "cpuacct.usage") else { return };
    statistics.cpu_100ns = total / UNIT;
    let user = number(directory, "cpuacct.usage_user").unwrap_or_default();
    let kernel = number(directory, "cpuacct.usage_sys").unwrap_or_default();
    (statistics.cpu_user_100ns, statistics.cpu_kernel_100ns) = (user / UNIT, kernel / UNIT);
}

fn measure_disks(directory: &Path, statistics: &mut Statistics) {
    let sums = |file: &str| {
        let Some(table) = Table::read(directory, file) else { return (0, 0) };
        let mut sums = (0, 0);
        for (word, count) in table.disks().filter_map(|line| line.split_once(' ')) {
            let count: u64 = count.trim().parse().unwrap_or_default();
            match word {
                "Read" => sums.0 += count,
                "Write" => sums.1 += count,
                _ => {}
            }
        }
        sums
    };
    (statistics.read_bytes, statistics.write_bytes) =
        sums("blkio.throttle.io_service_bytes_recursive");
    (statistics.reads, statistics.writes) = sums("blkio.throttle.io_serviced_recursive");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_processor_is_half_a_period() {
        let limits = Limits { nano_cpus: Some(500_000_000), ..Limits::default() };
        let settings = Controller::Cpu.settings(Wanted { limits: &limits, rates: &[] });
        assert!(settings.contains(&Setting::new("cpu.cfs_quota_us", 50_000)));
    }

    #[test]
    fn a_limit_of_memory_is_one_of_memory_and_swap() {
        let both = |swap| {
            let limits = Limits { memory_bytes: Some(100), swap, ..Limits::default() };
            memory(&limits, true)[1].value.clone()
        };
        assert_eq!(both(Swap::None), "100");
        assert_eq!(both(Swap::UpTo(150)), "150");
        assert_eq!(both(Swap::Unlimited), "-1");
    }

    #[test]
    fn controllers_are_told_by_their_mounts() {
        let of = |options| Controller::of(Path::new("/nowhere"), options);
        assert_eq!(of("rw,cpuacct"), Some(Controller::Cpuacct));
        assert_eq!(of("rw,cpu,cpuacct"), Some(Controller::Cpu));
        assert_eq!(of("rw,name=systemd"), None);
    }
}
