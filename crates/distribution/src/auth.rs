//! Authorization: challenges, and tokens from token servers.
//!
//! Sources: RFC 9110 section 11; `distribution`, `docs/spec/auth/token.md` and `oauth.md` there.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http_auth::{ChallengeRef, parser::ChallengeParser};
use reqwest::{
    Method, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE},
};
use serde::Deserialize;

use crate::{
    Credentials, DistributionError,
    failure::{Failure, Fault},
    transport::{self, Ask, Transport, is_web},
};

/// How long a token lives whose server does not say (`spec/auth/token.md`).
const DEFAULT_LIFE: u64 = 60;

/// Longest that a token is kept, whatever its server says.
const LONGEST_LIFE: u64 = 3600;

/// How long before its end a token counts as spent, so that it outlives the way to the registry.
const MARGIN: u64 = 5;

/// Most bytes of a token server's answer.
const MAX_ANSWER: usize = 1 << 20;

/// Most tokens kept: a token is for one user and one repository.
const MAX_TOKENS: usize = 1000;

/// Name by which token servers know the program.
const CLIENT_ID: &str = "oriel";

/// How a registry wants its users to show who they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Challenge {
    /// By name and password.
    Basic,
    /// By a token of a token server.
    Bearer(TokenServer),
}

/// Who gives tokens for a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TokenServer {
    pub(crate) realm: Url,
    pub(crate) service: Option<String>,
}

impl Challenge {
    /// The best challenge of an answer: tokens before passwords.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut basic = None;
        for challenge in challenges(headers) {
            if challenge.scheme.eq_ignore_ascii_case("Basic") {
                basic = Some(Self::Basic);
            }
            let realm = || Url::parse(&parameter(&challenge, "realm")?).ok().filter(is_web);
            if challenge.scheme.eq_ignore_ascii_case("Bearer")
                && let Some(realm) = realm()
            {
                let service = parameter(&challenge, "service");
                return Some(Self::Bearer(TokenServer { realm, service }));
            }
        }
        basic
    }
}

/// Whether the answer says that the token is good, but not for this.
pub(crate) fn lacks_scope(headers: &HeaderMap) -> bool {
    challenges(headers)
        .any(|challenge| parameter(&challenge, "error").as_deref() == Some("insufficient_scope"))
}

fn challenges(headers: &HeaderMap) -> impl Iterator<Item = ChallengeRef<'_>> {
    let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| ChallengeParser::new(text).map_while(Result::ok))
}

fn parameter(challenge: &ChallengeRef<'_>, name: &str) -> Option<String> {
    let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.to_unescaped())
}

/// A value for the header `Authorization`, and how long it is good for.
#[derive(Clone)]
pub(crate) struct Authorization {
    pub(crate) header: HeaderValue,
    until: Option<Instant>,
}

impl Authorization {
    /// By name and password.
    pub(crate) fn basic(credentials: &Credentials) -> Result<Self, DistributionError> {
        let Credentials { username, password, .. } = credentials;
        if username.is_empty() && password.is_empty() {
            return Err(DistributionError::NoBasicCredentials);
        }
        let encoded = STANDARD.encode(format!("{username}:{password}"));
        Self::new(&format!("Basic {encoded}"), None)
    }

    /// By a token.
    pub(crate) fn bearer(token: &str, life: Option<Duration>) -> Result<Self, DistributionError> {
        Self::new(&format!("Bearer {token}"), life)
    }

    fn new(text: &str, life: Option<Duration>) -> Result<Self, DistributionError> {
        let mut header =
            HeaderValue::from_str(text).map_err(|_| DistributionError::Unauthorized {
                said: "unauthorized: the token holds characters that no token may".to_owned(),
            })?;
        header.set_sensitive(true);
        Ok(Self { header, until: life.map(|life| Instant::now() + life) })
    }

    pub(crate) fn is_fresh(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }
}

/// What a token server gives.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Token {
    token: String,
    access_token: String,
    expires_in: Option<u64>,
    /// The token to keep in place of the password.
    pub(crate) refresh_token: Option<String>,
}

