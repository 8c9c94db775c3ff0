//! Where the daemon listens, and on what terms over TCP.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Context as _, bail};

use super::{Arguments, directives::Directives};

const DEFAULT_HOST: &str = "unix:///run/oriel.sock";
const DEFAULT_CA: &str = "/etc/oriel/ca.pem";
const DEFAULT_CERTIFICATE: &str = "/etc/oriel/cert.pem";
const DEFAULT_KEY: &str = "/etc/oriel/key.pem";

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP port.
    Tcp(SocketAddr),
    /// All sockets that systemd has opened.
    Passed,
}

/// On what terms TCP is served. Whoever is served is root on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TcpRule {
    /// Not at all.
    Refuse,
    /// In the clear, to everybody: only when told so.
    Plain,
    /// Encrypted, to everybody: only when told so.
    Encrypt(Files),
    /// Encrypted, to clients with a certificate of one of the authorities in this file.
    Verify(Files, PathBuf),
}

/// What the daemon shows its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// Takes what is said of TLS.
pub(super) fn tcp_rule(directives: &mut Directives, arguments: &Arguments) -> TcpRule {
    let tls = directives.switch("tls", arguments.tls);
    let verify = directives.switch("tlsverify", arguments.tlsverify);
    let insecure = directives.switch("allow-insecure-tcp", arguments.allow_insecure_tcp);
    let mut file = |name: &str, flag: &Option<String>, default: &str| {
        directives.text(name, flag.as_ref()).map_or_else(|| default.into(), PathBuf::from)
    };
    let authority = file("tlscacert", &arguments.tlscacert, DEFAULT_CA);
    let certificate = file("tlscert", &arguments.tlscert, DEFAULT_CERTIFICATE);
    let files = Files { certificate, key: file("tlskey", &arguments.tlskey, DEFAULT_KEY) };
    match (verify, tls, insecure) {
        (true, _, _) => TcpRule::Verify(files, authority),
        (false, true, true) => TcpRule::Encrypt(files),
        (false, false, true) => TcpRule::Plain,
        (false, _, false) => TcpRule::Refuse,
    }
}

/// Takes the addresses; there is at least one.
pub(super) fn hosts(directives: &mut Directives, flags: &[String], tcp: &TcpRule) -> Vec<Address> {
    let mut listed = directives.list("hosts", flags);
    if listed.is_empty() {
        listed.push(DEFAULT_HOST.to_owned());
    }
    let mut hosts = Vec::new();
    for text in &listed {
        let parsed = address(text).and_then(|address| allowed(address, text, tcp));
        hosts.extend(directives.sound(parsed.context("hosts")));
    }
    hosts
}

fn address(text: &str) -> anyhow::Result<Address> {
    if let Some(path) = text.strip_prefix("unix://") {
        if !path.starts_with('/') {
            bail!("{text:?} names no absolute path: write unix:///path/of/socket");
        }
        return Ok(Address::Unix(path.into()));
    }
    match text.strip_prefix("fd://") {
        Some("" | "*") => return Ok(Address::Passed),
        Some(_) => bail!("{text:?} is not known: write fd:// for all sockets of systemd"),
        None => {}
    }
    let Some(rest) = text.strip_prefix("tcp://") else {
        bail!("cannot listen on {text:?}: write unix:///path, tcp://address:port or fd://");
    };
    let socket = rest
        .trim_end_matches('/')
        .replace("localhost", "127.0.0.1")
        .parse()
        .with_context(|| format!("{text:?} is no address with a port"))?;
    Ok(Address::Tcp(socket))
}

fn allowed(address: Address, text: &str, tcp: &TcpRule) -> anyhow::Result<Address> {
    if matches!((&address, tcp), (Address::Tcp(_), TcpRule::Refuse)) {
        bail!(TcpRule::refusal(text));
    }
    Ok(address)
}

impl TcpRule {
    /// Why nothing is served at a TCP address, and what to do.
    pub(crate) fn refusal(address: &str) -> String {
        format!(
            "refusing to listen on {address} for clients without a certificate: whoever reaches \
             it is root on this host; give tlsverify with tlscacert, tlscert and tlskey, or say \
             allow-insecure-tcp"
        )
    }
}
