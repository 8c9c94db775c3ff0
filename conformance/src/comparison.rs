//! What the same programs get from Oriel and from a real dockerd, and where that differs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{Exchange, Session, endpoints};

/// Fields whose members are named by people or ids, not by the API.
const FREE_NAMES: &[&str] = &[
    "Labels",
    "Networks",
    "Ports",
    "Containers",
    "ExposedPorts",
    "PortBindings",
    "Volumes",
    "Attributes",
    "Options",
    "IndexConfigs",
    "networks",
    "Runtimes",
    "LogOpts",
    "DriverOpts",
    "Data",
];

/// Clients whose programs take the same steps on both daemons and ask for the same version.
const SAME_VERSION: &[&str] = &["Docker CLI"];

/// Clients whose programs take the same steps on both daemons.
const SAME_STEPS: &[&str] = &["Docker CLI", "docker-py", "dockerode", "bollard"];

/// The sessions of one client with both daemons.
#[derive(Debug)]
pub struct Pair {
    /// With Oriel.
    pub oriel: Session,
    /// With dockerd.
    pub dockerd: Session,
}

/// The differences as tables of Markdown.
#[must_use]
pub fn differences(pairs: &[Pair]) -> String {
    let mut text = "| Client | Endpoint | Oriel | dockerd |\n|---|---|---|---|\n".to_owned();
    for pair in pairs.iter().filter(|pair| is_one_of(SAME_STEPS, &pair.oriel.client)) {
        text += &statuses(pair);
    }
    text += "\n| What is said | Oriel | dockerd |\n|---|---|---|\n";
    for pair in pairs {
        text += &remarks(pair);
    }
    text += "\n| Answer | Only dockerd has | Only Oriel has |\n|---|---|---|\n";
    let same = || pairs.iter().filter(|pair| is_one_of(SAME_VERSION, &pair.oriel.client));
    let [oriel, dockerd] = [
        shapes(same().flat_map(|pair| &pair.oriel.exchanges)),
        shapes(same().flat_map(|pair| &pair.dockerd.exchanges)),
    ];
    for (endpoint, fields) in &oriel {
        let Some(others) = dockerd.get(endpoint) else { continue };
        let [missing, further] = [lacking(others, fields), lacking(fields, others)];
        if !missing.is_empty() || !further.is_empty() {
            text += &format!("| `{endpoint}` | {missing} | {further} |\n");
        }
    }
    text
}

fn is_one_of(names: &[&str], client: &str) -> bool {
    names.iter().any(|name| client.starts_with(name))
}

/// Rows for endpoints from which one daemon gave a status that the other did not.
fn statuses(pair: &Pair) -> String {
    let [oriel, dockerd] = [&pair.oriel, &pair.dockerd].map(|session| {
        let mut map = BTreeMap::<String, BTreeSet<u16>>::new();
        for exchange in session.exchanges.iter().filter(|exchange| exchange.status != 0) {
            let endpoint = endpoints::name(&exchange.method, &exchange.path);
            map.entry(endpoint).or_default().insert(exchange.status);
        }
        map
    });
    let list = |statuses: &BTreeSet<u16>| {
        statuses.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
    };
    let rows = oriel.iter().filter_map(|(endpoint, here)| {
        let there = dockerd.get(endpoint).filter(|there| *there != here)?;
        let client = &pair.oriel.client;
        Some(format!("| {client} | `{endpoint}` | {} | {} |\n", list(here), list(there)))
    });
    rows.collect()
}

/// Rows for what a program reported with `seen`.
fn remarks(pair: &Pair) -> String {
    let [oriel, dockerd] = [&pair.oriel, &pair.dockerd].map(|session| {
        let lines = session.output.lines().filter_map(|line| line.strip_prefix("seen "));
        lines.filter_map(|line| line.split_once(": ")).collect::<Vec<_>>()
    });
    // What is reported several times is compared in its order.
    let mut rest = dockerd;
    let rows = oriel.iter().filter_map(|(what, here)| {
        let (_, there) = rest.remove(rest.iter().position(|(other, _)| other == what)?);
        (*here != there).then(|| format!("| {what} | {here} | {there} |\n"))
    });
    rows.collect()
}

