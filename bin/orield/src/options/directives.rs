//! The directives of the file beside the flags of the command line.
//!
//! Each directive is taken out by who knows it; what is left at the end is what nobody knows. What
//! is wrong is collected, so that one look at the answer shows all of it.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// All that is wrong with a configuration, each with the directive's name.
#[derive(Debug)]
pub(crate) struct Problems(Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n  "))
    }
}

impl std::error::Error for Problems {}

/// The directives that nobody has taken yet, and what was wrong with those that were.
pub(super) struct Directives {
    file: Map<String, Value>,
    problems: Vec<String>,
}

impl Directives {
    /// Reads the file's text; none at all is an empty file.
    pub(super) fn parse(text: &str) -> serde_json::Result<Self> {
        let file = if text.trim().is_empty() { Map::new() } else { serde_json::from_str(text)? };
        Ok(Self { file, problems: Vec::new() })
    }

    /// Takes a directive of the file alone.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.file.remove(name)
    }

    /// Takes what the flag or the file says, but not both. `kind` says in words what it must be.
    pub(super) fn one<T: DeserializeOwned + fmt::Display + Clone>(
        &mut self,
        name: &str,
        flag: Option<&T>,
        kind: &str,
    ) -> Option<T> {
        let Some(value) = self.file.remove(name) else { return flag.cloned() };
        let Ok(value) = serde_json::from_value::<T>(value) else {
            self.problem(format!("{name} must be {kind}"));
            return None;
        };
        if let Some(flag) = flag {
            self.twice(name, &flag.to_string(), &value.to_string());
        }
        Some(value)
    }

    /// Takes a text.
    pub(super) fn text(&mut self, name: &str, flag: Option<&String>) -> Option<String> {
        self.one(name, flag, "a text")
    }

    /// Takes a yes or no; nothing said is no.
    pub(super) fn switch(&mut self, name: &str, flag: Option<bool>) -> bool {
        self.one(name, flag.as_ref(), "true or false").unwrap_or_default()
    }

    /// Takes a number in a range.
    pub(super) fn number(
        &mut self,
        name: &str,
        flag: Option<u32>,
        range: std::ops::RangeInclusive<u32>,
    ) -> Option<u32> {
        let (from, to) = (range.start(), range.end());
        let kind = format!("a number from {from} to {to}");
        let number = self.one(name, flag.as_ref(), &kind)?;
        if range.contains(&number) {
            return Some(number);
        }
        self.problem(format!("{name} must be {kind}"));
        None
    }

    /// Takes texts.
    pub(super) fn list(&mut self, name: &str, flags: &[String]) -> Vec<String> {
        let Some(value) = self.file.remove(name) else { return flags.to_vec() };
        let Ok(listed) = serde_json::from_value::<Vec<String>>(value) else {
            self.problem(format!("{name} must be a list of texts"));
            return Vec::new();
        };
        if !flags.is_empty() {
            self.twice(name, &flags.join(" "), &listed.join(" "));
        }
        listed
    }

    /// Notes that the flag and the file both speak.
    pub(super) fn twice(&mut self, name: &str, flag: &str, file: &str) {
        self.problem(format!(
            "the following directives are specified both as a flag and in the configuration file: \
             {name}: (from flag: {flag}, from file: {file})"
        ));
    }

    /// Notes a problem.
    pub(super) fn problem(&mut self, text: String) {
        self.problems.push(text);
    }

    /// Notes the error, or returns the value.
    pub(super) fn sound<T>(&mut self, result: anyhow::Result<T>) -> Option<T> {
        result.map_err(|error| self.problem(format!("{error:#}"))).ok()
    }

    /// Ends with what is wrong, if anything is, or with `whole`, which is there when nothing is.
    pub(super) fn finish<T>(mut self, whole: Option<T>) -> Result<T, Problems> {
        if !self.file.is_empty() {
            let names: Vec<&str> = self.file.keys().map(String::as_str).collect();
            let names = names.join(", ");
            self.problem(format!("the following directives don't match any option: {names}"));
        }
        whole.filter(|_| self.problems.is_empty()).ok_or(Problems(self.problems))
    }
}
