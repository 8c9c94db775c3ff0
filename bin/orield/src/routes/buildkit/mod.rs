//! `POST /grpc` and `POST /session`: BuildKit's clients.
//!
//! Both become HTTP/2 after an upgrade. What the calls say is in `oriel-buildkit`; here a call for
//! a build becomes a build of `oriel-builder`, the same as of `POST /build`:
//!
//! ```text
//! Control.Solve ─┐                          ┌─ Control.Status: [progress]
//!                ├─▶ [jobs] ─▶ [solve] ─────┤
//! Bridge.Solve ──┘    one      files, then  └─ the answer of Solve
//! Bridge.Return       build    Build
//! ```
//!
//! Clients of today drive a build themselves: `Control.Solve` waits while the client asks the
//! bridge to run the Dockerfile frontend and returns its result. Those of yesterday name the
//! frontend in `Control.Solve`.

mod control;
mod inputs;
mod jobs;
mod memory;
mod progress;
mod solve;
mod sources;
mod usage;

use std::sync::Arc;

use hyper::{StatusCode, header};
use oriel_buildkit::{Service, Sessions, Spawner};
use oriel_engine::Engine;

pub(crate) use memory::sweep;

use crate::http::{Answer, Call, HttpError, empty};

/// What BuildKit's clients have open.
#[derive(Debug, Default)]
pub(crate) struct Door {
    /// Sessions, by name.
    sessions: Sessions,
    /// Builds, by name.
    jobs: jobs::Jobs,
}

/// Both doors, and what is not behind them.
pub(crate) fn dispatch(call: Call, segments: &[&str]) -> Answer {
    match segments {
        ["session"] => session(call),
        _ => grpc(call),
    }
}

fn grpc(mut call: Call) -> Answer {
    let response = switched(&call)?;
    let upgrade = hyper::upgrade::on(&mut call.request);
    let (engine, spawner) = (call.daemon.engine.clone(), spawner(&call.daemon.engine));
    let service: Arc<dyn Service> = Arc::new(control::Control { daemon: call.daemon });
    engine.spawn(async move {
        // A client that left before the upgrade is nobody to serve.
        let Ok(connection) = upgrade.await else { return };
        if let Err(error) = oriel_buildkit::serve(connection, service, spawner).await {
            tracing::debug!(error = %error, "a BuildKit client broke off");
        }
    });
    Ok(response)
}

fn session(mut call: Call) -> Answer {
    let response = switched(&call)?;
    let sessions = call.daemon.buildkit.sessions.clone();
    let id = sessions.name(call.request.headers()).map_err(HttpError::invalid)?;
    let upgrade = hyper::upgrade::on(&mut call.request);
    let headers = call.request.headers().clone();
    let (engine, spawner) = (call.daemon.engine.clone(), spawner(&call.daemon.engine));
    engine.spawn(async move {
        let Ok(connection) = upgrade.await else { return };
        if let Err(error) = sessions.keep(connection, (id, &headers), spawner).await {
            tracing::debug!(error = %error, "a session of BuildKit broke off");
        }
    });
    Ok(response)
}

fn spawner(engine: &Engine) -> Spawner {
    let engine = engine.clone();
    Spawner::new(move |task| engine.spawn(task))
}

/// The answer to an upgrade, when the request is one (moby's words when it is none).
fn switched(call: &Call) -> Answer {
    let wanted = call.request.headers().get(header::UPGRADE);
    match wanted.map(|wanted| wanted.to_str().unwrap_or("?")) {
        None => Err(HttpError::invalid("no upgrade proto in request")),
        Some("h2c") => {
            let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
            let headers = response.headers_mut();
            headers.insert(header::CONNECTION, header::HeaderValue::from_static("Upgrade"));
            headers.insert(header::UPGRADE, header::HeaderValue::from_static("h2c"));
            Ok(response)
        }
        Some(other) => Err(HttpError::invalid(format!("protocol {other} not supported"))),
    }
}
