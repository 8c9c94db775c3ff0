//! Creating a container: from Docker's words to the engine's.
//!
//! The policy is lenient, because clients on Linux send Linux' options to any daemon: what Oriel
//! cannot do is refused when the container would not be what was asked for, and otherwise accepted
//! with a warning. Nothing is ignored in silence.

use std::net::{IpAddr, Ipv4Addr};

use hyper::StatusCode;
use oriel_api::container::{
    Config, CreateRequest as WireRequest, CreateResponse, HostConfig, NetworkingConfig, Set,
};
use oriel_engine::{
    CreateRequest, Engine, EngineError, HostOptions, LogDriver, Membership, Overrides,
    RestartPolicy, StreamOptions, parse_port, storage_options,
};
use oriel_hcs::{Limits, PortMapping};
use oriel_image::{Empty, RunConfig};
use serde_json::{Map, Value, json};

use super::{
    exec::size,
    networks::{hardware_address, membership, network_name, refuse_links},
};
use crate::{
    daemon::Fixed,
    http::{Answer, Call, HttpError, json as answer},
};

pub(crate) async fn create(mut call: Call) -> Answer {
    let document: Value = call.json().await?;
    let sent = document.get("HostConfig").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut wire: WireRequest = serde_json::from_value(document).map_err(HttpError::invalid)?;
    add_defaults(&mut wire, &call.daemon.fixed);
    if let Some(platform) = call.query.non_empty("platform")
        && !platform.to_ascii_lowercase().starts_with("windows")
    {
        return Err(HttpError::invalid(format!(
            "operating system is not supported: {platform:?} (this daemon runs windows/amd64)"
        )));
    }
    if !call.version.at_least(44) {
        refuse_several_networks(wire.networking_config.as_ref())?;
    }
    let mut warnings = Vec::new();
    let mut request = convert(wire, sent, &mut warnings)?;
    request.name = call.query.non_empty("name").map(str::to_owned);
    let of_part = |wish: &oriel_engine::MountWish| !wish.subpath.is_empty();
    if !call.version.at_least(45) && request.mounts.mounts.iter().any(of_part) {
        return Err(HttpError::invalid("VolumeOptions.Subpath needs API v1.45 or newer"));
    }
    let id = call.daemon.engine.create(request).await?;
    Ok(answer(StatusCode::CREATED, &CreateResponse { id, warnings }))
}

fn convert(
    wire: WireRequest,
    sent: Map<String, Value>,
    warnings: &mut Vec<String>,
) -> Result<CreateRequest, EngineError> {
    let host = wire.host_config.unwrap_or_default();
    let config = wire.config;
    let image = config.image.clone().unwrap_or_default();
    if image.is_empty() {
        return Err(EngineError::invalid("no image was given: Config.Image is empty"));
    }
    let streams = StreamOptions {
        attach_stdin: config.attach_stdin.unwrap_or_default(),
        attach_stdout: config.attach_stdout.unwrap_or_default(),
        attach_stderr: config.attach_stderr.unwrap_or_default(),
        tty: config.tty.unwrap_or_default(),
        open_stdin: config.open_stdin.unwrap_or_default(),
        stdin_once: config.stdin_once.unwrap_or_default(),
        console: size(host.console_size),
    };
    warn_about_config(&config, warnings);
    check_shared_network(&config, &host)?;
    let networks = memberships(&config, &host, wire.networking_config)?;
    let mounts = super::mounts::wishes(&host, warnings)?;
    let mut options = host_options(host, warnings)?;
    options.networks = networks;
    options.document = document(sent, &options);
    Ok(CreateRequest {
        name: None,
        image,
        overrides: overrides(config)?,
        streams,
        host: options,
        mounts,
        command: None,
    })
}

