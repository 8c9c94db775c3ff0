//! Blobs and manifests on their way out.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use oriel_image::Digest;
use reqwest::{
    Body, Method, RequestBuilder, Response, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION},
};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::io::ReaderStream;

use crate::{
    DistributionError, Repository,
    endpoint::header,
    failure::{Failure, Subject, persist},
    repository::{CONTENT_DIGEST, Inner},
    transport::{Ask, IDLE, is_web, same_origin, stalled},
};

/// How much is read of a blob at a time.
const PIECE: usize = 256 << 10;

impl Repository {
    /// Asks the registry to take the blob from its repository `from`, such as `library/nanoserver`;
    /// `false` when it wants it uploaded instead.
    ///
    /// # Errors
    /// When the registry allows neither.
    pub async fn mount_blob(&self, digest: Digest, from: &str) -> Result<bool, DistributionError> {
        persist(self.inner.times, || self.inner.mount(digest, from)).await
    }

    /// Uploads a blob of `size` bytes. `open` gives a reader at its beginning, for each attempt
    /// anew; `progress` is told how many bytes of the current attempt were handed to the network.
    /// Dropping the future ends the transfer; the registry forgets what it has of it.
    ///
    /// # Errors
    /// [`DistributionError::Source`] when the reader fails; otherwise the registry's refusal.
    pub async fn push_blob<R: AsyncRead + Send + 'static>(
        &self,
        digest: Digest,
        size: u64,
        open: impl Fn() -> io::Result<R> + Send + Sync,
        progress: impl Fn(u64) + Clone + Send + Sync + 'static,
    ) -> Result<(), DistributionError> {
        let unreadable = |source| DistributionError::Source { digest, source };
        persist(self.inner.times, || async {
            let reader = open().map_err(unreadable)?;
            let upload = Upload::new(reader, size, progress.clone());
            self.inner.upload(digest, upload).await
        })
        .await
    }

    /// Writes a manifest under `what`, a tag or its digest, and returns its digest.
    ///
    /// # Errors
    /// The registry's refusal.
    pub async fn push_manifest(
        &self,
        what: &str,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<Digest, DistributionError> {
        let path = self.manifest_path(what)?;
        let kind = HeaderValue::from_str(media_type).map_err(|_| DistributionError::MediaType {
            reference: what.to_owned(),
            media_type: media_type.to_owned(),
        })?;
        persist(self.inner.times, || self.inner.put_manifest(&path, &kind, &bytes)).await
    }
}

impl Inner {
    async fn mount(&self, digest: Digest, from: &str) -> Result<bool, Failure> {
        let mut ask = self.upload_ask().await?;
        let text = digest.to_string();
        ask.url.query_pairs_mut().append_pair("mount", &text).append_pair("from", from);
        let mut scopes = self.scopes.clone();
        scopes.push(Self::scope(from, crate::Access::Pull));
        let response = self.server.send(&ask, &scopes).await?;
        match response.status() {
            StatusCode::CREATED => Ok(true),
            StatusCode::ACCEPTED => {
                self.abandon(&ask, &response).await;
                Ok(false)
            }
            _ => Err(self.refusal(&ask, Subject::Other, response).await),
        }
    }

    /// Ends an upload that nobody wants. The registry forgets it sooner or later in any case.
    async fn abandon(&self, ask: &Ask, response: &Response) {
        let Ok(location) = location(ask, response) else { return };
        if !same_origin(&location, &ask.url) {
            return;
        }
        let gone = self.send(&self.server, &Ask::new(Method::DELETE, location)).await;
        if let Err(failure) = gone {
            let error = failure.into_error();
            tracing::debug!(%error, "an upload that is not needed stays open");
        }
    }

    async fn upload_ask(&self) -> Result<Ask, Failure> {
        let url = self.server.url(&self.path("blobs/uploads/")).await?;
        let mut ask = Ask::new(Method::POST, url);
        // Some registries want it said that there is no body.
        ask.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        Ok(ask)
    }

    /// One upload: `POST` opens it, one `PUT` carries all bytes.
    async fn upload(&self, digest: Digest, upload: Upload) -> Result<(), Failure> {
        let ask = self.upload_ask().await?;
        let opened = self.send(&self.server, &ask).await?;
        if opened.status() != StatusCode::ACCEPTED {
            return Err(self.refusal(&ask, Subject::Blob(digest), opened).await);
        }
        let mut url = location(&ask, &opened)?;
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let client = if same_origin(&url, &ask.url) {
            self.server.client.clone()
        } else {
            self.server.transport.client_for(&url).await?
        };
        let mut request = client.put(url.clone());
        if same_origin(&url, &ask.url)
            && let Some(authorization) = self.server.authorization(&self.scopes).await?
        {
            request = request.header(AUTHORIZATION, authorization);
        }
        let put = Ask::new(Method::PUT, url);
        let response = upload.send(request, &put, digest).await?;
        match response.status() {
            StatusCode::CREATED | StatusCode::NO_CONTENT => Ok(()),
            // The token ran out on the way: the next attempt begins with a fresh one.
            StatusCode::UNAUTHORIZED => {
                let refusal = self.refusal(&put, Subject::Blob(digest), response).await;
                Err(Failure::Passing(refusal.into_error(), None))
            }
            _ => Err(self.refusal(&put, Subject::Blob(digest), response).await),
        }
    }

