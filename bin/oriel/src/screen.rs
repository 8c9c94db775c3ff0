//! What people see: colours and a pager on a terminal, plain text elsewhere.
//!
//! What containers say is shown with its control characters escaped, so that a registry cannot
//! play tricks on a terminal.

use std::borrow::Cow;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::{Child, Command, Stdio};

/// Colours that mean something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    /// What is new.
    Green,
    /// What is another.
    Yellow,
    /// What is gone.
    Red,
    /// What other things belong to.
    Bold,
    /// What is beside the point.
    Dim,
}

/// Standard output, or a pager in front of it.
pub(crate) struct Screen {
    out: BufWriter<Box<dyn Write>>,
    pager: Option<Child>,
    colours: bool,
}

impl Screen {
    /// Standard output as it is.
    pub(crate) fn new() -> Self {
        let colours = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { out: BufWriter::new(Box::new(io::stdout())), pager: None, colours }
    }

    /// On a terminal the pager `$PAGER`, or `less`. One that cannot be started is done without.
    pub(crate) fn paged() -> Self {
        let mut screen = Self::new();
        if !io::stdout().is_terminal() {
            return screen;
        }
        let pager = std::env::var("PAGER").unwrap_or_else(|_| "less".to_owned());
        if matches!(pager.trim(), "" | "cat") {
            return screen;
        }
        let mut command = Command::new("sh");
        command.args(["-c", &pager]).stdin(Stdio::piped());
        if std::env::var_os("LESS").is_none() {
            // Ends by itself on what fits the screen, and shows colours.
            command.env("LESS", "FRX");
        }
        let Ok(mut child) = command.spawn() else { return screen };
        if let Some(stdin) = child.stdin.take() {
            screen.out = BufWriter::new(Box::new(stdin));
        }
        screen.pager = Some(child);
        screen
    }

    /// Writes a line.
    ///
    /// # Errors
    /// `BrokenPipe` once the reader has gone, which is no reason to complain.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        self.text(text)?;
        self.text("\n")
    }

    /// Writes a part of a line.
    ///
    /// # Errors
    /// As [`Screen::line`].
    pub(crate) fn text(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())
    }

    /// Shows what has been written so far.
    ///
    /// # Errors
    /// As [`Screen::line`].
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// `text` in a colour, where there are colours.
    pub(crate) fn paint<'a>(&self, colour: Colour, text: &'a str) -> Cow<'a, str> {
        if !self.colours || text.is_empty() {
            return text.into();
        }
        let code = match colour {
            Colour::Green => 32,
            Colour::Yellow => 33,
            Colour::Red => 31,
            Colour::Bold => 1,
            Colour::Dim => 2,
        };
        format!("\x1b[{code}m{text}\x1b[0m").into()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nobody looks at what a reader that has gone misses.
        let _ = self.out.flush();
        if let Some(mut pager) = self.pager.take() {
            // The pager ends when its input does.
            self.out = BufWriter::new(Box::new(io::sink()));
            let _ = pager.wait();
        }
    }
}

/// Whether standard output is a terminal.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Writes data to standard output.
///
/// # Errors
/// `BrokenPipe` once the reader has gone, which is no reason to complain.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Says something to the person at the terminal: talk goes to standard error.
#[expect(clippy::print_stderr, reason = "talk goes to standard error")]
pub(crate) fn talk(text: &str) {
    eprintln!("{text}");
}

/// Text from a container, with what a terminal would obey as escapes.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(commands) {
        return text.into();
    }
    let mut escaped = String::new();
    for c in text.chars() {
        match commands(c) {
            true => escaped.extend(c.escape_default()),
            false => escaped.push(c),
        }
    }
    escaped.into()
}

/// Whether a terminal does something else than show the character: controls, and those that turn
/// the direction of writing.
fn commands(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether an error only says that nobody reads any more.
pub(crate) fn is_gone(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_told_nothing_by_containers() {
        assert_eq!(plain("a\u{1b}[2J\r\n\u{202e}b"), r"a\u{1b}[2J\r\n\u{202e}b");
        assert_eq!(plain("C:\\größe 日本"), "C:\\größe 日本");
    }

    #[test]
    fn colours_are_for_terminals() {
        let mut screen = Screen::new();
        screen.colours = false;
        assert_eq!(screen.paint(Colour::Red, "x"), "x");
        screen.colours = true;
        assert_eq!(screen.paint(Colour::Red, "x"), "\x1b[31mx\x1b[0m");
    }
}
