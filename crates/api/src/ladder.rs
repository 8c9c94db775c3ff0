//! The versions below the newest: how an answer looks to a client that asks for less.
//!
//! Routes answer in the newest version's shape; what older ones lack, or had besides, is one row
//! per version here, applied from the newest down. Versions are moby's, `api/docs/CHANGELOG.md` and
//! the router packages. What a *request* means by its version is decided where it is read.

use serde_json::{Map, Value, json};

use crate::ApiVersion;

/// An answer that has looked otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `GET /containers/{id}/json`.
    Container,
    /// `GET /images/{name}/json`.
    Image,
    /// Element of `GET /containers/json`.
    ContainerSummary,
    /// Element of `GET /images/json`.
    ImageSummary,
    /// Image in `GET /system/df`.
    ImageUsage,
    /// `GET /system/df`.
    Usage,
    /// `GET /info`.
    Info,
    /// `GET /networks/{id}`, and element of `GET /networks`.
    Network,
}

/// What the versions before 1.`before` have different.
struct Rung {
    before: u32,
    shape: Shape,
    change: fn(&mut Map<String, Value>),
}

/// Newest first.
const RUNGS: [Rung; 18] = [
    Rung { before: 51, shape: Shape::ImageSummary, change: containers_not_counted },
    Rung { before: 50, shape: Shape::Image, change: image_has_container_fields },
    Rung { before: 50, shape: Shape::Info, change: bridge_filters },
    Rung { before: 49, shape: Shape::Info, change: nondistributable_artifacts },
    Rung { before: 48, shape: Shape::Network, change: no_ipv4_switch },
    Rung { before: 48, shape: Shape::Container, change: no_gateway_priority },
    Rung { before: 48, shape: Shape::ContainerSummary, change: no_gateway_priority },
    Rung { before: 45, shape: Shape::Container, change: short_id_is_alias },
    Rung { before: 45, shape: Shape::Image, change: image_has_container },
    Rung { before: 44, shape: Shape::Image, change: virtual_size },
    Rung { before: 44, shape: Shape::ImageSummary, change: virtual_size },
    Rung { before: 44, shape: Shape::ImageUsage, change: virtual_size },
    Rung { before: 44, shape: Shape::Container, change: no_names_in_dns },
    Rung { before: 43, shape: Shape::ImageSummary, change: none_is_a_name },
    Rung { before: 42, shape: Shape::Usage, change: builder_size },
    Rung { before: 42, shape: Shape::Info, change: kernel_memory },
    Rung { before: 42, shape: Shape::Container, change: kernel_memory_of_container },
    Rung { before: 25, shape: Shape::Info, change: execution_driver },
];

/// Gives an answer in the newest version's shape that of another version.
pub fn shape(version: ApiVersion, shape: Shape, answer: &mut Value) {
    let Some(answer) = answer.as_object_mut() else { return };
    for rung in RUNGS.iter().filter(|rung| rung.shape == shape) {
        if !version.at_least(rung.before) {
            (rung.change)(answer);
        }
    }
}

/// Whether an answer looks otherwise to a version than to the newest.
#[must_use]
pub fn differs(version: ApiVersion, shape: Shape) -> bool {
    RUNGS.iter().any(|rung| rung.shape == shape && !version.at_least(rung.before))
}

/// Whether a version knows an event.
#[must_use]
pub fn has_event(version: ApiVersion, kind: &str, action: &str) -> bool {
    match (kind, action) {
        (_, "prune") => version.at_least(41),
        ("image", "create") => version.at_least(46),
        _ => true,
    }
}

fn add(answer: &mut Map<String, Value>, fields: Value) {
    let Value::Object(fields) = fields else { return };
    answer.extend(fields);
}

/// What networks say of a container.
fn endpoints(answer: &mut Map<String, Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    let networks = answer
        .get_mut("NetworkSettings")
        .and_then(|settings| settings.get_mut("Networks"))
        .and_then(Value::as_object_mut);
    networks.into_iter().flat_map(|networks| networks.values_mut()).filter_map(Value::as_object_mut)
}

fn containers_not_counted(answer: &mut Map<String, Value>) {
    add(answer, json!({ "Containers": -1 }));
}

