//! Stage 3: Wine's Windows files, without debug sections and with the zlib that Debian splits off.

use std::path::{Path, PathBuf};

use crate::run::STRIP;
use crate::{PersonalityError, io_error, shape, unexpected};

/// Where a file says that it is Wine's (`dlls/ntdll/unix/loader.c`, `is_builtin`).
const SIGNATURE_OFFSET: usize = 0x40;
const SIGNATURE: &[u8; 16] = b"Wine builtin DLL";

/// Files handed to one run of `strip`, so that progress can be shown.
const BATCH: usize = 64;

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
    let mut done = 0;
    for batch in files.chunks(BATCH) {
        note("stripping debug sections", done, total);
        let mut arguments = vec!["--strip-debug".to_owned(), "--preserve-dates".to_owned()];
        arguments.extend(batch.iter().map(|path| path.display().to_string()));
        STRIP.run("strip Windows files", &arguments, &mut |_| {})?;
        done += u64::try_from(batch.len()).unwrap_or(0);
    }
    for (name, ..) in SETS {
        shape::shape(&target.join(name))?;
    }
    for file in &files {
        check_signature(file)?;
    }
    Ok(())
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

fn check_signature(path: &Path) -> Result<(), PersonalityError> {
    let bytes = fs_err::read(path).map_err(io_error("read a Windows file"))?;
    let mark = bytes.get(SIGNATURE_OFFSET..SIGNATURE_OFFSET + SIGNATURE.len());
    if bytes.starts_with(b"MZ") && mark != Some(SIGNATURE) {
        let attempt = format!("strip {}", path.display());
        return Err(unexpected(&attempt, "Wine's signature is gone"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{SIGNATURE_OFFSET, signed};

    #[test]
    fn a_signed_library_keeps_all_but_its_stub() {
        let bytes = signed((0..=255).collect()).unwrap();
        assert_eq!(bytes[SIGNATURE_OFFSET..SIGNATURE_OFFSET + 16], *b"Wine builtin DLL");
        assert_eq!(bytes[SIGNATURE_OFFSET + 16..SIGNATURE_OFFSET + 32], [0; 16]);
        assert_eq!((bytes[63], bytes[96], bytes.len()), (63, 96, 256));
        assert!(signed(vec![0; 90]).is_err());
    }
}
