//! The daemon itself: ping, version, info, and what Oriel does not have.

use std::collections::BTreeMap;

use hyper::{Method, StatusCode, header};
use oriel_api::{
    ApiVersion, Shape,
    system::{Component, Platform, Version},
};
use oriel_distribution::RegistryOptions;
use oriel_engine::{ContainerView, State};
use oriel_hcs::{Limit, OS_VERSION};
use serde_json::{Value, json};

use super::{events, unknown, usage};
use crate::{
    daemon::VERSION,
    http::{Answer, Call, HttpError, ok, with_type},
};

/// Windows Server 2022, in the words of moby `pkg/parsers/operatingsystem`.
const OPERATING_SYSTEM: &str = "Microsoft Windows Server Version 21H2 (OS Build 20348.2113)";
/// The kernel it presents, in the words of moby `pkg/parsers/kernel`.
const KERNEL: &str = "10.0 20348 (20348.1.amd64fre.fe_release.210507-1500)";

pub(crate) async fn dispatch(call: Call, method: &Method, segments: &[&str]) -> Answer {
    match (method.as_str(), segments) {
        ("GET" | "HEAD", ["_ping"]) => Ok(ping(method)),
        ("GET", ["version"]) => ok(&version()),
        ("GET", ["info"]) => ok(&info(&call).await?),
        ("GET", ["events"]) => events::events(&call),
        ("GET", ["system", "df"]) => usage::disk_usage(&call).await,
        ("GET", ["plugins"]) => ok(&json!([])),
        ("GET", ["plugins", "privileges"]) | ("POST", ["plugins", "pull" | "create"]) => {
            Err(HttpError::unsupported("plugins are not supported on this platform"))
        }
        (_, ["plugins", rest @ ..]) => {
            let name = rest.first().unwrap_or(&"");
            Err(HttpError::not_found(format!("plugin \"{name}\" not found")))
        }
        (_, ["swarm" | "services" | "nodes" | "tasks" | "secrets" | "configs", ..]) => {
            super::swarm(segments)
        }
        ("POST", ["commit"]) => super::images::commit(call).await,
        ("POST", ["auth"]) => super::transfers::login(call).await,
        ("GET", ["distribution", name @ .., "json"]) => {
            super::transfers::inspect(&call, name.join("/")).await
        }
        ("POST", ["session" | "grpc"]) => super::buildkit::dispatch(call, segments),
        _ => unknown(),
    }
}

