//! What a container runs on: `HostConfig`, as far as networks, mounts and limits have no file of
//! their own.

use oriel_api::container::HostConfig;
use oriel_engine::{Engine, EngineError, HostOptions, RestartPolicy, storage_options};
use serde_json::{Map, json};

use super::{is_empty, limits::limits, logs::log, network};
use crate::routes::networks::refuse_links;

pub(super) fn host_options(
    host: HostConfig,
    warnings: &mut Vec<String>,
) -> Result<HostOptions, EngineError> {
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
    let (log, log_options) = log(&host, warnings)?;
    let restart = host.restart_policy.clone().unwrap_or_default();
    let restart = RestartPolicy::parse(
        restart.name.as_deref().unwrap_or_default(),
        restart.maximum_retry_count.unwrap_or_default(),
    )?;
    Ok(HostOptions {
        ports: network::ports(&host)?,
        publish_all: host.publish_all_ports.unwrap_or_default(),
        restart,
        auto_remove: host.auto_remove.unwrap_or_default(),
        network: network::network(host.network_mode.as_deref().unwrap_or_default(), warnings)?,
        networks: Vec::new(),
        extra_hosts: network::extra_hosts(host.extra_hosts.as_deref().unwrap_or_default())?,
        dns: network::name_servers(host.dns.as_deref().unwrap_or_default())?,
        limits: limits(&host, warnings)?,
        log,
        log_options,
        sandbox_size: sandbox_size(&host)?,
        mounts: Vec::new(),
        document: Map::new(),
    })
}

fn sandbox_size(host: &HostConfig) -> Result<Option<u64>, EngineError> {
    let options = host.storage_opt.iter().flatten();
    storage_options(options.map(|(key, value)| (key.as_str(), value.as_str())))
}
