//! Bad input at every endpoint: each request of [`ENDPOINTS`] is bent in every way, and is to be
//! refused with the right status, in Docker's shape, without a trace in the daemon's state.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    os::unix::net::UnixStream,
    sync::{
        Once,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use oriel_api::percent_encode;
use serde_json::{Value, json};

use super::{
    Served,
    endpoints::{Body, ENDPOINTS, Endpoint, Kind},
};

/// Longest wait for an answer; no request here has a reason to take a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// Endpoints whose example is not tried: it would build the base images of this host.
const UNTRIED: [&str; 1] = ["/oriel/base/build"];

/// Events that are compared: fewer than the daemon keeps, for those that come late move the others.
const LATEST: usize = 50;

/// Panics of the daemon's threads.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// An answer.
#[derive(Debug)]
struct Reply {
    status: u16,
    body: String,
}

impl Reply {
    fn is_refusal(&self) -> bool {
        self.status >= 400
    }

    /// What Docker's clients read of an error.
    fn has_dockers_shape(&self) -> bool {
        let body: Result<Value, _> = serde_json::from_str(&self.body);
        body.is_ok_and(|body| {
            body["message"].as_str().is_some_and(|text| !text.is_empty())
                && body.as_object().is_some_and(|fields| fields.len() == 1)
        })
    }
}

/// A request under construction.
#[derive(Clone)]
struct Request {
    endpoint: &'static str,
    method: String,
    target: String,
    headers: Vec<String>,
    body: Vec<u8>,
    endless: bool,
}

/// A daemon with something of everything:
///
/// `busy` runs, `still` is paused, `idle` has never run; `net` and `vol` are a network and a volume
/// that nobody uses, `spare` is a second name of the image `nanoserver`.
struct Prepared {
    served: Served,
    /// An exec of `busy` that has not been started.
    exec: String,
    digest: String,
    /// What went wrong so far.
    failures: Vec<String>,
}

impl Prepared {
    fn new() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let earlier = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                if std::thread::current().name().is_none_or(|name| name.starts_with("tokio")) {
                    PANICS.fetch_add(1, Ordering::Relaxed);
                }
                earlier(info);
            }));
        });
        let mut this = Self {
            served: Served::new(),
            exec: String::new(),
            digest: String::new(),
            failures: Vec::new(),
        };
        this.prepare();
        this
    }

    fn prepare(&mut self) {
        let http = |method: &str, path: &str, body: &str| {
            let (head, body) = self.served.http(method, path, body);
            assert!(head.starts_with("HTTP/1.1 2"), "{method} {path}: {head} {body}");
            body
        };
        let running = r#"{"Image":"nanoserver","Cmd":["out","x","wait"]}"#;
        for name in ["busy", "still"] {
            http("POST", &format!("/containers/create?name={name}"), running);
            http("POST", &format!("/containers/{name}/start"), "");
        }
        http("POST", "/containers/still/pause", "");
        http("POST", "/containers/create?name=idle", r#"{"Image":"nanoserver"}"#);
        let subnet = r#"{"Name":"net","IPAM":{"Config":[{"Subnet":"10.44.0.0/24"}]}}"#;
        http("POST", "/networks/create", subnet);
        http("POST", "/volumes/create", r#"{"Name":"vol"}"#);
        http("POST", "/images/nanoserver/tag?repo=spare", "");
        let exec = http("POST", "/containers/busy/exec", r#"{"Cmd":["out"]}"#);
        let exec: Value = serde_json::from_str(&exec).unwrap();
        self.exec = exec["Id"].as_str().unwrap().to_owned();
        self.digest = self.state();
    }

    /// Everything that a request could have changed.
    fn state(&self) -> String {
        let engine = &self.served.daemon.engine;
        let images = engine.images().list().unwrap();
        let names: Vec<_> = images.iter().map(|image| (image.id, &image.references)).collect();
        let (containers, networks) = (engine.containers(), engine.networks());
        // These come a moment after the answer.
        let late = ["exec_start", "exec_die", "archive-path", "export"];
        let is_late = |action: &str| late.iter().any(|late| action.starts_with(late));
        let events = engine.events().0.into_iter().rev();
        let events = events.filter(|event| !is_late(&event.action)).take(LATEST);
        let events: Vec<_> = events.collect();
        format!(
            "{containers:#?}\n{networks:#?}\n{:#?}\n{names:#?}\n{:#?}",
            engine.volumes(),
            events,
        )
    }

    /// Takes everything away and makes it again.
    fn renew(&mut self) {
        let engine = self.served.daemon.engine.clone();
        for container in engine.containers() {
            self.served.http("DELETE", &format!("/containers/{}?force=1", container.id), "");
        }
        for network in engine.networks().iter().filter(|network| !network.builtin) {
            self.served.http("DELETE", &format!("/networks/{}", network.id), "");
        }
        for volume in engine.volumes() {
            let name = percent_encode(&volume.name);
            self.served.http("DELETE", &format!("/volumes/{name}?force=1"), "");
        }
        for image in engine.images().list().unwrap() {
            for name in
                image.references.iter().filter(|name| name.familiar() != "nanoserver:latest")
            {
                self.served.http("DELETE", &format!("/images/{}", name.familiar()), "");
            }
        }
        self.prepare();
    }

    /// The request of an endpoint, with one parameter replaced.
    fn bent(&self, endpoint: &Endpoint, parameter: Option<(&str, &str)>) -> Request {
        let name = match endpoint.name {
            "EXEC" => self.exec.as_str(),
            name => name,
        };
        let path = endpoint.path.replace("{id}", name).replace("{name}", name);
        let pairs = endpoint.query.iter().map(|(key, _, value)| match parameter {
            Some((bent, value)) if bent == *key => format!("{key}={value}"),
            _ => format!("{key}={}", percent_encode(value)),
        });
        let query = pairs.collect::<Vec<_>>().join("&");
        let (headers, body) = match endpoint.body {
            Body::None => (Vec::new(), Vec::new()),
            Body::Json(text) => {
                (vec!["Content-Type: application/json".to_owned()], text.as_bytes().to_vec())
            }
            Body::Bytes => {
                (vec!["Content-Type: application/x-tar".to_owned()], self.archive(endpoint.path))
            }
        };
        Request {
            endpoint: endpoint.path,
            method: endpoint.method.to_owned(),
            target: if query.is_empty() { path } else { format!("{path}?{query}") },
            headers,
            body,
            endless: endpoint.is_endless(),
        }
    }

    /// Bytes that the endpoint takes.
    fn archive(&self, path: &str) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |name: &str, text: &str| {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, text.as_bytes()).unwrap();
        };
        match path {
            "/images/load" => {
                let mut saved = Vec::new();
                let images = self.served.daemon.engine.images();
                images.save(&["spare".to_owned()], &mut saved).unwrap();
                return saved;
            }
            "/build" => add("Dockerfile", "FROM nanoserver\nLABEL a=b\n"),
            "/oriel/registry/import" => {
                return b"Windows Registry Editor Version 5.00\r\n\r\n\
                         [HKEY_LOCAL_MACHINE\\Software\\X]\r\n\"a\"=\"b\"\r\n"
                    .to_vec();
            }
            _ => add("x.txt", "x"),
        }
        tar.into_inner().unwrap()
    }

    fn example(&self, endpoint: &Endpoint) -> Request {
        self.bent(endpoint, None)
    }

    /// Sends a request and reads its answer.
    fn send(&self, request: &Request) -> Reply {
        let Request { method, target, headers, body, .. } = request;
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n{headers}\
             Content-Length: {length}\r\n\r\n"
        );
        let mut stream = UnixStream::connect(&self.served.socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The daemon may have had enough before the end.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let text = String::from_utf8_lossy(&answer);
            if let Some((head, _)) = text.split_once("\r\n\r\n")
                && (request.endless && !head.starts_with("HTTP/1.1 4"))
            {
                break;
            }
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => answer.extend(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => panic!("{method} {target}: no answer: {error}"),
            }
        }
        let text = String::from_utf8_lossy(&answer);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("{method} {target} is not answered"));
        Reply { status, body: body.to_owned() }
    }

    /// Sends a request that is to be refused with one of some statuses.
    fn refuses(&mut self, request: &Request, statuses: &[u16], what: &str) {
        let reply = self.send(request);
        if statuses.contains(&reply.status) {
            self.check_refusal(request, &reply, what);
        } else {
            self.failed(request, what, &format!("{reply:?}"));
        }
    }

    /// Sends a request that may be taken, but is never to be an error of the daemon.
    fn survives(&mut self, request: &Request, what: &str) {
        let reply = self.send(request);
        // A registry that is out of reach is an error of the daemon to Docker's clients.
        let registry = request.target.contains("127.0.0.1") || request.endpoint == "/auth";
        if reply.status == 500 && !registry {
            self.failed(request, what, &format!("{reply:?}"));
        } else if reply.is_refusal() {
            self.check_refusal(request, &reply, what);
        } else if !["GET", "HEAD"].contains(&request.method.as_str()) {
            self.renew();
        }
    }

    fn check_refusal(&mut self, request: &Request, reply: &Reply, what: &str) {
        let shaped = request.method == "HEAD" && reply.body.is_empty() || reply.has_dockers_shape();
        if !shaped {
            self.failed(request, what, &format!("not in Docker's shape: {reply:?}"));
        }
        let state = self.state();
        if state != self.digest {
            let mut lines = self.digest.lines().zip(state.lines());
            let changed = lines.find(|(before, after)| before != after);
            self.failed(request, what, &format!("refused, and yet {changed:?}: {reply:?}"));
        }
    }

    /// Notes a failure, and goes on as if nothing had happened.
    fn failed(&mut self, request: &Request, what: &str, how: &str) {
        let mut text = format!("{} {} ({what}): {how}", request.method, request.target);
        text = text.replace(&"a".repeat(100), "").replace(&"x".repeat(100), "");
        text.truncate(text.floor_char_boundary(300));
        self.failures.push(text);
        self.renew();
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let failures = &self.failures;
            assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
            assert_eq!(PANICS.load(Ordering::Relaxed), 0, "the daemon panicked: see above");
        }
    }
}

