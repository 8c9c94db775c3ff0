//! Options: dockerd's names on the command line, and the same names in a file.

use std::{net::Ipv4Addr, path::PathBuf};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use oriel_engine::{AddressPool, NETWORK_NAT};
use oriel_hcs::{Block, NetworkSpec};
use oriel_image::Substitutes;
use serde_json::{Map, Value};

use crate::server::Address;

const DEFAULT_HOST: &str = "unix:///run/oriel.sock";
const DEFAULT_CONFIG: &str = "/etc/oriel/daemon.json";
const DEFAULT_DATA_ROOT: &str = "/var/lib/oriel";
const DEFAULT_EXEC_ROOT: &str = "/run/oriel";
const DEFAULT_CERTS_DIRS: [&str; 2] = ["/etc/oriel/certs.d", "/etc/docker/certs.d"];
const DEFAULT_BRIDGE: &str = "oriel0";
const DEFAULT_BIP: &str = "172.30.0.1/16";
/// What the kernel allows for the name of a link.
const LONGEST_LINK: usize = 15;

/// The Oriel daemon: Windows containers on Linux, behind the Docker Engine API.
#[derive(Debug, Default, Parser)]
#[command(name = "orield", version, disable_version_flag = true)]
pub(crate) struct Arguments {
    /// Where to listen: unix:///path or tcp://address:port; may be given more than once
    #[arg(short = 'H', long = "host", value_name = "ADDRESS")]
    hosts: Vec<String>,
    /// Directory of images, containers and records [default: /var/lib/oriel]
    #[arg(long, global = true, value_name = "DIRECTORY")]
    data_root: Option<String>,
    /// Directory of what lasts as long as containers run [default: /run/oriel]
    #[arg(long, global = true, value_name = "DIRECTORY")]
    exec_root: Option<String>,
    /// File to write the daemon's process id to
    #[arg(short = 'p', long, value_name = "FILE")]
    pidfile: Option<String>,
    /// File of further options [default: /etc/oriel/daemon.json]
    #[arg(long, global = true, value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// How much to say: debug, info, warn, error or fatal [default: info]
    #[arg(short = 'l', long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Say more: the same as --log-level=debug
    #[arg(short = 'D', long)]
    debug: bool,
    /// Name of the bridge of network 'nat' [default: oriel0]
    #[arg(short = 'b', long, value_name = "NAME")]
    bridge: Option<String>,
    /// Address and prefix length of the bridge [default: 172.30.0.1/16]
    #[arg(long, value_name = "ADDRESS/LENGTH")]
    bip: Option<String>,
    /// Where subnets of networks come from, such as base=10.0.0.0/8,size=24; may be given more
    /// than once [default: 172.17.0.0 to 172.31.0.0 by 16 bits, then 192.168.0.0 by 20]
    #[arg(long = "default-address-pool", value_name = "base=CIDR,size=LENGTH")]
    address_pools: Vec<String>,
    /// Directory of oriel-agent and cexecsvc.exe [default: that of this program]
    #[arg(long, global = true, value_name = "DIRECTORY")]
    libexec_dir: Option<String>,
    /// Mirror of docker.io to ask first; may be given more than once
    #[arg(long = "registry-mirror", value_name = "URL")]
    registry_mirrors: Vec<String>,
    /// Registry, or network of them, to reach without verified TLS; may be given more than once
    #[arg(long = "insecure-registry", value_name = "HOST[:PORT]|CIDR")]
    insecure_registries: Vec<String>,
    /// Directory of certificates and mirrors by registry [default: /etc/oriel/certs.d, then
    /// /etc/docker/certs.d]
    #[arg(long, value_name = "DIRECTORY")]
    certs_dir: Option<String>,
    /// Option of every sandbox, such as size=20GB; may be given more than once
    #[arg(long = "storage-opt", value_name = "NAME=VALUE")]
    storage_opts: Vec<String>,
    /// Listen on TCP addresses that others can reach, without encryption or passwords
    #[arg(long)]
    allow_insecure_tcp: bool,
    /// Check the options and exit
    #[arg(long)]
    pub(crate) validate: bool,
    /// Print the version and exit
    #[arg(short = 'v', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    /// Another thing to do than to serve.
    #[command(subcommand)]
    pub(crate) command: Option<Task>,
}

