//! Small changes to Wine's programs where they differ from Windows in what scripts rely on.
//!
//! Each is a change of one import, so that the program keeps its code: Wine is shaped, not forked.

use std::path::Path;

use object::LittleEndian;
use object::pe::{ImageNtHeaders32, ImageNtHeaders64};
use object::read::pe::{ImageNtHeaders, Import, PeFile};

use crate::{PersonalityError, io_error, unexpected};

/// A change: in this program, the function imported as `from` becomes `to`.
struct Shape {
    program: &'static str,
    from: &'static str,
    to: &'static str,
}

/// `exit 3221225786` gives that exit code on Windows. Wine's `cmd` reads the number by `wcstol`,
/// which stops at 2 147 483 647 (`programs/cmd/builtins.c`, `WCMD_exit`). `wcstoul` gives the same
/// 32 bits for every number that `wcstol` can hold, negative ones included, and does not stop
/// there.
const SHAPES: [Shape; 1] = [Shape { program: "cmd.exe", from: "wcstol", to: "wcstoul" }];

/// Changes the programs of one set of Windows files.
pub(crate) fn shape(directory: &Path) -> Result<(), PersonalityError> {
    for Shape { program, from, to } in &SHAPES {
        let path = directory.join(program);
        let mut bytes = fs_err::read(&path).map_err(io_error("shape a Windows program"))?;
        let attempt = format!("import {to} for {from} in {}", path.display());
        redirect(&mut bytes, from, to).map_err(|reason| unexpected(&attempt, &reason))?;
        fs_err::write(&path, bytes).map_err(io_error("shape a Windows program"))?;
    }
    Ok(())
}

/// Gives the import named `from` the name `to`, within the room its entry has.
fn redirect(bytes: &mut [u8], from: &str, to: &str) -> Result<(), String> {
    let at = name_offset::<ImageNtHeaders64>(bytes, from)
        .or_else(|_| name_offset::<ImageNtHeaders32>(bytes, from))
        .map_err(|error| error.to_string())?
        .ok_or("it is not imported by that name")?;
    let room = bytes.get_mut(at..at + to.len() + 1).ok_or("the file ends there")?;
    if room[from.len()..].iter().any(|byte| *byte != 0) {
        return Err("the entry has no room".to_owned());
    }
    room[..to.len()].copy_from_slice(to.as_bytes());
    Ok(())
}

/// Where in the file the name of an import stands: behind its two bytes of hint.
fn name_offset<Headers: ImageNtHeaders>(
    bytes: &[u8],
    wanted: &str,
) -> object::Result<Option<usize>> {
    let file = PeFile::<Headers>::parse(bytes)?;
    let Some(table) = file.import_table()? else { return Ok(None) };
    let mut descriptors = table.descriptors()?;
    while let Some(descriptor) = descriptors.next()? {
        let mut thunks = table.thunks(descriptor.original_first_thunk.get(LittleEndian))?;
        while let Some(thunk) = thunks.next::<Headers>()? {
            if let Import::Name(_, name) = table.import::<Headers>(thunk)?
                && name == wanted.as_bytes()
            {
                return Ok(position(bytes, name));
            }
        }
    }
    Ok(None)
}

/// Offset of `part`, a slice of `whole`.
fn position(whole: &[u8], part: &[u8]) -> Option<usize> {
    let offset = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    (offset + part.len() <= whole.len()).then_some(offset)
}

#[cfg(test)]
mod tests {
    use super::{position, redirect};

    #[test]
    fn a_slice_is_found_where_it_stands() {
        let whole = b"0123456789";
        assert_eq!(position(whole, &whole[3..5]), Some(3));
    }

    #[test]
    fn what_is_no_program_is_refused() {
        assert!(redirect(&mut b"MZ".to_vec(), "wcstol", "wcstoul").is_err());
    }
}
