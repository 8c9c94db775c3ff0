//! All registries, as one daemon reaches them.

use std::{fmt, sync::Arc};

use oriel_image::Reference;
use reqwest::{Method, Response, StatusCode, Url};
use tokio::sync::{Mutex, OnceCell};

use crate::{
    Credentials, DistributionError, RegistryOptions, Repository,
    auth::{Authorization, Challenge, Tokens, Wish},
    endpoint::Endpoint,
    failure::{Asked, Failure, Fault, Subject, persist, plain},
    hosts::{self, Mirror, Settings, Trust},
    transport::{Ask, Transport, authority, blocking},
};

/// The registry of names without one.
const HUB: &str = "docker.io";

/// Where that registry is (`distribution`, `registry/config.go`).
const HUB_HOST: &str = "registry-1.docker.io";

/// Names under which clients log in to it.
const HUB_NAMES: &[&str] = &["", HUB, "index.docker.io", HUB_HOST];

/// What a [`Repository`] is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reading, from mirrors first.
    Pull,
    /// Writing and reading, on the registry itself.
    Push,
}

/// What a successful log-in gives.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// A token to keep in place of the password, if the registry gives one.
    pub identity_token: Option<String>,
}

/// Says whether there is a token, not which.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.identity_token.as_ref().map(|_| "…");
        f.debug_struct("Login").field("identity_token", &token).finish()
    }
}

/// Reaches registries. Cheap to clone; all clones share connections and tokens.
#[derive(Clone)]
pub struct Registries {
    pub(crate) transport: Arc<Transport>,
    tokens: Arc<Tokens>,
}

impl Registries {
    /// Prepares for `options`. The program's TLS provider becomes `ring` unless one is chosen.
    ///
    /// # Errors
    /// [`DistributionError::Setting`].
    pub fn new(options: RegistryOptions) -> Result<Self, DistributionError> {
        for mirror in &options.mirrors {
            mirror_address(mirror)?;
        }
        Ok(Self { transport: Arc::new(Transport::new(options)?), tokens: Arc::default() })
    }

    /// What they were prepared for.
    #[must_use]
    pub fn options(&self) -> &RegistryOptions {
        &self.transport.options
    }

    /// Checks `credentials` with the registry, as `docker login` does. `registry` is a host, or
    /// the address of Docker's hub; empty means the latter.
    ///
    /// # Errors
    /// [`DistributionError::wants_login`] when they are refused; any other when they cannot be
    /// checked.
    pub async fn login(
        &self,
        registry: &str,
        credentials: &Credentials,
    ) -> Result<Login, DistributionError> {
        let host = login_host(registry);
        let (settings, insecure) = self.settings(&host).await?;
        let server = self.server(&host, credentials, settings, insecure).await?;
        let times = self.transport.options.max_attempts;
        persist(times, || self.try_login(&server)).await
    }

    /// Opens the repository of `reference`. Reads the registry's settings; asks it nothing yet.
    ///
    /// # Errors
    /// [`DistributionError::Setting`], [`DistributionError::SettingFile`] or
    /// [`DistributionError::Tls`].
    pub async fn repository(
        &self,
        reference: &Reference,
        credentials: &Credentials,
        access: Access,
    ) -> Result<Repository, DistributionError> {
        let host = reference.domain();
        let (mut settings, insecure) = self.settings(host).await?;
        let mut mirrors = std::mem::take(&mut settings.mirrors);
        if host == HUB {
            for text in &self.transport.options.mirrors {
                mirrors.push(self.hub_mirror(text).await?);
            }
        }
        let mut endpoints = Vec::new();
        if access == Access::Pull {
            for mirror in mirrors {
                endpoints.push(self.mirror(host, mirror).await?);
            }
        }
        let server = self.server(host, credentials, settings, insecure).await?;
        let times = self.transport.options.max_attempts;
        Ok(Repository::new(endpoints, server, reference.clone(), (access, times)))
    }

    pub(crate) async fn settings(&self, host: &str) -> Result<(Settings, bool), DistributionError> {
        let (transport, owned) = (Arc::clone(&self.transport), host.to_owned());
        let settings = blocking(move || hosts::read(&transport.options.certs_dirs, &owned)).await?;
        Ok((settings, self.transport.insecure.covers(host).await))
    }

    /// The registry itself. It alone sees the credentials.
    async fn server(
        &self,
        host: &str,
        credentials: &Credentials,
        settings: Settings,
        insecure: bool,
    ) -> Result<Endpoint, DistributionError> {
        let real = if host == HUB { HUB_HOST } else { host };
        let bad = || DistributionError::Setting {
            setting: "registry",
            value: host.to_owned(),
            problem: "not a host".to_owned(),
        };
        let root = |scheme| Url::parse(&format!("{scheme}://{real}/v2/")).map_err(|_| bad());
        let mut trust = settings.trust;
        trust.skip_verify |= insecure;
        if let Some(url) = settings.server {
            return self.endpoint(protocol_root(url, false), trust, credentials).await;
        }
        let mut endpoint = self.endpoint(root("https")?, trust, credentials).await?;
        if insecure {
            endpoint.plain_root = Some(root("http")?);
        }
        Ok(endpoint)
    }

    /// A mirror of `host`. Mirrors are other people's: they see no credentials.
    async fn mirror(&self, host: &str, mirror: Mirror) -> Result<Endpoint, DistributionError> {
        let Mirror { url, mut trust, resolves, complete } = mirror;
        trust.skip_verify |= url.scheme() == "http";
        let base = protocol_root(url, complete);
        let mut endpoint = self.endpoint(base, trust, &Credentials::default()).await?;
        endpoint.mirror = true;
        endpoint.resolves = resolves;
        endpoint.namespace = Some(host.to_owned());
        Ok(endpoint)
    }

