//! Bodies about containers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::resources::Resources;

/// A JSON object of which only the keys matter, as Go writes sets.
pub type Set = BTreeMap<String, Value>;

/// Body of `POST /containers/create`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CreateRequest {
    /// What runs.
    #[serde(flatten)]
    pub config: Config,
    /// What it runs on.
    #[serde(rename = "HostConfig", default)]
    pub host_config: Option<HostConfig>,
    /// Which networks it joins.
    #[serde(rename = "NetworkingConfig", default)]
    pub networking_config: Option<NetworkingConfig>,
}

/// What a container runs: the portable half, which images carry too.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    /// Computer name.
    pub hostname: Option<String>,
    /// Domain name.
    pub domainname: Option<String>,
    /// Account.
    pub user: Option<String>,
    /// Whether standard input is attached.
    pub attach_stdin: Option<bool>,
    /// Whether standard output is attached.
    pub attach_stdout: Option<bool>,
    /// Whether standard error is attached.
    pub attach_stderr: Option<bool>,
    /// Ports it listens on, such as `80/tcp`.
    pub exposed_ports: Option<Set>,
    /// Whether it has a console.
    pub tty: Option<bool>,
    /// Whether standard input stays open.
    pub open_stdin: Option<bool>,
    /// Whether standard input closes when the first client leaves.
    pub stdin_once: Option<bool>,
    /// Variables, `NAME=value`.
    pub env: Option<Vec<String>>,
    /// Arguments, or the program and its arguments.
    #[serde(deserialize_with = "text_or_list")]
    pub cmd: Option<Vec<String>>,
    /// How to see whether it is well.
    pub healthcheck: Option<Value>,
    /// Whether the first element of the command is a command line.
    pub args_escaped: Option<bool>,
    /// Image.
    pub image: Option<String>,
    /// Paths kept outside the sandbox.
    pub volumes: Option<Set>,
    /// Directory to start in.
    pub working_dir: Option<String>,
    /// Program, and its first arguments.
    #[serde(deserialize_with = "text_or_list")]
    pub entrypoint: Option<Vec<String>>,
    /// Whether networking is off.
    pub network_disabled: Option<bool>,
    /// Hardware address.
    pub mac_address: Option<String>,
    /// Instructions for images built from this one.
    pub on_build: Option<Vec<String>>,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// Signal that stops it.
    pub stop_signal: Option<String>,
    /// Grace period in seconds.
    pub stop_timeout: Option<i64>,
    /// Shell of shell-form commands.
    pub shell: Option<Vec<String>>,
}

/// Docker lets a command be one text instead of a list.
fn text_or_list<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum TextOrList {
        Text(String),
        List(Vec<String>),
    }
    Ok(Option::<TextOrList>::deserialize(deserializer)?.map(|value| match value {
        TextOrList::Text(text) => vec![text],
        TextOrList::List(list) => list,
    }))
}