/// Texts that are nothing's name and no good value of anything, as they stand in a target.
fn odd_texts() -> Vec<(&'static str, String)> {
    let texts = [
        ("a NUL", "a%00b"),
        ("a line break", "a%0d%0ab"),
        ("an escape character", "%1b%5b2J"),
        ("bytes that are not UTF-8", "%ff%fe%80"),
        ("a half escape", "%"),
        ("a way out", "..%2f..%2fetc"),
        ("a hidden way out", "%2e%2e%5c%2e%2e"),
        ("an escape of an escape", "%252e%252e"),
        ("a slash", "%2f"),
        ("a space", "%20"),
        ("a sign that turns writing around", "%e2%80%ae"),
        ("quotes", "%22%27%60%3b"),
    ];
    let mut texts: Vec<_> = texts.map(|(what, text)| (what, text.to_owned())).to_vec();
    texts.push(("10 000 letters", "a".repeat(10_000)));
    texts
}

fn odd_values(kind: Kind) -> Vec<String> {
    let texts: &[&str] = match kind {
        Kind::Number => {
            &["abc", "99999999999999999999", "1.5", "1e3", "0x10", "%00", "--1", "1%20"]
        }
        Kind::Time => &["abc", "1.x", "-", "99999999999999999999999", "%00", "1.2.3", "nan"],
        Kind::Filters => &[
            "%7b",
            "[]",
            "3",
            "x",
            "%7b%22nope%22:[%22x%22]%7d",
            "%7b%22label%22:3%7d",
            "%7b%22label%22:[[]]%7d",
            "%7b%22label%22:%22%5cud800%22%7d",
            "%7b%7d%7b%7d",
        ],
        Kind::Json => &["%7b", "[]", "3", "x", "%7b%22a%22:3%7d", "%7b%7d%7b%7d"],
        Kind::Flag | Kind::Text => &[],
    };
    let mut values: Vec<_> = texts.iter().map(|&text| text.to_owned()).collect();
    if matches!(kind, Kind::Filters | Kind::Json) {
        values.push("[".repeat(20_000));
        values.push("%7b%22label%22:".repeat(4_000));
    }
    values
}

