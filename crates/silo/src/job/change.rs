//! Writing limits: for a silo to be, and for one that runs.

use std::path::Path;

use fs_err as fs;
use oriel_hcs::{Limit, Limits};

use super::{Disk, Place, Roots, Setting, Wanted, block, controller};
use crate::error::{Attempt, SiloError};

/// Refuses limits that nothing here enforces.
pub(super) fn need(roots: &Roots, limits: &Limits) -> Result<(), SiloError> {
    let mut enforced = roots.enforces();
    // The device is looked for when there is one to be limited.
    if enforced.contains(&Limit::BlockRate) {
        enforced.push(Limit::DriveRate);
    }
    let missing = |limit: &Limit| limit.asked(limits) && !enforced.contains(limit);
    match Limit::ALL.into_iter().find(missing) {
        None => Ok(()),
        Some(limit) => {
            let detail = format!("a limit needs the cgroup controller {}", controller(limit));
            Err(SiloError::Document { detail })
        }
    }
}

/// Writes settings. A limit of memory above that of memory and swap is refused until the latter
/// is raised, and the other way round, so what is refused is tried once more after all others.
pub(super) fn write_all(directory: &Path, settings: &[Setting]) -> Result<(), SiloError> {
    let refused: Vec<_> =
        settings.iter().filter(|setting| write(directory, setting).is_err()).collect();
    refused.into_iter().try_for_each(|setting| write(directory, setting))
}

fn write(directory: &Path, setting: &Setting) -> Result<(), SiloError> {
    let file = directory.join(setting.file);
    if setting.optional && !file.exists() {
        return Ok(());
    }
    fs::write(&file, &setting.value)
        .attempt(|| format!("set {} to {}", file.display(), setting.value))
}

/// Puts limits in the place of others. On error those before are in force again, as far as the
/// kernel allows. Blocks.
pub(crate) fn change(
    roots: &Roots,
    place: &Place,
    disk: Option<Disk>,
    (before, limits): (&Limits, &Limits),
) -> Result<(), SiloError> {
    need(roots, limits)?;
    let done = apply(roots, place, disk, (before, limits));
    if done.is_err() {
        // Whatever of this fails was not changed either.
        let _ = apply(roots, place, disk, (limits, before));
    }
    done
}

fn apply(
    roots: &Roots,
    place: &Place,
    disk: Option<Disk>,
    (from, to): (&Limits, &Limits),
) -> Result<(), SiloError> {
    let (old, new) = (block::rates(from, disk)?, block::rates(to, disk)?);
    for (directory, hierarchy) in roots.each(place) {
        let old = hierarchy.settings(Wanted { limits: from, rates: &old });
        let new = hierarchy.settings(Wanted { limits: to, rates: &new });
        let gone = old.iter().filter(|was| !new.iter().any(|is| target(is) == target(was)));
        let lifted = gone.map(|was| Setting { value: hierarchy.lifted(was), ..was.clone() });
        let fresh = new.iter().filter(|is| !old.contains(is)).cloned();
        write_all(&directory, &lifted.chain(fresh).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// What a setting is about: a file, and in those with a line for each device also that.
fn target(setting: &Setting) -> (&'static str, Option<&str>) {
    let device = setting.value.split_once(' ').map(|(device, _)| device);
    (setting.file, device.filter(|device| device.contains(':')))
}
