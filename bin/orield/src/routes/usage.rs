//! Disk usage.

use oriel_api::Shape;
use serde_json::json;

use super::{build_caches, images, inspect};
use crate::http::{Answer, Call, HttpError, ok};

/// `GET /system/df`. Since version 1.42 a client may name the kinds it wants; the others are
/// `null` then.
pub(crate) async fn disk_usage(call: &Call) -> Answer {
    let wanted = wanted(call)?;
    let wants = |kind: &str| wanted.is_empty() || wanted.contains(&kind);
    let mut usage = json!({
        "LayersSize": 0,
        "Images": null,
        "Containers": null,
        "Volumes": null,
        "BuildCache": null,
    });
    if wants("image") {
        let (layers, images) = images::usage(call).await?;
        usage["LayersSize"] = json!(layers);
        usage["Images"] = json!(images);
    }
    if wants("container") {
        let views = call.daemon.engine.containers();
        let sizes = call.daemon.engine.usage(&views).await;
        let containers = views.iter().map(|view| {
            let summary = inspect::summary(call, view, sizes.get(&view.id));
            call.shaped(Shape::ContainerSummary, summary)
        });
        usage["Containers"] = json!(containers.collect::<Vec<_>>());
    }
    if wants("volume") {
        usage["Volumes"] = json!(super::volumes::usage(&call.daemon.engine).await);
    }
    if wants("build-cache") {
        usage["BuildCache"] = build_caches::usage(call).await?;
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
