//! What a daemon and its containers left on the host.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

/// How long the kernel may take to let go of the mounts of a namespace whose last process is gone.
const SETTLING: Duration = Duration::from_secs(5);

/// Things that should be gone after the last container was removed and the daemon ended.
#[derive(Debug, Default)]
pub struct Leftovers(Vec<String>);

impl Leftovers {
    /// Looks for processes, mounts, loop devices, network namespaces and sandboxes that belong to
    /// the daemon with these two directories.
    #[must_use]
    pub fn of(exec_root: &Path, data_root: &Path, bridge: &str) -> Self {
        let end = Instant::now() + SETTLING;
        while !Self::disks(data_root).is_empty() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut found = Self::default();
        found.processes(exec_root);
        found.mounts(exec_root, data_root);
        found.sandboxes(data_root);
        found.devices(data_root);
        found.links(bridge);
        found
    }

    /// One line a thing; empty when the host is clean.
    #[must_use]
    pub fn list(&self) -> &[String] {
        &self.0
    }

    fn processes(&mut self, exec_root: &Path) {
        let root = exec_root.to_string_lossy().into_owned();
        let Ok(entries) = fs_err::read_dir("/proc") else { return };
        for entry in entries.flatten() {
            let command = fs_err::read(entry.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            if command.contains(&root) {
                self.0.push(format!("process {}: {command}", entry.file_name().to_string_lossy()));
            }
        }
    }

    fn mounts(&mut self, exec_root: &Path, data_root: &Path) {
        let table = fs_err::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        for root in [exec_root, data_root] {
            let below = format!("{}/", root.display());
            let mounts = table.lines().filter(|line| line.contains(&below));
            self.0.extend(mounts.map(|line| format!("mount {line}")));
        }
    }

    fn sandboxes(&mut self, data_root: &Path) {
        let Ok(entries) = fs_err::read_dir(data_root.join("windowsfilter")) else { return };
        for entry in entries.flatten() {
            if ["upper", "scratch.img"].iter().any(|part| entry.path().join(part).exists()) {
                self.0.push(format!("sandbox {}", entry.path().display()));
            }
        }
    }

    /// Mounts in this mount namespace, and loop devices in any, of sandboxes that have a size.
    #[must_use]
    pub fn disks(data_root: &Path) -> Vec<String> {
        let mut found = Self::default();
        found.mounts(data_root, data_root);
        found.devices(data_root);
        found.0
    }

    fn devices(&mut self, data_root: &Path) {
        let Ok(data_root) = fs_err::canonicalize(data_root) else { return };
        let Ok(entries) = fs_err::read_dir("/sys/block") else { return };
        for entry in entries.flatten() {
            let file = entry.path().join("loop/backing_file");
            let file = fs_err::read_to_string(file).unwrap_or_default();
            if Path::new(file.trim_end()).starts_with(&data_root) {
                let name = entry.file_name().to_string_lossy().into_owned();
                self.0.push(format!("device {name} of {}", file.trim_end()));
            }
        }
    }

    /// Links and rules are marked with the instance's name, which is that of its first bridge.
    fn links(&mut self, bridge: &str) {
        let mark = format!("oriel:{bridge}:");
        let entries = fs_err::read_dir("/sys/class/net").into_iter().flatten().flatten();
        for entry in entries {
            let alias = fs_err::read_to_string(entry.path().join("ifalias")).unwrap_or_default();
            if alias.starts_with(&mark) {
                self.0.push(format!("link {}", entry.file_name().to_string_lossy()));
            }
        }
        let tables = Command::new("nft").args(["list", "tables"]).output();
        let tables = tables.map(|output| output.stdout).unwrap_or_default();
        let own = format!("table ip oriel-{bridge}");
        if String::from_utf8_lossy(&tables).lines().any(|table| table == own) {
            self.0.push(own);
        }
    }
}
