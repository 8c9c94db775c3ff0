//! The `HostConfig` that `inspect` shows.

use oriel_engine::HostOptions;
use serde_json::{Map, Value, json};

/// `HostConfig` of a container that nothing is said about, as a Windows daemon shows it.
const DEFAULTS: &str = r#"{
    "Binds": null, "ContainerIDFile": "", "PortBindings": {}, "AutoRemove": false,
    "VolumeDriver": "", "VolumesFrom": null, "ConsoleSize": [0, 0], "CapAdd": null,
    "CapDrop": null, "CgroupnsMode": "", "Dns": [], "DnsOptions": [], "DnsSearch": [],
    "ExtraHosts": null, "GroupAdd": null, "IpcMode": "", "Cgroup": "", "Links": null,
    "OomScoreAdj": 0, "PidMode": "", "Privileged": false, "PublishAllPorts": false,
    "ReadonlyRootfs": false, "SecurityOpt": null, "UTSMode": "", "UsernsMode": "", "ShmSize": 0,
    "CpuShares": 0, "Memory": 0, "NanoCpus": 0, "CgroupParent": "", "BlkioWeight": 0,
    "CpuPeriod": 0, "CpuQuota": 0, "CpusetCpus": "", "CpusetMems": "", "Devices": null,
    "MemoryReservation": 0, "MemorySwap": 0, "MemorySwappiness": null, "OomKillDisable": false,
    "PidsLimit": null, "Ulimits": null, "CpuCount": 0, "CpuPercent": 0, "IOMaximumIOps": 0,
    "IOMaximumBandwidth": 0
}"#;

/// The `HostConfig` that `inspect` shows: what was sent, over Docker's defaults, with names
/// resolved.
pub(super) fn document(sent: Map<String, Value>, options: &HostOptions) -> Map<String, Value> {
    let (name, retries) = options.restart.parts();
    let mut document: Map<String, Value> =
        serde_json::from_str(DEFAULTS).expect("an object is written there");
    document.extend(sent.into_iter().filter(|(_, value)| !value.is_null()));
    document.insert("NetworkMode".to_owned(), json!(options.network));
    document.insert("Isolation".to_owned(), json!("process"));
    document
        .insert("RestartPolicy".to_owned(), json!({ "Name": name, "MaximumRetryCount": retries }));
    let log = json!({ "Type": options.log.word(), "Config": options.log_options });
    document.insert("LogConfig".to_owned(), log);
    document
}
