//! The list of containers, with Docker's filters (moby `daemon/list.go`).

use std::collections::{BTreeMap, BTreeSet};

use oriel_api::{Filters, Shape, container::Port};
use oriel_engine::{ContainerView, Time};
use oriel_image::{Image, ImageId};

use super::{inspect, mounts, patterns::Patterns, volumes::flag};
use crate::http::{Answer, Call, HttpError, ok};

const FILTERS: [&str; 15] = [
    "ancestor",
    "before",
    "expose",
    "exited",
    "health",
    "id",
    "isolation",
    "is-task",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

/// Docker's words for states.
const STATES: [&str; 7] =
    ["created", "restarting", "running", "removing", "paused", "exited", "dead"];

/// Docker's words for verdicts of health checks.
const HEALTH: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];

/// `GET /containers/json`.
pub(crate) async fn list(call: &Call) -> Answer {
    let filters = Filters::parse(call.query.value("filters").unwrap_or_default(), &FILTERS)?;
    let wanted = Wanted::read(call, &filters).await?;
    // Docker's negative limit is none.
    let limit = call.query.integer::<i64>("limit")?.and_then(|limit| usize::try_from(limit).ok());
    let limit = limit.filter(|limit| *limit > 0);
    let all = call.query.flag("all") || limit.is_some() || !filters.values("status").is_empty();
    let views: Vec<_> = call
        .daemon
        .engine
        .containers()
        .into_iter()
        .filter(|view| all || view.state.is_active())
        .filter(|view| wanted.takes(view))
        .take(limit.unwrap_or(usize::MAX))
        .collect();
    let usage = match call.query.flag("size") {
        true => call.daemon.engine.usage(&views).await,
        false => BTreeMap::new(),
    };
    let summaries = views.iter().map(|view| inspect::summary(call, view, usage.get(&view.id)));
    let shape = Shape::ContainerSummary;
    // Shaping costs more than all the rest, and few clients ask for it.
    match oriel_api::differs(call.version, shape) {
        true => ok(&summaries.map(|summary| call.shaped(shape, summary)).collect::<Vec<_>>()),
        false => ok(&summaries.collect::<Vec<_>>()),
    }
}

/// Filters, understood.
struct Wanted<'a> {
    filters: &'a Filters,
    names: Patterns,
    /// Names of networks.
    networks: BTreeSet<String>,
    exited: Vec<u32>,
    before: Option<Time>,
    since: Option<Time>,
    ancestors: Option<BTreeSet<String>>,
    published: Vec<PortRange>,
    exposed: Vec<PortRange>,
    tasks: bool,
}

impl<'a> Wanted<'a> {
    async fn read(call: &Call, filters: &'a Filters) -> Result<Self, HttpError> {
        check_words(filters, "status", &STATES)?;
        check_words(filters, "health", &HEALTH)?;
        let engine = &call.daemon.engine;
        let bound = |key: &str| match filters.values(key).first() {
            Some(reference) => engine.container(reference).map(|view| Some(view.created)),
            None => Ok(None),
        };
        let network = |wanted: &String| match engine.network(wanted) {
            Ok(network) => network.name.clone(),
            Err(_) => wanted.clone(),
        };
        let exited = filters.values("exited").iter().map(|code| exit_code(code));
        Ok(Self {
            filters,
            names: Patterns::of(filters, "name"),
            networks: filters.values("network").iter().map(network).collect(),
            exited: exited.collect::<Result<_, _>>()?,
            before: bound("before")?,
            since: bound("since")?,
            ancestors: ancestors(call, filters).await?,
            published: ports(filters, "publish")?,
            exposed: ports(filters, "expose")?,
            tasks: flag(filters, "is-task")?.unwrap_or(false),
        })
    }

    fn takes(&self, view: &ContainerView) -> bool {
        let (spec, filters) = (&view.spec, self.filters);
        let state = if view.removing { "removing" } else { view.state.word() };
        let slashed = format!("/{}", view.name);
        !self.tasks
            && filters.any("id", |id| view.id.starts_with(id))
            && self.names.match_any(&[&view.name, &slashed])
            && self.before.is_none_or(|before| view.created < before)
            && self.since.is_none_or(|since| view.created > since)
            && filters.any("status", |status| state == status)
            && self.has_exited_so(view)
            && self.ancestors.as_ref().is_none_or(|ids| ids.contains(&spec.image_id))
            && self.joins_one(view)
            && filters.any("isolation", |isolation| matches!(isolation, "process" | "default"))
            && filters.any("health", |health| health == inspect::health_word(view))
            && filters.any("volume", |wanted| mounts::shows(view, wanted))
            && self.has_port(view)
            && filters.labels(&spec.run.labels)
    }