fn overrides(config: Config) -> Result<Overrides, EngineError> {
    let keys = |set: Option<Set>| set.unwrap_or_default().into_keys().map(|key| (key, Empty {}));
    for port in config.exposed_ports.iter().flat_map(Set::keys) {
        parse_port(port)?;
    }
    let healthcheck = config.healthcheck.filter(|check| !is_empty(check));
    let run = RunConfig {
        user: config.user.unwrap_or_default(),
        exposed_ports: keys(config.exposed_ports).collect(),
        env: config.env.unwrap_or_default(),
        cmd: config.cmd,
        healthcheck: healthcheck
            .map(serde_json::from_value)
            .transpose()
            .map_err(|error| EngineError::invalid(format!("invalid Healthcheck: {error}")))?,
        args_escaped: config.args_escaped.unwrap_or_default(),
        volumes: keys(config.volumes).collect(),
        working_dir: config.working_dir.unwrap_or_default(),
        entrypoint: config.entrypoint,
        labels: config.labels.unwrap_or_default(),
        stop_signal: config.stop_signal.unwrap_or_default(),
        shell: config.shell,
        ..RunConfig::default()
    };
    Ok(Overrides {
        hostname: config.hostname.unwrap_or_default(),
        domain_name: config.domainname.unwrap_or_default(),
        run,
        stop_timeout: config.stop_timeout,
    })
}

fn warn_about_config(config: &Config, warnings: &mut Vec<String>) {
    if config.network_disabled == Some(true) {
        warnings.push("NetworkDisabled is not supported: use network mode 'none'.".to_owned());
    }
}

/// Before version 1.44 a container was created on one network, and connected to others later.
fn refuse_several_networks(networking: Option<&NetworkingConfig>) -> Result<(), HttpError> {
    let endpoints = networking.and_then(|config| config.endpoints_config.as_ref());
    match endpoints {
        Some(endpoints) if endpoints.len() > 1 => {
            let names: Vec<&str> = endpoints.keys().map(String::as_str).collect();
            Err(HttpError::invalid(format!(
                "Container cannot be connected to network endpoints: {}",
                names.join(", ")
            )))
        }
        _ => Ok(()),
    }
}

/// The networks that a container joins.
fn memberships(
    config: &Config,
    host: &HostConfig,
    networking: Option<NetworkingConfig>,
) -> Result<Vec<Membership>, EngineError> {
    let endpoints = networking.and_then(|config| config.endpoints_config).unwrap_or_default();
    let mut joins = endpoints
        .into_iter()
        .map(|(network, settings)| membership(&network, settings.unwrap_or_default()))
        .collect::<Result<Vec<_>, _>>()?;
    // Clients before version 1.44 say it once for all networks.
    if let Some(mac) = config.mac_address.as_deref().filter(|address| !address.is_empty()) {
        let mode = network_name(host.network_mode.as_deref().unwrap_or_default());
        if !joins.iter().any(|joins| joins.network == mode) {
            joins.push(Membership::to(mode));
        }
        let joins = joins.iter_mut().find(|joins| joins.network == mode);
        if let Some(joins) = joins.filter(|joins| joins.mac.is_none()) {
            joins.mac = Some(hardware_address(mac)?);
        }
    }
    Ok(joins)
}

/// What contradicts sharing the network of another container, in Docker's words.
fn check_shared_network(config: &Config, host: &HostConfig) -> Result<(), EngineError> {
    if !host.network_mode.as_deref().is_some_and(|mode| mode.starts_with("container:")) {
        return Ok(());
    }
    let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let named = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let published = host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty());
    let conflicts = [
        (named(&config.hostname), "hostname and the network mode"),
        (
            some(&host.links),
            "container type network can't be used with links. This would result in undefined \
             behavior",
        ),
        (some(&host.dns), "dns and the network mode"),
        (some(&host.extra_hosts), "custom host-to-IP mapping and the network mode"),
        (named(&config.mac_address), "mac-address and the network mode"),
        (
            published || host.publish_all_ports == Some(true),
            "port publishing and the container type network mode",
        ),
        (
            config.exposed_ports.as_ref().is_some_and(|ports| !ports.is_empty()),
            "port exposing and the container type network mode",
        ),
    ];
    match conflicts.into_iter().find(|(conflict, _)| *conflict) {
        Some((_, text)) => Err(EngineError::invalid(format!("conflicting options: {text}"))),
        None => Ok(()),
    }
}

