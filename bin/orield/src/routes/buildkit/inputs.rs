//! Reads what a client asks of the Dockerfile frontend (`frontend/dockerui/config.go`).

use std::collections::BTreeMap;

use oriel_builder::{BuildRequest, RunOptions};
use oriel_buildkit::{
    Status,
    message::{BridgeSolveRequest, SolveRequest},
};
use serde::Deserialize;

/// What a URL of a context begins with that the client holds itself (`uploadprovider`).
const UPLOAD: &str = "http://buildkit-session/";

/// Settings without an effect on Windows, or on how a build goes here.
const WITHOUT_EFFECT: [&str; 4] = ["cgroup-parent", "shm-size", "ulimit", "hostname"];

/// What is to be built, and from what.
#[derive(Debug)]
pub(super) struct Inputs {
    /// The build, without its Dockerfile.
    pub(super) request: BuildRequest,
    /// Where the context is.
    pub(super) context: Source,
    /// The client's name for the directory with the Dockerfile.
    pub(super) dockerfile: String,
    /// What the client should know.
    pub(super) warnings: Vec<String>,
}

/// Where a context is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// In a directory of the client, by its name for it.
    Directory(String),
    /// In an archive that the client holds, by its name for it.
    Archive(String),
}

/// An entry of `cache-imports`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CacheImport {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
}

impl Inputs {
    /// Reads the settings of a frontend, for a build that was asked for with `solve`.
    pub(super) fn read(solve: &SolveRequest, bridge: &BridgeSolveRequest) -> Result<Self, Status> {
        check_frontend(bridge)?;
        let options = &bridge.options;
        let text = |name: &str| options.get(name).cloned().unwrap_or_default();
        let (cache_from, mut warnings) = cache_imports(&text("cache-imports"))?;
        let ignored = WITHOUT_EFFECT.iter().filter(|name| options.contains_key(**name));
        warnings.extend(ignored.map(|name| format!("{name} has no effect on Windows")));
        let request = BuildRequest {
            dockerfile: text("filename"),
            tags: names(solve),
            build_args: prefixed(options, "build-arg:").map(|(k, v)| (k, Some(v))).collect(),
            labels: prefixed(options, "label:").collect(),
            target: text("target"),
            platform: text("platform"),
            no_cache: no_cache(options)?,
            cache_from,
            pull: text("image-resolve-mode") == "pull",
            remove: true,
            force_remove: true,
            run: RunOptions {
                network_mode: text("force-network-mode"),
                extra_hosts: extra_hosts(&text("add-hosts")),
                ..RunOptions::default()
            },
            ..BuildRequest::default()
        };
        let named = |key: &str, name: &str| {
            options.get(key).filter(|key| !key.is_empty()).cloned().unwrap_or(name.to_owned())
        };
        let context = context(&text("context"), named("contextkey", "context"))?;
        Ok(Self { request, context, dockerfile: named("dockerfilekey", "dockerfile"), warnings })
    }
}

/// Refuses what is no Dockerfile, and no build.
fn check_frontend(bridge: &BridgeSolveRequest) -> Result<(), Status> {
    let options = &bridge.options;
    let is_dockerfile = match bridge.frontend.as_str() {
        "dockerfile.v0" => true,
        "gateway.v0" => options.get("source").is_some_and(|source| {
            let name = source.strip_prefix("docker.io/").unwrap_or(source);
            let name = name.split(['@', ':']).next().unwrap_or_default();
            name == "docker/dockerfile" || name == "docker/dockerfile-upstream"
        }),
        _ => false,
    };
    if !is_dockerfile {
        return Err(Status::unimplemented(format!(
            "frontend {:?} is not supported by this daemon: it builds Dockerfiles (dockerfile.v0)",
            bridge.frontend
        )));
    }
    if let Some(request) = options.get("requestid") {
        return Err(Status::unimplemented(format!("unsupported request {request}")));
    }
    if let Some(name) = options.keys().find_map(|key| key.strip_prefix("context:")) {
        return Err(Status::unimplemented(format!(
            "the named context {name:?} is not supported by this daemon: copy from a stage, from \
             an image or from the context"
        )));
    }
    if !bridge.inputs.is_empty() {
        return Err(Status::unimplemented("contexts from other builds are not supported"));
    }
    if let Some(name) = prefixed(options, "attest:").find(|(_, how)| !how.contains("disabled=true"))
    {
        return Err(Status::unimplemented(format!("attestations ({}) are not supported", name.0)));
    }
    Ok(())
}

/// The settings that begin with a prefix, without it.
fn prefixed<'a>(
    options: &'a BTreeMap<String, String>,
    prefix: &'a str,
) -> impl Iterator<Item = (String, String)> + 'a {
    options.iter().filter_map(move |(key, value)| {
        key.strip_prefix(prefix).map(|name| (name.to_owned(), value.clone()))
    })
}

/// The names for the result: those of all exporters.
fn names(solve: &SolveRequest) -> Vec<String> {
    let deprecated = solve.exporters.is_empty().then_some(&solve.exporter_attributes);
    let attributes = solve.exporters.iter().map(|exporter| &exporter.attributes).chain(deprecated);
    let lists = attributes.filter_map(|attributes| attributes.get("name"));
    lists.flat_map(|list| list.split(',')).filter(|name| !name.is_empty()).map(Into::into).collect()
}