/// A container's fields, as all images had them.
fn container_fields() -> Value {
    json!({
        "Hostname": "", "Domainname": "", "AttachStdin": false, "AttachStdout": false,
        "AttachStderr": false, "Tty": false, "OpenStdin": false, "StdinOnce": false, "Image": "",
    })
}

fn image_has_container_fields(answer: &mut Map<String, Value>) {
    if let Some(config) = answer.get_mut("Config").and_then(Value::as_object_mut) {
        add(config, container_fields());
    }
}

fn bridge_filters(answer: &mut Map<String, Value>) {
    add(answer, json!({ "BridgeNfIptables": false, "BridgeNfIp6tables": false }));
}

fn nondistributable_artifacts(answer: &mut Map<String, Value>) {
    if let Some(config) = answer.get_mut("RegistryConfig").and_then(Value::as_object_mut) {
        add(
            config,
            json!({
                "AllowNondistributableArtifactsCIDRs": null,
                "AllowNondistributableArtifactsHostnames": null,
            }),
        );
    }
}

fn no_ipv4_switch(answer: &mut Map<String, Value>) {
    answer.remove("EnableIPv4");
}

fn no_gateway_priority(answer: &mut Map<String, Value>) {
    endpoints(answer).for_each(|endpoint| drop(endpoint.remove("GwPriority")));
}

fn short_id_is_alias(answer: &mut Map<String, Value>) {
    let id = answer.get("Id").and_then(Value::as_str).unwrap_or_default();
    let short = json!(id.get(..12).unwrap_or(id));
    for endpoint in endpoints(answer) {
        let aliases = endpoint.entry("Aliases").or_insert(Value::Null);
        match aliases {
            Value::Array(aliases) if aliases.contains(&short) => {}
            Value::Array(aliases) => aliases.push(short.clone()),
            _ => *aliases = json!([short]),
        }
    }
}

fn image_has_container(answer: &mut Map<String, Value>) {
    let mut config = container_fields();
    config["Cmd"] = Value::Null;
    config["Entrypoint"] = Value::Null;
    config["Env"] = Value::Null;
    config["Labels"] = Value::Null;
    config["OnBuild"] = Value::Null;
    config["User"] = json!("");
    config["Volumes"] = Value::Null;
    config["WorkingDir"] = json!("");
    add(answer, json!({ "Container": "", "ContainerConfig": config }));
}

fn virtual_size(answer: &mut Map<String, Value>) {
    let size = answer.get("Size").cloned().unwrap_or(json!(0));
    add(answer, json!({ "VirtualSize": size }));
}

fn no_names_in_dns(answer: &mut Map<String, Value>) {
    endpoints(answer).for_each(|endpoint| drop(endpoint.remove("DNSNames")));
}

fn none_is_a_name(answer: &mut Map<String, Value>) {
    for (field, none) in [("RepoTags", "<none>:<none>"), ("RepoDigests", "<none>@<none>")] {
        let named = |answer: &Map<String, Value>| {
            answer.get(field).and_then(Value::as_array).is_some_and(|names| !names.is_empty())
        };
        // An image with a tag and no digest has no `<none>` among its digests.
        if !named(answer) && (field == "RepoTags" || answer["RepoTags"] == json!(["<none>:<none>"]))
        {
            add(answer, json!({ field: [none] }));
        }
    }
}

fn builder_size(answer: &mut Map<String, Value>) {
    add(answer, json!({ "BuilderSize": 0 }));
}

fn kernel_memory(answer: &mut Map<String, Value>) {
    add(answer, json!({ "KernelMemory": false, "KernelMemoryTCP": false }));
}

fn kernel_memory_of_container(answer: &mut Map<String, Value>) {
    if let Some(host) = answer.get_mut("HostConfig").and_then(Value::as_object_mut) {
        add(host, json!({ "KernelMemory": 0, "KernelMemoryTCP": 0 }));
    }
}

