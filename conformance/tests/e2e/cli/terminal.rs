//! A terminal of the tests' own, and what `oriel run -it` does to it.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use oriel_conformance::{Daemon, Docker, Outcome};
use rustix::{
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};

use crate::PASSED;

/// A program answers within a second; the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(60);

/// A pseudo terminal with whatever was shown on it.
struct Terminal {
    keys: File,
    screen: Arc<Mutex<Vec<u8>>>,
    name: String,
    /// Held, so that the terminal stays when a program leaves it.
    line: File,
}

impl Terminal {
    fn new() -> Result<Self> {
        let keys: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&keys)?;
        unlockpt(&keys)?;
        let name = ptsname(&keys, Vec::new())?.into_string()?;
        let keys = File::from(keys);
        let line = fs_err::OpenOptions::new().read(true).write(true).open(&name)?.into_parts().0;
        let screen = Arc::new(Mutex::new(Vec::new()));
        let (mut output, shown) = (keys.try_clone()?, screen.clone());
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut piece) {
                let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
                shown.extend_from_slice(&piece[..length]);
            }
        });
        let terminal = Self { keys, screen, name, line };
        terminal.resize(30, 100)?;
        Ok(terminal)
    }

    fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(&self.keys, size)?)
    }

    fn mode(&self) -> Result<Termios> {
        Ok(tcgetattr(&self.line)?)
    }

    /// Starts a command with this as its controlling terminal, on a screen that is empty.
    fn start(&self, command: &Command) -> Result<Child> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let open = || fs_err::OpenOptions::new().read(true).write(true).open(&self.name);
        let mut started = Command::new("setsid");
        started.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        started.stdin(Stdio::from(open()?.into_parts().0));
        started.stdout(Stdio::from(open()?.into_parts().0));
        started.stderr(Stdio::from(open()?.into_parts().0));
        started.spawn().context("start setsid")
    }

    fn types(&mut self, keys: &[u8]) -> Result<()> {
        Ok(self.keys.write_all(keys)?)
    }

    /// Waits until the screen shows a text that it has not been asked for before.
    fn shows(&self, wanted: &str) -> Result<()> {
        let end = Instant::now() + DEADLINE;
        loop {
            let mut screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
            let text = String::from_utf8_lossy(&screen).into_owned();
            if text.contains(wanted) {
                screen.clear();
                return Ok(());
            }
            drop(screen);
            if Instant::now() > end {
                bail!("the terminal does not show {wanted:?} but {text:?}");
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn same(before: &Termios, after: &Termios) -> bool {
    before.input_modes == after.input_modes
        && before.output_modes == after.output_modes
        && before.local_modes == after.local_modes
        && before.control_modes == after.control_modes
}

fn code(child: &mut Child) -> Result<i32> {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(status) = child.try_wait()? {
            return status.code().context("it ended by a signal");
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            bail!("it did not end");
        }
        thread::sleep(Duration::from_millis(20));
    }
}

pub(super) fn given_back(daemon: &mut Daemon) -> Result<Outcome> {
    let oriel = super::oriel(daemon);
    let mut terminal = Terminal::new()?;
    let before = terminal.mode()?;
    let outcome = at_its_end(daemon, &mut terminal, &before)
        .and_then(|()| when_left(&oriel, &mut terminal, &before));
    // It may have been removed by its end.
    let _ = oriel.try_run(&["rm", "-f", "shown"])?;
    outcome?;
    PASSED
}

/// A program that ends; meanwhile the window changes its size.
fn at_its_end(daemon: &Daemon, terminal: &mut Terminal, before: &Termios) -> Result<()> {
    let oriel = super::oriel(daemon);
    let told = || daemon.log().matches("/resize").count();
    let run = oriel.command(&["run", "-it", "--rm", "--name", "shown", "nanoserver", "cmd"]);
    let mut child = terminal.start(&run)?;
    terminal.shows("C:\\>")?;
    ensure!(!same(before, &terminal.mode()?), "keys go to the program as they are");
    terminal.types(b"echo %OS%\r")?;
    terminal.shows("Windows_NT")?;
    let before_it = told();
    terminal.resize(20, 80)?;
    oriel.wait_until("the daemon is told of the window", |_| Ok(told() > before_it))?;
    terminal.types(b"exit 9\r")?;
    ensure!(code(&mut child)? == 9, "the program's exit code");
    ensure!(same(before, &terminal.mode()?), "the terminal is as it was");
    Ok(())
}

/// A program that is left running: by keys, then by a signal.
fn when_left(oriel: &Docker, terminal: &mut Terminal, before: &Termios) -> Result<()> {
    let run = oriel.command(&["run", "-it", "--name", "shown", "nanoserver", "cmd"]);
    let mut child = terminal.start(&run)?;
    terminal.shows("C:\\>")?;
    terminal.types(b"\x10\x11")?;
    ensure!(code(&mut child)? == 0, "leaving a program is no failure");
    ensure!(same(before, &terminal.mode()?), "the terminal is as it was after leaving");
    let mut child = terminal.start(&oriel.command(&["attach", "shown"]))?;
    oriel.wait_until("the terminal is the program's", |_| Ok(!same(before, &terminal.mode()?)))?;
    terminal.types(b"echo b%OS%a\r")?;
    terminal.shows("bWindows_NTa")?;
    // setsid forks only when it has to, so that this is oriel itself or its parent.
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("no process id")?;
    kill_process(pid, Signal::TERM)?;
    ensure!(code(&mut child)? == 128 + 15, "ended as shells tell of signals");
    ensure!(same(before, &terminal.mode()?), "the terminal is as it was after a signal");
    ensure!(oriel.run(&["ps", "--format", "{{.Names}}"])?.contains("shown"), "it runs on");
    Ok(())
}
