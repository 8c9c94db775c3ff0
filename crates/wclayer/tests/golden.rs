//! Layers as Go's `archive/tar` writes them, for every kind of producer.
//!
//! `golden/generate.go` made the tars; `go run generate.go` there makes them again. Python and GNU
//! tar list them, too, so three independent programs agree on what they are.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use oriel_wclayer::archive::Archive;
use oriel_wclayer::{Attributes, Entry, FileTime, Kind, LayerPath, Reader, Writer, security};

const HCSSHIM: &[u8] = include_bytes!("golden/hcsshim.tar");
const UPPER: &[u8] = include_bytes!("golden/upper.tar");
const LARGE: &[u8] = include_bytes!("golden/large.tar");
const BUILDKIT: &[u8] = include_bytes!("golden/buildkit.tar");
const CRANE: &[u8] = include_bytes!("golden/crane.tar");
const IMGUTIL: &[u8] = include_bytes!("golden/imgutil.tar");
const BSDTAR: &[u8] = include_bytes!("golden/bsdtar.tar");

const CREATED: FileTime = FileTime(133_444_736_001_234_567);
const MODIFIED: FileTime = FileTime(133_444_737_001_234_568);
const ACCESSED: FileTime = FileTime(133_444_738_000_000_000);
const CHANGED: FileTime = FileTime(133_444_739_001_234_500);

fn read(tar: &[u8]) -> Vec<(Entry, Vec<u8>)> {
    let mut reader = Reader::new(tar);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry().expect("an entry") {
        let mut data = Vec::new();
        reader.read_to_end(&mut data).expect("its data");
        assert_eq!(data.len() as u64, entry.size());
        entries.push((entry, data));
    }
    entries
}

fn path(name: &str) -> LayerPath {
    LayerPath::parse(name).expect("a name").expect("a name below a root")
}

/// Entries by the name that the tar has for them, as far as one name stands for one entry.
fn by_name(tar: &[u8]) -> BTreeMap<String, (Entry, Vec<u8>)> {
    let name = |entry: &Entry| match &entry.kind {
        Kind::Stream { name, .. } => format!("{}:{name}", entry.path),
        _ => entry.path.to_string(),
    };
    read(tar).into_iter().map(|item| (name(&item.0), item)).collect()
}

/// What an entry of hcsshim's has when nothing else is said.
fn usual(name: &str, kind: Kind) -> Entry {
    let mut entry = Entry::new(path(name), kind, MODIFIED);
    entry.created = CREATED;
    entry.accessed = Some(ACCESSED);
    entry.changed = Some(CHANGED);
    entry.security = match entry.kind {
        Kind::Directory => Some(security::default_directory()),
        Kind::HardLink { .. } | Kind::Stream { .. } => None,
        _ => Some(security::default_file()),
    };
    if matches!(entry.kind, Kind::Stream { .. }) {
        entry.created = MODIFIED;
    }
    entry
}

#[test]
fn files_directories_and_streams_are_as_go_winio_describes_them() {
    let mut found = by_name(HCSSHIM);
    let mut is = |name: &str, expected: Entry, data: &[u8]| {
        assert_eq!(found.remove(name), Some((expected, data.to_vec())), "{name}");
    };
    is("Files", usual("Files", Kind::Directory), b"");
    is("Files/file.txt", usual("Files/file.txt", Kind::File { size: 5 }), b"hello");
    let mut hidden = usual("Files/hidden.sys", Kind::File { size: 0 });
    hidden.attributes =
        hidden.attributes | Attributes::READ_ONLY | Attributes::HIDDEN | Attributes::SYSTEM;
    is("Files/hidden.sys", hidden, b"");
    let mut sparse = usual("Files/sparse.bin", Kind::File { size: 703 });
    sparse.attributes = sparse.attributes | Attributes::SPARSE;
    is("Files/sparse.bin", sparse, &[&[0; 700][..], b"end"].concat());
    let mut ea = usual("Files/ea.bin", Kind::File { size: 1 });
    ea.extended =
        vec![("$KERNEL.PURGE.ESBCACHE".into(), vec![0, 1, 255]), ("EMPTY".into(), vec![])];
    is("Files/ea.bin", ea, b"x");
    for (owner, name, data) in [
        ("Files/streams.txt", "Zone.Identifier", &b"[ZoneTransfer]\r\nZoneId=3\r\n"[..]),
        ("Files/streams.txt", "empty", b""),
        ("Files/dir", "note", b"on a directory"),
    ] {
        let kind = Kind::Stream { name: name.into(), size: data.len() as u64 };
        is(&format!("{owner}:{name}"), usual(owner, kind), data);
    }
    let long = format!("Files/{}/{}/long.txt", "d".repeat(60), "e".repeat(60));
    is(&long, usual(&long, Kind::File { size: 4 }), b"long");
    let cut = format!("Files/{}/cut.txt", "c".repeat(93));
    is(&cut, usual(&cut, Kind::File { size: 3 }), b"cut");
    let wide = "Files/Übung/Grüße 漢字 🙂.txt";
    is(wide, usual(wide, Kind::File { size: 4 }), b"wide");
}

