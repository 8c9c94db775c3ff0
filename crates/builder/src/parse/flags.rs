//! The `--name=value` words between an instruction's name and its arguments.

use super::{
    DockerfileError, Problem,
    error::shortened,
    lines::LogicalLine,
    words::{self, Word},
};

/// The flags of one instruction.
pub(super) struct Flags<'a> {
    line: &'a LogicalLine,
    found: Vec<Flag>,
}

/// One flag.
struct Flag {
    offset: usize,
    name: String,
    value: Option<String>,
}

impl<'a> Flags<'a> {
    /// Takes the flags off the front of `text[start..]`; returns them and where the rest begins.
    /// `--` alone ends them.
    pub(super) fn take(line: &'a LogicalLine, start: usize, escape: char) -> (Self, usize) {
        let mut found = Vec::new();
        for Word { offset, text } in words::quoted(&line.text[start..], start, escape) {
            match text.strip_prefix("--") {
                Some("") => {
                    let rest = &line.text[offset + 2..];
                    return (Self { line, found }, offset + 2 + leading(rest));
                }
                Some(flag) => found.push(Flag::new(offset, &words::without_quotes(flag, escape))),
                None => return (Self { line, found }, offset),
            }
        }
        (Self { line, found }, line.text.len())
    }

    /// Refuses flags that the instruction does not have, and those that stand twice and may not.
    pub(super) fn check(&self, known: &[&str], repeatable: &[&str]) -> Result<(), DockerfileError> {
        for (index, Flag { offset, name, .. }) in self.found.iter().enumerate() {
            let name = shortened(name);
            let problem = if repeatable.contains(&name.as_str()) {
                continue;
            } else if !known.contains(&name.as_str()) {
                let known = [known, repeatable].concat();
                Problem::UnknownFlag { suggestion: words::nearest(&name, &known), name }
            } else if self.found[..index].iter().any(|earlier| earlier.name == name) {
                Problem::RepeatedFlag { name }
            } else {
                continue;
            };
            return Err(self.line.error(*offset, problem));
        }
        Ok(())
    }

    /// The value of a flag.
    pub(super) fn value(&self, name: &str) -> Result<Option<&str>, DockerfileError> {
        let Some(flag) = self.found.iter().find(|flag| flag.name == name) else { return Ok(None) };
        match flag.value.as_deref() {
            Some(value) => Ok(Some(value)),
            None => {
                let problem = Problem::FlagWithoutValue { name: name.to_owned() };
                Err(self.line.error(flag.offset, problem))
            }
        }
    }

    /// The value of a flag, read by `read`, whose error says what is wrong.
    pub(super) fn parsed<T, E: Into<String>>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, DockerfileError> {
        Ok(self.each(name, read)?.pop())
    }

    /// The values of a flag that may stand several times.
    pub(super) fn each<T, E: Into<String>>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, DockerfileError> {
        let found = self.found.iter().filter(|flag| flag.name == name);
        found
            .map(|flag| {
                let name = name.to_owned();
                let problem = match &flag.value {
                    None => Problem::FlagWithoutValue { name },
                    Some(value) => match read(value) {
                        Ok(read) => return Ok(read),
                        Err(reason) => {
                            let (value, reason) = (shortened(value), reason.into().into());
                            Problem::BadFlagValue { name, value, reason }
                        }
                    },
                };
                Err(self.line.error(flag.offset, problem))
            })
            .collect()
    }

    /// Whether a flag is there.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.found.iter().any(|flag| flag.name == name)
    }

    /// A flag that is there or not: `--link`, `--link=false`.
    pub(super) fn switch(&self, name: &str) -> Result<bool, DockerfileError> {
        match self.found.iter().find(|flag| flag.name == name) {
            None => Ok(false),
            Some(Flag { value: None, .. }) => Ok(true),
            Some(_) => {
                let read = |value: &str| match value.to_ascii_lowercase().as_str() {
                    "true" | "1" => Ok(true),
                    "false" | "0" => Ok(false),
                    _ => Err("write true or false"),
                };
                Ok(self.parsed(name, read)?.unwrap_or_default())
            }
        }
    }
}

impl Flag {
    fn new(offset: usize, text: &str) -> Self {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        Self { offset, name: name.to_owned(), value }
    }
}

/// Bytes of white space at the front.
pub(super) fn leading(text: &str) -> usize {
    text.len() - text.trim_start().len()
}
