//! Cgroups, second version: one hierarchy, with controllers switched on level by level.

use std::{collections::BTreeMap, io, path::Path};

use fs_err as fs;
use oriel_hcs::{DeviceRule, Limit, Limits, Statistics, Swap};

use super::{
    Hierarchy, Setting, Switch, Wanted,
    place::offers,
    read::{Table, number},
};

/// The scheduler's accounting period, the kernel's default.
pub(crate) const PERIOD_MICROS: u64 = 100_000;

/// Windows' normal processor weight.
pub(super) const NORMAL_WINDOWS_WEIGHT: u64 = 5_000;

/// Linux' normal `cpu.weight` and `io.weight`.
const NORMAL_WEIGHT: u64 = 100;

/// Controllers that silos use.
const CONTROLLERS: [&str; 5] = ["memory", "cpu", "cpuset", "pids", "io"];

/// The unified hierarchy.
#[derive(Debug)]
pub(super) struct Unified {
    controllers: Vec<&'static str>,
    /// Whether swap is accounted.
    swap: bool,
    /// The file of weights of input and output, if there is one.
    weight: Option<&'static str>,
}

impl Unified {
    /// The hierarchy mounted at `root`, with the controllers it has there. On a host that still
    /// mounts them the old way it has none.
    pub(super) fn at(root: &Path) -> Self {
        let text = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        let has = |name: &&str| text.split_whitespace().any(|found| found == *name);
        Self {
            controllers: CONTROLLERS.into_iter().filter(has).collect(),
            swap: offers(root, "memory.swap.max"),
            weight: ["io.bfq.weight", "io.weight"].into_iter().find(|file| offers(root, file)),
        }
    }

    fn io(&self, wanted: Wanted<'_>) -> Vec<Setting> {
        let mut settings = Vec::new();
        if let Some((file, weight)) = self.weight.zip(wanted.limits.block_weight) {
            settings.push(Setting::new(file, scaled(file, u64::from(weight))));
        }
        let mut lines: BTreeMap<String, String> = BTreeMap::new();
        for rate in wanted.rates {
            let key = match rate.rule {
                DeviceRule::Weight => {
                    let line = |file| format!("{} {}", rate.disk, scaled(file, rate.value));
                    settings.extend(self.weight.map(|file| Setting::new(file, line(file))));
                    continue;
                }
                DeviceRule::ReadBytes => "rbps",
                DeviceRule::WriteBytes => "wbps",
                DeviceRule::ReadOperations => "riops",
                DeviceRule::WriteOperations => "wiops",
            };
            let line = lines.entry(rate.disk.to_string()).or_default();
            line.push_str(&format!(" {key}={}", rate.value));
        }
        let lines = lines.into_iter().map(|(disk, rates)| format!("{disk}{rates}"));
        settings.extend(lines.map(|line| Setting::new("io.max", line)));
        settings
    }
}

/// Docker's weight from 10 to 1000 in the scale of a file: bfq has the same, `io.weight` goes from
/// 1 to 10 000.
fn scaled(file: &str, weight: u64) -> u64 {
    if file == "io.weight" { 1 + (weight.saturating_sub(10)) * 9_999 / 990 } else { weight }
}

impl Hierarchy for Unified {
    fn give_on(&self, parent: &Path) -> io::Result<()> {
        let file = parent.join("cgroup.subtree_control");
        let given = fs::read_to_string(&file).unwrap_or_default();
        for name in &self.controllers {
            if !given.split_whitespace().any(|found| found == *name) {
                fs::write(&file, format!("+{name}"))?;
            }
        }
        Ok(())
    }

    fn inherit(&self, _parent: &Path, _level: &Path) -> io::Result<()> {
        Ok(())
    }

    fn settings(&self, wanted: Wanted<'_>) -> Vec<Setting> {
        let limits = wanted.limits;
        let mut settings = memory(limits);
        if let Some((quota, period)) = processor_time(limits) {
            let quota = quota.map_or_else(|| "max".to_owned(), |quota| quota.to_string());
            settings.push(Setting::new("cpu.max", format!("{quota} {period}")));
        }
        if let Some(weight) = limits.cpu_weight {
            let weight = u64::from(weight) * NORMAL_WEIGHT / NORMAL_WINDOWS_WEIGHT;
            settings.push(Setting::new("cpu.weight", weight.max(1)));
        }
        settings.extend(sets(limits));
        settings.extend(limits.tasks.map(|tasks| Setting::new("pids.max", tasks)));
        settings.extend(self.io(wanted));
        // A limit asked for here may be another hierarchy's to enforce.
        settings.retain(|setting| {
            let name = setting.file.split('.').next().unwrap_or_default();
            self.controllers.contains(&name)
        });
        settings
    }

