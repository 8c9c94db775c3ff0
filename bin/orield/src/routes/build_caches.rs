//! Caches of `RUN --mount=type=cache`: what they take, and removing them. The cache of steps is
//! images without names, which are listed and pruned as images.

use std::collections::BTreeMap;

use oriel_api::Filters;
use oriel_builder::CacheView;
use oriel_engine::Time;
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
    let work = move || caches.prune(wanted, keep.unwrap_or(0));
    let (removed, bytes) = blocking("remove build caches", work).await?;
    call.daemon.engine.emit_prune("builder", bytes);
    let removed = Some(removed).filter(|removed| !removed.is_empty());
    ok(&json!({ "CachesDeleted": removed, "SpaceReclaimed": bytes }))
}

/// All caches, as BuildKit's records, for `docker system df`.
pub(crate) async fn usage(call: &Call) -> Result<Value, HttpError> {
    let caches = call.daemon.caches.clone();
    let views = blocking("list build caches", move || caches.list()).await?;
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

async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, HttpError> {
    let done = match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    done.map_err(|error| {
        let text = format!("cannot {what}: {error}");
        HttpError::new(hyper::StatusCode::INTERNAL_SERVER_ERROR, text)
    })
}
