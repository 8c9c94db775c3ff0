//! Configurations, manifests and indexes: absurd, cyclic, incomplete, of other systems.

use serde_json::{Value, json};

use crate::make::{
    INDEX, LAYER, MANIFEST, config, config_of, descriptor, digest, dir, docker, docker_of, file,
    hard, index, layer, layout, manifest, member, oci, symlink, tar,
};
use crate::{Case, loaded, refused};

pub(crate) fn cases() -> Vec<Case> {
    [configs(), docker_manifests(), oci_manifests(), descriptors(), indexes(), archives()]
        .into_iter()
        .flatten()
        .collect()
}

/// A right configuration of one layer with `change` made to it.
fn changed(layer: &[u8], change: impl FnOnce(&mut Value)) -> String {
    let mut value = serde_json::from_str(&config(&[layer])).expect("a configuration");
    change(&mut value);
    value.to_string()
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn configs() -> Vec<Case> {
    let one = layer("config");
    let with = |change: fn(&mut Value)| docker_of(&changed(&one, change), &[&one]);
    let text = |text: &str| docker_of(text, &[&one]);
    let what = "read the image configuration";
    let deep = format!(r#"{{"os":"windows","x":{}{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    let long = format!(r#"{{"os":"windows","author":"{}"}}"#, "a".repeat(9 << 20));
    let many = config_of(&vec![digest(b"x"); 200]);
    let absurd = config_of(&vec![digest(b"x"); 100_000]);
    let layers: Vec<Vec<u8>> = (0..130).map(|number| layer(&number.to_string())).collect();
    let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    vec![
        refused("a configuration for Linux", with(|it| it["os"] = "linux".into()), "linux image"),
        refused("a configuration for no system", with(|it| it["os"] = "".into()), "linux image"),
        refused(
            "a configuration for an endless system",
            with(|it| it["os"] = "z".repeat(5_000).into()),
            "cannot load zzz",
        ),
        refused(
            "a configuration without a system",
            with(|it| {
                it.as_object_mut().expect("an object").remove("os");
            }),
            "linux image",
        ),
        refused("a system that is a number", with(|it| it["os"] = 7.into()), what),
        refused(
            "no rootfs",
            with(|it| {
                it.as_object_mut().expect("an object").remove("rootfs");
            }),
            "states 0 layers",
        ),
        refused("a rootfs of null", with(|it| it["rootfs"] = Value::Null), what),
        refused("a rootfs that is a list", with(|it| it["rootfs"] = json!([1, 2])), what),
        refused(
            "diff ids of null",
            with(|it| it["rootfs"]["diff_ids"] = Value::Null),
            "states 0 layers",
        ),
        refused("no diff ids", with(|it| it["rootfs"]["diff_ids"] = json!([])), "states 0 layers"),
        refused("diff ids that are text", with(|it| it["rootfs"]["diff_ids"] = "x".into()), what),
        refused(
            "diff ids that are numbers",
            with(|it| it["rootfs"]["diff_ids"] = json!([1])),
            what,
        ),
        refused(
            "a diff id of another algorithm",
            with(|it| {
                it["rootfs"]["diff_ids"] = json!([format!("sha512:{}", "0".repeat(128))]);
            }),
            "invalid digest",
        ),
        refused(
            "a diff id in capitals",
            with(|it| {
                it["rootfs"]["diff_ids"] = json!([format!("sha256:{}", "A".repeat(64))]);
            }),
            "invalid digest",
        ),
        refused(
            "a diff id that is short",
            with(|it| it["rootfs"]["diff_ids"] = json!(["sha256:00"])),
            "invalid digest",
        ),
        refused(
            "a diff id that leads out",
            with(|it| {
                it["rootfs"]["diff_ids"] = json!(["sha256:../../../../etc/passwd"]);
            }),
            "invalid digest",
        ),
        refused("200 diff ids for one layer", text(&many), "states 200 layers"),
        refused("100 000 diff ids for one layer", text(&absurd), "states 100000 layers"),
        refused("130 layers", docker(&layers), "the number of layers exceeds"),
        refused("a history that is text", with(|it| it["history"] = "x".into()), what),
        refused("a history of numbers", with(|it| it["history"] = json!([1])), what),
        refused(
            "an environment that is an object",
            with(|it| it["config"] = json!({"Env": {"a": 1}})),
            what,
        ),
        refused("a command that is text", with(|it| it["config"] = json!({"Cmd": "cmd"})), what),
        refused("labels that are a list", with(|it| it["config"] = json!({"Labels": [1]})), what),
        refused(
            "a check every half second",
            with(|it| {
                it["config"] = json!({"Healthcheck": {"Interval": 0.5}});
            }),
            what,
        ),
        refused(
            "a check beyond 64 bits",
            text(&changed(&one, |it| {
                it["config"] = json!({"Healthcheck": {"Interval": 18_446_744_073_709_551_615_u64}});
            })),
            what,
        ),
        refused("an empty configuration", text(""), what),
        refused("a configuration of null", text("null"), what),
        refused("a configuration that is a list", text("[1]"), what),
        refused("a configuration that is a number", text("1e999"), what),
        refused("a configuration that ends", text(r#"{"os":"windows","#), what),
        refused(
            "a configuration with something after it",
            text(&format!("{}x", config(&[&one]))),
            what,
        ),
        refused("5 000 lists in lists", text(&deep), what),
        refused("a configuration of 9 MiB", text(&long), "a document exceeds the limit"),
        refused("a key that stands twice", text(r#"{"os":"windows","os":"linux"}"#), what),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn docker_manifests() -> Vec<Case> {
    let one = layer("docker");
    let config = config(&[&one]);
    let with = |manifest: &str| {
        tar(&[
            file("c.json", config.as_bytes()),
            file("l.tar", &one),
            file("manifest.json", manifest.as_bytes()),
        ])
    };
    let of = |manifest: Value| with(&manifest.to_string());
    let tagged =
        |tag: &str| of(json!([{"Config": "c.json", "RepoTags": [tag], "Layers": ["l.tar"]}]));
    let what = "read manifest.json";
    let twice: Vec<&str> = vec!["l.tar"; 50_000];
    let images: Vec<Value> = vec![json!({"Config": "c.json", "Layers": ["l.tar"]}); 1_001];
    let named = "a".repeat(64);
    vec![
        refused("an empty manifest", with(""), what),
        refused("a manifest that is an object", with("{}"), what),
        refused("a manifest of numbers", with("[1]"), what),
        refused("a manifest that ends", with(r#"[{"Config":"c.json""#), what),
        refused("a manifest of letters", with("hello"), what),
        refused("a manifest with wrong types", of(json!([{"Config": 1}])), what),
        refused("layers that are text", of(json!([{"Config": "c.json", "Layers": "l.tar"}])), what),
        refused("layers that are numbers", of(json!([{"Config": "c.json", "Layers": [1]}])), what),
        refused("a manifest without a configuration", of(json!([{"Layers": ["l.tar"]}])), what),
        refused(
            "a configuration that is not there",
            of(json!([{"Config": "x", "Layers": ["l.tar"]}])),
            "the archive lacks x",
        ),
        refused(
            "a configuration out of the archive",
            of(json!([{"Config": "../../etc/passwd", "Layers": ["l.tar"]}])),
            "the archive lacks",
        ),
        refused(
            "a configuration of an absolute name",
            of(json!([{"Config": "/etc/passwd", "Layers": ["l.tar"]}])),
            "the archive lacks",
        ),
        refused(
            "a layer that is not there",
            of(json!([{"Config": "c.json", "Layers": ["x"]}])),
            "the archive lacks x",
        ),
        refused(
            "a layer out of the archive",
            of(json!([{"Config": "c.json", "Layers": ["../../x"]}])),
            "the archive lacks",
        ),
        refused(
            "a layer of an endless name",
            of(json!([{"Config": "c.json", "Layers": ["x".repeat(9_999)]}])),
            "the archive lacks",
        ),
        refused("no layers", of(json!([{"Config": "c.json"}])), "where the archive has 0"),
        refused("layers of null", of(json!([{"Config": "c.json", "Layers": null}])), "has 0"),
        refused(
            "a layer too many",
            of(json!([{"Config": "c.json", "Layers": ["l.tar", "l.tar"]}])),
            "where the archive has 2",
        ),
        refused("50 000 layers", of(json!([{"Config": "c.json", "Layers": twice}])), "has 50000"),
        refused("1 001 images", of(json!(images)), "the number of images exceeds"),
        refused(
            "a configuration that is the layer",
            of(json!([{"Config": "l.tar", "Layers": ["l.tar"]}])),
            "read the image configuration",
        ),
        refused(
            "a layer that is the configuration",
            of(json!([{"Config": "c.json", "Layers": ["c.json"]}])),
            "ends in the middle",
        ),
        refused(
            "a configuration named by another digest",
            tar(&[
                file(&format!("{named}.json"), config.as_bytes()),
                file("l.tar", &one),
                file(
                    "manifest.json",
                    json!([{"Config": format!("{named}.json"), "Layers": ["l.tar"]}])
                        .to_string()
                        .as_bytes(),
                ),
            ]),
            "the image configuration has digest",
        ),
        refused("a name in capitals", tagged("Name:1"), "must be lowercase"),
        refused("a name with a blank", tagged("a b"), "invalid reference format"),
        refused("an empty name", tagged(""), "invalid reference format"),
        refused("a name that leads out", tagged("../../etc:1"), "invalid reference format"),
        refused(
            "a name with a digest",
            tagged(&format!("a@sha256:{}", "0".repeat(64))),
            "invalid reference format",
        ),
        refused(
            "a tag of 200 letters",
            tagged(&format!("a:{}", "t".repeat(200))),
            "invalid reference format",
        ),
        refused("a name of 5 000 letters", tagged(&"n".repeat(5_000)), "invalid reference format"),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn oci_manifests() -> Vec<Case> {
    let one = layer("oci");
    let config = config(&[&one]);
    let right = manifest(config.as_bytes(), &[(LAYER, &one)]);
    let with = |manifest: &str| {
        let index = index(&[descriptor(MANIFEST, manifest.as_bytes())]);
        layout(&index, &[manifest.as_bytes(), config.as_bytes(), &one])
    };
    let edit = |change: fn(&mut Value)| {
        let mut value: Value = serde_json::from_str(&right).expect("a manifest");
        change(&mut value);
        with(&value.to_string())
    };
    let of = |parts: &[&[u8]]| layout(&index(&[descriptor(MANIFEST, right.as_bytes())]), parts);
    let what = "read a manifest";
    let mut wrong = one.clone();
    wrong.extend([0; 512]);
    let config_of_none = digest(b"none");
    vec![
        refused(
            "a manifest that is not there",
            of(&[config.as_bytes(), &one]),
            "the archive lacks",
        ),
        refused(
            "a configuration that no blob is",
            of(&[right.as_bytes(), &one]),
            "the archive lacks",
        ),
        refused(
            "a layer that no blob is",
            of(&[right.as_bytes(), config.as_bytes()]),
            "the archive lacks",
        ),
        refused("an OCI manifest of nothing", with("{}"), what),
        refused("an OCI manifest that is a list", with("[]"), what),
        refused("an OCI manifest of null", with("null"), what),
        refused(
            "an OCI manifest without layers",
            edit(|it| {
                it.as_object_mut().expect("an object").remove("layers");
            }),
            what,
        ),
        refused(
            "an OCI manifest with no layers",
            edit(|it| it["layers"] = json!([])),
            "where the archive has 0",
        ),
        refused(
            "an OCI manifest without a configuration",
            edit(|it| {
                it.as_object_mut().expect("an object").remove("config");
            }),
            what,
        ),
        refused(
            "a layer of another algorithm",
            edit(|it| it["layers"][0]["digest"] = "md5:0".into()),
            "invalid digest",
        ),
        refused(
            "a layer by a path",
            edit(|it| it["layers"][0]["digest"] = "../../x".into()),
            "invalid digest",
        ),
        refused("a layer of negative size", edit(|it| it["layers"][0]["size"] = json!(-1)), what),
        refused("a layer of half a byte", edit(|it| it["layers"][0]["size"] = json!(0.5)), what),
        refused("a layer of a size in text", edit(|it| it["layers"][0]["size"] = "9".into()), what),
        refused(
            "a layer twice",
            edit(|it| {
                let layer = it["layers"][0].clone();
                it["layers"] = json!([layer, layer]);
            }),
            "where the archive has 2",
        ),
        refused(
            "10 000 layers in an OCI manifest",
            edit(|it| {
                let layer = it["layers"][0].clone();
                it["layers"] = json!(vec![layer; 10_000]);
            }),
            "where the archive has 10000",
        ),
        refused("a version that is text", edit(|it| it["schemaVersion"] = "two".into()), what),
        refused(
            "a manifest of the first version",
            with(r#"{"schemaVersion":1,"name":"x","fsLayers":[{"blobSum":"sha256:0"}]}"#),
            what,
        ),
        refused(
            "a configuration that is elsewhere",
            edit(|it| {
                it["config"]["digest"] = format!("sha256:{}", "0".repeat(64)).into();
            }),
            "the archive lacks",
        ),
        refused(
            "a blob under another's digest",
            tar(&[
                file("index.json", index(&[descriptor(MANIFEST, right.as_bytes())]).as_bytes()),
                file(&format!("blobs/sha256/{}", &digest(right.as_bytes())[7..]), b"{}"),
            ]),
            "has digest",
        ),
        refused(
            "a layer under another's digest",
            tar(&[
                file("index.json", index(&[descriptor(MANIFEST, right.as_bytes())]).as_bytes()),
                file(&format!("blobs/sha256/{}", &digest(right.as_bytes())[7..]), right.as_bytes()),
                file(
                    &format!("blobs/sha256/{}", &digest(config.as_bytes())[7..]),
                    config.as_bytes(),
                ),
                file(&format!("blobs/sha256/{}", &digest(&one)[7..]), &wrong),
            ]),
            "has digest",
        ),
        refused(
            "a configuration by a digest of nothing",
            edit_text(&right, &digest(config.as_bytes()), &config_of_none, &one),
            "the archive lacks",
        ),
    ]
}

/// An OCI layout whose manifest has `new` where it had `old`.
fn edit_text(manifest: &str, old: &str, new: &str, layer: &[u8]) -> Vec<u8> {
    let manifest = manifest.replace(old, new);
    let index = index(&[descriptor(MANIFEST, manifest.as_bytes())]);
    layout(&index, &[manifest.as_bytes(), layer])
}

/// What an index says of its entries.
fn descriptors() -> Vec<Case> {
    let one = layer("descriptor");
    let config = config(&[&one]);
    let manifest = manifest(config.as_bytes(), &[(LAYER, &one)]);
    let edit = |change: fn(&mut Value)| {
        let mut entry = descriptor(MANIFEST, manifest.as_bytes());
        change(&mut entry);
        layout(&index(&[entry]), &[manifest.as_bytes(), config.as_bytes(), &one])
    };
    let named = |name: &'static str| {
        let mut entry = descriptor(MANIFEST, manifest.as_bytes());
        entry["annotations"] = json!({"io.containerd.image.name": name});
        layout(&index(&[entry]), &[manifest.as_bytes(), config.as_bytes(), &one])
    };
    let what = "read index.json";
    vec![
        refused(
            "an entry without a digest",
            edit(|it| {
                it.as_object_mut().expect("an object").remove("digest");
            }),
            what,
        ),
        refused(
            "an entry without a size",
            edit(|it| {
                it.as_object_mut().expect("an object").remove("size");
            }),
            what,
        ),
        refused("an entry of negative size", edit(|it| it["size"] = json!(-5)), what),
        refused(
            "an entry with a digest of letters",
            edit(|it| it["digest"] = "sha256:zz".into()),
            "invalid digest",
        ),
        refused(
            "an entry with annotations in a list",
            edit(|it| it["annotations"] = json!([1])),
            what,
        ),
        refused("an entry named in capitals", named("Docker.io/Library/X:1"), "must be lowercase"),
        refused("an entry named by a way out", named("../x"), "invalid reference format"),
        refused(
            "an entry named by a digest",
            named("a@sha256:0000000000000000000000000000000000000000000000000000000000000000"),
            "invalid reference format",
        ),
        loaded("an entry of an unknown media type", edit(|it| it["mediaType"] = "x/y".into())),
        loaded(
            "an entry without a media type",
            edit(|it| {
                it.as_object_mut().expect("an object").remove("mediaType");
            }),
        ),
        loaded(
            "an entry whose annotations are odd",
            edit(|it| {
                it["annotations"] = json!({"io.containerd.image.name": 5, "x": {"y": []}});
            }),
        ),
    ]
}

fn indexes() -> Vec<Case> {
    let one = layer("index");
    let config = config(&[&one]);
    let right = manifest(config.as_bytes(), &[(LAYER, &one)]);
    let mut nested = vec![right.clone()];
    for _ in 0..8 {
        let inner = nested.last().expect("one at least");
        nested.push(index(&[descriptor(MANIFEST, inner.as_bytes())]));
    }
    let deep = |depth: usize| {
        let mut blobs: Vec<&[u8]> = nested[..depth].iter().map(String::as_bytes).collect();
        blobs.extend([config.as_bytes(), &one]);
        layout(&nested[depth], &blobs)
    };
    // A digest of itself cannot be made, so the archive lies about the name.
    let itself = digest(b"itself");
    let entry = json!({"mediaType": INDEX, "digest": itself, "size": 9});
    let cycle = tar(&[
        file("index.json", index(std::slice::from_ref(&entry)).as_bytes()),
        file(&format!("blobs/sha256/{}", &itself[7..]), index(&[entry]).as_bytes()),
    ]);
    let of = |text: &str| tar(&[file("index.json", text.as_bytes())]);
    let platform = |os: &str| {
        let mut entry = descriptor(MANIFEST, right.as_bytes());
        entry["platform"] = json!({"os": os, "architecture": "amd64"});
        entry
    };
    let among = |entries: &[Value]| {
        let list = index(entries);
        let outer = index(&[descriptor(INDEX, list.as_bytes())]);
        layout(&outer, &[list.as_bytes(), right.as_bytes(), config.as_bytes(), &one])
    };
    let what = "read index.json";
    vec![
        refused("an index of itself", cycle, "has digest"),
        refused("eight indexes in indexes", deep(8), "indexes in indexes exceeds"),
        refused("an index of nothing", of("{}"), what),
        refused("an index of null", of("null"), what),
        refused("an index of letters", of("hello"), what),
        refused("an empty index", of(""), what),
        refused("an index of 9 MiB", of(&" ".repeat(9 << 20)), "a document exceeds the limit"),
        refused("an index of numbers", of(r#"{"schemaVersion":2,"manifests":[1]}"#), what),
        refused(
            "an index whose entries are text",
            of(r#"{"schemaVersion":2,"manifests":"x"}"#),
            what,
        ),
        refused(
            "an index of what is not there",
            layout(&index(&[platform("windows")]), &[]),
            "the archive lacks",
        ),
        refused("an index of Linux alone", among(&[platform("linux")]), "linux image"),
        refused(
            "an index whose index is text",
            layout(
                &index(&[descriptor(INDEX, br#"{"manifests":"x"}"#)]),
                &[br#"{"manifests":"x"}"#],
            ),
            "read an index",
        ),
        loaded("two indexes in indexes", deep(2)),
        loaded("an index of Linux and Windows", among(&[platform("linux"), platform("windows")])),
        loaded(
            "an index that names one image 500 times",
            layout(
                &index(&vec![descriptor(MANIFEST, right.as_bytes()); 500]),
                &[right.as_bytes(), config.as_bytes(), &one],
            ),
        ),
    ]
}

/// The archive around it all.
#[expect(clippy::too_many_lines, reason = "a table")]
fn archives() -> Vec<Case> {
    let one = layer("archive");
    let config = config(&[&one]);
    let manifest = json!([{"Config": "c.json", "Layers": ["l.tar"]}]).to_string();
    let with = |members: &[Vec<u8>]| {
        let mut all = members.to_vec();
        all.push(file("c.json", config.as_bytes()));
        all.push(file("manifest.json", manifest.as_bytes()));
        tar(&all)
    };
    let many: Vec<Vec<u8>> = (0..20_001).map(|number| file(&format!("m{number}"), b"")).collect();
    let chain: Vec<Vec<u8>> =
        (0..40).map(|number| symlink(&format!("c{number}"), &format!("c{}", number + 1))).collect();
    let long = [chain.concat(), symlink("l.tar", "c0"), file("c40", &one)].concat();
    let data = file("data", &one);
    vec![
        refused("an archive of nothing", Vec::new(), "the archive lacks manifest.json"),
        refused("an archive without members", tar(&[]), "the archive lacks manifest.json"),
        refused("an archive of letters", b"hello".repeat(200), "bad tar header"),
        refused(
            "an archive that is a picture",
            [&b"\x89PNG\r\n\x1a\n"[..], &[1; 999]].concat(),
            "bad tar header",
        ),
        refused(
            "a member that leads out",
            with(&[file("../../etc/cron.d/x", b"x")]),
            "leads out of the archive",
        ),
        refused("a member of an absolute name", with(&[file("/etc/cron.d/x", b"x")]), "leads out"),
        refused(
            "a member that links out",
            with(&[data.clone(), symlink("l.tar", "../../etc/passwd")]),
            "links out of the archive",
        ),
        refused(
            "a member that links to an absolute name",
            with(&[symlink("l.tar", "/etc/passwd")]),
            "links out",
        ),
        refused(
            "a hard link that leads out",
            with(&[hard("l.tar", "../../etc/passwd")]),
            "links out",
        ),
        refused(
            "a member that links to itself",
            with(&[symlink("l.tar", "l.tar")]),
            "the archive lacks",
        ),
        refused(
            "two links to each other",
            with(&[symlink("l.tar", "a"), symlink("a", "l.tar")]),
            "the archive lacks",
        ),
        refused(
            "three links in a ring",
            with(&[symlink("l.tar", "a"), hard("a", "b"), symlink("b", "l.tar")]),
            "the archive lacks",
        ),
        refused("40 links in a row", with(&[long]), "the archive lacks"),
        refused(
            "a member that links to nothing",
            with(&[symlink("l.tar", "x")]),
            "the archive lacks",
        ),
        refused(
            "a member that links to a directory",
            with(&[dir("d"), symlink("l.tar", "d")]),
            "the archive lacks",
        ),
        refused("a directory as a layer", with(&[dir("l.tar")]), "the archive lacks"),
        refused("a device as a member", with(&[member("l.tar", b'3', "", b"")]), "is no file"),
        refused("a fifo as a member", with(&[member("l.tar", b'6', "", b"")]), "is no file"),
        refused("20 001 members", with(&many), "the number of members exceeds"),
        refused(
            "a manifest of 9 MiB",
            tar(&[file("manifest.json", &vec![b' '; 9 << 20])]),
            "a document exceeds the limit",
        ),
        refused(
            "a manifest that is a link to itself",
            tar(&[symlink("manifest.json", "manifest.json")]),
            "the archive lacks",
        ),
        refused(
            "an OCI layout without an index",
            tar(&[file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)]),
            "the archive lacks",
        ),
        refused("a layer alone", one.clone(), "the archive lacks manifest.json"),
        refused(
            "a foreign layer by a strange type",
            oci(&one, "text/plain", b"hello"),
            "ends in the middle",
        ),
        loaded(
            "a layer through 5 links",
            with(&[
                symlink("l.tar", "a/1"),
                hard("a/1", "b"),
                symlink("b", "./c"),
                symlink("c", "x/../d"),
                hard("d", "data"),
                data,
            ]),
        ),
    ]
}