    async fn put_manifest(
        &self,
        path: &str,
        kind: &HeaderValue,
        bytes: &Bytes,
    ) -> Result<Digest, Failure> {
        let mut ask = Ask::new(Method::PUT, self.server.url(path).await?);
        ask.headers.insert(CONTENT_TYPE, kind.clone());
        ask.body = bytes.clone();
        let response = self.send(&self.server, &ask).await?;
        if !response.status().is_success() {
            return Err(self.refusal(&ask, Subject::Other, response).await);
        }
        let expected = Digest::of(bytes);
        let found = header(response.headers(), CONTENT_DIGEST).and_then(|text| text.parse().ok());
        match found {
            Some(found) if found != expected => {
                let what = "the manifest as the registry has it".to_owned();
                Err(DistributionError::DigestMismatch { what, expected, found }.into())
            }
            _ => Ok(expected),
        }
    }
}

/// Where the registry wants an upload.
fn location(ask: &Ask, response: &Response) -> Result<Url, DistributionError> {
    let text = header(response.headers(), LOCATION.as_str());
    let url = text.and_then(|text| response.url().join(text).ok()).filter(is_web);
    url.ok_or_else(|| ask.malformed("the registry does not say where to upload to"))
}

/// A blob's bytes on their way to the network, and what is known of them.
struct Upload {
    body: Body,
    size: u64,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    sent: AtomicU64,
    failed: Mutex<Option<io::Error>>,
}

impl State {
    /// Counts bytes that left, and returns how many have.
    fn count(&self, length: usize) -> u64 {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        self.sent.fetch_add(length, Ordering::Relaxed) + length
    }

    /// Keeps the reader's error, which the HTTP library would wrap beyond recognition.
    fn fail(&self, error: io::Error) -> io::Error {
        let kind = error.kind();
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).replace(error);
        kind.into()
    }
}

impl Upload {
    fn new<R: AsyncRead + Send + 'static>(
        reader: R,
        size: u64,
        progress: impl Fn(u64) + Send + Sync + 'static,
    ) -> Self {
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        let pieces = ReaderStream::with_capacity(reader.take(size), PIECE);
        let pieces = pieces.map(move |piece| {
            let bytes = piece.map_err(|error| shared.fail(error))?;
            progress(shared.count(bytes.len()));
            Ok(bytes)
        });
        let shared = Arc::clone(&state);
        let end = stream::once(async move {
            let sent = shared.sent.load(Ordering::Relaxed);
            let short = || io::Error::new(io::ErrorKind::UnexpectedEof, "the blob is cut short");
            if sent == size { Ok(Bytes::new()) } else { Err(shared.fail(short())) }
        });
        let body = Body::wrap_stream(pieces.chain(end));
        Self { body, size, state }
    }

    /// Sends `request` with the bytes. Silence is an error only while no byte moves.
    async fn send(
        self,
        request: RequestBuilder,
        put: &Ask,
        digest: Digest,
    ) -> Result<Response, Failure> {
        let Self { body, size, state } = self;
        let kind = HeaderValue::from_static("application/octet-stream");
        let request = request.header(CONTENT_LENGTH, size).header(CONTENT_TYPE, kind).body(body);
        let source = match tokio::select! {
            answer = request.send() => answer,
            () = silence(&state) => return Err(stalled(&put.method, &put.url, IDLE)),
        } {
            Ok(response) => return Ok(response),
            Err(source) => source,
        };
        let unreadable = |source| DistributionError::Source { digest, source };
        if let Some(source) = state.failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(unreadable(source).into());
        }
        Err(Failure::of_transport(&put.method, &put.url, source))
    }
}

/// Returns when no byte has moved for a while.
async fn silence(state: &State) {
    let mut before = u64::MAX;
    loop {
        let sent = state.sent.load(Ordering::Relaxed);
        if sent == before {
            return;
        }
        before = sent;
        tokio::time::sleep(IDLE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep, timeout};

    use super::{IDLE, State, silence};

    #[tokio::test(start_paused = true)]
    async fn an_upload_is_silent_when_no_byte_has_moved_for_a_while() {
        let state = State::default();
        let moving = async {
            for _ in 0..10 {
                sleep(IDLE / 2).await;
                state.count(1);
            }
        };
        assert!(timeout(IDLE * 4, silence(&state)).await.is_ok());
        let begin = Instant::now();
        tokio::join!(moving, silence(&state));
        let took = begin.elapsed();
        assert!(took >= IDLE * 5 && took <= IDLE * 7 + Duration::from_secs(1), "{took:?}");
    }
}
