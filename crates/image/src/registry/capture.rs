//! What a container has in its registry, and what of it is new.
//!
//! A container may put anything in the place of its registry files. They are opened without
//! following links, only as regular files, and only so much of them is read.

use std::io::Read as _;
use std::path::Path;

use oriel_hive::wine;

use super::noise::{drop_made, drop_noise};
use super::settings::Settings;
use super::{FILES, RegistryChange, RegistryTrees};
use crate::ImageError;
use crate::disk::Dir;
use crate::error::Attempt;

/// Longest registry file that is read. That of a whole Windows Server has some 150 MB.
const MAX_TEXT: u64 = 256 << 20;

/// Reads the three registry files of a directory.
pub(super) fn read(directory: &Path) -> Result<RegistryTrees, ImageError> {
    let dir = Dir::open(directory).attempt(|| format!("open {}", directory.display()))?;
    let parse = |file: &str| {
        let attempt = || format!("read {}", directory.join(file).display());
        wine::parse(&text(&dir, file).attempt(attempt)?).attempt(attempt)
    };
    let [machine, default, user] = FILES;
    Ok(RegistryTrees { machine: parse(machine)?, default: parse(default)?, user: parse(user)? })
}

/// Reads one file.
fn text(dir: &Dir, file: &str) -> std::io::Result<Vec<u8>> {
    let file = dir.read(file)?;
    let size = file.metadata()?.len();
    let mut text = Vec::new();
    // It may grow while it is read.
    if size <= MAX_TEXT {
        file.take(MAX_TEXT + 1).read_to_end(&mut text)?;
    }
    if size.max(text.len() as u64) > MAX_TEXT {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}

/// What a container starts with that gets the registry in `rendered` with `settings`.
pub(super) fn before(rendered: &Path, settings: &Settings) -> Result<RegistryTrees, ImageError> {
    let zone = settings.zone(rendered)?;
    let mut trees = read(rendered)?;
    settings.apply(zone.as_ref(), &mut trees, None)?;
    Ok(trees)
}

/// What the container of the directory `own` changed, which got the registry in `rendered` with
/// `settings`; without what a mere boot changes.
pub(super) fn changes(
    rendered: &Path,
    settings: &Settings,
    own: &Path,
) -> Result<RegistryChange, ImageError> {
    let zone = settings.zone(rendered)?;
    let [old, new] = [rendered, own]
        .map(|directory| Dir::open(directory).attempt(|| format!("open {}", directory.display())));
    let (old, new) = (old?, new?);
    let parse = |file: &str| {
        let attempt = || format!("compare {}", own.join(file).display());
        let (old, new) = (text(&old, file).attempt(attempt)?, text(&new, file).attempt(attempt)?);
        wine::parse_changed(&old, &new).attempt(attempt)
    };
    let [machine, default, user] = FILES.map(parse);
    let (machine, default, user) = (machine?, default?, user?);
    let mut old = RegistryTrees { machine: machine.0, default: default.0, user: user.0 };
    let new = RegistryTrees { machine: machine.1, default: default.1, user: user.1 };
    settings.apply(zone.as_ref(), &mut old, Some(&new))?;
    Ok(compare(old, new))
}

/// What makes `new` of `old`, without what a mere boot changes.
fn compare(mut old: RegistryTrees, mut new: RegistryTrees) -> RegistryChange {
    drop_noise(&mut old);
    drop_noise(&mut new);
    drop_made(&old.machine, &mut new.machine);
    RegistryChange {
        machine: oriel_hive::diff(&old.machine, &new.machine),
        default: oriel_hive::diff(&old.default, &new.default),
        user: oriel_hive::diff(&old.user, &new.user),
    }
}
