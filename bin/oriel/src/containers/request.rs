//! From the options of `run` and `create` to the body that the daemon wants.

use std::collections::BTreeMap;

use anyhow::bail;
use oriel_api::container::{
    Config, CreateRequest, EndpointSettings, HostConfig, LogConfig, NetworkingConfig, Set,
};
use serde_json::{Map, Value, json};

use super::{
    options::{ContainerOptions, Health, Limits, Linux, Network},
    text,
};
use crate::streams::console_size;

/// Which streams this command will attach to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attached {
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
}

impl Attached {
    /// Docker's rule: what `-a` names; else output, and input with `-i`; nothing with `-d`.
    pub(super) fn of(options: &ContainerOptions, detach: bool) -> anyhow::Result<Self> {
        let program = &options.program;
        let mut attached = Self { stdin: false, stdout: false, stderr: false };
        for stream in &program.attach {
            match stream.to_lowercase().as_str() {
                "stdin" => attached.stdin = true,
                "stdout" => attached.stdout = true,
                "stderr" => attached.stderr = true,
                _ => bail!("there is no stream {stream:?}; there are stdin, stdout and stderr"),
            }
        }
        if detach && !program.attach.is_empty() {
            bail!("--attach and --detach exclude each other; leave one away");
        }
        if program.attach.is_empty() && !detach {
            attached = Self { stdin: program.interactive, stdout: true, stderr: true };
        }
        Ok(attached)
    }
}

/// The body of `POST /containers/create`.
pub(super) fn create(
    options: &ContainerOptions,
    attached: Attached,
) -> anyhow::Result<CreateRequest> {
    Ok(CreateRequest {
        config: config(options, attached)?,
        host_config: Some(host_config(options)?),
        networking_config: Some(networks(&options.network)?),
    })
}

fn config(options: &ContainerOptions, attached: Attached) -> anyhow::Result<Config> {
    let (program, network) = (&options.program, &options.network);
    let (image, command) =
        options.image_and_command.split_first().map_or(("", &[][..]), |(i, c)| (i.as_str(), c));
    let env = text::lines_of(&program.env_files)?.into_iter().chain(program.env.iter().cloned());
    let labels = text::lines_of(&options.general.label_files)?;
    let labels: Vec<_> = labels.into_iter().chain(options.general.labels.iter().cloned()).collect();
    Ok(Config {
        hostname: network.hostname.clone(),
        domainname: network.domainname.clone(),
        user: program.user.clone(),
        attach_stdin: Some(attached.stdin),
        attach_stdout: Some(attached.stdout),
        attach_stderr: Some(attached.stderr),
        exposed_ports: Some(exposed(network)?),
        tty: Some(program.tty),
        open_stdin: Some(program.interactive),
        stdin_once: Some(attached.stdin),
        env: Some(text::variables(env)),
        cmd: (!command.is_empty()).then(|| command.to_vec()),
        healthcheck: health(&options.health)?,
        image: Some(image.to_owned()),
        volumes: Some(anonymous_volumes(&options.storage.volumes)),
        working_dir: program.workdir.clone(),
        // An empty text takes the image's entrypoint off.
        entrypoint: program.entrypoint.as_ref().map(|program| vec![program.clone()]),
        mac_address: network.mac_address.clone(),
        labels: Some(text::pairs(&labels)),
        stop_signal: program.stop_signal.clone(),
        stop_timeout: program.stop_timeout,
        ..Config::default()
    })
}

fn exposed(network: &Network) -> anyhow::Result<Set> {
    let mut ports = Set::new();
    for text in &network.expose {
        ports.extend(text::expose(text)?.into_iter().map(|port| (port, json!({}))));
    }
    Ok(ports.into_iter().chain(published(network)?.into_keys().map(|p| (p, json!({})))).collect())
}

fn published(network: &Network) -> anyhow::Result<text::Ports> {
    let mut ports = text::Ports::new();
    network.publish.iter().try_for_each(|text| text::publish(text, &mut ports))?;
    Ok(ports)
}

/// Of `-v`, paths inside alone: they get a volume without a name.
fn anonymous_volumes(volumes: &[String]) -> Set {
    volumes.iter().filter(|text| !is_bind(text)).map(|text| (text.clone(), json!({}))).collect()
}

