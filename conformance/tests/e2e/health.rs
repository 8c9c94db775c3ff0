//! Health checks, as an image asks for them and as `docker run` changes them.

use anyhow::{Result, ensure};
use oriel_conformance::{Case, Daemon, Docker, Outcome};

use crate::{PASSED, build::context};

pub(crate) const CASES: &[Case] = &[
    Case { name: "a_health_check_tells_how_a_container_is", run: verdicts },
    Case { name: "a_health_check_can_be_changed_and_turned_off", run: overrides },
];

/// Healthy while `C:\well` is there.
const DOCKERFILE: &str = r"FROM nanoserver
HEALTHCHECK --interval=100ms --retries=2 CMD if exist C:\well (echo well) else (echo ill& exit 3)
CMD ping -n 3000 127.0.0.1
";

fn image(daemon: &Daemon) -> Result<()> {
    let directory = context(daemon, "health", DOCKERFILE)?;
    daemon.docker().run(&["build", "-q", "-t", "health", &directory.to_string_lossy()]).map(drop)
}

fn becomes(docker: &Docker, id: &str, verdict: &str) -> Result<()> {
    docker.wait_until(&format!("{id} to be {verdict}"), |docker| {
        Ok(docker.inspect(id)?["State"]["Health"]["Status"] == verdict)
    })
}

fn verdicts(daemon: &mut Daemon) -> Result<Outcome> {
    image(daemon)?;
    let docker = daemon.docker();
    let id = docker.run(&["run", "-d", "health"])?.trim().to_owned();
    becomes(&docker, &id, "unhealthy")?;
    let log = docker.inspect(&id)?["State"]["Health"]["Log"][0].clone();
    ensure!(log["ExitCode"] == 3, "{log}");
    ensure!(log["Output"].as_str().is_some_and(|text| text.trim() == "ill"), "{log}");
    docker.run(&["exec", &id, "cmd", "/c", "echo x> C:\\well"])?;
    becomes(&docker, &id, "healthy")?;
    let status = docker.run(&["ps", "--filter", "health=healthy", "--format", "{{.Status}}"])?;
    ensure!(status.trim().ends_with("(healthy)"), "{status}");
    daemon.restart()?;
    let docker = daemon.docker();
    becomes(&docker, &id, "healthy")?;
    docker.wait_until("the event of a verdict", |docker| {
        let events = docker.run(&["events", "--since", "0", "--until", "0s"])?;
        Ok(events.contains("health_status: healthy"))
    })?;
    docker.run(&["rm", "-f", &id])?;
    PASSED
}

fn overrides(daemon: &mut Daemon) -> Result<Outcome> {
    image(daemon)?;
    let docker = daemon.docker();
    let changed = ["run", "-d", "--health-cmd", "exit 0", "--health-interval", "100ms", "health"];
    let id = docker.run(&changed)?.trim().to_owned();
    becomes(&docker, &id, "healthy")?;
    docker.run(&["rm", "-f", &id])?;
    let id = docker.run(&["run", "-d", "--no-healthcheck", "health"])?.trim().to_owned();
    ensure!(docker.inspect(&id)?["State"].get("Health").is_none());
    docker.run(&["rm", "-f", &id])?;
    let short = ["run", "--health-timeout", "1us", "health"];
    let output = docker.try_run(&short)?;
    let text = "Timeout in Healthcheck cannot be less than 1ms";
    ensure!(output.status == 125 && output.stderr.contains(text), "{output:?}");
    PASSED
}
