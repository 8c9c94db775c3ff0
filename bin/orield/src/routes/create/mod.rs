//! Creating a container: from Docker's words to the engine's.
//!
//! The policy is lenient, because clients on Linux send Linux' options to any daemon: what Oriel
//! cannot do is refused when the container would not be what was asked for, and otherwise accepted
//! with a warning. Nothing is ignored in silence.

mod confinement;
mod host;
mod idle;
pub(crate) mod limits;
mod logs;
mod network;
mod security;
mod sets;
mod shown;
mod strict;

use std::net::Ipv4Addr;

use hyper::StatusCode;
use oriel_api::container::{Config, CreateRequest as WireRequest, CreateResponse, Set};
use oriel_engine::{CreateRequest, EngineError, MountWish, Overrides, StreamOptions, parse_port};
use oriel_image::{Empty, RunConfig};
use serde_json::{Map, Value};

use self::{
    host::{Ground, host_options},
    network::{check_shared_network, memberships, refuse_several_networks},
    shown::document,
};
use super::exec::size;
use crate::{
    daemon::Fixed,
    http::{Answer, Call, HttpError, json as answer},
};

pub(crate) async fn create(mut call: Call) -> Answer {
    let document: Value = call.json().await?;
    let sent = document.get("HostConfig").and_then(Value::as_object).cloned().unwrap_or_default();
    oriel_api::check_create(&document).map_err(HttpError::invalid)?;
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
    let engine = &call.daemon.engine;
    let enforced = engine.enforces();
    let strict = call.daemon.fixed.strict;
    let ground = Ground { enforced: &enforced, strict, root: engine.root() };
    let mut request = convert(wire, sent, &ground, &mut warnings)?;
    request.name = call.query.non_empty("name").map(str::to_owned);
    let of_part = |wish: &MountWish| !wish.subpath.is_empty();
    if !call.version.at_least(45) && request.mounts.mounts.iter().any(of_part) {
        return Err(HttpError::invalid("VolumeOptions.Subpath needs API v1.45 or newer"));
    }
    let id = engine.create(request).await?;
    Ok(answer(StatusCode::CREATED, &CreateResponse { id, warnings }))
}

fn convert(
    wire: WireRequest,
    sent: Map<String, Value>,
    ground: &Ground<'_>,
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
    let mut options = host_options(host, ground, warnings)?;
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

/// What the daemon's configuration says of containers that do not say it themselves.
fn add_defaults(wire: &mut WireRequest, fixed: &Fixed) {
    let host = wire.host_config.get_or_insert_default();
    let dns = host.dns.get_or_insert_default();
    if dns.is_empty() {
        dns.extend(fixed.dns.iter().map(Ipv4Addr::to_string));
    }
    fixed.logs.complete(host.log_config.get_or_insert_default());
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
    use serde_json::json;

    use super::*;

    fn converted(body: Value) -> Result<(CreateRequest, Vec<String>), EngineError> {
        let sent = body["HostConfig"].as_object().cloned().unwrap_or_default();
        let wire = serde_json::from_value(body).unwrap();
        let mut warnings = Vec::new();
        let ground = Ground { enforced: &[], strict: false, root: "/nowhere".as_ref() };
        Ok((convert(wire, sent, &ground, &mut warnings)?, warnings))
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