/// Another thing to do than to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Task {
    /// Print what this host needs to run containers, and whether it is there
    Check,
}

/// Options, settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) hosts: Vec<Address>,
    pub(crate) data_root: PathBuf,
    pub(crate) exec_root: PathBuf,
    pub(crate) pidfile: Option<PathBuf>,
    pub(crate) log_level: &'static str,
    pub(crate) nat: NetworkSpec,
    pub(crate) address_pools: Vec<AddressPool>,
    pub(crate) libexec_dir: Option<PathBuf>,
    pub(crate) registries: RegistrySettings,
    pub(crate) substitutes: Substitutes,
    pub(crate) sandbox_size: Option<u64>,
}

/// How registries are reached, beside what the environment says of proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RegistrySettings {
    pub(crate) mirrors: Vec<String>,
    pub(crate) insecure: Vec<String>,
    pub(crate) certs_dirs: Vec<PathBuf>,
}

impl Arguments {
    /// Settles the options: the command line, the file, then the defaults.
    pub(crate) fn settle(&self) -> anyhow::Result<Options> {
        let path = self.config_file.clone().unwrap_or_else(|| DEFAULT_CONFIG.into());
        let text = match fs_err::read_to_string(&path) {
            Err(error)
                if error.kind() == std::io::ErrorKind::NotFound && self.config_file.is_none() =>
            {
                String::new()
            }
            other => other?,
        };
        self.settle_with(&text)
            .with_context(|| format!("unable to configure the daemon with file {}", path.display()))
    }

    fn settle_with(&self, text: &str) -> anyhow::Result<Options> {
        let mut file: Map<String, Value> =
            if text.trim().is_empty() { Map::new() } else { serde_json::from_str(text)? };
        let mut text = |name: &str, flag: &Option<String>| one(&mut file, name, flag.as_ref());
        let data_root = text("data-root", &self.data_root)?;
        let exec_root = text("exec-root", &self.exec_root)?;
        let pidfile = text("pidfile", &self.pidfile)?;
        let log_level = text("log-level", &self.log_level)?;
        let bridge = text("bridge", &self.bridge)?;
        let bip = text("bip", &self.bip)?;
        let libexec_dir = text("libexec-dir", &self.libexec_dir)?;
        let certs_dir = text("certs-dir", &self.certs_dir)?;
        let mut hosts = list(&mut file, "hosts", &self.hosts)?;
        if hosts.is_empty() {
            hosts.push(DEFAULT_HOST.to_owned());
        }
        let registries = RegistrySettings {
            mirrors: list(&mut file, "registry-mirrors", &self.registry_mirrors)?,
            insecure: list(&mut file, "insecure-registries", &self.insecure_registries)?,
            certs_dirs: match certs_dir {
                Some(directory) => vec![directory.into()],
                None => DEFAULT_CERTS_DIRS.map(PathBuf::from).into(),
            },
        };
        let substitutes = substitutes(&mut file)?;
        let sandbox_size = sandbox_size(&list(&mut file, "storage-opts", &self.storage_opts)?)?;
        let address_pools = address_pools(&mut file, &self.address_pools)?;
        let debug = self.debug || flag(&mut file, "debug")?;
        let insecure = self.allow_insecure_tcp || flag(&mut file, "allow-insecure-tcp")?;
        if !file.is_empty() {
            let names: Vec<&str> = file.keys().map(String::as_str).collect();
            bail!("the following directives don't match any option: {}", names.join(", "));
        }
        let log_level = log_level.as_deref().unwrap_or(if debug { "debug" } else { "info" });
        Ok(Options {
            hosts: hosts.iter().map(|host| address(host, insecure)).collect::<Result<_, _>>()?,
            data_root: data_root.as_deref().unwrap_or(DEFAULT_DATA_ROOT).into(),
            exec_root: exec_root.as_deref().unwrap_or(DEFAULT_EXEC_ROOT).into(),
            pidfile: pidfile.map(PathBuf::from),
            log_level: level(log_level)?,
            nat: nat(
                bridge.as_deref().unwrap_or(DEFAULT_BRIDGE),
                bip.as_deref().unwrap_or(DEFAULT_BIP),
            )?,
            address_pools,
            libexec_dir: libexec_dir.map(PathBuf::from),
            registries,
            substitutes,
            sandbox_size,
        })
    }
}

