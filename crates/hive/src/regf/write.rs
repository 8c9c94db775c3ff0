//! From a tree to a hive.
//!
//! Keys are written depth first in the order of their names, and each is completed when all below
//! it has its place. The same tree always gives the same bytes: layers are named by their digests.

use super::base_block::{BaseBlock, Kind};
use super::bins::Bins;
use super::node::{Fields, Node};
use super::record::put;
use super::security::{self, SecurityWriter};
use super::values::{self, write_name};
use super::{COMPRESSED, NIL, NO_DELETE, ROOT, key_field as field};
use crate::key::MAX_DEPTH;
use crate::upcase::upcase;
use crate::{HiveError, MAX_KEY_NAME, Security, WideString};

/// Most elements of a subkey list: with them it fills a bin of 4096 bytes.
const LEAF: usize = 507;

/// Name of a root that has none; no reader cares for it.
const ROOT_NAME: &str = "ROOT";

/// Access bits that every key of a present-day hive has.
const ACCESS_BITS: u8 = 2;

/// Longest class name: its length in bytes has 16 bits.
const MAX_CLASS_NAME: usize = 32_767;

/// Writes a whole hive.
pub(super) fn tree<N: Node>(root: &N, kind: Kind) -> Result<Vec<u8>, HiveError> {
    let mut writer = Writer { bins: Bins::new(), security: SecurityWriter::default() };
    let default = Security::from(security::DEFAULT);
    let offset = writer.key(root, &Above { parent: None, security: &default, depth: 0 })?;
    writer.security.finish(&mut writer.bins);
    let (mut hive, bins_size) = writer.bins.finish()?;
    BaseBlock::write(&mut hive, kind, offset, root.fields().last_write, bins_size);
    Ok(hive)
}

/// What a key takes from the key above it.
struct Above<'a> {
    /// Its place, unless the key is the root.
    parent: Option<u32>,
    security: &'a Security,
    depth: usize,
}

/// Sizes that a key keeps of the longest names and data below it.
#[derive(Default)]
struct Longest {
    name: usize,
    other: usize,
}

impl Longest {
    fn note(&mut self, name: &WideString, other: usize) {
        self.name = self.name.max(2 * name.len());
        self.other = self.other.max(other);
    }
}

struct Writer {
    bins: Bins,
    security: SecurityWriter,
}

impl Writer {
    /// Writes `node` with everything below it and returns its place.
    fn key<N: Node>(&mut self, node: &N, above: &Above<'_>) -> Result<u32, HiveError> {
        if above.depth > MAX_DEPTH {
            return Err(HiveError::TooDeep { limit: MAX_DEPTH });
        }
        let fields = node.fields();
        let offset = self.bins.add(&header(&fields, above)?)?;
        let security = fields.security.unwrap_or(above.security);
        let place = self.security.refer(&mut self.bins, security)?;
        self.set(offset, field::SECURITY, place);
        if let Some(class) = fields.class.filter(|class| !class.is_empty()) {
            let place = self.bins.add(&class.to_le_bytes())?;
            self.set(offset, field::CLASS, place);
        }
        self.values(node, offset)?;
        self.subkeys(node, &Above { parent: Some(offset), security, depth: above.depth + 1 })?;
        Ok(offset)
    }

    /// Writes the values of the key at `key`.
    fn values<N: Node>(&mut self, node: &N, key: u32) -> Result<(), HiveError> {
        let mut list = Vec::new();
        let mut longest = Longest::default();
        for value in node.values() {
            longest.note(value.name, value.content.map_or(0, |(_, data)| data.len()));
            list.extend_from_slice(&values::write(&mut self.bins, &value)?.to_le_bytes());
        }
        if !list.is_empty() {
            let place = self.bins.add(&list)?;
            self.set(key, field::VALUES, place);
            self.set(key, field::VALUE_COUNT, number(list.len() / 4)?);
            self.set(key, field::LONGEST_VALUE_NAME, number(longest.name)?);
            self.set(key, field::LONGEST_DATA, number(longest.other)?);
        }
        Ok(())
    }