fn host_options(host: HostConfig, warnings: &mut Vec<String>) -> Result<HostOptions, EngineError> {
    Engine::check_isolation(host.isolation.as_deref().unwrap_or_default())?;
    for (key, value) in &host.other {
        let unset = is_empty(value) || (key == "MemorySwappiness" && *value == json!(-1));
        if !unset {
            warnings.push(format!("Option {key} is not supported for Windows. {key} discarded."));
        }
    }
    refuse_links(host.links.as_deref().unwrap_or_default())?;
    for (name, flag) in [("Privileged", host.privileged), ("ReadonlyRootfs", host.readonly_rootfs)]
    {
        if flag == Some(true) {
            warnings.push(format!("Option {name} is not supported for Windows. {name} discarded."));
        }
    }
    let restart = host.restart_policy.clone().unwrap_or_default();
    let restart = RestartPolicy::parse(
        restart.name.as_deref().unwrap_or_default(),
        restart.maximum_retry_count.unwrap_or_default(),
    )?;
    Ok(HostOptions {
        ports: ports(&host)?,
        publish_all: host.publish_all_ports.unwrap_or_default(),
        restart,
        auto_remove: host.auto_remove.unwrap_or_default(),
        network: network(host.network_mode.as_deref().unwrap_or_default(), warnings)?,
        networks: Vec::new(),
        extra_hosts: extra_hosts(host.extra_hosts.as_deref().unwrap_or_default())?,
        dns: name_servers(host.dns.as_deref().unwrap_or_default())?,
        limits: limits(&host, warnings)?,
        log: log_driver(&host, warnings)?,
        sandbox_size: sandbox_size(&host)?,
        mounts: Vec::new(),
        document: Map::new(),
    })
}

fn network(mode: &str, warnings: &mut Vec<String>) -> Result<String, EngineError> {
    match mode {
        "bridge" => {
            warnings.push("There is no network 'bridge' on Windows. Using 'nat'.".to_owned());
        }
        "container" | "container:" => {
            return Err(EngineError::invalid(
                "invalid network mode: invalid container format container:<name|id>",
            ));
        }
        _ => {}
    }
    Ok(network_name(mode).to_owned())
}

fn ports(host: &HostConfig) -> Result<Vec<PortMapping>, EngineError> {
    let mut ports = Vec::new();
    for (exposed, bindings) in host.port_bindings.iter().flatten() {
        let (container_port, protocol) = parse_port(exposed)?;
        for binding in bindings.iter().flatten() {
            let ip = binding.host_ip.as_deref().unwrap_or_default();
            let host_ip: IpAddr = if ip.is_empty() {
                Ipv4Addr::UNSPECIFIED.into()
            } else {
                ip.parse().map_err(|_| {
                    EngineError::invalid(format!("invalid IP address in port binding: '{ip}'"))
                })?
            };
            let port = binding.host_port.as_deref().unwrap_or_default();
            let host_port = if port.is_empty() {
                0
            } else {
                port.parse().map_err(|_| {
                    EngineError::invalid(format!("invalid host port '{port}' for {exposed}"))
                })?
            };
            ports.push(PortMapping { protocol, host_ip, host_port, container_port });
        }
    }
    Ok(ports)
}

