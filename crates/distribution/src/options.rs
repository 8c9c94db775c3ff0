//! What `daemon.json` and the environment say about reaching registries.

use std::{env, net::IpAddr, path::PathBuf};

use ipnet::IpNet;

use crate::DistributionError;

/// Hosts that never go through a proxy, as in Go's `net/http`.
const NEVER_PROXIED: &str = "localhost,127.0.0.0/8,::1";

/// How registries are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryOptions {
    /// Mirrors of `docker.io`, such as `https://mirror:5000`: `registry-mirrors`.
    pub mirrors: Vec<String>,
    /// Registries, as `host`, `host:port` or network, that may lack TLS or a certificate that can
    /// be verified: `insecure-registries`. Loopback is always among them.
    pub insecure: Vec<String>,
    /// Directories with a directory per registry, such as `/etc/docker/certs.d`: either Docker's
    /// `*.crt`, `*.cert` and `*.key`, or containerd's `hosts.toml`. The first that has one counts.
    pub certs_dirs: Vec<PathBuf>,
    /// Proxies on the way.
    pub proxy: Proxy,
    /// How often an operation is tried before its error is final.
    pub max_attempts: u32,
    /// Layers of one image that are downloaded at once: `max-concurrent-downloads`.
    pub downloads: usize,
    /// Layers of one image that are uploaded at once: `max-concurrent-uploads`.
    pub uploads: usize,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            mirrors: Vec::new(),
            insecure: Vec::new(),
            certs_dirs: vec!["/etc/oriel/certs.d".into(), "/etc/docker/certs.d".into()],
            proxy: Proxy::from_environment(),
            max_attempts: 5,
            downloads: 3,
            uploads: 5,
        }
    }
}

/// Proxies, as `daemon.json` and the environment name them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxy {
    /// For `http` addresses.
    pub http: Option<String>,
    /// For `https` addresses.
    pub https: Option<String>,
    /// Hosts, domains and networks that are reached directly, with commas between.
    pub no_proxy: Option<String>,
}

impl Proxy {
    /// Reads `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, in capitals or not.
    #[must_use]
    pub fn from_environment() -> Self {
        let read = |name: &str| {
            let value = env::var(name).or_else(|_| env::var(name.to_lowercase()));
            value.ok().filter(|value| !value.is_empty())
        };
        Self { http: read("HTTP_PROXY"), https: read("HTTPS_PROXY"), no_proxy: read("NO_PROXY") }
    }

    /// The proxies for the HTTP library.
    pub(crate) fn rules(&self) -> Result<Vec<reqwest::Proxy>, DistributionError> {
        let direct = match &self.no_proxy {
            Some(hosts) => format!("{NEVER_PROXIED},{hosts}"),
            None => NEVER_PROXIED.to_owned(),
        };
        let rule = |setting, url: &str, kind: fn(String) -> reqwest::Result<reqwest::Proxy>| {
            // Curl and Go take a proxy without scheme for an HTTP one.
            let full = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
            // A proxy's address may hold a password: it is not shown.
            let bad = |_| DistributionError::Setting {
                setting,
                value: "…".to_owned(),
                problem: "not the address of a proxy".to_owned(),
            };
            let direct = reqwest::NoProxy::from_string(&direct);
            Ok(kind(full).map_err(bad)?.no_proxy(direct))
        };
        let http = self.http.iter().map(|url| rule("http-proxy", url, reqwest::Proxy::http));
        let https = self.https.iter().map(|url| rule("https-proxy", url, reqwest::Proxy::https));
        http.chain(https).collect()
    }
}

/// The registries that need not prove who they are.
#[derive(Clone, Debug)]
pub(crate) struct Insecure {
    hosts: Vec<String>,
    networks: Vec<IpNet>,
}

