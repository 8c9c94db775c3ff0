//! Contexts that mean harm: each with its error, and with nothing left of it.

use std::io::Read;

use tar::{Builder, EntryType, Header};

use super::*;

/// A header without the checks that a decent writer makes.
fn header(path: &str, kind: EntryType, link: &str, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header.set_size(size);
    header.set_cksum();
    header
}

/// An entry: path, kind, content or link target.
type Item<'a> = (&'a str, EntryType, &'a str);

/// A tar of entries.
fn archive(entries: &[Item<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, kind, text) in entries {
        let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
        let (link, data) = if is_link { (*text, "") } else { ("", *text) };
        let header = header(path, *kind, link, data.len() as u64);
        builder.append(&header, data.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// The error that an archive leads to. Nothing may be left then.
fn failure(mut content: impl Read) -> String {
    let scratch = tempfile::tempdir().unwrap();
    let error = Context::unpack(&mut content, scratch.path()).unwrap_err();
    assert_eq!(fs_err::read_dir(scratch.path()).unwrap().count(), 0, "{error}");
    error.to_string()
}

#[test]
fn what_a_context_may_not_hold_is_named() {
    let file = EntryType::Regular;
    let outside = "which lies outside of it";
    let table: &[(&[Item<'_>], &str)] = &[
        (&[("ok", file, "x"), ("../x", file, "x")], outside),
        (&[("a/../../x", file, "x")], outside),
        (&[("a/b/../../../x", EntryType::Directory, "")], outside),
        (&[("/etc/passwd", file, "x")], "the archive holds \"/etc/passwd\", which lies outside"),
        (&[("up", EntryType::Link, "../x")], "the archive holds \"../x\", which lies outside"),
        (&[("l", EntryType::Symlink, "/etc"), ("l/x", file, "x")], "below something that is not"),
        (&[("h", EntryType::Link, "/etc/passwd")], outside),
        (&[("h", EntryType::Link, "later"), ("later", file, "")], "names no file before it"),
        (&[("d/x", file, ""), ("h", EntryType::Link, "d")], "hard link \"h\" names no file"),
        (&[("dev", EntryType::Block, "")], "holds \"dev\", a device or pipe, which is not"),
        (&[("tty", EntryType::Char, "")], "a device or pipe"),
        (&[("pipe", EntryType::Fifo, "")], "a device or pipe"),
        (&[("s", EntryType::GNUSparse, "")], "holds \"s\", a sparse file, which is not supported"),
        (&[("?", EntryType::new(b'Z'), "")], "an entry of unknown kind"),
    ];
    for (entries, expected) in table {
        let text = failure(&archive(entries)[..]);
        assert!(text.contains(expected), "{entries:?}: {text}");
    }
}

#[test]
fn a_directory_may_be_deep_but_not_endless() {
    let path = |depth| "d/".repeat(depth) + "x";
    let mut builder = Builder::new(Vec::new());
    for depth in [200, 300] {
        let mut header = Header::new_gnu();
        header.set_size(0);
        header.set_mode(0o644);
        builder.append_data(&mut header, path(depth), io::empty()).unwrap();
    }
    let bytes = builder.into_inner().unwrap();
    assert_eq!(failure(&bytes[..]), "the archive holds a path with more than 256 components");
}

#[test]
fn entries_are_counted() {
    // The same directory again and again, as long as somebody reads.
    let block = header("d", EntryType::Directory, "", 0).as_bytes().to_vec();
    let endless = Endless { block, at: 0 };
    assert_eq!(failure(endless), "the archive holds more than 1048576 entries");
}

/// A block again and again.
struct Endless {
    block: Vec<u8>,
    at: usize,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(self.block.len() - self.at);
        buffer[..count].copy_from_slice(&self.block[self.at..self.at + count]);
        self.at = (self.at + count) % self.block.len();
        Ok(count)
    }
}

#[test]
fn bombs_are_found_before_they_fill_the_disk() {
    let head = header("zeros", EntryType::Regular, "", 40 << 30);
    let zeros = io::repeat(0).take(600 << 20);
    let mut bomb = head.as_bytes().chain(zeros);
    let bytes = zstd::encode_all(&mut bomb, 1).unwrap();
    assert!(bytes.len() < 1 << 20, "{}", bytes.len());
    let text = failure(&bytes[..]);
    assert!(text.contains("it grows to more than 100 times its length, as bombs do"), "{text}");
}

#[test]
fn an_archive_that_is_cut_within_an_entry_is_refused() {
    let bytes = archive(&[("a", EntryType::Regular, &"content ".repeat(200))]);
    for cut in [100, 511, 513, 1000] {
        let text = failure(&bytes[..cut]);
        assert!(text.starts_with("cannot read the archive: "), "{cut}: {text}");
    }
    let mut packed = zstd::encode_all(&bytes[..], 1).unwrap();
    packed.truncate(packed.len() - 8);
    assert!(failure(&packed[..]).starts_with("cannot read the archive: "));
    let mut broken = bytes;
    broken[150] ^= 1;
    assert!(failure(&broken[..]).starts_with("cannot read the archive: "));
}

#[test]
fn extension_headers_are_bounded_and_believed_with_care() {
    let record = |key: &str, value: &str| {
        let rest = format!(" {key}={value}\n");
        let mut length = rest.len();
        length += (rest.len() + length.to_string().len()).to_string().len();
        format!("{length}{rest}")
    };
    let size = record("size", "4294967296");
    let table = [
        (size.as_str(), "a file of 8 GiB or more"),
        (&record("path", "../x"), "\"../x\", which lies outside of it"),
        (&record("path", "/x"), "\"/x\", which lies outside of it"),
        ("99999999999999999999 path=x\n", "cannot read the archive"),
        (&"n".repeat(300 << 10), "an extension header of more than 262144 bytes"),
    ];
    for (records, expected) in table {
        let entries = [("pax", EntryType::XHeader, records), ("x", EntryType::Regular, "x")];
        let text = failure(&archive(&entries)[..]);
        assert!(text.contains(expected), "{}: {text}", &records[..20.min(records.len())]);
    }
    let long =
        [("././@LongLink", EntryType::GNULongName, "../../x\0"), ("x", EntryType::Regular, "")];
    assert!(failure(&archive(&long)[..]).contains("\"../../x\", which lies outside of it"));
}

#[test]
fn the_length_that_a_header_claims_is_not_made_room_for() {
    let head = header("huge", EntryType::Regular, "", 7 << 30);
    let bytes = [head.as_bytes().as_slice(), b"short"].concat();
    assert!(failure(&bytes[..]).starts_with("cannot read the archive: "));
}