/// What a container runs on: the half that belongs to this host. Fields that Oriel does not act on
/// are gathered in `other`, so that they can be warned about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostConfig {
    /// Directories and volumes shown inside, as text.
    pub binds: Option<Vec<String>>,
    /// Where output goes.
    pub log_config: Option<LogConfig>,
    /// Network to join.
    pub network_mode: Option<String>,
    /// Published ports, such as `80/tcp` to its host ports.
    pub port_bindings: Option<BTreeMap<String, Option<Vec<PortBinding>>>>,
    /// What happens when it ends.
    pub restart_policy: Option<RestartPolicy>,
    /// Whether it is removed when it ends.
    pub auto_remove: Option<bool>,
    /// Height and width of the console.
    pub console_size: Option<[u16; 2]>,
    /// Name servers.
    pub dns: Option<Vec<String>>,
    /// Domains in which a name without dots is looked for.
    pub dns_search: Option<Vec<String>>,
    /// Options of the resolver.
    pub dns_options: Option<Vec<String>>,
    /// Other containers, as this one calls them.
    pub links: Option<Vec<String>>,
    /// Further lines of `hosts`, `name:address`.
    pub extra_hosts: Option<Vec<String>>,
    /// Options of its sandbox, such as its `size`.
    pub storage_opt: Option<BTreeMap<String, String>>,
    /// Whether every exposed port is published.
    pub publish_all_ports: Option<bool>,
    /// How it is kept apart.
    pub isolation: Option<String>,
    /// What it may use.
    #[serde(flatten)]
    pub resources: Resources,
    /// Directories and volumes shown inside.
    pub mounts: Option<Vec<Mount>>,
    /// File systems in memory, by their targets.
    pub tmpfs: Option<BTreeMap<String, String>>,
    /// Containers whose volumes are shown as well.
    pub volumes_from: Option<Vec<String>>,
    /// Driver of the volumes that `binds` name.
    pub volume_driver: Option<String>,
    /// Linux's privileged flag.
    pub privileged: Option<bool>,
    /// Whether the root file system is read-only.
    pub readonly_rootfs: Option<bool>,
    /// How much rather than others it is killed when the host runs out of memory.
    pub oom_score_adj: Option<i64>,
    /// Settings of its network.
    pub sysctls: Option<BTreeMap<String, String>>,
    /// How it is protected, and the credentials it has.
    pub security_opt: Option<Vec<String>>,
    /// Linux capabilities to add.
    pub cap_add: Option<Vec<String>>,
    /// Linux capabilities to take away.
    pub cap_drop: Option<Vec<String>>,
    /// Whose IPC it shares.
    pub ipc_mode: Option<String>,
    /// Whose processes it sees.
    pub pid_mode: Option<String>,
    /// Whose host name it has.
    #[serde(rename = "UTSMode")]
    pub uts_mode: Option<String>,
    /// Whose users it has.
    pub userns_mode: Option<String>,
    /// Whose control groups it sees.
    pub cgroupns_mode: Option<String>,
    /// The program that makes it.
    pub runtime: Option<String>,
    /// Bytes of shared memory.
    pub shm_size: Option<i64>,
    /// Whether an init reaps its processes.
    pub init: Option<bool>,
    /// Devices it may use.
    pub devices: Option<Vec<Device>>,
    /// Devices that a driver is to choose.
    pub device_requests: Option<Vec<DeviceRequest>>,
    /// All other fields.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Device {
    /// On Windows `class/GUID` or `IDType://ID`.
    pub path_on_host: String,
    /// Where a Linux container would have it.
    pub path_in_container: String,
}

/// Devices that a driver is to choose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeviceRequest {
    /// Name of the driver.
    pub driver: String,
    /// What the devices must be able to, each list one choice.
    pub capabilities: Option<Vec<Vec<String>>>,
}

/// Where output goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LogConfig {
    /// Driver, such as `json-file`.
    #[serde(rename = "Type")]
    pub kind: Option<String>,
    /// Its options.
    pub config: Option<BTreeMap<String, String>>,
}

/// A host port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PortBinding {
    /// Address; empty means all.
    pub host_ip: Option<String>,
    /// Port; empty means any free one.
    pub host_port: Option<String>,
}

/// What happens when a container ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RestartPolicy {
    /// `no`, `always`, `unless-stopped` or `on-failure`.
    pub name: Option<String>,
    /// Most restarts of `on-failure`; 0 is no limit.
    pub maximum_retry_count: Option<i64>,
}

/// A directory or volume shown inside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Mount {
    /// `bind`, `volume`, `npipe` ...
    #[serde(rename = "Type")]
    pub kind: Option<String>,
    /// Host path or volume.
    pub source: Option<String>,
    /// Path inside.
    pub target: Option<String>,
    /// Whether writes are refused.
    pub read_only: Option<bool>,
    /// All other fields.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Which networks a container joins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkingConfig {
    /// Settings by network.
    pub endpoints_config: Option<BTreeMap<String, Option<EndpointSettings>>>,
}

/// How a container joins a network. What only answers have is left out: clients send back what
/// they were told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EndpointSettings {
    /// Addresses it must have.
    #[serde(rename = "IPAMConfig")]
    pub ipam_config: Option<EndpointIpam>,
    /// Other containers, as it calls them.
    pub links: Option<Vec<String>>,
    /// Further names there.
    pub aliases: Option<Vec<String>>,
    /// Hardware address it must have.
    pub mac_address: Option<String>,
    /// Options of the driver.
    pub driver_opts: Option<BTreeMap<String, String>>,
    /// Which network leads out: the highest.
    pub gw_priority: Option<i64>,
}

/// Addresses that an endpoint must have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EndpointIpam {
    /// IPv4 address.
    #[serde(rename = "IPv4Address", skip_serializing_if = "Option::is_none")]
    pub ipv4_address: Option<String>,
    /// IPv6 address.
    #[serde(rename = "IPv6Address", skip_serializing_if = "Option::is_none")]
    pub ipv6_address: Option<String>,
    /// Link-local addresses.
    #[serde(rename = "LinkLocalIPs", skip_serializing_if = "Option::is_none")]
    pub link_local_ips: Option<Vec<String>>,
}

