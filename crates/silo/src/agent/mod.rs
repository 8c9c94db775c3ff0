//! The guest half: what `oriel-agent` does.
//!
//! The process that the host half starts only launches: it binds the socket, builds the silo and
//! splits off pid 1, then ends; its exit status tells the host whether there is a silo. pid 1
//! starts the NT side and relays frames until the end.

mod boot;
pub(crate) mod journal;
mod relay;
mod table;
mod wire;

use std::{
    ffi::OsString,
    io::{self, Write},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::ExitCode,
};

use journal::Journal;

use crate::{
    error::{Attempt, SiloError},
    launch::{Entered, Unprepared},
    state::StateDir,
};

/// First descriptor that is not standard input, output or error.
const FIRST_OTHER_DESCRIPTOR: i32 = 3;

/// First argument that makes the agent answer a question instead of launching.
pub(crate) const PROBE: &str = "--probe";

/// First argument that makes the agent change the layers of a silo instead of launching.
pub(crate) const EXCHANGE: &str = "--exchange";

/// Runs `oriel-agent`. Its only argument (after the program's name) is the state directory of the
/// silo to launch; or `--probe DIRECTORY`, to find out whether owners of files there can be
/// mapped; or `--exchange STATE-DIRECTORY`, to give a silo the drive that its order now has. Must
/// be called while the process has one thread. Returns in two processes: in the launcher when the
/// silo has a pid 1, and in pid 1 when the silo has ended.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<_> = arguments.into_iter().skip(1).collect();
    let result = match arguments.as_slice() {
        [word, directory] if word == PROBE => crate::launch::probe(Path::new(directory)),
        [word, state] if word == EXCHANGE => {
            crate::launch::exchange_drive(&StateDir::at(PathBuf::from(state)))
        }
        [state] => run(StateDir::at(PathBuf::from(state))),
        _ => {
            complain("usage: oriel-agent [--exchange] STATE-DIRECTORY | --probe DIRECTORY");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.chain());
            ExitCode::FAILURE
        }
    }
}

/// What both processes hold before they part.
struct Outside {
    listener: UnixListener,
    journal: Journal,
}

fn run(state: StateDir) -> Result<(), SiloError> {
    // A failure means that this is a session leader already, which is as good.
    let _ = nix::unistd::setsid();
    oriel_sys::fork::close_inherited(FIRST_OTHER_DESCRIPTOR)
        .attempt(|| "close inherited files".to_owned())?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let order = state.read_order().attempt(|| "read the silo's order".to_owned())?;
    // Relative, because a socket's path may have 107 bytes only.
    nix::unistd::chdir(state.path()).attempt(|| "enter the state directory".to_owned())?;
    let listener = UnixListener::bind("agent.sock").attempt(|| "bind the bridge".to_owned())?;
    let journal = Journal::create(&state.journal()).attempt(|| "make the journal".to_owned())?;
    let outside = Outside { listener, journal };
    let joined = Unprepared::new(order, state)?.mount()?.join()?;
    match joined.enter() {
        Ok(Entered::Outside) => Ok(()),
        Ok(Entered::Inside(ready)) => relay::serve(&ready.document, outside),
        Err(error) if std::process::id() == 1 => relay::refuse(&error, outside),
        Err(error) => Err(error),
    }
}

/// Says something on standard error, which is the silo's log.
fn complain(what: &str) {
    let _ = writeln!(io::stderr(), "oriel-agent: {what}");
}