#[test]
fn links_of_all_kinds_keep_the_text_of_their_target() {
    let mut found = by_name(HCSSHIM);
    let reparse = Attributes::REPARSE_POINT;
    for (name, target, attributes) in [
        ("link-relative", r"..\Windows\notepad.exe".to_owned(), Attributes::ARCHIVE | reparse),
        ("link-absolute", r"C:\Windows\notepad.exe".into(), reparse),
        ("link-unc", r"\\server\share\x".into(), reparse),
        ("link-slash", "a/b".into(), reparse),
        ("link-dir", r"C:\Windows".into(), Attributes::DIRECTORY | reparse),
        ("link-long", format!(r"C:\{}ümlaut", "long ".repeat(30)), reparse),
        ("link-cut", format!("{}/end", "t".repeat(99)), reparse),
    ] {
        let name = format!("Files/{name}");
        let mut expected = usual(&name, Kind::Symlink { target });
        expected.attributes = attributes;
        assert_eq!(found.remove(&name).unwrap().0, expected);
    }
    let name = "Files/Documents and Settings";
    let junction = usual(name, Kind::Junction { target: r"C:\Users".into() });
    assert_eq!(found.remove(name).unwrap().0, junction);
    let parent = format!("Files/Windows/WinSxS/{}/in-a-parent.dll", "p".repeat(100));
    for (name, target) in [
        ("Files/z-name", "Files/y-name"),
        ("Files/zz-parent", &parent),
        ("UtilityVM/Files/EFI/copy.efi", "UtilityVM/Files/EFI/bootmgfw.efi"),
    ] {
        let link = usual(name, Kind::HardLink { target: path(target) });
        assert_eq!(found.remove(name).unwrap().0, link);
    }
}

#[test]
fn times_are_kept_to_100_nanoseconds_from_1601_on() {
    let found = by_name(HCSSHIM);
    for (name, units) in [
        ("never", 0),
        ("first", 1),
        ("before-1970", 116_444_735_985_000_000),
        ("epoch", 116_444_736_000_000_000),
        ("whole", 133_444_736_000_000_000),
        ("late", 2_650_467_743_990_000_000),
    ] {
        let (entry, _) = &found[&format!("Files/time-{name}")];
        let time = FileTime(units);
        assert_eq!((entry.created, entry.modified), (time, time), "{name}");
        assert_eq!((entry.accessed, entry.changed), (Some(time), Some(time)), "{name}");
    }
}

#[test]
fn an_upper_layer_has_whiteouts_and_hives() {
    let entries = read(UPPER);
    let whiteouts: Vec<_> = entries
        .iter()
        .filter(|(entry, _)| entry.kind == Kind::Whiteout)
        .map(|(entry, _)| entry.path.to_string())
        .collect();
    let expected = [
        "Files/Windows/notepad.exe".to_owned(),
        format!("Files/Windows/{}", "w".repeat(120)),
        format!("Files/{}/{}", "d".repeat(80), "w".repeat(60)),
        "Files/Windows/gelöscht".into(),
    ];
    assert_eq!(whiteouts, expected);
    let hives = entries.iter().filter(|(entry, data)| {
        entry.path.file_name().ends_with("_Delta")
            && entry.security.is_none()
            && entry.created == MODIFIED
            && data == b"regf"
    });
    assert_eq!(hives.count(), 5);
}

