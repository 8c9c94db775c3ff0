//! The Oriel daemon: Docker Engine API routes and wiring.
//!
//! ```text
//! main ─▶ options ─▶ wiring (silo, hns, image, engine) ─▶ server ─▶ routes ─▶ engine
//! ```
//! It may be killed and started again at any time: containers go on without it, and it takes them
//! up again. That is also what a `SIGTERM` means.

// The body of `/info` is one long object.
#![recursion_limit = "256"]

mod daemon;
mod http;
mod options;
mod routes;
mod server;
#[cfg(test)]
mod tests;
mod wiring;

use std::{io::Write as _, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use clap::Parser as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

use crate::{
    options::{Arguments, Options, Task},
    server::Listener,
};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            // Nothing can be said any more when this fails.
            let _ = writeln!(std::io::stderr(), "orield: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let options = arguments.settle()?;
    if arguments.validate {
        writeln!(std::io::stdout(), "configuration OK")?;
        return Ok(ExitCode::SUCCESS);
    }
    let filter = tracing_subscriber::EnvFilter::try_new(format!(
        "warn,orield={level},oriel_engine={level},oriel_silo={level},oriel_hns={level},\
         oriel_image={level},oriel_builder={level},oriel_distribution={level},\
         oriel_personality={level}",
        level = options.log_level
    ))?;
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match arguments.command {
        Some(Task::Check) => runtime.block_on(check(&options)),
        None => {
            wiring::need_root()?;
            runtime.block_on(serve(&options))?;
            // Readers that still block on a client must not hold up the end.
            runtime.shutdown_background();
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Prints what the host needs and whether it is there; fails when containers cannot run.
async fn check(options: &Options) -> anyhow::Result<ExitCode> {
    let checks = wiring::checks(options).await;
    let mut failing = false;
    let mut output = std::io::stdout().lock();
    for check in checks {
        let level = match check.level {
            oriel_hcs::CheckLevel::Ok => "ok",
            oriel_hcs::CheckLevel::Warning => "warning",
            oriel_hcs::CheckLevel::Failing => "failing",
        };
        failing |= check.level == oriel_hcs::CheckLevel::Failing;
        writeln!(output, "{level:8} {}: {}", check.name, check.finding)?;
        if !check.remedy.is_empty() {
            writeln!(output, "         {}", check.remedy)?;
        }
    }
    Ok(if failing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn serve(options: &Options) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let _lock = wiring::lock(&options.data_root)?;
    let mut listeners = Vec::new();
    for host in &options.hosts {
        listeners.push(Listener::bind(host).await?);
    }
    let wired = wiring::wire(options).await?;
    if let Some(pidfile) = &options.pidfile {
        fs_err::write(pidfile, format!("{}\n", std::process::id()))?;
    }
    let daemon = Arc::new(wired.daemon);
    let stop = watch::Sender::new(false);
    let mut servers = JoinSet::new();
    for listener in listeners {
        servers.spawn(server::serve(listener, daemon.clone(), stop.subscribe()));
    }
    tracing::info!("orield serves");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("orield ends; containers go on");
    stop.send_replace(true);
    while servers.join_next().await.is_some() {}
    wired.network.shutdown().await;
    remove_files(options)
}

/// Removes what would mislead clients of a daemon that is gone.
fn remove_files(options: &Options) -> anyhow::Result<()> {
    let sockets = options.hosts.iter().filter_map(|host| match host {
        server::Address::Unix(path) => Some(path),
        server::Address::Tcp(_) => None,
    });
    for path in sockets.chain(&options.pidfile) {
        match fs_err::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).context("cannot clean up");
            }
            _ => {}
        }
    }
    Ok(())
}
