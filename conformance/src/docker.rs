//! The stock Docker CLI as a client of the daemon under test.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// No single command of the suite takes longer; one that does hangs.
const COMMAND_DEADLINE: Duration = Duration::from_secs(180);

/// The Docker CLI, pointed at one socket.
pub struct Docker {
    program: PathBuf,
    options: Vec<String>,
    socket: PathBuf,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Output {
    /// Exit status of the CLI.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Docker {
    /// Uses the CLI at `program` with the daemon on `socket`.
    #[must_use]
    pub fn new(program: &Path, socket: &Path) -> Self {
        let options = vec!["-H".to_owned(), format!("unix://{}", socket.display())];
        Self { program: program.to_owned(), options, socket: socket.to_owned() }
    }

    /// The same CLI with other options on how to reach the daemon.
    #[must_use]
    pub fn with_options(&self, options: &[&str]) -> Self {
        Self {
            program: self.program.clone(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            socket: self.socket.clone(),
        }
    }

    /// A command of the CLI, for those who want the child itself.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.options).args(arguments);
        // An inherited configuration must not change what is tested.
        command
            .env_remove("DOCKER_HOST")
            .env_remove("DOCKER_CONTEXT")
            .env_remove("DOCKER_BUILDKIT");
        command
    }

    /// Runs the CLI to its end, whatever its exit status.
    ///
    /// # Errors
    /// When the CLI cannot be started or does not end in time.
    pub fn try_run(&self, arguments: &[&str]) -> Result<Output> {
        self.run_with_input(arguments, b"")
    }

    /// Runs the CLI with these bytes on its standard input.
    ///
    /// # Errors
    /// When the CLI cannot be started or does not end in time.
    pub fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Result<Output> {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", self.program.display()))?;
        let stdin = child.stdin.take().context("stdin is piped")?;
        let input = input.to_vec();
        let writer = std::thread::spawn(move || {
            let mut stdin = stdin;
            // A program may end without reading its input.
            let _ = stdin.write_all(&input);
        });
        let output = collect(child).with_context(|| format!("docker {}", arguments.join(" ")))?;
        let _ = writer.join();
        Ok(output)
    }

    /// Runs the CLI and expects success; returns standard output with line ends made `\n`.
    ///
    /// # Errors
    /// When the CLI fails.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.try_run(arguments)?;
        ensure!(
            output.status == 0,
            "docker {} ended with {}\nstdout: {}\nstderr: {}",
            arguments.join(" "),
            output.status,
            output.stdout,
            output.stderr
        );
        Ok(output.stdout.replace("\r\n", "\n"))
    }

    /// `docker inspect` of one object.
    ///
    /// # Errors
    /// When the CLI fails or prints something else than JSON.
    pub fn inspect(&self, name: &str) -> Result<Value> {
        let text = self.run(&["inspect", name])?;
        let list: Value = serde_json::from_str(&text).context("parse docker inspect")?;
        list.get(0).cloned().context("docker inspect printed an empty list")
    }

    /// Waits until `condition` holds.
    ///
    /// # Errors
    /// When it does not within a minute.
    pub fn wait_until(&self, what: &str, condition: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            if condition(self)? {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("waited a minute for: {what}")
    }

    /// One plain HTTP request, for what the CLI never sends. Returns status and body.
    ///
    /// # Errors
    /// When the daemon does not answer with HTTP.
    pub fn http(&self, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(COMMAND_DEADLINE))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: oriel\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").context("answer without a head")?;
        let status = head.split(' ').nth(1).context("status line without a status")?;
        Ok((status.parse()?, body.to_owned()))
    }
}

fn collect(mut child: Child) -> Result<Output> {
    let stdout = reader(child.stdout.take().context("stdout is piped")?);
    let stderr = reader(child.stderr.take().context("stderr is piped")?);
    let end = Instant::now() + COMMAND_DEADLINE;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            bail!("did not end within {COMMAND_DEADLINE:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let text = |thread: std::thread::JoinHandle<Vec<u8>>| {
        String::from_utf8_lossy(&thread.join().unwrap_or_default()).into_owned()
    };
    Ok(Output { status: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) })
}

fn reader(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}