fn tried() -> impl Iterator<Item = &'static Endpoint> {
    ENDPOINTS.iter().filter(|endpoint| !UNTRIED.contains(&endpoint.path))
}

/// Those that do not ask a registry, which takes its time before it gives up.
fn at_home() -> impl Iterator<Item = &'static Endpoint> {
    let asks = ["/auth", "/oriel/images/{name}/rebase"];
    tried().filter(move |endpoint| !asks.contains(&endpoint.path))
}

fn with_json() -> impl Iterator<Item = (&'static Endpoint, Value)> {
    ENDPOINTS.iter().filter_map(|endpoint| match endpoint.body {
        Body::Json(text) => Some((endpoint, serde_json::from_str(text).unwrap())),
        _ => None,
    })
}

#[test]
fn every_endpoint_takes_its_example() {
    let mut prepared = Prepared::new();
    for endpoint in tried() {
        let request = prepared.example(endpoint);
        let reply = prepared.send(&request);
        if reply.status != endpoint.status || reply.body.contains("errorDetail") {
            prepared.failed(&request, "the example", &format!("{reply:?}"));
        }
        if !["GET", "HEAD"].contains(&endpoint.method) {
            prepared.renew();
        }
    }
}

#[test]
fn names_that_nobody_has_are_not_found() {
    let mut prepared = Prepared::new();
    for endpoint in tried().filter(|endpoint| endpoint.path.contains('{')) {
        let names = odd_texts()
            .into_iter()
            .chain([("nobody", "nobody".to_owned()), ("an id of nobody", "f".repeat(64))]);
        for (what, name) in names {
            let mut request = prepared.example(endpoint);
            // Any other registry would be asked.
            let name = match endpoint.path.starts_with("/distribution") {
                true => format!("127.0.0.1:1/{name}"),
                false => name,
            };
            let path = endpoint.path.replace("{id}", &name).replace("{name}", &name);
            let query = request.target.split_once('?').map(|(_, query)| format!("?{query}"));
            request.target = path + &query.unwrap_or_default();
            // A name that is none is a bad request where names have rules.
            let statuses: &[u16] = match endpoint.path.split('/').nth(1) {
                Some("images" | "distribution" | "oriel") => &[400, 404, 500],
                // Docker's words for a container that is not on the network.
                Some("networks") if endpoint.path.ends_with("/disconnect") => &[403],
                Some("volumes") if endpoint.method == "PUT" => &[404, 503],
                _ => &[404],
            };
            prepared.refuses(&request, statuses, what);
        }
    }
}

