//! The builder's second door: buildx and Compose of Debian, as they are.

use std::{
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use oriel_conformance::{Case, Daemon, Outcome};
use serde_json::Value;

use crate::{PASSED, build::context};

pub(crate) const CASES: &[Case] = &[
    Case { name: "buildx_sees_a_builder_for_windows", run: inspected },
    Case { name: "buildx_builds_tags_and_describes_an_image", run: builds },
    Case { name: "buildx_shows_each_step_of_each_stage", run: progress },
    Case { name: "a_secret_is_shown_to_its_step_and_kept_nowhere", run: secrets },
    Case { name: "both_doors_of_the_builder_share_one_cache", run: one_cache },
    Case { name: "buildx_sends_what_dockerignore_leaves_and_takes_archives", run: contexts },
    Case { name: "buildx_is_told_why_a_build_failed_or_is_refused", run: refusals },
    Case { name: "a_client_of_buildkit_that_leaves_ends_its_build", run: cancelled },
    Case { name: "buildx_lists_and_prunes_the_caches_of_mounts", run: caches },
    Case { name: "compose_builds_with_buildkit_and_its_secrets", run: compose },
];

/// Commands of trixie's Docker with its buildx.
struct Buildx {
    clients: PathBuf,
    socket: PathBuf,
    config: PathBuf,
}

/// What a command printed.
struct Said {
    good: bool,
    stdout: String,
    stderr: String,
}

impl Buildx {
    fn new(daemon: &Daemon) -> Result<Self> {
        let clients = std::env::var_os("ORIEL_TEST_CLIENTS").map(PathBuf::from);
        let clients = clients.context("ORIEL_TEST_CLIENTS is not set")?;
        let plugin = clients.join("trixie/usr/libexec/docker/cli-plugins/docker-buildx");
        ensure!(plugin.exists(), "there is no {}: run scripts/install-deps", plugin.display());
        let config = daemon.scratch().join("buildx-config");
        let plugins = config.join("cli-plugins");
        if !plugins.exists() {
            fs_err::create_dir_all(&plugins)?;
            symlink(plugin, plugins.join("docker-buildx"))?;
        }
        Ok(Self { clients, socket: daemon.socket(), config })
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.clients.join("trixie/usr/bin").join(program));
        command
            .args(arguments)
            .env("DOCKER_HOST", format!("unix://{}", self.socket.display()))
            .env("DOCKER_CONFIG", &self.config)
            .env("DOCKER_BUILDKIT", "1")
            .env_remove("DOCKER_CONTEXT");
        command
    }

    fn say(&self, mut command: Command) -> Result<Said> {
        let output = command.stdin(Stdio::null()).output()?;
        Ok(Said {
            good: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs `docker ARGUMENTS`, whatever its status.
    fn try_run(&self, arguments: &[&str]) -> Result<Said> {
        self.say(self.command("docker", arguments))
    }

    /// Runs `docker ARGUMENTS` and expects success.
    fn run(&self, arguments: &[&str]) -> Result<Said> {
        let said = self.try_run(arguments)?;
        ensure!(said.good, "docker {}: {}{}", arguments.join(" "), said.stdout, said.stderr);
        Ok(said)
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn inspected(daemon: &mut Daemon) -> Result<Outcome> {
    let buildx = Buildx::new(daemon)?;
    let said = buildx.run(&["buildx", "inspect"])?.stdout;
    ensure!(said.contains("Status:") && said.contains("running"), "{said}");
    ensure!(said.contains("windows/amd64"), "{said}");
    let said = buildx.run(&["buildx", "ls"])?.stdout;
    ensure!(said.contains("docker") && said.contains("running"), "{said}");
    PASSED
}

const STAGES: &str = r#"# syntax=docker/dockerfile:1
FROM nanoserver AS first
ARG WHO=nobody
RUN echo %WHO%> C:\who.txt
FROM nanoserver
COPY --from=first C:/who.txt C:/who.txt
CMD ["cmd", "/c", "type", "C:\\who.txt"]
"#;

fn builds(daemon: &mut Daemon) -> Result<Outcome> {
    let (buildx, docker) = (Buildx::new(daemon)?, daemon.docker());
    let directory = context(daemon, "bx-stages", STAGES)?;
    let (id, about) = (daemon.scratch().join("bx-id"), daemon.scratch().join("bx-about"));
    let said = buildx.run(&[
        "build",
        "-t",
        "bx:1",
        "-t",
        "bx:2",
        "--build-arg",
        "WHO=me",
        "--label",
        "a=b",
        "--pull=false",
        "--iidfile",
        &text(&id),
        "--metadata-file",
        &text(&about),
        &text(&directory),
    ])?;
    ensure!(said.stderr.contains("naming to docker.io/library/bx:1"), "{}", said.stderr);
    let image = docker.inspect("bx:2")?;
    ensure!(image["Id"] == fs_err::read_to_string(&id)?.trim(), "{image}");
    ensure!(image["Config"]["Labels"]["a"] == "b", "{image}");
    let about: Value = serde_json::from_str(&fs_err::read_to_string(&about)?)?;
    ensure!(about["containerimage.config.digest"] == image["Id"], "{about}");
    let names = "docker.io/library/bx:1,docker.io/library/bx:2";
    ensure!(about["image.name"] == names, "{about}");
    ensure!(docker.run(&["run", "--rm", "bx:1"])?.trim() == "me", "the build argument");
    let target = buildx.run(&["buildx", "build", "-q", "--target", "first", &text(&directory)])?;
    let first =
        docker.run(&["run", "--rm", target.stdout.trim(), "cmd", "/c", "type C:\\who.txt"])?;
    ensure!(first.trim() == "nobody", "{first}");
    PASSED
}

fn progress(daemon: &mut Daemon) -> Result<Outcome> {
    let buildx = Buildx::new(daemon)?;
    let directory = text(&context(daemon, "bx-progress", STAGES)?);
    let argument = ["--build-arg", "WHO=progress"];
    let build = |way| ["buildx", "build", argument[0], argument[1], "--progress", way, &directory];
    let plain = buildx.run(&build("plain"))?.stderr;
    for line in ["[internal] load build definition from Dockerfile", "[first 3/3] RUN echo", "DONE"]
    {
        ensure!(plain.contains(line), "{line}: {plain}");
    }
    let again = buildx.run(&build("rawjson"))?.stderr;
    let values: Vec<Value> =
        serde_json::Deserializer::from_str(&again).into_iter().collect::<Result<_, _>>()?;
    let vertexes = values.iter().filter_map(|value| value["vertexes"].as_array()).flatten();
    let is_run = |vertex: &&Value| vertex["name"] == "[first 3/3] RUN echo %WHO%> C:\\who.txt";
    let last = vertexes.rev().find(is_run).context("the step is not told of")?;
    ensure!(last["cached"] == true && last["completed"].is_string(), "{last}");
    PASSED
}

fn secrets(daemon: &mut Daemon) -> Result<Outcome> {
    let (buildx, docker) = (Buildx::new(daemon)?, daemon.docker());
    let dockerfile = "FROM nanoserver\n\
        RUN --mount=type=secret,id=token,required \
        findstr /B s3 C:\\run\\secrets\\token >nul && echo found it\n\
        RUN --mount=type=secret,id=token,target=C:/cfg/.npmrc \
        (echo x> C:\\cfg\\.npmrc) && exit 1 || (echo it is read-only& exit 0)\n";
    let directory = context(daemon, "bx-secret", dockerfile)?;
    let file = daemon.scratch().join("bx-token");
    fs_err::write(&file, "s3cret-of-the-test")?;
    let secret = format!("id=token,src={}", file.display());
    let said = buildx.run(&[
        "buildx",
        "build",
        "--progress",
        "plain",
        "-t",
        "bx-secret:1",
        "--secret",
        &secret,
        &text(&directory),
    ])?;
    ensure!(said.stderr.contains("found it"), "{}", said.stderr);
    ensure!(said.stderr.contains("it is read-only"), "{}", said.stderr);
    ensure!(!said.stderr.contains("s3cret"), "{}", said.stderr);
    let history = docker.run(&["history", "--no-trunc", "bx-secret:1"])?;
    ensure!(!history.contains("s3cret") && history.contains("secret:token"), "{history}");
    let there = docker.run(&[
        "run",
        "--rm",
        "bx-secret:1",
        "cmd",
        "/c",
        "if exist C:\\run (echo left) else if exist C:\\cfg (echo left) else (echo clean)",
    ])?;
    ensure!(there.trim() == "clean", "{there}");
    ensure!(!daemon.log().contains("s3cret"), "the daemon's log");
    let left = fs_err::read_to_string("/proc/self/mountinfo")?;
    ensure!(!left.contains(" ramfs "), "a directory for secrets is left: {left}");
    let said = buildx.try_run(&["buildx", "build", "--no-cache", &text(&directory)])?;
    ensure!(!said.good && said.stderr.contains("token is required"), "{}", said.stderr);
    PASSED
}

fn one_cache(daemon: &mut Daemon) -> Result<Outcome> {
    let (buildx, docker) = (Buildx::new(daemon)?, daemon.docker());
    let dockerfile = "FROM nanoserver\nCOPY a.txt C:/a.txt\nRUN echo both doors> C:\\b.txt\n";
    let directory = context(daemon, "bx-cache", dockerfile)?;
    fs_err::write(directory.join("a.txt"), "a")?;
    let classic = docker.run(&["build", "-q", &text(&directory)])?;
    let second = buildx.run(&["buildx", "build", "-q", &text(&directory)])?.stdout;
    ensure!(classic.trim() == second.trim(), "{classic} is not {second}");
    PASSED
}

fn contexts(daemon: &mut Daemon) -> Result<Outcome> {
    let (buildx, docker) = (Buildx::new(daemon)?, daemon.docker());
    let dockerfile = "FROM nanoserver\nCOPY . C:/all/\nCMD dir /s /b C:\\all\n";
    let directory = context(daemon, "bx-context", dockerfile)?;
    fs_err::create_dir_all(directory.join("deep/er"))?;
    for name in ["keep.txt", "drop.log", "deep/er/k\u{e4}se.txt", "deep/drop.log"] {
        fs_err::write(directory.join(name), name)?;
    }
    fs_err::write(
        directory.join(".dockerignore"),
        "# no logs\n**/*.log\nDockerfile\n/.dockerignore\n",
    )?;
    if !directory.join("link").exists() {
        symlink("keep.txt", directory.join("link"))?;
    }
    let image = buildx.run(&["buildx", "build", "-q", &text(&directory)])?.stdout;
    let names = docker.run(&["run", "--rm", image.trim()])?;
    ensure!(names.contains("keep.txt") && names.contains("link"), "{names}");
    ensure!(!names.contains("drop.log") && !names.contains("Dockerfile"), "{names}");
    let list = format!("cd {} && tar c . | exec \"$0\" \"$@\"", directory.display());
    let docker_program = buildx.clients.join("trixie/usr/bin/docker");
    let mut piped = buildx.command("docker", &[]);
    piped = {
        let mut shell = Command::new("bash");
        let wanted = ["buildx", "build", "-q", "-"];
        shell.arg("-c").arg(list).arg(docker_program).args(wanted);
        for (name, value) in piped.get_envs() {
            if let Some(value) = value {
                shell.env(name, value);
            }
        }
        shell
    };
    let said = buildx.say(piped)?;
    ensure!(said.good && said.stdout.trim() == image.trim(), "{}{}", said.stdout, said.stderr);
    PASSED
}

fn refusals(daemon: &mut Daemon) -> Result<Outcome> {
    let buildx = Buildx::new(daemon)?;
    let failing =
        text(&context(daemon, "bx-fail", "FROM nanoserver\nRUN echo last words & exit 3\n")?);
    let wrong = text(&context(daemon, "bx-wrong", "FROM nanoserver\nFRM x\n")?);
    let good = text(&context(daemon, "bx-good", "FROM nanoserver\n")?);
    let table: [(&[&str], &[&str]); 6] = [
        (&[&failing], &["last words", "non-zero code: 3"]),
        (&[&wrong], &["unknown instruction: FRM", "line 2"]),
        (&["--build-context", "x=docker-image://y", &good], &["named context \"x\""]),
        (&["-o", "type=tar,dest=/dev/null", &good], &["exporter \"tar\" is not supported"]),
        (&["--platform", "linux/amd64", &good], &["linux/amd64"]),
        (&["--target", "none", &good], &["target stage \"none\" could not be found"]),
    ];
    for (arguments, expected) in table {
        let build = ["buildx", "build", "--progress", "plain"];
        let said = buildx.try_run(&[&build, arguments].concat())?;
        ensure!(!said.good, "{arguments:?} was built");
        for text in expected {
            ensure!(said.stderr.contains(text), "{text}: {}", said.stderr);
        }
    }
    PASSED
}

fn cancelled(daemon: &mut Daemon) -> Result<Outcome> {
    let (buildx, docker) = (Buildx::new(daemon)?, daemon.docker());
    let dockerfile = "FROM nanoserver\nRUN echo begun& ping -n 600 127.0.0.1 >nul\n";
    let directory = text(&context(daemon, "bx-cancel", dockerfile)?);
    let running = || docker.run(&["ps", "-q"]).map(|list| !list.trim().is_empty());
    let mut client = buildx
        .command("docker", &["buildx", "build", &directory])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    docker.wait_until("the step runs", |_| running())?;
    client.kill()?;
    client.wait()?;
    docker.wait_until("the step is ended", |_| running().map(|runs| !runs))?;
    let all = || docker.run(&["ps", "-aq"]).map(|list| list.trim().is_empty());
    docker.wait_until("its container is gone", |_| all())?;
    PASSED
}

fn caches(daemon: &mut Daemon) -> Result<Outcome> {
    let buildx = Buildx::new(daemon)?;
    let dockerfile = "FROM nanoserver\n\
        RUN --mount=type=cache,id=bx-mount,target=C:\\cache echo x> C:\\cache\\x\n";
    let directory = text(&context(daemon, "bx-mount", dockerfile)?);
    buildx.run(&["buildx", "build", "--no-cache", &directory])?;
    let listed = buildx.run(&["buildx", "du", "--verbose"])?.stdout;
    ensure!(listed.contains("cached mount bx-mount"), "{listed}");
    buildx.run(&["buildx", "prune", "-f"])?;
    let listed = buildx.run(&["buildx", "du", "--verbose"])?.stdout;
    ensure!(!listed.contains("bx-mount"), "{listed}");
    PASSED
}

const COMPOSE: &str = r"
services:
  app:
    image: bx-composed:1
    build:
      context: .
      args: { WHO: compose }
      secrets: [token]
secrets:
  token: { file: ./token }
";

fn compose(daemon: &mut Daemon) -> Result<Outcome> {
    let (buildx, docker) = (Buildx::new(daemon)?, daemon.docker());
    let dockerfile = "FROM nanoserver\nARG WHO\n\
        RUN --mount=type=secret,id=token,required findstr key C:\\run\\secrets\\token >nul\n\
        RUN echo %WHO%> C:\\who.txt\nCMD type C:\\who.txt\n";
    let directory = context(daemon, "bx-compose", dockerfile)?;
    fs_err::write(directory.join("compose.yaml"), COMPOSE)?;
    fs_err::write(directory.join("token"), "key")?;
    let file = text(&directory.join("compose.yaml"));
    let said = buildx.say(buildx.command("docker-compose", &["-f", &file, "build"]))?;
    ensure!(said.good, "{}{}", said.stdout, said.stderr);
    let who = docker.run(&["run", "--rm", "bx-composed:1"])?;
    ensure!(who.trim() == "compose", "{who}");
    PASSED
}