    /// A mirror of Docker's hub out of `registry-mirrors`.
    async fn hub_mirror(&self, text: &str) -> Result<Mirror, DistributionError> {
        let url = mirror_address(text)?;
        let (settings, insecure) = self.settings(&authority(&url)).await?;
        let mut trust = settings.trust;
        trust.skip_verify |= insecure;
        Ok(Mirror { url, trust, resolves: true, complete: false })
    }

    async fn endpoint(
        &self,
        root: Url,
        trust: Trust,
        credentials: &Credentials,
    ) -> Result<Endpoint, DistributionError> {
        let host = authority(&root);
        let transport = Arc::clone(&self.transport);
        let client = blocking(move || transport.client(&host, trust)).await?;
        Ok(Endpoint {
            transport: Arc::clone(&self.transport),
            tokens: Arc::clone(&self.tokens),
            client,
            root,
            plain_root: None,
            credentials: credentials.clone(),
            mirror: false,
            resolves: true,
            namespace: None,
            base: OnceCell::new(),
            authorizations: Mutex::default(),
        })
    }

    async fn try_login(&self, server: &Endpoint) -> Result<Login, Failure> {
        let ask = Ask::new(Method::GET, server.base().await?.clone());
        let first = self.transport.follow(&server.client, &ask, None).await?;
        if first.status() != StatusCode::UNAUTHORIZED {
            return login_answer(&ask, first, Login::default()).await;
        }
        let credentials = &server.credentials;
        let (shown, login) = match Challenge::of(first.headers()) {
            None => return login_answer(&ask, first, Login::default()).await,
            Some(Challenge::Basic) => (Authorization::basic(credentials)?, Login::default()),
            Some(Challenge::Bearer(token_server)) => {
                server.check_realm(&token_server.realm).await?;
                let wish =
                    Wish { credentials: credentials.clone(), scopes: Vec::new(), offline: true };
                let token = token_server.token(&self.transport, &wish).await?;
                let login = Login { identity_token: token.refresh_token.clone() };
                (token.authorization()?, login)
            }
        };
        let answer = self.transport.follow(&server.client, &ask, Some(&shown.header)).await?;
        login_answer(&ask, answer, login).await
    }
}

/// What the registry's answer to a log-in means.
async fn login_answer(ask: &Ask, answer: Response, login: Login) -> Result<Login, Failure> {
    let status = answer.status();
    if status.is_success() {
        return Ok(login);
    }
    if status != StatusCode::UNAUTHORIZED {
        let asked = Asked { repository: String::new(), access: Access::Push };
        return Err(asked.refusal(&ask.method, Subject::Other, answer).await);
    }
    let fault = Fault::read(answer).await;
    tracing::debug!(said = fault.said, "a registry refused a log-in");
    let (url, status) = (plain(&ask.url), status.to_string());
    Err(DistributionError::LoginRefused { url, status }.into())
}

/// The host that `docker login` means.
fn login_host(registry: &str) -> String {
    let bare = registry.split_once("://").map_or(registry, |(_, rest)| rest);
    let host = bare.split('/').next().unwrap_or_default();
    if HUB_NAMES.contains(&host) { HUB.to_owned() } else { host.to_owned() }
}

/// The address of a mirror of Docker's hub.
fn mirror_address(text: &str) -> Result<Url, DistributionError> {
    let url = text.contains("://").then(|| hosts::address(text)).flatten();
    let bare = |url: &Url| url.query().is_none() && url.fragment().is_none();
    url.filter(bare).ok_or_else(|| DistributionError::Setting {
        setting: "registry-mirrors",
        value: text.to_owned(),
        problem: "not an address such as https://mirror:5000".to_owned(),
    })
}

/// The root of the protocol on a server: below `/v2/`, unless the address is `complete`.
fn protocol_root(mut url: Url, complete: bool) -> Url {
    let path = url.path().trim_end_matches('/').to_owned();
    let rooted = complete || path.ends_with("/v2");
    url.set_path(&if rooted { format!("{path}/") } else { format!("{path}/v2/") });
    url
}

#[cfg(test)]
mod tests {
    use reqwest::Url;

    use super::{login_host, mirror_address, protocol_root};

    #[test]
    fn hub_has_many_names() {
        for name in ["", "docker.io", "https://index.docker.io/v1/", "registry-1.docker.io"] {
            assert_eq!(login_host(name), "docker.io");
        }
        assert_eq!(login_host("https://r.example:5000/v2/"), "r.example:5000");
        assert_eq!(login_host("localhost:5000"), "localhost:5000");
    }

    #[test]
    fn the_protocol_begins_below_v2() {
        let root =
            |text, complete| protocol_root(Url::parse(text).unwrap(), complete).as_str().to_owned();
        assert_eq!(root("https://m", false), "https://m/v2/");
        assert_eq!(root("https://m/v2", false), "https://m/v2/");
        assert_eq!(root("https://m/proxy/", false), "https://m/proxy/v2/");
        assert_eq!(root("https://m/proxy/hub", true), "https://m/proxy/hub/");
    }

    #[test]
    fn mirrors_need_a_scheme() {
        assert!(mirror_address("https://m:5000").is_ok());
        for text in ["m:5000", "", "ftp://m", "https://", "https://m?x", "https://m#x"] {
            assert!(mirror_address(text).is_err(), "{text}");
        }
    }
}
