//! Failures of one attempt: which of them pass, and what the registry said.

use std::{error::Error, future::Future, time::Duration};

use oriel_image::Digest;
use reqwest::{
    Method, Response, StatusCode, Url,
    header::{HeaderMap, RETRY_AFTER},
};
use serde::Deserialize;

use crate::{Access, DistributionError, auth, transport};

/// First pause between two attempts; each further one is twice as long. Together with five
/// attempts this rides out a registry's restart.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Longest pause of our own choice.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Longest pause a registry may ask for. Docker's hub counts in windows of hours: waiting for
/// those would look like hanging.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Most bytes of an error's body that are read.
const MAX_ERROR_BODY: usize = 64 << 10;

/// Most characters of what a registry says that are shown.
const MAX_SAID: usize = 500;

/// Why one attempt failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Trying again would not help.
    Final(DistributionError),
    /// Trying again may help, at the earliest after some time.
    Passing(DistributionError, Option<Duration>),
}

impl Failure {
    /// The error, when there is no further attempt.
    pub(crate) fn into_error(self) -> DistributionError {
        match self {
            Self::Final(error) | Self::Passing(error, _) => error,
        }
    }

    /// What the HTTP library's error means.
    pub(crate) fn of_transport(method: &Method, url: &Url, source: reqwest::Error) -> Self {
        let (method, url) = (method.to_string(), plain(url));
        let source = source.without_url();
        match tls_error(&source) {
            Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
                Self::Final(DistributionError::PlainHttp { method, url })
            }
            Some(_) => Self::Final(DistributionError::Unreachable { method, url, source }),
            None => Self::Passing(DistributionError::Unreachable { method, url, source }, None),
        }
    }
}

impl From<DistributionError> for Failure {
    fn from(error: DistributionError) -> Self {
        Self::Final(error)
    }
}

/// Tries `attempt` up to `times`, with growing pauses, until it succeeds or fails for good.
pub(crate) async fn persist<T, F, A>(times: u32, mut attempt: F) -> Result<T, DistributionError>
where
    F: FnMut() -> A,
    A: Future<Output = Result<T, Failure>>,
{
    let mut failures = 0;
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(Failure::Passing(error, after)) if failures + 1 < times => {
                failures += 1;
                tracing::debug!(%error, failures, "a registry's failure may pass");
                tokio::time::sleep(pause(failures, after)).await;
            }
            Err(failure) => return Err(failure.into_error()),
        }
    }
}

/// How long to wait after the `failures`th failure in a row: half of it by chance, so that many
/// clients do not come back at once.
pub(crate) fn pause(failures: u32, after: Option<Duration>) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << (failures.saturating_sub(1)).min(10));
    let own = doubled.min(LONGEST_PAUSE).mul_f64(0.5 + fastrand::f64() / 2.0);
    own.max(after.unwrap_or_default())
}

/// What a request was about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'a> {
    /// A manifest; the image as people write it.
    Manifest(&'a str),
    /// A blob.
    Blob(Digest),
    /// Something else.
    Other,
}

/// Names a repository in errors.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The repository, as people write it.
    pub(crate) repository: String,
    /// What it is opened for.
    pub(crate) access: Access,
}

impl Asked {
    /// What an answer other than success means.
    pub(crate) async fn refusal(
        &self,
        method: &Method,
        subject: Subject<'_>,
        response: Response,
    ) -> Failure {
        let status = response.status();
        let after = retry_after(response.headers());
        let url = plain(response.url());
        let fault = Fault::read(response).await;
        let said = fault.said;
        let refused = |said| {
            let method = method.to_string();
            DistributionError::Refused { method, url, status: status.as_u16(), said }
        };
        let repository = || self.repository.clone();
        Failure::Final(match (fault.code.as_str(), status) {
            ("toomanyrequests", _) | (_, StatusCode::TOO_MANY_REQUESTS) => {
                return Failure::Passing(DistributionError::TooManyRequests { said }, after);
            }
            (_, status) if status.is_server_error() => {
                return Failure::Passing(refused(said), after);
            }
            ("denied", _) | (_, StatusCode::FORBIDDEN) if self.access == Access::Pull => {
                DistributionError::PullDenied { repository: repository(), said }
            }
            ("denied", _) | (_, StatusCode::FORBIDDEN) => DistributionError::Denied { said },
            (_, StatusCode::UNAUTHORIZED) => DistributionError::Unauthorized { said },
            ("name unknown", StatusCode::NOT_FOUND) => {
                DistributionError::RepositoryUnknown { repository: repository(), said }
            }
            (_, StatusCode::NOT_FOUND) => match subject {
                Subject::Manifest(reference) => {
                    DistributionError::ManifestUnknown { reference: reference.to_owned(), said }
                }
                Subject::Blob(digest) => DistributionError::BlobUnknown { digest, said },
                Subject::Other => refused(said),
            },
            _ => refused(said),
        })
    }
}

/// An error as registries report it.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The code in Docker's spelling: `manifest unknown`.
    pub(crate) code: String,
    /// Code and message: `manifest unknown: manifest unknown`.
    pub(crate) said: String,
}

impl Fault {
    /// Reads the fault out of an answer.
    pub(crate) async fn read(mut response: Response) -> Self {
        let status = response.status();
        let denied = auth::lacks_scope(response.headers());
        let body = transport::body(&mut response, MAX_ERROR_BODY).await.unwrap_or_default();
        Self::of(status, denied, &body)
    }

