//! Windows attributes on Linux files.
//!
//! What Wine shows it reads from `user.DOSATTRIB` and the write bits; the rest is kept for the
//! next export in `trusted.oriel.*`, which overlayfs copies up with the file and which nobody in a
//! container can read or forge.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use oriel_wclayer::{Attributes, Entry, FileTime, Kind, security};

use crate::disk;

/// Wine's attribute for hidden and system files (`dlls/ntdll/unix/file.c`).
const DOS_ATTRIBUTES: &str = "user.DOSATTRIB";
const ALL_ATTRIBUTES: &str = "trusted.oriel.attributes";
const SECURITY: &str = "trusted.oriel.sd";
const CREATED: &str = "trusted.oriel.created";
/// Marks a directory that hides the directories below it (overlayfs).
pub(crate) const OPAQUE: &str = "trusted.overlay.opaque";

/// Set once it was said that attributes are lost.
static WARNED: AtomicBool = AtomicBool::new(false);

/// Puts the attributes of `entry` on `file`.
pub(crate) fn store(file: impl AsFd, entry: &Entry) -> io::Result<()> {
    let file = file.as_fd();
    let directory = entry.kind == Kind::Directory;
    let attributes = entry.attributes;
    let shown = attributes.0 & (Attributes::HIDDEN.0 | Attributes::SYSTEM.0);
    if shown != 0 {
        keep(file, DOS_ATTRIBUTES, format!("0x{shown:x}").as_bytes())?;
    }
    if attributes != usual(directory) {
        keep(file, ALL_ATTRIBUTES, format!("0x{:x}", attributes.0).as_bytes())?;
    }
    if let Some(descriptor) = entry.security.as_ref().filter(|sd| **sd != default_sd(directory)) {
        keep(file, SECURITY, descriptor)?;
    }
    if entry.created != entry.modified {
        keep(file, CREATED, entry.created.0.to_string().as_bytes())?;
    }
    if attributes.contains(Attributes::READ_ONLY) && !directory {
        disk::set_mode(file, 0o444)?;
    }
    Ok(())
}

/// Fills in what [`store`] or Wine put on `file`.
pub(crate) fn load(file: impl AsFd, mode: u32, entry: &mut Entry) {
    let file = file.as_fd();
    let directory = entry.kind == Kind::Directory;
    let stored = disk::xattr(file, ALL_ATTRIBUTES).and_then(|text| parse_hex(&text));
    let shown = disk::xattr(file, DOS_ATTRIBUTES).and_then(|text| parse_hex(&text)).unwrap_or(0);
    let visible = Attributes::HIDDEN.0 | Attributes::SYSTEM.0 | Attributes::READ_ONLY.0;
    let mut bits = stored.unwrap_or(usual(directory).0) & !visible | (shown & visible);
    if mode & 0o222 == 0 && !directory {
        bits |= Attributes::READ_ONLY.0;
    }
    entry.attributes = Attributes(bits);
    entry.security = Some(disk::xattr(file, SECURITY).unwrap_or_else(|| default_sd(directory)));
    let created = disk::xattr(file, CREATED);
    if let Some(time) = created.and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok()) {
        entry.created = FileTime(time);
    }
}

/// Attributes that need no record.
fn usual(directory: bool) -> Attributes {
    if directory { Attributes::DIRECTORY } else { Attributes::ARCHIVE }
}

fn default_sd(directory: bool) -> Vec<u8> {
    if directory { security::default_directory() } else { security::default_file() }
}

fn parse_hex(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text).ok()?.trim_end_matches('\0');
    u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// Sets an attribute, or says once that this host keeps none.
pub(crate) fn keep(file: impl AsFd, name: &str, value: &[u8]) -> io::Result<()> {
    if !disk::set_xattr(file, name, value)? && !WARNED.swap(true, Ordering::Relaxed) {
        tracing::warn!(attribute = name, "the host keeps no such extended attributes");
    }
    Ok(())
}
