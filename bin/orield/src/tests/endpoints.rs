//! Every endpoint, once, each with a request that it takes: what the tests of bad input bend, and
//! what `docs/openapi.yaml` has to describe.

use std::collections::BTreeSet;

/// An endpoint.
pub(super) struct Endpoint {
    /// Its method.
    pub(super) method: &'static str,
    /// Its path; what stands in braces is a name.
    pub(super) path: &'static str,
    /// What stands in for the name in [`Endpoint::path`]; see [`super::hostile`] for what there is.
    pub(super) name: &'static str,
    /// Its parameters, each with a value that it takes.
    pub(super) query: &'static [(&'static str, Kind, &'static str)],
    /// What it takes after the head.
    pub(super) body: Body,
    /// Status of its answer.
    pub(super) status: u16,
}

/// What a parameter may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// True or false; Docker takes any text for one.
    Flag,
    /// A whole number.
    Number,
    /// A moment.
    Time,
    /// Filters, as JSON.
    Filters,
    /// JSON.
    Json,
    /// A text.
    Text,
}

/// What a request has after its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// Nothing.
    None,
    /// JSON.
    Json(&'static str),
    /// Bytes, such as an archive.
    Bytes,
}

use Body::{Bytes, Json, None as Nothing};
use Kind::{Filters, Flag, Number, Text, Time};

const fn endpoint(
    method: &'static str,
    path: &'static str,
    name: &'static str,
    body: Body,
    status: u16,
) -> Endpoint {
    Endpoint { method, path, name, query: &[], body, status }
}

const fn get(path: &'static str, name: &'static str) -> Endpoint {
    endpoint("GET", path, name, Nothing, 200)
}

const fn post(path: &'static str, name: &'static str, body: Body, status: u16) -> Endpoint {
    endpoint("POST", path, name, body, status)
}

impl Endpoint {
    const fn asked(mut self, query: &'static [(&'static str, Kind, &'static str)]) -> Self {
        self.query = query;
        self
    }

    /// Whether its answer has no end of its own.
    pub(super) fn is_endless(&self) -> bool {
        let last = self.path.rsplit('/').next().unwrap_or_default();
        ["wait", "attach", "logs", "events", "stats", "start"].contains(&last)
    }
}

const TIMES: &str = "1700000000";

const CREATE: &str = r#"{
    "Hostname": "h", "Domainname": "d", "User": "ContainerUser", "AttachStdin": false,
    "AttachStdout": true, "AttachStderr": true, "ExposedPorts": { "80/tcp": {} }, "Tty": false,
    "OpenStdin": false, "StdinOnce": false, "Env": ["A=1"], "Cmd": ["out", "x"],
    "Healthcheck": {
        "Test": ["CMD", "exit", "0"], "Interval": 1000000000, "Timeout": 1000000000,
        "StartPeriod": 0, "StartInterval": 0, "Retries": 3
    },
    "ArgsEscaped": false, "Image": "nanoserver", "Volumes": { "C:\\v": {} },
    "WorkingDir": "C:\\", "Entrypoint": ["out"], "NetworkDisabled": false, "OnBuild": ["RUN x"],
    "Labels": { "a": "b" }, "StopSignal": "SIGTERM", "StopTimeout": 1, "Shell": ["cmd"],
    "HostConfig": {
        "Binds": ["vol:C:\\b:ro"], "LogConfig": { "Type": "json-file", "Config": {} },
        "NetworkMode": "net", "PortBindings": { "80/tcp": [{ "HostIp": "", "HostPort": "81" }] },
        "RestartPolicy": { "Name": "on-failure", "MaximumRetryCount": 1 }, "AutoRemove": false,
        "ConsoleSize": [24, 80], "Dns": ["10.0.0.9"], "ExtraHosts": ["db:10.0.0.1"],
        "StorageOpt": { "size": "20G" }, "PublishAllPorts": false, "Isolation": "process",
        "Memory": 1073741824, "NanoCpus": 500000000, "CpuCount": 0, "CpuPercent": 0,
        "CpuShares": 0, "PidsLimit": 100,
        "Mounts": [{
            "Type": "volume", "Source": "vol", "Target": "C:\\m", "ReadOnly": true,
            "VolumeOptions": { "NoCopy": false, "Labels": { "a": "b" } }
        }],
        "Tmpfs": { "C:\\t": "size=1m" }, "VolumesFrom": ["idle"], "VolumeDriver": "local",
        "Privileged": false, "ReadonlyRootfs": false, "CapAdd": ["ALL"], "CapDrop": ["ALL"],
        "DnsOptions": ["ndots:1"], "DnsSearch": ["x"], "GroupAdd": ["1"], "OomScoreAdj": 0,
        "ShmSize": 0, "Sysctls": { "net.core.somaxconn": "512" }, "MemorySwap": 0, "Init": false,
        "Ulimits": [{ "Name": "nofile", "Soft": 1024, "Hard": 2048 }], "OomKillDisable": false,
        "IpcMode": "", "PidMode": "", "UTSMode": "", "UsernsMode": "", "CgroupnsMode": "",
        "CgroupParent": "", "CpusetCpus": "", "CpusetMems": "", "SecurityOpt": [],
        "Devices": [], "BlkioWeight": 0, "CpuPeriod": 0, "CpuQuota": 0,
        "MemoryReservation": 0, "MemorySwappiness": -1, "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0, "Runtime": ""
    },
    "NetworkingConfig": { "EndpointsConfig": { "net": {
        "IPAMConfig": { "IPv4Address": "10.44.0.9" }, "Aliases": ["a"],
        "MacAddress": "02:42:ac:11:00:02", "DriverOpts": { "a": "b" }, "GwPriority": 1
    } } }
}"#;