/// Answer to `POST /containers/create`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateResponse {
    /// The container's id.
    pub id: String,
    /// What will not be as asked; never `null`.
    pub warnings: Vec<String>,
}

/// Answer to `POST /containers/{id}/wait`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct WaitResponse {
    /// Exit code: 32 bits, never negative.
    pub status_code: i64,
    /// Why waiting failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<WaitError>,
}

/// Why waiting failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct WaitError {
    /// In words.
    pub message: String,
}

/// Element of `GET /containers/json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Summary {
    /// Id.
    pub id: String,
    /// Names, each after a slash.
    pub names: Vec<String>,
    /// Image as it was asked for.
    pub image: String,
    /// Image's id.
    #[serde(rename = "ImageID")]
    pub image_id: String,
    /// Command line.
    pub command: String,
    /// When it was created, in seconds since 1970.
    pub created: i64,
    /// Ports.
    pub ports: Vec<Port>,
    /// Bytes of the sandbox, when asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_rw: Option<u64>,
    /// Bytes of image and sandbox, when asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_root_fs: Option<u64>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// State in one word.
    pub state: String,
    /// State in words for a person.
    pub status: String,
    /// `NetworkMode`.
    pub host_config: BTreeMap<String, String>,
    /// How it is on its networks.
    pub network_settings: SummaryNetworks,
    /// Mounts.
    pub mounts: Vec<Value>,
}

/// How a container is on its networks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SummaryNetworks {
    /// Endpoints by network.
    pub networks: BTreeMap<String, Endpoint>,
}

/// How a container is on a network; what it has only while it runs is empty otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Endpoint {
    /// Addresses it was to have.
    #[serde(rename = "IPAMConfig")]
    pub ipam_config: Option<EndpointIpam>,
    /// Other containers, as it calls them: there are none on Windows.
    pub links: Option<Vec<String>>,
    /// Further names there.
    pub aliases: Option<Vec<String>>,
    /// Hardware address.
    pub mac_address: String,
    /// Options of the driver.
    pub driver_opts: Option<BTreeMap<String, String>>,
    /// Which network leads out: the highest.
    pub gw_priority: i64,
    /// The network's id.
    #[serde(rename = "NetworkID")]
    pub network_id: String,
    /// Its own id.
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    /// Address of the gateway.
    pub gateway: String,
    /// Address.
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    /// Length of the network's part of it.
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_len: u8,
    /// IPv6 address of the gateway: there is none.
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: String,
    /// IPv6 address: there is none.
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: String,
    /// Length of the network's part of it.
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_len: u8,
    /// Names that others find it by.
    #[serde(rename = "DNSNames")]
    pub dns_names: Option<Vec<String>>,
}

/// A port of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Host address.
    #[serde(rename = "IP", default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Port inside.
    #[serde(rename = "PrivatePort")]
    pub private_port: u16,
    /// Host port.
    #[serde(rename = "PublicPort", default, skip_serializing_if = "Option::is_none")]
    pub public_port: Option<u16>,
    /// `tcp` or `udp`.
    #[serde(rename = "Type")]
    pub kind: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_as_good_as_absent() {
        let body = r#"{"Image":"a","Cmd":null,"Env":null,
            "HostConfig":{"Binds":null,"PortBindings":{"80/tcp":null}},
            "NetworkingConfig":{"EndpointsConfig":{"default":null}}}"#;
        let request: CreateRequest = serde_json::from_str(body).unwrap();
        assert_eq!(request.config.image.as_deref(), Some("a"));
        assert_eq!(request.config.cmd, None);
        assert_eq!(request.host_config.unwrap().port_bindings.unwrap()["80/tcp"], None);
    }

    #[test]
    fn a_command_may_be_one_text() {
        let request: CreateRequest =
            serde_json::from_str(r#"{"Cmd":"dir","Entrypoint":["cmd"]}"#).unwrap();
        assert_eq!(request.config.cmd, Some(vec!["dir".to_owned()]));
        assert_eq!(request.config.entrypoint, Some(vec!["cmd".to_owned()]));
    }

    #[test]
    fn fields_nobody_acts_on_are_gathered() {
        let request: CreateRequest =
            serde_json::from_str(r#"{"HostConfig":{"GroupAdd":["1"],"Memory":1}}"#).unwrap();
        let host = request.host_config.unwrap();
        assert_eq!(host.resources.memory, Some(1));
        assert!(host.other.contains_key("GroupAdd"));
        assert_eq!(host.other.len(), 1);
    }
}