/// A text that the command line or the file gives, but not both.
fn one(
    file: &mut Map<String, Value>,
    name: &str,
    flag: Option<&String>,
) -> anyhow::Result<Option<String>> {
    let Some(value) = file.remove(name) else { return Ok(flag.cloned()) };
    let Value::String(value) = value else { bail!("{name} must be a text") };
    if let Some(flag) = flag {
        twice(name, flag, &value)?;
    }
    Ok(Some(value))
}

fn twice(name: &str, flag: &str, file: &str) -> anyhow::Result<()> {
    bail!(
        "the following directives are specified both as a flag and in the configuration file: \
         {name}: (from flag: {flag}, from file: {file})"
    )
}

fn flag(file: &mut Map<String, Value>, name: &str) -> anyhow::Result<bool> {
    match file.remove(name) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(flag),
        Some(_) => bail!("{name} must be true or false"),
    }
}

/// Texts that the command line or the file gives, but not both.
fn list(
    file: &mut Map<String, Value>,
    name: &str,
    flags: &[String],
) -> anyhow::Result<Vec<String>> {
    let listed = file.remove(name).map(serde_json::from_value::<Vec<String>>).transpose();
    let Some(listed) = listed.with_context(|| format!("{name} must be a list of texts"))? else {
        return Ok(flags.to_vec());
    };
    if !flags.is_empty() {
        twice(name, &flags.join(" "), &listed.join(" "))?;
    }
    Ok(listed)
}

/// What the file says of substituting foreign bases.
fn substitutes(file: &mut Map<String, Value>) -> anyhow::Result<Substitutes> {
    let Some(value) = file.remove("base-substitution") else { return Ok(Substitutes::default()) };
    let substitutes: Substitutes =
        serde_json::from_value(value).context("cannot read base-substitution")?;
    substitutes.check().context("base-substitution names what is no image or no digest")?;
    Ok(substitutes)
}

/// Bytes on drive C: of containers that do not say.
fn sandbox_size(options: &[String]) -> anyhow::Result<Option<u64>> {
    let pairs = options.iter().map(|option| option.split_once('='));
    let Some(pairs) = pairs.collect::<Option<Vec<_>>>() else {
        bail!("storage-opts must be NAME=VALUE each, such as size=20GB")
    };
    let size = oriel_engine::storage_options(pairs).context("cannot read storage-opts")?;
    size.map(oriel_image::check_size).transpose().context("cannot read storage-opts")?;
    Ok(size)
}

fn address(text: &str, insecure: bool) -> anyhow::Result<Address> {
    if let Some(path) = text.strip_prefix("unix://") {
        if !path.starts_with('/') {
            bail!("{text:?} names no absolute path: write unix:///path/of/socket");
        }
        return Ok(Address::Unix(path.into()));
    }
    let Some(rest) = text.strip_prefix("tcp://") else {
        bail!("cannot listen on {text:?}: write unix:///path or tcp://address:port");
    };
    let socket: std::net::SocketAddr = rest
        .trim_end_matches('/')
        .replace("localhost", "127.0.0.1")
        .parse()
        .with_context(|| format!("{text:?} is no address with a port"))?;
    if !socket.ip().is_loopback() && !insecure {
        bail!(
            "refusing to listen on {text} without encryption: whoever reaches it is root on this \
             host; listen on a unix socket or on 127.0.0.1, or say --allow-insecure-tcp"
        );
    }
    Ok(Address::Tcp(socket))
}

fn level(text: &str) -> anyhow::Result<&'static str> {
    Ok(match text {
        "trace" => "trace",
        "debug" => "debug",
        "info" => "info",
        "warn" | "warning" => "warn",
        "error" | "fatal" | "panic" => "error",
        _ => bail!("invalid logging level: {text}"),
    })
}

