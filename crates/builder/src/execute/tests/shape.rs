//! Images built here have the shape that a Windows builder gives (ADR 14), also on Microsoft's
//! base.

use oriel_image::{NewBase, Obstacles};
use serde_json::{Value, json};

use super::*;

/// What Microsoft's base says of itself, as public descriptions of such images have it. Its blob
/// is nowhere.
fn microsofts(version: &str) -> NewBase {
    let diff_id = DiffId(oriel_image::Digest::of(version.as_bytes()));
    let config = json!({
        "architecture": "amd64",
        "os": "windows",
        "os.version": version,
        "created": "2025-11-07T09:21:43.0000000Z",
        "config": { "User": "ContainerUser", "Env": null, "Cmd": [r"c:\windows\system32\cmd.exe"] },
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
        "history": [{
            "created": "2025-11-07T09:21:43.0000000Z",
            "created_by": format!("Apply image {version}"),
        }],
    });
    let blob = oriel_image::Digest::of(b"blob");
    let kind = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    NewBase {
        repository: "mcr.microsoft.com/windows/nanoserver".into(),
        config: serde_json::from_value(config).unwrap(),
        layers: vec![Descriptor::new(kind, blob, 124_637_397)],
    }
}

const DOCKERFILE: &str = "# escape=`\nFROM nanoserver\nARG VERSION=7\nENV A=1 B=${VERSION}\n\
    WORKDIR /app\nCOPY a.txt .\nRUN write C:\\b.txt b\nSHELL [\"pwsh\", \"-Command\"]\n\
    USER ContainerUser\nEXPOSE 80\nVOLUME C:\\data\nLABEL x=y\nSTOPSIGNAL 15\n\
    HEALTHCHECK --interval=5s CMD check.exe\nENTRYPOINT [\"app.exe\"]\nCMD run it\n";

/// The configuration of what [`DOCKERFILE`] makes, on a base of that version; layers are numbered.
fn genuine(version: &str) -> Value {
    let at = "2023-11-14T22:13:20Z";
    let nop = |text: &str| json!({ "created": at, "created_by": text, "empty_layer": true });
    let made = |text: &str| json!({ "created": at, "created_by": text });
    json!({
        "architecture": "amd64",
        "os": "windows",
        "os.version": version,
        "created": at,
        "config": {
            "User": "ContainerUser",
            "ExposedPorts": { "80/tcp": {} },
            "Env": ["A=1", "B=7"],
            "Cmd": ["pwsh -Command run it"],
            "Healthcheck": { "Test": ["CMD-SHELL", "check.exe"], "Interval": 5_000_000_000_u64 },
            "ArgsEscaped": true,
            "Volumes": { "C:\\data": {} },
            "WorkingDir": "C:\\app",
            "Entrypoint": ["app.exe"],
            "Labels": { "x": "y" },
            "StopSignal": "15",
            "Shell": ["pwsh", "-Command"],
        },
        "rootfs": { "type": "layers", "diff_ids": [0, 1, 2, 3] },
        "history": [
            {
                "created": "2025-11-07T09:21:43.0000000Z",
                "created_by": format!("Apply image {version}"),
            },
            nop("cmd /S /C #(nop)  ARG VERSION=7"),
            nop("cmd /S /C #(nop)  ENV A=1 B=7"),
            made(r"cmd /S /C #(nop) WORKDIR C:\app"),
            made("cmd /S /C #(nop) COPY file:DIGEST in . "),
            made(r"|1 VERSION=7 cmd /S /C write C:\b.txt b"),
            nop("pwsh -Command #(nop)  SHELL [pwsh -Command]"),
            nop("pwsh -Command #(nop)  USER ContainerUser"),
            nop("pwsh -Command #(nop)  EXPOSE 80/tcp"),
            nop(r"pwsh -Command #(nop)  VOLUME [C:\data]"),
            nop("pwsh -Command #(nop)  LABEL x=y"),
            nop("pwsh -Command #(nop)  STOPSIGNAL 15"),
            nop("pwsh -Command #(nop)  HEALTHCHECK &{[\"CMD-SHELL\" \"check.exe\"] \
                 \"5000000000ns\" \"0ns\" \"0ns\" \"0ns\" '0'}"),
            nop("pwsh -Command #(nop)  ENTRYPOINT [\"app.exe\"]"),
            nop("pwsh -Command #(nop)  CMD [\"pwsh -Command run it\"]"),
        ],
    })
}

/// The configuration as it is stored, with layers and digests of files made plain.
fn stored(world: &World, image: ImageId) -> Value {
    let bytes = world.host.images.document(image.0).unwrap();
    let mut config: Value = serde_json::from_slice(&bytes).unwrap();
    let layers = config["rootfs"]["diff_ids"].as_array_mut().unwrap();
    layers.iter_mut().enumerate().for_each(|(number, id)| *id = json!(number));
    for step in config["history"].as_array_mut().unwrap() {
        let text = step["created_by"].as_str().unwrap();
        if let Some((before, rest)) = text.split_once("file:") {
            step["created_by"] = json!(format!("{before}file:DIGEST{}", &rest[64..]));
        }
    }
    config
}

#[tokio::test]
async fn a_built_image_on_microsofts_base_has_the_genuine_shape() {
    let world = World::new();
    let (built, _) = world.build(DOCKERFILE, &[("a.txt", "a")]).await;
    let images = &world.host.images;
    let rebase = |image: ImageId, onto: &NewBase| {
        images.rebase(&image, onto, Obstacles::Refuse, Vec::new()).unwrap()
    };
    let (old, new) = (microsofts("10.0.20348.5622"), microsofts("10.0.26100.7171"));
    let shipped = rebase(built, &old);
    assert_eq!(stored(&world, shipped), genuine("10.0.20348.5622"));
    let manifest = images.image_by_id(&shipped).unwrap().manifest;
    let manifest: Value = serde_json::from_slice(&images.document(manifest).unwrap()).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 4);
    assert_eq!(layers[0], serde_json::to_value(&old.layers[0]).unwrap());
    // From base to base, and back to that of this host.
    let moved = rebase(shipped, &new);
    assert_eq!(stored(&world, moved), genuine("10.0.26100.7171"));
    assert_eq!(moved, rebase(built, &new));
    let base = images.resolve("nanoserver").unwrap();
    let descriptor =
        |layer: &Layer| Descriptor::new(&layer.media_type, layer.blob, layer.compressed_size);
    let own = NewBase {
        repository: "nanoserver".into(),
        layers: base.layers.iter().map(descriptor).collect(),
        config: base.config,
    };
    assert_eq!(rebase(moved, &own), built);
}

#[tokio::test]
async fn what_older_builders_left_in_a_base_does_not_go_on() {
    let world = World::new();
    let mut config = world.host.images.resolve("nanoserver").unwrap().config;
    for key in ["container", "container_config", "docker_version", "id", "parent"] {
        config.extra.insert(key.into(), json!("x"));
    }
    config.extra.insert("variant".into(), json!("v"));
    config.config.extra.insert("Hostname".into(), json!(""));
    let layer_tar = world.directory.path().join("base.tar");
    let base = BaseImport { name: "old".into(), layer_tar, config };
    world.host.images.import_base(&base).unwrap();
    let (image, _) = world.build("FROM old\nENV A=1\n", &[]).await;
    let config = world.image(image).config;
    assert_eq!(config.extra.keys().collect::<Vec<_>>(), ["variant"]);
    assert_eq!(config.config.extra.keys().collect::<Vec<_>>(), ["Hostname"]);
}
