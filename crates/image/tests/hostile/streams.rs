//! Compressed streams: truncated, damaged, concatenated, and far larger than they look.

use crate::make::{
    LAYER, config_of, digest, docker, docker_of, file, gzip, header, image, layer, oci, pax, tar,
    zstd,
};
use crate::{Case, loaded, refused};

pub(crate) fn cases() -> Vec<Case> {
    [damaged(), bombs(), sound()].into_iter().flatten().collect()
}

/// A layer that does not compress to nothing.
fn noisy() -> Vec<u8> {
    let mut state = 1_u32;
    let noise: Vec<u8> = (0..200_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect();
    tar(&[file("Files/noise.bin", &noise)])
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn damaged() -> Vec<Case> {
    let layer = noisy();
    let config = config_of(&[digest(&layer)]);
    let with = |blob: &[u8]| docker_of(&config, &[blob]);
    let whole = image(&layer);
    let mut cases = Vec::new();
    for (kind, compress) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("zstd", zstd)] {
        let (blob, archive) = (compress(&layer), compress(&whole));
        let flipped = |bytes: &[u8], at: usize| {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 0x10;
            flipped
        };
        let middle = blob.len() / 2;
        let named = |what: &str| format!("{kind}: {what}");
        cases.extend([
            refused(named("a layer cut after its magic"), with(&blob[..7]), "layer"),
            refused(named("a layer cut in the middle"), with(&blob[..middle]), "layer"),
            refused(named("a layer cut before its end"), with(&blob[..blob.len() - 3]), "layer"),
            refused(named("a layer with a flipped bit"), with(&flipped(&blob, middle)), "layer"),
            refused(
                named("a layer with garbage after it"),
                with(&[&blob[..], b"garbage"].concat()),
                "layer",
            ),
            refused(
                named("a layer twice in a row"),
                with(&[&blob[..], &blob].concat()),
                "has digest",
            ),
            refused(named("a layer compressed twice"), with(&compress(&blob)), "bad tar header"),
            refused(
                named("an archive cut in the middle"),
                archive[..archive.len() / 2].to_vec(),
                "archive",
            ),
            refused(named("an archive cut after its magic"), archive[..7].to_vec(), "archive"),
            refused(
                named("an archive with a flipped bit"),
                flipped(&archive, archive.len() / 2),
                "",
            ),
        ]);
    }
    let mut checked = gzip(&layer);
    let end = checked.len();
    checked[end - 6] ^= 1;
    let mut sized = gzip(&layer);
    sized[end - 1] ^= 1;
    cases.extend([
        refused("gzip: a wrong check sum", with(&checked), "layer"),
        refused("gzip: a wrong length", with(&sized), "layer"),
        refused("gzip: a magic alone", with(&[0x1f, 0x8b]), "layer"),
        refused(
            "gzip: an unknown method",
            with(&[0x1f, 0x8b, 9, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3]),
            "layer",
        ),
        refused(
            "gzip: reserved flags",
            with(&[0x1f, 0x8b, 8, 0xff, 0, 0, 0, 0, 0, 3, 1, 2, 3]),
            "layer",
        ),
        refused(
            "zstd: a window of 2 GiB",
            with(&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 1, 0, 0]),
            "layer",
        ),
        refused(
            "zstd: a reserved block",
            with(&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 7, 0, 0]),
            "layer",
        ),
        refused(
            "zstd: a dictionary nobody has",
            with(&[0x28, 0xb5, 0x2f, 0xfd, 0x01, 0x58, 0x07, 1, 0, 0]),
            "layer",
        ),
        refused("a layer in bzip2", with(b"BZh91AY&SY\x4d\x05\x4f\x95"), "bzip2 or xz"),
        refused("a layer in xz", with(b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46"), "bzip2 or xz"),
        refused(
            "a layer called gzip that is none",
            oci(&noisy(), &format!("{LAYER}+gzip"), b"plain text, no tar"),
            "ends in the middle",
        ),
    ]);
    cases
}

/// Small streams that become large, each stopped by the first bound it meets.
fn bombs() -> Vec<Case> {
    let zeros = vec![0; 32 << 20];
    let records = [header("x", b'x', 1 << 32, ""), zeros.clone()].concat();
    let claimed = [header("Files/x", b'0', 7 << 30, ""), zeros.clone()].concat();
    let giant = [pax(&[("size", "1099511627776")]), header("Files/x", b'0', 0, ""), zeros].concat();
    let member =
        [pax(&[("size", "1099511627776")]), header("x", b'0', 0, ""), vec![0; 9 << 20]].concat();
    let document = tar(&[file("manifest.json", &vec![b' '; 64 << 20])]);
    let config = format!(r#"{{"os":"windows"{}}}"#, " ".repeat(64 << 20));
    let names: Vec<u8> =
        (0..9).map(|_| header("x", b'L', 1 << 21, "")).collect::<Vec<_>>().concat();
    let nested = gzip(&gzip(&gzip(&vec![0; 16 << 20])));
    let mut cases = Vec::new();
    for (kind, compress) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("zstd", zstd)] {
        let named = |what: &str| format!("{kind}: {what}");
        cases.extend([
            refused(named("records of 4 GiB"), docker(&[&compress(&records)]), "PAX records"),
            refused(named("names of 2 MiB"), docker(&[&compress(&names)]), "PAX records"),
            refused(
                named("a file that is longer than the layer"),
                docker(&[&compress(&claimed)]),
                "ends in the middle of",
            ),
            refused(
                named("a file of a terabyte"),
                docker(&[&compress(&giant)]),
                "a layer exceeds the limit",
            ),
            refused(
                named("a member of a terabyte"),
                compress(&member),
                "an archive exceeds the limit",
            ),
            refused(named("a manifest of 64 MiB"), compress(&document), "a document exceeds"),
            refused(
                named("a configuration of 64 MiB"),
                compress(&docker_of(&config, &[&layer("bomb")])),
                "a document exceeds",
            ),
        ]);
    }
    cases.push(refused("gzip in gzip in gzip", docker(&[&nested]), "bad tar header"));
    cases
}

/// What must be read all the same.
fn sound() -> Vec<Case> {
    let layer = noisy();
    let config = config_of(&[digest(&layer)]);
    let with = |blob: &[u8]| docker_of(&config, &[blob]);
    let half = layer.len() / 2;
    let parts = |compress: fn(&[u8]) -> Vec<u8>| {
        [compress(&layer[..half]), compress(&layer[half..])].concat()
    };
    let padded = [&layer[..], &[0; 10_240]].concat();
    let plain = image(&layer);
    vec![
        loaded("gzip: a layer", with(&gzip(&layer))),
        loaded("zstd: a layer", with(&zstd(&layer))),
        loaded("gzip: a layer in two members", with(&parts(gzip))),
        loaded("zstd: a layer in two frames", with(&parts(zstd))),
        loaded("gzip: an archive", gzip(&plain)),
        loaded("zstd: an archive", zstd(&plain)),
        loaded("gzip: an archive of compressed layers", gzip(&with(&zstd(&layer)))),
        loaded("a layer that ends in much padding", image(&padded)),
        loaded(
            "a compressed layer of an OCI layout",
            oci(&layer, &format!("{LAYER}+zstd"), &zstd(&layer)),
        ),
        loaded(
            "a layer whose media type lies",
            oci(&layer, &format!("{LAYER}+gzip"), &zstd(&layer)),
        ),
        loaded("an OCI layout with blobs nobody names", {
            let inner = oci(&layer, LAYER, &layer);
            let mut tar = inner[..inner.len() - 1_024].to_vec();
            tar.extend(file("blobs/sha256/unknown", b"x"));
            tar.extend([0; 1_024]);
            tar
        }),
    ]
}