/// The network `nat` of a bridge's name and address.
fn nat(bridge: &str, bip: &str) -> anyhow::Result<NetworkSpec> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if bridge.is_empty() || bridge.len() > LONGEST_LINK || !bridge.chars().all(plain) {
        bail!("{bridge:?} is no name of a link: at most {LONGEST_LINK} letters, digits, - _ .");
    }
    let parsed = bip.split_once('/').and_then(|(address, prefix)| {
        Some((address.parse::<Ipv4Addr>().ok()?, prefix.parse::<u8>().ok()?))
    });
    let Some((gateway, prefix @ 8..=29)) = parsed else {
        bail!("{bip:?} is no IPv4 address with a prefix length from 8 to 29");
    };
    let subnet = Block::around(gateway, prefix).context("no prefix length is above 32")?;
    if subnet.first() == gateway || subnet.last() == gateway {
        bail!("{bip:?} is no address of a host in its own network");
    }
    Ok(NetworkSpec {
        name: NETWORK_NAT.to_owned(),
        bridge: bridge.to_owned(),
        subnet,
        gateway,
        range: None,
        reserved: Vec::new(),
        internal: false,
    })
}

/// Where subnets come from that nobody asks for; Docker's pools unless told otherwise.
fn address_pools(
    file: &mut Map<String, Value>,
    flags: &[String],
) -> anyhow::Result<Vec<AddressPool>> {
    const NAME: &str = "default-address-pools";
    let listed: Option<Vec<AddressPool>> =
        file.remove(NAME).map(serde_json::from_value).transpose().with_context(|| {
            format!("{NAME} must be a list such as [{{\"base\":\"10.0.0.0/8\",\"size\":24}}]")
        })?;
    if listed.is_some() && !flags.is_empty() {
        twice(NAME, &flags.join(" "), "a list")?;
    }
    let pools = match listed {
        Some(pools) => pools,
        None => flags.iter().map(|flag| address_pool(flag)).collect::<Result<_, _>>()?,
    };
    if let Some(pool) = pools.iter().find(|pool| !pool.is_valid()) {
        bail!("no subnets of prefix length {} can be cut from {}", pool.size, pool.base);
    }
    Ok(if pools.is_empty() { AddressPool::defaults() } else { pools })
}

