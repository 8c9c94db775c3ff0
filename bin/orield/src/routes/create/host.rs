//! What a container runs on: `HostConfig`, as far as networks, mounts and limits have no file of
//! their own.

use std::path::Path;

use oriel_api::container::HostConfig;
use oriel_engine::{Engine, EngineError, HostOptions, RestartPolicy, storage_options};
use oriel_hcs::Limit;
use serde_json::Map;

use super::{
    confinement::confinement, idle, is_empty, limits::limits, logs::log, network, security, strict,
};
use crate::routes::networks::refuse_links;

/// Fields that ask for nothing: they are kept to be shown.
const NOTES: [&str; 2] = ["Annotations", "ContainerIDFile"];

/// What the daemon is, as far as creating containers goes.
pub(super) struct Ground<'a> {
    /// Kinds of limits that this host can enforce.
    pub(super) enforced: &'a [Limit],
    /// Whether what Windows refuses is refused.
    pub(super) strict: bool,
    /// The data root.
    pub(super) root: &'a Path,
}

pub(super) fn host_options(
    host: HostConfig,
    ground: &Ground<'_>,
    warnings: &mut Vec<String>,
) -> Result<HostOptions, EngineError> {
    Engine::check_isolation(host.isolation.as_deref().unwrap_or_default())?;
    if ground.strict {
        strict::check(&host)?;
    }
    for (key, value) in &host.other {
        if !is_empty(value) && !NOTES.contains(&key.as_str()) {
            warnings.push(format!("Option {key} is not supported for Windows. {key} discarded."));
        }
    }
    idle::check(&host, warnings)?;
    let protection = host.security_opt.as_deref().unwrap_or_default();
    security::check(protection, ground.strict, ground.root, warnings)?;
    refuse_links(host.links.as_deref().unwrap_or_default())?;
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
        log,
        log_options,
        dns_search: network::words("dns-search", host.dns_search.as_deref())?,
        dns_options: network::words("dns-opt", host.dns_options.as_deref())?,
        limits: limits(&host.resources, ground.enforced, warnings)?,
        confinement: confinement(&host)?,
        sandbox_size: sandbox_size(&host)?,
        mounts: Vec::new(),
        document: Map::new(),
    })
}

fn sandbox_size(host: &HostConfig) -> Result<Option<u64>, EngineError> {
    let options = host.storage_opt.iter().flatten();
    storage_options(options.map(|(key, value)| (key.as_str(), value.as_str())))
}
