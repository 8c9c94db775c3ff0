//! Filters whose values are patterns, as Docker's for names are: a value matches when it is the
//! text, or an expression that is found in it.

use oriel_api::Filters;
use regex::{Regex, RegexBuilder};

/// Most bytes of a compiled expression; a client's names need a few thousand.
const MOST: usize = 1 << 20;

/// The values of one key.
pub(crate) struct Patterns(Vec<(String, Option<Regex>)>);

impl Patterns {
    /// Those of a key. A value that is no expression is compared as it is.
    pub(crate) fn of(filters: &Filters, key: &str) -> Self {
        let compiled = |value: &String| {
            let pattern = RegexBuilder::new(value).size_limit(MOST).build().ok();
            (value.clone(), pattern)
        };
        Self(filters.values(key).iter().map(compiled).collect())
    }

    /// Whether one of the texts matches a value, or there are no values.
    pub(crate) fn match_any(&self, texts: &[&str]) -> bool {
        let matches = |(value, pattern): &(String, Option<Regex>)| {
            texts.iter().any(|text| {
                value == text || pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
            })
        };
        self.0.is_empty() || self.0.iter().any(matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_anywhere_unless_it_says_where() {
        let matches = |value: &str, texts: &[&str]| {
            let text = serde_json::json!({ "name": [value] }).to_string();
            Patterns::of(&Filters::parse(&text, &["name"]).unwrap(), "name").match_any(texts)
        };
        let web = ["web-1", "/web-1"];
        for value in ["web", "^web", "^/web-1$", "b.1", "1$", "web-1"] {
            assert!(matches(value, &web), "{value}");
        }
        for value in ["^eb", "web$", "WEB", "("] {
            assert!(!matches(value, &web), "{value}");
        }
        assert!(matches("a(", &["a("]), "what is no expression is a text");
        assert!(Patterns::of(&Filters::default(), "name").match_any(&[]));
    }
}
