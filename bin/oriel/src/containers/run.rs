//! `oriel run`: creates a container, starts it and stays with it to its end.

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use oriel_api::container::WaitResponse;

use super::{
    create::create,
    options::ContainerOptions,
    request::Attached,
    session::{self, Program, Signals},
};
use crate::{
    connection::{At, Client, Stream},
    exit::{coded, of_program},
    screen::{print, talk},
    streams::{DetachKeys, Ending, Session},
};

#[derive(Args)]
#[command(
    disable_help_flag = true,
    after_help = "Exit codes: the program's own (its low 8 bits), 125 if the daemon or this \
                  command fails, 126 if the program cannot be run, 127 if there is no such program."
)]
pub(crate) struct Run {
    /// Leave the container running and print its id
    #[arg(short, long)]
    detach: bool,
    /// Keys that leave the container running
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: DetachKeys,
    /// Pass signals on to the program; not with a console
    #[arg(long, value_name = "YES", default_value_t = true, action = clap::ArgAction::Set,
        num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sig_proxy: bool,
    #[command(flatten)]
    options: ContainerOptions,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

/// `oriel run`
pub(crate) async fn run(client: &Client, wanted: Run) -> anyhow::Result<ExitCode> {
    let attached = Attached::of(&wanted.options, wanted.detach).map_err(coded)?;
    if wanted.options.program.tty && attached.stdin {
        session::needs_terminal().map_err(coded)?;
    }
    let id = create(client, &wanted.options, attached).await.map_err(coded)?;
    let stays = attached.stdout || attached.stderr || attached.stdin;
    let ended = if stays {
        stay(client, &wanted, &id, attached).await
    } else {
        start(client, &id).await.map(|()| None)
    };
    match ended {
        Ok(Some(code)) => Ok(of_program(code)),
        Ok(None) if stays => Ok(ExitCode::SUCCESS),
        Ok(None) => {
            print(&format!("{id}\n"))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(error),
    }
}

async fn start(client: &Client, id: &str) -> anyhow::Result<()> {
    let at = At::path(&["containers", id, "start"]);
    client.post(&at).await.map_err(coded)?;
    Ok(())
}

/// Starts the container and gives its exit code, or none when it was left running.
async fn stay(
    client: &Client,
    wanted: &Run,
    id: &str,
    attached: Attached,
) -> anyhow::Result<Option<i64>> {
    let program = &wanted.options.program;
    let at = At::path(&["containers", id, "attach"])
        .with("stream", 1)
        .flag("stdin", attached.stdin)
        .flag("stdout", attached.stdout)
        .flag("stderr", attached.stderr);
    let hijacked = client.call(hyper::Method::POST, &at).hijack().await.map_err(coded)?;
    // The answer's head comes before the container starts, so that no end is missed.
    let condition = if wanted.options.general.rm { "removed" } else { "next-exit" };
    let at = At::path(&["containers", id, "wait"]).with("condition", condition);
    let ended = client.post(&at).await.map_err(coded)?;
    let signals = match (program.tty, wanted.sig_proxy) {
        (false, true) => Signals::Passed,
        _ => Signals::End,
    };
    let signals = signals.catch()?;
    if let Err(error) = start(client, id).await {
        if wanted.options.general.rm {
            // One that never started is not removed by its end.
            let _ = client.delete(&At::path(&["containers", id]).with("force", 1)).await;
        }
        return Err(error);
    }
    let beside = session::beside(client, Program::Container(id), program.tty, signals);
    let session =
        Session { tty: program.tty, stdin: attached.stdin, detach: wanted.detach_keys.clone() };
    match session.run(hijacked, beside).await? {
        Ending::Detached => {
            talk(&format!("\ndetached; the container runs on as {}", &id[..id.len().min(12)]));
            Ok(None)
        }
        Ending::Closed => exit_code(ended).await.map(Some),
    }
}

/// Waits for the answer to `wait`.
pub(super) async fn exit_code(ended: Stream) -> anyhow::Result<i64> {
    let answer: WaitResponse =
        ended.json().await.context("the daemon went away before the container ended")?;
    match answer.error {
        Some(error) => bail!("{}", error.message),
        None => Ok(answer.status_code),
    }
}
