//! Debian's `docker-registry` on loopback.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use tempfile::TempDir;

/// `ann` with the password `secret`, as `htpasswd -nbB` writes it.
const HTPASSWD: &str = "ann:$2y$05$wSMdCwcq2wd3ZeD5cwGjxeZMTnhPnRtqJHVDoIlZO0JNrqztArNiO\n";

/// A registry that ends with its value.
pub(crate) struct RealRegistry {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Removed with the value.
    _folder: TempDir,
}

impl RealRegistry {
    /// Over plain HTTP. `None`, having said so, when there is no `docker-registry`.
    pub(crate) fn plain() -> Option<Self> {
        Self::start(tempfile::tempdir().unwrap(), "", "")
    }

    /// Over TLS with `issued`; clients need a certificate of `clients` if there is one.
    pub(crate) fn tls(issued: &Issued, clients: Option<&Authority>) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let tls = tls_section(folder.path(), issued, clients);
        Self::start(folder, &tls, "")
    }

    /// Over TLS, for `ann` only.
    pub(crate) fn tls_with_password(issued: &Issued) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let tls = tls_section(folder.path(), issued, None);
        let users = folder.path().join("htpasswd");
        fs_err::write(&users, HTPASSWD).unwrap();
        let auth = format!("auth: {{htpasswd: {{realm: test, path: {}}}}}", users.display());
        Self::start(folder, &tls, &auth)
    }

    fn start(folder: TempDir, tls: &str, auth: &str) -> Option<Self> {
        let data = folder.path().join("data");
        let config = format!(
            "version: 0.1\nlog: {{level: info, formatter: text}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: '127.0.0.1:0'{tls}}}\n{auth}\n",
            data.display()
        );
        let path = folder.path().join("config.yml");
        fs_err::write(&path, config).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&path).stdout(Stdio::null()).stderr(Stdio::piped());
        // Go would otherwise report its traces to wherever the environment says.
        let Ok(mut child) = command.env("OTEL_TRACES_EXPORTER", "none").spawn() else {
            skipped();
            return None;
        };
        let address = address(&mut child);
        Some(Self { child, address, _folder: folder })
    }

    /// The name of an image in it.
    pub(crate) fn image(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::print_stderr, reason = "a skipped test must not pass in silence")]
fn skipped() {
    eprintln!("skipped: docker-registry is not installed");
}

/// Waits until the registry says where it listens, and keeps its log from filling the pipe.
fn address(child: &mut Child) -> SocketAddr {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut seen = String::new();
    let address = lines.by_ref().find_map(|line| {
        seen += &line;
        let (_, rest) = line.split_once("listening on ")?;
        rest.split(['"', ',']).next()?.parse().ok()
    });
    thread::spawn(move || lines.for_each(drop));
    address.unwrap_or_else(|| panic!("docker-registry does not start: {seen}"))
}

fn tls_section(folder: &Path, issued: &Issued, clients: Option<&Authority>) -> String {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs_err::write(&path, text).unwrap();
        path
    };
    let certificate = write("server.crt", &issued.certificate);
    let key = write("server.key", &issued.key);
    let clients = clients.map(|authority| write("clients.crt", &authority.certificate()));
    let clients = clients.map(|path| format!(", clientcas: ['{}']", path.display()));
    format!(
        ", tls: {{certificate: {}, key: {}{}}}",
        certificate.display(),
        key.display(),
        clients.unwrap_or_default()
    )
}

/// Who issues certificates, with the `openssl` command: a library would be only for these tests.
pub(crate) struct Authority(TempDir);

/// A certificate and its key, in PEM.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        certify(folder.path(), "ca", &["-subj", "/CN=authority"]);
        Self(folder)
    }

    pub(crate) fn certificate(&self) -> String {
        fs_err::read_to_string(self.0.path().join("ca.crt")).unwrap()
    }

    /// A certificate for a host, written `DNS:name` or `IP:address`; good for clients too.
    pub(crate) fn issue(&self, host: &str) -> Issued {
        let folder = self.0.path();
        let name = format!("subjectAltName={host}");
        let leaf = "basicConstraints=critical,CA:false";
        let by = ["-CA", "ca.crt", "-CAkey", "ca.key", "-subj", "/CN=test"];
        certify(folder, "leaf", &[&by[..], &["-addext", &name, "-addext", leaf]].concat());
        let read = |name: &str| fs_err::read_to_string(folder.join(name)).unwrap();
        Issued { certificate: read("leaf.crt"), key: read("leaf.key") }
    }
}

/// Makes `name.crt` and `name.key` in `folder`.
fn certify(folder: &Path, name: &str, arguments: &[&str]) {
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "2", "-out", &format!("{name}.crt"), "-keyout", &format!("{name}.key")])
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

impl Issued {
    /// Writes both into `folder` as `name.cert` and `name.key`.
    pub(crate) fn write(&self, folder: &Path, name: &str) {
        fs_err::write(folder.join(format!("{name}.key")), &self.key).unwrap();
        fs_err::write(folder.join(format!("{name}.cert")), &self.certificate).unwrap();
    }
}