/// The fields of all good JSON answers, by endpoint.
fn shapes<'a>(exchanges: impl Iterator<Item = &'a Exchange>) -> BTreeMap<String, BTreeSet<String>> {
    let mut shapes = BTreeMap::<String, BTreeSet<String>>::new();
    for exchange in exchanges.filter(|exchange| (200..300).contains(&exchange.status)) {
        let fields = shapes.entry(endpoints::name(&exchange.method, &exchange.path)).or_default();
        let values = serde_json::Deserializer::from_slice(&exchange.body).into_iter::<Value>();
        for value in values.flatten() {
            collect(&value, "", "", fields);
        }
    }
    shapes
}

/// Notes every field below `value` with its path; `name` is that of the field that holds `value`.
fn collect(value: &Value, path: &str, name: &str, fields: &mut BTreeSet<String>) {
    match value {
        Value::Array(list) => list.iter().for_each(|item| collect(item, path, "", fields)),
        Value::Object(map) => {
            for (key, item) in map {
                let shown = if FREE_NAMES.contains(&name) { "*" } else { key };
                let path =
                    if path.is_empty() { shown.to_owned() } else { format!("{path}.{shown}") };
                collect(item, &path, key, fields);
                fields.insert(path);
            }
        }
        _ => {}
    }
}

/// Fields of `these` that `those` lack, where those have the object that would hold them.
fn lacking(these: &BTreeSet<String>, those: &BTreeSet<String>) -> String {
    let is_held = |field: &str| match field.rsplit_once('.') {
        None => true,
        Some((parent, _)) => those
            .iter()
            .any(|other| other.strip_prefix(parent).is_some_and(|rest| rest.starts_with('.'))),
    };
    let fields = these.iter().filter(|field| !those.contains(*field) && is_held(field));
    fields.map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(client: &str, output: &str, exchanges: &[(&str, u16, &str)]) -> Session {
        let exchange = |&(path, status, body): &(&str, u16, &str)| Exchange {
            method: "GET".into(),
            path: path.into(),
            version: Some("1.45".into()),
            status,
            body: body.into(),
        };
        Session {
            client: client.into(),
            output: output.into(),
            exchanges: exchanges.iter().map(exchange).collect(),
        }
    }

    #[test]
    fn what_differs_is_listed_and_what_is_the_same_is_not() {
        let oriel = session(
            "Docker CLI 26",
            "seen order: a b\nseen same: x\n",
            &[
                ("/info", 200, r#"{"ID":1,"Isolation":"process","Plugins":{"Log":[]}}"#),
                ("/containers/json", 200, r#"[{"Labels":{"a":"b"}}]"#),
                ("/events", 400, ""),
            ],
        );
        let dockerd = session(
            "Docker CLI 26",
            "seen order: b a\nseen same: x\n",
            &[
                ("/info", 200, r#"{"ID":2,"Runtimes":{},"Plugins":{"Log":[],"Volume":[]}}"#),
                ("/containers/json", 200, r#"[{"Labels":{"c":"d"}}]"#),
                ("/events", 200, ""),
            ],
        );
        let text = differences(&[Pair { oriel, dockerd }]);
        let rows: Vec<&str> = text.lines().filter(|line| !line.contains("---")).collect();
        let expected = [
            "| Client | Endpoint | Oriel | dockerd |",
            "| Docker CLI 26 | `GET /events` | 400 | 200 |",
            "",
            "| What is said | Oriel | dockerd |",
            "| order | a b | b a |",
            "",
            "| Answer | Only dockerd has | Only Oriel has |",
            "| `GET /info` | `Plugins.Volume`, `Runtimes` | `Isolation` |",
        ];
        assert_eq!(rows, expected);
    }
}
