//! What genuine and other producers write, odd as it is: it loads, and a container can be made.

use serde_json::json;

use crate::make::{
    base_layer, config, dir, docker, docker_of, file, hard, header, image, image_of, junction,
    layer, member, on_base, padded, pax, seal, symlink, tar,
};
use crate::{Case, loaded};

/// Golden layers of the codec, as Go's `archive/tar` wrote them.
const BUILDKIT: &[u8] = include_bytes!("../../../wclayer/tests/golden/buildkit.tar");
const CRANE: &[u8] = include_bytes!("../../../wclayer/tests/golden/crane.tar");
const IMGUTIL: &[u8] = include_bytes!("../../../wclayer/tests/golden/imgutil.tar");

pub(crate) fn cases() -> Vec<Case> {
    [producers(), names(), links(), whiteouts(), records(), headers(), configs()]
        .into_iter()
        .flatten()
        .collect()
}

fn producers() -> Vec<Case> {
    let bsdtar = tar(&[
        dir("./"),
        dir("./Files/"),
        dir("./Files/Windows/"),
        file("./Files/License.txt", b"CC0"),
        file("./Files/empty", b""),
    ]);
    let stream = [
        dir("Files"),
        file("Files/a.txt", b"a"),
        file("Files/a.txt:Zone.Identifier", b"[ZoneTransfer]"),
        file("Files/a.txt:second:$DATA", b"2"),
        dir("Files/d"),
        file("Files/d:note", b"of a directory"),
    ];
    let utility = [
        dir("Files"),
        dir("UtilityVM"),
        dir("UtilityVM/Files"),
        file("UtilityVM/Files/EFI/Microsoft/Boot/BCD", b"regf"),
        hard("UtilityVM/Files/copy", "UtilityVM/Files/EFI/Microsoft/Boot/BCD"),
        symlink("UtilityVM/Files/link", r"C:\EFI"),
    ];
    vec![
        loaded("a layer of BuildKit", docker(&[&base_layer(), BUILDKIT])),
        loaded("a layer of crane", docker(&[&base_layer(), CRANE])),
        loaded("a layer of imgutil", docker(&[&base_layer(), IMGUTIL])),
        loaded("a layer of crane alone", docker(&[CRANE])),
        loaded("a layer of bsdtar", image(&bsdtar)),
        loaded("streams in both spellings", image_of(&stream)),
        loaded("a utility VM", image_of(&utility)),
        loaded("a layer of nothing", image_of(&[])),
        loaded("a layer of no bytes", image(b"")),
        loaded("a layer of Files alone", image_of(&[dir("Files")])),
        loaded(
            "a layer with hives of no bytes",
            image_of(&[
                file("Files/Windows/System32/config/SYSTEM", b""),
                file("Files/Windows/System32/config/SOFTWARE", b""),
            ]),
        ),
        loaded("the same layer twice", docker(&[&layer("x"), &layer("x")])),
        loaded("100 layers", {
            let layers: Vec<Vec<u8>> = (0..100).map(|number| layer(&number.to_string())).collect();
            docker(&layers.iter().map(Vec::as_slice).collect::<Vec<_>>())
        }),
    ]
}

fn names() -> Vec<Case> {
    let long = format!("Files/{}", "\u{e4}".repeat(127));
    let deep = format!("Files{}", "/d".repeat(250));
    [
        ("a device of DOS", vec![file("Files/CON", b""), file("Files/nul.txt", b"")]),
        ("a dot and a blank at the end", vec![file("Files/a.", b""), file("Files/b ", b"")]),
        ("characters Win32 has no files with", vec![file("Files/a<b>|\"?*", b"")]),
        ("a percent sign", vec![file("Files/%SystemRoot%", b"")]),
        ("three dots", vec![file("Files/...", b"")]),
        ("a Greek and a Cyrillic name", vec![file("Files/\u{3b1}\u{44f}", b"")]),
        ("a name of 254 bytes", vec![file(&long, b"")]),
        ("250 directories", vec![file(&format!("{deep}/x"), b"")]),
        ("roots in other case", vec![dir("FILES"), file("files/a", b""), dir("HIVES")]),
        ("other roots", vec![file("layout", b"vhd"), dir("blank"), file("blank/x", b"x")]),
        (
            "children before their parents",
            vec![file("Files/a/b/c", b""), dir("Files/a"), dir("Files")],
        ),
        ("directories twice", vec![dir("Files"), dir("Files/a"), dir("Files/A/"), dir("Files")]),
        ("names that differ in more than case", vec![file("Files/a", b""), file("Files/a ", b"")]),
    ]
    .into_iter()
    .map(|(what, members)| loaded(format!("named with {what}"), image_of(&members)))
    .collect()
}

