//! From a container to the document of its compute system. Pure.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use oriel_hcs::{Compartment, ConsoleSize, Endpoint, Isolation, ProcessParameters, SystemDocument};
use oriel_image::Sandbox;

use crate::{MountPoint, Spec, command, networks::Joined};

/// Size of a console nobody gave a size: that of Windows.
const DEFAULT_CONSOLE: ConsoleSize = ConsoleSize { height: 25, width: 80 };

/// The document of a container's compute system.
pub(crate) fn system(
    spec: &Spec,
    sandbox: &Sandbox,
    personality: &Path,
    joined: &Joined,
) -> SystemDocument {
    let compartment = joined.compartment.as_ref();
    SystemDocument {
        isolation: Isolation::Process,
        host_name: spec.computer_name(),
        layers: sandbox.layers.clone(),
        sandbox: sandbox.path.clone(),
        personality: personality.to_owned(),
        network_namespace: joined.namespace.clone(),
        hosts: hosts(spec, compartment),
        resolv_conf: resolv_conf(spec, compartment),
        mounts: spec.host.mounts.iter().map(MountPoint::document).collect(),
        user: spec.account().to_owned(),
        time_zone: time_zone(spec),
        limits: spec.host.limits.clone(),
        confinement: spec.host.confinement.clone(),
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

fn hosts(spec: &Spec, compartment: Option<&Compartment>) -> String {
    let endpoints = || compartment.iter().flat_map(|c| &c.endpoints).map(|(_, endpoint)| endpoint);
    let mut text = "127.0.0.1 localhost\n::1 localhost\n".to_owned();
    if let Some(endpoint) = endpoints().next() {
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
        let address = match address.as_str() {
            "host-gateway" => endpoints().find_map(gateway),
            other => Some(other.to_owned()),
        };
        // Without a way out there is none to the host either.
        if let Some(address) = address {
            writeln!(text, "{address} {name}").expect("to a string");
        }
    }
    text
}

fn gateway(endpoint: &Endpoint) -> Option<String> {
    endpoint.gateway.map(|gateway| gateway.to_string())
}

fn resolv_conf(spec: &Spec, compartment: Option<&Compartment>) -> String {
    let Some(compartment) = compartment else { return String::new() };
    let mut text = format!("nameserver {}\n", compartment.name_server);
    for (word, values) in [("search", &spec.host.dns_search), ("options", &spec.host.dns_options)] {
        if !values.is_empty() {
            writeln!(text, "{word} {}", values.join(" ")).expect("to a string");
        }
    }
    text
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
    use std::net::Ipv4Addr;

    use oriel_hcs::{CompartmentSpec, EndpointSpec};
    use oriel_image::RunConfig;

    use super::*;
    use crate::{CreateRequest, Membership, Overrides, networks::names};

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

    fn joined() -> Compartment {
        let spec = CompartmentSpec { id: "x".to_owned(), dns: Vec::new() };
        let endpoint = EndpointSpec {
            id: "e".to_owned(),
            compartment: "x".to_owned(),
            adapter: 0,
            network: "nat".to_owned(),
            names: Vec::new(),
            ports: Vec::new(),
            address: None,
            mac: None,
            priority: 0,
        };
        let joined = Endpoint {
            address: Ipv4Addr::new(172, 28, 0, 2),
            prefix: 16,
            gateway: Some(Ipv4Addr::new(172, 28, 0, 1)),
            mac: "02:42:ac:1c:00:02".to_owned(),
            ports: Vec::new(),
        };
        Compartment {
            spec,
            namespace: "/run/netns/x".into(),
            name_server: Ipv4Addr::new(169, 254, 53, 53),
            endpoints: vec![(endpoint, joined)],
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
        let mut spec = spec(RunConfig::default());
        assert_eq!(resolv_conf(&spec, None), "");
        assert_eq!(resolv_conf(&spec, Some(&joined())), "nameserver 169.254.53.53\n");
        spec.host.dns_search = vec!["a.example".to_owned(), "b".to_owned()];
        spec.host.dns_options = vec!["ndots:2".to_owned()];
        let text = resolv_conf(&spec, Some(&joined()));
        assert!(text.ends_with("\nsearch a.example b\noptions ndots:2\n"), "{text}");
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
    fn without_a_way_out_the_host_has_no_name() {
        let mut joined = joined();
        joined.endpoints[0].1.gateway = None;
        let text = hosts(&spec(RunConfig::default()), Some(&joined));
        assert!(!text.contains("host.docker.internal") && text.contains("10.0.0.9 db"), "{text}");
    }

    #[test]
    fn an_endpoint_has_each_name_once() {
        let membership = Membership {
            aliases: vec!["WEB".to_owned(), "www".to_owned()],
            ..Membership::default()
        };
        let names = names(&"ab".repeat(32), "Web", &spec(RunConfig::default()), &membership);
        assert_eq!(names, ["Web", "abababababab", "www"]);
    }
}
