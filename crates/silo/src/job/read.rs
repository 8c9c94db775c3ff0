//! Reading what a silo has used.

use std::path::Path;

use fs_err as fs;
use oriel_hcs::{Statistics, Traffic};

use super::{Place, Roots};

/// What the silo at `place` uses and has used; `pid` is its pid 1. What cannot be read is 0: the
/// silo may end at any moment. Blocks, for a moment.
pub(crate) fn measure(roots: &Roots, place: &Place, pid: u32) -> Statistics {
    let mut statistics = Statistics::default();
    for (directory, hierarchy) in roots.each(place) {
        hierarchy.measure(&directory, &mut statistics);
    }
    statistics.commit_peak_bytes = statistics.commit_peak_bytes.max(statistics.commit_bytes);
    let adapters = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    statistics.adapters = adapters.lines().filter_map(adapter).collect();
    statistics
}

impl Roots {
    /// How many processes of the silo at `place` were killed at its limit of memory. Blocks, for a
    /// moment.
    pub(crate) fn killed(&self, place: &Place) -> u64 {
        self.each(place).find_map(|(directory, tree)| tree.killed(&directory)).unwrap_or_default()
    }
}

/// A line of /proc/net/dev. The loopback link is no adapter.
fn adapter(line: &str) -> Option<(String, Traffic)> {
    let (name, counts) = line.split_once(':')?;
    let name = name.trim();
    let counts: Vec<u64> = counts.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let [bytes, packets, errors, dropped, _, _, _, _, sent, sent_packets, broken, lost, ..] =
        counts[..]
    else {
        return None;
    };
    (name != "lo").then(|| {
        let traffic = Traffic {
            received_bytes: bytes,
            received_packets: packets,
            received_errors: errors,
            received_dropped: dropped,
            sent_bytes: sent,
            sent_packets,
            sent_errors: broken,
            sent_dropped: lost,
        };
        (name.to_owned(), traffic)
    })
}

/// The number in a file.
pub(super) fn number(directory: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(directory.join(file)).ok()?.trim().parse().ok()
}

/// A file of names with a number each.
pub(super) struct Table(String);

impl Table {
    pub(super) fn read(directory: &Path, file: &str) -> Option<Self> {
        fs::read_to_string(directory.join(file)).ok().map(Self)
    }

    /// The number of a name.
    pub(super) fn get(&self, name: &str) -> Option<u64> {
        self.0.lines().find_map(|line| {
            let (key, value) = line.split_once(' ')?;
            (key == name).then(|| value.trim().parse().ok())?
        })
    }

    /// The lines about disks, each with the disk's number taken off. What is done to a loop device
    /// (major 7) is done again to the disk below it, and counted there.
    pub(super) fn disks(&self) -> impl Iterator<Item = &str> {
        self.0.lines().filter_map(|line| {
            let (disk, rest) = line.split_once(' ')?;
            let (major, _) = disk.split_once(':')?;
            (major != "7").then_some(rest)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_are_read_and_loopback_is_none() {
        let line = "  eth0: 100 2 3 4 0 0 0 0 500 6 7 8 0 0 0 0";
        let (name, traffic) = adapter(line).unwrap();
        assert_eq!((name.as_str(), traffic.received_bytes, traffic.sent_bytes), ("eth0", 100, 500));
        assert_eq!((traffic.received_dropped, traffic.sent_dropped), (4, 8));
        assert_eq!(adapter(&line.replace("eth0", "lo")), None);
        assert_eq!(adapter(" face |bytes    packets errs"), None);
    }

    #[test]
    fn what_a_loop_device_does_is_counted_once() {
        let table = Table("254:0 Read 10\n7:1 Read 10\nTotal 20\n".to_owned());
        assert_eq!(table.disks().collect::<Vec<_>>(), ["Read 10"]);
    }
}
