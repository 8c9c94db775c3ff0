//! A server that answers as a test says, and remembers what it was asked.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request, Response, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinHandle};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    /// A header's text, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub(crate) fn authorization(&self) -> &str {
        self.header("authorization")
    }
}

/// Answers a request; told how many came before it.
type Answer = dyn Fn(usize, &Seen) -> Response<Full<Bytes>> + Send + Sync;

/// The server.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Fake {
    pub(crate) async fn start(
        answer: impl Fn(usize, &Seen) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let shared = Arc::clone(&seen);
        let answer: Arc<Answer> = Arc::new(answer);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, answer) = (Arc::clone(&shared), Arc::clone(&answer));
                tokio::spawn(serve(TokioIo::new(stream), seen, answer));
            }
        });
        Self { address, seen, task }
    }

    /// What was asked, without the question whether there is TLS.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The name of an image in it.
    pub(crate) fn image(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    stream: TokioIo<tokio::net::TcpStream>,
    seen: Arc<Mutex<Vec<Seen>>>,
    answer: Arc<Answer>,
) {
    let service = service_fn(|request: Request<Incoming>| {
        let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let path = head.uri.path_and_query().unwrap().to_string();
            let request = Seen { method: head.method, path, headers: head.headers, body };
            let before = {
                let mut seen = seen.lock().unwrap();
                if request.path != "/v2/" {
                    seen.push(request.clone());
                }
                seen.len().saturating_sub(1)
            };
            Ok::<_, Infallible>(answer(before, &request))
        }
    });
    // A handshake for TLS ends here with an error, as with any server without.
    let _ = http1::Builder::new().serve_connection(stream, service).await;
}

/// An answer with headers and no body.
pub(crate) fn reply(status: u16, headers: &[(&str, &str)]) -> Response<Full<Bytes>> {
    body(status, headers, Bytes::new())
}

/// An answer.
pub(crate) fn body(
    status: u16,
    headers: &[(&str, &str)],
    bytes: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Full::new(bytes.into())).unwrap()
}
