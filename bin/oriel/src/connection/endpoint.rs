//! Where a daemon listens, and what to say when none answers there.

use std::{fmt, io, path::PathBuf};

use anyhow::bail;

/// Where `orield` listens unless told otherwise.
const DEFAULT_SOCKET: &str = "/run/oriel.sock";

/// Where a daemon listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// `host:port`
    Tcp(String),
    /// The Unix socket of another machine.
    Ssh(SshTarget),
}

/// A machine that is reached with `ssh`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SshTarget {
    /// Account there; `ssh` knows its own default.
    pub(crate) user: Option<String>,
    /// Name of the machine, as `ssh` knows it.
    pub(crate) host: String,
    /// Port, unless it is `ssh`'s own.
    pub(crate) port: Option<u16>,
    /// The daemon's socket there, unless it is the default.
    pub(crate) socket: Option<String>,
}

impl Default for Endpoint {
    fn default() -> Self {
        Self::Unix(DEFAULT_SOCKET.into())
    }
}

impl Endpoint {
    /// Reads what the Docker CLI's `-H` accepts: `unix:///path`, `tcp://host:port`,
    /// `ssh://user@host:port/path`.
    ///
    /// # Errors
    /// When the text is none of these.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        if let Some(path) = text.strip_prefix("unix://") {
            let path = if path.is_empty() { DEFAULT_SOCKET } else { path };
            return Ok(Self::Unix(path.into()));
        }
        if let Some(address) = text.strip_prefix("tcp://") {
            let address = address.trim_end_matches('/');
            let port = address.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
            return match (address, port) {
                (address, Some(Ok(_))) if !address.starts_with(':') => {
                    Ok(Self::Tcp(address.to_owned()))
                }
                _ => bail!("{text:?} names no port; write tcp://HOST:PORT"),
            };
        }
        if let Some(rest) = text.strip_prefix("ssh://") {
            return match SshTarget::parse(rest) {
                Some(target) => Ok(Self::Ssh(target)),
                None => bail!("{text:?} names no machine; write ssh://USER@HOST:PORT"),
            };
        }
        bail!(
            "{text:?} is no daemon address; write unix:///PATH, tcp://HOST:PORT or ssh://USER@HOST"
        )
    }

    /// The command that starts a daemon here.
    pub(crate) fn start_command(&self) -> String {
        match self {
            Self::Unix(path) if path.as_os_str() == DEFAULT_SOCKET => "orield".to_owned(),
            other => format!("orield -H {other}"),
        }
    }

    /// Host name of a TCP address, which a certificate has to be for.
    pub(crate) fn tcp_host(address: &str) -> &str {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl SshTarget {
    fn parse(text: &str) -> Option<Self> {
        let (place, socket) = match text.split_once('/') {
            Some((place, path)) => (place, (!path.is_empty()).then(|| format!("/{path}"))),
            None => (text, None),
        };
        let (user, place) = match place.rsplit_once('@') {
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, place),
        };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (place, None),
        };
        // What begins with a dash would be an option of ssh.
        let bad = |text: &str| text.is_empty() || text.starts_with('-');
        if bad(host) || user.as_deref().is_some_and(bad) {
            return None;
        }
        Some(Self { user, host: host.to_owned(), port, socket })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Ssh(SshTarget { user, host, port, socket }) => {
                f.write_str("ssh://")?;
                user.iter().try_for_each(|user| write!(f, "{user}@"))?;
                f.write_str(host)?;
                port.iter().try_for_each(|port| write!(f, ":{port}"))?;
                socket.iter().try_for_each(|socket| f.write_str(socket))
            }
        }
    }
}

/// No daemon answers at the address. Its text says what to do.
#[derive(Debug)]
pub(crate) struct NoDaemon {
    /// The address.
    pub(crate) endpoint: Endpoint,
    /// How connecting failed.
    pub(crate) kind: io::ErrorKind,
}

impl NoDaemon {
    /// Whether the daemon may run and only refuse this user.
    pub(crate) fn is_denied(&self) -> bool {
        self.kind == io::ErrorKind::PermissionDenied
    }
}

impl std::error::Error for NoDaemon {}

impl fmt::Display for NoDaemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, kind } = self;
        if let Endpoint::Ssh(target) = endpoint {
            return write!(
                f,
                "no daemon answers at {endpoint}; see whether this works: ssh {} oriel version",
                target.host
            );
        }
        if self.is_denied() {
            return write!(
                f,
                "permission denied at {endpoint}; run this as root, or as a member of the group \
                 that owns the socket"
            );
        }
        let what = match kind {
            io::ErrorKind::NotFound => "there is no socket",
            _ => "no daemon answers",
        };
        write!(f, "{what} at {endpoint}; start the daemon with: {}", endpoint.start_command())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_docker() {
        let unix = |path: &str| Endpoint::Unix(path.into());
        assert_eq!(Endpoint::parse("unix:///a/b").unwrap(), unix("/a/b"));
        assert_eq!(Endpoint::parse("unix://").unwrap(), unix("/run/oriel.sock"));
        let tcp = Endpoint::Tcp("localhost:2375".into());
        assert_eq!(Endpoint::parse("tcp://localhost:2375/").unwrap(), tcp);
        for bad in
            ["", "localhost", "tcp://localhost", "tcp://:2375", "http://x:1", "ssh://", "ssh://a:x"]
        {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Endpoint::tcp_host("[::1]:2376"), "::1");
    }

    #[test]
    fn a_machine_behind_ssh_may_have_user_port_and_socket() {
        for text in ["ssh://box", "ssh://ann@box:2222/run/o.sock", "ssh://ann@box"] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), text);
        }
        let option = Endpoint::parse("ssh://-oProxyCommand=x");
        assert!(option.is_err(), "an option of ssh is no machine");
    }

    #[test]
    fn a_missing_daemon_comes_with_the_next_step() {
        let text = |kind, path: &str| NoDaemon { endpoint: Endpoint::Unix(path.into()), kind };
        let missing = text(io::ErrorKind::NotFound, "/run/oriel.sock").to_string();
        assert!(missing.ends_with("start the daemon with: orield"), "{missing}");
        let other = text(io::ErrorKind::ConnectionRefused, "/x.sock").to_string();
        assert!(other.ends_with("start the daemon with: orield -H unix:///x.sock"), "{other}");
        let denied = text(io::ErrorKind::PermissionDenied, "/x.sock").to_string();
        assert!(denied.contains("permission denied") && denied.contains("root"), "{denied}");
    }
}