fn extra_hosts(lines: &[String]) -> Result<Vec<(String, String)>, EngineError> {
    lines
        .iter()
        .map(|line| {
            let bad = || EngineError::invalid(format!("bad format for add-host: {line:?}"));
            let (name, address) = line.split_once([':', '=']).ok_or_else(bad)?;
            let address = address.trim_matches(['[', ']']);
            let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
            if name.is_empty() || !plain {
                return Err(bad());
            }
            if address != "host-gateway" && address.parse::<IpAddr>().is_err() {
                return Err(EngineError::invalid(format!(
                    "invalid IP address in add-host: {address:?}"
                )));
            }
            Ok((name.to_owned(), address.to_owned()))
        })
        .collect()
}

fn name_servers(servers: &[String]) -> Result<Vec<Ipv4Addr>, EngineError> {
    servers
        .iter()
        .map(|server| {
            server.parse().map_err(|_| {
                EngineError::invalid(format!("{server} is not an IPv4 address of a name server"))
            })
        })
        .collect()
}

fn limits(host: &HostConfig, warnings: &mut Vec<String>) -> Result<Limits, EngineError> {
    const ONE_CPU: u64 = 1_000_000_000;

    let positive = |name: &str, value: Option<i64>| match value.unwrap_or(0) {
        // Docker's "unlimited" of the pids limit.
        -1 if name == "PidsLimit" => Ok(None),
        0 => Ok(None),
        value => u64::try_from(value).map(Some).map_err(|_| {
            EngineError::invalid(format!("invalid {name}: {name} cannot be negative"))
        }),
    };
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let nano = positive("NanoCpus", host.nano_cpus)?;
    let count = positive("CPUCount", host.cpu_count)?;
    let percent = positive("CPUPercent", host.cpu_percent)?;
    let shares = positive("CPUShares", host.cpu_shares)?;
    if percent.is_some_and(|percent| percent > 100) {
        warnings.push("CPUPercent is above 100. Using 100.".to_owned());
    }
    // On Windows count comes before shares, and shares before percent.
    let nano_cpus =
        nano.or_else(|| count.map(|count| count.saturating_mul(ONE_CPU))).or_else(|| {
            percent
                .filter(|_| shares.is_none())
                .map(|percent| percent.min(100) * cpus * (ONE_CPU / 100))
        });
    if nano_cpus.is_some() && shares.is_some() {
        warnings.push(
            "Conflicting options: CPU count takes priority over CPU shares on Windows Server \
             Containers. CPU shares discarded"
                .to_owned(),
        );
    }
    let weight = shares.filter(|_| nano_cpus.is_none());
    if weight.is_some_and(|weight| weight > 10_000) {
        return Err(EngineError::invalid("range of CPUShares is from 1 to 10000"));
    }
    Ok(Limits {
        memory_bytes: positive("Memory", host.memory)?,
        nano_cpus,
        cpu_weight: weight.and_then(|weight| u32::try_from(weight).ok()),
        tasks: positive("PidsLimit", host.pids_limit)?,
    })
}

fn sandbox_size(host: &HostConfig) -> Result<Option<u64>, EngineError> {
    let options = host.storage_opt.iter().flatten();
    storage_options(options.map(|(key, value)| (key.as_str(), value.as_str())))
}

fn log_driver(host: &HostConfig, warnings: &mut Vec<String>) -> Result<LogDriver, EngineError> {
    let Some(config) = &host.log_config else { return Ok(LogDriver::JsonFile) };
    for option in config.config.iter().flatten().map(|(key, _)| key) {
        warnings.push(format!("Log option {option} is not supported yet. {option} discarded."));
    }
    match config.kind.as_deref().unwrap_or_default() {
        "" | "json-file" => Ok(LogDriver::JsonFile),
        "none" => Ok(LogDriver::None),
        other => Err(EngineError::invalid(format!(
            "logger: no log driver named '{other}' is registered"
        ))),
    }
}

