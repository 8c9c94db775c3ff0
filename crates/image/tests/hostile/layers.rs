//! Layers: truncated, flipped, mislabelled, and with entries nobody should follow.

use crate::make::{
    BLOCK, base_layer, config_of, digest, dir, docker, docker_of, file, gzip, hard, header, image,
    image_of, junction, layer, member, oci, on_base, padded, pax, raw_pax, seal, symlink, tar,
};
use crate::{Case, refused};

pub(crate) fn cases() -> Vec<Case> {
    [
        truncated(),
        flipped(),
        mislabelled(),
        names(),
        kinds(),
        hard_links(),
        links(),
        duplicates(),
        whiteouts(),
        records(),
        headers(),
        hives(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Tars that are no layers, with what must be said of them.
pub(crate) fn bad_tars() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    vec![
        ("escape", tar(&[file("Files/../x", b"")]), "`..` component"),
        ("device", tar(&[member("Files/dev", b'3', "", b"")]), "tar type '3'"),
        ("truncated", file("Files/x", &[7; 700])[..900].to_vec(), "ends in the middle"),
        ("twice", tar(&[file("Files/x", b"1"), file("Files/X", b"2")]), "another entry"),
        ("missing link", tar(&[hard("Files/x", "Files/y")]), "which no layer has"),
        ("no tar", vec![7; 2000], "bad tar header"),
    ]
}

/// A layer of one file, cut where each of its parts begins or in the middle of it.
fn truncated() -> Vec<Case> {
    let records = pax(&[("MSWINDOWS.fileattr", "32"), ("LIBARCHIVE.creationtime", "1.5")]);
    let whole = tar(&[records, file("Files/x.bin", &[7; 700])]);
    let parts = [
        ("in the PAX header", 100),
        ("before the PAX body", 512),
        ("in the PAX body", 540),
        ("in the padding of the PAX body", 1_000),
        ("before the header", 1_024),
        ("in the header", 1_300),
        ("before the data", 1_536),
        ("in the data", 1_800),
        ("in the second block of the data", 2_100),
        ("in the padding of the data", 2_300),
        ("one byte before the end marker", 2_559),
        ("in the first end block", 2_600),
    ];
    let mut cases: Vec<Case> = parts
        .iter()
        .map(|(part, at)| {
            let name = format!("a layer that ends {part}");
            refused(name, image(&whole[..*at]), "ends in the middle of")
        })
        .collect();
    let archive = image(&whole);
    for (part, at) in [
        ("in its first header", 77),
        ("in the configuration", 600),
        ("before the layer", 1_024),
        ("in the layer", 2_200),
        ("in the manifest", archive.len() - 1_024 - 500),
    ] {
        let says = if at == 1_024 { "the archive lacks" } else { "ends in the middle of" };
        cases.push(refused(format!("an archive that ends {part}"), archive[..at].to_vec(), says));
    }
    cases
}

/// One bit each, with the diff id of what it was.
fn flipped() -> Vec<Case> {
    let records = pax(&[("MSWINDOWS.fileattr", "32")]);
    let whole = tar(&[dir("Files"), records, file("Files/x.bin", &[7; 700])]);
    let config = config_of(&[digest(&whole)]);
    let places = [
        ("the name in a header", 3, "wrong checksum"),
        ("the mode in a header", 103, "wrong checksum"),
        ("the size in a header", 3 * BLOCK + 130, "wrong checksum"),
        ("the checksum", 150, "checksum"),
        ("the type of a header", 156, "wrong checksum"),
        ("the magic of a header", 257, "wrong checksum"),
        ("the length of a record", 2 * BLOCK, "bad PAX record"),
        ("the key of a record", 2 * BLOCK + 6, "has digest"),
        ("the padding of records", 3 * BLOCK - 1, "has digest"),
        ("the data", 4 * BLOCK + 9, "has digest"),
        ("the padding of the data", 6 * BLOCK - 1, "has digest"),
        ("the end marker", 6 * BLOCK + 5, "bad tar header"),
        ("the last byte", whole.len() - 1, "data after an empty block"),
    ];
    places
        .iter()
        .map(|(what, at, says)| {
            let mut layer = whole.clone();
            layer[*at] ^= 1;
            refused(format!("a bit flipped in {what}"), docker_of(&config, &[&layer]), says)
        })
        .collect()
}

/// Digests that are those of something else.
fn mislabelled() -> Vec<Case> {
    let (one, two) = (layer("one"), layer("two"));
    let swapped = config_of(&[digest(&two), digest(&one)]);
    let wrong = config_of(&[digest(b"nothing like it")]);
    let compressed = gzip(&one);
    let of_blob = config_of(&[digest(&compressed)]);
    let half = config_of(&[digest(&one), digest(b"x")]);
    vec![
        refused("a wrong diff id", docker_of(&wrong, &[&one]), "has digest"),
        refused(
            "a wrong diff id of a compressed layer",
            docker_of(&wrong, &[&compressed]),
            "has digest",
        ),
        refused(
            "the digest of the blob as diff id",
            docker_of(&of_blob, &[&compressed]),
            "has digest",
        ),
        refused("diff ids in the wrong order", docker_of(&swapped, &[&one, &two]), "has digest"),
        refused("a wrong diff id above a right one", docker_of(&half, &[&one, &two]), "has digest"),
        refused(
            "a layer with something after it",
            docker_of(&config_of(&[digest(&one)]), &[&[&one[..], b"more"].concat()]),
            "has digest",
        ),
        refused("an empty layer with another diff id", docker_of(&wrong, &[b""]), "has digest"),
        refused(
            "another layer for one that is here",
            docker_of(&config_of(&[digest(&base_layer())]), &[&one]),
            "has digest",
        ),
    ]
}

/// Names that lead out, or that no file can have.
fn names() -> Vec<Case> {
    let long = format!("Files/{}", "n".repeat(256));
    let astral = format!("Files/{}", "\u{1f600}".repeat(128));
    let path = format!("Files{}", "/0123456789".repeat(400));
    let deep = format!("Files{}", "/d".repeat(300));
    let endless = format!("Files/{}", "e".repeat(500_000));
    let list: [(&str, &str, &str); 34] = [
        ("a parent", "..", "`..` component"),
        ("a way out", "../../etc/passwd", "`..` component"),
        ("a way out at once", "Files/../../etc/passwd", "`..` component"),
        ("a way out in the middle", "Files/a/../../../etc/passwd", "`..` component"),
        ("a way out at the end", "Files/..", "`..` component"),
        ("a way out of another root", "Hives/../Files/x", "`..` component"),
        ("a way out of nobody's root", "other/../../x", "`..` component"),
        ("an absolute name", "/etc/passwd", "absolute"),
        ("an absolute name of Files", "/Files/x", "absolute"),
        ("two slashes", "//server/share", "absolute"),
        ("an empty component", "Files//x", "empty component"),
        ("an empty component at the end", "Files/x//", "empty component"),
        ("a dot in the middle", "Files/./x", "`.` component"),
        ("a drive", "C:/Windows/x", "drive letter"),
        ("a drive alone", "C:", "drive letter"),
        ("a drive in Files", "Files/C:/x", "a colon in a directory's name"),
        ("a backslash", r"Files\x", "backslash"),
        ("a way out with backslashes", r"Files\..\..\x", "backslash"),
        ("a backslash in a component", r"Files/a\..\b", "backslash"),
        ("a share", r"\\server\share\x", "backslash"),
        ("a device path", r"\\?\C:\x", "backslash"),
        ("a line feed", "Files/a\nb", "control character"),
        ("an escape", "Files/\u{1b}[31m", "control character"),
        ("a component of 256 characters", &long, "component too long"),
        ("a component of 256 units in 128 characters", &astral, "component too long"),
        ("a path of 4 400 bytes", &path, "too long"),
        ("a name of half a megabyte", &endless, "too long"),
        ("300 directories", &deep, "too deep"),
        ("a stream without a file", "Files/:s", "not a stream's name"),
        ("a stream without a name", "Files/a:", "not a stream's name"),
        ("a stream without a name, of data", "Files/a::$DATA", "not a stream's name"),
        ("a stream of a stream", "Files/a:b:c", "not a stream's name"),
        ("a stream of what is not there", "Files/a:b", "a stream whose file"),
        ("a stream in a directory with a colon", "Files/a:b/c:d", "a colon in a directory's name"),
    ];
    let mut cases: Vec<Case> = list
        .iter()
        .map(|(what, name, says)| {
            refused(format!("named {what}"), image_of(&[file(name, b"x")]), says)
        })
        .collect();
    let latin = member("Files/caf?", b'0', "", b"");
    let mut latin_bytes = latin;
    latin_bytes[9] = 0xe9;
    seal(&mut latin_bytes);
    let gnu = [header("././@LongLink", b'L', 300_000, ""), padded(&vec![b'g'; 300_000])].concat();
    cases.extend([
        refused("named in Latin-1", image_of(&[latin_bytes]), "not UTF-8"),
        refused("a GNU name of 300 000 bytes", image_of(&[gnu, file("x", b"")]), "too long"),
        refused("a file called Files", image_of(&[file("Files", b"x")]), "a directory belongs"),
        refused("a file called Hives", image_of(&[file("Hives", b"x")]), "a directory belongs"),
        refused("a file called FILES", image_of(&[file("FILES", b"x")]), "a directory belongs"),
        refused("a link called Files", image_of(&[symlink("Files", "/")]), "a directory belongs"),
        refused(
            "a file called UtilityVM/Files",
            image_of(&[file("UtilityVM/Files", b"")]),
            "a directory belongs",
        ),
        refused(
            "a file beside UtilityVM/Files",
            image_of(&[file("UtilityVM/x", b"")]),
            "a utility VM holds nothing but Files",
        ),
        refused(
            "a directory beside UtilityVM/Files",
            image_of(&[dir("UtilityVM/Hives")]),
            "a utility VM holds nothing but Files",
        ),
        refused("a directory with a colon", image_of(&[dir("Files/a:b")]), "what is no stream"),
        refused("a link with a colon", image_of(&[symlink("Files/a:b", "c")]), "what is no stream"),
    ]);
    cases
}

/// Entries of a type that is no file.
fn kinds() -> Vec<Case> {
    let of = |flag: u8| image_of(&[dir("Files"), member("Files/dev", flag, "", b"")]);
    let mut cases: Vec<Case> = [
        ("a character device", b'3', "tar type '3'"),
        ("a block device", b'4', "tar type '4'"),
        ("a fifo", b'6', "tar type '6'"),
        ("a sparse file of GNU", b'S', "tar type 'S'"),
        ("a volume label", b'V', "tar type 'V'"),
        ("a part of a file", b'M', "tar type 'M'"),
        ("a directory listing", b'D', "tar type 'D'"),
        ("a socket of Solaris", b'8', "tar type '8'"),
        ("something of the future", b'Z', "tar type 'Z'"),
        ("something unprintable", 0xff, "tar type"),
    ]
    .iter()
    .map(|(what, flag, says)| refused(*what, of(*flag), says))
    .collect();
    let sparse = |key: &str| image_of(&[pax(&[(key, "1")]), file("Files/x", b"x")]);
    for key in ["GNU.sparse.major", "GNU.sparse.map", "GNU.sparse.realsize"] {
        cases.push(refused(format!("a sparse file by {key}"), sparse(key), "tar type 'S'"));
    }
    cases.push(refused(
        "a device in a utility VM",
        image_of(&[member("UtilityVM/Files/dev", b'3', "", b"")]),
        "tar type '3'",
    ));
    cases.push(refused(
        "a device among the hives",
        image_of(&[member("Hives/System_Delta", b'4', "", b"")]),
        "tar type '4'",
    ));
    cases
}

fn hard_links() -> Vec<Case> {
    let outside = "a hard link outside of Files";
    let list: [(&str, Vec<Vec<u8>>, &'static str); 17] = [
        ("to what is not there", vec![hard("Files/a", "Files/b")], "which no layer has"),
        (
            "to what another root has",
            vec![file("Hives/b", b""), hard("Files/a", "Hives/b")],
            outside,
        ),
        ("from another root", vec![file("Files/b", b""), hard("Hives/a", "Files/b")], outside),
        ("to a directory", vec![dir("Files/b"), hard("Files/a", "Files/b")], "which no layer has"),
        (
            "to a directory of the base",
            vec![hard("Files/a", "Files/Windows")],
            "which no layer has",
        ),
        ("to the root", vec![hard("Files/a", "Files")], outside),
        ("to nobody's root", vec![hard("Files/a", "other/b")], outside),
        ("out of the tree", vec![hard("Files/a", "../../etc/passwd")], "`..` component"),
        ("out of the tree by Files", vec![hard("Files/a", "Files/../../x")], "`..` component"),
        ("to an absolute name", vec![hard("Files/a", "/etc/passwd")], "absolute"),
        ("to a drive", vec![hard("Files/a", "C:/b")], "drive letter"),
        ("with backslashes", vec![hard("Files/a", r"Files\b")], "backslash"),
        ("to nothing", vec![hard("Files/a", "")], outside),
        ("to itself", vec![hard("Files/a", "Files/a")], "to itself"),
        ("to a stream", vec![file("Files/b", b""), hard("Files/a", "Files/b:s")], "to a stream"),
        (
            "to each other",
            vec![hard("Files/a", "Files/b"), hard("Files/b", "Files/a")],
            "which no layer has",
        ),
        (
            "through a link",
            vec![symlink("Files/l", r"C:\Windows"), hard("Files/a", "Files/l/below.txt")],
            "which no layer has",
        ),
    ];
    let mut cases: Vec<Case> = list
        .into_iter()
        .map(|(what, members, says)| {
            refused(format!("a hard link {what}"), on_base(&members), says)
        })
        .collect();
    cases.push(refused(
        "a hard link to a file of the base when there is none",
        image_of(&[hard("Files/a", "Files/Windows/below.txt")]),
        "which no layer has",
    ));
    cases.push(refused(
        "a hard link to a link",
        image_of(&[symlink("Files/l", "/etc/passwd"), hard("Files/a", "Files/l")]),
        "which no layer has",
    ));
    cases
}

/// Links that are written through, and links where none belongs.
fn links() -> Vec<Case> {
    let through = "something else where this needs a directory";
    let targets = [
        ("an absolute path", "/etc"),
        ("a drive", r"C:\Windows"),
        ("a way out", "../../../../etc"),
        ("a way out with backslashes", r"..\..\..\..\etc"),
        ("the NT root", r"\??\C:\"),
        ("a share", r"\\server\share"),
        ("itself", "l"),
    ];
    let mut cases = Vec::new();
    for (what, target) in targets {
        for (kind, link) in
            [("link", symlink("Files/l", target)), ("junction", junction("Files/l", target))]
        {
            let members = [link, file("Files/l/passwd", b"x")];
            cases.push(refused(
                format!("a file through a {kind} to {what}"),
                image_of(&members),
                through,
            ));
        }
    }
    let link = || symlink("Files/l", "/etc");
    for (what, second) in [
        ("a directory", dir("Files/l/d")),
        ("a link", symlink("Files/l/m", "x")),
        ("another name", hard("Files/l/m", "Files/x")),
        ("a file deeper down", file("Files/l/a/b/c", b"x")),
        ("a file in other case", file("Files/L/passwd", b"x")),
    ] {
        let members = [file("Files/x", b"x"), link(), second];
        cases.push(refused(format!("{what} through a link"), image_of(&members), through));
    }
    let endless = "t".repeat(5_000);
    cases.extend([
        refused("a link to nothing", image_of(&[symlink("Files/l", "")]), "empty or too long"),
        refused(
            "a link to 5 000 bytes",
            image_of(&[symlink("Files/l", &endless)]),
            "empty or too long",
        ),
        refused(
            "a link among the hives",
            image_of(&[symlink("Hives/System_Delta", "/etc/shadow")]),
            "a link outside of Files",
        ),
        refused(
            "a junction among the hives",
            image_of(&[junction("Hives/x", "/etc")]),
            "a link outside of Files",
        ),
        refused(
            "a link beside a utility VM's files",
            image_of(&[symlink("UtilityVM/x", "/")]),
            "a utility VM holds nothing but Files",
        ),
        refused(
            "a link as a utility VM's files",
            image_of(&[symlink("UtilityVM/Files", "/")]),
            "a directory belongs",
        ),
        refused(
            "a link as a utility VM",
            image_of(&[symlink("UtilityVM", "/")]),
            "a directory belongs",
        ),
    ]);
    cases
}

fn duplicates() -> Vec<Case> {
    let again = "another entry of that name";
    let instead = "something else where this needs a directory";
    let list: [(&str, Vec<Vec<u8>>, &'static str); 13] = [
        ("a file twice", vec![file("Files/a", b"1"), file("Files/a", b"2")], again),
        ("a file in two cases", vec![file("Files/a", b"1"), file("Files/A", b"2")], again),
        (
            "a file in two cases of a",
            vec![file("Files/\u{e4}", b""), file("Files/\u{c4}", b"")],
            again,
        ),
        (
            "a directory in two cases around a file",
            vec![file("Files/d/a", b"1"), file("Files/D/a", b"2")],
            again,
        ),
        ("a file and a link", vec![file("Files/a", b""), symlink("Files/a", "x")], again),
        ("a link and a file", vec![symlink("Files/a", "x"), file("Files/a", b"")], again),
        ("a link twice", vec![symlink("Files/a", "x"), symlink("Files/a", "y")], again),
        (
            "a file and a hard link",
            vec![file("Files/b", b""), file("Files/a", b""), hard("Files/a", "Files/b")],
            again,
        ),
        ("a file and a directory", vec![file("Files/a", b""), dir("Files/a")], again),
        ("a directory and a file", vec![dir("Files/a"), file("Files/a", b"")], again),
        ("a directory and a link", vec![dir("Files/a"), symlink("Files/a", "/etc")], again),
        (
            "a directory only meant and a link",
            vec![file("Files/a/b", b""), symlink("Files/a", "/etc")],
            again,
        ),
        (
            "a stream twice",
            vec![file("Files/a", b""), file("Files/a:s", b""), file("Files/a:S:$DATA", b"")],
            again,
        ),
    ];
    let mut cases: Vec<Case> = list
        .into_iter()
        .map(|(what, members, says)| refused(format!("twice: {what}"), image_of(&members), says))
        .collect();
    cases.push(refused(
        "twice: a file and what is in it",
        image_of(&[file("Files/a", b""), file("Files/a/b", b"")]),
        instead,
    ));
    cases
}

fn whiteouts() -> Vec<Case> {
    let outside = "a whiteout outside of Files";
    [
        ("of nothing", "Files/.wh.", "not a single name"),
        ("of a dot", "Files/.wh..", "`.` component"),
        ("of the parent", "Files/.wh...", "`..` component"),
        ("of a hive", "Hives/.wh.System_Delta", outside),
        ("of all hives", "Hives/.wh..wh..opq", outside),
        ("of the utility VM's files", "UtilityVM/.wh.Files", outside),
        ("of what is beside them", "UtilityVM/.wh.x", outside),
        ("of a mark of aufs", "Files/.wh..wh.plnk", "a reserved name"),
        ("of a backslash", r"Files/.wh.\", "backslash"),
        ("of a way out", r"Files/../.wh.x", "`..` component"),
    ]
    .iter()
    .map(|(what, name, says)| {
        refused(format!("a whiteout {what}"), on_base(&[file(name, b"")]), says)
    })
    .collect()
}

/// PAX records that say nothing, too much, or two things.
fn records() -> Vec<Case> {
    let with = |records: &[(&str, &str)]| image_of(&[pax(records), file("Files/x", b"x")]);
    let mut cases: Vec<Case> = [
        ("attributes that are no number", "MSWINDOWS.fileattr", "hidden"),
        ("negative attributes", "MSWINDOWS.fileattr", "-1"),
        ("attributes of 33 bits", "MSWINDOWS.fileattr", "4294967296"),
        ("no attributes", "MSWINDOWS.fileattr", ""),
        ("a descriptor that is no base64", "MSWINDOWS.rawsd", "***"),
        ("a descriptor without padding", "MSWINDOWS.rawsd", "AQ"),
        ("an extended attribute that is no base64", "MSWINDOWS.xattr.A", "!"),
        ("a creation time that is none", "LIBARCHIVE.creationtime", "yesterday"),
        ("a creation time with an exponent", "LIBARCHIVE.creationtime", "1e9"),
        ("an access time that is none", "atime", "1.x"),
        ("a change time beyond all numbers", "ctime", "99999999999999999999"),
        ("a time of writing that is none", "mtime", "x"),
        ("a size that is no number", "size", "many"),
        ("a negative size", "size", "-1"),
    ]
    .iter()
    .map(|(what, key, value)| refused(*what, with(&[(*key, *value)]), "bad PAX record"))
    .collect();
    let huge = "s".repeat(1 << 20);
    let bodies: [(&str, &[u8]); 8] = [
        ("a record without a length", b"path=x\n"),
        ("a record without a line feed", b"9 path=x "),
        ("a record longer than all", b"99 path=x\n"),
        ("a record without a key", b"5 =x\n"),
        ("a record without a value", b"7 path\n"),
        ("a record of length 0", b"0 path=x\n"),
        ("a record of an endless length", b"99999999999999999999999 path=x\n"),
        ("zeros after the records", b"10 path=x\n\0\0\0\0"),
    ];
    for (what, body) in bodies {
        let archive = image_of(&[raw_pax(body), file("Files/x", b"x")]);
        cases.push(refused(what, archive, "bad PAX record"));
    }
    let five = vec![pax(&[("a", "b")]); 5].concat();
    let gnu = [header("././@LongLink", b'L', 8, ""), padded(b"Files/y\0")].concat();
    let late = [pax(&[("path", "Files/a")]), pax(&[("path", "Files/../../b")])].concat();
    cases.extend([
        refused("a megabyte of records", with(&[("MSWINDOWS.xattr.A", &huge)]), "PAX records"),
        refused(
            "a terabyte of records",
            image_of(&[header("x", b'x', 1 << 32, "")]),
            "PAX records",
        ),
        refused("a terabyte of a name", image_of(&[header("x", b'L', 1 << 32, "")]), "PAX records"),
        refused("five headers of records", image_of(&[five, file("Files/x", b"")]), "too many ext"),
        refused("records of nothing", image_of(&[pax(&[("a", "b")])]), "ends in the middle of"),
        refused("a NUL in a path", with(&[("path", "Files/x\0.txt")]), "NUL in a PAX record"),
        refused("a NUL in a key", with(&[("pa\0th", "Files/x")]), "NUL in a PAX record"),
        refused("a path that leads out", with(&[("path", "../x")]), "`..` component"),
        refused(
            "a second path that leads out",
            image_of(&[late, file("Files/x", b"")]),
            "`..` comp",
        ),
        refused(
            "a GNU and a PAX name",
            image_of(&[gnu, pax(&[("path", "Files/x")]), file("Files/z", b"")]),
            "both PAX and GNU",
        ),
        refused(
            "a size beyond the layer",
            with(&[("size", "1000000000000")]),
            "a layer exceeds the limit",
        ),
        refused("a size beyond all", with(&[("size", "18446744073709551615")]), "impossible size"),
    ]);
    cases
}

/// Headers that are none.
fn headers() -> Vec<Case> {
    let edited = |at: usize, bytes: &[u8]| {
        let mut member = file("Files/x", b"x");
        member[at..at + bytes.len()].copy_from_slice(bytes);
        seal(&mut member);
        image_of(&[member])
    };
    let unsealed = {
        let mut member = file("Files/x", b"x");
        member[148..156].copy_from_slice(b"000000\0 ");
        image_of(&[member])
    };
    let lone_end = tar(&[file("Files/x", b"x"), vec![0; BLOCK], file("Files/y", b"y")]);
    let beyond = [0x80, 0, 0, 0, 0, 0, 0, 0x7f, 0, 0, 0, 0];
    vec![
        refused("a wrong checksum", unsealed, "wrong checksum"),
        refused("a size in letters", edited(124, b"abcdefghijk"), "bad size"),
        refused("a size with a sign", edited(124, b"+0000000001"), "bad size"),
        refused("a size with an eight", edited(124, b"00000000008"), "bad size"),
        refused("a negative size in base 256", edited(124, &[0xff; 12]), "bad size"),
        refused("a size beyond 64 bits", edited(124, &[0xbf; 12]), "bad size"),
        refused("a size of some terabytes", edited(124, &beyond), "a layer exceeds the limit"),
        refused("an entry after a lone end block", image(&lone_end), "data after an empty block"),
        refused("a layer of letters", image(&b"hello ".repeat(200)), "bad tar header"),
        refused("a layer of 600 bytes", image(&[7; 600]), "bad tar header"),
        refused("a layer of one byte", image(b"x"), "ends in the middle of"),
        refused(
            "a layer that is a ZIP",
            image(&[&b"PK\x03\x04"[..], &[0; 600]].concat()),
            "bad tar",
        ),
        refused("a layer that is a PE file", image(&[&b"MZ"[..], &[9; 2000]].concat()), "bad tar"),
    ]
}

/// Damaged hives: nobody reads them before there is a container.
fn hives() -> Vec<Case> {
    let hive = {
        let mut root = oriel_hive::Key::new("ROOT");
        for name in ["a", "b", r"b\c"] {
            let key = root.get_or_create(name).expect("short names");
            key.set_value(oriel_hive::Value::sz("v", "text"));
        }
        oriel_hive::write(&root).expect("a small hive")
    };
    let mut flipped = hive.clone();
    flipped[100] ^= 1;
    let mut torn = hive.clone();
    torn[4096..4200].fill(0xff);
    let cut = hive[..4_100].to_vec();
    let mut cases = Vec::new();
    for (what, bytes) in [
        ("no hive", b"regf".to_vec()),
        ("text", b"Windows Registry Editor Version 5.00\r\n".repeat(200)),
        ("with a flipped bit", flipped),
        ("without its cells", cut),
        ("with torn cells", torn),
    ] {
        let base = "Files/Windows/System32/config/SYSTEM";
        cases.push(refused(
            format!("a base hive that is {what}"),
            image_of(&[file(base, &bytes)]),
            "read hive SYSTEM",
        ));
        for delta in ["System_Delta", "Software_Delta", "DefaultUser_Delta"] {
            let name = format!("a {delta} that is {what}");
            let archive = on_base(&[file(&format!("Hives/{delta}"), &bytes)]);
            cases.push(refused(name, archive, "_Delta of"));
        }
    }
    let blob = gzip(&layer("other"));
    let swapped = oci(&layer("this"), "application/vnd.oci.image.layer.v1.tar+gzip", &blob);
    cases.push(refused("a compressed layer of another", swapped, "has digest"));
    let twice = docker(&[&layer("once"), &tar(&[hard("Files/x", "Files/WHAT.txt/y")])]);
    cases.push(refused("a hard link below a file", twice, "which no layer has"));
    cases
}
