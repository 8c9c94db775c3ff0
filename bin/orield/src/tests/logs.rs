//! Logs through the API: drivers, options, details.

use serde_json::{Value, json};

use super::Served;

/// Runs a container to its end.
fn ran(served: &Served, name: &str, mut body: Value) {
    body["Image"] = json!("nanoserver");
    let path = format!("/containers/create?name={name}");
    let (head, text) = served.http("POST", &path, &body.to_string());
    assert!(head.starts_with("HTTP/1.1 201"), "{text}");
    served.http("POST", &format!("/containers/{name}/start"), "");
    served.http("POST", &format!("/containers/{name}/wait"), "");
}

/// What a container has printed, without the head of the frames.
fn logged(served: &Served, name: &str, query: &str) -> String {
    let path = format!("/containers/{name}/logs?stdout=1&{query}");
    let (_, body) = served.http("GET", &path, "");
    body
}

fn with_log(driver: &str, options: &Value) -> Value {
    json!({ "HostConfig": { "LogConfig": { "Type": driver, "Config": options } } })
}

#[test]
fn drivers_keep_what_they_promise() {
    let served = Served::new();
    ran(&served, "json", json!({}));
    ran(&served, "local", with_log("local", &json!({ "max-size": "1m" })));
    ran(&served, "none", with_log("none", &json!({})));
    for (name, path, config) in [
        ("json", true, r#""LogConfig":{"Config":{},"Type":"json-file"}"#),
        ("local", false, r#""LogConfig":{"Config":{"max-size":"1m"},"Type":"local"}"#),
        ("none", false, r#""LogConfig":{"Config":{},"Type":"none"}"#),
    ] {
        let (_, body) = served.http("GET", &format!("/containers/{name}/json"), "");
        assert!(body.contains(config), "{body}");
        let shown: Value = serde_json::from_str(&body).unwrap();
        let shown = shown["LogPath"].as_str().unwrap();
        assert_eq!(std::path::Path::new(shown).is_file(), path, "{shown}");
    }
    assert!(logged(&served, "json", "").contains("hello\r\n"));
    assert!(logged(&served, "local", "").contains("hello\r\n"));
    let (head, body) = served.http("GET", "/containers/none/logs?stdout=1", "");
    assert!(head.starts_with("HTTP/1.1 501"), "{head}");
    assert!(body.contains("configured logging driver does not support reading"), "{body}");
}

#[test]
fn what_no_driver_knows_is_refused() {
    let served = Served::new();
    for (body, text) in [
        (with_log("loki", &json!({})), "error looking up logging plugin loki: plugin"),
        (with_log("", &json!({ "x": "1" })), "unknown log opt 'x' for json-file log driver"),
        (with_log("local", &json!({ "x": "1" })), "unknown log opt 'x' for log driver local"),
        (with_log("", &json!({ "mode": "x" })), "logger: logging mode not supported: x"),
    ] {
        let mut body = body;
        body["Image"] = json!("nanoserver");
        let (head, answer) = served.http("POST", "/containers/create", &body.to_string());
        assert!(head.starts_with("HTTP/1.1 400") && answer.contains(text), "{head} {answer}");
    }
    assert_eq!(served.http("GET", "/containers/json?all=1", "").1, "[]\n");
}

#[test]
fn details_are_labels_variables_and_a_tag() {
    let served = Served::new();
    for driver in ["json-file", "local"] {
        let options = json!({ "labels": "app", "env-regex": "^ST", "tag": "{{.Name}} 1" });
        let mut body = with_log(driver, &options);
        body["Labels"] = json!({ "app": "a,b", "other": "x" });
        body["Env"] = json!(["STAGE=test", "PATH=x"]);
        ran(&served, driver, body);
        let expected = format!("STAGE=test,app=a%2Cb,tag={driver}+1 hello\r\n");
        let shown = logged(&served, driver, "details=1");
        assert!(shown.contains(&expected), "{shown}");
        let shown = logged(&served, driver, "details=1&timestamps=1");
        assert!(shown.contains(&format!("000000000Z {expected}")), "{shown}");
        assert!(!logged(&served, driver, "").contains("STAGE"));
    }
}

#[test]
fn an_attached_client_is_told_the_log_first() {
    let served = Served::new();
    ran(&served, "one", json!({}));
    let (_, body) = served.http("POST", "/containers/one/attach?logs=1&stdout=1", "");
    assert!(body.contains("hello\r\n"), "{body}");
    let (_, body) = served.http("POST", "/containers/one/attach?logs=1&stderr=1", "");
    assert!(!body.contains("hello"), "{body}");
}

#[test]
fn a_driver_that_cannot_block_says_so() {
    let served = Served::new();
    let mut body = with_log("", &json!({ "mode": "non-blocking", "max-buffer-size": "4m" }));
    body["Image"] = json!("nanoserver");
    let (_, answer) = served.http("POST", "/containers/create", &body.to_string());
    assert!(answer.contains("mode=non-blocking has no effect"), "{answer}");
}
