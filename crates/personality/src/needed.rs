//! What a program needs: the closure of shared libraries and of DLL imports.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

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

/// Names of the DLLs that a 64-bit Windows program imports, in lower case; empty for other files.
pub(crate) fn imports(bytes: &[u8]) -> BTreeSet<String> {
    import_names(bytes).unwrap_or_default()
}

/// Reads the import table itself: a DLL used by ordinals only counts as well.
fn import_names(bytes: &[u8]) -> object::Result<BTreeSet<String>> {
    let file = object::read::pe::PeFile64::parse(bytes)?;
    let mut names = BTreeSet::new();
    let Some(table) = file.import_table()? else { return Ok(names) };
    let mut descriptors = table.descriptors()?;
    while let Some(descriptor) = descriptors.next()? {
        let name = table.name(descriptor.name.get(object::LittleEndian))?;
        names.insert(String::from_utf8_lossy(name).to_ascii_lowercase());
    }
    Ok(names)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{import_closure, imports};

    /// A 64-bit program of one section that imports `names`, built by hand from the PE format.
    fn program(names: &[&str]) -> Vec<u8> {
        const BASE: usize = 0x200;
        let mut bytes = vec![0; BASE];
        let mut put = |at: usize, data: &[u8]| bytes[at..at + data.len()].copy_from_slice(data);
        put(0, b"MZ");
        put(0x3c, &0x40_u32.to_le_bytes());
        put(0x40, b"PE\0\0\x64\x86\x01\x00");
        put(0x40 + 20, &240_u16.to_le_bytes());
        put(0x58, &0x20b_u16.to_le_bytes());
        put(0x58 + 32, &0x1000_u32.to_le_bytes());
        put(0x58 + 36, &0x200_u32.to_le_bytes());
        put(0x58 + 108, &16_u32.to_le_bytes());
        put(0x58 + 120, &0x1000_u32.to_le_bytes());
        put(0x58 + 124, &0x200_u32.to_le_bytes());
        let section = 0x58 + 240;
        put(section, b".idata");
        for (at, number) in [(8, 0x400_u32), (12, 0x1000), (16, 0x400), (20, 0x200)] {
            put(section + at, &number.to_le_bytes());
        }
        bytes.resize(BASE + 0x400, 0);
        for (index, name) in names.iter().enumerate() {
            let text = 0x200 + index * 0x20;
            let address = u32::try_from(0x1000 + text).unwrap().to_le_bytes();
            bytes[BASE + text..BASE + text + name.len()].copy_from_slice(name.as_bytes());
            // An import by ordinal 1, so that no name table is needed.
            let thunk = 0x180 + index * 0x10;
            let entry = 0x8000_0000_0000_0001_u64.to_le_bytes();
            bytes[BASE + thunk..BASE + thunk + 8].copy_from_slice(&entry);
            let table = u32::try_from(0x1000 + thunk).unwrap().to_le_bytes();
            for (at, number) in [(0, table), (12, address), (16, table)] {
                let at = BASE + index * 20 + at;
                bytes[at..at + 4].copy_from_slice(&number);
            }
        }
        bytes
    }

    #[test]
    fn imports_are_read_in_lower_case() {
        let found: Vec<_> = imports(&program(&["KERNEL32.dll", "b.dll"])).into_iter().collect();
        assert_eq!(found, ["b.dll", "kernel32.dll"]);
        assert!(imports(b"MZ, but no program").is_empty());
    }

    #[test]
    fn the_closure_follows_imports_and_ends_at_cycles() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = BTreeMap::new();
        for (name, needs) in [
            ("a.exe", vec!["b.dll"]),
            ("b.dll", vec!["C.DLL", "gone.dll"]),
            ("c.dll", vec!["b.dll"]),
            ("d.dll", vec![]),
        ] {
            let path = directory.path().join(name);
            fs_err::write(&path, program(&needs)).unwrap();
            files.insert(name.to_owned(), path);
        }
        let found: Vec<_> =
            import_closure(["a.exe".to_owned()], &files).unwrap().into_iter().collect();
        assert_eq!(found, ["a.exe", "b.dll", "c.dll"]);
    }
}