    /// Writes the keys below `node` and their list.
    fn subkeys<N: Node>(&mut self, node: &N, above: &Above<'_>) -> Result<(), HiveError> {
        let (Some(key), false) = (above.parent, node.subkeys().is_empty()) else {
            return Ok(());
        };
        let mut subkeys: Vec<&N> = node.subkeys().iter().collect();
        subkeys.sort_by(|a, b| a.name().name_order(b.name()));
        let mut list = Vec::with_capacity(subkeys.len());
        let mut longest = Longest::default();
        for subkey in subkeys {
            longest.note(subkey.name(), subkey.fields().class.map_or(0, |class| 2 * class.len()));
            list.push((self.key(subkey, above)?, name_hash(subkey.name())));
        }
        let place = self.subkey_list(&list)?;
        self.set(key, field::SUBKEYS, place);
        self.set(key, field::SUBKEY_COUNT, number(list.len())?);
        put(self.bins.content(key), field::LONGEST_SUBKEY_NAME, length_field(longest.name)?);
        self.set(key, field::LONGEST_SUBKEY_CLASS, number(longest.other)?);
        Ok(())
    }

    /// Writes one list of hashed names, or several and a list of them.
    fn subkey_list(&mut self, keys: &[(u32, u32)]) -> Result<u32, HiveError> {
        let mut leaves = Vec::new();
        for leaf in keys.chunks(LEAF) {
            let elements = leaf.iter().flat_map(|(offset, hash)| [*offset, *hash]);
            leaves.push(self.list(*b"lh", leaf.len(), elements)?);
        }
        match leaves[..] {
            [leaf] => Ok(leaf),
            _ => self.list(*b"ri", leaves.len(), leaves.iter().copied()),
        }
    }

    fn list(
        &mut self,
        signature: [u8; 2],
        count: usize,
        numbers: impl Iterator<Item = u32>,
    ) -> Result<u32, HiveError> {
        let count = u16::try_from(count).map_err(|_| HiveError::TooLarge)?;
        let mut record = [signature, count.to_le_bytes()].concat();
        record.extend(numbers.flat_map(u32::to_le_bytes));
        self.bins.add(&record)
    }

    /// Sets a field of a key that is written already.
    fn set(&mut self, key: u32, field: usize, number: u32) {
        put(self.bins.content(key), field, number.to_le_bytes());
    }
}

/// An `nk` record that has neither values nor subkeys yet.
fn header(fields: &Fields<'_>, above: &Above<'_>) -> Result<Vec<u8>, HiveError> {
    let root_name = WideString::from(ROOT_NAME);
    let is_root = above.parent.is_none();
    let name = if is_root && fields.name.is_empty() { &root_name } else { fields.name };
    let (name, compressed) = write_name(name, MAX_KEY_NAME)?;
    if name.is_empty() {
        return Err(HiveError::EmptyName);
    }
    let class_length = fields.class.map_or(0, WideString::len);
    if class_length > MAX_CLASS_NAME {
        return Err(HiveError::NameTooLong { length: class_length, limit: MAX_CLASS_NAME });
    }
    let [low, high, user, _] = fields.flags.0.to_le_bytes();
    let storage =
        if compressed { COMPRESSED } else { 0 } | if is_root { ROOT | NO_DELETE } else { 0 };
    let mut record = vec![0; field::NAME];
    put(&mut record, 0, *b"nk");
    put(&mut record, field::FLAGS, (u16::from_le_bytes([low, high]) | storage).to_le_bytes());
    put(&mut record, field::LAST_WRITE, fields.last_write.to_le_bytes());
    put(&mut record, field::ACCESS_BITS, [ACCESS_BITS]);
    put(&mut record, field::LAYER, [if is_root { 0 } else { fields.layer }]);
    put(&mut record, field::PARENT, above.parent.unwrap_or(NIL).to_le_bytes());
    for reference in [field::SUBKEYS, field::VOLATILE_SUBKEYS, field::VALUES, field::CLASS] {
        put(&mut record, reference, NIL.to_le_bytes());
    }
    put(&mut record, field::USER_FLAGS, [user]);
    put(&mut record, field::NAME_LENGTH, length_field(name.len())?);
    put(&mut record, field::CLASS_LENGTH, length_field(2 * class_length)?);
    record.extend_from_slice(&name);
    Ok(record)
}

/// Hash of a name in an `lh` list.
pub(super) fn name_hash(name: &WideString) -> u32 {
    let add = |hash: u32, unit: &u16| hash.wrapping_mul(37).wrapping_add(upcase(*unit).into());
    name.units().iter().fold(0, add)
}

fn number(size: usize) -> Result<u32, HiveError> {
    u32::try_from(size).map_err(|_| HiveError::TooLarge)
}

fn length_field(length: usize) -> Result<[u8; 2], HiveError> {
    u16::try_from(length).map(u16::to_le_bytes).map_err(|_| HiveError::TooLarge)
}