impl Insecure {
    pub(crate) fn new(entries: &[String]) -> Result<Self, DistributionError> {
        let mut this = Self { hosts: Vec::new(), networks: Vec::new() };
        for entry in entries {
            if let Ok(network) = entry.parse() {
                this.networks.push(network);
            } else if is_host(entry) {
                this.hosts.push(entry.to_lowercase());
            } else {
                return Err(DistributionError::Setting {
                    setting: "insecure-registries",
                    value: entry.clone(),
                    problem: "neither host[:port] nor a network".to_owned(),
                });
            }
        }
        Ok(this)
    }

    /// Whether `host`, with its port if it has one, is among them. Names are looked up only when
    /// there are networks to compare with.
    pub(crate) async fn covers(&self, host: &str) -> bool {
        let host = host.to_lowercase();
        let name = without_port(&host);
        if self.hosts.contains(&host) || self.hosts.iter().any(|known| known == name) {
            return true;
        }
        if name == "localhost" {
            return true;
        }
        if let Ok(address) = name.trim_matches(['[', ']']).parse() {
            return self.covers_address(address);
        }
        if self.networks.is_empty() {
            return false;
        }
        let found = tokio::net::lookup_host((name, 0)).await;
        found.is_ok_and(|mut found| found.any(|address| self.covers_address(address.ip())))
    }

    fn covers_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback() || self.networks.iter().any(|network| network.contains(&address))
    }
}

/// `host` of `host:port`; brackets stay.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    }
}

fn is_host(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    !text.is_empty() && text.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::{Insecure, Proxy};

    fn insecure(entries: &[&str]) -> Insecure {
        let entries: Vec<_> = entries.iter().map(|entry| (*entry).to_owned()).collect();
        Insecure::new(&entries).unwrap()
    }

    #[tokio::test]
    async fn loopback_is_always_insecure() {
        let none = insecure(&[]);
        for host in ["127.0.0.1:5000", "127.9.9.9", "[::1]:5000", "[::1]", "localhost:1"] {
            assert!(none.covers(host).await, "{host}");
        }
        for host in ["128.0.0.1:5000", "[::2]:5000", "registry.example", "localhost.example"] {
            assert!(!none.covers(host).await, "{host}");
        }
    }

    #[tokio::test]
    async fn hosts_match_with_their_port_or_with_all_ports() {
        let some = insecure(&["registry.example:5000", "other.example", "[fd00::1]:5000"]);
        for host in ["registry.example:5000", "REGISTRY.example:5000", "other.example:99"] {
            assert!(some.covers(host).await, "{host}");
        }
        assert!(some.covers("[fd00::1]:5000").await);
        for host in ["registry.example", "registry.example:5001", "x.other.example", "[fd00::1]"] {
            assert!(!some.covers(host).await, "{host}");
        }
    }

    #[tokio::test]
    async fn networks_match_addresses() {
        let some = insecure(&["10.0.0.0/8", "fd00::/64"]);
        for host in ["10.1.2.3:5000", "[fd00::7]:5000", "[::ffff:10.0.0.1]"] {
            assert!(some.covers(host).await, "{host}");
        }
        for host in ["11.0.0.1", "[fd00:0:0:1::7]"] {
            assert!(!some.covers(host).await, "{host}");
        }
    }

    #[test]
    fn entries_with_a_scheme_are_refused() {
        let error = Insecure::new(&["http://r:5000".to_owned()]).unwrap_err().to_string();
        assert_eq!(error, "insecure-registries `http://r:5000`: neither host[:port] nor a network");
    }

    #[test]
    fn a_proxy_may_lack_a_scheme_and_its_password_is_not_shown() {
        let proxy = |url: &str| Proxy { http: Some(url.to_owned()), ..Proxy::default() };
        assert_eq!(proxy("proxy:3128").rules().unwrap().len(), 1);
        let error = proxy("http://ann:secret@[/").rules().unwrap_err().to_string();
        assert_eq!(error, "http-proxy `…`: not the address of a proxy");
    }
}
