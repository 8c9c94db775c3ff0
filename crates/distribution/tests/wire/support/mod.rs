//! Registries to test against: Debian's real one, and one that does as it is told.

mod fake;
mod proxy;
mod real;

pub(crate) use fake::{Fake, Seen, body, reply};
pub(crate) use proxy::{ConnectProxy, CutProxy, Direction};
pub(crate) use real::{Authority, RealRegistry};

use std::path::PathBuf;

use bytes::Bytes;
use oriel_distribution::{
    Access, Blob, BlobStream, Credentials, DistributionError, Proxy, Registries, RegistryOptions,
    Repository,
};
use oriel_image::{Digest, Reference};

/// Media type of the manifests in these tests.
pub(crate) const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Options that depend on nothing of the machine.
pub(crate) fn options() -> RegistryOptions {
    RegistryOptions {
        mirrors: Vec::new(),
        insecure: Vec::new(),
        certs_dirs: Vec::new(),
        proxy: Proxy::default(),
        max_attempts: 3,
        ..RegistryOptions::default()
    }
}

/// The same with a `certs.d`.
pub(crate) fn options_with(certs: PathBuf) -> RegistryOptions {
    RegistryOptions { certs_dirs: vec![certs], ..options() }
}

pub(crate) fn ann() -> Credentials {
    Credentials {
        username: "ann".to_owned(),
        password: "secret".to_owned(),
        ..Credentials::default()
    }
}

pub(crate) async fn open(options: RegistryOptions, name: &str, access: Access) -> Repository {
    open_as(options, name, access, &Credentials::default()).await
}

pub(crate) async fn open_as(
    options: RegistryOptions,
    name: &str,
    access: Access,
    credentials: &Credentials,
) -> Repository {
    let registries = Registries::new(options).unwrap();
    let reference = Reference::parse(name).unwrap();
    registries.repository(&reference, credentials, access).await.unwrap()
}

/// Bytes that compress badly and differ everywhere.
pub(crate) fn noise(length: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

pub(crate) fn blob_of(bytes: &[u8]) -> Blob {
    Blob { digest: Digest::of(bytes), size: u64::try_from(bytes.len()).unwrap(), urls: Vec::new() }
}

/// Reads a stream to its end.
pub(crate) async fn drain(mut stream: BlobStream) -> Result<Vec<u8>, DistributionError> {
    let mut all = Vec::new();
    while let Some(bytes) = stream.chunk().await? {
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

pub(crate) async fn push(
    repository: &Repository,
    bytes: &Bytes,
) -> Result<Digest, DistributionError> {
    let blob = blob_of(bytes);
    let open = || Ok(std::io::Cursor::new(bytes.clone()));
    repository.push_blob(blob.digest, blob.size, open, |_| ()).await?;
    Ok(blob.digest)
}

/// A manifest of one blob, which is its configuration too.
pub(crate) fn manifest_of(bytes: &[u8]) -> Bytes {
    let (digest, size) = (Digest::of(bytes), bytes.len());
    let descriptor = |kind: &str| {
        let media_type = format!("application/vnd.docker.{kind}");
        format!(r#"{{"mediaType":"{media_type}","size":{size},"digest":"{digest}"}}"#)
    };
    let config = descriptor("container.image.v1+json");
    let layer = descriptor("image.rootfs.diff.tar.gzip");
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":[{layer}]}}"#
    )
    .into()
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text += &format!(": {cause}");
        next = cause.source();
    }
    text
}
