//! Events.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use oriel_api::{
    ApiVersion, Filters,
    event::{Actor, Event as WireEvent},
    has_event,
};
use oriel_engine::{Event, Time};
use tokio::sync::broadcast::{self, error::RecvError};

use crate::http::{Answer, Call, HttpError, streamed};

const FILTERS: [&str; 13] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "service",
    "type",
    "volume",
];

/// What is left to send.
struct Listener {
    earlier: std::vec::IntoIter<Event>,
    coming: broadcast::Receiver<Event>,
    filters: Filters,
    until: Option<tokio::time::Instant>,
    version: ApiVersion,
}

pub(crate) fn events(call: &Call) -> Answer {
    let filters = Filters::parse(call.query.value("filters").unwrap_or_default(), &FILTERS)?;
    let time = |name: &str| match call.query.non_empty(name) {
        None => Ok(None),
        Some(text) => Time::parse_parameter(text)
            .map(Some)
            .ok_or_else(|| HttpError::invalid(format!("invalid value for {name:?}: {text:?}"))),
    };
    let (since, until) = (time("since")?, time("until")?);
    let (kept, coming) = call.daemon.engine.events();
    let earlier: Vec<Event> = kept
        .into_iter()
        .filter(|event| since.is_some_and(|since| event.time >= since))
        .filter(|event| until.is_none_or(|until| event.time <= until))
        .collect();
    let left = |until: Time| until.since(call.daemon.engine.now());
    let listener = Listener {
        earlier: earlier.into_iter(),
        coming,
        filters,
        until: until.map(|until| tokio::time::Instant::now() + left(until)),
        version: call.version,
    };
    let lines = stream::unfold(listener, |mut listener| async move {
        let line = listener.next().await?;
        Some((Ok(line), listener))
    });
    Ok(streamed("application/json", lines))
}

impl Listener {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let event = match self.earlier.next() {
                Some(event) => event,
                None => self.receive().await?,
            };
            let known = has_event(self.version, event.kind, &event.action);
            if known && wanted(&event, &self.filters) {
                return Some(line(event, !self.version.at_least(52)));
            }
        }
    }

    async fn receive(&mut self) -> Option<Event> {
        /// Longest sleep a timer takes.
        const FOREVER: Duration = Duration::from_secs(86_400 * 365);

        let until = self.until.unwrap_or_else(|| tokio::time::Instant::now() + FOREVER);
        loop {
            match tokio::time::timeout_at(until, self.coming.recv()).await {
                Ok(Ok(event)) => return Some(event),
                // Too slow: what was missed is gone, what comes is not.
                Ok(Err(RecvError::Lagged(_))) => {}
                Ok(Err(RecvError::Closed)) | Err(_) => return None,
            }
        }
    }
}

fn wanted(event: &Event, filters: &Filters) -> bool {
    let attribute = |name: &str| event.attributes.get(name).map_or("", String::as_str);
    let is = |kind: &str, wanted: &str| {
        event.kind == kind && (event.id.starts_with(wanted) || attribute("name") == wanted)
    };
    let image = |wanted: &str| {
        let image = if event.kind == "image" { attribute("name") } else { attribute("image") };
        image == wanted || image.strip_suffix(":latest") == Some(wanted) || event.id == wanted
    };
    filters.any("type", |kind| event.kind == kind)
        && filters.any("event", |action| {
            event.action == action || event.action.starts_with(&format!("{action}:"))
        })
        && filters.any("daemon", |name| is("daemon", name))
        && filters.any("container", |name| is("container", name))
        && filters.any("network", |name| is("network", name))
        && filters.any("volume", |name| is("volume", name))
        && filters.any("image", image)
        && filters.any("scope", |scope| scope == "local")
        && filters.labels(&event.attributes)
}

fn line(event: Event, legacy: bool) -> Bytes {
    let named = legacy && matches!(event.kind, "container" | "image");
    let from = event.attributes.get("image").filter(|_| event.kind == "container").cloned();
    let wire = WireEvent {
        status: named.then(|| event.action.clone()),
        id: named.then(|| event.id.clone()),
        from: from.filter(|_| legacy),
        kind: event.kind.to_owned(),
        action: event.action,
        actor: Actor { id: event.id, attributes: event.attributes },
        scope: "local".to_owned(),
        time: event.time.seconds(),
        time_nano: event.time.0,
    };
    let mut bytes = serde_json::to_vec(&wire).expect("events have string keys only");
    bytes.push(b'\n');
    bytes.into()
}
