//! Searching an index, as `docker search` does: Docker's protocol of version 1, of which nothing
//! else is left. Docker's hub speaks it; a registry of one's own mostly does not.

use reqwest::{Method, StatusCode, Url};
use serde::{Deserialize, Serialize};

use crate::{
    DistributionError, Registries,
    failure::{Failure, plain},
    transport::{self, Ask, blocking},
};

/// Where Docker's hub is searched (moby `registry/config.go`).
const HUB_INDEX: &str = "index.docker.io";

/// Longest answer: a hundred results of a few hundred bytes, generously.
const MAX_ANSWER: usize = 4 << 20;

/// An image that an index knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Found {
    /// Its name there.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Users who like it.
    pub star_count: u64,
    /// Whether Docker vouches for it.
    pub is_official: bool,
    /// Whether the index built it; none does any more.
    pub is_automated: bool,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    results: Vec<Found>,
}

impl Registries {
    /// Asks an index for images; `term` may begin with the index's host. At most `limit` results.
    ///
    /// # Errors
    /// When the index cannot be reached, or answers with anything but results.
    pub async fn search(&self, term: &str, limit: u32) -> Result<Vec<Found>, DistributionError> {
        let (host, term) = index(term);
        let (settings, insecure) = self.settings(host).await?;
        let mut trust = settings.trust;
        trust.skip_verify |= insecure;
        let (transport, owned) = (self.transport.clone(), host.to_owned());
        let client = blocking(move || transport.client(&owned, trust)).await?;
        let limit = limit.to_string();
        let query = [("q", term), ("n", limit.as_str())];
        let encrypted = self.ask_index(&client, address("https", host, &query)?).await;
        let answer = match encrypted {
            Err(_) if insecure => self.ask_index(&client, address("http", host, &query)?).await,
            other => other,
        };
        answer.map_err(Failure::into_error)
    }

    async fn ask_index(&self, client: &reqwest::Client, url: Url) -> Result<Vec<Found>, Failure> {
        let ask = Ask::new(Method::GET, url);
        let mut response = self.transport.follow(client, &ask, None).await?;
        if response.status() != StatusCode::OK {
            let status = response.status();
            let said = format!("Unexpected status code {}", status.as_u16());
            let (method, url) = (ask.method.to_string(), plain(&ask.url));
            return Err(
                DistributionError::Refused { method, url, status: status.as_u16(), said }.into()
            );
        }
        let body = transport::body(&mut response, MAX_ANSWER).await?;
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|error| ask.malformed(format!("no search results: {error}")))?;
        Ok(answer.results)
    }
}

/// The index that a term names, and the rest of the term.
fn index(term: &str) -> (&str, &str) {
    match term.split_once('/') {
        Some((host, rest)) if host == "localhost" || host.contains(['.', ':']) => match host {
            "docker.io" | HUB_INDEX => (HUB_INDEX, rest),
            _ => (host, rest),
        },
        _ => (HUB_INDEX, term.strip_prefix("library/").unwrap_or(term)),
    }
}

fn address(scheme: &str, host: &str, query: &[(&str, &str)]) -> Result<Url, DistributionError> {
    let bad = || DistributionError::Setting {
        setting: "index",
        value: host.to_owned(),
        problem: "not a host".to_owned(),
    };
    if host.is_empty() || host.contains(['/', '@', '?', '#']) {
        return Err(bad());
    }
    let address = format!("{scheme}://{host}/v1/search");
    Url::parse_with_params(&address, query).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_may_begin_with_its_index() {
        assert_eq!(index("web"), (HUB_INDEX, "web"));
        assert_eq!(index("library/web"), (HUB_INDEX, "web"));
        assert_eq!(index("people/web"), (HUB_INDEX, "people/web"));
        assert_eq!(index("docker.io/people/web"), (HUB_INDEX, "people/web"));
        assert_eq!(index("localhost/web"), ("localhost", "web"));
        assert_eq!(index("r.example:5000/a/b"), ("r.example:5000", "a/b"));
    }

    #[test]
    fn a_term_is_encoded() {
        let url = address("https", "r", &[("q", "a b&n=9"), ("n", "25")]).unwrap();
        assert_eq!(url.as_str(), "https://r/v1/search?q=a+b%26n%3D9&n=25");
        for host in ["", "a/b", "user@r", "r:port", "r?x", "r#x", "a b"] {
            assert!(address("https", host, &[]).is_err(), "{host}");
        }
    }
}
