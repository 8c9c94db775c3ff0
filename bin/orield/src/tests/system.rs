//! The daemon's own endpoints, and those that need a network or another protocol.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
};

use serde_json::{Value, json};

use super::Served;

/// Serves plain HTTP with what `answer` makes of each request; without an answer it hangs up.
fn serve(answer: impl Fn(&str) -> Option<Vec<u8>> + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = [0; 4096];
            let count = stream.read(&mut asked).unwrap_or(0);
            let answer = answer(&String::from_utf8_lossy(&asked[..count]));
            // A client that has what it wanted may have hung up.
            let _ = stream.write_all(&answer.unwrap_or_default());
        }
    });
    port
}

/// An index that answers searches with `body`, and nothing else.
fn index(status: &'static str, body: &'static str) -> u16 {
    serve(move |asked| {
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
        asked.starts_with("GET /v1/search?q=web&n=").then(|| answer.into_bytes())
    })
}

#[test]
fn an_index_is_searched() {
    let served = Served::new();
    let found = r#"{"num_results":2,"results":[
        {"name":"web","description":"a","star_count":9,"is_official":true,"is_automated":false},
        {"name":"people/web","star_count":1}]}"#;
    let port = index("200 OK", found);
    let search = |query: &str| {
        let path = format!("/images/search?term=127.0.0.1:{port}/web&{query}");
        let (head, body) = served.http("GET", &path, "");
        assert!(head.starts_with("HTTP/1.1 200"), "{head} {body}");
        let found: Value = serde_json::from_str(&body).unwrap();
        let found = found.as_array().unwrap().iter();
        found.map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(search(""), "web people/web");
    assert_eq!(search("limit=1"), "web");
    assert_eq!(search("filters=%7B%22stars%22%3A%5B%223%22%5D%7D"), "web");
    assert_eq!(search("filters=%7B%22is-official%22%3A%5B%22false%22%5D%7D"), "people/web");
}

/// Serves one file to whoever asks for `/files.tar`, after a redirect; other paths are not there.
fn web(file: Vec<u8>) -> u16 {
    serve(move |asked| {
        let (status, body) = match asked.split(' ').nth(1) {
            Some("/moved") => ("302 Found\r\nLocation: /files.tar", &[][..]),
            Some("/files.tar") => ("200 OK", file.as_slice()),
            Some("/cut") => ("200 OK", &file[..100]),
            _ => ("404 Not Found", &[][..]),
        };
        // A file that is cut promises more than comes.
        let length = body.len() + if asked.starts_with("GET /cut ") { 9999 } else { 0 };
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        Some([head.as_bytes(), body].concat())
    })
}

#[test]
fn an_archive_is_imported_from_the_web() {
    let served = Served::new();
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(2);
    header.set_mode(0o644);
    archive.append_data(&mut header, "app/hi.txt", &b"hi"[..]).unwrap();
    let port = web(archive.into_inner().unwrap());
    let import = |path: &str| {
        let target = format!("/images/create?fromSrc={path}&repo=imported&tag=1");
        served.http("POST", &target, "")
    };
    for path in [format!("127.0.0.1:{port}/files.tar"), format!("http://127.0.0.1:{port}/moved")] {
        let (head, body) = import(&path);
        assert!(head.starts_with("HTTP/1.1 200") && body.contains("sha256:"), "{head} {body}");
        let (_, history) = served.http("GET", "/images/imported:1/history", "");
        assert!(history.contains(&format!("Imported from {path}")), "{history}");
    }
    for (path, text) in [
        (format!("127.0.0.1:{port}/none"), "404"),
        (format!("127.0.0.1:{port}/cut"), "/cut"),
        ("127.0.0.1:1/x".to_owned(), "127.0.0.1:1"),
        ("file:///etc/passwd".to_owned(), "not the address of a file on the web"),
    ] {
        let (head, body) = import(&path);
        assert!(!head.starts_with("HTTP/1.1 200") && body.contains(text), "{path}: {head} {body}");
    }
}

