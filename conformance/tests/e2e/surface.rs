//! What the daemon says of itself, and how it refuses.

use anyhow::{Result, ensure};
use oriel_conformance::{Case, Daemon, Outcome};

use crate::PASSED;

pub(crate) const CASES: &[Case] = &[
    Case { name: "version_and_info_say_windows", run: version_and_info_say_windows },
    Case { name: "an_unknown_endpoint_is_404_in_docker_shape", run: an_unknown_endpoint_is_404 },
    Case { name: "a_client_too_old_or_too_new_is_told_so", run: version_limits },
    Case { name: "an_unsupported_option_is_refused_or_warned_about", run: unsupported_options },
    Case { name: "a_missing_image_is_named", run: a_missing_image_is_named },
    Case { name: "system_check_prints_every_line_with_its_verdict", run: system_check },
    Case { name: "events_tell_the_life_of_a_container", run: events },
];

fn version_and_info_say_windows(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let version = docker.run(&["version", "--format", "{{.Server.Os}}/{{.Server.Arch}}"])?;
    ensure!(version.trim() == "windows/amd64", "{version}");
    let info = docker.run(&["info", "--format", "{{.OSType}} {{.Isolation}} {{.OSVersion}}"])?;
    ensure!(info.trim() == "windows process 10.0.20348", "{info}");
    PASSED
}

fn an_unknown_endpoint_is_404(daemon: &mut Daemon) -> Result<Outcome> {
    let (status, body) = daemon.docker().http("GET", "/v1.41/no/such/thing", "")?;
    ensure!(status == 404, "{status}");
    ensure!(body.contains(r#"{"message":"page not found"}"#), "{body}");
    PASSED
}

fn version_limits(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let (status, body) = docker.http("GET", "/v1.99/version", "")?;
    ensure!(status == 400 && body.contains("client version 1.99 is too new"), "{status} {body}");
    let (status, body) = docker.http("GET", "/v1.10/version", "")?;
    ensure!(status == 400 && body.contains("client version 1.10 is too old"), "{status} {body}");
    PASSED
}

fn unsupported_options(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let hyperv = docker.try_run(&["run", "--rm", "--isolation", "hyperv", "nanoserver"])?;
    ensure!(hyperv.status == 125 && hyperv.stderr.contains("hyperv"), "{hyperv:?}");
    for option in [&["--privileged"][..], &["--cap-add", "SYS_ADMIN"]] {
        let created = docker.try_run(&[&["create"], option, &["nanoserver"][..]].concat())?;
        let word = option[0].trim_start_matches('-').replace('-', "");
        ensure!(created.stderr.to_lowercase().contains(&word), "{created:?}");
        docker.run(&["rm", created.stdout.trim()])?;
    }
    PASSED
}

fn a_missing_image_is_named(daemon: &mut Daemon) -> Result<Outcome> {
    let (status, body) =
        daemon.docker().http("POST", "/containers/create", r#"{"Image":"no-such-image"}"#)?;
    ensure!(status == 404 && body.contains("No such image: no-such-image:latest"), "{body}");
    PASSED
}

fn system_check(daemon: &mut Daemon) -> Result<Outcome> {
    let output = std::process::Command::new(daemon.program("oriel"))
        .arg("-H")
        .arg(format!("unix://{}", daemon.socket().display()))
        .args(["system", "check"])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{text}");
    ensure!(text.lines().filter(|line| line.contains("ok")).count() >= 5, "{text}");
    PASSED
}

fn events(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let (_, body) = docker.http("GET", "/info", "")?;
    ensure!(body.contains("SystemTime"), "{body}");
    docker.run(&["run", "--rm", "--name", "told", "nanoserver", "cmd", "/c", "exit 0"])?;
    let until = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs() + 1;
    let text = docker.run(&[
        "events",
        "--since",
        "60s",
        "--until",
        &until.to_string(),
        "--filter",
        "container=told",
        "--format",
        "{{.Action}}",
    ])?;
    let actions: Vec<&str> = text.lines().collect();
    for action in ["create", "start", "die", "destroy"] {
        ensure!(actions.contains(&action), "{action} is missing in {actions:?}");
    }
    PASSED
}
