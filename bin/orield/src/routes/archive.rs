//! Files in and out of containers: `docker cp`.

use std::io;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::StreamExt as _;
use hyper::{Method, Response, StatusCode, header::HeaderValue};
use oriel_engine::Time;
use oriel_image::{Clash, PathStat};
use serde_json::json;

use crate::http::{
    Answer, Body, Call, HttpError, body_reader, body_writer, empty, received, streamed,
};

/// Header that tells what is at the path, as JSON in base64.
const PATH_STAT: &str = "x-docker-container-path-stat";

const TAR: &str = "application/x-tar";

pub(crate) async fn dispatch(call: Call, method: &Method, id: &str) -> Answer {
    let path = call.query.non_empty("path").map(str::to_owned);
    let path = path.ok_or_else(|| HttpError::invalid("bad parameter: path cannot be empty"))?;
    match method.as_str() {
        "HEAD" => {
            let stat = call.daemon.engine.path_stat(id, &path).await?;
            with_stat(empty(StatusCode::OK), &stat)
        }
        "GET" => send(&call, id, &path).await,
        _ => receive(call, id, &path).await,
    }
}

async fn send(call: &Call, id: &str, path: &str) -> Answer {
    let engine = &call.daemon.engine;
    let (stat, mut tar) = engine.copy_out(id, path).await?;
    let (mut writer, chunks) = body_writer();
    let sender = engine.clone();
    engine.spawn(async move {
        let work = move |_: &_| {
            // Large pieces, for each one crosses to the client's task.
            let mut pieces = io::BufWriter::with_capacity(1 << 18, &mut writer);
            // The client may have gone.
            let _ = io::copy(&mut tar, &mut pieces);
            Ok::<_, oriel_engine::EngineError>(())
        };
        let _ = sender.blocking(work).await;
    });
    with_stat(streamed(TAR, received(chunks).map(Ok)), &stat)
}

async fn receive(call: Call, id: &str, path: &str) -> Answer {
    let refuse = call.query.flag("noOverwriteDirNonDir");
    let clash = if refuse { Clash::Refuse } else { Clash::Replace };
    let daemon = call.daemon.clone();
    // Before the body is asked for, which may be long.
    daemon.engine.container(id)?;
    let (feed, reader) = body_reader(call.request.into_body());
    // Both end when the client leaves: the reader fails then.
    let ((), copied) = tokio::join!(feed, daemon.engine.copy_in(id, path, reader, clash));
    copied?;
    Ok(empty(StatusCode::OK))
}

fn with_stat(mut response: Response<Body>, stat: &PathStat) -> Answer {
    let document = json!({
        "name": stat.name,
        "size": stat.size,
        "mode": stat.mode.0,
        "mtime": Time::from(stat.modified).to_string(),
        "linkTarget": stat.link_target,
    });
    let text = STANDARD.encode(document.to_string());
    let value = HeaderValue::from_str(&text).expect("base64 is visible ASCII");
    response.headers_mut().insert(PATH_STAT, value);
    Ok(response)
}
