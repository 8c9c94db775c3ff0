//! Disk usage, and what pruning answers where there is nothing to prune.

use std::collections::BTreeMap;

use oriel_api::Shape;
use oriel_engine::Engine;
use serde_json::{Value, json};

use super::{images, inspect};
use crate::http::{Answer, Call, HttpError, ok};

/// `GET /system/df`. Since version 1.42 a client may name the kinds it wants; the others are
/// `null` then.
pub(crate) async fn disk_usage(call: &Call) -> Answer {
    let wanted = wanted(call)?;
    let wants = |kind: &str| wanted.is_empty() || wanted.contains(&kind);
    let list = |kind: &str| if wants(kind) { json!([]) } else { Value::Null };
    let mut usage = json!({
        "LayersSize": 0,
        "Images": null,
        "Containers": null,
        "Volumes": null,
        "BuildCache": list("build-cache"),
    });
    if wants("image") {
        let (layers, images) = images::usage(call).await?;
        usage["LayersSize"] = json!(layers);
        usage["Images"] = json!(images);
    }
    if wants("container") {
        let views = call.daemon.engine.containers();
        let sizes = call.daemon.engine.usage(&views).await;
        let containers = views.iter().map(|view| inspect::summary(call, view, sizes.get(&view.id)));
        usage["Containers"] = json!(containers.collect::<Vec<_>>());
    }
    if wants("volume") {
        usage["Volumes"] = json!(super::volumes::usage(&call.daemon.engine).await);
    }
    ok(&call.shaped(Shape::Usage, usage))
}

/// The kinds a client names; none are all.
fn wanted(call: &Call) -> Result<Vec<&str>, HttpError> {
    if !call.version.at_least(42) {
        return Ok(Vec::new());
    }
    let kinds: Vec<&str> = call.query.all("type").collect();
    let known = ["container", "image", "volume", "build-cache"];
    match kinds.iter().find(|kind| !known.contains(kind)) {
        Some(kind) => Err(HttpError::invalid(format!("unknown object type: {kind}"))),
        None => Ok(kinds),
    }
}

/// Answers a prune of a kind of which there is never anything to remove, with its event.
pub(crate) fn nothing_to_prune(engine: &Engine, kind: &'static str) -> Answer {
    engine.emit_prune(kind, 0);
    let removed = match kind {
        "network" => "NetworksDeleted",
        _ => "CachesDeleted",
    };
    let mut answer = BTreeMap::from([(removed, json!(null))]);
    if kind != "network" {
        answer.insert("SpaceReclaimed", json!(0));
    }
    ok(&answer)
}
