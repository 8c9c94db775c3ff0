//! What Docker's daemon on Windows refuses to do with containers, in its words: for a daemon that
//! is told to refuse it as well. What it refuses to create is in `create::strict`.

use hyper::{Method, StatusCode};

use crate::http::{Call, HttpError};

/// Refuses a request that Windows would refuse, if this daemon is to.
pub(crate) fn check(call: &Call, method: &Method, segments: &[&str]) -> Result<(), HttpError> {
    if !call.daemon.fixed.strict {
        return Ok(());
    }
    let (id, what) = match (method.as_str(), segments) {
        ("POST", ["commit"]) => (call.query.value("container").unwrap_or_default(), "commit"),
        ("GET", ["containers", id, what]) | ("POST", ["containers", id, what]) => (*id, *what),
        _ => return Ok(()),
    };
    // What is not there is told by who is asked.
    let Ok(view) = call.daemon.engine.container(id) else { return Ok(()) };
    let (runs, id) = (view.state.is_running(), &view.id);
    let (status, text) = match what {
        "pause" if runs => (
            StatusCode::NOT_IMPLEMENTED,
            format!(
                "cannot pause container {id}: not implemented for containers using process \
                 isolation"
            ),
        ),
        "changes" if runs => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "Windows does not support diff of a running container".to_owned(),
        ),
        "commit" if runs => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "windows does not support commit of a running container".to_owned(),
        ),
        "export" => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "the daemon on this operating system does not support exporting Windows containers"
                .to_owned(),
        ),
        _ => return Ok(()),
    };
    Err(HttpError::new(status, text))
}