fn links() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        ("a drive", r"C:\Windows"),
        ("another drive", r"D:\x"),
        ("a share", r"\\server\share\x"),
        ("the NT root", r"\??\C:\Users"),
        ("a long path", r"\\?\C:\Users"),
        ("a way out", r"..\..\..\..\..\etc\passwd"),
        ("a way out with slashes", "../../../../../etc/passwd"),
        ("an absolute path of Linux", "/etc/passwd"),
        ("nothing that is there", "nowhere"),
        ("itself", "l"),
        ("what BuildKit prefixes", "Files/x"),
        ("a volume", r"\\?\Volume{01234567-89ab-cdef-0123-456789abcdef}\"),
        ("a text of blanks", "   "),
    ]
    .iter()
    .flat_map(|(what, target)| {
        let of = |link: Vec<u8>| image_of(&[dir("Files"), file("Files/x", b"x"), link]);
        [
            loaded(format!("a link to {what}"), of(symlink("Files/l", target))),
            loaded(format!("a junction to {what}"), of(junction("Files/l", target))),
        ]
    })
    .collect();
    cases.extend([
        loaded("a hard link into the base", on_base(&[hard("Files/a", "Files/Windows/below.txt")])),
        loaded(
            "a hard link into the base in other case",
            on_base(&[hard("Files/a", "FILES/WINDOWS/Below.TXT")]),
        ),
        loaded(
            "a hard link before its target",
            image_of(&[hard("Files/a", "Files/b"), file("Files/b", b"")]),
        ),
        loaded(
            "a hard link to a hard link",
            image_of(&[
                file("Files/a", b"a"),
                hard("Files/b", "Files/a"),
                hard("Files/c", "Files/b"),
            ]),
        ),
        loaded(
            "two links that lead to each other",
            image_of(&[
                symlink("Files/a", "b"),
                symlink("Files/b", "a"),
                junction("Files/c", r"C:\"),
            ]),
        ),
    ]);
    cases
}

fn whiteouts() -> Vec<Case> {
    [
        ("of a file below", vec![file("Files/Windows/.wh.below.txt", b"")]),
        ("of a file below in other case", vec![file("Files/WINDOWS/.wh.BELOW.txt", b"")]),
        ("of a directory below", vec![file("Files/.wh.Windows", b"")]),
        ("of nothing that is there", vec![file("Files/.wh.none", b"")]),
        ("in a directory that is not there", vec![file("Files/none/.wh.x", b"")]),
        ("with data", vec![file("Files/Windows/.wh.below.txt", b"data")]),
        ("that is a directory", vec![dir("Files/Windows/.wh.below.txt")]),
        ("that is a device", vec![member("Files/Windows/.wh.below.txt", b'3', "", b"")]),
        ("twice", vec![file("Files/Windows/.wh.below.txt", b""); 2]),
        (
            "before what replaces it",
            vec![file("Files/Windows/.wh.below.txt", b""), file("Files/Windows/below.txt", b"new")],
        ),
        (
            "after what replaces it",
            vec![file("Files/Windows/below.txt", b"new"), file("Files/Windows/.wh.below.txt", b"")],
        ),
        ("of all in a directory", vec![file("Files/Windows/.wh..wh..opq", b"")]),
        ("of all in C:", vec![file("Files/.wh..wh..opq", b"")]),
        (
            "of all, after something new",
            vec![file("Files/Windows/new", b""), file("Files/Windows/.wh..wh..opq", b"")],
        ),
        ("in a utility VM", vec![file("UtilityVM/Files/.wh.x", b"")]),
    ]
    .into_iter()
    .map(|(what, members)| loaded(format!("a whiteout {what}"), on_base(&members)))
    .collect()
}