/// `no-cache` alone is all stages.
fn no_cache(options: &BTreeMap<String, String>) -> Result<bool, Status> {
    match options.get("no-cache").map(String::as_str) {
        None => Ok(false),
        Some("") => Ok(true),
        Some(stages) => Err(Status::unimplemented(format!(
            "running only some stages ({stages}) again is not supported: use --no-cache"
        ))),
    }
}

/// `name=address` pairs, as `name:address`.
fn extra_hosts(list: &str) -> Vec<String> {
    let hosts = list.split(',').filter(|host| !host.is_empty());
    hosts.map(|host| host.replacen('=', ":", 1)).collect()
}

fn context(url: &str, directory: String) -> Result<Source, Status> {
    if let Some(name) = url.strip_prefix(UPLOAD) {
        return Ok(Source::Archive(name.to_owned()));
    }
    match url {
        "" => Ok(Source::Directory(directory)),
        _ => Err(Status::unimplemented(
            "building from a remote context with BuildKit is not supported by this daemon: fetch \
             it and build from the directory",
        )),
    }
}

/// Images to take cached steps from, and what cannot be had.
fn cache_imports(json: &str) -> Result<(Vec<String>, Vec<String>), Status> {
    let (mut images, mut warnings) = (Vec::new(), Vec::new());
    if json.is_empty() {
        return Ok((images, warnings));
    }
    let imports: Vec<CacheImport> = serde_json::from_str(json)
        .map_err(|error| Status::invalid(format!("cannot read cache-imports: {error}")))?;
    for import in imports {
        match (import.kind.as_str(), import.attrs.get("ref")) {
            ("registry", Some(image)) => images.push(image.clone()),
            (kind, _) => {
                warnings.push(format!("cached steps are not taken from {kind}: use type=registry"));
            }
        }
    }
    Ok((images, warnings))
}

#[cfg(test)]
mod tests {
    use oriel_buildkit::{Code, message::Exporter};

    use super::*;

    fn read(options: &[(&str, &str)]) -> Result<Inputs, Status> {
        let attributes = [("name".to_owned(), "a:1,b".to_owned())].into();
        let exporter = Exporter { kind: "moby".into(), attributes };
        let solve = SolveRequest { exporters: vec![exporter], ..SolveRequest::default() };
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let frontend = "dockerfile.v0".to_owned();
        Inputs::read(&solve, &BridgeSolveRequest { frontend, options, ..Default::default() })
    }

    #[test]
    fn settings_are_read_as_buildx_sends_them() {
        let inputs = read(&[
            ("filename", "Dockerfile"),
            ("build-arg:A", "1"),
            ("label:l", "x"),
            ("no-cache", ""),
            ("image-resolve-mode", "pull"),
            ("add-hosts", "a=1.2.3.4,b=::1"),
            ("cache-imports", r#"[{"Type":"registry","Attrs":{"ref":"r/x"}},{"Type":"gha"}]"#),
            ("shm-size", "64"),
            ("vcs:revision", "abc"),
        ])
        .unwrap();
        let request = inputs.request;
        assert_eq!(request.tags, ["a:1", "b"]);
        assert_eq!(request.build_args["A"], Some("1".to_owned()));
        assert_eq!(request.labels["l"], "x");
        assert!(request.no_cache && request.pull && request.force_remove);
        assert_eq!(request.run.extra_hosts, ["a:1.2.3.4", "b:::1"]);
        assert_eq!(request.cache_from, ["r/x"]);
        assert_eq!(inputs.context, Source::Directory("context".into()));
        assert_eq!(inputs.dockerfile, "dockerfile");
        assert_eq!(inputs.warnings.len(), 2);
    }

    #[test]
    fn an_archive_of_the_client_is_a_context() {
        let inputs = read(&[("context", "http://buildkit-session/abc")]).unwrap();
        assert_eq!(inputs.context, Source::Archive("abc".into()));
    }

    #[test]
    fn what_is_no_build_of_a_dockerfile_is_refused_by_name() {
        let table = [
            ("requestid", "frontend.outline", "unsupported request frontend.outline"),
            ("context:base", "docker-image://x", "named context \"base\""),
            ("context", "https://x/y.git", "remote context"),
            ("no-cache", "a,b", "only some stages (a,b)"),
            ("attest:sbom", "", "attestations (sbom)"),
        ];
        for (key, value, expected) in table {
            let status = read(&[(key, value)]).unwrap_err();
            assert_eq!(status.code, Code::Unimplemented, "{key}");
            assert!(status.message.contains(expected), "{}", status.message);
        }
        let other = BridgeSolveRequest { frontend: "gateway.v0".into(), ..Default::default() };
        assert!(Inputs::read(&SolveRequest::default(), &other).is_err());
        let source = ("source".to_owned(), "docker/dockerfile:1.7".to_owned());
        let syntax = BridgeSolveRequest { options: [source].into(), ..other };
        assert!(Inputs::read(&SolveRequest::default(), &syntax).is_ok());
    }
}
