//! One repository on one registry: manifests, tags, and what blobs there are.

use std::{error::Error, future::Future, sync::Arc};

use bytes::Bytes;
use oriel_hcs::Class;
use oriel_image::{Digest, Reference};
use reqwest::{
    Method, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, HeaderValue, LINK},
};
use serde::Deserialize;

use crate::{
    Access, Blob, BlobStream, DistributionError,
    endpoint::{Endpoint, header},
    failure::{Asked, Failure, Subject, persist},
    transport::{self, Ask, same_origin},
};

/// Media types of manifests that are understood: Docker's and OCI's, of one image and of several.
const MANIFEST_TYPES: &[&str] = &[
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
];

/// Beginning of the media types of schema 1.
const SCHEMA_ONE: &str = "application/vnd.docker.distribution.manifest.v1+";

/// Largest manifest; `distribution` takes 4 MiB, the OCI specification asks for at least that.
const MAX_MANIFEST: usize = 8 << 20;

/// Most bytes of one page of tags.
const MAX_TAGS_PAGE: usize = 4 << 20;

/// Tags wanted per page, and most pages: no repository known has a million tags.
const TAGS_PER_PAGE: &str = "1000";
const MAX_TAGS_PAGES: u64 = 1000;

/// The header with the digest of what was asked for.
pub(crate) const CONTENT_DIGEST: &str = "docker-content-digest";

/// A manifest, as the registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Digest of `bytes`.
    pub digest: Digest,
    /// One of the four media types of manifests and lists of manifests.
    pub media_type: String,
    /// The manifest, byte for byte.
    pub bytes: Bytes,
}

/// What a registry says of a manifest without sending it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
}

/// One repository with the right to pull or push. Cheap to clone.
#[derive(Clone)]
pub struct Repository {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    /// Mirrors, in the order of trial.
    pub(crate) mirrors: Vec<Endpoint>,
    /// The registry itself.
    pub(crate) server: Endpoint,
    pub(crate) reference: Reference,
    pub(crate) asked: Asked,
    pub(crate) scopes: Vec<String>,
    pub(crate) times: u32,
}

impl Inner {
    /// What a token must allow to read or write the repository `path`.
    pub(crate) fn scope(path: &str, access: Access) -> String {
        let actions = match access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        format!("repository:{path}:{actions}")
    }