    fn of(status: StatusCode, denied: bool, body: &[u8]) -> Self {
        let reported = reported(body);
        // A token without the scope asked for is `denied`, whatever the body says, as in Docker.
        let (code, message) = match reported {
            _ if denied => ("denied".to_owned(), String::new()),
            Some((code, message)) => (code, message),
            None => (String::new(), String::new()),
        };
        let code = if code.is_empty() { default_code(status).to_owned() } else { code };
        let message = if message.is_empty() { default_message(&code) } else { &message };
        let said = match (code.as_str(), message) {
            ("", _) => format!("unexpected status: {status}"),
            (code, "") => code.to_owned(),
            (code, message) => format!("{code}: {message}"),
        };
        Self { code, said: tame(&said) }
    }
}

/// The first error of a body, as code in Docker's spelling and message.
fn reported(body: &[u8]) -> Option<(String, String)> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Report {
        code: String,
        message: String,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Reports {
        Errors {
            errors: Vec<Report>,
        },
        /// Docker's hub, of a wrong password.
        Details {
            details: String,
        },
    }
    match serde_json::from_slice(body).ok()? {
        Reports::Errors { errors } => {
            let first = errors.into_iter().next()?;
            Some((first.code.to_lowercase().replace('_', " "), first.message))
        }
        Reports::Details { details } => Some((String::new(), details)),
    }
}

/// The code of answers that carry none (`distribution`, `registry/client/errors.go`).
fn default_code(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "unauthorized",
        StatusCode::FORBIDDEN => "denied",
        StatusCode::NOT_FOUND => "not found",
        StatusCode::TOO_MANY_REQUESTS => "toomanyrequests",
        _ => "",
    }
}

/// The message of codes that come without one (`distribution`, `registry/api/errcode`).
fn default_message(code: &str) -> &'static str {
    match code {
        "unauthorized" => "authentication required",
        "denied" => "requested access to the resource is denied",
        "toomanyrequests" => "too many requests",
        "manifest unknown" => "manifest unknown",
        _ => "",
    }
}

/// A stranger's text, cut and on one line.
pub(crate) fn tame(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(MAX_SAID).collect()
}

/// An address without its query, which may hold a signature, and without a password.
pub(crate) fn plain(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // These fail only for addresses without host, which are never asked.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    tame(url.as_str())
}

/// How long the registry asks to wait. Dates are not read: no registry is known to send one.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}

/// The TLS library's error behind `error`, if there is one.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An `io::Error` shows the source of what it wraps, not what it wraps.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, time::Duration};

    use reqwest::StatusCode;
    use reqwest::header::{HeaderMap, RETRY_AFTER};

    use super::{Failure, Fault, MAX_SAID, pause, persist, plain, retry_after};
    use crate::DistributionError;

    fn said(status: u16, body: &str) -> String {
        Fault::of(StatusCode::from_u16(status).unwrap(), false, body.as_bytes()).said
    }

    #[test]
    fn what_a_registry_says_is_quoted_as_docker_does() {
        let body = concat!(
            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","#,
            r#""detail":{"Tag":"x"}}]}"#
        );
        assert_eq!(said(404, body), "manifest unknown: manifest unknown");
        assert_eq!(
            said(403, r#"{"errors":[{"code":"DENIED"}]}"#),
            "denied: requested access to the resource is denied"
        );
        assert_eq!(
            said(401, r#"{"details":"incorrect username or password"}"#),
            "unauthorized: incorrect username or password"
        );
        assert_eq!(
            said(409, r#"{"errors":[{"code":"TAG_LOCKED","message":"it is"}]}"#),
            "tag locked: it is"
        );
    }

    #[test]
    fn answers_that_are_no_report_speak_for_themselves() {
        for body in ["", "<html>", "[]", r#"{"errors":[]}"#, r#"{"errors":null}"#, "\u{0}"] {
            assert_eq!(said(401, body), "unauthorized: authentication required");
            assert_eq!(said(404, body), "not found");
            assert_eq!(said(418, body), "unexpected status: 418 I'm a teapot");
        }
        assert_eq!(said(429, ""), "toomanyrequests: too many requests");
    }

    #[test]
    fn a_registry_cannot_fill_the_screen() {
        let message = "\\u001b[2J\\n".repeat(10_000);
        let body = format!(r#"{{"errors":[{{"code":"X","message":"{message}"}}]}}"#);
        let said = said(400, &body);
        assert_eq!(said.chars().count(), MAX_SAID);
        assert!(!said.contains(char::is_control));
    }

    #[test]
    fn addresses_are_shown_without_what_may_be_secret() {
        let url = "https://ann:secret@r:5000/v2/x?sig=secret#secret".parse().unwrap();
        assert_eq!(plain(&url), "https://r:5000/v2/x");
    }

    #[test]
    fn pauses_grow_and_are_bounded() {
        for failures in 1..100 {
            let long = pause(failures, None);
            assert!(long >= Duration::from_millis(125) && long <= Duration::from_secs(8));
        }
        assert_eq!(pause(1, Some(Duration::from_secs(9))), Duration::from_secs(9));
        let headers = |value: &str| HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
        assert_eq!(retry_after(&headers("3")), Some(Duration::from_secs(3)));
        assert_eq!(retry_after(&headers("999999")), Some(Duration::from_secs(60)));
        for text in ["", "-1", "soon", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(retry_after(&headers(text)), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_counted_and_final_failures_end_them() {
        let passing = || Failure::Passing(DistributionError::NoBasicCredentials, None);
        let count = Cell::new(0);
        let failing = persist(5, || async {
            count.set(count.get() + 1);
            Err::<(), _>(if count.get() == 3 {
                Failure::Final(DistributionError::NoBasicCredentials)
            } else {
                passing()
            })
        });
        assert!(failing.await.is_err());
        assert_eq!(count.replace(0), 3);
        let hopeless = persist(4, || async {
            count.set(count.get() + 1);
            Err::<(), _>(passing())
        });
        assert!(hopeless.await.is_err());
        assert_eq!(count.get(), 4);
    }
}
