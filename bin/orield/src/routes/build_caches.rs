//! Caches of `RUN --mount=type=cache`: what they take, and removing them. The cache of steps is
//! images without names, which are listed and pruned as images.

use std::collections::BTreeMap;

use oriel_api::Filters;
use oriel_builder::{CacheRoom, CacheView};
use oriel_engine::{Engine, EngineError, Time};
use serde_json::{Value, json};

use crate::http::{Answer, Call, HttpError, ok};

/// BuildKit's word for such a cache.
pub(crate) const KIND: &str = "exec.cachemount";

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

/// Those of them that choose by what a record holds, of which each takes one value.
const FIELDS: [&str; 8] =
    ["description", "id", "inuse", "mutable", "parent", "private", "shared", "type"];

/// `POST /build/prune`: removes caches that no build uses, those first that were used longest ago.
pub(crate) async fn prune(call: &Call) -> Answer {
    let filters = Filters::parse(call.query.value("filters").unwrap_or_default(), &PRUNE_FILTERS)?;
    let unused_since = unused_since(call, &filters)?;
    if FIELDS.iter().any(|field| filters.values(field).len() > 1) {
        return Err(HttpError::invalid("filters expect only one value"));
    }
    let keep = keep(call)?;
    let caches = call.daemon.caches.clone();
    let wanted = move |view: &CacheView| {
        unused_since.is_none_or(|moment| Time::from(view.used) < moment) && fits(view, &filters)
    };
    let failed = |source| EngineError::File { attempt: "remove build caches", source };
    let work = move |_: &Engine| caches.prune(wanted, &keep).map_err(failed);
    let engine = &call.daemon.engine;
    let (removed, bytes) = engine.blocking(work).await?;
    engine.emit_prune("builder", bytes);
    let removed = Some(removed).filter(|removed| !removed.is_empty());
    ok(&json!({ "CachesDeleted": removed, "SpaceReclaimed": bytes }))
}

/// The moment since which a cache must not have been used; `until` and its older name say it.
fn unused_since(call: &Call, filters: &Filters) -> Result<Option<Time>, HttpError> {
    let (new, old) = (filters.values("until"), filters.values("unused-for"));
    let text = match (new, old) {
        ([], []) => return Ok(None),
        ([text], []) | ([], [text]) => text,
        ([], _) | (_, []) => return Err(HttpError::invalid("filters expect only one value")),
        _ => {
            let text = r#"conflicting filters: "until" and "unused-for""#;
            return Err(HttpError::invalid(text));
        }
    };
    let name = if old.is_empty() { "until" } else { "unused-for" };
    let time = Time::parse_moment(text, call.daemon.engine.now());
    time.map(Some).ok_or_else(|| {
        HttpError::invalid(format!(
            "{name:?} filter expects a duration (e.g., '24h') or a timestamp: {text:?} is neither"
        ))
    })
}

/// What is to be kept; API 1.48 has more to say about that than the versions before.
fn keep(call: &Call) -> Result<CacheRoom, HttpError> {
    let bytes = |name: &str| {
        let text = call.query.non_empty(name).unwrap_or("0");
        let wrong = |_| {
            HttpError::invalid(format!("{name} is in bytes and expects an integer, got {text}"))
        };
        // Less than nothing is nothing.
        text.parse::<i64>().map(|bytes| u64::try_from(bytes).unwrap_or(0)).map_err(wrong)
    };
    if !call.version.at_least(48) {
        return Ok(CacheRoom { reserved: bytes("keep-storage")?, ..CacheRoom::default() });
    }
    let reserved = match bytes("reserved-space")? {
        0 => bytes("keep-storage")?,
        reserved => reserved,
    };
    Ok(CacheRoom { reserved, most: bytes("max-used-space")?, free: bytes("min-free-space")? })
}

/// Whether a cache is one of those that the filters choose. Those without a value, or with one
/// that is no text of the record, choose by whether it is so.
fn fits(view: &CacheView, filters: &Filters) -> bool {
    let is = |field: &str, so: bool| filters.any(field, |wanted| so == (wanted != "false"));
    // BuildKit looks for a pattern within the id; ids are digits, so that is looking for a text.
    filters.any("id", |id| view.name.contains(id) || view.id == id)
        && filters.any("type", |kind| kind == KIND)
        && filters.any("description", |text| text == description(view))
        // No cache is made of another one.
        && filters.any("parent", |_| false)
        && is("inuse", view.in_use)
        && is("mutable", true)
        && is("shared", false)
        && is("private", true)
        // A cache has no labels: who prunes by one means other things.
        && filters.labels(&BTreeMap::new())
}

/// What a cache is, as people read it.
pub(crate) fn description(view: &CacheView) -> String {
    format!("cached mount {}", view.id)
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
        "Description": description(view),
        "InUse": view.in_use,
        "Shared": false,
        "Size": view.bytes,
        "CreatedAt": Time::from(view.created).to_string(),
        "LastUsedAt": Time::from(view.used).to_string(),
        "UsageCount": view.uses,
    })
}
