//! Volumes.

use std::collections::BTreeMap;

use hyper::{Method, StatusCode};
use oriel_api::Filters;
use oriel_engine::{DRIVER_LOCAL, Engine, Time, VolumeRequest, VolumeView};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{patterns::Patterns, unknown};
use crate::http::{Answer, Call, HttpError, empty, json as answer, ok};

const FILTERS: [&str; 4] = ["dangling", "driver", "label", "name"];
const PRUNE_FILTERS: [&str; 3] = ["all", "label", "label!"];

/// Body of `POST /volumes/create`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Create {
    name: Option<String>,
    driver: Option<String>,
    driver_opts: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
    cluster_volume_spec: Option<Value>,
}

pub(crate) async fn dispatch(call: Call, method: &Method, segments: &[&str]) -> Answer {
    let engine = &call.daemon.engine;
    match (method.as_str(), segments) {
        ("GET", []) => list(&call),
        ("POST", ["create"]) => create(call).await,
        ("POST", ["prune"]) => prune(&call).await,
        ("GET", [name]) => ok(&view(&engine.volume(name)?)),
        ("DELETE", [name]) => {
            engine.remove_volume(name, call.query.flag("force")).await?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        ("PUT", [_]) => Err(HttpError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "volume update only valid for cluster volumes, but swarm is unavailable",
        )),
        _ => unknown(),
    }
}

fn list(call: &Call) -> Answer {
    let filters = Filters::parse(call.query.value("filters").unwrap_or_default(), &FILTERS)?;
    let dangling = flag(&filters, "dangling")?;
    let names = Patterns::of(&filters, "name");
    let volumes = call.daemon.engine.volumes().into_iter().filter(|volume| {
        dangling.is_none_or(|dangling| volume.users.is_empty() == dangling)
            && filters.any("driver", |driver| driver == DRIVER_LOCAL)
            && names.match_any(&[&volume.name])
            && filters.labels(&volume.labels)
    });
    let volumes: Vec<_> = volumes.map(|volume| view(&volume)).collect();
    ok(&json!({ "Volumes": volumes, "Warnings": null }))
}

/// A filter that is true or false.
pub(crate) fn flag(filters: &Filters, key: &str) -> Result<Option<bool>, HttpError> {
    match filters.values(key) {
        [] => Ok(None),
        [value] if ["1", "true"].contains(&value.as_str()) => Ok(Some(true)),
        [value] if ["0", "false"].contains(&value.as_str()) => Ok(Some(false)),
        values => {
            let values = values.join(" ");
            Err(HttpError::invalid(format!("invalid filter '{key}=[{values}]'")))
        }
    }
}

async fn create(mut call: Call) -> Answer {
    let body: Create = call.json().await?;
    if body.cluster_volume_spec.is_some_and(|spec| !spec.is_null()) {
        return super::swarm(&["volumes"]);
    }
    let request = VolumeRequest {
        name: body.name.unwrap_or_default(),
        driver: body.driver.unwrap_or_default(),
        options: body.driver_opts.unwrap_or_default(),
        labels: body.labels.unwrap_or_default(),
    };
    let volume = call.daemon.engine.create_volume(request).await?;
    Ok(answer(StatusCode::CREATED, &view(&volume)))
}

async fn prune(call: &Call) -> Answer {
    let filters = Filters::parse(call.query.value("filters").unwrap_or_default(), &PRUNE_FILTERS)?;
    // Before 1.42 a prune meant all volumes, not only those that nobody named.
    let all = !call.version.at_least(42) || flag(&filters, "all")?.unwrap_or(false);
    let wanted =
        |volume: &VolumeView| (all || volume.is_anonymous()) && filters.labels(&volume.labels);
    let (removed, reclaimed) = call.daemon.engine.prune_volumes(wanted).await?;
    ok(&json!({ "VolumesDeleted": removed, "SpaceReclaimed": reclaimed }))
}

fn view(volume: &VolumeView) -> Value {
    let labels = (!volume.labels.is_empty()).then_some(&volume.labels);
    json!({
        "CreatedAt": Time(volume.created.seconds() * 1_000_000_000).to_string(),
        "Driver": DRIVER_LOCAL,
        "Labels": labels,
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Options": null,
        "Scope": "local",
    })
}

/// All volumes with what they take, for `docker system df`.
pub(crate) async fn usage(engine: &Engine) -> Vec<Value> {
    let volumes = engine.volumes();
    let sizes = engine.volume_sizes(&volumes).await;
    let with_size = |volume: &VolumeView| {
        let mut value = view(volume);
        // Docker's -1: nobody knows.
        let size = sizes.get(&volume.name).and_then(|size| i64::try_from(*size).ok());
        value["UsageData"] = json!({ "Size": size.unwrap_or(-1), "RefCount": volume.users.len() });
        value
    };
    volumes.iter().map(with_size).collect()
}
