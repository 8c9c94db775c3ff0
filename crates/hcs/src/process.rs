//! Processes inside a compute system.

use serde::{Deserialize, Serialize};

/// Names a process within its compute system. The host chooses it; the container's first process
/// is [`ProcessId::INIT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessId(pub u32);

impl ProcessId {
    /// The container's first process.
    pub const INIT: Self = Self(1);
}

/// What `CreateProcess` is asked to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandLine {
    /// A command line, passed on verbatim (Docker's `ArgsEscaped`).
    Verbatim(String),
    /// Arguments, each escaped by the inverse of `CommandLineToArgvW`; the first is the program.
    Arguments(Vec<String>),
}

/// Size of a console in character cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleSize {
    /// Rows.
    pub height: u16,
    /// Columns.
    pub width: u16,
}

/// How to create a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessParameters {
    /// What to run.
    pub command: CommandLine,
    /// Directory to start in, such as `C:\app`; created when absent.
    pub working_directory: String,
    /// Variables laid over the account's own environment, names compared without case, last wins.
    pub environment: Vec<(String, String)>,
    /// `ContainerAdministrator`, `ContainerUser`, or empty for the former.
    pub user: String,
    /// Attach a pseudo console of this size; all output then arrives as standard output.
    pub console: Option<ConsoleSize>,
    /// Whether standard input stays open until closed; otherwise the program reads end of file.
    pub stdin: bool,
}

/// A console control event, with its number in `wincon.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlEvent {
    /// `CTRL_C_EVENT`, 0.
    CtrlC,
    /// `CTRL_BREAK_EVENT`, 1.
    CtrlBreak,
    /// `CTRL_SHUTDOWN_EVENT`, 6.
    Shutdown,
}

impl ControlEvent {
    /// The event's number in `wincon.h`.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::CtrlC => 0,
            Self::CtrlBreak => 1,
            Self::Shutdown => 6,
        }
    }
}

/// One line of a process list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSummary {
    /// Image name, such as `cmd.exe`.
    pub name: String,
    /// Windows process id.
    pub pid: u32,
    /// Kernel and user time in units of 100 ns.
    pub cpu_100ns: u64,
    /// Private working set in bytes.
    pub private_bytes: u64,
}