fn execution_driver(answer: &mut Map<String, Value>) {
    add(answer, json!({ "ExecutionDriver": "<not supported>" }));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer in the shape of version 1.`minor`.
    fn shaped(minor: u32, kind: Shape, newest: &Value) -> Value {
        let mut answer = newest.clone();
        shape(ApiVersion { major: 1, minor }, kind, &mut answer);
        answer
    }

    #[test]
    fn the_rungs_go_down() {
        assert!(RUNGS.is_sorted_by(|one, next| one.before >= next.before));
        for rung in &RUNGS {
            assert!(rung.before > ApiVersion::MIN.minor && rung.before <= ApiVersion::MAX.minor);
        }
    }

    #[test]
    fn each_rung_begins_where_docker_has_it() {
        let endpoint = json!({ "Aliases": null, "GwPriority": 0, "DNSNames": [] });
        let container = json!({
            "Id": "0123456789abcdef",
            "HostConfig": {},
            "NetworkSettings": { "Networks": { "nat": endpoint } },
        });
        let image = json!({ "Size": 7, "Config": { "Cmd": null } });
        let summary = json!({ "Size": 7, "Containers": 2, "RepoTags": [], "RepoDigests": [] });
        let info = json!({ "RegistryConfig": {} });
        let network = json!({ "EnableIPv4": true });
        let at = "/NetworkSettings/Networks/nat";
        for (newest, kind, rung, place, from, before) in [
            (&summary, Shape::ImageSummary, 51, "/Containers", json!(2), json!(-1)),
            (&image, Shape::Image, 50, "/Config/Tty", Value::Null, json!(false)),
            (&info, Shape::Info, 50, "/BridgeNfIptables", Value::Null, json!(false)),
            (&network, Shape::Network, 48, "/EnableIPv4", json!(true), Value::Null),
            (&container, Shape::Container, 48, &format!("{at}/GwPriority"), json!(0), Value::Null),
            (
                &container,
                Shape::ContainerSummary,
                48,
                &format!("{at}/GwPriority"),
                json!(0),
                Value::Null,
            ),
            (
                &container,
                Shape::Container,
                45,
                &format!("{at}/Aliases"),
                Value::Null,
                json!(["0123456789ab"]),
            ),
            (&image, Shape::Image, 45, "/Container", Value::Null, json!("")),
            (&image, Shape::Image, 44, "/VirtualSize", Value::Null, json!(7)),
            (&summary, Shape::ImageSummary, 44, "/VirtualSize", Value::Null, json!(7)),
            (&summary, Shape::ImageUsage, 44, "/VirtualSize", Value::Null, json!(7)),
            (&container, Shape::Container, 44, &format!("{at}/DNSNames"), json!([]), Value::Null),
            (&summary, Shape::ImageSummary, 43, "/RepoTags", json!([]), json!(["<none>:<none>"])),
            (
                &summary,
                Shape::ImageSummary,
                43,
                "/RepoDigests",
                json!([]),
                json!(["<none>@<none>"]),
            ),
            (&info, Shape::Usage, 42, "/BuilderSize", Value::Null, json!(0)),
            (&info, Shape::Info, 42, "/KernelMemory", Value::Null, json!(false)),
            (&container, Shape::Container, 42, "/HostConfig/KernelMemory", Value::Null, json!(0)),
            (&info, Shape::Info, 25, "/ExecutionDriver", Value::Null, json!("<not supported>")),
        ] {
            let found = |minor| {
                let answer = shaped(minor, kind, newest);
                answer.pointer(place).cloned().unwrap_or_default()
            };
            assert_eq!(found(ApiVersion::MAX.minor), from, "{place} in the newest version");
            assert_eq!(found(rung), from, "{place} in 1.{rung}");
            assert_eq!(found(rung - 1), before, "{place} before 1.{rung}");
            assert_eq!(found(ApiVersion::MIN.minor), before, "{place} in the oldest version");
        }
        let old = shaped(48, Shape::Info, &info);
        let list = old.pointer("/RegistryConfig/AllowNondistributableArtifactsCIDRs");
        assert_eq!(list, Some(&Value::Null));
    }

    #[test]
    fn an_image_with_a_name_is_not_called_none() {
        let named = json!({ "Size": 7, "RepoTags": ["a:1"], "RepoDigests": [] });
        let answer = shaped(24, Shape::ImageSummary, &named);
        assert_eq!((&answer["RepoTags"], &answer["RepoDigests"]), (&json!(["a:1"]), &json!([])));
    }

    #[test]
    fn events_are_as_old_as_they_are() {
        let has = |minor, kind, action| has_event(ApiVersion { major: 1, minor }, kind, action);
        assert!(has(41, "volume", "prune") && !has(40, "volume", "prune"));
        assert!(has(46, "image", "create") && !has(45, "image", "create"));
        assert!(has(24, "container", "create"));
    }
}