impl Token {
    pub(crate) fn authorization(&self) -> Result<Authorization, DistributionError> {
        let token = if self.token.is_empty() { &self.access_token } else { &self.token };
        let life = self.expires_in.unwrap_or(DEFAULT_LIFE).min(LONGEST_LIFE);
        Authorization::bearer(token, Some(Duration::from_secs(life.saturating_sub(MARGIN))))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

/// What a token is to be for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wish {
    /// Who asks.
    pub(crate) credentials: Credentials,
    /// Such as `repository:library/nanoserver:pull`.
    pub(crate) scopes: Vec<String>,
    /// Whether a token in place of the password is wanted too.
    pub(crate) offline: bool,
}

impl TokenServer {
    /// Asks for a token.
    pub(crate) async fn token(
        &self,
        transport: &Arc<Transport>,
        wish: &Wish,
    ) -> Result<Token, Failure> {
        let client = transport.client_for(&self.realm).await?;
        let (ask, authorization) = self.ask(wish)?;
        let header = authorization.map(|authorization| authorization.header);
        let mut response = transport.follow(&client, &ask, header.as_ref()).await?;
        let status = response.status();
        if !status.is_success() {
            let said = Fault::read(response).await.said;
            return Err(match status {
                StatusCode::TOO_MANY_REQUESTS => {
                    Failure::Passing(DistributionError::TooManyRequests { said }, None)
                }
                status if status.is_server_error() => {
                    Failure::Passing(ask.malformed(format!("no token: {said}")), None)
                }
                _ => DistributionError::Unauthorized { said }.into(),
            });
        }
        let body = transport::body(&mut response, MAX_ANSWER).await?;
        let token: Token = serde_json::from_slice(&body)
            .map_err(|_| ask.malformed("the token server's answer is not JSON"))?;
        if token.token.is_empty() && token.access_token.is_empty() {
            return Err(ask.malformed("the token server's answer holds no token").into());
        }
        Ok(token)
    }

    /// The request: `POST` with a refresh token, else `GET` with name and password if any.
    fn ask(&self, wish: &Wish) -> Result<(Ask, Option<Authorization>), DistributionError> {
        let Wish { credentials, scopes, offline } = wish;
        let service = self.service.as_deref().unwrap_or_default();
        if !credentials.identity_token.is_empty() {
            let form = form(&[
                ("grant_type", "refresh_token"),
                ("service", service),
                ("client_id", CLIENT_ID),
                ("scope", &scopes.join(" ")),
                ("refresh_token", &credentials.identity_token),
            ]);
            let mut ask = Ask::new(Method::POST, self.realm.clone());
            let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
            ask.headers.insert(CONTENT_TYPE, kind);
            ask.body = form.into();
            return Ok((ask, None));
        }
        let mut ask = Ask::new(Method::GET, self.realm.clone());
        let mut query = ask.url.query_pairs_mut();
        if let Some(service) = &self.service {
            query.append_pair("service", service);
        }
        query.extend_pairs(scopes.iter().map(|scope| ("scope", scope)));
        if *offline {
            query.append_pair("offline_token", "true").append_pair("client_id", CLIENT_ID);
        }
        if !credentials.username.is_empty() {
            query.append_pair("account", &credentials.username);
        }
        drop(query);
        match Authorization::basic(credentials) {
            Ok(authorization) => Ok((ask, Some(authorization))),
            Err(DistributionError::NoBasicCredentials) => Ok((ask, None)),
            Err(error) => Err(error),
        }
    }
}

/// `pairs` as a form. A query is written alike, so an address that is not used does the work.
fn form(pairs: &[(&str, &str)]) -> String {
    let url = Url::parse_with_params("form:", pairs);
    url.ok().and_then(|url| url.query().map(str::to_owned)).unwrap_or_default()
}

/// Tokens that are still good, of all users and registries.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<HashMap<(TokenServer, Wish), Authorization>>);

impl Tokens {
    /// A token for `wish` other than `spent`.
    pub(crate) async fn get(
        &self,
        transport: &Arc<Transport>,
        server: &TokenServer,
        wish: &Wish,
        spent: Option<&HeaderValue>,
    ) -> Result<Authorization, Failure> {
        let key = (server.clone(), wish.clone());
        let known = self.lock().get(&key).cloned();
        if let Some(known) = known
            && known.is_fresh()
            && spent != Some(&known.header)
        {
            return Ok(known);
        }
        let fresh = server.token(transport, wish).await?.authorization()?;
        let mut tokens = self.lock();
        tokens.retain(|_, token| token.is_fresh());
        if tokens.len() >= MAX_TOKENS {
            tokens.clear();
        }
        tokens.insert(key, fresh.clone());
        Ok(fresh)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(TokenServer, Wish), Authorization>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};