    /// A path below the protocol's root: `library/nanoserver/` and `rest`.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("{}/{rest}", self.reference.path())
    }

    pub(crate) async fn send(&self, endpoint: &Endpoint, ask: &Ask) -> Result<Response, Failure> {
        endpoint.send(ask, &self.scopes).await
    }

    /// The failure that `response` reports.
    pub(crate) async fn refusal(
        &self,
        ask: &Ask,
        subject: Subject<'_>,
        response: Response,
    ) -> Failure {
        self.asked.refusal(&ask.method, subject, response).await
    }

    /// Asks mirrors first, each once, then the registry with patience.
    async fn first<'a, T, F, A>(&'a self, tag: bool, attempt: F) -> Result<T, DistributionError>
    where
        F: Fn(&'a Endpoint) -> A,
        A: Future<Output = Result<T, Failure>> + Send,
    {
        for mirror in self.mirrors.iter().filter(|mirror| mirror.resolves || !tag) {
            match attempt(mirror).await {
                Ok(value) => return Ok(value),
                Err(failure) => warn_of_mirror(mirror, &failure.into_error()),
            }
        }
        persist(self.times, || attempt(&self.server)).await
    }

    async fn fetch_manifest(
        &self,
        endpoint: &Endpoint,
        target: &Target,
    ) -> Result<Fetched, Failure> {
        let ask = self.manifest_ask(endpoint, Method::GET, target).await?;
        let mut response = self.send(endpoint, &ask).await?;
        if !response.status().is_success() {
            return Err(self.refusal(&ask, Subject::Manifest(&target.name), response).await);
        }
        let bytes = transport::body(&mut response, MAX_MANIFEST).await?;
        let found = Digest::of(&bytes);
        let announced = header(response.headers(), CONTENT_DIGEST).and_then(|d| d.parse().ok());
        if let Some(expected) = target.digest.or(announced)
            && expected != found
        {
            let what = format!("manifest of {}", target.name);
            return Err(DistributionError::DigestMismatch { what, expected, found }.into());
        }
        let content_type = header(response.headers(), CONTENT_TYPE.as_str());
        let media_type = manifest_type(&ask, target, content_type, &bytes)?;
        Ok(Fetched { digest: found, media_type, bytes })
    }

    async fn ask_head(&self, endpoint: &Endpoint, target: &Target) -> Result<Found, Failure> {
        let ask = self.manifest_ask(endpoint, Method::HEAD, target).await?;
        let response = self.send(endpoint, &ask).await?;
        if !response.status().is_success() {
            return match self.refusal(&ask, Subject::Manifest(&target.name), response).await {
                Failure::Final(DistributionError::ManifestUnknown { .. }) => Ok(Found::Nothing),
                failure => Err(failure),
            };
        }
        let headers = response.headers();
        let digest: Option<Digest> = header(headers, CONTENT_DIGEST).and_then(|d| d.parse().ok());
        let size = header(headers, "content-length").and_then(|size| size.parse().ok());
        let media_type = header(headers, CONTENT_TYPE.as_str()).map(essence);
        match (digest, size, media_type.filter(|found| MANIFEST_TYPES.contains(found))) {
            (Some(digest), Some(size), Some(media_type)) => {
                Ok(Found::Head(Head { digest, media_type: media_type.to_owned(), size }))
            }
            _ => Ok(Found::Unclear),
        }
    }

    async fn manifest_ask(
        &self,
        endpoint: &Endpoint,
        method: Method,
        target: &Target,
    ) -> Result<Ask, Failure> {
        let url = endpoint.url(&self.path(&format!("manifests/{}", target.text))).await?;
        let mut ask = Ask::new(method, url);
        for media_type in MANIFEST_TYPES {
            ask.headers.append(ACCEPT, HeaderValue::from_static(media_type));
        }
        Ok(ask)
    }

    async fn ask_blob(&self, digest: Digest) -> Result<bool, Failure> {
        let endpoint = &self.server;
        let url = endpoint.url(&self.path(&format!("blobs/{digest}"))).await?;
        let ask = Ask::new(Method::HEAD, url);
        let response = self.send(endpoint, &ask).await?;
        match response.status() {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.refusal(&ask, Subject::Blob(digest), response).await),
        }
    }

    /// One page of tags, and the request for the next.
    async fn ask_tags(&self, ask: &Ask) -> Result<(Vec<String>, Option<Ask>), Failure> {
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let mut response = self.send(&self.server, ask).await?;
        if !response.status().is_success() {
            return Err(self.refusal(ask, Subject::Other, response).await);
        }
        let body = transport::body(&mut response, MAX_TAGS_PAGE).await?;
        let page: Page =
            serde_json::from_slice(&body).map_err(|_| ask.malformed("not a list of tags"))?;
        let link = header(response.headers(), LINK.as_str()).and_then(next_link);
        let next = link.and_then(|link| response.url().join(link).ok());
        // A link to elsewhere would get the token of this registry's user.
        let next = next.filter(|next| same_origin(next, &ask.url) && *next != ask.url);
        Ok((page.tags.unwrap_or_default(), next.map(|url| Ask::new(Method::GET, url))))
    }
}

/// What a `HEAD` told.
enum Found {
    Head(Head),
    Nothing,
    /// Too little: the manifest itself has to be looked at.
    Unclear,
}

/// A tag or a digest, checked.
struct Target {
    text: String,
    digest: Option<Digest>,
    /// The image, as people write it.
    name: String,
}

impl Repository {
    pub(crate) fn new(
        mirrors: Vec<Endpoint>,
        server: Endpoint,
        reference: Reference,
        (access, times): (Access, u32),
    ) -> Self {
        let scopes = vec![Inner::scope(reference.path(), access)];
        let asked = Asked { repository: reference.familiar_repository(), access };
        let inner = Inner { mirrors, server, reference, asked, scopes, times };
        Self { inner: Arc::new(inner) }
    }

    /// Fetches the manifest `what`, a tag or a digest, and checks its digest.
    ///
    /// # Errors
    /// [`DistributionError`] of all classes.
    pub async fn manifest(&self, what: &str) -> Result<Fetched, DistributionError> {
        let (inner, target) = (&*self.inner, self.target(what)?);
        let tag = target.digest.is_none();
        inner.first(tag, |endpoint| inner.fetch_manifest(endpoint, &target)).await
    }

