//! Clients as they are, each with a program that uses it: `conformance/clients`.
//!
//! A program prints a line for each step, `step NAME: ok`, and ends with status 1 when a step
//! failed. It finds its daemon by `DOCKER_HOST`, and asks it whether it runs Windows or Linux. What
//! is not done with the client itself goes past the recorder, to `ORIEL_TEST_DAEMON`.

use std::{
    io::Read,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::{Exchange, Recorder};

/// Programs take a minute at most; one that takes longer hangs.
const PROGRAM_DEADLINE: Duration = Duration::from_secs(300);

/// A client and how its program is started.
#[derive(Debug)]
pub struct Client {
    /// Name of its folder.
    pub name: &'static str,
    interpreter: Interpreter,
    program: &'static str,
}

#[derive(Debug)]
enum Interpreter {
    Bash,
    Python,
    Node,
    /// Built by `scripts/test`.
    Cargo,
}

/// All clients, in the order of the table.
pub const CLIENTS: &[Client] = &[
    Client { name: "docker-cli", interpreter: Interpreter::Bash, program: "main" },
    Client { name: "compose", interpreter: Interpreter::Bash, program: "main" },
    Client { name: "docker-py", interpreter: Interpreter::Python, program: "main.py" },
    Client { name: "testcontainers", interpreter: Interpreter::Python, program: "main.py" },
    Client { name: "dockerode", interpreter: Interpreter::Node, program: "main.js" },
    Client { name: "bollard", interpreter: Interpreter::Cargo, program: "bollard-client" },
    Client { name: "skopeo", interpreter: Interpreter::Bash, program: "main" },
];

/// Where `scripts/install-deps` put the clients.
#[derive(Debug)]
pub struct Installed {
    /// Their libraries and programs.
    pub clients: PathBuf,
    /// Real Windows programs for containers.
    pub programs: PathBuf,
    /// An empty folder for what the programs make.
    pub scratch: PathBuf,
}

/// What a client's program did.
#[derive(Debug)]
pub struct Session {
    /// The client with its version.
    pub client: String,
    /// What it printed.
    pub output: String,
    /// What it asked the daemon for.
    pub exchanges: Vec<Exchange>,
}

impl Client {
    /// Runs the program on the daemon that listens on `socket`.
    ///
    /// # Errors
    /// When a step fails, or the program does not end.
    pub fn run(&self, installed: &Installed, socket: &Path) -> Result<Session> {
        let scratch = installed.scratch.join(self.name);
        fs_err::create_dir_all(&scratch)?;
        let front = installed.scratch.join(format!("{}.sock", self.name));
        let recorder = Recorder::start(socket, &front)?;
        let mut command = self.command(installed);
        command
            .current_dir(&scratch)
            .env("DOCKER_HOST", format!("unix://{}", front.display()))
            .env("ORIEL_TEST_DAEMON", socket)
            .env("DOCKER_CONFIG", scratch.join("config"))
            .env("ORIEL_TEST_CLIENTS", &installed.clients)
            .env("ORIEL_TEST_PROGRAMS", &installed.programs)
            .env_remove("DOCKER_CONTEXT");
        let (good, output) = finish(command).with_context(|| format!("run {}", self.name))?;
        ensure!(good, "a step of {} failed:\n{output}", self.name);
        let version = output.lines().find_map(|line| line.strip_prefix("version: "));
        let client = version.context("it printed no version")?.to_owned();
        Ok(Session { client, output, exchanges: recorder.exchanges() })
    }

    fn command(&self, installed: &Installed) -> Command {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(self.name);
        let clients = &installed.clients;
        match self.interpreter {
            Interpreter::Cargo => Command::new(clients.join("bollard/debug").join(self.program)),
            Interpreter::Bash => script("bash".into(), folder.join(self.program)),
            Interpreter::Python => {
                script(clients.join("python/bin/python3"), folder.join(self.program))
            }
            Interpreter::Node => {
                let mut command = script("node".into(), folder.join(self.program));
                command.env("NODE_PATH", clients.join("node/node_modules"));
                command
            }
        }
    }
}

fn script(interpreter: PathBuf, file: PathBuf) -> Command {
    let mut command = Command::new(interpreter);
    command.arg(file);
    command
}

/// Runs a program to its end; tells whether it succeeded and what it printed.
fn finish(mut command: Command) -> Result<(bool, String)> {
    let (mut reader, writer) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    // A group of its own, so that what it started ends with it.
    let mut child = command.process_group(0).spawn()?;
    drop(command);
    let output = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = reader.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let end = Instant::now() + PROGRAM_DEADLINE;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if Instant::now() > end {
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // Mostly nobody is left.
        let _ = kill_process_group(group, Signal::KILL);
    }
    child.wait()?;
    let output = output.join().unwrap_or_default();
    match status {
        Some(status) => Ok((status.success(), output)),
        None => bail!("it did not end within {PROGRAM_DEADLINE:?}:\n{output}"),
    }
}
