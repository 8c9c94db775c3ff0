//! Why talking to a registry failed, in Docker's words where clients match on them.

use std::{io, path::PathBuf};

use oriel_hcs::Class;
use oriel_image::Digest;

/// Why an operation on a registry failed.
///
/// Texts that end in `{said}` quote the registry, as Docker does: `denied: requested access to the
/// resource is denied`. They are bounded and hold no control characters.
#[derive(Debug, thiserror::Error)]
pub enum DistributionError {
    /// The repository has no such manifest. The text is Docker's.
    #[error("manifest for {reference} not found: {said}")]
    ManifestUnknown {
        /// The image asked for, as people write it.
        reference: String,
        /// What the registry said.
        said: String,
    },
    /// The registry has no such repository. The text is Docker's.
    #[error("repository {repository} not found: {said}")]
    RepositoryUnknown {
        /// The repository, as people write it.
        repository: String,
        /// What the registry said.
        said: String,
    },
    /// The registry does not show the repository to this user. The text is Docker's.
    #[error(
        "pull access denied for {repository}, repository does not exist or may require \
         'docker login': {said}"
    )]
    PullDenied {
        /// The repository, as people write it.
        repository: String,
        /// What the registry said.
        said: String,
    },
    /// The registry does not let this user write.
    #[error("{said}")]
    Denied {
        /// What the registry said.
        said: String,
    },
    /// The credentials are wrong, or none were given where some are needed.
    #[error("{said}")]
    Unauthorized {
        /// What the registry or its token server said.
        said: String,
    },
    /// The registry wants a user and a password, and none were given. The text is Docker's.
    #[error("no basic auth credentials")]
    NoBasicCredentials,
    /// The registry refused the credentials at log-in. The text is Docker's.
    #[error("login attempt to {url} failed with status: {status}")]
    LoginRefused {
        /// What was asked for.
        url: String,
        /// Code and name of the answer.
        status: String,
    },
    /// The registry lacks the blob.
    #[error("blob {digest} not found: {said}")]
    BlobUnknown {
        /// The blob.
        digest: Digest,
        /// What the registry said.
        said: String,
    },
    /// The registry limits how often this user may ask.
    #[error("{said}")]
    TooManyRequests {
        /// What the registry said; it begins with `toomanyrequests`.
        said: String,
    },
    /// The registry answered with another error.
    #[error("{method} \"{url}\": {said}")]
    Refused {
        /// The method of the request.
        method: String,
        /// What was asked for, without its query.
        url: String,
        /// Status code of the answer.
        status: u16,
        /// What the registry said.
        said: String,
    },
    /// No answer came, or it broke off.
    #[error("{method} \"{url}\"")]
    Unreachable {
        /// The method of the request.
        method: String,
        /// What was asked for, without its query.
        url: String,
        /// Why there is no answer.
        #[source]
        source: reqwest::Error,
    },
    /// The registry was silent for too long.
    #[error("{method} \"{url}\": no answer for {seconds} s")]
    Stalled {
        /// The method of the request.
        method: String,
        /// What was asked for, without its query.
        url: String,
        /// How long was waited.
        seconds: u64,
    },
    /// A registry that is not among the insecure ones speaks plain HTTP. The text is Docker's.
    #[error("{method} \"{url}\": http: server gave HTTP response to HTTPS client")]
    PlainHttp {
        /// The method of the request.
        method: String,
        /// What was asked for, without its query.
        url: String,
    },
    /// The answer is not what the protocol promises.
    #[error("{method} \"{url}\": {problem}")]
    Malformed {
        /// The method of the request.
        method: String,
        /// What was asked for, without its query.
        url: String,
        /// What is wrong with the answer.
        problem: String,
    },
    /// The registry sent something else than what was asked for.
    #[error("{what} has digest {found}, expected {expected}")]
    DigestMismatch {
        /// What it is, such as `manifest of nanoserver:latest`.
        what: String,
        /// The digest asked for.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// A bound on what a registry may send was exceeded.
    #[error("{what} exceeds the limit of {limit}")]
    Limit {
        /// What is too large or too many.
        what: String,
        /// The bound.
        limit: u64,
    },
    /// The image has the format of before 2016, which nothing reads any longer.
    #[error("{reference} has a schema 1 manifest, which is not supported: push it again")]
    SchemaOne {
        /// The image, as people write it.
        reference: String,
    },
    /// The manifest is of a kind that is no image.
    #[error("{reference} is no image: its manifest has the media type `{media_type}`")]
    MediaType {
        /// What was asked for, as people write it.
        reference: String,
        /// What the registry called it.
        media_type: String,
    },
    /// A tag that cannot be one.
    #[error("`{text}` is neither a tag nor a digest")]
    InvalidTag {
        /// What was given.
        text: String,
    },
    /// A setting cannot be used.
    #[error("{setting} `{value}`: {problem}")]
    Setting {
        /// Which setting, such as `registry-mirrors`.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file that says how to reach a registry cannot be read.
    #[error("cannot read {path}")]
    SettingFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS for {host}")]
    Tls {
        /// The registry.
        host: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// A blob that was to be pushed cannot be read.
    #[error("cannot read blob {digest}")]
    Source {
        /// The blob.
        digest: Digest,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl DistributionError {
    /// Whose fault it is.
    ///
    /// Docker answers [`Self::Unauthorized`], [`Self::NoBasicCredentials`] and
    /// [`Self::LoginRefused`] with 401 where [`Class::Denied`] is 403 otherwise, hence
    /// [`Self::wants_login`].
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::ManifestUnknown { .. }
            | Self::RepositoryUnknown { .. }
            | Self::PullDenied { .. }
            | Self::BlobUnknown { .. } => Class::NotFound,
            Self::Denied { .. }
            | Self::Unauthorized { .. }
            | Self::NoBasicCredentials
            | Self::LoginRefused { .. } => Class::Denied,
            Self::TooManyRequests { .. }
            | Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::Stalled { .. }
            | Self::PlainHttp { .. } => Class::Unavailable,
            Self::Malformed { .. } | Self::DigestMismatch { .. } => Class::Corrupt,
            Self::Limit { .. } | Self::InvalidTag { .. } | Self::Setting { .. } => Class::Invalid,
            Self::SchemaOne { .. } | Self::MediaType { .. } => Class::Unsupported,
            Self::SettingFile { .. } | Self::Tls { .. } | Self::Source { .. } => Class::Host,
        }
    }

    /// Whether other credentials may help.
    #[must_use]
    pub fn wants_login(&self) -> bool {
        matches!(
            self,
            Self::Unauthorized { .. } | Self::NoBasicCredentials | Self::LoginRefused { .. }
        )
    }
}
