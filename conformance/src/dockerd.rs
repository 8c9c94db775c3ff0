//! A real dockerd beside the daemon under test.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// A dockerd of `scripts/with-dockerd`, with one small Linux image. Dropping it ends it.
pub struct Dockerd {
    child: Child,
    folder: PathBuf,
}

impl Dockerd {
    /// Starts a dockerd that keeps everything in `folder`, which must be empty, and waits for it.
    ///
    /// # Errors
    /// When it does not start; what it said is in the folder's `dockerd.log`.
    pub fn start(clients: &Path, folder: &Path) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/with-dockerd");
        // It runs until its command ends, which ends with its input.
        let mut child = Command::new(script)
            .arg(folder)
            .args(["sh", "-c", "echo ready; cat"])
            .env("ORIEL_TEST_CLIENTS", clients)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start scripts/with-dockerd")?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let dockerd = Self { child, folder: folder.to_owned() };
        let log = || fs_err::read_to_string(folder.join("dockerd.log")).unwrap_or_default();
        ensure!(line.trim() == "ready", "dockerd did not start:\n{}", log());
        Ok(dockerd)
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // The script cleans up and ends; nobody is there to hear of a failure.
        let _ = self.child.wait();
    }
}
