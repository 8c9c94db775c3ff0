//! Stage 3: Wine's Windows files, without debug sections and with the zlib that Debian splits off.

use std::path::{Path, PathBuf};

use crate::run::STRIP;
use crate::{PersonalityError, io_error, shape, unexpected};

/// Where a file says that it is Wine's (`dlls/ntdll/unix/loader.c`, `is_builtin`).
const SIGNATURE_OFFSET: usize = 0x40;
const SIGNATURE: &[u8; 16] = b"Wine builtin DLL";

/// How sections lie in Wine's files: on page boundaries, so that they are mapped and shared and not
/// copied into every process (`map_file_into_view` in `dlls/ntdll/unix/virtual.c`).
const FILE_ALIGNMENT: u32 = 0x1000;

/// The one file that MinGW made, with sections packed closer.
const PACKED: &str = "zlib1.dll";

/// A set of Windows files: directory in the result, in the Debian tree, and MinGW's name.
const SETS: [(&str, &str, &str); 2] = [
    ("x86_64-windows", "usr/lib/x86_64-linux-gnu/wine/x86_64-windows", "x86_64-w64-mingw32"),
    ("i386-windows", "usr/lib/i386-linux-gnu/wine/i386-windows", "i686-w64-mingw32"),
];

/// Copies both sets from `debian` to `target` and strips them.
pub(crate) fn strip(
    debian: &Path,
    target: &Path,
    note: &mut dyn FnMut(&str, u64, u64),
) -> Result<(), PersonalityError> {
    let mut files = Vec::new();
    for (name, source, mingw) in SETS {
        let directory = target.join(name);
        fs_err::create_dir_all(&directory).map_err(io_error("copy Windows files"))?;
        files.extend(copy_set(&debian.join(source), &directory)?);
        let zlib = directory.join("zlib1.dll");
        let original = fs_err::read(debian.join("usr").join(mingw).join("lib/zlib1.dll"))
            .map_err(io_error("copy zlib1.dll"))?;
        fs_err::write(&zlib, signed(original)?).map_err(io_error("copy zlib1.dll"))?;
        files.push(zlib);
    }
    let total = u64::try_from(files.len()).unwrap_or(u64::MAX);
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut done = 0;
    for batch in files.chunks(workers) {
        note("stripping debug sections", done, total);
        strip_each(batch)?;
        done += u64::try_from(batch.len()).unwrap_or(0);
    }
    for (name, ..) in SETS {
        shape::shape(&target.join(name))?;
    }
    files.iter().try_for_each(|file| check(file))
}

/// Strips each file by a run of its own, all at once. In one run for several files binutils keeps
/// the section alignment of the first file only and packs the others.
fn strip_each(files: &[PathBuf]) -> Result<(), PersonalityError> {
    std::thread::scope(|scope| {
        let runs: Vec<_> = files
            .iter()
            .map(|path| {
                scope.spawn(move || {
                    let file = path.display().to_string();
                    let arguments = ["--strip-debug", "--preserve-dates", &file].map(str::to_owned);
                    STRIP.run("strip a Windows file", &arguments, &mut |_| {})
                })
            })
            .collect();
        runs.into_iter()
            .try_for_each(|run| run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn copy_set(from: &Path, to: &Path) -> Result<Vec<PathBuf>, PersonalityError> {
    let mut files = Vec::new();
    for entry in fs_err::read_dir(from).map_err(io_error("copy Windows files"))?.flatten() {
        let target = to.join(entry.file_name());
        fs_err::copy(entry.path(), &target).map_err(io_error("copy a Windows file"))?;
        files.push(target);
    }
    files.sort();
    Ok(files)
}

/// Marks a DLL as Wine's own, as the maintainer script of `libwine` does: 16 bytes of signature and
/// 16 zeros over the DOS stub.
fn signed(mut bytes: Vec<u8>) -> Result<Vec<u8>, PersonalityError> {
    let stub = bytes
        .get_mut(SIGNATURE_OFFSET..SIGNATURE_OFFSET + 2 * SIGNATURE.len())
        .ok_or_else(|| unexpected("mark zlib1.dll as Wine's", "the file is too short"))?;
    stub[..SIGNATURE.len()].copy_from_slice(SIGNATURE);
    stub[SIGNATURE.len()..].fill(0);
    Ok(bytes)
}

/// A stripped file is still Wine's, and its sections lie as Wine's do.
fn check(path: &Path) -> Result<(), PersonalityError> {
    let bytes = fs_err::read(path).map_err(io_error("read a Windows file"))?;
    if !bytes.starts_with(b"MZ") {
        return Ok(());
    }
    let wrong = |what: &str| Err(unexpected(&format!("strip {}", path.display()), what));
    if bytes.get(SIGNATURE_OFFSET..SIGNATURE_OFFSET + SIGNATURE.len()) != Some(SIGNATURE) {
        return wrong("Wine's signature is gone");
    }
    if file_alignment(&bytes) != Some(FILE_ALIGNMENT) && !path.ends_with(PACKED) {
        return wrong("its sections are no longer on page boundaries");
    }
    Ok(())
}

/// `FileAlignment` of the optional header, which is at the same place for 32 and 64 bits.
fn file_alignment(bytes: &[u8]) -> Option<u32> {
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let header = usize::try_from(number(0x3c)?).ok()?;
    number(header + 4 + 20 + 36)
}

#[cfg(test)]
mod tests {
    use super::{FILE_ALIGNMENT, SIGNATURE_OFFSET, file_alignment, signed};

    #[test]
    fn a_signed_library_keeps_all_but_its_stub() {
        let bytes = signed((0..=255).collect()).unwrap();
        assert_eq!(bytes[SIGNATURE_OFFSET..SIGNATURE_OFFSET + 16], *b"Wine builtin DLL");
        assert_eq!(bytes[SIGNATURE_OFFSET + 16..SIGNATURE_OFFSET + 32], [0; 16]);
        assert_eq!((bytes[63], bytes[96], bytes.len()), (63, 96, 256));
        assert!(signed(vec![0; 90]).is_err());
    }

    #[test]
    fn the_alignment_is_read_from_the_optional_header() {
        let mut bytes = vec![0; 0x100];
        bytes[0x3c] = 0x80;
        bytes[0x80 + 24 + 36..0x80 + 24 + 40].copy_from_slice(&FILE_ALIGNMENT.to_le_bytes());
        assert_eq!(file_alignment(&bytes), Some(FILE_ALIGNMENT));
        assert_eq!(file_alignment(&bytes[..0x90]), None);
    }
}
