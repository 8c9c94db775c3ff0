//! `docker buildx du` and `docker buildx prune`: the caches of `RUN --mount=type=cache`.

use std::time::{Duration, SystemTime};

use oriel_builder::{CacheRoom, CacheView};
use oriel_buildkit::{
    Code, Reply, Status,
    message::{DiskUsageRequest, DiskUsageResponse, PruneRequest, UsageRecord},
};
use oriel_engine::EngineError;

use crate::{
    daemon::Daemon,
    routes::build_caches::{KIND, description},
};

/// Answer of `Control.DiskUsage`.
pub(super) async fn list(
    daemon: &Daemon,
    request: DiskUsageRequest,
) -> Result<DiskUsageResponse, Status> {
    let filters = filters(&request.filters)?;
    let caches = daemon.caches.clone();
    let failed = |source| EngineError::File { attempt: "list build caches", source };
    let views = daemon.engine.blocking(move |_| caches.list().map_err(failed)).await;
    let views = views.map_err(refused)?;
    let records = views.iter().filter(|view| filters.iter().all(|wanted| wanted.takes(view)));
    Ok(DiskUsageResponse { records: records.map(record).collect() })
}

/// Answer of `Control.Prune`: what was removed, one record each.
pub(super) async fn prune(daemon: &Daemon, request: PruneRequest) -> Result<Reply, Status> {
    let filters = filters(&request.filters)?;
    let bytes = |number: i64| u64::try_from(number).unwrap_or_default();
    let keep = CacheRoom {
        reserved: bytes(request.keep_bytes),
        most: bytes(request.most_bytes),
        free: bytes(request.free_bytes),
    };
    let young = Duration::from_nanos(u64::try_from(request.keep_duration).unwrap_or_default());
    let oldest = SystemTime::now().checked_sub(young);
    let caches = daemon.caches.clone();
    let failed = |source| EngineError::File { attempt: "remove build caches", source };
    let work = move |_: &oriel_engine::Engine| {
        let before = caches.list().map_err(failed)?;
        let wanted = move |view: &CacheView| {
            oldest.is_none_or(|oldest| view.used <= oldest)
                && filters.iter().all(|wanted| wanted.takes(view))
        };
        let (removed, bytes) = caches.prune(wanted, &keep).map_err(failed)?;
        let gone = before.into_iter().filter(|view| removed.contains(&view.name));
        Ok::<_, EngineError>((gone.collect::<Vec<_>>(), bytes))
    };
    let (gone, bytes) = daemon.engine.blocking(work).await.map_err(refused)?;
    daemon.engine.emit_prune("builder", bytes);
    let (replies, reply) = Reply::many(gone.len().max(1));
    for view in &gone {
        // There is room for each.
        let _ = replies.send(&record(view)).await;
    }
    Ok(reply)
}

/// A condition such as `type==exec.cachemount` (containerd's `filters`).
struct Wanted {
    field: String,
    value: String,
    is_equal: bool,
}

impl Wanted {
    fn takes(&self, view: &CacheView) -> bool {
        let value = match self.field.as_str() {
            "id" => &view.name,
            "type" => KIND,
            "description" => &description(view),
            "inuse" if view.in_use => "true",
            "mutable" => "true",
            _ => "false",
        };
        (value == self.value) == self.is_equal
    }
}

/// Reads filters: those of buildx are one list each, all of which have to hold.
fn filters(texts: &[String]) -> Result<Vec<Wanted>, Status> {
    let parts = texts.iter().flat_map(|text| text.split(',')).filter(|part| !part.is_empty());
    parts.map(filter).collect()
}

fn filter(text: &str) -> Result<Wanted, Status> {
    const FIELDS: [&str; 8] =
        ["id", "type", "description", "inuse", "mutable", "shared", "private", "immutable"];
    let (field, value, is_equal) = match (text.split_once("!="), text.split_once("==")) {
        (Some((field, value)), _) => (field, value, false),
        (None, Some((field, value))) => (field, value, true),
        // A field alone is one that has a value.
        (None, None) => (text, "true", true),
    };
    let (field, value) = (field.trim(), value.trim().trim_matches('"'));
    if !FIELDS.contains(&field) {
        return Err(Status::new(Code::InvalidArgument, format!("invalid filter {text:?}")));
    }
    Ok(Wanted { field: field.to_owned(), value: value.to_owned(), is_equal })
}

fn record(view: &CacheView) -> UsageRecord {
    UsageRecord {
        id: view.name.clone(),
        mutable: true,
        in_use: view.in_use,
        size: i64::try_from(view.bytes).unwrap_or(i64::MAX),
        created: Some(view.created.into()),
        used: Some(view.used.into()),
        usage_count: i64::try_from(view.uses).unwrap_or(i64::MAX),
        description: description(view),
        kind: KIND.to_owned(),
        shared: false,
    }
}

fn refused(error: EngineError) -> Status {
    Status::new(super::solve::code(error.class()), error.to_string())
}