fn address_pool(text: &str) -> anyhow::Result<AddressPool> {
    let mut fields: std::collections::BTreeMap<_, _> =
        text.split(',').filter_map(|field| field.split_once('=')).collect();
    let pool = fields.remove("base").zip(fields.remove("size")).and_then(|(base, size)| {
        Some(AddressPool { base: base.parse().ok()?, size: size.parse().ok()? })
    });
    pool.filter(|_| fields.is_empty())
        .with_context(|| format!("{text:?} is no pool: write base=10.0.0.0/8,size=24"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(arguments: &[&str], file: &str) -> anyhow::Result<Options> {
        let arguments = std::iter::once("orield").chain(arguments.iter().copied());
        Arguments::try_parse_from(arguments)?.settle_with(file)
    }

    #[test]
    fn without_options_the_defaults_hold() {
        let options = settle(&[], "").unwrap();
        assert_eq!(options.hosts, [Address::Unix("/run/oriel.sock".into())]);
        assert_eq!(options.nat.subnet.to_string(), "172.30.0.0/16");
        assert_eq!(options.address_pools, AddressPool::defaults());
        assert_eq!(options.log_level, "info");
    }

    #[test]
    fn directories_may_be_named_after_the_task() {
        let words = ["orield", "check", "--data-root", "/d"];
        let arguments = Arguments::try_parse_from(words).unwrap();
        assert_eq!(arguments.command, Some(Task::Check));
        assert_eq!(arguments.settle_with("").unwrap().data_root, PathBuf::from("/d"));
    }

    #[test]
    fn the_file_has_the_same_names() {
        let file = r#"{"hosts":["unix:///x"],"data-root":"/d","bip":"10.1.2.1/24","debug":true}"#;
        let options = settle(&[], file).unwrap();
        assert_eq!(options.hosts, [Address::Unix("/x".into())]);
        assert_eq!(options.data_root, PathBuf::from("/d"));
        assert_eq!(options.nat.subnet.to_string(), "10.1.2.0/24");
        assert_eq!(options.log_level, "debug");
    }

    #[test]
    fn the_same_option_twice_is_refused() {
        for (arguments, file) in [
            (vec!["--data-root", "/a"], r#"{"data-root":"/b"}"#),
            (vec!["-H", "unix:///a"], r#"{"hosts":["unix:///b"]}"#),
            (vec!["--registry-mirror", "http://a"], r#"{"registry-mirrors":[]}"#),
        ] {
            let error = settle(&arguments, file).unwrap_err().to_string();
            assert!(error.contains("both as a flag and in the configuration file"), "{error}");
        }
    }

    #[test]
    fn an_unknown_directive_is_refused_by_name() {
        let error = settle(&[], r#"{"storage-driver":"x"}"#).unwrap_err().to_string();
        assert!(error.contains("storage-driver"), "{error}");
    }

    #[test]
    fn registries_and_substitution_are_configured_in_the_file() {
        let file = r#"{ "registry-mirrors": ["http://m"], "insecure-registries": ["10.0.0.0/8"],
            "certs-dir": "/c", "base-substitution": { "stand-in": false,
            "rules": [{ "name": "r.example/*", "base": "nanoserver" }] } }"#;
        let options = settle(&[], file).unwrap();
        assert_eq!(options.registries.mirrors, ["http://m"]);
        assert_eq!(options.registries.insecure, ["10.0.0.0/8"]);
        assert_eq!(options.registries.certs_dirs, [PathBuf::from("/c")]);
        assert_eq!(options.substitutes.rules[0].base, "nanoserver");
        assert!(options.substitutes.enabled && !options.substitutes.stand_in);
        for file in [
            r#"{"base-substitution":{"enable":true}}"#,
            r#"{"base-substitution":{"rules":[{"name":"x","base":"No"}]}}"#,
            r#"{"registry-mirrors":"x"}"#,
        ] {
            assert!(settle(&[], file).is_err(), "{file}");
        }
    }

    #[test]
    fn sandboxes_have_a_size_when_told_so() {
        assert_eq!(settle(&[], "").unwrap().sandbox_size, None);
        let options = settle(&["--storage-opt", "size=20G"], "").unwrap();
        assert_eq!(options.sandbox_size, Some(20 << 30));
        let options = settle(&[], r#"{"storage-opts":["size=1GB"]}"#).unwrap();
        assert_eq!(options.sandbox_size, Some(1 << 30));
        for option in ["size", "size=", "size=x", "size=1k", "size=-1g", "dm.basesize=1g"] {
            assert!(settle(&["--storage-opt", option], "").is_err(), "{option}");
        }
    }

    #[test]
    fn subnets_come_from_the_pools_of_flags_or_file() {
        let file = r#"{"default-address-pools":[{"base":"10.5.0.0/16","size":24}]}"#;
        let expected = [AddressPool { base: "10.5.0.0/16".parse().unwrap(), size: 24 }];
        assert_eq!(settle(&[], file).unwrap().address_pools, expected);
        let flags = ["--default-address-pool", "base=10.5.0.0/16,size=24"];
        assert_eq!(settle(&flags, "").unwrap().address_pools, expected);
        assert!(settle(&flags, file).is_err());
        for pool in [
            "10.5.0.0/16",
            "base=10.5.0.0/16",
            "base=10.5.0.1/16,size=24",
            "base=10.5.0.0/16,size=15",
            "base=10.5.0.0/16,size=31",
            "base=10.5.0.0/16,size=24,x=1",
        ] {
            assert!(settle(&["--default-address-pool", pool], "").is_err(), "{pool}");
        }
    }

    #[test]
    fn tcp_is_for_loopback_unless_allowed() {
        assert!(settle(&["-H", "tcp://127.0.0.1:2375"], "").is_ok());
        assert!(settle(&["-H", "tcp://0.0.0.0:2375"], "").is_err());
        assert!(settle(&["-H", "tcp://0.0.0.0:2375", "--allow-insecure-tcp"], "").is_ok());
        assert!(settle(&["-H", "npipe:////./pipe/x"], "").is_err());
    }

    #[test]
    fn a_bridge_needs_a_name_and_an_address() {
        for (name, value) in [
            ("--bridge", "a/b"),
            ("--bridge", "sixteen-letters-"),
            ("--bip", "10.0.0.0/24"),
            ("--bip", "10.0.0.255/24"),
            ("--bip", "10.0.0.1/30"),
            ("--bip", "10.0.0.1"),
        ] {
            assert!(settle(&[name, value], "").is_err(), "{name} {value}");
        }
    }
}
