//! Mounts on the wire: from Docker's words to the engine's wishes, and back.

use std::collections::BTreeMap;

use oriel_api::container::{HostConfig, Mount};
use oriel_engine::{
    ContainerView, EngineError, MountPoint, MountWish, MountWishes, VolumeRequest, mount_driver,
};
use serde_json::{Value, json};

use super::create::is_empty;

/// Options that belong to one kind of mount each (moby `daemon/volume/mounts/validate.go`).
const GROUPS: [(&str, &str); 5] = [
    ("BindOptions", "bind"),
    ("VolumeOptions", "volume"),
    ("ImageOptions", "image"),
    ("TmpfsOptions", "tmpfs"),
    ("ClusterOptions", "cluster"),
];

/// Options without which a mount is what was asked for all the same: submounts are not shown, and
/// what is in the image is never copied.
const WITHOUT_EFFECT: [&str; 6] = [
    "NonRecursive",
    "CreateMountpoint",
    "ReadOnlyNonRecursive",
    "ReadOnlyForceRecursive",
    "NoCopy",
    "Consistency",
];

/// What a client wants to be shown.
pub(crate) fn wishes(
    host: &HostConfig,
    warnings: &mut Vec<String>,
) -> Result<MountWishes, EngineError> {
    let mounts = host.mounts.iter().flatten();
    Ok(MountWishes {
        binds: host.binds.clone().unwrap_or_default(),
        mounts: mounts.map(|mount| wish(mount, warnings)).collect::<Result<_, _>>()?,
        tmpfs: host.tmpfs.iter().flatten().map(|(key, value)| tmpfs(key, value)).collect(),
        volumes_from: host.volumes_from.clone().unwrap_or_default(),
        volume_driver: host.volume_driver.clone().unwrap_or_default(),
    })
}

/// The Docker CLI cuts `--tmpfs C:\x:size=1m` at the first colon, that of the drive.
fn tmpfs(key: &str, value: &str) -> (String, String) {
    if key.len() != 1 || !value.starts_with(['\\', '/']) {
        return (key.to_owned(), value.to_owned());
    }
    let (path, options) = value.split_once(':').unwrap_or((value, ""));
    (format!("{key}:{path}"), options.to_owned())
}

fn wish(mount: &Mount, warnings: &mut Vec<String>) -> Result<MountWish, EngineError> {
    let kind = mount.kind.clone().unwrap_or_default();
    let group = |name: &str| mount.other.get(name).filter(|value| !value.is_null());
    let foreign = GROUPS.iter().filter(|(name, of)| *of != kind && group(name).is_some());
    let mut wish = MountWish {
        source: mount.source.clone().unwrap_or_default(),
        target: mount.target.clone().unwrap_or_default(),
        read_only: mount.read_only.unwrap_or_default(),
        foreign_options: foreign.map(|(name, _)| *name).collect(),
        ..MountWish::default()
    };
    for (name, value) in &mount.other {
        let known = GROUPS.iter().any(|(group, _)| group == name);
        let options = known.then(|| value.as_object()).flatten();
        for (key, value) in options.into_iter().flatten().filter(|(_, value)| !is_empty(value)) {
            option(&mut wish, key, value, warnings)?;
        }
        if !known && !is_empty(value) && !WITHOUT_EFFECT.contains(&name.as_str()) {
            warnings.push(format!("Mount option {name} is not supported. {name} discarded."));
        }
    }
    Ok(MountWish { kind, ..wish })
}

