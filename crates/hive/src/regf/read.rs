//! From cells to a tree.

use std::ops::Range;

use super::base_block::{BaseBlock, LAYERED_MINOR};
use super::cells::Cells;
use super::node::{Node, Parts};
use super::record::Record;
use super::security::SecurityReader;
use super::values::{self, read_name};
use super::{COMPRESSED, NO_DELETE, PREDEFINED, STORAGE_FLAGS, key_field as field};
use crate::delta::ValueChange;
use crate::key::MAX_DEPTH;
use crate::order::{keep_first, sort_names};
use crate::{HiveError, KeyFlags, MAX_KEY_NAME, Security, Structure, WideString};

/// Reads the whole tree of a hive.
pub(super) fn tree<N: Node>(hive: &[u8], block: &BaseBlock) -> Result<N, HiveError> {
    let cells = Cells::new(hive, block.bins_size)?;
    let security = SecurityReader::default();
    let (minor, root) = (block.minor, block.root);
    Reader { cells, security, minor, root, offsets: Vec::new() }.key(root, 0)
}

struct Reader<'a> {
    cells: Cells<'a>,
    security: SecurityReader,
    minor: u32,
    root: u32,
    /// Where the subkeys are of all keys that are being read.
    offsets: Vec<u32>,
}

impl<'a> Reader<'a> {
    /// Reads the key at `offset` with everything below it.
    fn key<N: Node>(&mut self, offset: u32, depth: usize) -> Result<N, HiveError> {
        if depth > MAX_DEPTH {
            return Err(HiveError::TooDeep { limit: MAX_DEPTH });
        }
        let record = self.cells.take(Structure::Key, offset)?.signed(*b"nk")?;
        let name = key_name(&record)?;
        let mut parts = Parts {
            name,
            class: self.class(&record)?,
            layer: self.layer(&record)?,
            last_write: record.u64(field::LAST_WRITE)?,
            flags: self.flags(&record)?,
            security: self.security(&record)?,
            values: self.values(&record)?,
            subkeys: Vec::new(),
        };
        let subkeys = self.subkey_offsets(&record)?;
        parts.subkeys.reserve_exact(subkeys.len());
        let mut in_order = true;
        for at in subkeys.clone() {
            let subkey: N = self.key(self.offsets[at], depth + 1)?;
            let last: Option<&N> = parts.subkeys.last();
            in_order &= last.is_none_or(|last| last.name().name_order(subkey.name()).is_lt());
            parts.subkeys.push(subkey);
        }
        self.offsets.truncate(subkeys.start);
        if !in_order {
            sort_names(&mut parts.subkeys, N::name);
        }
        Ok(N::build(parts))
    }

    fn class(&mut self, key: &Record<'_>) -> Result<Option<WideString>, HiveError> {
        let length = usize::from(key.u16(field::CLASS_LENGTH)?);
        let Some(offset) = key.reference(field::CLASS)?.filter(|_| length > 0) else {
            return Ok(None);
        };
        let class = self.cells.take(Structure::Class, offset)?;
        Ok(Some(WideString::from_le_bytes(class.slice(0, length)?)))
    }

    /// The layer byte, which means something in hives with layered keys only. A root always merges;
    /// genuine ones do not inherit their class, which they do not have either.
    fn layer(&self, key: &Record<'_>) -> Result<Option<u8>, HiveError> {
        let layered = self.minor >= LAYERED_MINOR && key.offset != self.root;
        layered.then(|| key.u8(field::LAYER)).transpose()
    }

    fn flags(&self, key: &Record<'_>) -> Result<KeyFlags, HiveError> {
        let of_root = if key.offset == self.root { NO_DELETE } else { 0 };
        let low = key.u16(field::FLAGS)? & !(STORAGE_FLAGS | of_root);
        let high = key.u8(field::USER_FLAGS)?;
        Ok(KeyFlags(u32::from(low) | u32::from(high) << 16))
    }

    fn security(&mut self, key: &Record<'_>) -> Result<Option<Security>, HiveError> {
        let offset = key.reference(field::SECURITY)?;
        offset.map(|offset| self.security.read(&mut self.cells, offset)).transpose()
    }

    fn values(&mut self, key: &Record<'_>) -> Result<Vec<ValueChange>, HiveError> {
        let count = key.size(field::VALUE_COUNT)?;
        if count == 0 || key.u16(field::FLAGS)? & PREDEFINED != 0 {
            return Ok(Vec::new());
        }
        let list = self.cells.take(Structure::ValueList, key.u32(field::VALUES)?)?;
        let size = count.checked_mul(4).ok_or_else(|| list.bad_size())?;
        let (offsets, _) = list.slice(0, size)?.as_chunks::<4>();
        let mut values = Vec::with_capacity(count);
        for offset in offsets {
            values.push(values::read(&mut self.cells, u32::from_le_bytes(*offset), self.minor)?);
        }
        keep_first(&mut values, ValueChange::name);
        Ok(values)
    }

    /// Adds where the subkeys are to the offsets, and returns where there.
    fn subkey_offsets(&mut self, key: &Record<'_>) -> Result<Range<usize>, HiveError> {
        let start = self.offsets.len();
        if key.u32(field::SUBKEY_COUNT)? > 0 {
            let list = self.cells.take(Structure::SubkeyList, key.u32(field::SUBKEYS)?)?;
            if list.bytes.starts_with(b"ri") {
                for at in 0..usize::from(list.u16(2)?) {
                    let below = self.cells.take(Structure::SubkeyList, list.u32(4 + 4 * at)?)?;
                    self.leaf(&below)?;
                }
            } else {
                self.leaf(&list)?;
            }
        }
        Ok(start..self.offsets.len())
    }

    /// Reads a list whose elements are keys.
    fn leaf(&mut self, list: &Record<'_>) -> Result<(), HiveError> {
        let element = match list.slice(0, 2)? {
            b"li" => 4,
            b"lf" | b"lh" => 8,
            _ => {
                let (structure, offset) = (list.structure, list.offset);
                return Err(HiveError::Signature { structure, offset });
            }
        };
        let elements = list.slice(4, element * usize::from(list.u16(2)?))?;
        let offset = |bytes: &[u8]| bytes.first_chunk().copied().map(u32::from_le_bytes);
        self.offsets.extend(elements.chunks_exact(element).filter_map(offset));
        Ok(())
    }
}

fn key_name(key: &Record<'_>) -> Result<WideString, HiveError> {
    let bytes = key.slice(field::NAME, key.u16(field::NAME_LENGTH)?.into())?;
    if bytes.is_empty() {
        return Err(key.bad_size());
    }
    read_name(bytes, key.u16(field::FLAGS)? & COMPRESSED != 0, MAX_KEY_NAME)
}
