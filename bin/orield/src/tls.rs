//! TLS for TCP: who the daemon is, and which clients it serves.
//!
//! A client is served when its certificate was signed by one of the authorities in `tlscacert`, as
//! with dockerd's `tlsverify`. HTTP/1.1 is the only protocol offered, because connections of
//! attach and exec are taken over, which later versions have no way for.

use std::{io, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{connections::Held, listen::Stream, options::Files};

/// How long a handshake may take; those of clients at the end of the world take two seconds.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What Go's HTTP server, and so dockerd, tells a client that does not encrypt (`net/http`,
/// `server.go`).
const PLAIN_CLIENT: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// First byte of a TLS handshake (RFC 8446, section 5.1: `ContentType`).
const RECORD: u8 = 22;

/// Bytes that are taken from such a client before it is left alone.
const REST: u64 = 64 << 10;

/// An encrypted connection.
type Secured<S> = TlsStream<Held<S>>;

/// Encrypts connections of a listener.
#[derive(Clone)]
pub(crate) struct Acceptor(TlsAcceptor);

impl Acceptor {
    /// Reads certificate, key and authorities; without authorities every client is served.
    ///
    /// # Errors
    /// When a file cannot be read, or certificate and key do not belong together.
    pub(crate) fn new(files: &Files, authority: Option<&Path>) -> anyhow::Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = certificates(&files.certificate, "tlscert")?;
        let key = PrivateKeyDer::from_pem_slice(&read(&files.key, "tlskey")?)
            .with_context(|| format!("tlskey: {} holds no private key", files.key.display()))?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .context("cannot prepare TLS")?;
        let builder = match authority {
            Some(path) => builder.with_client_cert_verifier(verifier(path, provider)?),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).with_context(|| {
            let (certificate, key) = (files.certificate.display(), files.key.display());
            format!("cannot use tlscert {certificate} with tlskey {key}")
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Shakes hands, within a bounded time.
    ///
    /// # Errors
    /// When the client shows no good certificate, speaks something else, or is silent.
    pub(crate) async fn accept<S: Stream>(&self, stream: Held<S>) -> io::Result<Secured<S>> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no handshake in time");
        timeout(HANDSHAKE, self.shake(stream)).await.map_err(late)?
    }

    async fn shake<S: Stream>(&self, mut stream: Held<S>) -> io::Result<Secured<S>> {
        let first = stream.read_u8().await?;
        if first == RECORD {
            stream.put_back(first);
            return self.0.accept(stream).await;
        }
        stream.write_all(PLAIN_CLIENT).await?;
        stream.shutdown().await?;
        // Who hangs up on what was not read yet takes back what was said.
        tokio::io::copy(&mut stream.take(REST), &mut tokio::io::sink()).await?;
        Err(io::Error::new(io::ErrorKind::InvalidData, "the client does not encrypt"))
    }
}

fn verifier(
    path: &Path,
    provider: Arc<CryptoProvider>,
) -> anyhow::Result<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, "tlscacert")? {
        roots
            .add(certificate)
            .with_context(|| format!("tlscacert: cannot use {}", path.display()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .with_context(|| format!("tlscacert: cannot use {}", path.display()))
}

fn certificates(path: &Path, name: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let pem = read(path, name)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .with_context(|| format!("{name}: cannot read {}", path.display()))?;
    if certificates.is_empty() {
        bail!("{name}: {} holds no certificate", path.display());
    }
    Ok(certificates)
}

fn read(path: &Path, name: &str) -> anyhow::Result<Vec<u8>> {
    fs_err::read(path).with_context(|| name.to_owned())
}
