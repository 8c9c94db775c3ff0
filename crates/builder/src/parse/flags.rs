//! The `--name=value` words between an instruction's name and its arguments.

use super::{
    DockerfileError, Problem,
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
                Some(flag) => found.push(Flag::new(offset, flag)),
                None => return (Self { line, found }, offset),
            }
        }
        (Self { line, found }, line.text.len())
    }

    /// Refuses flags that the instruction does not have, that only BuildKit has, and repeated ones.
    pub(super) fn check(&self, known: &[&str], buildkit: &[&str]) -> Result<(), DockerfileError> {
        for (index, Flag { offset, name, .. }) in self.found.iter().enumerate() {
            let name = name.clone();
            let problem = if buildkit.contains(&name.as_str()) {
                Problem::NeedsBuildKit { name }
            } else if !known.contains(&name.as_str()) {
                Problem::UnknownFlag { suggestion: words::nearest(&name, known), name }
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
    pub(super) fn parsed<T>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Result<Option<T>, DockerfileError> {
        let Some(value) = self.value(name)? else { return Ok(None) };
        read(value).map(Some).map_err(|reason| {
            let offset = self.found.iter().find(|flag| flag.name == name).map_or(0, |f| f.offset);
            let (name, value) = (name.to_owned(), value.to_owned());
            self.line.error(offset, Problem::BadFlagValue { name, value, reason })
        })
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
