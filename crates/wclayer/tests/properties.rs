//! What must hold for any layer and for any bytes.
//!
//! Layers are made by a generator with a seed, so that a failure names what to try again; libFuzzer
//! searches further in `fuzz/`.

use std::io::{self, Read};

use oriel_wclayer::archive::Archive;
use oriel_wclayer::{
    Attributes, Entry, FileTime, Kind, LayerError, LayerPath, Reader, Root, Writer,
};

const GOLDEN: [&[u8]; 6] = [
    include_bytes!("golden/hcsshim.tar"),
    include_bytes!("golden/upper.tar"),
    include_bytes!("golden/buildkit.tar"),
    include_bytes!("golden/crane.tar"),
    include_bytes!("golden/imgutil.tar"),
    include_bytes!("golden/bsdtar.tar"),
];

/// Entries with their data.
type Layer = Vec<(Entry, Vec<u8>)>;

/// Numbers that are the same for the same seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("below a usize")
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    fn name(&mut self) -> String {
        const LETTERS: [char; 12] =
            ['a', 'Z', '0', '.', ' ', '$', '~', '-', '\u{e4}', '\u{df}', '\u{6f22}', '\u{1f600}'];
        let length = if self.one_in(12) { 60 } else { 1 + self.below(9) };
        (0..length).map(|_| LETTERS[self.below(LETTERS.len())]).collect()
    }

    fn time(&mut self) -> FileTime {
        match self.below(5) {
            0 => FileTime(0),
            1 => FileTime::UNIX_EPOCH,
            2 => FileTime(self.next() >> 12),
            3 => FileTime(133_444_736_000_000_000),
            // As far as Linux' and Go's 64-bit times go without care.
            _ => FileTime(self.next() >> 2),
        }
    }
}

/// An entry below `root` whose name no other has; `number` makes it so.
fn entry(dice: &mut Dice, number: usize) -> Entry {
    let mut path = LayerPath::root_of(Root::Files);
    for _ in 0..dice.below(4) {
        path = path.join(&format!("{}d", dice.name())).expect("a plain name");
    }
    let path = path.join(&format!("{number}{}e", dice.name())).expect("a plain name");
    let target =
        if dice.one_in(5) { dice.name().repeat(15) } else { format!(r"C:\{}", dice.name()) };
    let kind = match dice.below(7) {
        0 => Kind::Directory,
        1 => Kind::Symlink { target },
        2 => Kind::Junction { target },
        3 => Kind::HardLink {
            target: LayerPath::root_of(Root::Files)
                .join(&format!("{}t", dice.name()))
                .expect("a plain name"),
        },
        4 => Kind::Whiteout,
        _ => Kind::File { size: dice.below(1_500) as u64 },
    };
    let mut entry = Entry::new(path, kind, dice.time());
    if matches!(entry.kind, Kind::Whiteout) {
        // A whiteout is written without anything else.
        entry = Entry::new(entry.path, entry.kind, FileTime::UNIX_EPOCH);
        (entry.accessed, entry.changed) = (None, None);
        return entry;
    }
    entry.created = dice.time();
    entry.accessed = (!dice.one_in(4)).then(|| dice.time());
    entry.changed = (!dice.one_in(4)).then(|| dice.time());
    entry.attributes = Attributes(u32::try_from(dice.next() >> 32).expect("32 bits"));
    let linked = matches!(entry.kind, Kind::HardLink { .. });
    entry.security = (!linked && dice.one_in(2)).then(|| dice.bytes(300));
    for number in 0..dice.below(3) {
        entry.extended.push((format!("{number}{}", dice.name()), dice.bytes(50)));
    }
    entry
}

/// A layer: each file may be followed by streams.
fn layer(seed: u64) -> Layer {
    let mut dice = Dice(seed);
    let mut layer = Vec::new();
    for number in 0..dice.below(30) {
        let entry = entry(&mut dice, number);
        let data = vec![seed.to_le_bytes()[0]; usize::try_from(entry.size()).expect("small")];
        let owner = entry.clone();
        layer.push((entry, data));
        if matches!(owner.kind, Kind::File { .. } | Kind::Directory) {
            for number in 0..dice.below(3) {
                let data = dice.bytes(700);
                let kind = Kind::Stream { name: format!("s{number}"), size: data.len() as u64 };
                let mut stream = Entry::new(owner.path.clone(), kind, owner.modified);
                (stream.accessed, stream.changed) = (owner.accessed, owner.changed);
                layer.push((stream, data));
            }
        }
    }
    layer
}

