//! The terminal: its size, raw mode, and passwords.

use std::io::{self, BufRead, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::Context;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Whether a stream is a terminal.
pub(crate) fn is_terminal(stream: &impl IsTerminal) -> bool {
    stream.is_terminal()
}

/// Height and width of the terminal, if standard output is one.
pub(crate) fn console_size() -> Option<[u16; 2]> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some([size.ws_row, size.ws_col])
}

/// The terminal in a mode where every key goes to the program in the container. Dropped, however
/// this program goes on or ends, it gives the terminal back as it was.
pub(crate) struct RawMode {
    before: Option<Termios>,
}

impl RawMode {
    /// Enters raw mode, if `wanted` and standard input is a terminal.
    ///
    /// # Errors
    /// When the terminal refuses.
    pub(crate) fn enter(wanted: bool) -> anyhow::Result<Self> {
        if !wanted || !io::stdin().is_terminal() {
            return Ok(Self { before: None });
        }
        let before = tcgetattr(io::stdin()).context("cannot read the terminal's mode")?;
        let mut raw = before.clone();
        raw.make_raw();
        set(io::stdin().as_fd(), &raw).context("cannot put the terminal into raw mode")?;
        Ok(Self { before: Some(before) })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        if let Some(before) = self.before.take() {
            // A terminal that has gone away needs no mode.
            let _ = set(io::stdin().as_fd(), &before);
        }
    }
}

fn set(terminal: BorrowedFd<'_>, mode: &Termios) -> io::Result<()> {
    Ok(tcsetattr(terminal, OptionalActions::Now, mode)?)
}

/// Asks for a line on the terminal without showing what is typed.
///
/// # Errors
/// When standard input is no terminal, or ends.
pub(crate) fn read_secret(prompt: &str) -> anyhow::Result<String> {
    let before = tcgetattr(io::stdin()).context("standard input is no terminal")?;
    let mut silent = before.clone();
    silent.local_modes &= !LocalModes::ECHO;
    let mut err = io::stderr();
    write!(err, "{prompt}")?;
    err.flush()?;
    set(io::stdin().as_fd(), &silent)?;
    let _restored = RawMode { before: Some(before) };
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    writeln!(err)?;
    read.context("cannot read standard input")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
