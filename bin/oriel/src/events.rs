//! `oriel events`: what happens, as it happens.

use std::process::ExitCode;

use clap::Args;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;

use crate::{
    connection::{At, Client},
    format::{
        filters,
        human::{clock, since},
        template::Template,
    },
    lines::Lines,
    screen::{plain, print},
};

#[derive(Args)]
pub(crate) struct Events {
    /// Only what fits, KEY=VALUE: type, event, container, image, network, volume, label ...
    #[arg(short, long = "filter", value_name = "FILTER")]
    filters: Vec<String>,
    /// Begin with events since a time, such as 2026-01-02T03:04:05Z, or 10m ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// End with events before a time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// json, or a Go template such as '{{.Action}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Print one JSON object a line: short for --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

/// How events are shown.
enum Shape {
    Line,
    Json,
    Template(Template),
}

/// `oriel events`
pub(crate) async fn run(client: &Client, wanted: &Events) -> anyhow::Result<ExitCode> {
    let shape = match wanted.format.as_deref() {
        _ if wanted.json => Shape::Json,
        Some("json" | "{{json .}}") => Shape::Json,
        Some(text) => Shape::Template(Template::parse(text)?),
        None => Shape::Line,
    };
    let moment = |text: &Option<String>| text.as_deref().map(|text| since(text, clock()));
    let at = At::path(&["events"])
        .maybe("filters", filters(&wanted.filters)?)
        .maybe("since", moment(&wanted.since))
        .maybe("until", moment(&wanted.until));
    let mut lines = Lines::new(client.open(&at).await?);
    while let Some(event) = lines.next::<Value>().await? {
        let text = match &shape {
            Shape::Line => line(&event),
            Shape::Json => event.to_string(),
            Shape::Template(template) => template.execute(&event)?,
        };
        print(&format!("{text}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// An event as Docker shows it.
fn line(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let attributes = event["Actor"]["Attributes"].as_object().into_iter().flatten();
    let attributes: Vec<_> = attributes.map(|(k, v)| format!("{k}={}", text(v))).collect();
    let attributes = match attributes.is_empty() {
        true => String::new(),
        false => format!(" ({})", attributes.join(", ")),
    };
    let (kind, action) = (text(&event["Type"]), text(&event["Action"]));
    let id = text(&event["Actor"]["ID"]);
    plain(&format!("{} {kind} {action} {id}{attributes}", time(event))).into_owned()
}

fn time(event: &Value) -> String {
    let nanoseconds = event["timeNano"].as_i64().unwrap_or_default();
    let Ok(time) = Timestamp::from_nanosecond(nanoseconds.into()) else { return String::new() };
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S%.9f%:z").to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_a_line() {
        let event = json!({"Type": "container", "Action": "start",
            "timeNano": 1_700_000_000_000_000_001_i64,
            "Actor": {"ID": "abc", "Attributes": {"image": "i", "name": "n"}}});
        let line = line(&event);
        assert!(line.ends_with(" container start abc (image=i, name=n)"), "{line}");
        assert!(line.starts_with("2023-11-1") && line.contains(".000000001"), "{line}");
    }
}
