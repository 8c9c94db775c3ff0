//! Containers as `docker inspect` and `docker ps` show them.

use std::collections::BTreeMap;

use oriel_api::{
    Shape,
    container::{Endpoint as WireEndpoint, EndpointIpam, Port, Summary, SummaryNetworks},
};
use oriel_engine::{
    ContainerView, Health, HealthStatus, LogDriver, Membership, NEVER, Time, Usage,
};
use oriel_hcs::{PortMapping, Protocol};
use serde_json::{Map, Value, json};

use crate::http::{Call, HttpError};

/// Element of `GET /containers/json`, with sizes when they were asked for and could be measured.
pub(crate) fn summary(call: &Call, view: &ContainerView, usage: Option<&Usage>) -> Summary {
    let spec = &view.spec;
    let command = std::iter::once(&spec.path).chain(&spec.args);
    Summary {
        id: view.id.clone(),
        names: vec![format!("/{}", view.name)],
        image: spec.image.clone(),
        image_id: spec.image_id.clone(),
        command: command.map(String::as_str).collect::<Vec<_>>().join(" "),
        created: view.created.seconds(),
        ports: ports(view),
        size_rw: usage.map(|usage| usage.own),
        size_root_fs: usage.map(|usage| usage.with_image),
        labels: spec.run.labels.clone(),
        state: view.state.word().to_owned(),
        status: sentence(view, call.daemon.engine.now()),
        host_config: BTreeMap::from([("NetworkMode".to_owned(), spec.host.network.clone())]),
        network_settings: SummaryNetworks { networks: networks(call, view) },
        mounts: super::mounts::shown(view),
    }
}

/// State in words for a person, with the verdict of the health check while the container runs.
fn sentence(view: &ContainerView, now: Time) -> String {
    let sentence = view.state.sentence(now);
    if view.state.is_paused() {
        return sentence;
    }
    match view.health.as_ref().map(|health| health.status) {
        Some(HealthStatus::Starting) if view.state.is_running() => {
            format!("{sentence} (health: starting)")
        }
        Some(status) if view.state.is_running() => format!("{sentence} ({})", status.word()),
        _ => sentence,
    }
}

/// Verdict of the health check in Docker's word; `none` without one.
pub(crate) fn health_word(view: &ContainerView) -> &'static str {
    view.health.as_ref().map_or("none", |health| health.status.word())
}

/// `State.Health` of a container that has a health check.
fn health(health: &Health) -> Value {
    let log = health.log.iter().map(|probe| {
        json!({
            "Start": probe.start.to_string(),
            "End": probe.end.to_string(),
            "ExitCode": probe.exit_code,
            "Output": probe.output,
        })
    });
    json!({
        "Status": health.status.word(),
        "FailingStreak": health.failing_streak,
        "Log": log.collect::<Vec<_>>(),
    })
}

