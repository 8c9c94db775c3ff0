//! Who may use the daemon and how it is reached: TLS, the Unix socket, systemd's sockets, `SIGHUP`.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    os::unix::{fs::MetadataExt as _, net::UnixStream},
    path::Path,
    process::Command,
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use oriel_conformance::{Case, Daemon, Outcome};

use crate::PASSED;

pub(crate) const CASES: &[Case] = &[
    Case { name: "tcp_serves_clients_with_a_certificate_only", run: |daemon| again(daemon, tls) },
    Case { name: "plain_tcp_is_refused_unless_allowed", run: |daemon| again(daemon, plain) },
    Case { name: "the_socket_belongs_to_a_group", run: |daemon| again(daemon, group) },
    Case { name: "systemd_may_open_the_socket", run: |daemon| again(daemon, activated) },
    Case { name: "sighup_changes_a_running_daemon", run: |daemon| again(daemon, hang_up) },
    Case { name: "slow_clients_hold_up_nobody", run: slow },
];

/// Address of the suite's bridge, which is not loopback.
const BRIDGE_ADDRESS: &str = "10.213.77.1";

/// What `openssl req` makes certificates of.
const OPENSSL: &str = include_str!("openssl.cnf");

/// Tries a case, and gives the others the daemon back as it was.
fn again(daemon: &mut Daemon, case: fn(&mut Daemon) -> Result<Outcome>) -> Result<Outcome> {
    let outcome = case(daemon);
    daemon.restart_with(&[])?;
    outcome
}

/// A TCP address that nobody listens on.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Makes a key and a certificate; signed by `signer`, or by itself.
pub(crate) fn certificate(
    directory: &Path,
    kind: &str,
    name: &str,
    signer: Option<&str>,
) -> Result<()> {
    fs_err::write(directory.join("openssl.cnf"), OPENSSL)?;
    let mut command = Command::new("openssl");
    command
        .current_dir(directory)
        .args(["req", "-x509", "-days", "2", "-nodes", "-newkey", "ec"])
        .args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-config", "openssl.cnf"])
        .args(["-extensions", kind, "-keyout", &format!("{name}-key.pem")])
        .args(["-out", &format!("{name}.pem")]);
    if let Some(signer) = signer {
        command.args(["-CA", &format!("{signer}.pem"), "-CAkey", &format!("{signer}-key.pem")]);
    }
    let made = command.output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}

fn tls(daemon: &mut Daemon) -> Result<Outcome> {
    let directory = tempfile::TempDir::new_in(daemon.scratch())?;
    let directory = directory.path();
    for (kind, name, signer) in [
        ("authority", "ca", None),
        ("daemon", "daemon", Some("ca")),
        ("client", "client", Some("ca")),
        ("authority", "other", None),
        ("client", "stranger", Some("other")),
    ] {
        certificate(directory, kind, name, signer)?;
    }
    let path = |name: &str| directory.join(name).display().to_string();
    let host = format!("tcp://{}", free_address()?);
    let (ca, own, key) = (path("ca.pem"), path("daemon.pem"), path("daemon-key.pem"));
    let files = ["--tlscacert", &ca, "--tlscert", &own, "--tlskey", &key];
    daemon.restart_with(&[&["--host", &host, "--tlsverify"], files.as_slice()].concat())?;
    let client = |name: &str| {
        let (own, key) = (path(&format!("{name}.pem")), path(&format!("{name}-key.pem")));
        let files = ["--tlscacert", &ca, "--tlscert", &own, "--tlskey", &key];
        daemon.docker().with_options(&[&["-H", &host, "--tlsverify"], files.as_slice()].concat())
    };
    let good = client("client");
    let run = ["run", "--rm", "-i", "nanoserver", "findstr", "x"];
    let output = good.run_with_input(&run, b"axb\r\nab\r\n")?;
    ensure!(output.status == 0 && output.stdout.trim() == "axb", "{output:?}");
    good.run(&["run", "-d", "--name", "walled", "nanoserver", "ping", "-n", "99", "127.0.0.1"])?;
    let said = good.run(&["exec", "walled", "cmd", "/c", "echo in"]);
    good.run(&["rm", "-f", "walled"])?;
    ensure!(said?.trim() == "in", "an exec over TLS");
    let refused = client("stranger").try_run(&["version"])?;
    ensure!(refused.stderr.contains("remote error: tls: "), "{refused:?}");
    let none = ["-H", &host, "--tls", "--tlscacert", &ca];
    let none = daemon.docker().with_options(&none);
    let refused = none.try_run(&["version"])?;
    ensure!(refused.stderr.contains("certificate required"), "{refused:?}");
    let clear = daemon.docker().with_options(&["-H", &host]).try_run(&["version"])?;
    ensure!(clear.stderr.contains("HTTP request to an HTTPS server"), "{clear:?}");
    PASSED
}

