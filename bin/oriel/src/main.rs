//! The Oriel command line.
//!
//! It speaks HTTP to a daemon and knows nothing else: Docker's verbs with Docker's options, and
//! Oriel's own. stdout is data, stderr is talk.
//!
//! [`arguments`] says what there is, [`place`] which daemon is meant, [`connection`] is the way to
//! it. `containers`, `images`, `volumes`, `networks`, `contexts` and `system` hold the verbs,
//! [`streams`] the standard streams of containers, [`format`] how answers are shown.

mod arguments;
mod completion;
mod connection;
mod containers;
mod contexts;
mod credentials;
mod diff;
mod dispatch;
mod events;
mod exit;
mod format;
mod images;
mod inspect;
mod lines;
mod login;
mod manual;
mod networks;
mod place;
mod progress;
mod prune;
mod registry;
mod screen;
mod spool;
mod streams;
mod system;
mod usage;
mod volumes;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, error::ErrorKind};
use clap_complete::CompleteEnv;

use arguments::Arguments;
use exit::{Coded, Exit, FAILED};
use screen::talk;
use system::labels_of;

fn main() -> ExitCode {
    // A shell that completes asks for that and nothing else.
    CompleteEnv::with_factory(Arguments::command).complete();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return misunderstood(&error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let ended = runtime.block_on(dispatch::run(arguments));
    // A thread that waits for standard input does not keep this program.
    runtime.shutdown_background();
    match ended {
        Ok(code) => code,
        // A reader such as `head` has what it wanted.
        Err(error) if screen::is_gone(&error) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Shows help, or what is wrong with the arguments, which is 125 as with Docker.
fn misunderstood(error: &clap::Error) -> ExitCode {
    // Nobody looks at what a reader that has gone misses.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(FAILED),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    if let Some(Exit(code)) = error.downcast_ref() {
        return ExitCode::from(*code);
    }
    talk(&format!("oriel: {error:#}"));
    match error.downcast_ref::<Coded>() {
        Some(coded) => ExitCode::from(coded.code),
        None => ExitCode::FAILURE,
    }
}