#[test]
fn an_ambiguous_beginning_of_an_id_is_refused() {
    let mut prepared = Prepared::new();
    let ids: Vec<_> =
        prepared.served.daemon.engine.containers().iter().map(|view| view.id.clone()).collect();
    let shared = (1..64)
        .rev()
        .find(|&length| ids.iter().filter(|id| id.starts_with(&ids[0][..length])).count() > 1);
    let shared = ids[0][..shared.unwrap()].to_owned();
    for endpoint in tried().filter(|endpoint| endpoint.path.starts_with("/containers/{id}")) {
        let mut request = prepared.example(endpoint);
        request.target = request.target.replacen(endpoint.name, &shared, 1);
        prepared.refuses(&request, &[400], "an ambiguous beginning");
    }
}

#[test]
fn parameters_that_say_nothing_are_refused() {
    let mut prepared = Prepared::new();
    for endpoint in tried() {
        for (parameter, kind, _) in endpoint.query {
            for value in odd_values(*kind) {
                let request = prepared.bent(endpoint, Some((parameter, &value)));
                prepared.refuses(&request, &[400], "a parameter that is none");
            }
        }
    }
}

#[test]
fn odd_parameters_do_no_harm() {
    let mut prepared = Prepared::new();
    for endpoint in at_home() {
        for (parameter, kind, _) in endpoint.query {
            let more = ["", "-1", "0", "-9223372036854775808", "9223372036854775807", "2147483648"];
            let more = more.iter().map(|&text| ("a number", text.to_owned()));
            for (what, value) in odd_texts().into_iter().chain(more) {
                // Such an archive or log would not end.
                let endless = ["follow", "stream", "until", "fromImage"].contains(parameter);
                if endless || (*kind == Kind::Text && what == "a number") {
                    continue;
                }
                let request = prepared.bent(endpoint, Some((parameter, &value)));
                prepared.survives(&request, what);
            }
        }
    }
}