fn plain(daemon: &mut Daemon) -> Result<Outcome> {
    let host = format!("tcp://{}", free_address()?);
    let refused = Command::new(daemon.program("orield"))
        .args(["--validate", "-H", &host, "--config-file", "/dev/null"])
        .output()?;
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && error.contains("allow-insecure-tcp"), "{error}");
    daemon.restart_with(&["--host", &host, "--allow-insecure-tcp"])?;
    let docker = daemon.docker().with_options(&["-H", &host]);
    let warnings = docker.run(&["info", "--format", "{{json .Warnings}}"])?;
    ensure!(warnings.contains("without encryption"), "{warnings}");
    PASSED
}

fn group(daemon: &mut Daemon) -> Result<Outcome> {
    daemon.restart_with(&["--group", "54321"])?;
    let found = fs_err::metadata(daemon.socket())?;
    let (mode, group) = (found.mode() & 0o7777, found.gid());
    ensure!((mode, group) == (0o660, 54321), "{mode:o} {group}");
    PASSED
}

fn activated(daemon: &mut Daemon) -> Result<Outcome> {
    // The daemon removes a socket that it made, before the next one is made.
    daemon.restart_activated()?;
    ensure!(
        daemon.docker().run(&["run", "--rm", "nanoserver", "cmd", "/c", "echo up"])?.trim() == "up"
    );
    // A passed socket is left to who made it.
    daemon.kill()?;
    ensure!(daemon.socket().exists(), "the socket is gone");
    PASSED
}

/// Takes connections at an address and tells how each began.
fn listen(address: &str) -> Result<(SocketAddr, mpsc::Receiver<Vec<u8>>)> {
    let listener = TcpListener::bind((address, 0))?;
    let bound = listener.local_addr()?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), mut buffer) = (stream, [0; 4]) else { return };
            let told = stream.read_exact(&mut buffer).is_ok() && sender.send(buffer.into()).is_ok();
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
            if !told {
                return;
            }
        }
    });
    Ok((bound, receiver))
}

fn hang_up(daemon: &mut Daemon) -> Result<Outcome> {
    let file = daemon.scratch().join("daemon.json");
    fs_err::write(&file, r#"{"labels":["room=1"]}"#)?;
    daemon.restart_with(&["--config-file", &file.display().to_string()])?;
    let docker = daemon.docker();
    let (registry, beginnings) = listen(BRIDGE_ADDRESS)?;
    let pull = ["pull", "-q", &format!("{registry}/none:1")];
    ensure!(docker.try_run(&pull)?.status != 0, "there is no registry");
    let plain = |begins: Vec<u8>| begins == b"GET ";
    ensure!(!beginnings.try_iter().any(plain), "asked without TLS");
    let labels = |wanted: &'static str| {
        move |docker: &oriel_conformance::Docker| {
            Ok(docker.run(&["info", "--format", "{{json .Labels}}"])?.contains(wanted))
        }
    };
    let network = format!("{BRIDGE_ADDRESS}/32");
    let changed = format!(r#"{{"labels":["room=2"],"insecure-registries":["{network}"]}}"#);
    fs_err::write(&file, changed)?;
    daemon.hang_up()?;
    docker.wait_until("the new label is there", labels("room=2"))?;
    ensure!(docker.try_run(&pull)?.status != 0, "there is no registry");
    ensure!(beginnings.try_iter().any(plain), "not asked without TLS");
    let reloads = ["events", "--since", "1m", "--until", "0s", "--filter", "event=reload"];
    docker.wait_until("the event is there", |docker| {
        let events = docker.run(&reloads)?;
        Ok(events.contains("daemon reload") && events.contains(&network))
    })?;
    fs_err::write(&file, r#"{"labels":["room=3"],"debug":1}"#)?;
    daemon.hang_up()?;
    docker.wait_until("the mistake is in the log", |_| {
        Ok(daemon.log().contains("debug must be true or false"))
    })?;
    ensure!(labels("room=2")(&docker)?, "the old settings stay");
    PASSED
}

fn slow(daemon: &mut Daemon) -> Result<Outcome> {
    let mut clients = Vec::new();
    for _ in 0..500 {
        let mut client = UnixStream::connect(daemon.socket()).context("connect")?;
        client.write_all(b"GET /containers/json HTTP/1.1\r\nHost: ")?;
        clients.push(client);
    }
    let begin = Instant::now();
    daemon.docker().run(&["ps", "-q"])?;
    ensure!(begin.elapsed() < Duration::from_secs(10), "took {:?}", begin.elapsed());
    PASSED
}