fn write(layer: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, data) in layer {
        writer.add(entry, &data[..]).expect("an entry that can be written");
    }
    writer.finish().expect("memory takes everything")
}

/// Reads as far as it goes: entries with their data, and how it ended.
fn read(input: impl Read) -> (Layer, Result<(), LayerError>) {
    let mut reader = Reader::new(input);
    let mut layer = Vec::new();
    loop {
        let entry = match reader.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => return (layer, Ok(())),
            Err(error) => return (layer, Err(error)),
        };
        let mut data = Vec::new();
        // What is missing is an error of the next entry, too.
        let _ = reader.copy_to(&mut data);
        layer.push((entry, data));
    }
}

#[test]
fn any_layer_is_read_as_it_was_written() {
    for seed in 0..300 {
        let layer = layer(seed);
        let bytes = write(&layer);
        let (found, end) = read(&bytes[..]);
        assert!(end.is_ok(), "seed {seed}: {end:?}");
        assert_eq!(found, layer, "seed {seed}");
        assert_eq!(write(&found), bytes, "seed {seed}");
    }
}

/// Gives as many bytes at once as the dice say.
struct Dribble<'a>(&'a [u8], Dice);

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.1.one_in(5) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let most = buffer.len().min(1 + self.1.below(900));
        self.0.read(&mut buffer[..most])
    }
}

#[test]
fn how_the_bytes_arrive_does_not_matter() {
    for seed in 0..30 {
        let bytes = write(&layer(seed));
        let (found, end) = read(Dribble(&bytes, Dice(seed)));
        assert!(end.is_ok(), "seed {seed}: {end:?}");
        assert_eq!(found, layer(seed), "seed {seed}");
    }
}

#[test]
fn a_layer_cut_anywhere_is_a_part_of_it() {
    for seed in 0..20 {
        let whole = layer(seed);
        let bytes = write(&whole);
        let mut dice = Dice(seed);
        for _ in 0..50 {
            let (found, end) = read(&bytes[..dice.below(bytes.len())]);
            let complete = found.len() - usize::from(end.is_err() && !found.is_empty());
            assert_eq!(found[..complete], whole[..complete], "seed {seed}");
        }
    }
}

/// Makes checksums right, so that damage behind them is reached.
fn seal(bytes: &mut [u8]) {
    for block in
        bytes.as_chunks_mut::<512>().0.iter_mut().filter(|block| block[257..262] == *b"ustar")
    {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

#[test]
fn damaged_layers_end_and_name_what_is_wrong_in_few_words() {
    let mut dice = Dice(1);
    for round in 0..3_000 {
        let mut bytes = GOLDEN[round % GOLDEN.len()].to_vec();
        for _ in 0..=dice.below(4) {
            let at = dice.below(bytes.len());
            bytes[at] = dice.next().to_le_bytes()[0];
        }
        if dice.one_in(3) {
            let (from, to) =
                (dice.below(bytes.len()) / 512 * 512, dice.below(bytes.len()) / 512 * 512);
            bytes.drain(from.min(to)..from.max(to));
        }
        seal(&mut bytes);
        let (found, end) = read(&bytes[..]);
        let data: usize = found.iter().map(|(_, data)| data.len()).sum();
        assert!(data <= bytes.len(), "round {round}");
        if let Err(error) = end {
            assert!(error.to_string().len() < 1_000, "round {round}: {error}");
        }
    }
}

#[test]
fn noise_is_no_archive() {
    for seed in 0..200 {
        let noise = Dice(seed).bytes(4_000);
        let mut archive = Archive::new(&noise[..]);
        let first = archive.next_member();
        assert!(matches!(first, Err(_) | Ok(None)), "seed {seed}");
    }
}

/// An archive that never ends: the same few blocks over and over.
struct Endless(Vec<u8>, usize);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = &self.0[self.1..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.1 = (self.1 + count) % self.0.len();
        Ok(count)
    }
}

#[test]
fn an_archive_without_end_is_ended_by_a_bound() {
    let mut directory = Writer::new(Vec::new());
    let entry = Entry::new(LayerPath::root_of(Root::Files), Kind::Directory, FileTime::UNIX_EPOCH);
    directory.add(&entry, io::empty()).expect("an entry");
    let bytes = directory.finish().expect("memory takes everything");
    // Without records, for speed, and without the end marker.
    let header = bytes[1_024..1_536].to_vec();
    let mut archive = Archive::new(Endless(header, 0));
    let end = loop {
        match archive.next_member() {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert!(matches!(end, Err(LayerError::Limit { what: "entries", .. })), "{end:?}");
}
