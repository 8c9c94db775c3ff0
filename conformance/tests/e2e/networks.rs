//! Networks that clients make: names, isolation, coming and going, and what is refused.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use oriel_conformance::{Case, Daemon, Docker, Outcome};

use crate::{PASSED, network::node_image};

pub(crate) const CASES: &[Case] = &[
    Case { name: "user_networks_resolve_names_and_keep_apart", run: names_and_isolation },
    Case { name: "user_networks_are_joined_and_left_while_running", run: coming_and_going },
    Case { name: "internal_user_networks_have_no_way_out", run: internal },
    Case { name: "user_networks_outlive_the_daemon", run: restart },
    Case { name: "a_network_is_shared_with_another_container", run: sharing },
    Case { name: "user_networks_are_refused_in_dockers_words", run: refusals },
    Case { name: "user_networks_leave_nothing_behind", run: leftovers },
];

const NODE: &str = "C:\\app\\node.exe";

/// Removes containers and networks of a case, also when it fails.
struct Cleanup<'a> {
    docker: Docker,
    containers: &'a [&'a str],
    networks: &'a [&'a str],
}

impl Drop for Cleanup<'_> {
    fn drop(&mut self) {
        for container in self.containers {
            let _ = self.docker.try_run(&["rm", "-f", container]);
        }
        for network in self.networks {
            let _ = self.docker.try_run(&["network", "rm", network]);
        }
    }
}

/// Starts a server on port 8080 that says hello.
fn serve(docker: &Docker, name: &str, options: &[&str]) -> Result<()> {
    let command = ["--name", name, "test-node", NODE, "C:\\app\\serve.js"];
    docker.run(&[&["run", "-d"], options, &command[..]].concat())?;
    docker.wait_until("the server listens", |docker| {
        Ok(docker.run(&["logs", name])?.contains("listening"))
    })
}

/// What a container gets from an address: the answer, or the code of the error.
fn ask(docker: &Docker, container: &str, address: &str) -> Result<String> {
    let script = format!(
        "fetch('http://{address}/x',{{signal:AbortSignal.timeout(5000)}}).then(r=>r.text())\
         .then(console.log,e=>console.log(e.cause?.code??e.name))"
    );
    Ok(docker.run(&["exec", container, NODE, "-e", &script])?.trim().to_owned())
}

fn reaches(docker: &Docker, container: &str, address: &str) -> Result<()> {
    let answer = ask(docker, container, address)?;
    ensure!(answer.starts_with("hello from win32"), "{container} asks {address}: {answer}");
    Ok(())
}

fn misses(docker: &Docker, container: &str, address: &str) -> Result<()> {
    let answer = ask(docker, container, address)?;
    ensure!(!answer.contains("hello"), "{container} asks {address}: {answer}");
    Ok(())
}

fn address(docker: &Docker, container: &str, network: &str) -> Result<String> {
    let inspect = docker.inspect(container)?;
    let address = inspect["NetworkSettings"]["Networks"][network]["IPAddress"].as_str();
    Ok(address.context("the container has no address there")?.to_owned())
}

/// Links, tables and namespaces of the suite's daemon.
fn kernel(daemon: &Daemon) -> Result<(usize, usize, usize)> {
    let text = |program: &str, words: &[&str]| -> Result<String> {
        Ok(String::from_utf8_lossy(&Command::new(program).args(words).output()?.stdout).into())
    };
    let links = text("ip", &["-o", "link"])?;
    let links = links.lines().filter(|line| line.contains("alias oriel:orieltest0:")).count();
    let tables = text("nft", &["list", "tables"])?.lines().count();
    let namespaces = fs_err::read_dir(daemon.scratch().join("run/netns"))?.count();
    Ok((links, tables, namespaces))
}

