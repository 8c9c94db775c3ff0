//! Verbs about containers.

pub(crate) mod attach;
pub(crate) mod changes;
pub(crate) mod copy;
pub(crate) mod create;
pub(crate) mod exec;
pub(crate) mod lifecycle;
pub(crate) mod list;
pub(crate) mod logs;
mod options;
mod request;
pub(crate) mod run;
mod session;
pub(crate) mod stats;
pub(crate) mod text;
pub(crate) mod update;

use std::process::ExitCode;

use crate::screen::{print, talk};

/// Does something to each of several things, and prints what comes of it. One that fails does not
/// keep the others from it.
pub(crate) async fn each<'a>(
    names: &'a [String],
    act: impl AsyncFn(&'a str) -> anyhow::Result<String>,
) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for name in names {
        match act(name).await {
            Ok(text) => print(&format!("{text}\n"))?,
            Err(error) if error.is::<crate::connection::Refused>() => {
                talk(&format!("oriel: {error:#}"));
                code = ExitCode::FAILURE;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(code)
}
