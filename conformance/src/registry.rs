//! Debian's `docker-registry` on loopback.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

/// It listens within a fraction of a second.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// How a registry lets people in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Plain HTTP, for everybody. Manifests may name layers that are elsewhere.
    Open,
    /// TLS with a certificate of its own, and the user `ann` with the password `secret`.
    Guarded,
}

/// A running registry. Dropping it ends it and removes what it holds.
pub struct Registry {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Registry {
    /// Starts a registry on a free port.
    ///
    /// # Errors
    /// When the program is missing or does not listen in time.
    pub fn start(door: Door) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("oriel-registry-").tempdir()?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let root = directory.path();
        let mut config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: \
             {root}/data}}, delete: {{enabled: true}}}}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            root = root.display()
        );
        match door {
            Door::Open => config += "validation: {manifests: {urls: {allow: ['^https://']}}}\n",
            Door::Guarded => {
                certificate(root)?;
                password(root)?;
                config += &format!(
                    "  tls: {{certificate: {root}/cert.pem, key: {root}/key.pem}}\nauth: \
                     {{htpasswd: {{realm: oriel, path: {root}/htpasswd}}}}\n",
                    root = root.display()
                );
            }
        }
        fs_err::write(root.join("config.yml"), config)?;
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(root.join("config.yml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start docker-registry")?;
        let registry = Self { child, port, directory };
        registry.await_port()?;
        Ok(registry)
    }

    /// Host and port, as they stand in an image's name.
    #[must_use]
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The certificate of a guarded registry.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("cert.pem")
    }

    /// The file in which the registry keeps a blob.
    ///
    /// # Errors
    /// When `digest` is none.
    pub fn blob(&self, digest: &str) -> Result<PathBuf> {
        let hex = digest.strip_prefix("sha256:").context("not a digest")?;
        let blobs = self.directory.path().join("data/docker/registry/v2/blobs/sha256");
        Ok(blobs.join(&hex[..2]).join(hex).join("data"))
    }

    fn await_port(&self) -> Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let end = Instant::now() + START_DEADLINE;
        while TcpStream::connect(address).is_err() {
            if Instant::now() > end {
                bail!("docker-registry does not listen on {address}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes a certificate that is its own authority.
fn certificate(root: &Path) -> Result<()> {
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
        .arg(root.join("key.pem"))
        .arg("-out")
        .arg(root.join("cert.pem"))
        .output()
        .context("run openssl")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Lets `ann` in with the password `secret`.
fn password(root: &Path) -> Result<()> {
    let output = Command::new("htpasswd").args(["-nbB", "ann", "secret"]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(fs_err::write(root.join("htpasswd"), output.stdout)?)
}
