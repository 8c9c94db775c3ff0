//! Block devices that limits are about.

use std::{
    fmt,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
};

use fs_err as fs;
use oriel_hcs::{DeviceRule, Limits};
use rustix::fs::{major, minor};

use crate::error::{Attempt, SiloError};

/// A whole disk, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Disk(u32, u32);

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0, self.1)
    }
}

impl Disk {
    /// The disk with this number.
    #[cfg(test)]
    pub(super) fn of(major: u32, minor: u32) -> Self {
        Self(major, minor)
    }

    /// The disk that a file is on; `None` when its file system has none of its own, as btrfs.
    pub(crate) fn below(path: &Path) -> Option<Self> {
        let device = fs::metadata(path).ok()?.dev();
        Self::whole(Self(major(device), minor(device)))
    }

    /// The disk that a partition is part of; input and output are limited on disks only.
    fn whole(device: Self) -> Option<Self> {
        let known = fs::canonicalize(format!("/sys/dev/block/{device}")).ok()?;
        if !known.join("partition").exists() {
            return Some(device);
        }
        let (major, minor) = fs::read_to_string(known.parent()?.join("dev"))
            .ok()?
            .trim()
            .split_once(':')
            .map(|(major, minor)| (major.parse(), minor.parse()))?;
        Some(Self(major.ok()?, minor.ok()?))
    }
}

/// A limit on a disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) disk: Disk,
    pub(super) rule: DeviceRule,
    pub(super) value: u64,
}

/// Limits by device, found. `drive` is the disk that drive C: is on.
pub(super) fn rates(limits: &Limits, drive: Option<Disk>) -> Result<Vec<Rate>, SiloError> {
    let mut rates = Vec::new();
    for device in &limits.devices {
        let path = device.path.display();
        let metadata = fs::metadata(&device.path).attempt(|| format!("find the device {path}"))?;
        if !metadata.file_type().is_block_device() {
            let detail = format!("{path} is not a block device");
            return Err(SiloError::Document { detail });
        }
        let number = metadata.rdev();
        let disk = Disk(major(number), minor(number));
        rates.push(Rate { disk, rule: device.rule, value: device.value });
    }
    for (limit, rules) in [
        (limits.drive_operations, [DeviceRule::ReadOperations, DeviceRule::WriteOperations]),
        (limits.drive_bytes, [DeviceRule::ReadBytes, DeviceRule::WriteBytes]),
    ] {
        let Some(value) = limit else { continue };
        let Some(disk) = drive else {
            let detail = "drive C: is on no disk of its own, so its rate cannot be limited";
            return Err(SiloError::Document { detail: detail.to_owned() });
        };
        rates.extend(rules.map(|rule| Rate { disk, rule, value }));
    }
    Ok(rates)
}