/// Its ports, as far as there are any while it does not run.
pub(crate) fn ports(view: &ContainerView) -> Vec<Port> {
    let published = published_ports(view);
    let mut ports: Vec<Port> = published
        .map(|port| Port {
            ip: Some(port.host_ip.to_string()),
            private_port: port.container_port,
            public_port: Some(port.host_port),
            kind: protocol(port.protocol).to_owned(),
        })
        .collect();
    for exposed in view.spec.run.exposed_ports.keys() {
        let Ok((private_port, kind)) = oriel_engine::parse_port(exposed) else { continue };
        let kind = protocol(kind);
        if view.compartment.is_none()
            || ports.iter().any(|port| port.private_port == private_port && port.kind == kind)
        {
            continue;
        }
        ports.push(Port { ip: None, private_port, public_port: None, kind: kind.to_owned() });
    }
    ports
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

fn published_ports(view: &ContainerView) -> impl Iterator<Item = &PortMapping> {
    view.endpoints().flat_map(|(_, endpoint)| &endpoint.ports)
}

fn networks(call: &Call, view: &ContainerView) -> BTreeMap<String, WireEndpoint> {
    let joins = view.spec.host.networks.iter();
    joins.map(|joins| (joins.network.clone(), endpoint(call, view, joins))).collect()
}

fn endpoint(call: &Call, view: &ContainerView, joins: &Membership) -> WireEndpoint {
    let network = call.daemon.engine.network(&joins.network);
    let asked = WireEndpoint {
        ipam_config: joins.address.map(|address| EndpointIpam {
            ipv4_address: Some(address.to_string()),
            ..EndpointIpam::default()
        }),
        aliases: (!joins.aliases.is_empty()).then(|| joins.aliases.clone()),
        driver_opts: (!joins.driver_options.is_empty()).then(|| joins.driver_options.clone()),
        gw_priority: joins.priority,
        network_id: network.map_or_else(|_| String::new(), |network| network.id.clone()),
        ..WireEndpoint::default()
    };
    let Some((spec, endpoint)) = view.endpoint_on(&joins.network) else { return asked };
    WireEndpoint {
        mac_address: endpoint.mac.clone(),
        endpoint_id: spec.id.clone(),
        gateway: endpoint.gateway.map_or_else(String::new, |gateway| gateway.to_string()),
        ip_address: endpoint.address.to_string(),
        ip_prefix_len: endpoint.prefix,
        dns_names: Some(spec.names.clone()),
        ..asked
    }
}

/// Body of `GET /containers/{id}/json`.
pub(crate) async fn container(call: &Call, view: &ContainerView) -> Result<Value, HttpError> {
    let spec = &view.spec;
    let mut value = json!({
        "Id": view.id,
        "Created": view.created.to_string(),
        "Path": spec.path,
        "Args": spec.args,
        "State": state(view),
        "Image": spec.image_id,
        "ResolvConfPath": "",
        "HostnamePath": "",
        "HostsPath": "",
        "LogPath": log_path(call, view),
        "Name": format!("/{}", view.name),
        "RestartCount": view.restarts,
        "Driver": "windowsfilter",
        "Platform": "windows",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": if view.execs.is_empty() { Value::Null } else { json!(view.execs) },
        "HostConfig": spec.host.document,
        "GraphDriver": { "Name": "windowsfilter", "Data": { "dir": sandbox(call, view) } },
        "Mounts": super::mounts::shown(view),
        "Config": config(view),
        "NetworkSettings": network_settings(call, view),
    });
    if call.query.flag("size") {
        let usage = call.daemon.engine.usage(std::slice::from_ref(view)).await;
        if let Some(usage) = usage.get(&view.id) {
            value["SizeRw"] = json!(usage.own);
            value["SizeRootFs"] = json!(usage.with_image);
        }
    }
    Ok(call.shaped(Shape::Container, value))
}

fn state(view: &ContainerView) -> Value {
    let state = &view.state;
    let time = |time: Option<Time>| time.map_or_else(|| NEVER.to_owned(), |time| time.to_string());
    let mut value = json!({
        "Status": if view.removing { "removing" } else { state.word() },
        "Running": state.is_active(),
        "Paused": state.is_paused(),
        "Restarting": state.word() == "restarting",
        "OOMKilled": state.out_of_memory(),
        "Dead": false,
        "Pid": state.pid().unwrap_or_default(),
        "ExitCode": state.exit_code(),
        "Error": state.error(),
        "StartedAt": time(state.started()),
        "FinishedAt": time(state.finished()),
    });
    if let Some(found) = &view.health {
        value["Health"] = health(found);
    }
    value
}

fn log_path(call: &Call, view: &ContainerView) -> String {
    // Files of other drivers are nobody's business.
    if view.spec.host.log != LogDriver::JsonFile {
        return String::new();
    }
    let directory = call.daemon.engine.root().join("containers").join(&view.id);
    directory.join(format!("{}-json.log", view.id)).display().to_string()
}

fn sandbox(call: &Call, view: &ContainerView) -> String {
    call.daemon.engine.root().join("windowsfilter").join(&view.id).display().to_string()
}

fn config(view: &ContainerView) -> Value {
    let (spec, run) = (&view.spec, &view.spec.run);
    let streams = &spec.streams;
    let mut config = json!({
        "Hostname": spec.hostname,
        "Domainname": spec.domain_name,
        "User": run.user,
        "AttachStdin": streams.attach_stdin,
        "AttachStdout": streams.attach_stdout,
        "AttachStderr": streams.attach_stderr,
        "Tty": streams.tty,
        "OpenStdin": streams.open_stdin,
        "StdinOnce": streams.stdin_once,
        "Env": run.env,
        "Cmd": run.cmd,
        "Image": spec.image,
        "Volumes": if run.volumes.is_empty() { Value::Null } else { json!(run.volumes) },
        "WorkingDir": run.working_dir,
        "Entrypoint": run.entrypoint,
        "OnBuild": null,
        "Labels": run.labels,
    });
    let mut insert = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            config[name] = value;
        }
    };
    insert("ExposedPorts", (!run.exposed_ports.is_empty()).then(|| json!(run.exposed_ports)));
    insert("ArgsEscaped", run.args_escaped.then_some(Value::Bool(true)));
    insert("Shell", run.shell.as_ref().map(|shell| json!(shell)));
    insert("Healthcheck", run.healthcheck.as_ref().map(|check| json!(check)));
    insert("StopSignal", (!run.stop_signal.is_empty()).then(|| json!(run.stop_signal)));
    insert("StopTimeout", spec.stop_timeout.map(|seconds| json!(seconds)));
    config
}

fn network_settings(call: &Call, view: &ContainerView) -> Value {
    json!({
        "Bridge": "",
        "SandboxID": view.compartment.as_ref().map_or("", |_| view.id.as_str()),
        "SandboxKey": view.compartment.as_ref().map(|compartment| compartment.namespace.clone())
            .unwrap_or_default(),
        "Ports": port_map(view),
        "HairpinMode": false,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": null,
        "SecondaryIPv6Addresses": null,
        "EndpointID": "",
        "Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "IPAddress": "",
        "IPPrefixLen": 0,
        "IPv6Gateway": "",
        "MacAddress": "",
        "Networks": networks(call, view),
    })
}

/// Published ports with their host ports, exposed ones with `null`.
fn port_map(view: &ContainerView) -> Value {
    let mut map = Map::new();
    if view.compartment.is_none() {
        return Value::Object(map);
    }
    for exposed in view.spec.run.exposed_ports.keys() {
        if let Ok((port, kind)) = oriel_engine::parse_port(exposed) {
            map.insert(format!("{port}/{}", protocol(kind)), Value::Null);
        }
    }
    for port in published_ports(view) {
        let key = format!("{}/{}", port.container_port, protocol(port.protocol));
        let binding =
            json!({ "HostIp": port.host_ip.to_string(), "HostPort": port.host_port.to_string() });
        match map.get_mut(&key) {
            Some(Value::Array(bindings)) => bindings.push(binding),
            _ => {
                map.insert(key, json!([binding]));
            }
        }
    }
    Value::Object(map)
}