#[test]
fn a_method_that_a_path_has_not_is_not_found() {
    let mut prepared = Prepared::new();
    for path in ENDPOINTS.iter().map(|endpoint| endpoint.path) {
        let has = |method: &str| {
            ENDPOINTS.iter().any(|other| other.path == path && other.method == method)
                // A word may be a name as well: a volume may be called `create`.
                || ENDPOINTS.iter().any(|other| {
                    let short = path.rsplit_once('/').map(|(short, _)| short).unwrap_or_default();
                    let named = [format!("{short}/{{id}}"), format!("{short}/{{name}}")];
                    named.contains(&other.path.to_owned()) && other.method == method
                })
                || path.starts_with("/plugins")
                || path.starts_with("/images") && method == "DELETE"
                || path.starts_with("/networks") && ["GET", "DELETE"].contains(&method)
        };
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "BREW"] {
            if has(method) {
                continue;
            }
            let request = Request {
                endpoint: path,
                method: method.to_owned(),
                target: path.replace("{id}", "busy").replace("{name}", "nanoserver"),
                headers: Vec::new(),
                body: Vec::new(),
                endless: false,
            };
            prepared.refuses(&request, &[404], "no such method");
        }
    }
}

#[test]
fn a_body_that_is_not_json_is_refused() {
    let mut prepared = Prepared::new();
    for (endpoint, example) in with_json() {
        let whole = example.to_string();
        let mut bodies: Vec<(&str, Vec<u8>)> = (1..whole.len())
            .step_by(1 + whole.len() / 40)
            .map(|end| ("a body cut short", whole.as_bytes()[..end].to_vec()))
            .collect();
        for (what, body) in [
            ("no body", ""),
            ("white space", " \r\n"),
            ("null", "null"),
            ("a list", "[]"),
            ("a text", "\"x\""),
            ("a number", "3"),
            ("a word", "x"),
            ("a byte order mark", "\u{feff}{}"),
            ("a name without quotes", "{a:1}"),
            ("a comma too many", "{\"a\":1,}"),
            ("a lone surrogate", r#"{"Labels":{"a":"\ud800"},"Name":"\ud800","Cmd":["\ud800"]}"#),
        ] {
            bodies.push((what, body.as_bytes().to_vec()));
        }
        bodies.push(("more after the end", format!("{whole}{{}}").into_bytes()));
        bodies.push(("bytes that are not UTF-8", b"{\"Image\":\"\xff\"}".to_vec()));
        bodies.push(("a list of lists", "[".repeat(100_000).into_bytes()));
        bodies.push(("an object of objects", "{\"HostConfig\":".repeat(50_000).into_bytes()));
        for (what, body) in bodies {
            // A commit needs no body.
            if endpoint.path == "/commit" && ["no body", "white space", "null"].contains(&what) {
                continue;
            }
            let request = Request { body, ..prepared.example(endpoint) };
            prepared.refuses(&request, &[400], what);
        }
    }
}

#[test]
fn a_body_of_another_type_is_refused() {
    let mut prepared = Prepared::new();
    for (endpoint, _) in with_json() {
        for headers in [vec![], vec!["Content-Type: text/plain"], vec!["Content-Type: ;;;"]] {
            let headers = headers.into_iter().map(str::to_owned).collect();
            let request = Request { headers, ..prepared.example(endpoint) };
            prepared.refuses(&request, &[400], "another type");
        }
    }
}

#[test]
fn an_enormous_body_is_refused() {
    let mut prepared = Prepared::new();
    for (endpoint, _) in with_json() {
        let mut body = vec![b' '; 5 << 20];
        body.extend(b"{}");
        let request = Request { body, ..prepared.example(endpoint) };
        prepared.refuses(&request, &[413], "5 MiB");
    }
}

/// Replaces every value of an example, one at a time, with what `bend` makes of it.
fn bends(example: &Value, bend: &dyn Fn(&Value) -> Vec<Value>) -> Vec<(String, Value)> {
    let mut bent = Vec::new();
    let mut places = vec![String::new()];
    while let Some(place) = places.pop() {
        let value = example.pointer(&place).unwrap();
        match value {
            Value::Object(fields) => {
                let escaped = |key: &String| key.replace('~', "~0").replace('/', "~1");
                places.extend(fields.keys().map(|key| format!("{place}/{}", escaped(key))));
            }
            Value::Array(items) => {
                places.extend((0..items.len()).map(|at| format!("{place}/{at}")))
            }
            _ => {}
        }
        for other in bend(value) {
            let mut whole = example.clone();
            *whole.pointer_mut(&place).unwrap() = other;
            bent.push((place.clone(), whole));
        }
    }
    bent
}

/// Values of every type but that of `value`.
fn of_another_type(value: &Value) -> Vec<Value> {
    let all = [json!("x"), json!(3), json!(true), json!([3]), json!({ "x": [3] })];
    let mut others: Vec<Value> = all
        .into_iter()
        .filter(|other| std::mem::discriminant(other) != std::mem::discriminant(value))
        .collect();
    if value.is_number() {
        others.extend([json!(1.5), json!(u64::MAX), json!(1e300)]);
    }
    others
}

/// What Docker takes although it is of another type.
fn is_taken(place: &str, other: &Value) -> bool {
    // A command may be one text; and Docker takes any value in a set, which is an object of
    // nothing.
    let in_a_set = ["/ExposedPorts/", "/Volumes/"].iter().any(|set| place.starts_with(set));
    let texts = ["/Cmd", "/Entrypoint", "/HostConfig/CapAdd", "/HostConfig/CapDrop"];
    // These are unsigned.
    let unsigned = place.contains("/IOMaximum") && other.is_u64();
    unsigned || in_a_set || texts.contains(&place) && other.is_string()
}

#[test]
fn a_field_of_another_type_is_refused() {
    let mut prepared = Prepared::new();
    for (endpoint, example) in with_json() {
        for (place, whole) in bends(&example, &of_another_type) {
            let other = whole.pointer(&place).unwrap();
            if is_taken(&place, other) {
                continue;
            }
            let what = format!("{place} = {other}");
            let request = Request { body: whole.to_string().into(), ..prepared.example(endpoint) };
            prepared.refuses(&request, &[400], &what);
        }
    }
}

/// Odd values of the same type.
fn odd(value: &Value) -> Vec<Value> {
    match value {
        Value::String(_) => vec![
            json!(""),
            json!("a\0b"),
            json!("a\r\nb"),
            json!("\u{1b}[2J\u{202e}"),
            json!("..\\..\\x"),
            json!("=:/,;@%"),
            json!("x".repeat(10_000)),
        ],
        Value::Number(_) => {
            [-1, i64::MIN, i64::MAX, 1 << 32].into_iter().map(|number| json!(number)).collect()
        }
        Value::Bool(flag) => vec![json!(!flag), Value::Null],
        Value::Array(items) => {
            vec![
                json!([]),
                Value::Null,
                Value::Array(items.iter().cycle().take(1000).cloned().collect()),
            ]
        }
        Value::Object(_) => vec![json!({}), Value::Null, json!({ "": "", "a\0b": "c\0d" })],
        Value::Null => Vec::new(),
    }
}

#[test]
fn odd_fields_do_no_harm() {
    let mut prepared = Prepared::new();
    for (endpoint, example) in with_json().filter(|(endpoint, _)| endpoint.path != "/auth") {
        for (place, whole) in bends(&example, &odd) {
            let mut what = format!("{place} = {}", whole.pointer(&place).unwrap());
            what.truncate(200);
            let request = Request { body: whole.to_string().into(), ..prepared.example(endpoint) };
            prepared.survives(&request, &what);
        }
    }
}

#[test]
fn a_head_beyond_all_measure_is_refused() {
    let prepared = Prepared::new();
    let ping = |headers: Vec<String>, target: &str| {
        let request = Request {
            endpoint: "/_ping",
            method: "GET".to_owned(),
            target: target.to_owned(),
            headers,
            body: Vec::new(),
            endless: false,
        };
        prepared.send(&request).status
    };
    assert_eq!(ping((0..1000).map(|at| format!("X-{at}: x")).collect(), "/_ping"), 431);
    assert_eq!(ping(vec![format!("X: {}", "x".repeat(1 << 20))], "/_ping"), 431);
    assert_eq!(ping(vec!["Content-Length: 7".to_owned()], "/_ping"), 400);
    assert_eq!(ping(vec!["Content-Length: -1".to_owned()], "/_ping"), 400);
    assert_eq!(ping(vec!["No colon".to_owned()], "/_ping"), 400);
    assert_eq!(ping(Vec::new(), &format!("/_ping?{}", "a".repeat(70_000))), 414);
    assert_eq!(ping(Vec::new(), "/v99999999999.1/_ping"), 400);
    assert_eq!(ping(Vec::new(), "/v1.99/_ping"), 400);
    assert_eq!(ping(Vec::new(), "/v1.2/_ping"), 400);
    assert_eq!(ping(Vec::new(), "//_ping//"), 200);
    assert_eq!(ping(Vec::new(), "/%5fping"), 200);
    assert_eq!(ping(Vec::new(), "/_ping%00"), 404);
    assert_eq!(ping(Vec::new(), "/containers/../_ping"), 404);
}
