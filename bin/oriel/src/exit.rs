//! Exit codes: Docker's own, and those of programs on Windows in the 8 bits that Linux has.
//!
//! | Code | Meaning |
//! |---|---|
//! | 125 | the daemon or this command failed |
//! | 126 | the program in the container cannot be run |
//! | 127 | there is no such program |
//! | other | the program's own, its low 8 bits |

use std::{fmt, process::ExitCode};

use oriel_hcs::{ExitMeaning, exit_meaning};

use crate::screen::talk;

/// The daemon or this command failed.
pub(crate) const FAILED: u8 = 125;
/// The program in the container cannot be run.
const CANNOT_RUN: u8 = 126;
/// There is no such program.
const NOT_FOUND: u8 = 127;

/// Ends this program with a code and without another word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit(pub(crate) u8);

impl Exit {
    /// As shells tell that a signal ended a program.
    pub(crate) fn by_signal(number: i32) -> Self {
        Self(u8::try_from(128 + number).unwrap_or(FAILED))
    }
}

impl std::error::Error for Exit {}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {}", self.0)
    }
}

/// An error that has a code of its own.
#[derive(Debug)]
pub(crate) struct Coded {
    /// The code.
    pub(crate) code: u8,
    /// The error.
    pub(crate) error: anyhow::Error,
}

impl std::error::Error for Coded {}

impl fmt::Display for Coded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

/// Gives a failure to start a program the code that Docker gives it.
pub(crate) fn coded(error: anyhow::Error) -> anyhow::Error {
    if error.is::<Exit>() {
        return error;
    }
    let code = start_code(&format!("{error:#}"));
    Coded { code, error }.into()
}

/// Docker's rule (docker/cli, `cli/command/container/run.go`: `toStatusError`), which looks at
/// the daemon's words; but a file that this host lacks is no missing program.
fn start_code(message: &str) -> u8 {
    let message = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if says(&["executable file not found", "cannot find the file specified"]) {
        NOT_FOUND
    } else if says(&["permission denied at"]) {
        // The daemon's socket, not a program.
        FAILED
    } else if says(&["permission denied", "access is denied", "is not a valid win32"]) {
        CANNOT_RUN
    } else {
        FAILED
    }
}

/// The exit code of a program in a container as this program's own. Says what is lost.
pub(crate) fn of_program(code: i64) -> ExitCode {
    if let Some(text) = explain(code) {
        talk(&text);
    }
    ExitCode::from(low_bits(code))
}

/// Linux has 8 bits. Where they would say that all is well, 255 says that it is not.
pub(crate) fn low_bits(code: i64) -> u8 {
    match (code, code.to_le_bytes()[0]) {
        (0, _) => 0,
        (_, 0) => u8::MAX,
        (_, low) => low,
    }
}

/// What a code that does not fit 8 bits means.
fn explain(code: i64) -> Option<String> {
    if (0..=255).contains(&code) {
        return None;
    }
    let status = u32::try_from(code & 0xFFFF_FFFF).ok()?;
    let low = low_bits(code);
    Some(match exit_meaning(status) {
        Some(ExitMeaning { name, meaning }) => {
            format!("exit code 0x{status:08X} ({name}): {meaning}")
        }
        None => format!("exit code {code} (0x{status:X}) is shown as {low}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_windows_keep_their_low_bits_and_never_look_like_success() {
        for (code, low) in
            [(0, 0), (3, 3), (255, 255), (256, 255), (0x1_00, 255), (0xC000_0135, 0x35)]
        {
            assert_eq!(low_bits(code), low, "{code}");
        }
    }

    #[test]
    fn what_does_not_fit_is_explained() {
        assert_eq!(explain(7), None);
        assert!(explain(0xC000_0135).unwrap().contains("STATUS_DLL_NOT_FOUND"));
        assert_eq!(explain(1000).unwrap(), "exit code 1000 (0x3E8) is shown as 232");
    }

    #[test]
    fn failures_to_start_have_dockers_codes() {
        for (text, code) in [
            ("no such image: x", 125),
            ("hcs::System::CreateProcess: The system cannot find the file specified.", 127),
            ("exec: \"x\": executable file not found in %PATH%", 127),
            ("Access is denied.", 126),
            ("permission denied at unix:///x", 125),
            ("cannot launch silo: /run/x: No such file or directory (os error 2)", 125),
        ] {
            assert_eq!(start_code(text), code, "{text}");
        }
    }
}
