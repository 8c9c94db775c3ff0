//! Which client calls which endpoint, and what comes back: `docs/compatibility.md`.
//!
//! The table holds what is the same in every run: which statuses were seen, not how often. A cell
//! says `ok` when a request succeeded and names each refusal that a step of the client's program
//! asks for, or that the client itself asks for to find something out.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Exchange,
    endpoints::{self, ENDPOINTS, SWARM_ROW},
};

/// What the clients asked for and got.
#[derive(Debug, Default)]
pub struct Compatibility {
    clients: Vec<Column>,
}

/// A client's part.
#[derive(Debug, Default)]
struct Column {
    client: String,
    versions: BTreeSet<String>,
    /// Statuses by endpoint.
    statuses: BTreeMap<String, BTreeSet<u16>>,
}

impl Compatibility {
    /// Adds what a client, with its own version, asked for and got.
    pub fn add(&mut self, client: &str, exchanges: &[Exchange]) {
        let mut column = Column { client: client.to_owned(), ..Column::default() };
        for exchange in exchanges.iter().filter(|exchange| exchange.status != 0) {
            let endpoint = endpoints::name(&exchange.method, &exchange.path);
            // Who asks for the version cannot know it yet.
            if !["/_ping", "/version"].contains(&exchange.path.as_str()) {
                let version = exchange.version.as_deref().unwrap_or("none, which is the newest");
                column.versions.insert(version.to_owned());
            }
            column.statuses.entry(endpoint).or_default().insert(exchange.status);
        }
        self.clients.push(column);
    }

    /// The tables of the page.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = "| Client | API version it asks for |\n|---|---|\n".to_owned();
        for column in &self.clients {
            let versions: Vec<&str> = column.versions.iter().map(String::as_str).collect();
            text += &format!("| {} | {} |\n", column.client, versions.join(", "));
        }
        let names: Vec<&str> = self.clients.iter().map(|column| column.client.as_str()).collect();
        text += &format!("\n| Endpoint | {} | Otherwise tested by |\n", names.join(" | "));
        text += &format!("|---|{}---|\n", "---|".repeat(names.len()));
        for (endpoint, tested) in self.rows() {
            let cells: Vec<String> =
                self.clients.iter().map(|column| column.cell(&endpoint)).collect();
            let called = cells.iter().any(|cell| !cell.is_empty());
            let tested = if called || tested.is_empty() { "" } else { &format!("`{tested}`") };
            text += &format!("| `{endpoint}` | {} | {tested} |\n", cells.join(" | "));
        }
        text
    }

    /// Every endpoint, then what was asked for and is none.
    fn rows(&self) -> Vec<(String, &'static str)> {
        let mut rows: Vec<(String, &'static str)> =
            ENDPOINTS.iter().map(|endpoint| (endpoint.name(), endpoint.tested)).collect();
        rows.push((SWARM_ROW.to_owned(), ""));
        let asked: BTreeSet<&String> =
            self.clients.iter().flat_map(|column| column.statuses.keys()).collect();
        for endpoint in asked {
            if !rows.iter().any(|(name, _)| name == endpoint) {
                rows.push((endpoint.clone(), ""));
            }
        }
        rows
    }
}

impl Column {
    fn cell(&self, endpoint: &str) -> String {
        let Some(statuses) = self.statuses.get(endpoint) else { return String::new() };
        let good = statuses.iter().any(|&status| status < 400);
        let refusals = statuses.iter().filter(|&&status| status >= 400).map(u16::to_string);
        let words: Vec<String> =
            good.then(|| "ok".to_owned()).into_iter().chain(refusals).collect();
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(method: &str, path: &str, version: Option<&str>, status: u16) -> Exchange {
        Exchange {
            method: method.into(),
            path: path.into(),
            version: version.map(Into::into),
            status,
            body: Vec::new(),
        }
    }

    #[test]
    fn a_cell_says_what_came_back_and_not_how_often() {
        let mut compatibility = Compatibility::default();
        let list = exchange("GET", "/containers/json", Some("1.45"), 200);
        let missing = exchange("GET", "/containers/a/json", Some("1.45"), 404);
        compatibility.add("one 1", &[list.clone(), list.clone(), missing]);
        compatibility.add("two 2", &[exchange("GET", "/_ping", None, 200), list]);
        let table = compatibility.table();
        assert!(table.contains("| one 1 | 1.45 |\n| two 2 | 1.45 |\n"), "{table}");
        assert!(table.contains("| `GET /containers/json` | ok | ok |  |\n"), "{table}");
        assert!(table.contains("| `GET /containers/{id}/json` | 404 |  |  |\n"), "{table}");
        assert!(table.contains("| `GET /_ping` |  | ok |  |\n"), "{table}");
    }

    #[test]
    fn every_endpoint_stands_in_the_table_and_what_is_none_too() {
        let mut compatibility = Compatibility::default();
        compatibility.add("one 1", &[exchange("GET", "/odd", None, 404)]);
        let table = compatibility.table();
        assert!(ENDPOINTS.iter().all(|endpoint| table.contains(&endpoint.name())));
        assert!(table.contains("| `GET /odd` | 404 |"), "{table}");
    }
}
