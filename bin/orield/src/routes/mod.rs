//! Routes: from method and path to the function that answers.
//!
//! Paths are matched as slices of their segments, because names of images contain slashes
//! (`/images/127.0.0.1:5000/a/b/json`). What no route matches is answered as moby does.

mod archive;
mod archives;
mod build;
mod build_caches;
pub(crate) mod buildkit;
mod containers;
mod create;
mod events;
mod exec;
mod hijack;
mod images;
mod inspect;
mod mounts;
mod networks;
mod oriel;
mod patterns;
mod ps;
mod registry;
mod search;
mod stats;
mod strict;
mod system;
mod transfers;
mod update;
mod usage;
mod volumes;
mod websocket;

use hyper::{Method, StatusCode};
use oriel_api::{Filters, percent_decode};
use oriel_engine::Time;

use crate::http::{Answer, Call, HttpError, empty};

/// Docker's words for what only a swarm can do.
const NO_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker \
                        swarm join\" to connect this node to swarm and try again.";

/// Answers a request whose path, without its version, is `path`.
pub(crate) async fn dispatch(call: Call, path: &str) -> Answer {
    let segments: Vec<String> =
        path.split('/').filter(|segment| !segment.is_empty()).map(percent_decode).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let method = call.request.method().clone();
    strict::check(&call, &method, &segments)?;
    match segments.as_slice() {
        // Of any path, or of none: `OPTIONS *`.
        _ if method == Method::OPTIONS => Ok(empty(StatusCode::OK)),
        ["containers", rest @ ..] => containers::dispatch(call, &method, rest).await,
        ["exec", id, rest @ ..] => exec::dispatch(call, &method, id, rest).await,
        ["images", rest @ ..] => images::dispatch(call, &method, rest).await,
        ["networks", rest @ ..] => networks::networks(call, &method, rest).await,
        ["volumes", rest @ ..] => volumes::dispatch(call, &method, rest).await,
        ["build", rest @ ..] => build::dispatch(call, &method, rest).await,
        ["oriel", rest @ ..] => oriel::dispatch(call, &method, rest).await,
        other => system::dispatch(call, &method, other).await,
    }
}

/// The moment up to which a list or a prune goes.
pub(crate) fn until(call: &Call, filters: &Filters) -> Result<Option<Time>, HttpError> {
    let text = match filters.values("until") {
        [] => return Ok(None),
        [text] => text,
        _ => return Err(HttpError::invalid("more than one until filter specified")),
    };
    let time = Time::parse_moment(text, call.daemon.engine.now());
    time.map(Some).ok_or_else(|| HttpError::invalid(format!("invalid filter 'until={text}'")))
}

/// What no route answers.
pub(crate) fn unknown() -> Answer {
    Err(HttpError::not_found("page not found"))
}

/// Swarm's endpoints on a node that is in none.
pub(crate) fn swarm(segments: &[&str]) -> Answer {
    let (status, text) = match segments {
        ["swarm", "init" | "join"] => {
            (StatusCode::NOT_IMPLEMENTED, "swarm mode is not supported by this daemon")
        }
        ["swarm", "leave"] => (StatusCode::SERVICE_UNAVAILABLE, "This node is not part of a swarm"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, NO_SWARM),
    };
    Err(HttpError::new(status, text))
}