/// What the daemon's configuration says of containers that do not say it themselves.
fn add_defaults(wire: &mut WireRequest, fixed: &Fixed) {
    let host = wire.host_config.get_or_insert_default();
    let dns = host.dns.get_or_insert_default();
    if dns.is_empty() {
        dns.extend(fixed.dns.iter().map(Ipv4Addr::to_string));
    }
    let driver = host.log_config.get_or_insert_default().kind.get_or_insert_default();
    if driver.is_empty() && fixed.log_driver == LogDriver::None {
        "none".clone_into(driver);
    }
}

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
fn document(sent: Map<String, Value>, options: &HostOptions) -> Map<String, Value> {
    let (name, retries) = options.restart.parts();
    let mut document: Map<String, Value> =
        serde_json::from_str(DEFAULTS).expect("an object is written there");
    document.extend(sent.into_iter().filter(|(_, value)| !value.is_null()));
    document.insert("NetworkMode".to_owned(), json!(options.network));
    document.insert("Isolation".to_owned(), json!("process"));
    document
        .insert("RestartPolicy".to_owned(), json!({ "Name": name, "MaximumRetryCount": retries }));
    let log = match options.log {
        LogDriver::JsonFile => "json-file",
        LogDriver::None => "none",
    };
    document.insert("LogConfig".to_owned(), json!({ "Type": log, "Config": {} }));
    document
}

/// Whether a value says nothing.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(is_empty),
        Value::Object(fields) => fields.values().all(is_empty),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(body: Value) -> Result<(CreateRequest, Vec<String>), EngineError> {
        let sent = body["HostConfig"].as_object().cloned().unwrap_or_default();
        let wire = serde_json::from_value(body).unwrap();
        let mut warnings = Vec::new();
        Ok((convert(wire, sent, &mut warnings)?, warnings))
    }

    #[test]
    fn what_the_docker_cli_sends_by_default_brings_no_warning() {
        let body = json!({
            "Image": "nanoserver", "Cmd": ["cmd"], "Env": null, "AttachStdout": true,
            "HostConfig": {
                "Binds": null, "NetworkMode": "default", "RestartPolicy": { "Name": "no" },
                "MemorySwappiness": -1, "OomKillDisable": false, "PidsLimit": 0,
                "ConsoleSize": [0, 0], "BlkioWeightDevice": [], "Isolation": "", "Dns": [],
                "LogConfig": { "Type": "", "Config": {} }, "MaskedPaths": null,
            },
            "NetworkingConfig": {
                "EndpointsConfig": { "default": { "Aliases": null, "GwPriority": 0 } },
            },
        });
        let (request, warnings) = converted(body).unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(request.host.network, "nat");
        assert_eq!(request.host.document["NetworkMode"], "nat");
    }

    #[test]
    fn an_option_without_effect_brings_a_warning() {
        let body = json!({ "Image": "a", "HostConfig": { "CapAdd": ["ALL"], "Privileged": true } });
        let (_, warnings) = converted(body).unwrap();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
    }

    #[test]
    fn hyperv_and_links_are_refused_in_words() {
        for host in [json!({ "Isolation": "hyperv" }), json!({ "Links": ["a:b"] })] {
            let error = converted(json!({ "Image": "a", "HostConfig": host })).unwrap_err();
            assert!(error.to_string().contains("not supported"), "{error}");
        }
    }

    #[test]
    fn ports_and_hosts_are_read() {
        let body = json!({ "Image": "a", "HostConfig": {
            "PortBindings": {
                "80/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "8080" }], "81/tcp": null,
            },
            "ExtraHosts": ["db:10.0.0.1", "host.docker.internal:host-gateway"],
        } });
        let (request, _) = converted(body).unwrap();
        assert_eq!(request.host.ports[0].host_port, 8080);
        assert_eq!(request.host.extra_hosts[1].1, "host-gateway");
        let body = json!({ "Image": "a", "HostConfig": { "ExtraHosts": ["a\nb:1.2.3.4"] } });
        assert!(converted(body).is_err());
    }
}
