//! TLS towards a daemon on TCP: whom to believe, and who one is.

use std::{path::Path, sync::Arc};

use anyhow::{Context, bail};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::dial::Socket;

/// Certificates and keys, as PEM.
#[derive(Clone, Default)]
pub(crate) struct TlsMaterial {
    /// Authorities that may vouch for the daemon; without them nobody is asked who it is.
    pub(crate) authority: Option<Vec<u8>>,
    /// This client's certificate and its key.
    pub(crate) identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// Encrypts connections.
#[derive(Clone)]
pub(crate) struct Tls(TlsConnector);

impl TlsMaterial {
    /// Reads `ca.pem`, `cert.pem` and `key.pem` of a directory, as far as they are there.
    ///
    /// # Errors
    /// When one cannot be read, or there is a certificate without its key.
    pub(crate) fn in_directory(directory: &Path) -> anyhow::Result<Self> {
        let [authority, certificate, key] =
            ["ca.pem", "cert.pem", "key.pem"].map(|name| directory.join(name));
        let here = |path: &Path| path.exists().then(|| path.to_owned());
        Self::read(
            here(&authority).as_deref(),
            here(&certificate).as_deref(),
            here(&key).as_deref(),
        )
    }

    /// Reads the files that are given.
    ///
    /// # Errors
    /// As [`TlsMaterial::in_directory`].
    pub(crate) fn read(
        authority: Option<&Path>,
        certificate: Option<&Path>,
        key: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let authority = authority.map(fs_err::read).transpose()?;
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => {
                Some((fs_err::read(certificate)?, fs_err::read(key)?))
            }
            (None, None) => None,
            _ => bail!("a certificate needs its key: give both --tlscert and --tlskey"),
        };
        Ok(Self { authority, identity })
    }
}

impl Tls {
    /// # Errors
    /// When certificates or keys are not what they should be.
    pub(crate) fn new(material: &TlsMaterial) -> anyhow::Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?;
        let builder = match &material.authority {
            Some(pem) => builder.with_root_certificates(roots(pem)?),
            None => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone { provider }))
            }
        };
        let mut config = match &material.identity {
            Some((certificate, key)) => {
                let chain = certificates(certificate)?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .context("the file of --tlskey holds no private key in PEM")?;
                let made = builder.with_client_auth_cert(chain, key);
                made.context("the certificate of --tlscert does not fit the key of --tlskey")?
            }
            None => builder.with_no_client_auth(),
        };
        // Connections are taken over, which later versions of HTTP have no way for.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Shakes hands with `host`.
    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> anyhow::Result<Box<dyn Socket>> {
        let name = ServerName::try_from(host.to_owned())
            .with_context(|| format!("{host:?} is no host name that a certificate can be for"))?;
        let stream = self.0.connect(name, stream).await.with_context(|| {
            format!("cannot speak TLS with {host}; look at --tlscacert, --tlscert and --tlskey")
        })?;
        Ok(Box::new(stream))
    }
}

fn roots(pem: &[u8]) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).context("an authority of --tlscacert is not understood")?;
    }
    Ok(roots)
}

fn certificates(pem: &[u8]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let list: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .context("a certificate is not valid PEM")?;
    if list.is_empty() {
        bail!("a file that should hold certificates in PEM holds none");
    }
    Ok(list)
}

/// Takes any daemon's word for who it is: Docker's `--tls` without `--tlsverify`.
#[derive(Debug)]
struct Anyone {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused() {
        let material = TlsMaterial { authority: Some(b"nonsense".to_vec()), identity: None };
        let error = Tls::new(&material).err().unwrap().to_string();
        assert!(error.contains("holds none"), "{error}");
        assert!(Tls::new(&TlsMaterial::default()).is_ok());
    }

    #[test]
    fn a_certificate_needs_its_key() {
        let certificate = Some(Path::new("/nowhere/cert.pem"));
        assert!(TlsMaterial::read(None, certificate, None).is_err());
    }
}
