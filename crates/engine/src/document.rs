//! From a container to the document of its compute system. Pure.

use std::{
    fmt::Write as _,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use oriel_hcs::{
    ConsoleSize, Endpoint, EndpointSpec, Isolation, ProcessParameters, SystemDocument,
};
use oriel_image::Sandbox;

use crate::{MountPoint, Spec, command};

/// Size of a console nobody gave a size: that of Windows.
const DEFAULT_CONSOLE: ConsoleSize = ConsoleSize { height: 25, width: 80 };

/// The document of a container's compute system.
pub(crate) fn system(
    spec: &Spec,
    sandbox: &Sandbox,
    personality: &Path,
    endpoint: Option<&Endpoint>,
) -> SystemDocument {
    SystemDocument {
        isolation: Isolation::Process,
        host_name: spec.computer_name(),
        layers: sandbox.layers.clone(),
        sandbox: sandbox.path.clone(),
        personality: personality.to_owned(),
        network_namespace: endpoint.map(|endpoint| endpoint.namespace.clone()),
        hosts: hosts(spec, endpoint),
        resolv_conf: resolv_conf(spec, endpoint),
        mounts: spec.host.mounts.iter().map(MountPoint::document).collect(),
        user: spec.account().to_owned(),
        time_zone: time_zone(spec),
        limits: spec.host.limits,
    }
}

/// The container's first process.
pub(crate) fn init(spec: &Spec) -> ProcessParameters {
    ProcessParameters {
        command: spec.command.clone(),
        working_directory: command::directory(&spec.run.working_dir),
        environment: command::pairs(&spec.run.env),
        user: spec.account().to_owned(),
        console: spec.streams.tty.then(|| spec.streams.console.unwrap_or(DEFAULT_CONSOLE)),
        stdin: spec.streams.open_stdin,
    }
}

/// Console of an exec.
pub(crate) fn console(tty: bool, size: Option<ConsoleSize>) -> Option<ConsoleSize> {
    tty.then(|| size.unwrap_or(DEFAULT_CONSOLE))
}

/// The endpoint of a container, by its id and name.
pub(crate) fn endpoint(id: &str, name: &str, spec: &Spec) -> EndpointSpec {
    let mut names = vec![name.to_owned(), id[..12].to_owned()];
    for further in std::iter::once(&spec.hostname).chain(&spec.host.aliases) {
        if !names.iter().any(|known| known.eq_ignore_ascii_case(further)) {
            names.push(further.clone());
        }
    }
    EndpointSpec {
        id: id.to_owned(),
        network: spec.host.network.clone(),
        names,
        ports: spec.host.ports.clone(),
    }
}

fn hosts(spec: &Spec, endpoint: Option<&Endpoint>) -> String {
    let mut text = "127.0.0.1 localhost\n::1 localhost\n".to_owned();
    if let Some(endpoint) = endpoint {
        let (address, hostname) = (endpoint.address, &spec.hostname);
        if !spec.domain_name.is_empty() {
            let domain = &spec.domain_name;
            writeln!(text, "{address} {hostname}.{domain} {hostname}").expect("to a string");
        } else {
            writeln!(text, "{address} {hostname}").expect("to a string");
        }
    }
    for (name, address) in &spec.host.extra_hosts {
        // Docker's name for the host itself: the gateway is the host's own address.
        let gateway = endpoint.filter(|_| address == "host-gateway").map(|e| e.gateway.to_string());
        let address = gateway.as_deref().unwrap_or(address);
        writeln!(text, "{address} {name}").expect("to a string");
    }
    text
}

fn resolv_conf(spec: &Spec, endpoint: Option<&Endpoint>) -> String {
    let servers: &[Ipv4Addr] = match endpoint {
        Some(endpoint) if spec.host.dns.is_empty() => &endpoint.name_servers,
        Some(_) => &spec.host.dns,
        None => &[],
    };
    servers.iter().fold(String::new(), |mut text, server| {
        writeln!(text, "nameserver {server}").expect("to a string");
        text
    })
}

/// `TZ` is how Linux containers are told their time zone; honour it when it names one.
fn time_zone(spec: &Spec) -> Option<String> {
    let pairs = command::pairs(&spec.run.env);
    let (_, zone) = pairs.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("TZ"))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "_+-/".contains(c);
    (zone.contains('/') && zone.chars().all(plain) && !zone.starts_with('/')).then_some(zone)
}

/// Where a container's log and other files are.
pub(crate) fn directory(root: &Path, id: &str) -> PathBuf {
    root.join("containers").join(id)
}

#[cfg(test)]
mod tests {
    use oriel_image::RunConfig;

    use super::*;
    use crate::{CreateRequest, Overrides};

    fn spec(run: RunConfig) -> Spec {
        let mut request = CreateRequest {
            overrides: Overrides { run, hostname: "web".to_owned(), ..Overrides::default() },
            ..CreateRequest::default()
        };
        request.host.extra_hosts = vec![
            ("db".to_owned(), "10.0.0.9".to_owned()),
            ("host.docker.internal".to_owned(), "host-gateway".to_owned()),
        ];
        let image = RunConfig { cmd: Some(vec!["cmd".to_owned()]), ..RunConfig::default() };
        Spec::settle(&"ab".repeat(32), "sha256:x", &image, request).unwrap()
    }

    fn joined() -> Endpoint {
        Endpoint {
            namespace: "/run/netns/x".into(),
            address: Ipv4Addr::new(172, 28, 0, 2),
            prefix: 16,
            gateway: Ipv4Addr::new(172, 28, 0, 1),
            name_servers: vec![Ipv4Addr::new(172, 28, 0, 1)],
            mac: "02:42:ac:1c:00:02".to_owned(),
            ports: Vec::new(),
        }
    }

    #[test]
    fn hosts_names_the_container_and_those_asked_for() {
        let text = hosts(&spec(RunConfig::default()), Some(&joined()));
        assert_eq!(
            text,
            "127.0.0.1 localhost\n::1 localhost\n172.28.0.2 web\n10.0.0.9 db\n172.28.0.1 \
             host.docker.internal\n"
        );
    }

    #[test]
    fn without_a_network_there_is_no_name_server() {
        assert_eq!(resolv_conf(&spec(RunConfig::default()), None), "");
        let text = resolv_conf(&spec(RunConfig::default()), Some(&joined()));
        assert_eq!(text, "nameserver 172.28.0.1\n");
    }

    #[test]
    fn a_time_zone_must_look_like_one() {
        let zone = |tz: &str| {
            time_zone(&spec(RunConfig { env: vec![format!("TZ={tz}")], ..RunConfig::default() }))
        };
        assert_eq!(zone("Europe/Berlin").as_deref(), Some("Europe/Berlin"));
        for other in ["UTC", "/etc/passwd", "a/../b", ":Europe/Berlin"] {
            assert_eq!(zone(other), None, "{other}");
        }
    }

    #[test]
    fn an_endpoint_has_each_name_once() {
        let endpoint = endpoint(&"ab".repeat(32), "Web", &spec(RunConfig::default()));
        assert_eq!(endpoint.names, ["Web", "abababababab"]);
    }
}
