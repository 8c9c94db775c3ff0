//! HTTP clients per host, redirects, time limits, bounded bodies.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use reqwest::{
    Client, Method, RequestBuilder, Response, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION},
};
use tokio::time::timeout;

use crate::{
    DistributionError, RegistryOptions,
    failure::{Failure, plain},
    hosts::{self, Trust},
    options::Insecure,
};

/// How long a connection with its TLS handshake may take. Docker waits as long.
const CONNECT: Duration = Duration::from_secs(30);

/// How long a registry may be silent, before its answer and within it. Registries that copy a blob
/// from slow storage before they answer take up to half of that.
pub(crate) const IDLE: Duration = Duration::from_secs(60);

/// How long an answer that is kept in memory may take as a whole: the largest manifest at the speed
/// of a modem. A registry that sends a byte now and then must not keep an operation for ever.
const WHOLE: Duration = Duration::from_secs(300);

/// How long an idle connection is kept. Balancers of large registries close theirs after 60 s.
const KEEP: Duration = Duration::from_secs(50);

/// Most redirects in a row, as in Go's `net/http`.
const MAX_REDIRECTS: usize = 10;

/// Most clients kept. Each belongs to a registry with settings of its own: more means that
/// settings keep changing.
const MAX_CLIENTS: usize = 64;

/// Name in the registries' logs.
const USER_AGENT: &str = concat!("oriel/", env!("CARGO_PKG_VERSION"));

/// A request that can be repeated.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Ask {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Bytes::new() }
    }

    pub(crate) fn malformed(&self, problem: impl Into<String>) -> DistributionError {
        let (method, url) = (self.method.to_string(), plain(&self.url));
        DistributionError::Malformed { method, url, problem: problem.into() }
    }
}

/// What all registries share: settings and connections.
pub(crate) struct Transport {
    pub(crate) options: RegistryOptions,
    pub(crate) insecure: Insecure,
    proxies: Vec<reqwest::Proxy>,
    clients: Mutex<HashMap<Trust, Client>>,
}

impl Transport {
    pub(crate) fn new(options: RegistryOptions) -> Result<Self, DistributionError> {
        // An error means that the program has chosen a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let insecure = Insecure::new(&options.insecure)?;
        let proxies = options.proxy.rules()?;
        Ok(Self { options, insecure, proxies, clients: Mutex::default() })
    }

    /// The client for hosts that are trusted as `trust` says. Reads the system's certificates when
    /// there is none yet, so it blocks.
    pub(crate) fn client(&self, host: &str, trust: Trust) -> Result<Client, DistributionError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&trust) {
            return Ok(client.clone());
        }
        let tls = |source| DistributionError::Tls { host: host.to_owned(), source };
        let client = self.build(&trust).map_err(tls)?;
        if clients.len() == MAX_CLIENTS {
            clients.clear();
        }
        clients.insert(trust, client.clone());
        Ok(client)
    }

    fn build(&self, trust: &Trust) -> reqwest::Result<Client> {
        let mut builder = Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT)
            .pool_idle_timeout(KEEP)
            .redirect(reqwest::redirect::Policy::none())
            .tls_danger_accept_invalid_certs(trust.skip_verify)
            .no_proxy();
        for proxy in &self.proxies {
            builder = builder.proxy(proxy.clone());
        }
        let mut roots = Vec::new();
        for pem in &trust.roots {
            roots.extend(reqwest::Certificate::from_pem_bundle(pem)?);
        }
        builder = builder.tls_certs_merge(roots);
        if let Some(pem) = &trust.identity {
            builder = builder.identity(reqwest::Identity::from_pem(pem)?);
        }
        builder.build()
    }

    /// The client for a host that a registry sent us to.
    pub(crate) async fn client_for(
        self: &Arc<Self>,
        url: &Url,
    ) -> Result<Client, DistributionError> {
        let host = authority(url);
        let insecure = url.scheme() == "http" || self.insecure.covers(&host).await;
        let this = Arc::clone(self);
        blocking(move || {
            let mut trust = hosts::read(&this.options.certs_dirs, &host)?.trust;
            trust.skip_verify |= insecure;
            this.client(&host, trust)
        })
        .await
    }

    /// Sends `ask` and follows redirects of `GET` and `HEAD`. The authorization goes to the origin
    /// of `ask` only.
    pub(crate) async fn follow(
        self: &Arc<Self>,
        client: &Client,
        ask: &Ask,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Failure> {
        let mut client = client.clone();
        let mut url = ask.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = client
                .request(ask.method.clone(), url.clone())
                .headers(ask.headers.clone())
                .body(ask.body.clone());
            if let Some(authorization) = authorization.filter(|_| same_origin(&url, &ask.url)) {
                request = request.header(AUTHORIZATION, authorization);
            }
            let response = answer(&ask.method, &url, request).await?;
            let Some(next) = redirect(ask, &response)? else {
                return Ok(response);
            };
            if !same_origin(&next, &url) {
                client = self.client_for(&next).await?;
            }
            url = next;
        }
        Err(ask.malformed(format!("stopped after {MAX_REDIRECTS} redirects")).into())
    }
}