#[test]
fn what_go_wrote_is_written_again_byte_for_byte() {
    for golden in [HCSSHIM, UPPER] {
        let mut writer = Writer::new(Vec::new());
        for (entry, data) in read(golden) {
            writer.add(&entry, &data[..]).unwrap();
        }
        let written = writer.finish().unwrap();
        let differs = written.iter().zip(golden).position(|(ours, gos)| ours != gos);
        assert_eq!((differs, written.len()), (None, golden.len()));
    }
}

/// Takes some bytes and no more.
struct Bounded(Vec<u8>, usize);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.1 - self.0.len());
        self.0.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn sizes_beyond_8_gib_are_in_a_record() {
    let mut reader = Reader::new(LARGE);
    let entry = reader.next_entry().unwrap().unwrap();
    assert_eq!(entry.kind, Kind::File { size: 9 << 30 });
    assert!(reader.next_entry().is_err(), "the data is missing");
    let mut output = Bounded(Vec::new(), LARGE.len());
    assert!(Writer::new(&mut output).add(&entry, io::repeat(0)).is_err());
    assert_eq!(output.0, LARGE);
}

#[test]
fn buildkits_layers_are_read() {
    let found = by_name(BUILDKIT);
    let of = |name: &str| &found[name].0;
    assert_eq!(of("Files/app").kind, Kind::Directory);
    assert_eq!(of("Files/app").security, Some(security::default_directory()));
    assert_eq!(of("Files/app/run.exe").security, Some(security::default_file()));
    assert_eq!(of("Files/app/run.exe").attributes, Attributes::ARCHIVE);
    // The fraction lacks its zeros, so 5 ms became half a second.
    assert_eq!(of("Hives").created, FileTime::from_unix(1_700_000_000, 500_000_000));
    // The target is kept as it stands; who resolves it knows whether `Files/` belongs there.
    assert_eq!(of("Files/app/link.exe").kind, Kind::Symlink { target: "Files/run.exe".into() });
    let target = path("Files/app/run.exe");
    assert_eq!(of("Files/app/hard.exe").kind, Kind::HardLink { target });
    assert_eq!(of("Files/old").kind, Kind::Whiteout);
}

#[test]
fn layers_without_attributes_have_the_usual_ones() {
    for (tar, program) in
        [(CRANE, "Files/app/main.exe"), (IMGUTIL, "Files/cnb/lifecycle/launcher.exe")]
    {
        let found = by_name(tar);
        assert_eq!(found["Files"].0.attributes, Attributes::DIRECTORY);
        let (entry, data) = &found[program];
        assert_eq!((entry.attributes, &data[..]), (Attributes::default(), &b"MZ"[..]));
        assert_eq!(entry.security.as_ref().map(Vec::len), Some(52));
        assert_eq!(entry.created, entry.modified);
    }
}

#[test]
fn a_layer_that_knows_nothing_of_windows_is_read() {
    let found = by_name(BSDTAR);
    assert_eq!(found.len(), 11);
    let (entry, data) = &found["Files/Windows/System32/config/SYSTEM"];
    assert_eq!((entry.security.as_ref(), &data[..]), (None, &b"regf"[..]));
    assert_eq!(entry.modified, FileTime::from_unix(1_650_000_000, 0));
    assert_eq!(found[&format!("Files/{}", "g".repeat(120))].1, b"GNU");
    assert_eq!(found["Files/Windows"].0.attributes, Attributes::DIRECTORY);
}

#[test]
fn a_golden_layer_that_ends_anywhere_is_an_error_or_ends_between_members() {
    for golden in [HCSSHIM, UPPER, BUILDKIT, CRANE, IMGUTIL, BSDTAR] {
        let whole = read(golden).len();
        for length in (0..golden.len()).step_by(97) {
            let mut reader = Reader::new(&golden[..length]);
            let mut entries = 0;
            while let Ok(Some(_)) = reader.next_entry() {
                entries += 1;
            }
            assert!(entries <= whole);
        }
    }
}

#[test]
fn an_independent_reader_sees_the_same_members() {
    for golden in [HCSSHIM, UPPER, BUILDKIT, CRANE, IMGUTIL, BSDTAR] {
        let mut ours = Archive::new(golden);
        let mut other = tar::Archive::new(golden);
        for entry in other.entries().unwrap() {
            let entry = entry.unwrap();
            let member = ours.next_member().unwrap().unwrap();
            assert_eq!(member.name.as_bytes(), &*entry.path_bytes());
            assert_eq!(member.size, entry.size());
        }
        assert_eq!(ours.next_member().unwrap(), None);
    }
}