fn names_and_isolation(daemon: &mut Daemon) -> Result<Outcome> {
    node_image(daemon)?;
    let docker = &daemon.docker();
    let _cleanup = Cleanup {
        docker: daemon.docker(),
        containers: &["web", "peer", "stranger"],
        networks: &["front", "back"],
    };
    docker.run(&["network", "create", "--label", "tier=front", "front"])?;
    docker.run(&[
        "network",
        "create",
        "--subnet",
        "10.214.5.0/24",
        "--ip-range",
        "10.214.5.128/25",
        "back",
    ])?;
    serve(docker, "web", &["--network", "front", "--network-alias", "www", "-p", "18090:8080"])?;
    serve(docker, "peer", &["--network", "front", "--network-alias", "www"])?;
    serve(docker, "stranger", &["--network", "back", "--ip", "10.214.5.77"])?;
    let id = docker.inspect("web")?["Id"].as_str().context("no id")?[..12].to_owned();
    for name in ["web", "WEB", "www", "web.front", &id] {
        reaches(docker, "peer", &format!("{name}:8080"))?;
    }
    let script = "require('dns').lookup('www',{all:true},(e,a)=>console.log(a.length))";
    let count = docker.run(&["exec", "peer", NODE, "-e", script])?;
    ensure!(count.trim() == "2", "both have the alias: {count}");
    let web = address(docker, "web", "front")?;
    for place in ["web:8080".to_owned(), "www:8080".to_owned(), format!("{web}:8080")] {
        misses(docker, "stranger", &place)?;
    }
    reaches(docker, "stranger", "10.213.77.1:18090")?;
    ensure!(address(docker, "stranger", "back")? == "10.214.5.77");
    let list = docker.run(&["network", "ls", "--filter", "label=tier=front", "-q"])?;
    ensure!(list.lines().count() == 1, "{list}");
    let inspect = docker.inspect("front")?;
    let inside = inspect["Containers"].as_object().context("no Containers")?;
    ensure!(inside.len() == 2 && inside.values().all(|end| end["MacAddress"] != ""), "{inspect}");
    PASSED
}

fn coming_and_going(daemon: &mut Daemon) -> Result<Outcome> {
    node_image(daemon)?;
    let docker = &daemon.docker();
    let _cleanup = Cleanup {
        docker: daemon.docker(),
        containers: &["web", "walker"],
        networks: &["one", "two"],
    };
    docker.run(&["network", "create", "one"])?;
    docker.run(&["network", "create", "two"])?;
    serve(docker, "web", &["--network", "two"])?;
    serve(docker, "walker", &["--network", "one"])?;
    misses(docker, "walker", "web:8080")?;
    docker.run(&["network", "connect", "--alias", "wanderer", "two", "walker"])?;
    reaches(docker, "walker", "web:8080")?;
    reaches(docker, "web", "wanderer:8080")?;
    let adapters = "console.log(Object.values(require('os').networkInterfaces()).flat()\
                    .filter(a=>!a.internal&&a.family==='IPv4').length)";
    let count = docker.run(&["exec", "walker", NODE, "-e", adapters])?;
    ensure!(count.trim() == "2", "adapters: {count}");
    docker.run(&["network", "disconnect", "one", "walker"])?;
    reaches(docker, "walker", "web:8080")?;
    docker.run(&["network", "disconnect", "two", "walker"])?;
    misses(docker, "walker", "web:8080")?;
    docker.run(&["stop", "-t", "0", "walker"])?;
    docker.run(&["network", "connect", "two", "walker"])?;
    docker.run(&["start", "walker"])?;
    reaches(docker, "walker", "web:8080")?;
    PASSED
}

fn internal(daemon: &mut Daemon) -> Result<Outcome> {
    node_image(daemon)?;
    let docker = &daemon.docker();
    let _cleanup = Cleanup {
        docker: daemon.docker(),
        containers: &["web", "inner", "outer"],
        networks: &["closed"],
    };
    docker.run(&["network", "create", "--internal", "closed"])?;
    ensure!(docker.inspect("closed")?["Internal"] == true);
    serve(docker, "outer", &["-p", "18091:8080"])?;
    serve(docker, "web", &["--network", "closed"])?;
    serve(docker, "inner", &["--network", "closed"])?;
    reaches(docker, "inner", "web:8080")?;
    let outer = address(docker, "outer", "nat")?;
    for place in [format!("{outer}:8080"), "10.213.77.1:18091".to_owned(), "outer:8080".to_owned()]
    {
        misses(docker, "inner", &place)?;
    }
    let web = address(docker, "web", "closed")?;
    misses(docker, "outer", &format!("{web}:8080"))?;
    PASSED
}

