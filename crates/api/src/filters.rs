//! The `filters` parameter of list and prune requests.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

/// Filters: for each key the values it may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Parses both forms that clients send: `{"k":["v"]}` and Go's `{"k":{"v":true}}`. An empty
    /// text means no filters.
    ///
    /// # Errors
    /// When the text is neither form, or has a key outside `known`.
    pub fn parse(text: &str, known: &[&str]) -> Result<Self, FiltersError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let malformed = || FiltersError::Malformed { text: text.to_owned() };
        let keys: BTreeMap<String, Value> = serde_json::from_str(text).map_err(|_| malformed())?;
        let mut filters = BTreeMap::new();
        for (key, values) in keys {
            if !known.contains(&key.as_str()) {
                return Err(FiltersError::Unknown { key });
            }
            filters.insert(key, values_of(values).ok_or_else(malformed)?);
        }
        Ok(Self(filters))
    }

    /// Values of a key; empty when it is not filtered by.
    #[must_use]
    pub fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Whether nothing is filtered by `key`, or `accept` takes one of its values.
    pub fn any(&self, key: &str, accept: impl Fn(&str) -> bool) -> bool {
        let values = self.values(key);
        values.is_empty() || values.iter().any(|value| accept(value))
    }

    /// Whether the labels carry every `key` or `key=value` asked for under `label`, and none of
    /// those under `label!`.
    #[must_use]
    pub fn labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let carries = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
            None => labels.contains_key(wanted),
        };
        self.values("label").iter().all(carries) && !self.values("label!").iter().any(carries)
    }
}

fn values_of(value: Value) -> Option<Vec<String>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::String(text) => Some(vec![text]),
        Value::Array(values) => values
            .into_iter()
            .map(|value| match value {
                Value::String(text) => Some(text),
                Value::Bool(flag) => Some(flag.to_string()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            })
            .collect(),
        Value::Object(values) => Some(
            values
                .into_iter()
                .filter(|(_, on)| *on == Value::Bool(true))
                .map(|(text, _)| text)
                .collect(),
        ),
        _ => None,
    }
}

/// Filters that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FiltersError {
    /// Not the JSON of filters.
    Malformed {
        /// What was sent.
        text: String,
    },
    /// A key this request does not know.
    Unknown {
        /// The key.
        key: String,
    },
}

impl fmt::Display for FiltersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { text } => write!(f, "invalid filter: cannot parse {text:?}"),
            Self::Unknown { key } => write!(f, "invalid filter '{key}'"),
        }
    }
}

impl std::error::Error for FiltersError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_mean_the_same() {
        let known = ["name", "label"];
        let list = Filters::parse(r#"{"name":["a"],"label":["x=1"]}"#, &known).unwrap();
        let map = Filters::parse(r#"{"name":{"a":true,"b":false},"label":{"x=1":true}}"#, &known)
            .unwrap();
        assert_eq!(list, map);
        assert_eq!(list.values("name"), ["a"]);
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = Filters::parse(r#"{"x":["a"]}"#, &["name"]).unwrap_err();
        assert_eq!(error.to_string(), "invalid filter 'x'");
    }

    #[test]
    fn what_is_not_filters_is_refused() {
        for text in ["[]", "{", "3", r#"{"name":3}"#] {
            assert!(Filters::parse(text, &["name"]).is_err(), "{text}");
        }
    }

    #[test]
    fn every_label_asked_for_must_be_there() {
        let filters =
            Filters::parse(r#"{"label":["a","b=2"],"label!":["c"]}"#, &["label", "label!"])
                .unwrap();
        let labels = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        assert!(filters.labels(&labels(&[("a", ""), ("b", "2")])));
        assert!(!filters.labels(&labels(&[("a", ""), ("b", "3")])));
        assert!(!filters.labels(&labels(&[("b", "2")])));
        assert!(!filters.labels(&labels(&[("a", ""), ("b", "2"), ("c", "")])));
    }
}
