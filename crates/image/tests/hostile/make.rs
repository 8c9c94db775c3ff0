//! Bytes of layers, documents and archives, right or wrong as a case needs them.

use std::io::Write as _;

use oriel_hive::{Key, Value};
use oriel_image::Digest;

/// A tar block.
pub(crate) const BLOCK: usize = 512;

/// Two of them end a tar.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// A header with a right checksum. What does not fit its field is cut.
pub(crate) fn header(name: &str, flag: u8, size: u64, link: &str) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    let mut put = |at: usize, length: usize, text: &str| {
        let bytes = &text.as_bytes()[..text.len().min(length)];
        block[at..at + bytes.len()].copy_from_slice(bytes);
    };
    put(0, 100, name);
    put(100, 8, "0000644\0");
    put(124, 12, &format!("{size:011o}\0"));
    put(136, 12, "14371200000\0");
    put(157, 100, link);
    put(257, 8, "ustar\x0000");
    block[156] = flag;
    seal(&mut block);
    block
}

/// Makes the checksum of a header right.
pub(crate) fn seal(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block[..BLOCK].iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// `data` and zeros to the end of its last block.
pub(crate) fn padded(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    bytes.resize(data.len().next_multiple_of(BLOCK), 0);
    bytes
}

/// A PAX header.
pub(crate) fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let length =
            (1..).map(|digits| rest + digits).find(|all| all.to_string().len() == all - rest);
        let length = length.expect("some length counts itself");
        body.extend_from_slice(format!("{length} {key}={value}\n").as_bytes());
    }
    raw_pax(&body)
}

/// A PAX header with any body.
pub(crate) fn raw_pax(body: &[u8]) -> Vec<u8> {
    [header("PaxHeaders.0/x", b'x', body.len() as u64, ""), padded(body)].concat()
}

/// A member of any type; names and targets that are too long for the header get a record.
pub(crate) fn member(name: &str, flag: u8, link: &str, data: &[u8]) -> Vec<u8> {
    let mut records = Vec::new();
    for (key, text) in [("path", name), ("linkpath", link)] {
        if text.len() > 100 {
            records.push((key, text));
        }
    }
    let extension = if records.is_empty() { Vec::new() } else { pax(&records) };
    [extension, header(name, flag, data.len() as u64, link), padded(data)].concat()
}

pub(crate) fn file(name: &str, data: &[u8]) -> Vec<u8> {
    member(name, b'0', "", data)
}

pub(crate) fn dir(name: &str) -> Vec<u8> {
    member(name, b'5', "", b"")
}

pub(crate) fn symlink(name: &str, target: &str) -> Vec<u8> {
    member(name, b'2', target, b"")
}

pub(crate) fn junction(name: &str, target: &str) -> Vec<u8> {
    [pax(&[("MSWINDOWS.mountpoint", "1")]), symlink(name, target)].concat()
}

pub(crate) fn hard(name: &str, target: &str) -> Vec<u8> {
    member(name, b'1', target, b"")
}

/// A whole tar.
pub(crate) fn tar(members: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = members.concat();
    bytes.extend_from_slice(&END);
    bytes
}

/// A layer nobody could object to. `what` tells one from another.
pub(crate) fn layer(what: &str) -> Vec<u8> {
    tar(&[dir("Files"), file("Files/what.txt", what.as_bytes())])
}

/// The layer of the base image.
pub(crate) fn base_layer() -> Vec<u8> {
    let hive = |root: &Key| oriel_hive::write(root).expect("a small hive");
    let mut system = Key::new("SYSTEM");
    system
        .get_or_create(r"ControlSet001\Control\Session Manager\Environment")
        .expect("short names")
        .set_value(Value::sz("OS", "Windows_NT"));
    let config = "Files/Windows/System32/config";
    tar(&[
        dir("Files"),
        dir("Files/Windows"),
        file("Files/Windows/below.txt", b"below"),
        dir("Files/Windows/System32"),
        dir(config),
        file(&format!("{config}/DEFAULT"), &hive(&Key::new(""))),
        file(&format!("{config}/SOFTWARE"), &hive(&Key::new(""))),
        file(&format!("{config}/SYSTEM"), &hive(&system)),
    ])
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    Digest::of(bytes).to_string()
}

/// A configuration of these layers.
pub(crate) fn config(layers: &[&[u8]]) -> String {
    let diffs: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
    config_of(&diffs)
}

/// A configuration of these diff ids.
pub(crate) fn config_of(diffs: &[String]) -> String {
    let rootfs = serde_json::json!({"type": "layers", "diff_ids": diffs});
    serde_json::json!({"os": "windows", "architecture": "amd64", "rootfs": rootfs}).to_string()
}

/// What `docker save` writes for these layers.
pub(crate) fn docker(layers: &[&[u8]]) -> Vec<u8> {
    docker_of(&config(layers), layers)
}

/// The same with any configuration.
pub(crate) fn docker_of(config: &str, layers: &[&[u8]]) -> Vec<u8> {
    let names: Vec<String> =
        (0..layers.len()).map(|number| format!("{number}/layer.tar")).collect();
    let config_name = format!("{}.json", Digest::of(config.as_bytes()).hex());
    let manifest = serde_json::json!([
        {"Config": config_name, "RepoTags": ["case:1"], "Layers": names}
    ]);
    let mut members = vec![file(&config_name, config.as_bytes())];
    members.extend(names.iter().zip(layers).map(|(name, layer)| file(name, layer)));
    members.push(file("manifest.json", manifest.to_string().as_bytes()));
    tar(&members)
}

/// An image of one layer.
pub(crate) fn image(layer: &[u8]) -> Vec<u8> {
    docker(&[layer])
}

/// An image of one layer that holds these members.
pub(crate) fn image_of(members: &[Vec<u8>]) -> Vec<u8> {
    image(&tar(members))
}

/// An image whose layer, with these members, lies on the base image's.
pub(crate) fn on_base(members: &[Vec<u8>]) -> Vec<u8> {
    docker(&[&base_layer(), &tar(members)])
}

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// What a document says of a blob.
pub(crate) fn descriptor(media_type: &str, blob: &[u8]) -> serde_json::Value {
    let digest = digest(blob);
    serde_json::json!({"mediaType": media_type, "digest": digest, "size": blob.len()})
}

/// A manifest of these blobs.
pub(crate) fn manifest(config: &[u8], layers: &[(&str, &[u8])]) -> String {
    let layers: Vec<_> = layers.iter().map(|(kind, blob)| descriptor(kind, blob)).collect();
    let config = descriptor(CONFIG, config);
    serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers
    })
    .to_string()
}

/// An index of these entries.
pub(crate) fn index(entries: &[serde_json::Value]) -> String {
    serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string()
}

/// An OCI layout with this `index.json` and these blobs, each under its digest.
pub(crate) fn layout(index: &str, blobs: &[&[u8]]) -> Vec<u8> {
    let mut members = vec![
        file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
        file("index.json", index.as_bytes()),
    ];
    for blob in blobs {
        members.push(file(&format!("blobs/sha256/{}", Digest::of(blob).hex()), blob));
    }
    tar(&members)
}

/// An OCI layout of one image with one layer, which is stored as `blob`.
pub(crate) fn oci(layer: &[u8], media_type: &str, blob: &[u8]) -> Vec<u8> {
    let config = config(&[layer]);
    let manifest = manifest(config.as_bytes(), &[(media_type, blob)]);
    let index = index(&[descriptor(MANIFEST, manifest.as_bytes())]);
    layout(&index, &[manifest.as_bytes(), config.as_bytes(), blob])
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).expect("memory takes everything")
}
