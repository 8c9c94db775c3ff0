//! `oriel attach` and `oriel start`: joining a container that exists.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use hyper::Method;
use serde_json::Value;

use super::{
    each,
    run::exit_code,
    session::{self, Program, Signals},
};
use crate::{
    completion,
    connection::{At, Client},
    exit::of_program,
    screen::talk,
    streams::{DetachKeys, Ending, Session},
};

#[derive(Args)]
pub(crate) struct Attach {
    /// Container
    #[arg(add = completion::containers())]
    container: String,
    /// Keys that leave the container running
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: DetachKeys,
    /// Do not pass standard input on
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on to the program; not with a console
    #[arg(long, value_name = "YES", default_value_t = true, action = clap::ArgAction::Set,
        num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sig_proxy: bool,
}

#[derive(Args)]
pub(crate) struct Start {
    /// Containers
    #[arg(required = true, value_name = "CONTAINER", add = completion::containers())]
    containers: Vec<String>,
    /// Show the output, and end with the container's exit code
    #[arg(short, long)]
    attach: bool,
    /// Pass standard input on
    #[arg(short, long)]
    interactive: bool,
    /// Keys that leave the container running
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: DetachKeys,
}

/// How to join a container.
struct Joining<'a> {
    id: &'a str,
    stdin: bool,
    detach: DetachKeys,
    sig_proxy: bool,
    /// Whether it has yet to be started.
    starts: bool,
}

/// `oriel attach`
pub(crate) async fn attach(client: &Client, wanted: Attach) -> anyhow::Result<ExitCode> {
    join(
        client,
        Joining {
            id: &wanted.container,
            stdin: !wanted.no_stdin,
            detach: wanted.detach_keys,
            sig_proxy: wanted.sig_proxy,
            starts: false,
        },
    )
    .await
}

/// `oriel start`
pub(crate) async fn start(client: &Client, wanted: Start) -> anyhow::Result<ExitCode> {
    if !wanted.attach && !wanted.interactive {
        return each(&wanted.containers, async |id: &str| {
            client.post(&At::path(&["containers", id, "start"])).await.map(|_| id.to_owned())
        })
        .await;
    }
    let [id] = wanted.containers.as_slice() else {
        bail!("one container can be attached to at a time; name one, or leave -a and -i away");
    };
    let joining = Joining {
        id,
        stdin: wanted.interactive,
        detach: wanted.detach_keys,
        sig_proxy: true,
        starts: true,
    };
    join(client, joining).await
}

async fn join(client: &Client, joining: Joining<'_>) -> anyhow::Result<ExitCode> {
    let id = joining.id;
    let found: Value = client.get(&At::path(&["containers", id, "json"])).await?;
    let (config, state) = (&found["Config"], &found["State"]);
    if !joining.starts && state["Running"] != true {
        bail!("{id:?} is not running; start it with: oriel start -a {id}");
    }
    if state["Paused"] == true {
        bail!("{id:?} is paused; let it go on with: oriel unpause {id}");
    }
    let tty = config["Tty"] == true;
    let stdin = joining.stdin && config["OpenStdin"] == true;
    if tty && stdin {
        session::needs_terminal()?;
    }
    let at = At::path(&["containers", id, "attach"])
        .with("stream", 1)
        .flag("stdin", stdin)
        .with("stdout", 1)
        .with("stderr", 1);
    let hijacked = client.call(Method::POST, &at).hijack().await?;
    let condition = if joining.starts { "next-exit" } else { "not-running" };
    let at = At::path(&["containers", id, "wait"]).with("condition", condition);
    let ended = client.post(&at).await?;
    let passed = joining.sig_proxy && !tty;
    let signals = if passed { Signals::Passed } else { Signals::End }.catch()?;
    if joining.starts {
        client.post(&At::path(&["containers", id, "start"])).await?;
    }
    let beside = session::beside(client, Program::Container(id), tty, signals);
    match (Session { tty, stdin, detach: joining.detach }).run(hijacked, beside).await? {
        Ending::Detached => {
            talk(&format!("\ndetached; the container runs on as {id}"));
            Ok(ExitCode::SUCCESS)
        }
        Ending::Closed => Ok(of_program(exit_code(ended).await?)),
    }
}