    /// Asks what the manifest `what` is; `None` when there is none.
    ///
    /// # Errors
    /// Those of [`Self::manifest`] but `ManifestUnknown`.
    pub async fn head_manifest(&self, what: &str) -> Result<Option<Head>, DistributionError> {
        let (inner, target) = (&*self.inner, self.target(what)?);
        let tag = target.digest.is_none();
        match inner.first(tag, |endpoint| inner.ask_head(endpoint, &target)).await? {
            Found::Head(head) => Ok(Some(head)),
            Found::Nothing => Ok(None),
            Found::Unclear => match self.manifest(what).await {
                Ok(Fetched { digest, media_type, bytes }) => {
                    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                    Ok(Some(Head { digest, media_type, size }))
                }
                Err(DistributionError::ManifestUnknown { .. }) => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    /// Begins to fetch `blob` at `offset`. Nothing is sent before the first
    /// [`chunk`](BlobStream::chunk).
    #[must_use]
    pub fn blob(&self, blob: Blob, offset: u64) -> BlobStream {
        BlobStream::new(self.clone(), blob, offset)
    }

    /// Whether the registry has the blob in this repository.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn has_blob(&self, digest: Digest) -> Result<bool, DistributionError> {
        persist(self.inner.times, || self.inner.ask_blob(digest)).await
    }

    /// All tags, sorted: not every registry does it.
    ///
    /// # Errors
    /// [`DistributionError::Limit`] when there are absurdly many.
    pub async fn tags(&self) -> Result<Vec<String>, DistributionError> {
        let inner = &*self.inner;
        let first = || async {
            let mut url = inner.server.url(&inner.path("tags/list")).await?;
            url.query_pairs_mut().append_pair("n", TAGS_PER_PAGE);
            Ok(Ask::new(Method::GET, url))
        };
        let mut ask = persist(inner.times, first).await?;
        let mut tags = Vec::new();
        for _ in 0..MAX_TAGS_PAGES {
            let (page, next) = persist(inner.times, || inner.ask_tags(&ask)).await?;
            tags.extend(page);
            match next {
                Some(next) => ask = next,
                None => {
                    tags.sort();
                    return Ok(tags);
                }
            }
        }
        Err(DistributionError::Limit { what: "the list of tags".to_owned(), limit: MAX_TAGS_PAGES })
    }

    /// Reads `what` as a tag or a digest.
    fn target(&self, what: &str) -> Result<Target, DistributionError> {
        let repository = &self.inner.asked.repository;
        let text = what.to_owned();
        if let Ok(digest) = what.parse() {
            return Ok(Target { text, digest: Some(digest), name: format!("{repository}@{what}") });
        }
        if self.inner.reference.with_tag(what).is_err() {
            return Err(DistributionError::InvalidTag { text: text.chars().take(200).collect() });
        }
        Ok(Target { text, digest: None, name: format!("{repository}:{what}") })
    }

    /// Checks that `what` can name a manifest, and returns what to put into an address.
    pub(crate) fn manifest_path(&self, what: &str) -> Result<String, DistributionError> {
        let target = self.target(what)?;
        Ok(self.inner.path(&format!("manifests/{}", target.text)))
    }
}

/// Tells that a mirror is of no use: to the operator, unless it merely lacks the thing.
pub(crate) fn warn_of_mirror(mirror: &Endpoint, failure: &DistributionError) {
    let (mirror, error) = (mirror.name(), failure as &(dyn Error + 'static));
    if failure.class() == Class::NotFound {
        tracing::debug!(mirror, error, "a mirror lacks it, asking the next registry");
    } else {
        tracing::warn!(mirror, error, "a mirror failed, asking the next registry");
    }
}

/// The media type of a manifest, which its header and its text must agree on.
fn manifest_type(
    ask: &Ask,
    target: &Target,
    content_type: Option<&str>,
    bytes: &[u8],
) -> Result<String, DistributionError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Versioned {
        schema_version: Option<u32>,
        media_type: Option<String>,
    }
    let told = content_type.map(essence).filter(|told| !told.is_empty());
    let reference = || target.name.clone();
    if told.is_some_and(|told| told.starts_with(SCHEMA_ONE)) {
        return Err(DistributionError::SchemaOne { reference: reference() });
    }
    let body: Versioned =
        serde_json::from_slice(bytes).map_err(|_| ask.malformed("the manifest is not JSON"))?;
    if body.schema_version == Some(1) {
        return Err(DistributionError::SchemaOne { reference: reference() });
    }
    let known = |media_type: &&str| MANIFEST_TYPES.contains(media_type);
    let own = body.media_type.as_deref();
    match (told.filter(known), own) {
        // Two readings of one manifest are an attack (CVE-2021-41190).
        (Some(told), Some(own)) if told != own => {
            let problem = format!("the manifest is a `{own}` and not a `{told}` as announced");
            Err(ask.malformed(crate::failure::tame(&problem)))
        }
        (Some(told), _) => Ok(told.to_owned()),
        (None, Some(own)) if known(&own) => Ok(own.to_owned()),
        (None, own) => {
            let media_type = crate::failure::tame(own.or(told).unwrap_or_default());
            Err(DistributionError::MediaType { reference: reference(), media_type })
        }
    }
}

/// A media type without its parameters.
fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// The address of `rel="next"` in a `Link` header (RFC 8288).
fn next_link(text: &str) -> Option<&str> {
    text.split(',').find_map(|link| {
        let (address, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let next = |parameter: &str| {
            let parameter = parameter.trim().to_ascii_lowercase();
            parameter == "rel=next" || parameter == "rel=\"next\""
        };
        parameters.split(';').any(next).then_some(address)
    })
}

#[cfg(test)]
mod tests {
    use reqwest::{Method, Url};

    use super::{Ask, MANIFEST_TYPES, Target, manifest_type, next_link};

    fn type_of(content_type: Option<&str>, body: &str) -> Result<String, String> {
        let ask = Ask::new(Method::GET, Url::parse("https://r/v2/x").unwrap());
        let target = Target { text: "1".to_owned(), digest: None, name: "x:1".to_owned() };
        let result = manifest_type(&ask, &target, content_type, body.as_bytes());
        result.map_err(|error| error.to_string())
    }

    #[test]
    fn media_types_come_from_the_header_or_else_from_the_manifest() {
        let [docker, _, oci, _] = MANIFEST_TYPES else { panic!() };
        let body = |media_type| format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}"}}"#);
        assert_eq!(type_of(Some(docker), &body(docker)).unwrap(), **docker);
        let parameter = format!("{oci}; charset=utf-8");
        assert_eq!(type_of(Some(&parameter), r#"{"schemaVersion":2}"#).unwrap(), **oci);
        assert_eq!(type_of(Some("application/json"), &body(oci)).unwrap(), **oci);
        assert_eq!(type_of(None, &body(docker)).unwrap(), **docker);
    }

    #[test]
    fn a_manifest_that_is_two_things_is_refused() {
        let [docker, _, _, index] = MANIFEST_TYPES else { panic!() };
        let body = format!(r#"{{"mediaType":"{index}"}}"#);
        let error = type_of(Some(docker), &body).unwrap_err();
        assert!(error.ends_with("as announced"), "{error}");
    }

    #[test]
    fn schema_one_is_refused_by_name() {
        let text = "x:1 has a schema 1 manifest, which is not supported: push it again";
        let signed = "application/vnd.docker.distribution.manifest.v1+prettyjws";
        assert_eq!(type_of(Some(signed), "").unwrap_err(), text);
        assert_eq!(type_of(None, r#"{"schemaVersion":1}"#).unwrap_err(), text);
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let text = "x:1 is no image: its manifest has the media type `text/html`";
        assert_eq!(type_of(Some("text/html"), "{}").unwrap_err(), text);
        assert!(type_of(None, "<html>").unwrap_err().ends_with("not JSON"));
    }

    #[test]
    fn links_are_read() {
        let link = r#"</v2/x/tags/list?last=b&n=2>; rel="next""#;
        assert_eq!(next_link(link), Some("/v2/x/tags/list?last=b&n=2"));
        assert_eq!(next_link("</a>; rel=prev, </b>; rel=next"), Some("/b"));
        for text in ["", "</a>", "<", "</a>; rel=prev", "/a; rel=next"] {
            assert_eq!(next_link(text), None);
        }
    }
}