/// Waits for the answer to `request`.
async fn answer(method: &Method, url: &Url, request: RequestBuilder) -> Result<Response, Failure> {
    match timeout(IDLE, request.send()).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(source)) => Err(Failure::of_transport(method, url, source)),
        Err(_) => Err(stalled(method, url, IDLE)),
    }
}

/// The failure of a registry that says nothing.
pub(crate) fn stalled(method: &Method, url: &Url, waited: Duration) -> Failure {
    let (method, url, seconds) = (method.to_string(), plain(url), waited.as_secs());
    Failure::Passing(DistributionError::Stalled { method, url, seconds }, None)
}

/// Where `response` sends the client, if it does.
fn redirect(ask: &Ask, response: &Response) -> Result<Option<Url>, Failure> {
    let follows = ask.method == Method::GET || ask.method == Method::HEAD;
    let Some(location) = response.headers().get(LOCATION) else {
        return Ok(None);
    };
    if !follows || !response.status().is_redirection() {
        return Ok(None);
    }
    let text = location.to_str().unwrap_or_default();
    let next = response.url().join(text).ok().filter(is_web);
    Ok(Some(next.ok_or_else(|| ask.malformed("redirected to no web address"))?))
}

/// The next piece of a body, waited for with patience.
pub(crate) async fn chunk(response: &mut Response) -> Result<Option<Bytes>, Failure> {
    match timeout(IDLE, response.chunk()).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(source)) => Err(Failure::of_transport(&Method::GET, response.url(), source)),
        Err(_) => Err(stalled(&Method::GET, response.url(), IDLE)),
    }
}

/// The whole body, of at most `limit` bytes.
pub(crate) async fn body(response: &mut Response, limit: usize) -> Result<Bytes, Failure> {
    let url = response.url().clone();
    let whole = timeout(WHOLE, collect(response, limit)).await;
    whole.unwrap_or_else(|_| Err(stalled(&Method::GET, &url, WHOLE)))
}

async fn collect(response: &mut Response, limit: usize) -> Result<Bytes, Failure> {
    let too_long = |url| DistributionError::Limit {
        what: format!("the answer of \"{}\"", plain(url)),
        limit: u64::try_from(limit).unwrap_or(u64::MAX),
    };
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_long(response.url()).into());
    }
    let mut whole = Vec::with_capacity(announced.unwrap_or_default());
    while let Some(bytes) = chunk(response).await? {
        if whole.len() + bytes.len() > limit {
            return Err(too_long(response.url()).into());
        }
        whole.extend_from_slice(&bytes);
    }
    Ok(whole.into())
}

/// Runs what reads files away from the threads that serve connections.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DistributionError> + Send + 'static,
) -> Result<T, DistributionError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// `host` or `host:port` of an address, as users write registries.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Whether `url` can be fetched.
pub(crate) fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.has_host()
}

/// Whether two addresses are of one server: what may be shown to one may be shown to the other.
pub(crate) fn same_origin(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

#[cfg(test)]
mod tests {
    use reqwest::Url;

    use super::{authority, same_origin};

    #[test]
    fn a_server_is_scheme_host_and_port() {
        let same = |a: &str, b: &str| same_origin(&Url::parse(a).unwrap(), &Url::parse(b).unwrap());
        assert!(same("https://r/x", "https://R:443/y?z"));
        for other in ["http://r/x", "https://r:5000/x", "https://x.r/x", "https://r@evil/x"] {
            assert!(!same("https://r/x", other), "{other}");
        }
    }

    #[test]
    fn hosts_are_written_as_users_do() {
        for (url, text) in [
            ("https://r:5000/v2/", "r:5000"),
            ("https://r:443/", "r"),
            ("http://[::1]:5000/", "[::1]:5000"),
        ] {
            assert_eq!(authority(&Url::parse(url).unwrap()), text);
        }
    }
}
