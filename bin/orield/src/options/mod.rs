//! Options: dockerd's names on the command line, and the same names in a file.
//!
//! ```text
//! flags ─┐
//! file ──┴▶ Directives ─▶ Options { what holds until the end, Live { what SIGHUP changes } }
//! ```
//! A flag and a directive that say the same thing twice are a mistake, as with dockerd.
//! `docs/daemon.md` lists them all.

mod directives;
mod foreign;
mod hosts;
mod logs;
mod network;
mod registries;

use std::{net::Ipv4Addr, path::PathBuf};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use oriel_distribution::RegistryOptions;
use oriel_engine::AddressPool;
use oriel_hcs::NetworkSpec;
use oriel_image::Substitutes;

use self::directives::Directives;
pub(crate) use self::{
    hosts::{Address, Files, TcpRule},
    logs::LogDefaults,
};

const DEFAULT_CONFIG: &str = "/etc/oriel/daemon.json";
const DEFAULT_DATA_ROOT: &str = "/var/lib/oriel";
const DEFAULT_EXEC_ROOT: &str = "/run/oriel";
const DEFAULT_BRIDGE: &str = "oriel0";
const DEFAULT_BIP: &str = "172.30.0.1/16";

/// The Oriel daemon: Windows containers on Linux, behind the Docker Engine API.
#[derive(Debug, Default, Parser)]
#[command(name = "orield", version, disable_version_flag = true)]
pub(crate) struct Arguments {
    /// Where to listen: unix:///path, tcp://address:port or fd://; may be given more than once
    #[arg(short = 'H', long = "host", value_name = "ADDRESS")]
    hosts: Vec<String>,
    /// Group, by name or number, whose members may use the Unix socket [default: oriel]
    #[arg(short = 'G', long, value_name = "GROUP")]
    group: Option<String>,
    /// Encrypt TCP; without --tlsverify whoever connects may do anything
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tls: Option<bool>,
    /// Encrypt TCP and serve clients with a certificate of the authority only
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tlsverify: Option<bool>,
    /// Certificates of the authority that signs clients [default: /etc/oriel/ca.pem]
    #[arg(long, value_name = "FILE")]
    tlscacert: Option<String>,
    /// The daemon's certificate [default: /etc/oriel/cert.pem]
    #[arg(long, value_name = "FILE")]
    tlscert: Option<String>,
    /// The daemon's key [default: /etc/oriel/key.pem]
    #[arg(long, value_name = "FILE")]
    tlskey: Option<String>,
    /// Serve TCP clients without a certificate: whoever reaches the port is root on this host
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    allow_insecure_tcp: Option<bool>,
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
    #[arg(
        short = 'D',
        long,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    debug: Option<bool>,
    /// Label of this daemon, such as rack=4, which `docker info` shows; may be given more than once
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// Log driver of containers that name none: json-file, local or none [default: json-file]
    #[arg(long, value_name = "DRIVER")]
    log_driver: Option<String>,
    /// Option of that log driver, such as max-size=10m; may be given more than once
    #[arg(long = "log-opt", value_name = "NAME=VALUE")]
    log_opts: Vec<String>,
    /// Name of the bridge of network 'nat' [default: oriel0]
    #[arg(short = 'b', long, value_name = "NAME")]
    bridge: Option<String>,
    /// Address and prefix length of the bridge [default: 172.30.0.1/16]
    #[arg(long, value_name = "ADDRESS/LENGTH")]
    bip: Option<String>,
    /// Addresses for networks that name none, such as base=10.10.0.0/16,size=24; may be given more
    /// than once
    #[arg(long = "default-address-pool", value_name = "POOL")]
    address_pools: Vec<String>,
    /// Name server of containers that name none; may be given more than once
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<String>,
    /// Refuse what Docker on Windows refuses, although this host could do it
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    strict_windows: Option<bool>,
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
    /// Proxy for registries with http addresses [default: $HTTP_PROXY]
    #[arg(long, value_name = "URL")]
    http_proxy: Option<String>,
    /// Proxy for registries with https addresses [default: $HTTPS_PROXY]
    #[arg(long, value_name = "URL")]
    https_proxy: Option<String>,
    /// Hosts that are reached without a proxy, with commas between [default: $NO_PROXY]
    #[arg(long, value_name = "HOSTS")]
    no_proxy: Option<String>,
    /// Layers of one image that are downloaded at once; 0 is all [default: 3]
    #[arg(long, value_name = "NUMBER")]
    max_concurrent_downloads: Option<u32>,
    /// Layers of one image that are uploaded at once; 0 is all [default: 5]
    #[arg(long, value_name = "NUMBER")]
    max_concurrent_uploads: Option<u32>,
    /// How often a transfer is tried [default: 5]
    #[arg(long, value_name = "NUMBER")]
    max_download_attempts: Option<u32>,
    /// Option of every sandbox, such as size=20GB; may be given more than once
    #[arg(long = "storage-opt", value_name = "NAME=VALUE")]
    storage_opts: Vec<String>,
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

/// Options, settled. What is not [`Live`] holds until the daemon ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) hosts: Vec<Address>,
    /// Group of the Unix socket, by name or number; `None` is the default one, if it exists.
    pub(crate) group: Option<String>,
    /// On what terms TCP is served.
    pub(crate) tcp: TcpRule,
    pub(crate) data_root: PathBuf,
    pub(crate) exec_root: PathBuf,
    pub(crate) pidfile: Option<PathBuf>,
    pub(crate) nat: NetworkSpec,
    /// Where subnets of networks that name none come from; empty is the default.
    pub(crate) address_pools: Vec<AddressPool>,
    /// Name servers of containers that name none; empty is the host's.
    pub(crate) dns: Vec<Ipv4Addr>,
    /// Where the output of containers goes that do not say.
    pub(crate) logs: LogDefaults,
    /// Whether what Docker's daemon on Windows refuses is refused.
    pub(crate) strict: bool,
    pub(crate) libexec_dir: Option<PathBuf>,
    pub(crate) substitutes: Substitutes,
    pub(crate) sandbox_size: Option<u64>,
    /// What was accepted although it means nothing here.
    pub(crate) warnings: Vec<String>,
    /// What may change while the daemon runs.
    pub(crate) live: Live,
}

