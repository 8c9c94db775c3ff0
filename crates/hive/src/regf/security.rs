//! Security descriptors (`sk`): one record for all keys that have the same one.

use std::collections::{BTreeMap, HashMap};

use super::bins::Bins;
use super::cells::Cells;
use super::record::put;
use crate::{HiveError, Security, Structure};

/// The descriptor of keys that nobody gave one, as `offreg.dll` writes it:
/// `O:BAG:BAD:(A;CI;KA;;;SY)(A;CI;KA;;;BA)(A;CI;KR;;;WD)(A;CI;KR;;;RC)`.
#[rustfmt::skip]
pub(super) const DEFAULT: &[u8] = &[
    1, 0, 4, 0x80, // revision, self-relative with DACL
    112, 0, 0, 0, 128, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, // owner, group, no SACL, DACL
    2, 0, 92, 0, 4, 0, 0, 0,
    0, 2, 20, 0, 0x3f, 0, 15, 0, 1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0,
    0, 2, 24, 0, 0x3f, 0, 15, 0, 1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 32, 2, 0, 0,
    0, 2, 20, 0, 0x19, 0, 2, 0, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0,
    0, 2, 20, 0, 0x19, 0, 2, 0, 1, 1, 0, 0, 0, 0, 0, 5, 12, 0, 0, 0,
    1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 32, 2, 0, 0,
    1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 32, 2, 0, 0,
];

/// Where the fields of an `sk` record are.
mod field {
    pub(super) const NEXT: usize = 4;
    pub(super) const PREVIOUS: usize = 8;
    pub(super) const REFERENCES: usize = 12;
    pub(super) const LENGTH: usize = 16;
    pub(super) const DESCRIPTOR: usize = 20;
}

/// Reads each `sk` record once; a hive has few.
#[derive(Default)]
pub(super) struct SecurityReader(BTreeMap<u32, Security>);

impl SecurityReader {
    pub(super) fn read(
        &mut self,
        cells: &mut Cells<'_>,
        offset: u32,
    ) -> Result<Security, HiveError> {
        if let Some(known) = self.0.get(&offset) {
            return Ok(known.clone());
        }
        let record = cells.take(Structure::Security, offset)?.signed(*b"sk")?;
        let descriptor = record.slice(field::DESCRIPTOR, record.size(field::LENGTH)?)?;
        let security = Security::from(descriptor);
        self.0.insert(offset, security.clone());
        Ok(security)
    }
}

/// An `sk` record written already.
struct Written {
    offset: u32,
    references: u32,
}

/// Writes each descriptor once and counts its uses.
#[derive(Default)]
pub(super) struct SecurityWriter {
    known: HashMap<Security, usize>,
    written: Vec<Written>,
}

impl SecurityWriter {
    /// The place of the record for `security`, which one more key uses.
    pub(super) fn refer(&mut self, bins: &mut Bins, security: &Security) -> Result<u32, HiveError> {
        if let Some(at) = self.known.get(security) {
            let written = &mut self.written[*at];
            written.references += 1;
            return Ok(written.offset);
        }
        let descriptor = security.as_bytes();
        let length = u32::try_from(descriptor.len()).map_err(|_| HiveError::TooLarge)?;
        let mut record = vec![0; field::DESCRIPTOR];
        put(&mut record, 0, *b"sk");
        put(&mut record, field::LENGTH, length.to_le_bytes());
        record.extend_from_slice(descriptor);
        let offset = bins.add(&record)?;
        self.known.insert(security.clone(), self.written.len());
        self.written.push(Written { offset, references: 1 });
        Ok(offset)
    }

    /// Links all records into a ring and enters how often each is used.
    pub(super) fn finish(self, bins: &mut Bins) {
        let count = self.written.len();
        for (at, written) in self.written.iter().enumerate() {
            let next = self.written[(at + 1) % count].offset;
            let previous = self.written[(at + count - 1) % count].offset;
            let record = bins.content(written.offset);
            put(record, field::NEXT, next.to_le_bytes());
            put(record, field::PREVIOUS, previous.to_le_bytes());
            put(record, field::REFERENCES, written.references.to_le_bytes());
        }
    }
}