const NETWORK: &str = r#"{
    "Name": "made", "CheckDuplicate": true, "Driver": "nat", "Scope": "local", "Internal": false,
    "Attachable": false, "Ingress": false, "ConfigOnly": false, "ConfigFrom": { "Network": "" },
    "EnableIPv4": true, "EnableIPv6": false,
    "IPAM": { "Driver": "default", "Options": {}, "Config": [{
        "Subnet": "10.55.0.0/24", "IPRange": "10.55.0.0/25", "Gateway": "10.55.0.1",
        "AuxiliaryAddresses": { "router": "10.55.0.2" }
    }] },
    "Options": {}, "Labels": { "a": "b" }
}"#;

const EXEC: &str = r#"{
    "AttachStdin": false, "AttachStdout": true, "AttachStderr": true, "Tty": false,
    "Cmd": ["out", "x"], "Env": ["A=1"], "WorkingDir": "C:\\", "User": "ContainerUser",
    "Privileged": false, "DetachKeys": "ctrl-p", "ConsoleSize": [24, 80]
}"#;

const UPDATE: &str = r#"{
    "Memory": 1073741824, "NanoCpus": 500000000, "CpuShares": 0, "PidsLimit": 100,
    "RestartPolicy": { "Name": "no", "MaximumRetryCount": 0 }
}"#;

const COMMIT: &str = r#"{
    "User": "ContainerUser", "Env": ["A=1"], "Cmd": ["out"], "Labels": { "a": "b" },
    "ExposedPorts": { "80/tcp": {} }, "WorkingDir": "C:\\", "Entrypoint": ["out"]
}"#;

const CONNECT: &str = r#"{
    "Container": "idle", "EndpointConfig": {
        "IPAMConfig": { "IPv4Address": "10.44.0.9" }, "Aliases": ["a"], "GwPriority": 1
    }
}"#;

const AUTH: &str = r#"{
    "username": "a", "password": "b", "serveraddress": "127.0.0.1:1", "identitytoken": ""
}"#;

