//! Cgroups, second version: one hierarchy, with controllers switched on level by level.

use std::{io, path::Path};

use fs_err as fs;
use oriel_hcs::Limits;

use super::{Hierarchy, Limit, PARENT, Switch};

/// The scheduler's accounting period, the kernel's default.
pub(super) const PERIOD_MICROS: u64 = 100_000;

/// Windows' normal processor weight.
pub(super) const NORMAL_WINDOWS_WEIGHT: u64 = 5_000;

/// Linux' normal `cpu.weight`.
const NORMAL_WEIGHT: u64 = 100;

/// The unified hierarchy.
#[derive(Debug)]
pub(super) struct Unified {
    controllers: Vec<Limit>,
}

impl Unified {
    /// The hierarchy mounted at `root`, with the controllers it has there. On a host that still
    /// mounts them the old way it has none.
    pub(super) fn at(root: &str) -> Self {
        let text = fs::read_to_string(Path::new(root).join("cgroup.controllers"));
        let text = text.unwrap_or_default();
        let has = |limit: &Limit| text.split_whitespace().any(|name| name == limit.controller());
        Self { controllers: Limit::ALL.into_iter().filter(has).collect() }
    }
}

impl Hierarchy for Unified {
    fn prepare(&self, root: &Path) -> io::Result<()> {
        let parent = root.join(PARENT);
        fs::create_dir_all(&parent)?;
        for limit in &self.controllers {
            let order = format!("+{}", limit.controller());
            for level in [root, parent.as_path()] {
                fs::write(level.join("cgroup.subtree_control"), &order)?;
            }
        }
        Ok(())
    }

    fn settings(&self, limits: &Limits) -> Vec<(&'static str, String)> {
        let mut settings = Vec::new();
        if let Some(bytes) = limits.memory_bytes {
            settings.push(("memory.max", bytes.to_string()));
        }
        if let Some(nanos) = limits.nano_cpus {
            settings.push(("cpu.max", format!("{} {PERIOD_MICROS}", quota_micros(nanos))));
        }
        if let Some(weight) = limits.cpu_weight {
            let weight = u64::from(weight) * NORMAL_WEIGHT / NORMAL_WINDOWS_WEIGHT;
            settings.push(("cpu.weight", weight.max(1).to_string()));
        }
        if let Some(tasks) = limits.tasks {
            settings.push(("pids.max", tasks.to_string()));
        }
        // A limit asked for here may be another hierarchy's to enforce.
        settings.retain(|(file, _)| {
            self.controllers.iter().any(|limit| file.starts_with(limit.controller()))
        });
        settings
    }

    fn enforces(&self) -> Vec<Limit> {
        self.controllers.clone()
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

/// Microseconds of processor time per period; the kernel refuses less than a thousand.
pub(super) fn quota_micros(nano_cpus: u64) -> u64 {
    const NANOS: u64 = 1_000_000_000;
    (nano_cpus / (NANOS / PERIOD_MICROS)).max(1_000)
}
