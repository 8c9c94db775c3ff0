//! Blobs on their way in.
//!
//! ```text
//! mirrors ─▶ registry ─▶ urls of a foreign layer        each when the one before refuses
//!            │  connection breaks: again from where it broke, up to `max_attempts` times
//!            └─ per MiB that arrived, so that a bad line is ridden out and a hostile one is not
//! ```

use bytes::{Buf, Bytes};
use oriel_image::Digest;
use reqwest::{
    Method, Response, StatusCode, Url,
    header::{CONTENT_RANGE, HeaderValue, RANGE},
};

use crate::{
    DistributionError, Repository,
    endpoint::header,
    failure::{Failure, Subject, pause},
    repository::warn_of_mirror,
    transport::{self, Ask, is_web},
};

/// How much has to arrive before failures are forgotten.
const PROGRESS: u64 = 1 << 20;

/// Most addresses of a foreign layer that are tried.
const MAX_URLS: usize = 8;

/// A blob to fetch: what a manifest's descriptor says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Its digest. The caller compares.
    pub digest: Digest,
    /// Its size in bytes. No more is ever handed out.
    pub size: u64,
    /// Where else a foreign layer may be had. Only `http` and `https` are followed.
    pub urls: Vec<String>,
}

/// The bytes of a blob, as they come. Dropping it ends the transfer.
pub struct BlobStream {
    repository: Repository,
    blob: Blob,
    position: u64,
    body: Option<Body>,
    /// Which source is in use: mirrors, then the registry, then `urls`.
    source: usize,
    failures: u32,
    failed_at: u64,
    /// What the registry said, before its substitutes were asked.
    refusal: Option<DistributionError>,
}

/// A body under way.
struct Body {
    response: Response,
    /// Bytes to pass over, of a server that began at zero.
    skip: u64,
}

impl BlobStream {
    pub(crate) fn new(repository: Repository, blob: Blob, offset: u64) -> Self {
        Self {
            repository,
            blob,
            position: offset,
            body: None,
            source: 0,
            failures: 0,
            failed_at: offset,
            refusal: None,
        }
    }

