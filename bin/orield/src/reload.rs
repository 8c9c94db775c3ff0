//! What a running daemon changes: its log, and what it reads again after a `SIGHUP`.
//!
//! A configuration that is wrong changes nothing. One that is right changes all of
//! [`Live`](crate::options::Live) at once, and the log names what has to wait for a restart.

use std::{collections::BTreeMap, io};

use serde_json::json;
use tracing_subscriber::EnvFilter;

use crate::{
    daemon::Daemon,
    options::{Arguments, Live, Options},
};

/// What the daemon writes to its log, which may change.
pub(crate) struct LogFilter(Box<dyn Fn(&'static str) -> anyhow::Result<()> + Send + Sync>);

impl LogFilter {
    /// Begins to write a log to standard error.
    ///
    /// # Errors
    /// When there is a log already.
    pub(crate) fn start(level: &'static str) -> anyhow::Result<Self> {
        let builder = tracing_subscriber::fmt()
            .with_writer(io::stderr)
            .with_env_filter(filter(level)?)
            .with_filter_reloading();
        let handle = builder.reload_handle();
        builder.try_init().map_err(|error| anyhow::anyhow!("cannot write a log: {error}"))?;
        Ok(Self(Box::new(move |level| Ok(handle.reload(filter(level)?)?))))
    }
}

/// The house says as much as it is told to; libraries only what is wrong.
fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    Ok(EnvFilter::try_new(format!(
        "warn,orield={level},oriel_engine={level},oriel_silo={level},oriel_hns={level},\
         oriel_image={level},oriel_builder={level},oriel_distribution={level},\
         oriel_personality={level}"
    ))?)
}

/// Reads the configuration again. `options` is the one that the daemon started with.
pub(crate) fn reload(arguments: &Arguments, options: &Options, daemon: &Daemon, log: &LogFilter) {
    let live = match arguments.settle() {
        Ok(now) => {
            for directive in options.fixed_changes(&now) {
                tracing::warn!(directive, "has changed, which needs a restart");
            }
            now.live
        }
        Err(error) => {
            let error = format!("{error:#}");
            tracing::error!(error, "cannot reload the configuration: the old one stays");
            return;
        }
    };
    let changed = daemon.change(live.clone()).and_then(|()| (log.0)(live.log_level));
    if let Err(error) = changed {
        let error = format!("{error:#}");
        tracing::error!(error, "cannot reload the configuration: the old one stays");
        return;
    }
    let attributes = attributes(&live);
    tracing::info!(settings = ?attributes, "configuration reloaded");
    let engine = &daemon.engine;
    engine.emit_event("daemon", "reload", engine.id(), attributes);
}

/// The settings as dockerd's event has them (moby `daemon/reload.go`).
fn attributes(live: &Live) -> BTreeMap<String, String> {
    let Live { debug, log_level, labels, registries } = live;
    let name = nix::unistd::gethostname().unwrap_or_default();
    [
        ("name", name.to_string_lossy().into_owned()),
        ("debug", debug.to_string()),
        ("log-level", (*log_level).to_owned()),
        ("labels", json!(labels).to_string()),
        ("live-restore", true.to_string()),
        ("registry-mirrors", json!(registries.mirrors).to_string()),
        ("insecure-registries", json!(registries.insecure).to_string()),
        ("max-concurrent-downloads", registries.downloads.to_string()),
        ("max-concurrent-uploads", registries.uploads.to_string()),
        ("max-download-attempts", registries.max_attempts.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
