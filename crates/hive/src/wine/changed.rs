//! Reading only what differs between two files.
//!
//! What a container changes is little beside what its registry holds, and wineserver writes the
//! same text for the same key. So sections that are the same in both files are stepped over as
//! bytes; only where the files differ are paths read, to step through both in their order.
//!
//! A key may be there only because there are keys below it, whose sections are next to where its
//! own would be: with each run of sections that differ come the equal ones around it.

use super::{escape, parse};
use crate::upcase::wine_downcase;
use crate::{HiveError, Key};

/// How much is compared at once.
const BLOCK: usize = 4096;

/// A heading may be read again for each section of the other file; with longer ones, which no
/// program makes, files are read as a whole.
const LONGEST_HEADING: usize = 4096;

/// Whether a file is at its end, else the lowercase names that lead to a key: in the order of
/// sections.
type Place = (bool, Vec<Vec<u16>>);

/// Reads of two files at least what differs.
pub(super) fn files(old: &[u8], new: &[u8]) -> Result<(Key, Key), HiveError> {
    let sparse = differing(old, new);
    let read =
        sparse.and_then(|[old, new]| Some((parse::file(&old).ok()?, parse::file(&new).ok()?)));
    // What is not in order, or not sound, is read as a whole, to its result or its error.
    read.map_or_else(|| Ok((parse::file(old)?, parse::file(new)?)), Ok)
}

/// Both files without most sections that are the same in both; nothing when one is not in order.
fn differing(old: &[u8], new: &[u8]) -> Option<[Vec<u8>; 2]> {
    let [mut old, mut new] = [Side::new(old), Side::new(new)];
    if old.kept != new.kept {
        return None;
    }
    loop {
        let same = common(old.rest, new.rest);
        let ended = same == old.rest.len() && same == new.rest.len();
        let run = if ended { same } else { last_heading(&old.rest[..same]).unwrap_or(0) };
        old.pass(run)?;
        new.pass(run)?;
        if ended {
            return Some([old.kept, new.kept]);
        }
        let (old_place, new_place) = (old.place()?, new.place()?);
        if old_place <= new_place {
            old.keep(section_length(old.rest))?;
        }
        if new_place <= old_place {
            new.keep(section_length(new.rest))?;
        }
    }
}

/// One of two files while both are compared.
struct Side<'a> {
    /// What is to be compared yet; begins with a section.
    rest: &'a [u8],
    /// What is to be read: the head of the file and sections.
    kept: Vec<u8>,
    last_kept: Option<Place>,
}

impl<'a> Side<'a> {
    fn new(file: &'a [u8]) -> Self {
        let (head, rest) = file.split_at(section_length(file));
        Self { rest, kept: head.to_vec(), last_kept: None }
    }

    /// Steps over `length` bytes of sections that the other file has too; keeps the first and the
    /// last of them.
    fn pass(&mut self, length: usize) -> Option<()> {
        if length == 0 {
            return Some(());
        }
        let first = section_length(&self.rest[..length]);
        let last = last_heading(&self.rest[..length]).unwrap_or(0);
        self.keep(first)?;
        if last > 0 {
            self.rest = &self.rest[last - first..];
            self.keep(length - last)?;
        }
        Some(())
    }

    /// Keeps the section that is next, which must come after those kept already.
    fn keep(&mut self, length: usize) -> Option<()> {
        let place = self.place().filter(|place| self.last_kept.as_ref() < Some(place))?;
        let (section, rest) = self.rest.split_at(length);
        self.kept.extend_from_slice(section);
        (self.rest, self.last_kept) = (rest, Some(place));
        Some(())
    }

    /// Where the section that is next belongs; nothing when its heading is not sound.
    fn place(&self) -> Option<Place> {
        let Some(heading) = self.rest.strip_prefix(b"[") else { return Some((true, Vec::new())) };
        let heading = &heading[..heading.len().min(LONGEST_HEADING)];
        let mut units = Vec::new();
        escape::read(heading.split(|byte| *byte == b'\n').next()?, b']', &mut units).ok()?;
        let names = units.split(|unit| *unit == u16::from(b'\\')).filter(|name| !name.is_empty());
        let lower = |name: &[u16]| name.iter().copied().map(wine_downcase).collect();
        Some((false, names.map(lower).collect()))
    }
}

/// Length of what comes before the next heading.
fn section_length(text: &[u8]) -> usize {
    let next = text.windows(2).position(|pair| pair == b"\n[");
    next.map_or(text.len(), |at| at + 1)
}

/// Where the last heading is, but for one the text begins with.
fn last_heading(text: &[u8]) -> Option<usize> {
    text.windows(2).rposition(|pair| pair == b"\n[").map(|at| at + 1)
}

/// How many bytes both texts have in common.
fn common(a: &[u8], b: &[u8]) -> usize {
    let blocks = a.chunks(BLOCK).zip(b.chunks(BLOCK)).take_while(|(a, b)| a == b);
    let same: usize = blocks.map(|(block, _)| block.len()).sum();
    same + a[same..].iter().zip(&b[same..]).take_while(|(a, b)| a == b).count()
}
