//! The Oriel daemon: Docker Engine API routes and wiring.
//!
//! ```text
//! main ─▶ options ─▶ wiring (silo, hns, image, engine)
//!            └─────▶ listen ─▶ connections ─▶ tls ─▶ server ─▶ routes ─▶ engine
//! ```
//! It may be killed and started again at any time: containers go on without it, and it takes them
//! up again. That is also what a `SIGTERM` means.

// The body of `/info` is one long object.
#![recursion_limit = "256"]

mod connections;
mod daemon;
mod http;
mod limits;
mod listen;
mod options;
mod reload;
mod routes;
mod server;
mod systemd;
#[cfg(test)]
mod tests;
mod tls;
mod wiring;

use std::{io::Write as _, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use clap::Parser as _;
use listenfd::ListenFd;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

use crate::{
    connections::Connections,
    listen::Access,
    options::{Address, Arguments, Options, Task},
    reload::LogFilter,
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
        Access::new(&options)?;
        writeln!(std::io::stdout(), "configuration OK")?;
        return Ok(ExitCode::SUCCESS);
    }
    let log = LogFilter::start(options.live.log_level)?;
    // Changes the environment, so it comes before there are threads.
    let passed = ListenFd::from_env();
    oriel_sys::memory::keep_little();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(limits::BLOCKING_THREADS)
        .build()?;
    match arguments.command {
        Some(Task::Check) => runtime.block_on(check(&options)),
        None => {
            wiring::need_root()?;
            limits::raise_descriptors();
            let start = Start { arguments, options, log, passed };
            runtime.block_on(serve(start))?;
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

/// What a daemon starts with.
struct Start {
    arguments: Arguments,
    options: Options,
    log: LogFilter,
    passed: ListenFd,
}

async fn serve(start: Start) -> anyhow::Result<()> {
    let Start { arguments, options, log, mut passed } = start;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let access = Access::new(&options)?;
    let _lock = wiring::lock(&options.data_root)?;
    let mut listeners = Vec::new();
    for host in &options.hosts {
        listeners.extend(access.bind(host, &mut passed).await?);
    }
    let warnings = listeners.iter().filter_map(|listener| listener.warning(&options.tcp));
    let warnings: Vec<String> = warnings.collect();
    say_warnings(&access, &options, &warnings);
    let wired = wiring::wire(&options, warnings).await?;
    if let Some(pidfile) = &options.pidfile {
        fs_err::write(pidfile, format!("{}\n", std::process::id()))?;
    }
    let (daemon, places) = (Arc::new(wired.daemon), Connections::default());
    let stop = watch::Sender::new(false);
    let mut servers = JoinSet::new();
    for listener in listeners {
        let (places, daemon) = (places.clone(), daemon.clone());
        servers.spawn(server::serve(listener, places, daemon, stop.subscribe()));
    }
    tracing::info!("orield serves");
    systemd::notify("READY=1");
    let giving_back = limits::give_back_memory(&places);
    tokio::pin!(giving_back);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = &mut giving_back => {}
            _ = hangup.recv() => reload::reload(&arguments, &options, &daemon, &log),
        }
    }
    tracing::info!("orield ends; containers go on");
    systemd::notify("STOPPING=1");
    stop.send_replace(true);
    while servers.join_next().await.is_some() {}
    wired.network.shutdown().await;
    remove_files(&options)
}

/// Tells the log what an operator should know of this configuration.
fn say_warnings(access: &Access, options: &Options, tcp: &[String]) {
    if access.lacks_group(options) {
        tracing::info!("there is no group oriel: only root may use the Unix socket");
    }
    for warning in options.warnings.iter().chain(tcp) {
        tracing::warn!(warning, "of the configuration");
    }
}

/// Removes what would mislead clients of a daemon that is gone.
fn remove_files(options: &Options) -> anyhow::Result<()> {
    let sockets = options.hosts.iter().filter_map(|host| match host {
        Address::Unix(path) => Some(path),
        // A passed socket is systemd's.
        Address::Tcp(_) | Address::Passed => None,
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