/// Every endpoint.
pub(super) const ENDPOINTS: &[Endpoint] = &[
    get("/_ping", ""),
    endpoint("HEAD", "/_ping", "", Nothing, 200),
    get("/version", ""),
    get("/info", ""),
    get("/events", "").asked(&[
        ("since", Time, TIMES),
        ("until", Time, TIMES),
        ("filters", Filters, ""),
    ]),
    get("/system/df", "").asked(&[("type", Text, "container")]),
    post("/auth", "", Json(AUTH), 500),
    get("/distribution/{name}/json", "127.0.0.1:1/none").failing(500),
    get("/plugins", ""),
    get("/plugins/privileges", "").failing(501),
    post("/session", "", Nothing, 400),
    post("/grpc", "", Nothing, 400),
    get("/containers/json", "").asked(&[
        ("all", Flag, "1"),
        ("limit", Number, "3"),
        ("size", Flag, "0"),
        ("filters", Filters, ""),
    ]),
    post("/containers/create", "", Json(CREATE), 201)
        .asked(&[("name", Text, "made"), ("platform", Text, "windows/amd64")]),
    post("/containers/prune", "", Nothing, 200).asked(&[("filters", Filters, "")]),
    get("/containers/{id}/json", "busy").asked(&[("size", Flag, "0")]),
    get("/containers/{id}/logs", "busy").asked(&[
        ("stdout", Flag, "1"),
        ("stderr", Flag, "1"),
        ("follow", Flag, "0"),
        ("since", Time, TIMES),
        ("until", Time, TIMES),
        ("timestamps", Flag, "1"),
        ("tail", Text, "all"),
    ]),
    get("/containers/{id}/top", "busy").asked(&[("ps_args", Text, "")]),
    get("/containers/{id}/changes", "busy"),
    get("/containers/{id}/export", "idle"),
    get("/containers/{id}/archive", "idle").asked(&[("path", Text, "C:\\Windows")]),
    endpoint("HEAD", "/containers/{id}/archive", "idle", Nothing, 200).asked(&[(
        "path",
        Text,
        "C:\\Windows",
    )]),
    endpoint("PUT", "/containers/{id}/archive", "idle", Bytes, 200)
        .asked(&[("path", Text, "C:\\Windows"), ("noOverwriteDirNonDir", Flag, "1")]),
    post("/containers/{id}/start", "idle", Nothing, 204),
    post("/containers/{id}/stop", "busy", Nothing, 204)
        .asked(&[("t", Number, "1"), ("signal", Text, "SIGTERM")]),
    post("/containers/{id}/restart", "busy", Nothing, 204)
        .asked(&[("t", Number, "1"), ("signal", Text, "SIGTERM")]),
    post("/containers/{id}/kill", "busy", Nothing, 204).asked(&[("signal", Text, "SIGKILL")]),
    post("/containers/{id}/rename", "idle", Nothing, 204).asked(&[("name", Text, "other")]),
    post("/containers/{id}/resize", "busy", Nothing, 200)
        .asked(&[("h", Number, "24"), ("w", Number, "80")]),
    post("/containers/{id}/update", "busy", Json(UPDATE), 200),
    get("/containers/{id}/stats", "busy").asked(&[("stream", Flag, "0"), ("one-shot", Flag, "1")]),
    post("/containers/{id}/pause", "busy", Nothing, 204),
    post("/containers/{id}/unpause", "still", Nothing, 204),
    post("/containers/{id}/wait", "idle", Nothing, 200).asked(&[(
        "condition",
        Text,
        "not-running",
    )]),
    get("/containers/{id}/attach/ws", "busy").failing(400),
    post("/containers/{id}/attach", "busy", Nothing, 200).asked(&[
        ("stream", Flag, "0"),
        ("stdin", Flag, "0"),
        ("stdout", Flag, "1"),
        ("stderr", Flag, "1"),
        ("logs", Flag, "1"),
        ("detachKeys", Text, "ctrl-p"),
    ]),
    post("/containers/{id}/exec", "busy", Json(EXEC), 201),
    endpoint("DELETE", "/containers/{id}", "idle", Nothing, 204)
        .asked(&[("force", Flag, "0"), ("v", Flag, "0")]),
    get("/exec/{id}/json", "EXEC"),
    post(
        "/exec/{id}/start",
        "EXEC",
        Json(r#"{"Detach":true,"Tty":false,"ConsoleSize":[1,1]}"#),
        200,
    ),
    post("/exec/{id}/resize", "EXEC", Nothing, 409)
        .asked(&[("h", Number, "24"), ("w", Number, "80")]),
    get("/images/json", "").asked(&[
        ("all", Flag, "1"),
        ("shared-size", Flag, "1"),
        ("filters", Filters, ""),
    ]),
    post("/images/create", "", Nothing, 500).asked(&[
        ("fromImage", Text, "127.0.0.1:1/none"),
        ("tag", Text, "1"),
        ("platform", Text, "windows/amd64"),
    ]),
    get("/images/{name}/json", "nanoserver"),
    get("/images/{name}/history", "nanoserver"),
    get("/images/{name}/get", "nanoserver"),
    post("/images/{name}/tag", "nanoserver", Nothing, 201)
        .asked(&[("repo", Text, "made"), ("tag", Text, "1")]),
    post("/images/{name}/push", "127.0.0.1:1/none", Nothing, 404).asked(&[("tag", Text, "1")]),
    endpoint("DELETE", "/images/{name}", "spare", Nothing, 200)
        .asked(&[("force", Flag, "0"), ("noprune", Flag, "0")]),
    get("/images/get", "").asked(&[("names", Text, "nanoserver")]),
    post("/images/load", "", Bytes, 200).asked(&[("quiet", Flag, "1")]),
    post("/images/prune", "", Nothing, 200).asked(&[("filters", Filters, "")]),
    get("/images/search", "")
        .failing(400)
        .asked(&[("limit", Number, "5"), ("filters", Filters, "")]),
    get("/networks", "").asked(&[("filters", Filters, "")]),
    get("/networks/{id}", "net").asked(&[("scope", Text, "local"), ("verbose", Flag, "1")]),
    post("/networks/create", "", Json(NETWORK), 201),
    post("/networks/prune", "", Nothing, 200).asked(&[("filters", Filters, "")]),
    post("/networks/{id}/connect", "net", Json(CONNECT), 200),
    post("/networks/{id}/disconnect", "nat", Json(r#"{"Container":"idle","Force":true}"#), 200),
    endpoint("DELETE", "/networks/{id}", "net", Nothing, 204),
    get("/volumes", "").asked(&[("filters", Filters, "")]),
    get("/volumes/{name}", "vol"),
    post(
        "/volumes/create",
        "",
        Json(r#"{"Name":"made","Driver":"local","DriverOpts":{},"Labels":{"a":"b"}}"#),
        201,
    ),
    post("/volumes/prune", "", Nothing, 200).asked(&[("filters", Filters, "")]),
    endpoint("DELETE", "/volumes/{name}", "vol", Nothing, 204).asked(&[("force", Flag, "0")]),
    endpoint("PUT", "/volumes/{name}", "vol", Nothing, 503),
    post("/build", "", Bytes, 200).asked(&[
        ("t", Text, "made:1"),
        ("dockerfile", Text, "Dockerfile"),
        ("remote", Text, ""),
        ("check", Flag, "0"),
        ("buildargs", Kind::Json, "{}"),
        ("labels", Kind::Json, "{}"),
        ("memory", Number, "0"),
        ("q", Flag, "0"),
        ("rm", Flag, "1"),
    ]),
    post("/build/prune", "", Nothing, 200).asked(&[("filters", Filters, "")]),
    post("/build/cancel", "", Nothing, 501),
    post("/commit", "", Json(COMMIT), 201).asked(&[
        ("container", Text, "idle"),
        ("repo", Text, "made"),
        ("tag", Text, "1"),
        ("pause", Flag, "1"),
        ("author", Text, "a"),
        ("comment", Text, "c"),
        ("changes", Text, "ENV B=2"),
    ]),
    get("/oriel/system/check", ""),
    get("/oriel/base", ""),
    post("/oriel/base/build", "", Nothing, 200),
    post("/oriel/images/{name}/rebase", "nanoserver", Nothing, 500).asked(&[
        ("onto", Text, "127.0.0.1:1/none"),
        ("t", Text, "made"),
        ("force", Flag, "0"),
    ]),
    get("/oriel/registry", "").asked(&[
        ("target", Text, "idle"),
        ("key", Text, "HKEY_LOCAL_MACHINE\\Software"),
        ("depth", Number, "1"),
        ("limit", Number, "5"),
        ("values", Flag, "1"),
    ]),
    get("/oriel/registry/export", "")
        .asked(&[("target", Text, "idle"), ("key", Text, "HKEY_LOCAL_MACHINE\\Software")]),
    post("/oriel/registry/import", "", Bytes, 200).asked(&[("target", Text, "idle")]),
    get("/oriel/diff", "").asked(&[("target", Text, "idle")]),
];

impl Endpoint {
    const fn failing(mut self, status: u16) -> Self {
        self.status = status;
        self
    }
}

/// Modules with routes, and the path that their patterns begin at.
const ROUTES: &[(&str, &str)] = &[
    ("/containers", include_str!("../routes/containers.rs")),
    ("/exec/{}", include_str!("../routes/exec.rs")),
    ("/images", include_str!("../routes/images.rs")),
    ("/networks", include_str!("../routes/networks.rs")),
    ("/volumes", include_str!("../routes/volumes.rs")),
    ("/build", include_str!("../routes/build.rs")),
    ("/oriel", include_str!("../routes/oriel.rs")),
    ("/oriel/registry", include_str!("../routes/registry.rs")),
    ("", include_str!("../routes/system.rs")),
];

/// Method and path, with `{}` for a name, of every arm of a module's `match` that has the form
/// `("GET", ["json"])`.
fn arms(prefix: &str, source: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in source.lines().map(str::trim) {
        let Some((methods, rest)) = line.strip_prefix('(').and_then(|l| l.split_once(", ")) else {
            continue;
        };
        let Some((pattern, _)) = rest.split_once(')') else { continue };
        // `OPTIONS` is answered for any path.
        if !methods.starts_with('"')
            || methods == "\"OPTIONS\""
            || !line.contains("=>") && !line.contains(" if ")
        {
            continue;
        }
        for method in methods.split(" | ") {
            for path in paths(prefix, pattern) {
                found.insert(format!("{} {path}", method.trim_matches('"')));
            }
        }
    }
    found
}

/// The paths that a pattern of segments stands for.
fn paths(prefix: &str, pattern: &str) -> Vec<String> {
    let mut paths = vec![prefix.to_owned()];
    let inner = pattern.trim_start_matches("name @ ").trim_start_matches('[').trim_end_matches(']');
    let segments: Vec<&str> = match pattern {
        "name" => vec!["name"],
        _ => inner.split(", ").filter(|segment| !segment.is_empty() && *segment != "..").collect(),
    };
    for segment in segments {
        let words = segment.split('"').skip(1).step_by(2).collect::<Vec<_>>();
        let words = if words.is_empty() { vec!["{}"] } else { words };
        paths = paths
            .iter()
            .flat_map(|path| words.iter().map(move |word| format!("{path}/{word}")))
            .collect();
    }
    paths
}

/// A path without the names of its names.
pub(super) fn anonymous(path: &str) -> String {
    let segments = path.split('/').map(|segment| match segment.starts_with('{') {
        true => "{}",
        false => segment,
    });
    segments.collect::<Vec<_>>().join("/")
}

#[test]
fn every_route_is_listed() {
    let listed: BTreeSet<String> = ENDPOINTS
        .iter()
        .map(|endpoint| format!("{} {}", endpoint.method, anonymous(endpoint.path)))
        .collect();
    let routed: BTreeSet<String> =
        ROUTES.iter().flat_map(|(prefix, source)| arms(prefix, source)).collect();
    let missing: Vec<_> = routed.difference(&listed).collect();
    assert!(missing.is_empty(), "routes that ENDPOINTS lacks: {missing:#?}");
    let unknown: Vec<_> = listed.difference(&routed).collect();
    assert!(unknown.is_empty(), "endpoints without a route: {unknown:#?}");
}

#[test]
fn the_description_lists_every_endpoint() {
    let description = include_str!("../../../../docs/openapi.yaml");
    let paths = description.split_once("\npaths:\n").unwrap().1;
    let paths = paths.split_once("\ncomponents:\n").unwrap().0;
    let (mut path, mut described) = ("", BTreeSet::new());
    for line in paths.lines().filter(|line| !line.starts_with("      ")) {
        match line.strip_prefix("    ") {
            Some(method) => {
                let method = method.trim_end_matches(':').to_uppercase();
                described.insert(format!("{method} {path}"));
            }
            None => path = line.trim().trim_end_matches(':'),
        }
    }
    let listed: BTreeSet<String> =
        ENDPOINTS.iter().map(|endpoint| format!("{} {}", endpoint.method, endpoint.path)).collect();
    let differing: Vec<_> = listed.symmetric_difference(&described).collect();
    assert!(differing.is_empty(), "in one of ENDPOINTS and openapi.yaml only: {differing:#?}");
}