fn restart(daemon: &mut Daemon) -> Result<Outcome> {
    node_image(daemon)?;
    let _cleanup =
        Cleanup { docker: daemon.docker(), containers: &["web", "peer"], networks: &["lasting"] };
    daemon.docker().run(&["network", "create", "lasting"])?;
    for name in ["web", "peer"] {
        serve(&daemon.docker(), name, &["--network", "lasting", "--network-alias", "all"])?;
    }
    let before = daemon.docker().inspect("lasting")?;
    daemon.kill()?;
    daemon.restart()?;
    let docker = &daemon.docker();
    ensure!(docker.inspect("lasting")? == before, "{before}");
    reaches(docker, "peer", "web:8080")?;
    serve(docker, "late", &["--rm", "--network", "lasting"])?;
    reaches(docker, "late", "all:8080")?;
    docker.run(&["rm", "-f", "late"])?;
    PASSED
}

fn sharing(daemon: &mut Daemon) -> Result<Outcome> {
    node_image(daemon)?;
    let docker = &daemon.docker();
    let _cleanup =
        Cleanup { docker: daemon.docker(), containers: &["lender", "borrower"], networks: &[] };
    serve(docker, "lender", &[])?;
    let forever = "setInterval(()=>{},1e6)";
    let command = ["--name", "borrower", "test-node", NODE, "-e", forever];
    docker.run(&[&["run", "-d", "--network", "container:lender"], &command[..]].concat())?;
    reaches(docker, "borrower", "127.0.0.1:8080")?;
    PASSED
}

