//! An `orield` of the tests' own.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::{Docker, Leftovers};

/// Start-up reconciles the state on disk; with a warm disk it takes well under a second.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// Where the daemon's parts are.
pub struct Settings {
    /// Directory with `orield`, `oriel`, `oriel-agent` and `cexecsvc.exe`.
    pub programs: PathBuf,
    /// The Docker CLI.
    pub docker: PathBuf,
    /// Data root that keeps the personality and the base images between runs.
    pub data_root: PathBuf,
    /// Which of several daemons at once this is: 0 for the suite's own.
    pub number: u8,
}

/// A running daemon with its own socket, exec root, bridge and subnet. Dropping it ends the daemon
/// and every container.
pub struct Daemon {
    settings: Settings,
    scratch: tempfile::TempDir,
    child: Option<Child>,
    further: Vec<String>,
    activated: bool,
}

impl Daemon {
    /// Name of the suite's daemon's bridge link.
    pub const BRIDGE: &'static str = "orieltest0";

    /// The settings of another daemon, beside this one, with an empty data root at `data_root` but
    /// for the NT personality.
    ///
    /// # Errors
    /// When the personality cannot be copied.
    pub fn beside(&self, data_root: &Path) -> Result<Settings> {
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(self.settings.data_root.join("personality")).arg(data_root);
        ensure!(copy.status()?.success(), "cannot copy the personality");
        Ok(Settings {
            programs: self.settings.programs.clone(),
            docker: self.settings.docker.clone(),
            data_root: data_root.to_owned(),
            number: self.settings.number + 1,
        })
    }

    /// Certificates and mirrors by registry, empty at first.
    #[must_use]
    pub fn certs_dir(&self) -> PathBuf {
        self.scratch.path().join("certs.d")
    }

    /// Starts a daemon.
    ///
    /// # Errors
    /// When it does not answer in time; its log is part of the message.
    pub fn start(settings: Settings) -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("oriel-e2e-").tempdir()?;
        let mut daemon =
            Self { settings, scratch, child: None, further: Vec::new(), activated: false };
        daemon.launch()?;
        Ok(daemon)
    }

    /// The daemon's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.scratch.path().join("oriel.sock")
    }

    /// The Docker CLI for this daemon.
    #[must_use]
    pub fn docker(&self) -> Docker {
        Docker::new(&self.settings.docker, &self.socket())
    }

    /// A directory for files of the tests, gone with the daemon.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// The daemon's data root.
    #[must_use]
    pub fn data_root(&self) -> &Path {
        &self.settings.data_root
    }

    /// A program beside the daemon, such as `oriel`.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.settings.programs.join(name)
    }

    /// Ends the daemon as a power cut would, without a word to it.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the daemon is not running")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Starts the daemon again after [`Daemon::kill`], or asks a running one to end first.
    ///
    /// # Errors
    /// When it does not end or does not answer.
    pub fn restart(&mut self) -> Result<()> {
        self.end()?;
        self.launch()
    }

    /// Starts the daemon again with further options, until it is started with others.
    ///
    /// # Errors
    /// When it does not end or does not answer.
    pub fn restart_with(&mut self, options: &[&str]) -> Result<()> {
        self.further = options.iter().map(|&option| option.to_owned()).collect();
        self.restart()
    }

    /// Starts the daemon again as systemd does, with its socket open already.
    ///
    /// # Errors
    /// When it does not end or does not answer.
    pub fn restart_activated(&mut self) -> Result<()> {
        self.activated = true;
        let restarted = self.restart();
        self.activated = false;
        restarted
    }

    /// Asks the daemon to read its configuration again.
    ///
    /// # Errors
    /// When it is not running.
    pub fn hang_up(&self) -> Result<()> {
        let child = self.child.as_ref().context("the daemon is not running")?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        Ok(kill_process(pid.context("process ids are positive")?, Signal::HUP)?)
    }

    /// What the daemon wrote to its log.
    #[must_use]
    pub fn log(&self) -> String {
        fs_err::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.scratch.path().join("orield.log")
    }

    fn launch(&mut self) -> Result<()> {
        let log = fs_err::OpenOptions::new().create(true).append(true).open(self.log_path())?;
        let child = self
            .starter()
            .arg("--data-root")
            .arg(&self.settings.data_root)
            .arg("--exec-root")
            .arg(self.scratch.path().join("run"))
            .arg("--pidfile")
            .arg(self.scratch.path().join("orield.pid"))
            .arg("--certs-dir")
            .arg(self.certs_dir())
            .args(["--bridge", &format!("orieltest{}", self.settings.number)])
            .args(["--bip", &format!("10.213.{}.1/24", 77 + self.settings.number)])
            .args(["--log-level", "debug"])
            .args(&self.further)
            .stdin(Stdio::null())
            .stdout(log.file().try_clone()?)
            .stderr(log.into_parts().0)
            .spawn()
            .context("start orield")?;
        self.child = Some(child);
        self.await_ping()
    }

    /// What starts the daemon, up to where it listens.
    fn starter(&self) -> Command {
        /// Opens a socket and becomes the program, as systemd does.
        const ACTIVATE: &str = "\
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
os.dup2(listener.fileno(), 3)
os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
";
        let program = self.program("orield");
        if !self.activated {
            let mut command = Command::new(program);
            command.arg("--host").arg(format!("unix://{}", self.socket().display()));
            return command;
        }
        let systemd = Path::new("/usr/bin/systemd-socket-activate");
        let mut command = if systemd.exists() {
            let mut command = Command::new(systemd);
            command.arg("--listen");
            command
        } else {
            let mut command = Command::new("python3");
            command.args(["-c", ACTIVATE]);
            command
        };
        command.arg(self.socket()).arg(program).args(["--host", "fd://"]);
        command
    }

    fn await_ping(&mut self) -> Result<()> {
        let end = Instant::now() + START_DEADLINE;
        while Instant::now() < end {
            if matches!(self.docker().http("GET", "/_ping", ""), Ok((200, _))) {
                return Ok(());
            }
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                bail!("orield ended with {status}:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("orield did not answer within {START_DEADLINE:?}:\n{}", self.log())
    }

    fn end(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM)?;
        }
        let end = Instant::now() + START_DEADLINE;
        while child.try_wait()?.is_none() {
            if Instant::now() > end {
                child.kill()?;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Removes every container, volume and network, ends the daemon, and tells what is still there.
    ///
    /// # Errors
    /// When the daemon does not end.
    pub fn stop(mut self) -> Result<Leftovers> {
        self.clear();
        self.end()?;
        let bridge = format!("orieltest{}", self.settings.number);
        Ok(Leftovers::of(self.scratch.path(), &self.settings.data_root, &bridge))
    }

    /// Removes every container, volume and network, as far as it can.
    pub fn clear(&self) {
        let docker = self.docker();
        let Ok(ids) = docker.run(&["ps", "-aq"]) else { return };
        for id in ids.lines() {
            let _ = docker.try_run(&["rm", "-f", "-v", id]);
        }
        let _ = docker.try_run(&["volume", "prune", "-af"]);
        let _ = docker.try_run(&["network", "prune", "-f"]);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.clear();
            let _ = self.end();
        }
    }
}