#[test]
fn an_index_that_cannot_be_searched_is_named() {
    let served = Served::new();
    let (missing, odd) = (index("404 Not Found", ""), index("200 OK", "<html>"));
    for (query, status, text) in [
        ("term=".to_owned(), 400, "term to search for is empty"),
        ("term=http://x/y".to_owned(), 400, "should not have a scheme"),
        ("term=x&limit=101".to_owned(), 400, "limit must be between 1 and 100"),
        ("term=x&limit=x".to_owned(), 400, "not a number"),
        (format!("term=127.0.0.1:{missing}/web"), 500, "Unexpected status code 404"),
        (format!("term=127.0.0.1:{odd}/web"), 500, "no search results"),
        ("term=127.0.0.1:1/web".to_owned(), 500, "127.0.0.1:1/v1/search"),
    ] {
        let (head, body) = served.http("GET", &format!("/images/search?{query}"), "");
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{query}: {head} {body}");
        assert!(body.contains(text), "{query}: {body}");
    }
}

#[test]
fn what_this_daemon_has_not_is_refused_in_dockers_words() {
    let served = Served::new();
    served.http("POST", "/containers/create?name=one", r#"{"Image":"nanoserver"}"#);
    let experimental = "This experimental feature is disabled by default.";
    for (method, path, status, text) in [
        ("GET", "/containers/one/checkpoints", 501, experimental),
        ("POST", "/containers/one/checkpoints", 501, experimental),
        ("DELETE", "/containers/one/checkpoints/x", 501, experimental),
        ("POST", "/containers/one/start?checkpoint=x", 400, "only supported in experimental mode"),
        ("GET", "/plugins/x/json", 404, "plugin \\\"x\\\" not found"),
        ("DELETE", "/plugins/x", 404, "plugin \\\"x\\\" not found"),
        ("POST", "/plugins/pull?remote=x", 501, "plugins are not supported on this platform"),
        ("GET", "/plugins/privileges?remote=x", 501, "plugins are not supported"),
        ("POST", "/swarm/init", 501, "swarm mode is not supported"),
        ("POST", "/swarm/leave", 503, "This node is not part of a swarm"),
        ("GET", "/secrets", 503, "This node is not a swarm manager."),
        ("POST", "/session", 400, "no upgrade proto in request"),
        ("POST", "/grpc", 400, "no upgrade proto in request"),
        ("GET", "/debug/pprof/", 404, "page not found"),
        ("GET", "/debug/vars", 404, "page not found"),
        ("GET", "/system/df?type=x", 400, "unknown object type: x"),
        ("GET", "/containers/one/attach/ws", 400, "not websocket protocol"),
    ] {
        let (head, body) = served.http(method, path, "");
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {head} {body}");
        assert!(body.contains(text), "{path}: {body}");
    }
    for path in ["*", "/containers/json", "/nowhere"] {
        let (head, body) = served.http("OPTIONS", path, "");
        assert!(head.starts_with("HTTP/1.1 200") && body.is_empty(), "{path}: {head}");
    }
}

#[test]
fn usage_has_the_kinds_that_are_asked_for() {
    let served = Served::new();
    served.http("POST", "/containers/create?name=one", r#"{"Image":"nanoserver"}"#);
    for (query, [images, containers, volumes, cache]) in [
        ("", [true; 4]),
        ("?type=image", [true, false, false, false]),
        ("?type=container&type=volume", [false, true, true, false]),
        ("?type=build-cache", [false, false, false, true]),
    ] {
        let (_, body) = served.http("GET", &format!("/system/df{query}"), "");
        let usage: Value = serde_json::from_str(&body).unwrap();
        for (name, expected) in [
            ("Images", images),
            ("Containers", containers),
            ("Volumes", volumes),
            ("BuildCache", cache),
        ] {
            assert_eq!(usage[name].is_array(), expected, "{query} {name}: {body}");
        }
    }
}

#[test]
fn version_and_info_have_what_clients_print() {
    let served = Served::new();
    let (_, body) = served.http("GET", "/version", "");
    let version: Value = serde_json::from_str(&body).unwrap();
    for name in [
        "ApiVersion",
        "Arch",
        "BuildTime",
        "Experimental",
        "GitCommit",
        "GoVersion",
        "KernelVersion",
        "MinAPIVersion",
        "Os",
    ] {
        assert!(version["Components"][0]["Details"][name].is_string(), "{name}: {body}");
    }
    let (_, body) = served.http("GET", "/info", "");
    let info: Value = serde_json::from_str(&body).unwrap();
    for (place, expected) in [
        ("/OSType", json!("windows")),
        ("/OSVersion", json!("10.0.20348")),
        ("/Architecture", json!("x86_64")),
        ("/Driver", json!("windowsfilter")),
        ("/LoggingDriver", json!("json-file")),
        ("/Plugins/Log", json!(["json-file", "local"])),
        ("/Plugins/Volume", json!(["local"])),
        ("/Isolation", json!("process")),
        ("/Swarm/LocalNodeState", json!("inactive")),
        ("/Warnings", Value::Null),
    ] {
        assert_eq!(info.pointer(place), Some(&expected), "{place}");
    }
}

#[test]
fn events_are_replayed_filtered_and_end() {
    let served = Served::new();
    let body =
        json!({ "Image": "nanoserver", "Cmd": ["wait"], "Tty": true, "Labels": { "a": "b" } });
    served.http("POST", "/containers/create?name=one", &body.to_string());
    for (method, path) in [
        ("POST", "/containers/one/start"),
        ("POST", "/containers/one/resize?h=20&w=70"),
        ("GET", "/containers/one/top"),
        ("POST", "/containers/one/rename?name=two"),
        ("POST", "/containers/two/stop?t=0"),
        ("POST", "/images/nanoserver/tag?repo=other&tag=1"),
        ("DELETE", "/images/other:1"),
        ("POST", "/volumes/create"),
        ("POST", "/volumes/prune?filters=%7B%22all%22%3A%5B%221%22%5D%7D"),
    ] {
        served.http(method, path, if path.ends_with("create") { "{}" } else { "" });
    }
    // The clock goes on by a second each time somebody looks.
    for _ in 0..100 {
        served.http("GET", "/info", "");
    }
    let told = |filters: &Value| {
        let filters = oriel_api::percent_encode(&filters.to_string());
        let path = format!("/events?since=1&until=1700000100&filters={filters}");
        let mut listening =
            served.connect(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        let mut text = String::new();
        listening.read_to_string(&mut text).unwrap();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let actions = lines.filter_map(|event| Some(event["Action"].as_str()?.to_owned()));
        actions.collect::<Vec<_>>()
    };
    let story = told(&json!({ "container": ["two"], "event": ["rename", "stop", "die"] }));
    assert_eq!(story, ["rename", "die", "stop"]);
    assert_eq!(told(&json!({ "type": ["image"] })), ["tag", "untag"]);
    assert_eq!(
        told(&json!({ "image": ["nanoserver"], "event": ["resize", "top"] })),
        ["resize", "top"]
    );
    assert_eq!(told(&json!({ "label": ["a=b"], "event": ["create"] })), ["create"]);
    assert_eq!(told(&json!({ "label": ["a=c"] })), Vec::<String>::new());
    assert_eq!(
        told(&json!({ "type": ["volume"], "scope": ["local"] })),
        ["create", "destroy", "prune"]
    );
    assert_eq!(told(&json!({ "scope": ["swarm"] })), Vec::<String>::new());
    let network = told(&json!({ "type": ["network"], "network": ["nat"] }));
    assert_eq!(network, ["connect", "disconnect"]);
}

/// A client's frame of a WebSocket, masked with nothing.
fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0x80 | opcode, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

#[test]
fn a_browser_attaches_by_websocket() {
    let served = Served::new();
    let body = json!({
        "Image": "nanoserver", "Cmd": ["cat", "err", "late"], "OpenStdin": true, "StdinOnce": true,
    });
    served.http("POST", "/containers/create?name=one", &body.to_string());
    let mut socket = served.connect(
        "GET /containers/one/attach/ws?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: x\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    // The answer that RFC 6455 works out for this key.
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    served.http("POST", "/containers/one/start", "");
    socket.write_all(&masked(1, b"typed\n")).unwrap();
    let mut echoed = [0; 8];
    socket.read_exact(&mut echoed).unwrap();
    assert_eq!(&echoed, b"\x82\x06typed\n");
    socket.write_all(&masked(9, b"p")).unwrap();
    let mut pong = [0; 3];
    socket.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"\x8a\x01p");
    served.http("POST", "/containers/one/kill", "");
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"\x88\x02\x03\xe8", "the end of the program closes it");
}

#[test]
fn who_leaves_a_console_by_its_keys_is_told_of() {
    let served = Served::new();
    let console = r#"{"Image":"nanoserver","Cmd":["wait"],"Tty":true,"OpenStdin":true}"#;
    served.http("POST", "/containers/create?name=held", console);
    served.http("POST", "/containers/held/start", "");
    let mut stream = served.connect(
        "POST /containers/held/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: docker\r\n\
         Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n",
    );
    stream.write_all(b"\x10\x11").unwrap();
    // The daemon ends the connection, and the program goes on.
    stream.read_to_end(&mut Vec::new()).unwrap();
    // The clock goes on by a second each time somebody looks.
    for _ in 0..100 {
        served.http("GET", "/info", "");
    }
    let (_, events) = served.http("GET", "/events?since=1&until=1700000100", "");
    assert!(events.contains(r#""Action":"detach""#), "{events}");
    let (_, held) = served.http("GET", "/containers/held/json", "");
    assert!(held.contains(r#""Running":true"#), "{held}");
}

#[test]
fn what_a_prune_of_build_caches_cannot_mean_is_refused() {
    let served = Served::new();
    let prune = |version: &str, query: &str| {
        let (head, body) = served.http("POST", &format!("{version}/build/prune?{query}"), "");
        let body: Value = serde_json::from_str(&body).unwrap();
        let message = body["message"].as_str().unwrap_or_default().to_owned();
        (head.split(' ').nth(1).unwrap().to_owned(), message)
    };
    for name in ["keep-storage", "reserved-space", "max-used-space", "min-free-space"] {
        let (status, text) = prune("", &format!("{name}=much"));
        assert_eq!(text, format!("{name} is in bytes and expects an integer, got much"));
        assert_eq!((status.as_str(), prune("", &format!("{name}=5")).0.as_str()), ("400", "200"));
    }
    // What an older version does not know is not looked at.
    assert_eq!(prune("/v1.47", "reserved-space=much").0, "200");
    assert_eq!(prune("/v1.47", "keep-storage=much").0, "400");
    let filters = |text: &str| {
        let escaped = text.replace('"', "%22").replace('{', "%7B").replace('}', "%7D");
        prune("", &format!("filters={}", escaped.replace('[', "%5B").replace(']', "%5D")))
    };
    for (text, message) in [
        (r#"{"id":["a","b"]}"#, "filters expect only one value"),
        (r#"{"until":["1h","2h"]}"#, "filters expect only one value"),
        (r#"{"until":["1h"],"unused-for":["2h"]}"#, r#"conflicting filters: "until" and "#),
        (r#"{"unused-for":["soon"]}"#, r#""unused-for" filter expects a duration"#),
    ] {
        let (status, told) = filters(text);
        assert!(status == "400" && told.starts_with(message), "{text}: {status} {told}");
    }
    for text in ["type", "description", "inuse", "shared", "private", "parent"] {
        assert_eq!(filters(&format!(r#"{{"{text}":["x"]}}"#)).0, "200", "{text}");
    }
}