/// Options that `SIGHUP` reads again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) debug: bool,
    pub(crate) log_level: &'static str,
    pub(crate) labels: Vec<String>,
    pub(crate) registries: RegistryOptions,
}

impl Options {
    /// Directives in which another configuration differs although they hold until the end.
    pub(crate) fn fixed_changes(&self, other: &Self) -> Vec<&'static str> {
        [
            ("hosts", self.hosts == other.hosts),
            ("group", self.group == other.group),
            ("tls, tlsverify, tlscacert, tlscert, tlskey", self.tcp == other.tcp),
            ("data-root", self.data_root == other.data_root),
            ("exec-root", self.exec_root == other.exec_root),
            ("pidfile", self.pidfile == other.pidfile),
            ("bridge, bip", self.nat == other.nat),
            ("default-address-pools", self.address_pools == other.address_pools),
            ("dns", self.dns == other.dns),
            ("log-driver, log-opts", self.logs == other.logs),
            ("strict-windows", self.strict == other.strict),
            ("libexec-dir", self.libexec_dir == other.libexec_dir),
            ("base-substitution", self.substitutes == other.substitutes),
            ("storage-opts", self.sandbox_size == other.sandbox_size),
        ]
        .into_iter()
        .filter_map(|(name, same)| (!same).then_some(name))
        .collect()
    }
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
        let mut file = Directives::parse(text)?;
        let warnings = foreign::foreign(&mut file);
        let tcp = hosts::tcp_rule(&mut file, self);
        let hosts = hosts::hosts(&mut file, &self.hosts, &tcp);
        let bridge = file.text("bridge", self.bridge.as_ref());
        let nat = network::nat(
            bridge.as_deref().unwrap_or(DEFAULT_BRIDGE),
            file.text("bip", self.bip.as_ref()).as_deref().unwrap_or(DEFAULT_BIP),
        );
        let nat = file.sound(nat);
        let mut directory =
            |name: &str, flag: &Option<String>| file.text(name, flag.as_ref()).map(PathBuf::from);
        let data_root = directory("data-root", &self.data_root);
        let exec_root = directory("exec-root", &self.exec_root);
        let pidfile = directory("pidfile", &self.pidfile);
        let libexec_dir = directory("libexec-dir", &self.libexec_dir);
        let substitutes = substitutes(&mut file);
        let storage = file.list("storage-opts", &self.storage_opts);
        let sandbox_size = file.sound(sandbox_size(&storage)).flatten();
        let logs = logs::logs(&mut file, self);
        let strict = file.switch("strict-windows", self.strict_windows);
        let group = file.text("group", self.group.as_ref());
        let address_pools = network::pools(&mut file, &self.address_pools);
        let dns = network::name_servers(&mut file, &self.dns);
        let live = self.live(&mut file);
        let whole = nat.zip(live).map(|(nat, live)| Options {
            hosts,
            group,
            tcp,
            data_root: data_root.unwrap_or_else(|| DEFAULT_DATA_ROOT.into()),
            exec_root: exec_root.unwrap_or_else(|| DEFAULT_EXEC_ROOT.into()),
            pidfile,
            nat,
            address_pools,
            dns,
            logs,
            strict,
            libexec_dir,
            substitutes,
            sandbox_size,
            warnings,
            live,
        });
        Ok(file.finish(whole)?)
    }

    /// Takes what may change later.
    fn live(&self, file: &mut Directives) -> Option<Live> {
        let debug = file.switch("debug", self.debug);
        let level = file.text("log-level", self.log_level.as_ref());
        let level = level.as_deref().unwrap_or(if debug { "debug" } else { "info" });
        let log_level = file.sound(log_level(level));
        let labels = file.list("labels", &self.labels);
        let labels = file.sound(check_labels(labels));
        let registries = registries::registries(file, self);
        Some(Live { debug, log_level: log_level?, labels: labels?, registries })
    }
}

