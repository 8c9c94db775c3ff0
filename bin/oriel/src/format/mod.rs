//! How answers are shown: tables, templates of `--format`, JSON lines.
//!
//! Every listing is a [`Listing`]: rows of named fields, of which some are columns. Docker's names
//! and headings are kept, because people have templates that use them.

pub(crate) mod human;
pub(crate) mod json;
mod table;
pub(crate) mod template;

use std::collections::BTreeMap;

use anyhow::bail;
use serde_json::{Map, Value};

use crate::screen::{plain, print};
pub(crate) use table::{render, row};
use template::Template;

/// A field of a listing, with its heading.
pub(crate) type Column = (&'static str, &'static str);

/// Options of every listing.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Shown {
    /// table, json, a Go template such as '{{.Name}}', or 'table' and a template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Print one JSON object a line: short for --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

impl Shown {
    /// Whether something else than the usual table is asked for.
    pub(crate) fn is_asked(&self) -> bool {
        self.json || self.format.is_some()
    }
}

/// A listing.
pub(crate) struct Listing {
    /// All fields, in the order of `columns` for those that are columns.
    fields: Vec<Column>,
    /// Fields of the table.
    columns: Vec<&'static str>,
    rows: Vec<Value>,
}

/// A row that is being put together: values by field.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row(Map<String, Value>);

impl Row {
    /// With a field.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// With the labels, for `.Labels` and `.Label "key"`.
    pub(crate) fn labels<'a>(
        mut self,
        labels: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Self {
        let labels: Map<_, _> =
            labels.into_iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect();
        let text: Vec<_> =
            labels.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
        self.0.insert(template::LABELS.to_owned(), Value::Object(labels));
        self.with("Labels", text.join(","))
    }
}

impl Listing {
    /// A listing with these fields, of which `columns` are shown in the table.
    pub(crate) fn new(fields: &[Column], columns: &[&'static str]) -> Self {
        Self { fields: fields.to_vec(), columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: Row) {
        self.rows.push(Value::Object(row.0));
    }

    /// Shows the listing.
    ///
    /// # Errors
    /// When the template is not understood, or standard output is gone.
    pub(crate) fn show(&self, shown: &Shown) -> anyhow::Result<()> {
        print(&self.text(shown)?)
    }

    /// The listing as text.
    ///
    /// # Errors
    /// When the template is not understood.
    pub(crate) fn text(&self, shown: &Shown) -> anyhow::Result<String> {
        let format = if shown.json { "json" } else { shown.format.as_deref().unwrap_or("table") };
        match format.split_once(char::is_whitespace).unwrap_or((format, "")) {
            ("json", "") => Ok(self.rows.iter().map(json_line).collect()),
            ("table", "") | ("", "") => Ok(self.table()),
            ("table", template) => self.templated_table(template.trim_start()),
            ("raw", "") => bail!("--format raw is not there; use json, or a template"),
            _ => {
                let template = Template::parse(format)?;
                let mut text = String::new();
                for row in &self.rows {
                    text += &template.execute(row)?;
                    text.push('\n');
                }
                Ok(text)
            }
        }
    }

    fn table(&self) -> String {
        let heading = |name: &&str| {
            let found = self.fields.iter().find(|(field, _)| field == name);
            found.map_or(*name, |(_, heading)| heading).to_owned()
        };
        let mut rows = vec![self.columns.iter().map(heading).collect::<Vec<_>>()];
        for row in &self.rows {
            rows.push(self.columns.iter().map(|name| cell(&row[*name])).collect());
        }
        render(&rows)
    }

    /// A table whose cells a template makes, a tab between them. The headings are what the
    /// template makes of the fields' headings.
    fn templated_table(&self, text: &str) -> anyhow::Result<String> {
        let template = Template::parse(text)?;
        let headings: Map<String, Value> = self
            .fields
            .iter()
            .map(|(name, heading)| ((*name).to_owned(), Value::from(*heading)))
            .chain([(template::LABELS.to_owned(), Value::Null)])
            .collect();
        let mut rows = Vec::new();
        for row in [&Value::Object(headings)].into_iter().chain(&self.rows) {
            let line = template.execute(row)?;
            rows.push(line.split('\t').map(|cell| plain(cell).into_owned()).collect());
        }
        Ok(render(&rows))
    }
}

/// The parameter `filters` of what people write as `--filter KEY=VALUE`.
///
/// # Errors
/// When one is not `KEY=VALUE`.
pub(crate) fn filters(list: &[String]) -> anyhow::Result<Option<String>> {
    let mut filters: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for text in list {
        let Some((key, value)) = text.split_once('=') else {
            bail!("{text:?} is no filter; write --filter KEY=VALUE");
        };
        // `label!=x` is a key of its own, as with Docker.
        filters.entry(key.trim()).or_default().push(value.trim());
    }
    Ok(if filters.is_empty() { None } else { Some(serde_json::to_string(&filters)?) })
}

fn json_line(row: &Value) -> String {
    format!("{}\n", template::json(row))
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => plain(text).into_owned(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Shows documents as `inspect` does: a list of JSON, or a template's text for each.
///
/// # Errors
/// When the template is not understood, or standard output is gone.
pub(crate) fn show_documents(documents: &[Vec<u8>], format: Option<&str>) -> anyhow::Result<()> {
    let Some(format) = format.filter(|format| *format != "json") else {
        return print(&json::list(documents));
    };
    let template = Template::parse(format)?;
    let mut text = String::new();
    for document in documents {
        text += &template.execute(&serde_json::from_slice(document)?)?;
        text.push('\n');
    }
    print(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[Column] = &[("ID", "CONTAINER ID"), ("Names", "NAMES"), ("Labels", "LABELS")];

    fn listing() -> Listing {
        let mut listing = Listing::new(FIELDS, &["ID", "Names"]);
        let labels = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
        listing.push(Row::default().with("ID", "abc").with("Names", "web").labels(&labels));
        listing
    }

    fn text(format: &str) -> String {
        let shown = Shown { format: Some(format.to_owned()), json: false };
        listing().text(&shown).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn a_listing_is_a_table_json_or_what_a_template_makes() {
        assert_eq!(text("table"), "CONTAINER ID  NAMES\nabc           web\n");
        assert_eq!(text("json"), "{\"ID\":\"abc\",\"Labels\":\"k=v\",\"Names\":\"web\"}\n");
        assert_eq!(text("{{json .}}"), text("json"));
        assert_eq!(text("{{.Names}}={{.Label \"k\"}}{{.Label \"none\"}}"), "web=v\n");
        assert_eq!(text("table {{.Names}}\\t{{.ID}}"), "NAMES  CONTAINER ID\nweb    abc\n");
        let shown = Shown { format: None, json: true };
        assert_eq!(listing().text(&shown).unwrap(), text("json"));
    }

    #[test]
    fn filters_are_gathered_by_key() {
        let list = ["label=a=b", "label=c", "status=exited"].map(str::to_owned);
        let text = filters(&list).unwrap().unwrap();
        assert_eq!(text, r#"{"label":["a=b","c"],"status":["exited"]}"#);
        assert_eq!(filters(&[]).unwrap(), None);
        assert!(filters(&["x".to_owned()]).is_err());
    }

    #[test]
    fn a_field_that_is_not_there_is_named_with_those_that_are() {
        let said = text("{{.Nmaes}}");
        assert_eq!(said, "--format: there is no field .Nmaes; there are .ID, .Labels, .Names");
    }
}
