//! Values (`vk`) and their data: inline, in a cell, or in segments (`db`).

use super::bins::Bins;
use super::cells::Cells;
use super::node::ValueFields;
use super::record::{Record, put};
use super::{INLINE, MAX_DATA, NIL, SEGMENT, VALUE_COMPRESSED, VALUE_TOMBSTONE};
use crate::delta::ValueChange;
use crate::{HiveError, MAX_VALUE_NAME, Structure, Value, ValueKind, WideString};

/// The first minor version with big data records.
const BIG_DATA_MINOR: u32 = 4;

/// What follows the data in the cell of a segment. Windows makes every such cell of the size of a
/// full one; libregf takes no segment's last four bytes for data.
const PADDING: [u8; 4] = [0; 4];

/// Where the fields of a `vk` record are.
mod field {
    pub(super) const NAME_LENGTH: usize = 2;
    pub(super) const DATA_SIZE: usize = 4;
    pub(super) const DATA: usize = 8;
    pub(super) const KIND: usize = 12;
    pub(super) const FLAGS: usize = 16;
    pub(super) const NAME: usize = 20;
}

/// Reads the value at `offset` of a hive of format 1.`minor`.
pub(super) fn read(
    cells: &mut Cells<'_>,
    offset: u32,
    minor: u32,
) -> Result<ValueChange, HiveError> {
    let record = cells.take(Structure::Value, offset)?.signed(*b"vk")?;
    let name = record.slice(field::NAME, record.u16(field::NAME_LENGTH)?.into())?;
    let flags = record.u16(field::FLAGS)?;
    let name = read_name(name, flags & VALUE_COMPRESSED != 0, MAX_VALUE_NAME)?;
    if flags & VALUE_TOMBSTONE != 0 && minor >= super::LAYERED_MINOR {
        return Ok(ValueChange::Tombstone(name));
    }
    let kind = ValueKind(record.u32(field::KIND)?);
    let data = read_data(cells, &record, minor)?;
    Ok(ValueChange::Set(Value { name, kind, data }))
}

/// Reads a name of one or two bytes a character.
pub(super) fn read_name(
    bytes: &[u8],
    compressed: bool,
    limit: usize,
) -> Result<WideString, HiveError> {
    let name =
        if compressed { WideString::from_latin1(bytes) } else { WideString::from_le_bytes(bytes) };
    if name.len() > limit {
        return Err(HiveError::NameTooLong { length: name.len(), limit });
    }
    Ok(name)
}

fn read_data(cells: &mut Cells<'_>, value: &Record<'_>, minor: u32) -> Result<Vec<u8>, HiveError> {
    let size = value.u32(field::DATA_SIZE)?;
    let inline = size & INLINE != 0;
    let size = usize::try_from(size & !INLINE).map_err(|_| value.bad_size())?;
    if inline {
        let data = value.slice(field::DATA, 4)?;
        return data.get(..size).map(<[u8]>::to_vec).ok_or_else(|| value.bad_size());
    }
    if size == 0 {
        return Ok(Vec::new());
    }
    let data = cells.take(Structure::Data, value.u32(field::DATA)?)?;
    if size > SEGMENT && minor >= BIG_DATA_MINOR && data.bytes.starts_with(b"db") {
        return read_segments(cells, &data, size);
    }
    data.slice(0, size).map(<[u8]>::to_vec)
}

fn read_segments(
    cells: &mut Cells<'_>,
    data: &Record<'_>,
    size: usize,
) -> Result<Vec<u8>, HiveError> {
    let record = Record { structure: Structure::BigData, ..*data };
    let count = usize::from(record.u16(2)?);
    if count != size.div_ceil(SEGMENT) || size > cells.size() {
        return Err(record.bad_size());
    }
    let list = cells.take(Structure::BigData, record.u32(4)?)?;
    let mut joined = Vec::with_capacity(size);
    for at in 0..count {
        let segment = cells.take(Structure::Data, list.u32(4 * at)?)?;
        joined.extend_from_slice(segment.slice(0, SEGMENT.min(size - joined.len()))?);
    }
    Ok(joined)
}

/// Writes a value and returns its offset.
pub(super) fn write(bins: &mut Bins, value: &ValueFields<'_>) -> Result<u32, HiveError> {
    let (name, compressed) = write_name(value.name, MAX_VALUE_NAME)?;
    let name_length = u16::try_from(name.len()).map_err(|_| HiveError::TooLarge)?;
    // The default value is not marked as compressed, as Windows does not either.
    let mut flags = if compressed && !name.is_empty() { VALUE_COMPRESSED } else { 0 };
    let mut record = vec![0; field::NAME];
    put(&mut record, 0, *b"vk");
    put(&mut record, field::NAME_LENGTH, name_length.to_le_bytes());
    if let Some((kind, data)) = value.content {
        let (size, reference) = write_data(bins, data)?;
        put(&mut record, field::DATA_SIZE, size.to_le_bytes());
        put(&mut record, field::DATA, reference);
        put(&mut record, field::KIND, kind.0.to_le_bytes());
    } else {
        flags |= VALUE_TOMBSTONE;
        put(&mut record, field::DATA, NIL.to_le_bytes());
    }
    put(&mut record, field::FLAGS, flags.to_le_bytes());
    record.extend_from_slice(&name);
    bins.add(&record)
}

/// A name as stored, and whether each character has one byte: so when each fits one.
pub(super) fn write_name(name: &WideString, limit: usize) -> Result<(Vec<u8>, bool), HiveError> {
    if name.len() > limit {
        return Err(HiveError::NameTooLong { length: name.len(), limit });
    }
    let narrow: Result<Vec<u8>, _> = name.units().iter().map(|unit| u8::try_from(*unit)).collect();
    Ok(narrow.map_or_else(|_| (name.to_le_bytes(), false), |narrow| (narrow, true)))
}

/// Stores data and returns the two fields of the value that tell of it: size, and place or bytes.
fn write_data(bins: &mut Bins, data: &[u8]) -> Result<(u32, [u8; 4]), HiveError> {
    let size = u32::try_from(data.len()).map_err(|_| HiveError::TooLarge)?;
    if data.len() <= 4 {
        let mut inline = [0; 4];
        inline[..data.len()].copy_from_slice(data);
        return Ok((size | INLINE, inline));
    }
    let offset = if data.len() <= SEGMENT { bins.add(data)? } else { write_segments(bins, data)? };
    Ok((size, offset.to_le_bytes()))
}

fn write_segments(bins: &mut Bins, data: &[u8]) -> Result<u32, HiveError> {
    if data.len() > MAX_DATA {
        return Err(HiveError::TooLarge);
    }
    let mut list = Vec::new();
    for segment in data.chunks(SEGMENT) {
        let place = bins.add(&[segment, &PADDING].concat())?;
        list.extend_from_slice(&place.to_le_bytes());
    }
    let count = u16::try_from(list.len() / 4).map_err(|_| HiveError::TooLarge)?;
    let mut record = [0; 8];
    put(&mut record, 0, *b"db");
    put(&mut record, 2, count.to_le_bytes());
    put(&mut record, 4, bins.add(&list)?.to_le_bytes());
    bins.add(&record)
}