/// Whether a text of `-v` has a source: a colon that is not that of a drive.
fn is_bind(text: &str) -> bool {
    let mut colons = text.match_indices(':').map(|(at, _)| at);
    match colons.next() {
        Some(1) if text.starts_with(|c: char| c.is_ascii_alphabetic()) => colons.next().is_some(),
        first => first.is_some(),
    }
}

fn health(health: &Health) -> anyhow::Result<Option<Value>> {
    if health.none {
        if health.command.is_some() {
            bail!("--no-healthcheck and --health-cmd exclude each other; leave one away");
        }
        return Ok(Some(json!({ "Test": ["NONE"] })));
    }
    let mut check = Map::new();
    if let Some(command) = &health.command {
        check.insert("Test".into(), json!(["CMD-SHELL", command]));
    }
    for (name, value) in [
        ("Interval", health.interval),
        ("Timeout", health.timeout),
        ("StartPeriod", health.start_period),
        ("StartInterval", health.start_interval),
        ("Retries", health.retries),
    ] {
        if let Some(value) = value {
            check.insert(name.into(), value.into());
        }
    }
    Ok((!check.is_empty()).then_some(Value::Object(check)))
}

fn host_config(options: &ContainerOptions) -> anyhow::Result<HostConfig> {
    let ContainerOptions { general, storage, network, .. } = options;
    let binds = storage.volumes.iter().filter(|text| is_bind(text)).map(|text| text::bind(text));
    let mounts = storage.mounts.iter().map(|text| text::mount(text));
    let tmpfs = storage.tmpfs.iter().map(|text| memory_directory(text)).collect();
    let first = network.networks.first().map(|text| text::network(text)).transpose()?;
    let own = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let mut config = fields(&HostConfig {
        binds: Some(binds.collect()),
        log_config: Some(LogConfig {
            kind: Some(general.log_driver.clone().unwrap_or_default()),
            config: Some(text::pairs(&general.log_options)),
        }),
        network_mode: Some(first.map_or_else(|| "default".to_owned(), |(name, _)| name)),
        port_bindings: Some(published(network)?),
        restart_policy: Some(text::restart(&general.restart)?),
        auto_remove: Some(general.rm),
        console_size: console_size().filter(|_| options.program.tty),
        dns: Some(network.dns.clone()),
        links: own(&network.links),
        extra_hosts: own(&network.hosts),
        storage_opt: own(&storage.storage_options).map(|list| text::pairs(&list)),
        publish_all_ports: Some(network.publish_all),
        isolation: general.isolation.clone(),
        mounts: (!storage.mounts.is_empty()).then(|| mounts.collect()).transpose()?,
        tmpfs: Some(tmpfs).filter(|map: &BTreeMap<_, _>| !map.is_empty()),
        volumes_from: own(&storage.volumes_from),
        volume_driver: storage.volume_driver.clone(),
        privileged: Some(options.linux.privileged),
        readonly_rootfs: Some(storage.read_only),
        ..HostConfig::default()
    })?;
    config.extend(others(options)?);
    Ok(serde_json::from_value(Value::Object(config))?)
}

/// The fields of a request by their names on the wire.
fn fields(config: &HostConfig) -> anyhow::Result<Map<String, Value>> {
    match serde_json::to_value(config)? {
        Value::Object(fields) => Ok(fields),
        other => bail!("a configuration of a host is an object, not {other}"),
    }
}

/// Reads `PATH[:OPTIONS]`, where the path may begin with a drive.
fn memory_directory(text: &str) -> (String, String) {
    let drive = if text.as_bytes().get(1) == Some(&b':') { 2 } else { 0 };
    match text[drive..].split_once(':') {
        Some((path, options)) => (format!("{}{path}", &text[..drive]), options.to_owned()),
        None => (text.to_owned(), String::new()),
    }
}

/// Fields that are sent only when they are asked for.
fn others(options: &ContainerOptions) -> anyhow::Result<Map<String, Value>> {
    let ContainerOptions { general, network, limits, linux, program, .. } = options;
    let mut fields = of_limits(limits)?;
    fields.extend(of_linux(linux));
    let own = |list: &[String]| (!list.is_empty()).then(|| json!(list));
    fields.extend([
        ("DnsOptions", own(&network.dns_options)),
        ("DnsSearch", own(&network.dns_search)),
        (
            "Annotations",
            own(&general.annotations).map(|_| json!(text::pairs(&general.annotations))),
        ),
        ("Init", program.init.then_some(Value::Bool(true))),
    ]);
    Ok(given(fields))
}