fn option(
    wish: &mut MountWish,
    key: &str,
    value: &Value,
    warnings: &mut Vec<String>,
) -> Result<(), EngineError> {
    let wrong = |error: serde_json::Error| {
        EngineError::invalid(format!("invalid mount option {key}: {error}"))
    };
    match key {
        "Propagation" => wish.propagation = value.as_str().unwrap_or_default().to_owned(),
        "SizeBytes" => wish.size_bytes = serde_json::from_value(value.clone()).map_err(wrong)?,
        "Labels" => {
            let labels: BTreeMap<_, _> = serde_json::from_value(value.clone()).map_err(wrong)?;
            wish.volume.labels = labels;
        }
        "DriverConfig" => {
            let driver = value["Name"].as_str().unwrap_or_default().to_owned();
            let options: Option<BTreeMap<_, _>> =
                serde_json::from_value(value["Options"].clone()).map_err(wrong)?;
            let options = options.unwrap_or_default();
            wish.volume = VolumeRequest { driver, options, ..std::mem::take(&mut wish.volume) };
        }
        "Subpath" => wish.subpath = value.as_str().unwrap_or_default().to_owned(),
        key if WITHOUT_EFFECT.contains(&key) => {}
        key => warnings.push(format!("Mount option {key} is not supported. {key} discarded.")),
    }
    Ok(())
}

/// `Mounts` of a container.
pub(crate) fn shown(view: &ContainerView) -> Vec<Value> {
    view.spec.host.mounts.iter().map(one).collect()
}

fn one(mount: &MountPoint) -> Value {
    let mut value = json!({
        "Type": mount.kind.word(),
        "Source": if mount.subpath.is_empty() {
            mount.source.clone()
        } else {
            mount.source.join(&mount.subpath)
        },
        "Destination": mount.target,
        "Mode": mount.mode,
        "RW": !mount.read_only,
        "Propagation": "",
    });
    if mount.is_volume() {
        value["Name"] = json!(mount.name);
        value["Driver"] = json!(mount_driver(mount));
    }
    value
}

/// Whether a container shows what a filter names: a volume, a source or a target.
pub(crate) fn shows(view: &ContainerView, wanted: &str) -> bool {
    view.spec.host.mounts.iter().any(|mount| {
        mount.name == wanted
            || mount.source.as_os_str() == wanted
            || mount.target.eq_ignore_ascii_case(&wanted.replace('/', "\\"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wished(mount: Value) -> Result<(MountWish, Vec<String>), EngineError> {
        let mut warnings = Vec::new();
        let mount = serde_json::from_value(mount).unwrap();
        Ok((wish(&mount, &mut warnings)?, warnings))
    }

    #[test]
    fn a_mount_is_read_with_its_options() {
        let (wish, warnings) = wished(json!({
            "Type": "volume", "Source": "v1", "Target": "C:\\v", "ReadOnly": true,
            "VolumeOptions": {
                "NoCopy": true, "Labels": { "a": "b" },
                "DriverConfig": { "Name": "local", "Options": null },
            },
            "BindOptions": null,
        }))
        .unwrap();
        assert_eq!((wish.kind.as_str(), wish.source.as_str()), ("volume", "v1"));
        assert!(wish.read_only && wish.volume.labels["a"] == "b");
        assert_eq!(wish.volume.driver, "local");
        assert_eq!((wish.foreign_options.len(), warnings.len()), (0, 0));
    }

    #[test]
    fn options_of_another_kind_are_told() {
        let (wish, _) = wished(json!({ "Type": "bind", "TmpfsOptions": {} })).unwrap();
        assert_eq!(wish.foreign_options, ["TmpfsOptions"]);
    }

    #[test]
    fn what_has_no_effect_or_is_not_there_is_said() {
        let subpath = json!({ "Type": "volume", "VolumeOptions": { "Subpath": "a" } });
        assert_eq!(wished(subpath).unwrap().0.subpath, "a");
        let mode = json!({ "Type": "tmpfs", "TmpfsOptions": { "Mode": 448, "SizeBytes": 5 } });
        let (wish, warnings) = wished(mode).unwrap();
        assert_eq!((wish.size_bytes, warnings.len()), (Some(5), 1));
        let wrong = json!({ "Type": "tmpfs", "TmpfsOptions": { "SizeBytes": -1 } });
        assert!(wished(wrong).is_err());
    }

    #[test]
    fn a_tmpfs_is_read_as_the_docker_cli_cuts_it() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(tmpfs("C", "\\x:size=1m"), pair("C:\\x", "size=1m"));
        assert_eq!(tmpfs("C", "\\x"), pair("C:\\x", ""));
        assert_eq!(tmpfs("/x", "size=1m"), pair("/x", "size=1m"));
    }
}