    fn has_exited_so(&self, view: &ContainerView) -> bool {
        let ended = view.state.word() == "exited";
        self.exited.is_empty() || (ended && self.exited.contains(&view.state.exit_code()))
    }

    fn joins_one(&self, view: &ContainerView) -> bool {
        let mut networks = view.spec.host.networks.iter();
        self.networks.is_empty() || networks.any(|joins| self.networks.contains(&joins.network))
    }

    /// A container is wanted when it has a port of either filter.
    fn has_port(&self, view: &ContainerView) -> bool {
        if self.published.is_empty() && self.exposed.is_empty() {
            return true;
        }
        inspect::ports(view).iter().any(|port: &Port| {
            let within = |ranges: &[PortRange], number: u16| {
                ranges.iter().any(|range| range.has(number, &port.kind))
            };
            port.public_port.is_some_and(|number| within(&self.published, number))
                || within(&self.exposed, port.private_port)
        })
    }
}

fn check_words(filters: &Filters, key: &str, words: &[&str]) -> Result<(), HttpError> {
    match filters.values(key).iter().find(|value| !words.contains(&value.as_str())) {
        Some(value) => {
            Err(HttpError::invalid(format!("Unrecognised filter value for {key}: {value}")))
        }
        None => Ok(()),
    }
}

/// An exit code: 32 bits, which some clients write with a sign.
fn exit_code(text: &str) -> Result<u32, HttpError> {
    let code = text.parse::<u32>().or_else(|_| text.parse::<i32>().map(i32::cast_unsigned));
    code.map_err(|_| HttpError::invalid(format!("invalid filter 'exited={text}'")))
}

/// Ids of the images that are wanted, and of all that were built on them; `None` for any. A name
/// without an image stands for nothing.
async fn ancestors(call: &Call, filters: &Filters) -> Result<Option<BTreeSet<String>>, HttpError> {
    let names = filters.values("ancestor").to_vec();
    if names.is_empty() {
        return Ok(None);
    }
    let found = call.daemon.engine.blocking(move |engine| {
        let images = engine.images();
        let named = names.iter().filter_map(|name| Some(images.resolve(name).ok()?.id));
        let named = named.collect::<Vec<_>>();
        images.list().map(|all| descendants(named, &all))
    });
    Ok(Some(found.await?))
}

fn descendants(mut waiting: Vec<ImageId>, all: &[Image]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if found.insert(id.to_string()) {
            let children = all.iter().filter(|image| image.parent == Some(id));
            waiting.extend(children.map(|image| image.id));
        }
    }
    found
}

/// Ports such as `80`, `53/udp` or `8000-8080/tcp`.
#[derive(Debug, PartialEq, Eq)]
struct PortRange {
    first: u16,
    last: u16,
    protocol: String,
}

impl PortRange {
    fn has(&self, port: u16, protocol: &str) -> bool {
        (self.first..=self.last).contains(&port) && self.protocol == protocol
    }

    fn parse(text: &str) -> Option<Self> {
        let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then(|| Self { first, last, protocol: protocol.to_ascii_lowercase() })
    }
}

fn ports(filters: &Filters, key: &str) -> Result<Vec<PortRange>, HttpError> {
    let read = |text: &String| {
        if text.contains(':') {
            let text = format!("filter for '{key}' should not contain ':': {text}");
            return Err(HttpError::invalid(text));
        }
        PortRange::parse(text).ok_or_else(|| {
            let text = format!("error while looking up for {key} {text}: invalid port range");
            HttpError::invalid(text)
        })
    };
    filters.values(key).iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_numbers_or_ranges_with_a_protocol() {
        let range = |first, last, protocol: &str| {
            Some(PortRange { first, last, protocol: protocol.to_owned() })
        };
        assert_eq!(PortRange::parse("80"), range(80, 80, "tcp"));
        assert_eq!(PortRange::parse("53/UDP"), range(53, 53, "udp"));
        assert_eq!(PortRange::parse("8000-8080/tcp"), range(8000, 8080, "tcp"));
        for text in ["", "a", "9-1", "65536", "-1", "1-"] {
            assert_eq!(PortRange::parse(text), None, "{text}");
        }
    }

    #[test]
    fn exit_codes_may_have_a_sign() {
        assert_eq!(exit_code("3221225786").unwrap(), 0xc000_013a);
        assert_eq!(exit_code("-1073741510").unwrap(), 0xc000_013a);
        assert!(exit_code("x").is_err() && exit_code("4294967296").is_err());
    }
}
