//! One place where a repository can be had: the registry itself or a mirror.

use std::{collections::HashMap, error::Error, sync::Arc};

use reqwest::{
    Client, Method, Response, StatusCode, Url,
    header::{HeaderMap, HeaderValue},
};
use tokio::sync::{Mutex, OnceCell};

use crate::{
    Credentials, DistributionError,
    auth::{Authorization, Challenge, Tokens, Wish},
    failure::{Failure, plain},
    transport::{Ask, Transport, authority, same_origin},
};

/// A registry, reached for one user.
pub(crate) struct Endpoint {
    pub(crate) transport: Arc<Transport>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) client: Client,
    /// The address of the protocol's root.
    pub(crate) root: Url,
    /// The same without TLS, where that may be absent.
    pub(crate) plain_root: Option<Url>,
    pub(crate) credentials: Credentials,
    /// Whether this is a mirror.
    pub(crate) mirror: bool,
    /// Whether it may say what a tag means.
    pub(crate) resolves: bool,
    /// For a mirror of several registries: which one is meant.
    pub(crate) namespace: Option<String>,
    /// The address that answers.
    pub(crate) base: OnceCell<Url>,
    /// What the registry accepted last, by scopes.
    pub(crate) authorizations: Mutex<HashMap<Vec<String>, Authorization>>,
}

impl Endpoint {
    /// The address of the protocol's root. Asks the registry once when there is a choice.
    pub(crate) async fn base(&self) -> Result<&Url, Failure> {
        self.base.get_or_try_init(|| self.settle()).await
    }

    async fn settle(&self) -> Result<Url, Failure> {
        let Some(plain_root) = &self.plain_root else {
            return Ok(self.root.clone());
        };
        let ping = Ask::new(Method::GET, self.root.clone());
        match self.transport.follow(&self.client, &ping, None).await {
            Ok(_) => return Ok(self.root.clone()),
            Err(failure) => {
                let error = failure.into_error();
                let error: &(dyn Error + 'static) = &error;
                tracing::debug!(error, "no TLS on an insecure registry, trying without");
            }
        }
        let ping = Ask::new(Method::GET, plain_root.clone());
        self.transport.follow(&self.client, &ping, None).await?;
        Ok(plain_root.clone())
    }

    /// The address of `path` below the root.
    pub(crate) async fn url(&self, path: &str) -> Result<Url, Failure> {
        let base = self.base().await?;
        let mut url = base.join(path).map_err(|_| {
            Ask::new(Method::GET, base.clone()).malformed(format!("`{path}` is no path"))
        })?;
        if let Some(namespace) = &self.namespace {
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        Ok(url)
    }

    /// Sends `ask` with the right to `scopes`. An answer that wants another authorization is met
    /// with one, once; so a token that ran out is replaced.
    pub(crate) async fn send(&self, ask: &Ask, scopes: &[String]) -> Result<Response, Failure> {
        let shown = self.authorization(scopes).await?;
        let response = self.transport.follow(&self.client, ask, shown.as_ref()).await?;
        let ours = same_origin(response.url(), &ask.url);
        if response.status() != StatusCode::UNAUTHORIZED || !ours {
            return Ok(response);
        }
        let challenge = Challenge::of(response.headers());
        let Some(fresh) = self.authorize(challenge, scopes, shown.as_ref()).await? else {
            return Ok(response);
        };
        self.transport.follow(&self.client, ask, Some(&fresh)).await
    }

    /// What to show at first: what was accepted before, or a token given by the user.
    pub(crate) async fn authorization(
        &self,
        scopes: &[String],
    ) -> Result<Option<HeaderValue>, DistributionError> {
        let token = &self.credentials.registry_token;
        if !token.is_empty() {
            return Ok(Some(Authorization::bearer(token, None)?.header));
        }
        let known = self.authorizations.lock().await;
        let fresh = known.get(scopes).filter(|known| known.is_fresh());
        Ok(fresh.map(|fresh| fresh.header.clone()))
    }

    /// What meets `challenge` after `spent` did not; `None` when nothing does.
    async fn authorize(
        &self,
        challenge: Option<Challenge>,
        scopes: &[String],
        spent: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, Failure> {
        if !self.credentials.registry_token.is_empty() {
            return Ok(None);
        }
        // Held while a token is fetched: requests side by side need one token, not one each.
        let mut known = self.authorizations.lock().await;
        if let Some(known) = known.get(scopes)
            && known.is_fresh()
            && spent != Some(&known.header)
        {
            return Ok(Some(known.header.clone()));
        }
        let fresh = match challenge {
            None => return Ok(None),
            Some(Challenge::Basic) => {
                let basic = Authorization::basic(&self.credentials)?;
                if spent == Some(&basic.header) {
                    return Ok(None);
                }
                basic
            }
            Some(Challenge::Bearer(server)) => {
                self.check_realm(&server.realm).await?;
                let credentials = self.credentials.clone();
                let wish = Wish { credentials, scopes: scopes.to_vec(), offline: false };
                self.tokens.get(&self.transport, &server, &wish, spent).await?
            }
        };
        let header = fresh.header.clone();
        known.insert(scopes.to_vec(), fresh);
        Ok(Some(header))
    }

    /// Refuses to send a password in the clear because a registry that has TLS says so.
    pub(crate) async fn check_realm(&self, realm: &Url) -> Result<(), Failure> {
        let clear = realm.scheme() == "http" && self.base().await?.scheme() == "https";
        if !clear
            || self.credentials.is_anonymous()
            || self.transport.insecure.covers(&authority(realm)).await
        {
            return Ok(());
        }
        let problem = "the token server has no TLS; name it among the insecure registries if that \
                       is meant";
        Err(Ask::new(Method::GET, realm.clone()).malformed(problem).into())
    }

    /// The endpoint in messages.
    pub(crate) fn name(&self) -> String {
        plain(&self.root)
    }
}

/// The value of a header, as text.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