    fn lifted(&self, setting: &Setting) -> String {
        let device = setting.value.split_once(' ').map_or("", |(device, _)| device);
        match setting.file {
            "io.max" => format!("{device} rbps=max wbps=max riops=max wiops=max"),
            "cpu.max" => format!("max {PERIOD_MICROS}"),
            "cpu.weight" => NORMAL_WEIGHT.to_string(),
            "io.weight" | "io.bfq.weight" if device.is_empty() => NORMAL_WEIGHT.to_string(),
            "io.weight" | "io.bfq.weight" => format!("{device} default"),
            "memory.low" => "0".to_owned(),
            // What is empty is as the level above.
            file if file.starts_with("cpuset.") => "\n".to_owned(),
            _ => "max".to_owned(),
        }
    }

    fn enforces(&self) -> Vec<Limit> {
        let mut limits = Vec::new();
        for name in &self.controllers {
            limits.extend_from_slice(match *name {
                "memory" if self.swap => &[Limit::Memory, Limit::Reservation, Limit::Swap],
                "memory" => &[Limit::Memory, Limit::Reservation],
                "cpu" => &[Limit::Processor],
                "cpuset" => &[Limit::Processors],
                "pids" => &[Limit::Tasks],
                _ if self.weight.is_some() => &[Limit::BlockRate, Limit::BlockWeight],
                _ => &[Limit::BlockRate],
            });
        }
        limits
    }

    fn measure(&self, directory: &Path, statistics: &mut Statistics) {
        /// What Windows counts time by, in a microsecond.
        const UNITS: u64 = 10;

        if let Some(table) = Table::read(directory, "cpu.stat") {
            let time = |name: &str| table.get(name).unwrap_or_default() * UNITS;
            statistics.cpu_100ns = time("usage_usec");
            statistics.cpu_user_100ns = time("user_usec");
            statistics.cpu_kernel_100ns = time("system_usec");
        }
        if let Some(table) = Table::read(directory, "memory.stat") {
            let get = |name: &str| table.get(name).unwrap_or_default();
            let swapped = number(directory, "memory.swap.current").unwrap_or_default();
            statistics.private_bytes = get("anon") + get("shmem");
            statistics.commit_bytes = statistics.private_bytes + swapped;
            statistics.commit_peak_bytes = number(directory, "memory.peak").unwrap_or_default();
        }
        if let Some(tasks) = number(directory, "pids.current") {
            statistics.tasks = tasks;
        }
        let Some(table) = Table::read(directory, "io.stat") else { return };
        for pair in table.disks().flat_map(str::split_whitespace) {
            let Some((key, value)) = pair.split_once('=') else { continue };
            let value: u64 = value.parse().unwrap_or_default();
            match key {
                "rbytes" => statistics.read_bytes += value,
                "wbytes" => statistics.write_bytes += value,
                "rios" => statistics.reads += value,
                "wios" => statistics.writes += value,
                _ => {}
            }
        }
    }

    fn killed(&self, directory: &Path) -> Option<u64> {
        Table::read(directory, "memory.events")?.get("oom_kill")
    }

    fn switch(&self) -> Option<Switch> {
        // No controller: every cgroup has it since Linux 5.2.
        Some(Switch {
            file: "cgroup.freeze",
            words: ["1", "0"],
            told_in: "cgroup.events",
            stopped: "frozen 1",
        })
    }
}

fn memory(limits: &Limits) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(bytes) = limits.memory_bytes {
        settings.push(Setting::new("memory.max", bytes));
        // Here swap is counted alone.
        settings.push(match limits.swap {
            Swap::None => Setting::optional("memory.swap.max", 0),
            Swap::UpTo(both) => Setting::optional("memory.swap.max", both.saturating_sub(bytes)),
            Swap::Unlimited => Setting::optional("memory.swap.max", "max"),
        });
    }
    settings.extend(limits.reserved_memory_bytes.map(|low| Setting::new("memory.low", low)));
    settings
}

/// Processors and memory nodes; the files are called the same in both versions.
pub(super) fn sets(limits: &Limits) -> Vec<Setting> {
    [("cpuset.cpus", &limits.processors), ("cpuset.mems", &limits.memory_nodes)]
        .into_iter()
        .filter(|(_, set)| !set.is_empty())
        .map(|(file, set)| Setting::new(file, set))
        .collect()
}

/// Microseconds of processor time and the period they are for, if there is anything to say;
/// `None` is no limit.
pub(super) fn processor_time(limits: &Limits) -> Option<(Option<u64>, u64)> {
    let period = limits.period_micros.unwrap_or(PERIOD_MICROS);
    match (limits.nano_cpus, limits.quota_micros) {
        (Some(nanos), _) => Some((Some(quota_micros(nanos)), PERIOD_MICROS)),
        (None, Some(quota)) => Some((Some(quota), period)),
        (None, None) => limits.period_micros.map(|period| (None, period)),
    }
}

/// Microseconds of processor time per period; the kernel refuses less than a thousand.
fn quota_micros(nano_cpus: u64) -> u64 {
    const NANOS: u64 = 1_000_000_000;
    (nano_cpus / (NANOS / PERIOD_MICROS)).max(1_000)
}