    use super::{Challenge, Credentials, TokenServer, Wish, form, lacks_scope};

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn bearer(realm: &str, service: Option<&str>) -> Option<Challenge> {
        let service = service.map(str::to_owned);
        Some(Challenge::Bearer(TokenServer { realm: realm.parse().unwrap(), service }))
    }

    #[test]
    fn challenges_are_read_in_every_spelling() {
        let hub = concat!(
            r#"Bearer realm="https://auth.docker.io/token","#,
            r#"service="registry.docker.io",scope="repository:a:pull""#
        );
        let expected = bearer("https://auth.docker.io/token", Some("registry.docker.io"));
        assert_eq!(Challenge::of(&headers(&[hub])), expected);
        let spaced = r#"bearer Realm = "https://a/t" , error="invalid_token""#;
        assert_eq!(Challenge::of(&headers(&[spaced])), bearer("https://a/t", None));
        assert_eq!(Challenge::of(&headers(&[r#"Basic realm="x""#])), Some(Challenge::Basic));
    }

    #[test]
    fn tokens_are_preferred_to_passwords() {
        let both = headers(&[r#"Basic realm="x""#, r#"Bearer realm="https://a/t""#]);
        assert_eq!(Challenge::of(&both), bearer("https://a/t", None));
        let one = headers(&[r#"Basic realm="x", Bearer realm="https://a/t""#]);
        assert_eq!(Challenge::of(&one), bearer("https://a/t", None));
    }

    #[test]
    fn challenges_that_cannot_be_met_are_none() {
        for text in [
            "",
            "Bearer",
            "Bearer realm=",
            r#"Bearer realm="file:///etc/passwd""#,
            r#"Bearer realm="/token""#,
            r#"Negotiate"#,
            r#"Bearer realm="https://a"#,
        ] {
            assert_eq!(Challenge::of(&headers(&[text])), None, "{text}");
        }
        assert_eq!(Challenge::of(&HeaderMap::new()), None);
    }

    #[test]
    fn a_token_of_too_little_scope_is_told_from_a_bad_one() {
        let text = |error| format!(r#"Bearer realm="https://a/t",error="{error}""#);
        assert!(lacks_scope(&headers(&[&text("insufficient_scope")])));
        assert!(!lacks_scope(&headers(&[&text("invalid_token")])));
    }

    #[test]
    fn a_refresh_token_is_posted_and_a_password_is_not() {
        let server = TokenServer { realm: "https://a/t".parse().unwrap(), service: None };
        let scopes = vec!["repository:x:pull".to_owned()];
        let mut wish = Wish { credentials: Credentials::default(), scopes, offline: false };
        let (ask, authorization) = server.ask(&wish).unwrap();
        assert_eq!(ask.url.as_str(), "https://a/t?scope=repository%3Ax%3Apull");
        assert!(authorization.is_none());
        wish.credentials.username = "ann".to_owned();
        wish.credentials.password = "p&q".to_owned();
        let (ask, authorization) = server.ask(&wish).unwrap();
        assert!(!ask.url.as_str().contains("p&q") && ask.body.is_empty());
        assert_eq!(authorization.unwrap().header, "Basic YW5uOnAmcQ==");
        wish.credentials.identity_token = "r&t".to_owned();
        let (ask, authorization) = server.ask(&wish).unwrap();
        assert!(authorization.is_none());
        assert!(ask.body.ends_with(b"refresh_token=r%26t"), "{:?}", ask.body);
    }

    #[test]
    fn forms_are_escaped() {
        assert_eq!(form(&[("a b", "c&d=é"), ("e", "")]), "a+b=c%26d%3D%C3%A9&e=");
    }
}