fn records() -> Vec<Case> {
    [
        (
            "unknown keys",
            vec![("SCHILY.xattr.user.x", "y"), ("comment", "hi"), ("MSWINDOWS.new", "?")],
        ),
        ("a key twice", vec![("MSWINDOWS.fileattr", "1"), ("MSWINDOWS.fileattr", "32")]),
        ("attributes of all bits", vec![("MSWINDOWS.fileattr", "4294967295")]),
        ("a descriptor as text", vec![("MSWINDOWS.sd", "O:BAG:SYD:(A;;FA;;;BA)")]),
        ("a descriptor as text of a domain", vec![("MSWINDOWS.sd", "O:DAG:DU")]),
        ("a descriptor that is none", vec![("MSWINDOWS.rawsd", "AQID")]),
        ("an empty descriptor", vec![("MSWINDOWS.rawsd", "")]),
        ("extended attributes", vec![("MSWINDOWS.xattr.A", "AQ=="), ("MSWINDOWS.xattr.", "AQ==")]),
        ("times before 1601", vec![("mtime", "-99999999999"), ("atime", "-99999999999")]),
        ("times after 9999", vec![("mtime", "999999999999"), ("ctime", "999999999999")]),
        ("times of many digits", vec![("mtime", "1.000000000000000000000001")]),
        ("empty records", vec![("path", ""), ("mtime", ""), ("size", ""), ("linkpath", "")]),
        ("a right size", vec![("size", "1")]),
        ("another name", vec![("path", "Files/other")]),
    ]
    .into_iter()
    .map(|(what, records)| {
        loaded(format!("records with {what}"), image_of(&[pax(&records), file("Files/x", b"x")]))
    })
    .collect()
}

fn headers() -> Vec<Case> {
    let edited = |at: usize, bytes: &[u8]| {
        let mut member = file("Files/x", b"x");
        member[at..at + bytes.len()].copy_from_slice(bytes);
        seal(&mut member);
        image_of(&[member])
    };
    let global = [header("pax_global_header", b'g', 13, ""), padded(b"13 comment=x\n")].concat();
    let gnu = [header("././@LongLink", b'L', 8, ""), padded(b"Files/y\0")].concat();
    let signed = {
        let mut member = file("Files/\u{e4}", b"x");
        let sum: i64 = member[..512]
            .iter()
            .enumerate()
            .map(
                |(at, byte)| {
                    if (148..156).contains(&at) { 32 } else { i64::from(byte.cast_signed()) }
                },
            )
            .sum();
        member[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        image_of(&[member])
    };
    let one = image_of(&[file("Files/x", b"x")]);
    let layer = tar(&[file("Files/x", b"x")]);
    vec![
        loaded("a size with blanks", edited(124, b"         1 \0")),
        loaded("a size that ends in a blank", edited(124, b"00000000001 ")),
        loaded("a size in base 256", edited(124, &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])),
        loaded("a time in base 256", edited(136, &[0xff; 12])),
        loaded("a time that is no number", edited(136, b"abcdefghijk\0")),
        loaded("a mode that is no number", edited(100, b"letters\0")),
        loaded("no magic", edited(257, &[0; 8])),
        loaded("the magic of GNU", edited(257, b"ustar  \0")),
        loaded("the type of old tars", edited(156, &[0])),
        loaded("the type of contiguous files", edited(156, b"7")),
        loaded("a checksum of signed bytes", signed),
        loaded("global records", image_of(&[global, file("Files/x", b"x")])),
        loaded("a GNU name", image_of(&[gnu, file("z", b"x")])),
        loaded(
            "a directory with a size",
            image_of(&[header("Files/d", b'5', 4_096, ""), file("Files/x", b"")]),
        ),
        loaded("no end marker", image(&layer[..layer.len() - 1_024])),
        loaded("one end block", image(&layer[..layer.len() - 512])),
        loaded("garbage after the end", image(&[&layer[..], b"garbage"].concat())),
        loaded("an archive without an end", one[..one.len() - 1_024].to_vec()),
    ]
}

fn configs() -> Vec<Case> {
    let one = layer("config");
    let with = |key: &str, value: serde_json::Value| {
        let mut config: serde_json::Value =
            serde_json::from_str(&config(&[&one])).expect("a configuration");
        config[key] = value;
        docker_of(&config.to_string(), &[&one])
    };
    let history: Vec<_> = (0..10_000)
        .map(|number| json!({"created_by": format!("step {number}"), "empty_layer": true}))
        .collect();
    let deep = serde_json::from_str(&format!("{}{}", "[".repeat(100), "]".repeat(100)));
    vec![
        loaded("a history of 10 000 steps", with("history", history.into())),
        loaded("a history of null", with("history", json!(null))),
        loaded("settings of null", with("config", json!(null))),
        loaded(
            "lists of null",
            with(
                "config",
                json!({
                    "Env": null, "Cmd": null, "Labels": null, "Volumes": null, "ExposedPorts": null,
                }),
            ),
        ),
        loaded("unknown fields", with("x", json!({"y": [1, {"z": null}]}))),
        loaded("100 lists in lists", with("x", deep.expect("within what serde_json takes"))),
        loaded("a system in capitals", with("os", json!("Windows"))),
        loaded("an unknown architecture", with("architecture", json!("sparc"))),
        loaded("a time that is none", with("created", json!("yesterday"))),
        loaded("a version that is none", with("os.version", json!("eleven"))),
    ]
}
