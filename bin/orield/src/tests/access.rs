//! Who is served over TCP, and what clients that say nothing cost others.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::Path,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

use super::{Served, docker_is_here};
use crate::{limits, listen::Access, options::Options};

/// What `openssl req` makes certificates of.
const OPENSSL: &str = include_str!("../../../../conformance/tests/e2e/openssl.cnf");

/// An authority, a certificate of it for the daemon and one for a client, in files as dockerd's
/// documentation names them.
struct Certificates(TempDir);

impl Certificates {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        fs_err::write(directory.path().join("openssl.cnf"), OPENSSL).unwrap();
        let this = Self(directory);
        this.make("authority", "ca", &[]);
        let signed = ["-CA", "ca.pem", "-CAkey", "ca-key.pem"];
        this.make("daemon", "server", &signed);
        this.make("client", "client", &signed);
        this
    }

    fn make(&self, kind: &str, name: &str, further: &[&str]) {
        let key = format!("{name}-key.pem");
        let made = Command::new("openssl")
            .current_dir(self.0.path())
            .args(["req", "-x509", "-days", "2", "-nodes", "-newkey", "ec"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-config", "openssl.cnf"])
            .args(["-extensions", kind, "-keyout", &key, "-out", &format!("{name}.pem")])
            .args(further)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// A daemon that serves holders of the client's certificate.
    fn served(&self) -> Served {
        let [ca, certificate, key] =
            ["ca.pem", "server.pem", "server-key.pem"].map(|name| self.path(name));
        let files = ["--tlscacert", &ca, "--tlscert", &certificate, "--tlskey", &key];
        Served::with(&[&["-H", "tcp://127.0.0.1:0", "--tlsverify"], files.as_slice()].concat())
    }

    /// The CLI with these certificates.
    fn docker(&self, port: u16, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.arg("-H").arg(format!("tcp://127.0.0.1:{port}")).arg("--tlsverify");
        for (flag, name) in
            [("--tlscacert", "ca.pem"), ("--tlscert", "client.pem"), ("--tlskey", "client-key.pem")]
        {
            command.arg(flag).arg(self.path(name));
        }
        command.args(arguments).env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT");
        command
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

#[test]
fn a_client_with_a_certificate_is_served_and_may_take_over_its_connection() {
    if !docker_is_here() {
        return;
    }
    let certificates = Certificates::new();
    let served = certificates.served();
    let run = ["run", "--rm", "-i", "nanoserver", "cat"];
    let mut child = certificates
        .docker(served.port, &run)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"through the wall").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output), "through the wall");
}

#[test]
fn a_client_without_a_good_certificate_is_not_served() {
    if !docker_is_here() {
        return;
    }
    let (certificates, foreign) = (Certificates::new(), Certificates::new());
    let served = certificates.served();
    // The foreign client trusts this daemon, so that it is the daemon who refuses.
    let ca = Path::new(&certificates.path("ca.pem")).to_owned();
    fs_err::copy(ca, foreign.path("ca.pem")).unwrap();
    let refused = text(&foreign.docker(served.port, &["version"]).output().unwrap());
    assert!(refused.contains("remote error: tls: "), "{refused}");
    let host = format!("tcp://127.0.0.1:{}", served.port);
    let nobody = Command::new("docker")
        .args(["-H", &host, "--tls", "--tlscacert", &certificates.path("ca.pem"), "version"])
        .output()
        .unwrap();
    assert!(text(&nobody).contains("tls: certificate required"), "{}", text(&nobody));
}

#[test]
fn a_client_that_does_not_encrypt_is_told_so() {
    let served = Certificates::new().served();
    let mut stream = TcpStream::connect(("127.0.0.1", served.port)).unwrap();
    stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 400 Bad Request\r\n"), "{answer}");
    assert!(answer.contains("Client sent an HTTP request to an HTTPS server"), "{answer}");
}

#[test]
fn clients_that_say_nothing_hold_up_nobody() {
    if !docker_is_here() {
        return;
    }
    limits::raise_descriptors();
    let certificates = Certificates::new();
    let served = certificates.served();
    let silent: Vec<_> =
        (0..300).map(|_| TcpStream::connect(("127.0.0.1", served.port)).unwrap()).collect();
    let answer = certificates.docker(served.port, &["ps", "-q"]).output().unwrap();
    assert_eq!((answer.status.code(), text(&answer).as_str()), (Some(0), ""));
    // Beyond what one process may have, with heads that never end.
    let slow: Vec<UnixStream> =
        (0..1100).map(|_| served.connect("GET /_ping HTTP/1.1\r\nHost: ")).collect();
    let (head, _) = served.http("GET", "/_ping", "");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(served.says(&["ps", "-q"]), "");
    drop((silent, slow));
}

#[test]
fn a_head_without_end_is_refused() {
    let served = Served::new();
    let mut stream = served.connect("GET /_ping HTTP/1.1\r\nHost: ");
    // The daemon may hang up before it has taken all.
    let _ = stream.write_all(&vec![b'x'; 1 << 20]);
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
}

#[test]
fn what_access_needs_has_to_be_there() {
    let error = |arguments: &[&str]| {
        let options = Options::of(arguments, "").unwrap();
        format!("{:#}", Access::new(&options).err().unwrap())
    };
    let group = error(&["--group", "no-such-group"]);
    assert!(group.contains("group no-such-group does not exist"), "{group}");
    assert!(Access::new(&Options::of(&["--group", "54321"], "").unwrap()).is_ok());
    let certificates = Certificates::new();
    let [ca, key, other] =
        ["ca.pem", "client-key.pem", "server.pem"].map(|name| certificates.path(name));
    for (arguments, problem) in [
        (["--tlscert", "/none", "--tlskey", &key, "--tlscacert", &ca], "tlscert: "),
        (["--tlscert", &other, "--tlskey", "/none", "--tlscacert", &ca], "tlskey: "),
        (["--tlscert", &other, "--tlskey", &other, "--tlscacert", &ca], "holds no private key"),
        (["--tlscert", &other, "--tlskey", &key, "--tlscacert", &key], "holds no certificate"),
        (["--tlscert", &other, "--tlskey", &key, "--tlscacert", &ca], "cannot use tlscert"),
    ] {
        let text = error(&[&["--tlsverify"], arguments.as_slice()].concat());
        assert!(text.contains(problem), "{problem} in {text}");
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test has to be seen")]
fn the_socket_is_for_root_and_the_group() {
    use std::os::unix::fs::MetadataExt as _;

    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root gives files away");
        return;
    }
    let served = Served::with(&["--group", "54321"]);
    let found = fs_err::metadata(&served.socket).unwrap();
    assert_eq!((found.mode() & 0o777, found.uid(), found.gid()), (0o660, 0, 54321));
}
