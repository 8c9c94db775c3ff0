//! What a program needs: the closure of shared libraries and of DLL imports.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use object::{Object, ObjectSymbol as _};

use crate::{PersonalityError, io_error, unexpected};

/// Shared libraries that the ELF file needs, and nothing for other files.
fn elf_needed(bytes: &[u8]) -> Option<BTreeSet<String>> {
    use object::elf::{DT_NEEDED, FileHeader64};
    use object::read::elf::{Dyn as _, FileHeader as _};
    let header = FileHeader64::<object::Endianness>::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    let sections = header.sections(endian, bytes).ok()?;
    let Some((entries, link)) = sections.dynamic(endian, bytes).ok()? else {
        return Some(BTreeSet::new());
    };
    let strings = sections.strings(endian, bytes, link).ok()?;
    let names = entries.iter().filter(|entry| entry.tag32(endian) == Some(DT_NEEDED));
    names
        .map(|entry| Some(String::from_utf8_lossy(entry.string(endian, strings).ok()?).into()))
        .collect()
}

/// Adds to `names` all that the ELF files among them need, looking in `directory`.
pub(crate) fn library_closure(
    start: &[std::path::PathBuf],
    directory: &Path,
    present: &dyn Fn(&str) -> bool,
) -> Result<BTreeSet<String>, PersonalityError> {
    let mut found = BTreeSet::new();
    let mut queue: Vec<std::path::PathBuf> = start.to_vec();
    while let Some(file) = queue.pop() {
        let bytes = fs_err::read(&file).map_err(io_error("read a shared library"))?;
        let attempt = format!("find the libraries that {} needs", file.display());
        let needed = elf_needed(&bytes).ok_or_else(|| unexpected(&attempt, "not an ELF file"))?;
        for name in needed.into_iter().filter(|name| !present(name)) {
            let path = directory.join(&name);
            if !path.exists() {
                return Err(unexpected(&attempt, &format!("{name} is in no package")));
            }
            if found.insert(name) {
                queue.push(path);
            }
        }
    }
    Ok(found)
}

/// Names of the DLLs that a Windows program imports, in lower case; empty for other files.
pub(crate) fn imports(bytes: &[u8]) -> BTreeSet<String> {
    let Ok(file) = object::File::parse(bytes) else { return BTreeSet::new() };
    let Ok(imports) = file.imports() else { return BTreeSet::new() };
    let _ = file.symbols().map(|symbol| symbol.address()).next();
    imports
        .iter()
        .map(|import| String::from_utf8_lossy(import.library()).to_ascii_lowercase())
        .collect()
}

/// Extends `start` by everything imported, as far as `files` has it.
pub(crate) fn import_closure(
    start: impl IntoIterator<Item = String>,
    files: &BTreeMap<String, std::path::PathBuf>,
) -> Result<BTreeSet<String>, PersonalityError> {
    let mut found = BTreeSet::new();
    let mut queue: Vec<String> = start.into_iter().collect();
    while let Some(name) = queue.pop() {
        let Some(path) = files.get(&name) else { continue };
        if found.insert(name) {
            let bytes = fs_err::read(path).map_err(io_error("read a Windows library"))?;
            queue.extend(imports(&bytes));
        }
    }
    Ok(found)
}
