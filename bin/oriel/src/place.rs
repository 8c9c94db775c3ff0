//! Which daemon to talk to: options, then the environment, then the current context.
//!
//! | First of | says |
//! |---|---|
//! | `-H` | an address |
//! | `--context` | a context |
//! | `ORIEL_HOST`, `DOCKER_HOST` | an address |
//! | `ORIEL_CONTEXT`, `DOCKER_CONTEXT`, `oriel context use` | a context |
//! | nothing | `/run/oriel.sock` |

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use crate::{
    connection::{Client, Endpoint, Tls, TlsMaterial},
    contexts::Store,
};

/// Options that say where the daemon is.
#[derive(Args, Clone, Default)]
#[command(next_help_heading = "Daemon")]
pub(crate) struct Place {
    /// Daemon to talk to: unix:///path, tcp://host:port or ssh://user@host [default: ORIEL_HOST,
    /// DOCKER_HOST, the context in use, unix:///run/oriel.sock]
    #[arg(short = 'H', long, global = true, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// Context to use; see oriel context
    #[arg(short, long, value_name = "CONTEXT")]
    pub(crate) context: Option<String>,
    /// Encrypt the connection; do not ask who the daemon is
    #[arg(long)]
    tls: bool,
    /// Encrypt the connection, and make sure who the daemon is
    #[arg(long, env = "DOCKER_TLS_VERIFY", value_parser = clap::builder::FalseyValueParser::new(),
        hide_env_values = true, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "false", hide_default_value = true)]
    tlsverify: bool,
    /// Authorities that may vouch for the daemon [default: ca.pem in DOCKER_CERT_PATH, ~/.docker]
    #[arg(long, value_name = "FILE")]
    tlscacert: Option<PathBuf>,
    /// This client's certificate [default: cert.pem there]
    #[arg(long, value_name = "FILE")]
    tlscert: Option<PathBuf>,
    /// Its key [default: key.pem there]
    #[arg(long, value_name = "FILE")]
    tlskey: Option<PathBuf>,
}

/// A variable that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Place {
    /// The daemon that is meant.
    ///
    /// # Errors
    /// When the address, the context or the certificates are not what they should be.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        let given = self.host.clone().filter(|host| !host.is_empty());
        let host = match (given, &self.context) {
            (Some(_), Some(_)) => bail!("--host and --context exclude each other; leave one away"),
            (Some(host), None) => Some(host),
            (None, Some(_)) => None,
            (None, None) => variable("ORIEL_HOST").or_else(|| variable("DOCKER_HOST")),
        };
        if let Some(host) = host {
            let endpoint = Endpoint::parse(&host)?;
            let tls = self.tls(&endpoint)?;
            return Ok(Client::new(endpoint, tls));
        }
        let store = Store::open();
        let name = match &self.context {
            Some(name) => name.clone(),
            None => store.current(),
        };
        let context = store.find(&name)?;
        let endpoint = Endpoint::parse(&context.host)?;
        let tls = context.tls()?;
        Ok(Client::new(endpoint, tls))
    }

    /// TLS as the options and Docker's variables say; only TCP has it.
    fn tls(&self, endpoint: &Endpoint) -> anyhow::Result<Option<Tls>> {
        let files = [&self.tlscacert, &self.tlscert, &self.tlskey];
        let wanted = self.tls || self.tlsverify || files.iter().any(|file| file.is_some());
        if !wanted || !matches!(endpoint, Endpoint::Tcp(_)) {
            return Ok(None);
        }
        let home = variable("DOCKER_CERT_PATH").map(PathBuf::from);
        let home = home.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".docker")));
        let file = |given: &Option<PathBuf>, name: &str| {
            let usual = || home.as_ref().map(|home| home.join(name)).filter(|file| file.exists());
            given.clone().or_else(usual)
        };
        let authority = file(&self.tlscacert, "ca.pem");
        let (certificate, key) = (file(&self.tlscert, "cert.pem"), file(&self.tlskey, "key.pem"));
        let mut material =
            TlsMaterial::read(authority.as_deref(), certificate.as_deref(), key.as_deref())?;
        if !self.tlsverify {
            material.authority = None;
        } else if material.authority.is_none() {
            bail!("--tlsverify needs to know whom to believe; give --tlscacert FILE");
        }
        Tls::new(&material).map(Some)
    }
}
