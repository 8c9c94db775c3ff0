//! The language of Dockerfiles, as far as only the real CLI and a real daemon show it: files of the
//! web, files that are ignored, checks, what is refused.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    thread::JoinHandle,
};

use anyhow::{Context, Result, ensure};
use oriel_conformance::{Case, Daemon, Docker, Outcome};

use crate::{PASSED, build::context};

pub(crate) const CASES: &[Case] = &[
    Case { name: "add_takes_files_of_the_web", run: files_of_the_web },
    Case { name: "a_dockerfile_has_an_ignore_file_of_its_own", run: own_ignore_file },
    Case { name: "checks_of_a_dockerfile_are_shown", run: checks },
    Case { name: "what_a_build_cannot_be_is_refused_at_once", run: refusals },
];

/// Content of the file that is served.
const TOOL: &str = "a tool\r\n";

/// SHA-256 of something else.
const SUM: &str = "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

/// Serves [`TOOL`] under every address, as often as told.
fn serve(times: usize) -> Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let serving = std::thread::spawn(move || {
        for stream in listener.incoming().take(times) {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\
                        Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n\
                        Content-Disposition: attachment; filename=\"named.txt\"\r\n";
            let length = TOOL.len();
            let _ = write!(stream, "{head}Content-Length: {length}\r\n\r\n{TOOL}");
        }
    });
    Ok((address, serving))
}

fn files_of_the_web(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let (address, serving) = serve(6)?;
    let file = format!(
        "# escape=`\nFROM nanoserver\nARG VERSION=2\n\
         ADD http://{address}/v${{VERSION}}/tool.txt C:\\web\\\nADD http://{address}/ C:\\web\\\n"
    );
    let directory = context(daemon, "web", &file)?;
    let directory = directory.to_string_lossy();
    docker.run(&["build", "-t", "web:1", &directory])?;
    let again = docker.run(&["build", "-t", "web:1", &directory])?;
    ensure!(again.matches("Using cache").count() == 3, "{again}");
    let show = "cd C:\\web && type tool.txt && dir";
    let text = docker.run(&["run", "--rm", "web:1", "cmd", "/c", show])?;
    ensure!(text.contains("a tool") && text.contains("named.txt"), "{text}");
    ensure!(text.contains("2015"), "{text}");
    let wrong = format!("FROM nanoserver\nADD --checksum={SUM} http://{address}/x C:/x\n");
    let wrong = context(daemon, "web-wrong", &wrong)?;
    let output = docker.try_run(&["build", &wrong.to_string_lossy()])?;
    ensure!(output.stderr.contains("digest mismatch for http://"), "{output:?}");
    let remote = format!("/build?remote=http://{address}/nothing&t=x");
    let (status, body) = docker.http("POST", &remote, "")?;
    ensure!(status == 400 && body.contains("unknown instruction: A"), "{status} {body}");
    serving.join().ok().context("the server")?;
    PASSED
}

fn own_ignore_file(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let directory = context(daemon, "ignoring", "FROM nanoserver\n")?;
    for (name, text) in [
        ("app.Dockerfile", "FROM nanoserver\nCOPY . C:/x/\n"),
        ("app.Dockerfile.dockerignore", "*.log\n"),
        (".dockerignore", "nothing\n"),
        ("a.txt", "a"),
        ("a.log", "a"),
    ] {
        fs_err::write(directory.join(name), text)?;
    }
    let file = directory.join("app.Dockerfile");
    let (file, directory) = (file.to_string_lossy(), directory.to_string_lossy());
    for client in [docker, oriel(daemon)] {
        client.run(&["build", "--no-cache", "-t", "ignoring", "-f", &file, &directory])?;
        let text = client.run(&["run", "--rm", "ignoring", "cmd", "/c", "dir /b C:\\x"])?;
        ensure!(text.contains("a.txt") && !text.contains("a.log"), "{text}");
    }
    PASSED
}

fn oriel(daemon: &Daemon) -> Docker {
    Docker::new(&daemon.program("oriel"), &daemon.socket())
}

fn checks(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let file = "FROM nanoserver\nMAINTAINER Ann\nWORKDIR C:\\app\n";
    let directory = context(daemon, "checked", file)?;
    let directory = directory.to_string_lossy();
    let output = oriel(daemon).try_run(&["build", "--check", &directory])?;
    ensure!(output.status == 1, "{output:?}");
    for part in [
        "Dockerfile:2:1: MaintainerDeprecated: Maintainer instruction is deprecated",
        "3 | WORKDIR C:\\app",
        "put # escape=` at the top of the file",
    ] {
        ensure!(output.stdout.contains(part), "{part:?} is not in {output:?}");
    }
    let good = context(daemon, "checked-good", "FROM nanoserver\nMAINTAINER Ann\n")?;
    let said = docker.run(&["build", &good.to_string_lossy()])?;
    ensure!(said.contains("[Warning] MaintainerDeprecated"), "{said}");
    let quiet = docker.run(&["build", "-q", &good.to_string_lossy()])?;
    ensure!(quiet.trim().starts_with("sha256:") && quiet.lines().count() == 1, "{quiet}");
    let clean = context(daemon, "checked-clean", "FROM nanoserver\n")?;
    oriel(daemon).run(&["build", "--check", &clean.to_string_lossy()])?;
    PASSED
}

fn refusals(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let directory = context(daemon, "refused", "FROM nanoserver\n")?;
    let directory = directory.to_string_lossy();
    let table: [(&[&str], &str); 2] = [
        (&["--platform", "linux/amd64"], "Oriel builds windows/amd64 images"),
        (&["--target", "none"], "target stage \"none\" could not be found"),
    ];
    for client in [docker, oriel(daemon)] {
        for (options, expected) in table {
            let output = client.try_run(&[&["build"], options, &[&directory]].concat())?;
            let good = output.status != 0 && output.stderr.contains(expected);
            ensure!(good, "{options:?}: {output:?}");
        }
    }
    let output = oriel(daemon).try_run(&["build", "--squash", &directory])?;
    ensure!(
        output.stderr.contains("squash is only supported with experimental mode"),
        "{output:?}"
    );
    PASSED
}
