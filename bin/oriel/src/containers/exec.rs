//! `oriel exec`: one more program in a container.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use hyper::Method;
use oriel_api::exec::{CreateRequest, Inspect, StartRequest};
use serde_json::Value;

use super::{
    session::{self, Program, Signals},
    text,
};
use crate::{
    completion,
    connection::{At, Client},
    exit::of_program,
    streams::{DetachKeys, Ending, Session, console_size},
};

#[derive(Args)]
#[command(after_help = "Exit codes: the program's own (its low 8 bits), 126 if it cannot be run, \
                        127 if there is no such program.")]
pub(crate) struct Exec {
    /// Leave the program running
    #[arg(short, long)]
    detach: bool,
    /// Keep standard input open
    #[arg(short, long)]
    interactive: bool,
    /// Give the program a console
    #[arg(short, long)]
    tty: bool,
    /// Variable, NAME=VALUE, or NAME to pass this one's on
    #[arg(short, long = "env", value_name = "VARIABLE")]
    env: Vec<String>,
    /// File with a variable on each line
    #[arg(long = "env-file", value_name = "FILE")]
    env_files: Vec<String>,
    /// Account
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// Directory to start in
    #[arg(short, long, value_name = "DIRECTORY")]
    workdir: Option<String>,
    /// Keys that leave the program running
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: DetachKeys,
    /// Give it everything
    #[arg(long)]
    privileged: bool,
    /// Container
    #[arg(add = completion::running())]
    container: String,
    /// Program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// `oriel exec`
pub(crate) async fn run(client: &Client, wanted: Exec) -> anyhow::Result<ExitCode> {
    let stdin = wanted.interactive && !wanted.detach;
    if wanted.tty && stdin {
        session::needs_terminal()?;
    }
    let console = console_size().filter(|_| wanted.tty);
    let at = At::path(&["containers", &wanted.container, "exec"]);
    let made: Value = client.post_json(&at, &request(&wanted, stdin)?).await?.json().await?;
    let id = made["Id"].as_str().context("the daemon's answer has no id")?;
    let at = At::path(&["exec", id, "start"]);
    let mut start =
        StartRequest { detach: Some(wanted.detach), tty: Some(wanted.tty), console_size: console };
    if wanted.detach {
        client.post_json(&at, &start).await?;
        return Ok(ExitCode::SUCCESS);
    }
    start.detach = Some(false);
    let signals = Signals::End.catch()?;
    let hijacked = client.call(Method::POST, &at).json(&start)?.hijack().await?;
    let beside = session::beside(client, Program::Exec(id), wanted.tty, signals);
    let session = Session { tty: wanted.tty, stdin, detach: wanted.detach_keys };
    if session.run(hijacked, beside).await? == Ending::Detached {
        return Ok(ExitCode::SUCCESS);
    }
    let ended: Inspect = client.get(&At::path(&["exec", id, "json"])).await?;
    let code = ended.exit_code.context("the daemon broke off, and the program may run on")?;
    Ok(of_program(code))
}

fn request(wanted: &Exec, stdin: bool) -> anyhow::Result<CreateRequest> {
    let env = text::lines_of(&wanted.env_files)?.into_iter().chain(wanted.env.iter().cloned());
    Ok(CreateRequest {
        attach_stdin: Some(stdin),
        attach_stdout: Some(!wanted.detach),
        attach_stderr: Some(!wanted.detach),
        tty: Some(wanted.tty),
        cmd: Some(wanted.command.clone()),
        env: Some(text::variables(env)),
        working_dir: wanted.workdir.clone(),
        user: wanted.user.clone(),
        privileged: Some(wanted.privileged),
        detach_keys: None,
        console_size: console_size().filter(|_| wanted.tty),
    })
}
