//! Connections, and what every response has.

use std::{convert::Infallible, sync::Arc, time::Duration};

use hyper::{
    Request, Response, StatusCode, body::Incoming, header::HeaderValue, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use oriel_api::{ApiVersion, Query};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    connections::{Connections, Place, Turns},
    daemon::{Daemon, VERSION},
    http::{Answer, Body, Call},
    listen::{Listener, Stream},
    routes,
    tls::Acceptor,
};

/// Longest head of a request. The longest real ones carry the credentials of all registries of a
/// client, a few hundred bytes each.
const HEAD_BYTES: usize = 128 << 10;

/// Most headers of a request; real ones have about ten.
const HEADERS: usize = 128;

/// Longest wait for the head of a request, be the client slow or idle. Clients that keep
/// connections for later take one that was closed for a reason to open another.
const HEAD_TIME: Duration = Duration::from_secs(120);

/// Pause after the host refused a connection: until some descriptors are back.
const RETRY: Duration = Duration::from_millis(100);

/// Accepts connections until told to stop, then breaks off those under way.
pub(crate) async fn serve(
    listener: Listener,
    places: Connections,
    daemon: Arc<Daemon>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        tokio::select! {
            // An error means that the sender is gone, which means the same.
            () = told(&mut stop) => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let acceptor = listener.acceptor().cloned();
                    match places.enter(peer, acceptor.is_some()) {
                        Some(place) => {
                            connections.spawn(connection(stream, place, acceptor, daemon.clone()));
                        }
                        None => tracing::debug!(%peer, "a client has too many connections"),
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %error, "cannot accept a connection");
                    tokio::time::sleep(RETRY).await;
                }
            },
        }
    }
    connections.abort_all();
    while connections.join_next().await.is_some() {}
}

/// Ends when somebody says so.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Serves a connection until it ends or has to make room for another.
async fn connection(
    stream: impl Stream + 'static,
    place: Place,
    acceptor: Option<Acceptor>,
    daemon: Arc<Daemon>,
) {
    let turns = place.turns();
    let stream = place.hold(stream);
    let served = async {
        match acceptor {
            None => requests(stream, &turns, daemon).await,
            Some(acceptor) => match acceptor.accept(stream).await {
                Ok(stream) => {
                    turns.shaken();
                    requests(stream, &turns, daemon).await;
                }
                Err(error) => tracing::debug!(error = %error, "a TLS client was refused"),
            },
        }
    };
    tokio::select! {
        () = served => {}
        () = turns.sent_away() => tracing::debug!("a waiting connection made room"),
    }
}

async fn requests(stream: impl Stream + 'static, turns: &Turns, daemon: Arc<Daemon>) {
    let service = service_fn(move |request| {
        let (daemon, turn) = (daemon.clone(), turns.begin());
        async move {
            let response = respond(daemon, request).await;
            Ok::<_, Infallible>(match response.status() {
                StatusCode::SWITCHING_PROTOCOLS => {
                    turn.take_over();
                    response
                }
                _ => response.map(|body| turn.until_end_of(body)),
            })
        }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(error = %error, "a connection broke off");
    }
}

/// Answers one request.
async fn respond(daemon: Arc<Daemon>, request: Request<Incoming>) -> Response<Body> {
    let (method, target) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = match route(daemon, request).await {
        Ok(response) => response,
        Err(error) => {
            tracing::debug!(method = %method, path = target, error = ?error, "request refused");
            error.into_response()
        }
    };
    let status = response.status().as_u16();
    tracing::debug!(method = %method, path = target, status, "request");
    let version = ApiVersion::MAX.to_string();
    // Docker's command line reads the system from here, and only behind this name.
    let server = format!("Docker/{VERSION} (windows)");
    for (name, value) in [
        ("api-version", version.as_str()),
        ("docker-experimental", "false"),
        ("ostype", "windows"),
        ("server", server.as_str()),
    ] {
        let value = HeaderValue::from_str(value).expect("plain text");
        response.headers_mut().insert(name, value);
    }
    response
}

async fn route(daemon: Arc<Daemon>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let (version, path) = ApiVersion::split(&path)?;
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let answer = routes::dispatch(Call { daemon, version, query, request }, path).await;
    answer.map_err(|error| error.readable_by(version))
}
