//! Lists and their filters through the API.

use oriel_api::percent_encode;
use serde_json::{Value, json};

use super::Served;

impl Served {
    /// Names in the list of containers that a query brings, newest first.
    fn listed(&self, query: &str, filters: &Value) -> String {
        let filters = percent_encode(&filters.to_string());
        let path = format!("/containers/json?{query}&filters={filters}");
        let (_, body) = self.http("GET", &path, "");
        let list: Value = serde_json::from_str(&body).unwrap();
        let list = list.as_array().unwrap_or_else(|| panic!("{path}: {body}"));
        let names = list.iter().map(|item| item["Names"][0].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>().join(" ")
    }

    fn refuses(&self, list: &str, filters: &Value) -> String {
        let path = format!("/{list}?filters={}", percent_encode(&filters.to_string()));
        let (head, body) = self.http("GET", &path, "");
        assert!(head.starts_with("HTTP/1.1 400"), "{path}: {head}");
        let body: Value = serde_json::from_str(&body).unwrap();
        body["message"].as_str().unwrap().to_owned()
    }

    fn made(&self, name: &str, mut body: Value) -> String {
        if body.get("Image").is_none() {
            body["Image"] = json!("nanoserver");
        }
        let path = format!("/containers/create?name={name}");
        let (head, text) = self.http("POST", &path, &body.to_string());
        assert!(head.starts_with("HTTP/1.1 201"), "{text}");
        let text: Value = serde_json::from_str(&text).unwrap();
        text["Id"].as_str().unwrap().to_owned()
    }

    fn runs(&self, name: &str, body: Value) {
        self.made(name, body);
        self.http("POST", &format!("/containers/{name}/start"), "");
    }
}

/// Four containers: two that run, one that has ended, one that never ran.
fn populated() -> Served {
    let served = Served::new();
    served.runs(
        "web-1",
        json!({
            "Cmd": ["wait"], "Labels": { "app": "web", "tier": "front" },
            "ExposedPorts": { "9000/tcp": {} },
            "HostConfig": { "PortBindings": { "80/tcp": [{ "HostPort": "8080" }] } },
        }),
    );
    let (_, id) = served.http("POST", "/commit?container=web-1&repo=child&pause=0", "{}");
    assert!(id.contains("sha256:"), "{id}");
    served
        .runs("web-2", json!({ "Cmd": ["wait"], "Labels": { "tier": "back" }, "Image": "child" }));
    served.runs("job", json!({ "Cmd": ["exit", "3221225786"] }));
    served.http("POST", "/containers/job/wait", "");
    served.made("idle", json!({ "HostConfig": { "Binds": ["data:C:\\data"] } }));
    served
}

#[test]
fn containers_are_filtered_as_dockers_are() {
    let served = populated();
    for (query, filters, expected) in [
        ("", json!({}), "/web-2 /web-1"),
        ("all=1", json!({}), "/idle /job /web-2 /web-1"),
        ("limit=1", json!({}), "/idle"),
        ("limit=-1", json!({}), "/web-2 /web-1"),
        ("", json!({ "name": ["web"] }), "/web-2 /web-1"),
        ("", json!({ "name": ["^/web-1$"] }), "/web-1"),
        ("", json!({ "name": { "^web-[2-9]": true } }), "/web-2"),
        ("", json!({ "name": ["eb-1", "nobody"] }), "/web-1"),
        ("", json!({ "label": ["app=web"] }), "/web-2 /web-1"),
        ("", json!({ "label": ["app", "tier=front"] }), "/web-1"),
        ("", json!({ "status": ["exited"] }), "/job"),
        ("", json!({ "status": ["created", "exited"] }), "/idle /job"),
        ("", json!({ "exited": ["3221225786"] }), ""),
        ("all=1", json!({ "exited": ["3221225786"] }), "/job"),
        ("all=1", json!({ "exited": ["-1073741510"] }), "/job"),
        ("all=1", json!({ "exited": ["0"] }), ""),
        ("all=1", json!({ "before": ["job"] }), "/web-2 /web-1"),
        ("all=1", json!({ "since": ["web-2"] }), "/idle /job"),
        ("all=1", json!({ "ancestor": ["child"] }), "/web-2"),
        ("all=1", json!({ "ancestor": ["nanoserver"] }), "/idle /job /web-2 /web-1"),
        ("all=1", json!({ "ancestor": ["nothing"] }), ""),
        ("all=1", json!({ "health": ["none"] }), "/idle /job /web-2 /web-1"),
        ("all=1", json!({ "health": ["healthy"] }), ""),
        ("all=1", json!({ "network": ["nat"] }), "/idle /job /web-2 /web-1"),
        ("all=1", json!({ "network": ["none"] }), ""),
        ("all=1", json!({ "volume": ["data"] }), "/idle"),
        ("all=1", json!({ "volume": ["C:\\data"] }), "/idle"),
        ("", json!({ "publish": ["8080"] }), "/web-1"),
        ("", json!({ "publish": ["80"] }), ""),
        ("", json!({ "publish": ["8000-9000/tcp"] }), "/web-1"),
        ("", json!({ "publish": ["8080/udp"] }), ""),
        ("", json!({ "expose": ["80"] }), "/web-1"),
        ("", json!({ "expose": ["9000"] }), "/web-2 /web-1"),
        ("", json!({ "isolation": ["process"] }), "/web-2 /web-1"),
        ("", json!({ "isolation": ["hyperv"] }), ""),
        ("all=1", json!({ "is-task": ["true"] }), ""),
        ("", json!({ "is-task": ["false"] }), "/web-2 /web-1"),
    ] {
        assert_eq!(served.listed(query, &filters), expected, "{query} {filters}");
    }
    let id = served.made("last", json!({}));
    assert_eq!(served.listed("all=1", &json!({ "id": [&id[..8]] })), "/last");
    assert_eq!(served.listed("all=1", &json!({ "id": [&id[1..9]] })), "");
}

#[test]
fn filters_that_mean_nothing_are_refused_in_dockers_words() {
    let served = Served::new();
    for (list, filters, text) in [
        ("containers/json", json!({ "x": ["1"] }), "invalid filter 'x'"),
        ("images/json", json!({ "x": ["1"] }), "invalid filter 'x'"),
        ("volumes", json!({ "x": ["1"] }), "invalid filter 'x'"),
        ("networks", json!({ "x": ["1"] }), "invalid filter 'x'"),
        ("events", json!({ "x": ["1"] }), "invalid filter 'x'"),
        ("containers/json", json!({ "status": ["x"] }), "Unrecognised filter value for status: x"),
        ("containers/json", json!({ "health": ["x"] }), "Unrecognised filter value for health: x"),
        ("containers/json", json!({ "exited": ["x"] }), "invalid filter 'exited=x'"),
        ("containers/json", json!({ "is-task": ["x"] }), "invalid filter 'is-task=[x]'"),
        (
            "containers/json",
            json!({ "publish": ["a:1"] }),
            "filter for 'publish' should not contain ':': a:1",
        ),
        ("images/json", json!({ "dangling": ["x"] }), "invalid filter 'dangling=[x]'"),
        ("volumes", json!({ "dangling": ["x"] }), "invalid filter 'dangling=[x]'"),
        ("networks", json!({ "type": ["x"] }), "invalid filter: 'type'='x'"),
        ("images/json", json!({ "until": ["1h", "2h"] }), "more than one until filter specified"),
    ] {
        assert_eq!(served.refuses(list, &filters), text);
    }
}

#[test]
fn volumes_and_networks_are_found_by_patterns() {
    let served = Served::new();
    for name in ["data-1", "data-2"] {
        served.http("POST", "/volumes/create", &json!({ "Name": name }).to_string());
        served.http("POST", "/networks/create", &json!({ "Name": name }).to_string());
    }
    for (name, count) in [("data", 2), ("^data-1$", 1), ("ta-2", 1), ("^ta", 0)] {
        let filters = percent_encode(&json!({ "name": [name] }).to_string());
        for list in ["volumes", "networks"] {
            let (_, body) = served.http("GET", &format!("/{list}?filters={filters}"), "");
            assert_eq!(body.matches("\"Name\":\"data-").count(), count, "{list} {name}: {body}");
        }
    }
}

#[test]
fn sizes_are_told_when_asked_for() {
    let served = populated();
    let (_, body) = served.http("GET", "/containers/json?size=1", "");
    assert!(body.contains("\"SizeRw\":") && body.contains("\"SizeRootFs\":"), "{body}");
    let (_, body) = served.http("GET", "/containers/json", "");
    assert!(!body.contains("SizeRw"), "{body}");
}
