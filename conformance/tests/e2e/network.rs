//! Addresses, names and published ports.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use oriel_conformance::{Case, Daemon, Docker, Outcome};

use crate::{PASSED, windows_program};

pub(crate) const CASES: &[Case] = &[
    Case { name: "a_published_port_is_reachable", run: published_port },
    Case { name: "containers_find_each_other_by_name", run: names },
    Case { name: "a_port_taken_is_refused_with_dockers_text", run: port_taken },
    Case { name: "network_none_has_loopback_only", run: network_none },
];

/// An image with Node.js for Windows, made once.
pub(crate) fn node_image(daemon: &Daemon) -> Result<&'static str> {
    let docker = daemon.docker();
    if docker.try_run(&["inspect", "test-node"])?.status == 0 {
        return Ok("test-node");
    }
    let context = daemon.scratch().join("node");
    fs_err::create_dir_all(&context)?;
    fs_err::copy(windows_program("node")?.join("bin/node.exe"), context.join("node.exe"))?;
    fs_err::write(context.join("serve.js"), SERVER)?;
    fs_err::write(context.join("Dockerfile"), "FROM nanoserver\nCOPY . C:/app\nEXPOSE 8080\n")?;
    docker.run(&["build", "-q", "-t", "test-node", &context.to_string_lossy()])?;
    Ok("test-node")
}

const SERVER: &str = r"
require('http').createServer((request, response) => {
  response.end('hello from ' + process.platform + ' at ' + request.url);
}).listen(8080, () => console.log('listening'));
";

fn serve(daemon: &Daemon, name: &str, extra: &[&str]) -> Result<Docker> {
    let image = node_image(daemon)?;
    let docker = daemon.docker();
    let command = ["--name", name, image, "C:\\app\\node.exe", "C:\\app\\serve.js"];
    docker.run(&[&["run", "-d"], extra, &command[..]].concat())?;
    docker.wait_until("the server listens", |docker| {
        Ok(docker.run(&["logs", name])?.contains("listening"))
    })?;
    Ok(docker)
}

fn fetch(address: &str) -> Result<String> {
    let address: SocketAddr = address.parse()?;
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(10))
        .with_context(|| format!("connect to {address}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET /x HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn published_port(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = serve(daemon, "server", &["-p", "18080:8080"])?;
    let inspect = docker.inspect("server")?;
    let own = inspect["NetworkSettings"]["Networks"]["nat"]["IPAddress"].as_str();
    let own = own.context("the container has no address")?.to_owned();
    let addresses =
        ["127.0.0.1:18080".to_owned(), "10.213.77.1:18080".into(), format!("{own}:8080")];
    for address in addresses {
        let text = fetch(&address)?;
        ensure!(text.ends_with("hello from win32 at /x"), "{address}: {text}");
    }
    let port = docker.run(&["port", "server", "8080/tcp"])?;
    ensure!(port.contains("0.0.0.0:18080"), "{port}");
    docker.run(&["rm", "-f", "server"])?;
    ensure!(fetch("127.0.0.1:18080").is_err(), "the port is still published");
    PASSED
}

fn names(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = serve(daemon, "peer", &[])?;
    let script = "fetch('http://peer:8080/y').then(r=>r.text()).then(console.log)";
    let command = ["run", "--rm", "test-node", "C:\\app\\node.exe", "-e", script];
    let text = docker.run(&command)?;
    docker.run(&["rm", "-f", "peer"])?;
    ensure!(text.trim() == "hello from win32 at /y", "{text}");
    let hosts = "require('dns').lookup(require('os').hostname(),(e,a)=>console.log(e||a))";
    let own = docker.run(&["run", "--rm", "test-node", "C:\\app\\node.exe", "-e", hosts])?;
    ensure!(own.starts_with("10.213.77."), "its own name: {own}");
    PASSED
}

fn port_taken(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let listener = std::net::TcpListener::bind("0.0.0.0:18099")?;
    let output = docker.try_run(&["run", "-p", "18099:80", "--name", "late", "nanoserver"])?;
    drop(listener);
    docker.run(&["rm", "-f", "late"])?;
    ensure!(output.stderr.contains("port is already allocated"), "{output:?}");
    PASSED
}

fn network_none(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    node_image(daemon)?;
    let script = "require('net').connect(53,'10.213.77.1').on('error',e=>console.log(e.code))";
    let command = ["--network", "none", "test-node", "C:\\app\\node.exe", "-e", script];
    let text = docker.run(&[&["run", "--rm"], &command[..]].concat())?;
    ensure!(text.contains("UNREACH"), "{text}");
    PASSED
}