fn ping(method: &Method) -> hyper::Response<crate::http::Body> {
    let body = if *method == Method::HEAD { "" } else { "OK" };
    let mut response = with_type(StatusCode::OK, "text/plain; charset=utf-8", body);
    let headers = response.headers_mut();
    for (name, value) in [
        ("builder-version", "1"),
        ("swarm", "inactive"),
        ("cache-control", "no-cache, no-store, must-revalidate"),
        ("pragma", "no-cache"),
    ] {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
    response
}

fn version() -> Version {
    let details = BTreeMap::from(
        [
            ("ApiVersion", ApiVersion::MAX.to_string()),
            ("BuildTime", String::new()),
            ("GitCommit", String::new()),
            ("GoVersion", String::new()),
            ("MinAPIVersion", ApiVersion::MIN.to_string()),
            ("Arch", "amd64".to_owned()),
            ("Experimental", "false".to_owned()),
            ("KernelVersion", KERNEL.to_owned()),
            ("Os", "windows".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    Version {
        platform: Platform { name: "Oriel".to_owned() },
        components: vec![Component {
            name: "Engine".to_owned(),
            version: VERSION.to_owned(),
            details,
        }],
        version: VERSION.to_owned(),
        api_version: ApiVersion::MAX.to_string(),
        min_api_version: ApiVersion::MIN.to_string(),
        git_commit: String::new(),
        go_version: String::new(),
        os: "windows".to_owned(),
        arch: "amd64".to_owned(),
        kernel_version: KERNEL.to_owned(),
        build_time: String::new(),
    }
}

/// What `docker info` says of limits, and the limit that each is about. A daemon on Windows says
/// no to all of them, and so does one that refuses what Windows does not have.
const LIMITS: [(&str, Limit); 8] = [
    ("MemoryLimit", Limit::Memory),
    ("SwapLimit", Limit::Swap),
    ("CpuCfsPeriod", Limit::Processor),
    ("CpuCfsQuota", Limit::Processor),
    ("CPUShares", Limit::Processor),
    ("CPUSet", Limit::Processors),
    ("PidsLimit", Limit::Tasks),
    ("OomKillDisable", Limit::WaitForMemory),
];

async fn info(call: &Call) -> Result<Value, HttpError> {
    let (engine, current) = (&call.daemon.engine, call.daemon.current());
    let live = &current.live;
    let containers = engine.containers();
    let images = engine.blocking(|engine| engine.images().list()).await?.len();
    let version = OS_VERSION.rsplit_once('.').map_or(OS_VERSION, |(version, _)| version);
    let warnings = match call.daemon.fixed.warnings.as_slice() {
        [] => Value::Null,
        warnings => json!(warnings),
    };
    let mut info = json!({
        "ID": engine.id(),
        "Containers": containers.len(),
        "ContainersRunning": count(&containers, |state| state.word() == "running"),
        "ContainersPaused": count(&containers, State::is_paused),
        "ContainersStopped": count(&containers, |state| !state.is_active()),
        "Images": images,
        "Driver": "windowsfilter",
        "DriverStatus": [["Windows", ""], ["Sandbox size", sandbox_size(engine.sandbox_size())]],
        "Plugins": {
            "Volume": ["local"],
            "Network": ["internal", "nat", "null"],
            "Authorization": null,
            "Log": ["json-file", "local"],
        },
        "SystemTime": engine.now().to_string(),
        "LoggingDriver": call.daemon.fixed.logs.driver.word(),
        "KernelVersion": KERNEL,
        "OperatingSystem": OPERATING_SYSTEM,
        "OSVersion": version,
        "OSType": "windows",
        "Architecture": "x86_64",
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": registry_config(&live.registries),
        "NCPU": std::thread::available_parallelism().map_or(1, usize::from),
        "MemTotal": memory_total(),
        "GenericResources": null,
        "DockerRootDir": engine.root(),
        "HttpProxy": without_password(live.registries.proxy.http.as_deref()),
        "HttpsProxy": without_password(live.registries.proxy.https.as_deref()),
        "NoProxy": live.registries.proxy.no_proxy.as_deref().unwrap_or_default(),
        "Name": host_name(),
        "Labels": live.labels,
        "Debug": live.debug,
        "ExperimentalBuild": false,
        "ServerVersion": VERSION,
        "Isolation": "process",
        "LiveRestoreEnabled": true,
        "SecurityOptions": null,
        "Warnings": warnings,
        "CDISpecDirs": null,
        "DefaultRuntime": "", "InitBinary": "", "Runtimes": null, "CgroupDriver": "",
        "Swarm": {
            "NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive",
            "ControlAvailable": false, "Error": "", "RemoteManagers": null,
        },
    });
    let enforced = if call.daemon.fixed.strict { Vec::new() } else { engine.enforces() };
    for (name, limit) in LIMITS {
        info[name] = json!(enforced.contains(&limit));
    }
    info["IPv4Forwarding"] = json!(false);
    for name in ["NFd", "NGoroutines", "NEventsListener"] {
        info[name] = json!(0);
    }
    Ok(call.shaped(Shape::Info, info))
}

fn count(containers: &[ContainerView], wanted: fn(&State) -> bool) -> usize {
    containers.iter().filter(|container| wanted(&container.state)).count()
}

/// How registries are reached, as dockerd tells it (moby `registry/config.go`).
fn registry_config(registries: &RegistryOptions) -> Value {
    /// What is never asked to prove who it is.
    const LOOPBACK: [&str; 2] = ["::1/128", "127.0.0.0/8"];

    let (networks, hosts): (Vec<&str>, Vec<&str>) =
        registries.insecure.iter().map(String::as_str).partition(|entry| entry.contains('/'));
    let networks: Vec<&str> = networks.into_iter().chain(LOOPBACK).collect();
    let index = |name: &str, mirrors: &[String], official: bool| {
        json!({
            "Name": name, "Mirrors": mirrors, "Secure": official, "Official": official,
        })
    };
    let mut indexes = json!({ "docker.io": index("docker.io", &registries.mirrors, true) });
    for host in hosts {
        indexes[host] = index(host, &[], false);
    }
    json!({
        "IndexConfigs": indexes,
        "InsecureRegistryCIDRs": networks,
        "Mirrors": registries.mirrors,
    })
}

/// The address of a proxy, in which user and password are masked as dockerd does.
fn without_password(proxy: Option<&str>) -> String {
    let proxy = proxy.unwrap_or_default();
    let (scheme, rest) = proxy.split_once("://").unwrap_or(("", proxy));
    let Some((_, host)) = rest.rsplit_once('@') else { return proxy.to_owned() };
    let separator = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{separator}xxxxx:xxxxx@{host}")
}

/// What a container that does not say finds on its drive C:.
fn sandbox_size(size: Option<u64>) -> String {
    size.map_or_else(|| "unlimited".to_owned(), |size| format!("{size} bytes"))
}

fn memory_total() -> u64 {
    let text = fs_err::read_to_string("/proc/meminfo").unwrap_or_default();
    let kibibytes = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

fn host_name() -> String {
    let name = fs_err::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}