/// What the file says of substituting foreign bases.
fn substitutes(file: &mut Directives) -> Substitutes {
    let Some(value) = file.take("base-substitution") else { return Substitutes::default() };
    let read = || {
        let substitutes: Substitutes =
            serde_json::from_value(value).context("cannot read base-substitution")?;
        substitutes.check().context("base-substitution names what is no image or no digest")?;
        Ok(substitutes)
    };
    file.sound(read()).unwrap_or_default()
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

fn log_level(text: &str) -> anyhow::Result<&'static str> {
    Ok(match text {
        "trace" => "trace",
        "debug" => "debug",
        "info" => "info",
        "warn" | "warning" => "warn",
        "error" | "fatal" | "panic" => "error",
        _ => bail!("log-level: invalid logging level: {text}"),
    })
}

/// Labels have a key each, and a key has one value.
fn check_labels(mut labels: Vec<String>) -> anyhow::Result<Vec<String>> {
    labels.sort();
    labels.dedup();
    let key = |label: &'_ str| label.split_once('=').map(|(key, _)| key.to_owned());
    for label in &labels {
        if key(label).is_none_or(|key| key.is_empty()) {
            bail!("labels: {label:?} is not of the form KEY=VALUE");
        }
    }
    for pair in labels.windows(2) {
        if key(&pair[0]) == key(&pair[1]) {
            bail!("labels: conflict labels for {} and {}", pair[0], pair[1]);
        }
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Options {
        /// What a command line and a file come to.
        pub(crate) fn of(arguments: &[&str], file: &str) -> anyhow::Result<Self> {
            let arguments = std::iter::once("orield").chain(arguments.iter().copied());
            Arguments::try_parse_from(arguments)?.settle_with(file)
        }
    }

    fn settle(arguments: &[&str], file: &str) -> anyhow::Result<Options> {
        Options::of(arguments, file)
    }

    #[test]
    fn without_options_the_defaults_hold() {
        let options = settle(&[], "").unwrap();
        assert_eq!(options.hosts, [Address::Unix("/run/oriel.sock".into())]);
        assert_eq!(options.nat.subnet.to_string(), "172.30.0.0/16");
        assert_eq!(options.live.log_level, "info");
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
        assert_eq!(options.live.log_level, "debug");
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
        let error = settle(&[], r#"{"no-such-thing":"x"}"#).unwrap_err().to_string();
        assert!(error.contains("no-such-thing"), "{error}");
    }

    #[test]
    fn registries_and_substitution_are_configured_in_the_file() {
        let file = r#"{ "registry-mirrors": ["http://m"], "insecure-registries": ["10.0.0.0/8"],
            "certs-dir": "/c", "base-substitution": { "stand-in": false,
            "rules": [{ "name": "r.example/*", "base": "nanoserver" }] } }"#;
        let options = settle(&[], file).unwrap();
        assert_eq!(options.live.registries.mirrors, ["http://m"]);
        assert_eq!(options.live.registries.insecure, ["10.0.0.0/8"]);
        assert_eq!(options.live.registries.certs_dirs, [PathBuf::from("/c")]);
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
    fn tcp_is_for_clients_with_certificates_unless_allowed() {
        let tcp = "tcp://127.0.0.1:2376";
        assert!(settle(&["-H", tcp], "").is_err());
        assert!(settle(&["-H", tcp, "--tls"], "").is_err());
        assert!(settle(&["-H", tcp, "--tlsverify=false"], "").is_err());
        let files =
            Files { certificate: "/etc/oriel/cert.pem".into(), key: "/etc/oriel/key.pem".into() };
        for (arguments, file, rule) in [
            (vec!["--tlsverify"], "", TcpRule::Verify(files.clone(), "/etc/oriel/ca.pem".into())),
            (
                vec!["--tlscacert", "/c"],
                r#"{"tlsverify":true}"#,
                TcpRule::Verify(files.clone(), "/c".into()),
            ),
            (vec!["--tls", "--allow-insecure-tcp"], "", TcpRule::Encrypt(files.clone())),
            (vec![], r#"{"allow-insecure-tcp":true}"#, TcpRule::Plain),
        ] {
            let arguments = [&["-H", tcp], arguments.as_slice()].concat();
            assert_eq!(settle(&arguments, file).unwrap().tcp, rule, "{arguments:?} {file}");
        }
    }

    #[test]
    fn addresses_are_paths_ports_or_what_systemd_has() {
        assert_eq!(settle(&["-H", "fd://"], "").unwrap().hosts, [Address::Passed]);
        for host in ["npipe:////./pipe/x", "unix://x", "tcp://x", "fd://3", "x", ""] {
            let error = settle(&["--allow-insecure-tcp", "-H", host], "").unwrap_err().to_string();
            assert!(error.starts_with("hosts: "), "{error}");
        }
    }

    #[test]
    fn every_problem_is_named() {
        let file = r#"{ "debug": 1, "hosts": ["x"], "labels": ["x"], "log-driver": "syslog",
            "log-opts": {"max-size": "1m"}, "icc": false, "dns": ["x"], "nobody": 1,
            "default-address-pools": [{"base": "10.0.0.1/8", "size": 24}], "log-level": "loud",
            "max-concurrent-downloads": -1, "proxies": {"http": "x"}, "bip": "x" }"#;
        let error = settle(&[], file).unwrap_err().to_string();
        for name in [
            "debug must be true or false",
            "hosts: cannot listen on \"x\"",
            "labels: \"x\" is not of the form KEY=VALUE",
            "log-driver, log-opts: error looking up logging plugin syslog: ",
            "icc false is not supported",
            "dns: \"x\"",
            "option: nobody",
            "default-address-pools: must be a list such as",
            "log-level: invalid logging level: loud",
            "max-concurrent-downloads must be a number from 0 to 1024",
            "proxies must be",
            "bip: \"x\"",
        ] {
            assert!(error.contains(name), "{name} in {error}");
        }
        assert_eq!(error.lines().count(), 12, "{error}");
    }

    #[test]
    fn a_file_for_dockerd_is_taken_as_far_as_it_means_something() {
        let file = r#"{ "builder": {"gc": {"enabled": true}}, "features": {"buildkit": true},
            "experimental": false, "live-restore": true, "iptables": true, "userns-remap": "",
            "authorization-plugins": [], "exec-opts": ["isolation=process"],
            "storage-driver": "windowsfilter", "shutdown-timeout": 15 }"#;
        let warnings = settle(&[], file).unwrap().warnings;
        let named: Vec<_> = warnings.iter().filter_map(|text| text.split(' ').next()).collect();
        assert_eq!(named, ["builder", "experimental", "features", "shutdown-timeout"]);
        for file in [
            r#"{"live-restore":false}"#,
            r#"{"userns-remap":"default"}"#,
            r#"{"storage-driver":"overlay2"}"#,
            r#"{"exec-opts":["native.cgroupdriver=systemd"]}"#,
        ] {
            let error = settle(&[], file).unwrap_err().to_string();
            assert!(error.contains("is not supported: "), "{error}");
        }
    }

    #[test]
    fn logs_have_defaults_that_are_checked() {
        let flags = ["--log-driver", "local", "--log-opt", "max-size=1m"];
        let file = r#"{"log-driver": "local", "log-opts": {"max-size": "1m"}}"#;
        for options in [settle(&flags, "").unwrap(), settle(&[], file).unwrap()] {
            assert_eq!(options.logs.driver.word(), "local");
            assert_eq!(options.logs.options["max-size"], "1m");
        }
        for (flags, file, text) in [
            (&["--log-opt", "x"][..], "", "is not of the form NAME=VALUE"),
            (&["--log-opt", "x=1"], "", "unknown log opt 'x' for json-file log driver"),
            (&["--log-opt", "max-size=1m"], r#"{"log-opts":{}}"#, "both as a flag and in"),
            (&[], r#"{"log-opts":{"max-file":3}}"#, "log-opts must be an object of texts"),
        ] {
            let error = settle(flags, file).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn pools_and_name_servers_come_from_flags_or_the_file() {
        let flags = ["--default-address-pool", "base=10.10.0.0/16,size=24", "--dns", "1.2.3.4"];
        let file = r#"{ "dns": ["1.2.3.4"],
            "default-address-pools": [{"base": "10.10.0.0/16", "size": 24}] }"#;
        for options in [settle(&flags, "").unwrap(), settle(&[], file).unwrap()] {
            let base = "10.10.0.0/16".parse().unwrap();
            assert_eq!(options.address_pools, [AddressPool { base, size: 24 }]);
            assert_eq!(options.dns, [Ipv4Addr::new(1, 2, 3, 4)]);
        }
        for pool in ["base=10.10.0.0/16", "base=10.10.0.0/16,size=15", "base=10.0.0.0/8,size=7"] {
            assert!(settle(&["--default-address-pool", pool], "").is_err(), "{pool}");
        }
    }

    #[test]
    fn what_is_reloaded_is_told_from_what_is_not() {
        let of = |file| settle(&[], file).unwrap();
        let before = of("{}");
        let after = of(r#"{ "debug": true, "labels": ["a=b", "a=b"], "data-root": "/d",
            "insecure-registries": ["r:1"], "max-concurrent-uploads": 0, "hosts": ["fd://"] }"#);
        assert_eq!(before.fixed_changes(&after), ["hosts", "data-root"]);
        assert_eq!(before.fixed_changes(&before), Vec::<&str>::new());
        assert_eq!(after.live.labels, ["a=b"]);
        assert_eq!(after.live.registries.uploads, 1024);
        assert!(settle(&[], r#"{"labels":["a=b","a=c"]}"#).is_err());
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
