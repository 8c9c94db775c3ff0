//! Changing what drive C: of a silo is made of, before any program has run there.
//!
//! The agent does it in a process of its own: it enters the silo's mounts, and so must have one
//! thread and an end.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use oriel_hcs::ComputeError;
use tokio::{process::Command, time::timeout};

use super::{LAUNCH_DEADLINE, blocking, host_error};
use crate::{agent::EXCHANGE, error::Attempt, state::StateDir};

/// Puts `layers` below the sandbox of the silo in `state`. `agent` is the agent's program.
pub(super) async fn layers(
    state: &StateDir,
    agent: &Path,
    layers: Vec<PathBuf>,
) -> Result<(), ComputeError> {
    let failed = |reason: &dyn std::fmt::Display| host_error("change a silo's layers", reason);
    let place = state.clone();
    blocking(move || {
        let attempt = || "change the order of a silo".to_owned();
        let mut order = place.read_order().attempt(attempt)?;
        order.document.layers = layers;
        place.replace_order(&order).attempt(attempt)
    })
    .await?;
    let exchange = Command::new(agent)
        .arg(EXCHANGE)
        .arg(state.path())
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let done = timeout(LAUNCH_DEADLINE, exchange).await;
    match done.map_err(|_| failed(&"the agent took too long"))? {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(failed(&String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(failed(&error)),
    }
}