/// What is refused: method, path, body, status, and words of the answer.
const REFUSALS: &[(&str, &str, &str, u16, &str)] = &[
    (
        "POST",
        "/networks/create",
        r#"{"Name":"taken"}"#,
        409,
        "network with name taken already exists",
    ),
    (
        "POST",
        "/networks/create",
        r#"{"Name":"nat"}"#,
        403,
        "operation is not permitted on predefined nat network ",
    ),
    ("POST", "/networks/create", r#"{"Name":""}"#, 400, "name is empty"),
    ("POST", "/networks/create", r#"{"Name":"a b"}"#, 400, "invalid network name"),
    ("POST", "/networks/create", r#"{"Name":3}"#, 400, "invalid type"),
    (
        "POST",
        "/networks/create",
        r#"{"Name":"wide","Driver":"macvlan"}"#,
        404,
        "could not find plugin macvlan in v1 plugin registry: plugin not found",
    ),
    (
        "POST",
        "/networks/create",
        r#"{"Name":"wide","Driver":"overlay"}"#,
        403,
        "This node is not a swarm manager.",
    ),
    ("POST", "/networks/create", r#"{"Name":"wide","Driver":"transparent"}"#, 501, "not supported"),
    (
        "POST",
        "/networks/create",
        r#"{"Name":"wide","EnableIPv6":true}"#,
        403,
        "windowsshim driver doesn't support v6 subnets",
    ),
    (
        "POST",
        "/networks/create",
        r#"{"Name":"wide","IPAM":{"Config":[{"Subnet":"10.214.6.128/25"}]}}"#,
        403,
        "Pool overlaps with other one on this address space",
    ),
    (
        "POST",
        "/networks/create",
        r#"{"Name":"wide","IPAM":{"Config":[{"Subnet":"10.214.7.1/24"}]}}"#,
        400,
        "it should be 10.214.7.0/24",
    ),
    (
        "POST",
        "/networks/create",
        r#"{"Name":"wide","IPAM":{"Config":[{"Subnet":"127.0.0.0/8"}]}}"#,
        400,
        "invalid subnet",
    ),
    (
        "POST",
        "/networks/create",
        r#"{"Name":"wide","IPAM":{"Config":[{"Subnet":"10.214.7.0/24","Gateway":"10.0.0.1"}]}}"#,
        400,
        "parent subnet 10.214.7.0/24 doesn't contain this address",
    ),
    ("DELETE", "/networks/taken", "", 403, "has active endpoints"),
    ("DELETE", "/networks/nat", "", 403, "nat is a pre-defined network and cannot be removed"),
    ("DELETE", "/networks/nowhere", "", 404, "network nowhere not found"),
    ("GET", "/networks/nowhere", "", 404, "network nowhere not found"),
    ("GET", "/networks?filters=%7B%22x%22%3A%5B%22y%22%5D%7D", "", 400, "invalid filter 'x'"),
    (
        "GET",
        "/networks?filters=%7B%22dangling%22%3A%5B%22y%22%5D%7D",
        "",
        400,
        "invalid value for filter 'dangling'",
    ),
    (
        "POST",
        "/networks/taken/connect",
        r#"{"Container":"nobody"}"#,
        404,
        "No such container: nobody",
    ),
    (
        "POST",
        "/networks/taken/connect",
        r#"{"Container":"busy"}"#,
        403,
        "already exists in network taken",
    ),
    ("POST", "/networks/none/connect", r#"{"Container":"busy"}"#, 400, "private (none) mode"),
    (
        "POST",
        "/networks/nat/disconnect",
        r#"{"Container":"busy"}"#,
        403,
        "is not connected to the network nat",
    ),
    (
        "POST",
        "/networks/nat/connect",
        r#"{"Container":"busy","EndpointConfig":{"IPAMConfig":{"IPv4Address":"8.8.8.8"}}}"#,
        400,
        "no configured subnet contains IP address 8.8.8.8",
    ),
    (
        "POST",
        "/networks/nat/connect",
        r#"{"Container":"busy","EndpointConfig":{"Links":["a:b"]}}"#,
        501,
        "links are not supported",
    ),
];

fn refusals(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = &daemon.docker();
    let _cleanup =
        Cleanup { docker: daemon.docker(), containers: &["busy"], networks: &["taken", "wide"] };
    docker.run(&["network", "create", "--subnet", "10.214.6.0/24", "taken"])?;
    docker.run(&[
        "run",
        "-d",
        "--name",
        "busy",
        "--network",
        "taken",
        "nanoserver",
        "cmd",
        "/c",
        "ping -n 1000 127.0.0.1 >nul",
    ])?;
    for (method, path, body, status, words) in REFUSALS {
        let (found, answer) = docker.http(method, path, body)?;
        let right = found == *status && answer.contains(words);
        ensure!(right, "{method} {path} {body}: {found} {answer}");
    }
    let host = docker.try_run(&["run", "--rm", "--network", "host", "nanoserver", "cmd"])?;
    ensure!(host.stderr.contains("network host not found"), "{host:?}");
    let conflict = ["run", "--rm", "--network", "container:busy", "-p", "80:80", "nanoserver"];
    let conflict = docker.try_run(&conflict)?;
    ensure!(conflict.stderr.contains("conflicting options: port publishing"), "{conflict:?}");
    PASSED
}

fn leftovers(daemon: &mut Daemon) -> Result<Outcome> {
    let before = kernel(daemon)?;
    let docker = &daemon.docker();
    let _cleanup =
        Cleanup { docker: daemon.docker(), containers: &["guest"], networks: &["left", "right"] };
    for name in ["left", "right"] {
        docker.run(&["network", "create", name])?;
    }
    docker.run(&[
        "create",
        "--name",
        "guest",
        "--network",
        "left",
        "nanoserver",
        "cmd",
        "/c",
        "ping -n 1000 127.0.0.1 >nul",
    ])?;
    docker.run(&["network", "connect", "right", "guest"])?;
    docker.run(&["start", "guest"])?;
    let during = kernel(daemon)?;
    ensure!(during.0 == before.0 + 4 && during.2 == before.2 + 1, "{before:?} {during:?}");
    docker.run(&["rm", "-f", "guest"])?;
    let pruned = docker.run(&["network", "prune", "-f"])?;
    ensure!(pruned.contains("left") && pruned.contains("right"), "{pruned}");
    let after = kernel(daemon)?;
    ensure!(after == before, "{before:?} {after:?}");
    PASSED
}
