//! Bodies about execs.

use serde::{Deserialize, Serialize};

/// Body of `POST /containers/{id}/exec`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CreateRequest {
    /// Whether its start will give standard input.
    pub attach_stdin: Option<bool>,
    /// Whether its start will take standard output.
    pub attach_stdout: Option<bool>,
    /// Whether its start will take standard error.
    pub attach_stderr: Option<bool>,
    /// Whether it has a console.
    pub tty: Option<bool>,
    /// Program and arguments.
    pub cmd: Option<Vec<String>>,
    /// Variables, `NAME=value`.
    pub env: Option<Vec<String>>,
    /// Directory to start in.
    pub working_dir: Option<String>,
    /// Account.
    pub user: Option<String>,
    /// Linux's privileged flag.
    pub privileged: Option<bool>,
    /// Keys that leave it running.
    pub detach_keys: Option<String>,
    /// Height and width of the console.
    pub console_size: Option<[u16; 2]>,
}

/// Body of `POST /exec/{id}/start`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct StartRequest {
    /// Whether to leave at once.
    pub detach: Option<bool>,
    /// Whether the client has a console.
    pub tty: Option<bool>,
    /// Height and width of the console.
    pub console_size: Option<[u16; 2]>,
}

/// Body of `GET /exec/{id}/json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inspect {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: String,
    /// Whether it runs.
    pub running: bool,
    /// Its exit code; `null` until it has ended.
    pub exit_code: Option<i64>,
    /// What runs.
    pub process_config: ProcessConfig,
    /// Whether standard input is given.
    pub open_stdin: bool,
    /// Whether standard error is taken.
    pub open_stderr: bool,
    /// Whether standard output is taken.
    pub open_stdout: bool,
    /// Whether it may be forgotten.
    pub can_remove: bool,
    /// Its container.
    #[serde(rename = "ContainerID")]
    pub container_id: String,
    /// Keys that leave it running, as bytes.
    pub detach_keys: String,
    /// Its Windows process id.
    pub pid: u32,
}

/// What an exec runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessConfig {
    /// Whether it has a console.
    pub tty: bool,
    /// The program.
    pub entrypoint: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its account.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
}
