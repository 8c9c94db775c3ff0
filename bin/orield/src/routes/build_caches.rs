//! Caches of `RUN --mount=type=cache`: what they take, and removing them. The cache of steps is
//! images without names, which are listed and pruned as images.

use std::collections::BTreeMap;

use oriel_api::Filters;
use oriel_builder::CacheView;
use oriel_engine::{Engine, EngineError, Time};
use serde_json::{Value, json};

use super::until;
use crate::http::{Answer, Call, HttpError, ok};

/// BuildKit's word for such a cache.
const KIND: &str = "exec.cachemount";

/// What the records of a cache may be chosen by
/// (moby `daemon/internal/builder-next/builder.go`).
const PRUNE_FILTERS: [&str; 12] = [
    "description",
    "id",
    "inuse",
    "label",
    "label!",
    "mutable",
    "parent",
    "private",
    "shared",
    "type",
    "until",
    "unused-for",
];

/// `POST /build/prune`: removes caches that no build uses, those first that were used longest ago.
pub(crate) async fn prune(call: &Call) -> Answer {
    let filters = Filters::parse(call.query.value("filters").unwrap_or_default(), &PRUNE_FILTERS)?;
    let until = until(call, &filters)?;
    let keep = ["reserved-space", "keep-storage"].iter().find_map(|name| call.query.number(name));
    let caches = call.daemon.caches.clone();
    let wanted = move |view: &CacheView| {
        until.is_none_or(|until| Time::from(view.used) < until)
            && filters.any("id", |id| id == view.name || id == view.id)
            && filters.any("type", |kind| kind == KIND)
            // A cache has no labels: who prunes by one means other things.
            && filters.labels(&BTreeMap::new())
    };
    let failed = |source| EngineError::File { attempt: "remove build caches", source };
    let work = move |_: &Engine| caches.prune(wanted, keep.unwrap_or(0)).map_err(failed);
    let engine = &call.daemon.engine;
    let (removed, bytes) = engine.blocking(work).await?;
    engine.emit_prune("builder", bytes);
    let removed = Some(removed).filter(|removed| !removed.is_empty());
    ok(&json!({ "CachesDeleted": removed, "SpaceReclaimed": bytes }))
}

/// All caches, as BuildKit's records, for `docker system df`.
pub(crate) async fn usage(call: &Call) -> Result<Value, HttpError> {
    let caches = call.daemon.caches.clone();
    let failed = |source| EngineError::File { attempt: "list build caches", source };
    let views = call.daemon.engine.blocking(move |_| caches.list().map_err(failed)).await?;
    Ok(views.iter().map(record).collect())
}

fn record(view: &CacheView) -> Value {
    json!({
        "ID": view.name,
        "Parents": null,
        "Type": KIND,
        "Description": format!("cached mount {}", view.id),
        "InUse": view.in_use,
        "Shared": false,
        "Size": view.bytes,
        "CreatedAt": Time::from(view.created).to_string(),
        "LastUsedAt": Time::from(view.used).to_string(),
        "UsageCount": 1,
    })
}