type Fields = Vec<(&'static str, Option<Value>)>;

fn of_limits(limits: &Limits) -> anyhow::Result<Fields> {
    let ulimits: Vec<_> =
        limits.ulimits.iter().map(|text| text::ulimit(text)).collect::<Result<_, _>>()?;
    let number = |value: Option<i64>| value.map(Value::from);
    Ok(vec![
        ("Memory", number(limits.memory)),
        ("NanoCpus", number(limits.cpus)),
        ("CpuCount", number(limits.cpu_count)),
        ("CpuPercent", number(limits.cpu_percent)),
        ("CpuShares", number(limits.cpu_shares)),
        ("PidsLimit", number(limits.pids_limit)),
        ("MemorySwap", number(limits.memory_swap)),
        ("MemoryReservation", number(limits.memory_reservation)),
        ("CpuPeriod", number(limits.cpu_period)),
        ("CpuQuota", number(limits.cpu_quota)),
        ("CpusetCpus", limits.cpuset_cpus.clone().map(Value::from)),
        ("CpusetMems", limits.cpuset_mems.clone().map(Value::from)),
        ("IOMaximumBandwidth", number(limits.io_maxbandwidth)),
        ("IOMaximumIOps", number(limits.io_maxiops)),
        ("BlkioWeight", limits.blkio_weight.map(Value::from)),
        ("Ulimits", (!ulimits.is_empty()).then_some(Value::Array(ulimits))),
        ("ShmSize", number(limits.shm_size)),
        ("OomKillDisable", limits.oom_kill_disable.then_some(Value::Bool(true))),
        ("OomScoreAdj", number(limits.oom_score_adj)),
    ])
}

fn of_linux(linux: &Linux) -> Fields {
    let own = |list: &[String]| (!list.is_empty()).then(|| json!(list));
    let text = |text: &Option<String>| text.clone().map(Value::from);
    vec![
        ("SecurityOpt", own(&linux.security_options)),
        ("CapAdd", own(&linux.cap_add)),
        ("CapDrop", own(&linux.cap_drop)),
        ("Devices", own(&linux.devices).map(|_| linux.devices.iter().map(|d| device(d)).collect())),
        ("GroupAdd", own(&linux.group_add)),
        ("Sysctls", own(&linux.sysctls).map(|_| json!(text::pairs(&linux.sysctls)))),
        ("IpcMode", text(&linux.ipc)),
        ("PidMode", text(&linux.pid)),
        ("UTSMode", text(&linux.uts)),
        ("UsernsMode", text(&linux.userns)),
        ("CgroupParent", text(&linux.cgroup_parent)),
        ("Runtime", text(&linux.runtime)),
    ]
}

/// Windows' devices are one text, which the daemon reads.
fn device(text: &str) -> Value {
    json!({ "PathOnHost": text })
}

fn given(fields: Fields) -> Map<String, Value> {
    let given = |(name, value): (&str, Option<Value>)| Some((name.to_owned(), value?));
    fields.into_iter().filter_map(given).collect()
}

/// All networks; the options that name none are about the first.
fn networks(network: &Network) -> anyhow::Result<NetworkingConfig> {
    let mut wanted =
        network.networks.iter().map(|text| text::network(text)).collect::<Result<Vec<_>, _>>()?;
    if wanted.is_empty() {
        wanted.push(("default".to_owned(), EndpointSettings::default()));
    }
    let (_, first) = &mut wanted[0];
    if !network.aliases.is_empty() {
        first.aliases.get_or_insert_default().extend(network.aliases.iter().cloned());
    }
    if let Some(address) = &network.ip {
        first.ipam_config.get_or_insert_default().ipv4_address = Some(address.clone());
    }
    if let Some(address) = &network.ip6 {
        first.ipam_config.get_or_insert_default().ipv6_address = Some(address.clone());
    }
    if let Some(address) = &network.mac_address {
        first.mac_address = Some(address.clone());
    }
    let named = wanted
        .into_iter()
        .filter(|(name, settings)| name != "default" || *settings != EndpointSettings::default());
    let endpoints = named.map(|(name, settings)| (name, Some(settings))).collect();
    Ok(NetworkingConfig { endpoints_config: Some(endpoints) })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    #[command(disable_help_flag = true)]
    struct Line {
        #[command(flatten)]
        options: ContainerOptions,
    }

    fn body(arguments: &[&str]) -> Value {
        let line = Line::try_parse_from([&["run"], arguments].concat()).unwrap();
        let attached = Attached::of(&line.options, false).unwrap();
        serde_json::to_value(create(&line.options, attached).unwrap()).unwrap()
    }

    #[test]
    fn everything_after_the_image_is_the_command() {
        let body = body(&["-it", "--rm", "nanoserver", "cmd", "/c", "dir", "-x", "--rm"]);
        assert_eq!(body["Image"], "nanoserver");
        assert_eq!(body["Cmd"], json!(["cmd", "/c", "dir", "-x", "--rm"]));
        assert_eq!((&body["Tty"], &body["OpenStdin"]), (&json!(true), &json!(true)));
        assert_eq!(body["HostConfig"]["AutoRemove"], true);
    }

    #[test]
    fn options_end_where_docker_wants_them() {
        let body = body(&[
            "-e",
            "A=1",
            "-p",
            "8080:80",
            "-v",
            "C:\\anon",
            "-v",
            "vol:C:\\v:ro",
            "--tmpfs",
            "C:\\t:size=1m",
            "--network",
            "n",
            "--network-alias",
            "db",
            "--ip",
            "10.0.0.9",
            "-h",
            "box",
            "--memory",
            "1g",
            "--cpus",
            "1.5",
            "--restart",
            "on-failure:2",
            "--log-opt",
            "max-size=1m",
            "--security-opt",
            "x=y",
            "--ulimit",
            "nofile=1",
            "--health-cmd",
            "echo",
            "--health-interval",
            "5s",
            "--entrypoint",
            "",
            "-l",
            "a=b",
            "--isolation",
            "process",
            "--shm-size",
            "1m",
            "--device",
            "class/X",
            "img",
        ]);
        let host = &body["HostConfig"];
        assert_eq!(body["Volumes"], json!({"C:\\anon": {}}));
        assert_eq!(host["Binds"], json!(["vol:C:\\v:ro"]));
        assert_eq!(host["Tmpfs"], json!({"C:\\t": "size=1m"}));
        assert_eq!(host["PortBindings"]["80/tcp"][0]["HostPort"], "8080");
        assert_eq!(body["ExposedPorts"], json!({"80/tcp": {}}));
        assert_eq!(host["NetworkMode"], "n");
        let endpoint = &body["NetworkingConfig"]["EndpointsConfig"]["n"];
        assert_eq!(endpoint["Aliases"], json!(["db"]));
        assert_eq!(endpoint["IPAMConfig"]["IPv4Address"], "10.0.0.9");
        assert_eq!((&body["Hostname"], &host["Memory"]), (&json!("box"), &json!(1 << 30)));
        assert_eq!(host["NanoCpus"], 1_500_000_000);
        assert_eq!(host["RestartPolicy"]["MaximumRetryCount"], 2);
        assert_eq!(host["SecurityOpt"], json!(["x=y"]));
        assert_eq!(host["Ulimits"][0]["Name"], "nofile");
        assert_eq!(body["Healthcheck"]["Interval"], 5_000_000_000_i64);
        assert_eq!(body["Entrypoint"], json!([""]));
        assert_eq!(body["Labels"], json!({"a": "b"}));
        assert_eq!(host["ShmSize"], 1 << 20);
        assert_eq!(host["Devices"][0]["PathOnHost"], "class/X");
    }

    #[test]
    fn streams_are_those_asked_for() {
        let attached = |arguments: &[&str], detach| {
            let line = Line::try_parse_from([&["run"], arguments, &["i"]].concat()).unwrap();
            Attached::of(&line.options, detach)
        };
        let all = |stdin, output| Attached { stdin, stdout: output, stderr: output };
        assert_eq!(attached(&[], false).unwrap(), all(false, true));
        assert_eq!(attached(&["-i"], false).unwrap(), all(true, true));
        assert_eq!(attached(&["-i"], true).unwrap(), all(false, false));
        assert!(attached(&["-a", "stdout"], true).is_err());
        assert!(attached(&["-a", "nothing"], false).is_err());
    }
}
