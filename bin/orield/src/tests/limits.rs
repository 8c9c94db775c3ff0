//! Limits, updates and statistics through the API, on fakes.

use serde_json::{Value, json};

use super::Served;

impl Served {
    /// Status and body of the answer to a request with a JSON body.
    fn asked(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let (head, text) = self.http(method, path, &body.to_string());
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Makes a container that waits, with a `HostConfig`.
    fn waits(&self, name: &str, host: &Value) -> (u16, Value) {
        let body = json!({ "Image": "nanoserver", "Cmd": ["wait"], "HostConfig": host });
        self.asked("POST", &format!("/containers/create?name={name}"), &body)
    }

    fn host_config(&self, name: &str) -> Value {
        let (_, body) = self.asked("GET", &format!("/containers/{name}/json"), &Value::Null);
        body["HostConfig"].clone()
    }
}

/// What Linux lets us honour although Windows has nothing of the kind.
fn linux() -> Value {
    json!({
        "Memory": 268_435_456, "MemorySwap": 536_870_912, "MemoryReservation": 134_217_728,
        "MemorySwappiness": 10, "OomKillDisable": false, "PidsLimit": 100, "CpuQuota": 50_000,
        "CpuPeriod": 100_000, "CpusetCpus": "0", "BlkioWeight": 300, "IOMaximumIOps": 50,
        "IOMaximumBandwidth": 1_000_000, "ReadonlyRootfs": true, "OomScoreAdj": 500,
        "CgroupParent": "/some", "Sysctls": { "net.core.somaxconn": "512" },
        "Ulimits": [{ "Name": "nofile", "Soft": 1024, "Hard": 2048 }], "Init": true,
        "BlkioDeviceReadBps": [{ "Path": "/dev/sda", "Rate": 1024 }], "CapDrop": ["ALL"],
    })
}

#[test]
fn what_linux_has_is_honoured_without_a_word_and_shown_as_given() {
    let served = Served::new();
    let (status, body) = served.waits("aa", &linux());
    assert_eq!((status, &body["Warnings"]), (201, &json!([])), "{body}");
    let shown = served.host_config("aa");
    for (name, value) in linux().as_object().unwrap() {
        assert_eq!(&shown[name], value, "{name}");
    }
    served.http("POST", "/containers/aa/start", "");
    let id = body["Id"].as_str().unwrap();
    let document = served.world.host.document(id).unwrap();
    assert_eq!(document.limits.tasks, Some(100));
    assert_eq!(
        (document.limits.quota_micros, document.limits.drive_operations),
        (Some(50_000), Some(50))
    );
    assert!(document.confinement.read_only);
    assert_eq!(document.confinement.process_limits[0].soft, Some(1024));
    assert_eq!(document.confinement.network_settings["net.core.somaxconn"], "512");
}

#[test]
fn a_strict_daemon_refuses_what_windows_refuses() {
    let served = Served::with(&["--group", "", "--strict-windows"]);
    for (host, text) in [
        (json!({ "PidsLimit": 5 }), "invalid option: Windows does not support PidsLimit"),
        (
            json!({ "ReadonlyRootfs": true }),
            "invalid option: read-only mode is not supported for Windows containers",
        ),
        (json!({ "SecurityOpt": ["seccomp=x"] }), "security option not supported: seccomp"),
    ] {
        assert_eq!(served.waits("aa", &host), (400, json!({ "message": text })));
    }
    assert_eq!(served.waits("aa", &json!({ "Memory": 268_435_456 })).0, 201);
    let (status, body) =
        served.asked("POST", "/containers/aa/update", &json!({ "Memory": 536_870_912 }));
    let text = body["message"].as_str().unwrap();
    assert_eq!(status, 400);
    assert!(text.starts_with("Cannot update container "), "{text}");
    assert!(text.ends_with(": resource updating isn't supported on Windows"), "{text}");
    let policy = json!({ "RestartPolicy": { "Name": "always" }, "Memory": 0 });
    assert_eq!(served.asked("POST", "/containers/aa/update", &policy).0, 200);
    let (_, info) = served.asked("GET", "/info", &Value::Null);
    assert_eq!(info["PidsLimit"], json!(false));
    served.http("POST", "/containers/aa/start", "");
    for (method, path, status, text) in [
        ("POST", "/containers/aa/pause", 501, "for containers using process isolation"),
        ("GET", "/containers/aa/changes", 500, "does not support diff of a running container"),
        ("GET", "/containers/aa/export", 500, "does not support exporting Windows containers"),
        ("POST", "/commit?container=aa", 500, "does not support commit of a running container"),
    ] {
        let (found, body) = served.asked(method, path, &json!({}));
        assert_eq!(found, status, "{path}");
        assert!(body["message"].as_str().unwrap().ends_with(text), "{body}");
    }
}

#[test]
fn an_update_is_in_force_and_shown() {
    let served = Served::new();
    let (_, body) = served.waits("aa", &json!({ "Memory": 268_435_456 }));
    let id = body["Id"].as_str().unwrap().to_owned();
    served.http("POST", "/containers/aa/start", "");
    let update = json!({
        "Memory": 536_870_912, "PidsLimit": 50, "CpuShares": 0, "CpusetCpus": "",
        "RestartPolicy": { "Name": "on-failure", "MaximumRetryCount": 3 },
    });
    let answer = served.asked("POST", "/containers/aa/update", &update);
    assert_eq!(answer, (200, json!({ "Warnings": [] })));
    let limits = served.world.host.limits(&id).unwrap();
    assert_eq!((limits.memory_bytes, limits.tasks), (Some(536_870_912), Some(50)));
    let shown = served.host_config("aa");
    assert_eq!((&shown["Memory"], &shown["PidsLimit"]), (&json!(536_870_912), &json!(50)));
    assert_eq!(shown["RestartPolicy"], json!({ "Name": "on-failure", "MaximumRetryCount": 3 }));
    for (update, status) in [
        (json!({ "Memory": 5 }), 400),
        (json!({ "NanoCpus": -1 }), 400),
        (json!({ "RestartPolicy": { "Name": "sometimes" } }), 400),
        (json!({ "Memory": "much" }), 400),
    ] {
        assert_eq!(served.asked("POST", "/containers/aa/update", &update).0, status, "{update}");
    }
    assert_eq!(served.asked("POST", "/containers/b/update", &json!({})).0, 404);
}

#[test]
fn info_says_which_limits_are_enforced() {
    let served = Served::new();
    let (_, info) = served.asked("GET", "/info", &Value::Null);
    for name in ["MemoryLimit", "SwapLimit", "CpuCfsQuota", "CPUSet", "PidsLimit"] {
        assert_eq!(info[name], json!(true), "{name}");
    }
}

#[test]
fn statistics_have_the_shape_of_windows() {
    let served = Served::new();
    let (_, body) = served.waits("aa", &json!({}));
    served.http("POST", "/containers/aa/start", "");
    let (_, one) = served.asked("GET", "/containers/aa/stats?stream=0&one-shot=1", &Value::Null);
    assert_eq!((&one["name"], &one["id"]), (&json!("/aa"), &body["Id"]));
    assert_eq!(one["preread"], "0001-01-01T00:00:00Z");
    assert_eq!(one["memory_stats"]["privateworkingset"], 4096);
    assert_eq!(one["storage_stats"]["read_size_bytes"], 0);
    assert_eq!(one["networks"].as_object().unwrap().values().next().unwrap()["tx_bytes"], 9);
    assert!(one["num_procs"].as_u64().unwrap() > 0);
    let (_, two) = served.asked("GET", "/containers/aa/stats?stream=0", &Value::Null);
    let total = |stats: &str| two[stats]["cpu_usage"]["total_usage"].as_u64().unwrap();
    assert_eq!(total("cpu_stats") - total("precpu_stats"), 10_000_000);
    assert_ne!(two["preread"], "0001-01-01T00:00:00Z");
}

#[test]
fn a_container_that_does_not_run_uses_nothing() {
    let served = Served::new();
    served.waits("aa", &json!({}));
    let (status, stats) = served.asked("GET", "/containers/aa/stats?stream=0", &Value::Null);
    assert_eq!((status, &stats["num_procs"]), (200, &json!(0)));
    assert_eq!(stats["read"], "0001-01-01T00:00:00Z");
    assert_eq!(stats["memory_stats"], json!({}));
    assert_eq!(served.asked("GET", "/containers/b/stats", &Value::Null).0, 404);
}

#[test]
fn a_stream_of_statistics_ends_with_its_container() {
    let served = Served::new();
    served.waits("aa", &json!({}));
    let stream =
        served.connect("GET /containers/aa/stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stream));
    let first = lines.find(|line| line.as_ref().unwrap().starts_with('{')).unwrap().unwrap();
    assert!(first.contains("\"name\":\"/aa\""), "{first}");
    served.http("DELETE", "/containers/aa", "");
    lines.map(Result::unwrap).for_each(drop);
}
