//! Any bytes as a layer; what can be read can be written, and is read again as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oriel_wclayer::{Entry, Kind, Reader, Writer};

type Layer = Vec<(Entry, Vec<u8>)>;

fn read(bytes: &[u8]) -> (Layer, bool) {
    let mut reader = Reader::new(bytes);
    let mut entries = Vec::new();
    loop {
        let entry = match reader.next_entry() {
            Ok(Some(entry)) => entry,
            end => return (entries, end.is_ok()),
        };
        let mut data = Vec::new();
        if reader.copy_to(&mut data).is_err() {
            return (entries, false);
        }
        entries.push((entry, data));
    }
}

/// Makes the checksums of headers right, so that what is behind them is reached.
fn sealed(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    for block in bytes.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    bytes
}

/// What a writer leaves out because genuine producers do.
fn comparable(mut entry: Entry) -> Option<Entry> {
    entry.sddl = None;
    match entry.kind {
        Kind::Whiteout | Kind::OpaqueWhiteout => return Some(bare(entry)),
        Kind::HardLink { .. } => entry.security = None,
        Kind::Stream { .. } => {
            entry.security = None;
            entry.extended.clear();
            entry.attributes = Default::default();
            entry.created = entry.modified;
        }
        _ => {}
    }
    Some(entry)
}

fn bare(entry: Entry) -> Entry {
    let mut bare = Entry::new(entry.path, entry.kind, oriel_wclayer::FileTime::UNIX_EPOCH);
    (bare.accessed, bare.changed) = (None, None);
    bare
}

fuzz_target!(|data: &[u8]| {
    let (entries, _) = read(&sealed(data));
    let mut writer = Writer::new(Vec::new());
    for (entry, data) in &entries {
        if writer.add(entry, &data[..]).is_err() {
            // Records that are just short enough to be read may be too long in another order of
            // digits; nothing else is refused.
            return;
        }
    }
    let written = writer.finish().expect("memory takes everything");
    let (again, whole) = read(&written);
    assert!(whole, "what was written cannot be read");
    let before: Vec<_> =
        entries.into_iter().filter_map(|(entry, data)| Some((comparable(entry)?, data))).collect();
    assert_eq!(before, again);
});