    /// How much of the blob has been handed out, the offset it began at included.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next bytes; `None` when `size` is reached. Resumes by itself where a connection broke.
    /// The bytes are not verified: the caller has the digest. Cancel safe.
    ///
    /// # Errors
    /// When the last attempt at the last source failed. The stream is of no use then.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, DistributionError> {
        while self.position < self.blob.size {
            match self.advance().await {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Ok(Some(bytes)),
                Err(failure) => {
                    self.body = None;
                    self.recover(failure).await?;
                }
            }
        }
        Ok(None)
    }

    /// Bytes of the body under way, which is begun when there is none.
    async fn advance(&mut self) -> Result<Bytes, Failure> {
        if self.body.is_none() {
            self.body = Some(self.open().await?);
        }
        let Some(body) = &mut self.body else { return Ok(Bytes::new()) };
        let Some(mut bytes) = transport::chunk(&mut body.response).await? else {
            let error = self.malformed("the blob ends too early");
            return Err(Failure::Passing(error, None));
        };
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let skipped = body.skip.min(length);
        body.skip -= skipped;
        bytes.advance(usize::try_from(skipped).unwrap_or(bytes.len()));
        if self.blob.size - self.position < length - skipped {
            return Err(self.malformed("the blob is longer than announced").into());
        }
        self.position += length - skipped;
        Ok(bytes)
    }

    /// Decides what follows a failure: another try, another source, or the end.
    async fn recover(&mut self, failure: Failure) -> Result<(), DistributionError> {
        let inner = &self.repository.inner;
        let mirror = inner.mirrors.get(self.source);
        if self.position - self.failed_at >= PROGRESS {
            self.failures = 0;
        }
        self.failed_at = self.position;
        self.failures += 1;
        match failure {
            // A mirror gets one chance: there is a registry behind it.
            Failure::Passing(error, after) if mirror.is_none() && self.failures < inner.times => {
                tracing::debug!(%error, self.failures, "a blob's transfer broke off");
                tokio::time::sleep(pause(self.failures, after)).await;
                return Ok(());
            }
            failure => {
                let error = failure.into_error();
                match mirror {
                    Some(mirror) => warn_of_mirror(mirror, &error),
                    None => {
                        self.refusal.get_or_insert(error);
                    }
                }
            }
        }
        self.source += 1;
        self.failures = 0;
        let sources = inner.mirrors.len() + 1 + self.blob.urls.len().min(MAX_URLS);
        match self.refusal.take() {
            Some(error) if self.source >= sources => Err(error),
            refusal => {
                self.refusal = refusal;
                Ok(())
            }
        }
    }

    async fn open(&self) -> Result<Body, Failure> {
        let inner = &self.repository.inner;
        let sources = inner.mirrors.iter().chain([&inner.server]);
        let (ask, response) = match sources.into_iter().nth(self.source) {
            Some(endpoint) => {
                let path = inner.path(&format!("blobs/{}", self.blob.digest));
                let ask = self.ranged(endpoint.url(&path).await?);
                let response = inner.send(endpoint, &ask).await?;
                (ask, response)
            }
            None => self.open_foreign().await?,
        };
        let status = response.status();
        if !matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
            return Err(self.refuse(&ask, response).await);
        }
        let skip = if status == StatusCode::OK { self.position } else { 0 };
        if skip == 0 && status == StatusCode::PARTIAL_CONTENT && !self.continues(&response) {
            return Err(ask.malformed("the registry sent another range than asked for").into());
        }
        Ok(Body { response, skip })
    }

    /// Asks an address out of the manifest. Whoever wrote the manifest chose it: it gets neither
    /// credentials nor a word of its answer into an error.
    async fn open_foreign(&self) -> Result<(Ask, Response), Failure> {
        let inner = &self.repository.inner;
        let index = self.source - inner.mirrors.len() - 1;
        let text = self.blob.urls.get(index).map(String::as_str).unwrap_or_default();
        let mut url = Url::parse(text).ok().filter(is_web).ok_or_else(|| {
            self.malformed("a foreign layer has an address that is neither http nor https")
        })?;
        // An address with a password in it is an address without.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let transport = &inner.server.transport;
        let ask = self.ranged(url);
        let client = transport.client_for(&ask.url).await?;
        let response = transport.follow(&client, &ask, None).await?;
        Ok((ask, response))
    }

    fn ranged(&self, url: Url) -> Ask {
        let mut ask = Ask::new(Method::GET, url);
        let range = HeaderValue::from_str(&format!("bytes={}-", self.position));
        if let Ok(range) = range
            && self.position > 0
        {
            ask.headers.insert(RANGE, range);
        }
        ask
    }

    async fn refuse(&self, ask: &Ask, response: Response) -> Failure {
        let inner = &self.repository.inner;
        let subject = Subject::Blob(self.blob.digest);
        if self.source <= inner.mirrors.len() {
            return inner.refusal(ask, subject, response).await;
        }
        let status = response.status();
        let error = ask.malformed(format!("unexpected status: {status}"));
        match status.is_server_error() {
            true => Failure::Passing(error, None),
            false => Failure::Final(error),
        }
    }

    /// Whether `response` goes on at the position.
    fn continues(&self, response: &Response) -> bool {
        let range = header(response.headers(), CONTENT_RANGE.as_str()).unwrap_or_default();
        let start = range.strip_prefix("bytes ").and_then(|range| range.split_once('-'));
        start.and_then(|(start, _)| start.parse().ok()) == Some(self.position)
    }

    fn malformed(&self, problem: &str) -> DistributionError {
        let url = self.body.as_ref().map(|body| body.response.url());
        let url = url.unwrap_or(&self.repository.inner.server.root);
        Ask::new(Method::GET, url.clone()).malformed(problem)
    }
}
