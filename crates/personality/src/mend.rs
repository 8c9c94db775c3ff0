//! Small changes to the Unix half of Wine's `ntdll`, where a check refuses what programs ask for.
//!
//! Each changes one byte of an instruction, found in its function by what stands there, so that a
//! package built otherwise is refused and not damaged.

use std::path::Path;

use object::read::elf::ElfFile64;
use object::{Endianness, Object as _, ObjectSegment as _, ObjectSymbol as _};

use crate::{PersonalityError, io_error, unexpected};

/// The library, below the root of a personality.
const LIBRARY: &str = "usr/lib/x86_64-linux-gnu/wine/x86_64-unix/ntdll.so";

/// How far into a function its checks reach.
const REACH: usize = 64;

/// A change: in this exported function, the instruction `from` becomes `to`.
struct Mend {
    function: &'static str,
    from: &'static [u8],
    to: &'static [u8],
}

/// Locks of a part of a file with a block for the outcome, which Windows demands and Wine refuses
/// with `STATUS_NOT_IMPLEMENTED` (`dlls/ntdll/unix/file.c`); the compiler of Zig takes such locks.
/// The block is not written to: the outcome is also what the call returns.
const MENDS: [Mend; 2] = [
    // The check is on procedure, block and key: `or key, %r8` becomes `mov key, %r8`, which forgets
    // the block that %r8 held.
    Mend {
        function: "NtLockFile",
        from: &[0x4C, 0x0B, 0x84, 0x24, 0xF8, 0, 0, 0],
        to: &[0x4C, 0x8B, 0x84, 0x24, 0xF8, 0, 0, 0],
    },
    // The check is on block and key: `or %r13, %rbp` becomes `or %ebp, %ebp`, which leaves the
    // block out and looks at the 32 bits that a key has.
    Mend { function: "NtUnlockFile", from: &[0x4C, 0x09, 0xED], to: &[0x40, 0x09, 0xED] },
];

/// Changes the library of the personality tree `root`.
pub(crate) fn mend(root: &Path) -> Result<(), PersonalityError> {
    let path = root.join(LIBRARY);
    let mut bytes = fs_err::read(&path).map_err(io_error("mend a library of Wine"))?;
    for change in &MENDS {
        let attempt = format!("mend {} in {}", change.function, path.display());
        replace(&mut bytes, change).map_err(|reason| unexpected(&attempt, &reason))?;
    }
    fs_err::write(&path, bytes).map_err(io_error("mend a library of Wine"))
}

fn replace(bytes: &mut [u8], change: &Mend) -> Result<(), String> {
    let start = offset(bytes, change.function)?;
    let room = bytes.get(start..start + REACH).ok_or("the file ends there")?;
    let mut found = (0..REACH).filter(|&at| room[at..].starts_with(change.from));
    let (Some(at), None) = (found.next(), found.next()) else {
        return Err("its instructions are not those of the known package".to_owned());
    };
    bytes[start + at..][..change.to.len()].copy_from_slice(change.to);
    Ok(())
}

/// Where in the file an exported function starts.
fn offset(bytes: &[u8], function: &str) -> Result<usize, String> {
    let file = ElfFile64::<Endianness>::parse(bytes)
        .map_err(|error| format!("it is no library: {error}"))?;
    let symbol = file
        .dynamic_symbols()
        .find(|symbol| symbol.name() == Ok(function))
        .ok_or("it has no such function")?;
    let place = file.segments().find_map(|segment| {
        let inside = symbol.address().checked_sub(segment.address())?;
        let (start, size) = segment.file_range();
        (inside < size).then(|| start.checked_add(inside)).flatten()
    });
    place.and_then(|place| usize::try_from(place).ok()).ok_or_else(|| "it is in no segment".into())
}

#[cfg(test)]
mod tests {
    use super::{LIBRARY, MENDS, Mend, mend, offset, replace};

    /// A library of this machine with functions that everybody has.
    const LIBC: &str = "/lib/x86_64-linux-gnu/libc.so.6";

    #[test]
    fn a_change_keeps_the_length_of_its_instruction() {
        assert!(MENDS.iter().all(|change| change.from.len() == change.to.len()));
    }

    #[test]
    fn an_instruction_is_changed_once_and_where_it_stands() {
        let mut bytes = fs_err::read(LIBC).unwrap();
        let start = offset(&bytes, "getppid").unwrap();
        // Linux's number of the call: mov $0x6e, %eax.
        let change =
            Mend { function: "getppid", from: &[0xB8, 0x6E, 0, 0, 0], to: &[0xB8, 0x27, 0, 0, 0] };
        let before = bytes.clone();
        replace(&mut bytes, &change).unwrap();
        let changed: Vec<_> = (0..bytes.len()).filter(|&at| bytes[at] != before[at]).collect();
        assert_eq!(changed.len(), 1);
        assert!((start..start + 64).contains(&changed[0]));
        assert!(replace(&mut bytes, &change).is_err(), "it is not there any more");
    }

    #[test]
    fn another_library_is_refused_and_left_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        let library = root.path().join(LIBRARY);
        fs_err::create_dir_all(library.parent().unwrap()).unwrap();
        for content in [fs_err::read(LIBC).unwrap(), b"\x7FELF".to_vec()] {
            fs_err::write(&library, &content).unwrap();
            assert!(mend(root.path()).is_err());
            assert_eq!(fs_err::read(&library).unwrap(), content);
        }
    }
}
