//! Cgroups, first version: one hierarchy per controller.

use std::{io, path::Path};

use oriel_hcs::Limits;

use super::{Hierarchy, Limit, Switch, v2};

/// A controller that silos use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Controller {
    Memory,
    Cpu,
    Pids,
    /// Limits nothing; lets a silo be stopped as a whole.
    Freezer,
}

impl Controller {
    /// The controller of a mount with these options.
    pub(super) fn from_options(options: &str) -> Option<Self> {
        options.split(',').find_map(|option| match option {
            "memory" => Some(Self::Memory),
            "cpu" => Some(Self::Cpu),
            "pids" => Some(Self::Pids),
            "freezer" => Some(Self::Freezer),
            _ => None,
        })
    }
}

/// Windows' normal weight of 5 000 is this kernel's normal of 1 024 shares.
const NORMAL_SHARES: u64 = 1_024;

impl Hierarchy for Controller {
    fn prepare(&self, _root: &Path) -> io::Result<()> {
        Ok(())
    }

    fn settings(&self, limits: &Limits) -> Vec<(&'static str, String)> {
        let mut settings = Vec::new();
        match self {
            Self::Memory => {
                settings.extend(
                    limits.memory_bytes.map(|bytes| ("memory.limit_in_bytes", bytes.to_string())),
                );
            }
            Self::Cpu => {
                if let Some(nanos) = limits.nano_cpus {
                    settings.push(("cpu.cfs_period_us", v2::PERIOD_MICROS.to_string()));
                    settings.push(("cpu.cfs_quota_us", v2::quota_micros(nanos).to_string()));
                }
                settings.extend(limits.cpu_weight.map(|weight| {
                    let shares = u64::from(weight) * NORMAL_SHARES / v2::NORMAL_WINDOWS_WEIGHT;
                    ("cpu.shares", shares.max(2).to_string())
                }));
            }
            Self::Pids => {
                settings.extend(limits.tasks.map(|tasks| ("pids.max", tasks.to_string())));
            }
            Self::Freezer => {}
        }
        settings
    }

    fn enforces(&self) -> Vec<Limit> {
        match self {
            Self::Memory => vec![Limit::Memory],
            Self::Cpu => vec![Limit::Processor],
            Self::Pids => vec![Limit::Tasks],
            Self::Freezer => Vec::new(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_processor_is_half_a_period() {
        let limits = Limits { nano_cpus: Some(500_000_000), ..Limits::default() };
        let settings = Controller::Cpu.settings(&limits);
        assert!(settings.contains(&("cpu.cfs_quota_us", "50000".to_owned())));
    }

    #[test]
    fn accounting_without_the_scheduler_is_no_controller() {
        assert_eq!(Controller::from_options("rw,cpuacct"), None);
        assert_eq!(Controller::from_options("rw,cpu,cpuacct"), Some(Controller::Cpu));
    }
}
