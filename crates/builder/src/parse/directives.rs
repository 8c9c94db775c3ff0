//! Parser directives: the comments at the very top that change how a Dockerfile is read.
//!
//! ```text
//! # syntax=docker/dockerfile:1                  which frontend reads it; this one is Docker's
//! # escape=`                                    the character that escapes and continues lines
//! # check=skip=JSONArgsRecommended;error=true   which checks are made, and what they lead to
//! ```

use std::collections::BTreeSet;

use super::{DockerfileError, Position, Problem, error::shortened};

/// What the directives of a file say.
#[derive(Debug)]
pub(super) struct Directives {
    /// The escape character: `\` unless a directive says `` ` ``.
    pub(super) escape: char,
    /// `check`
    pub(super) check: Checks,
    /// Where a frontend is asked for that is not Docker's, and which.
    pub(super) foreign: Option<(usize, String)>,
    /// How many lines they take.
    pub(super) lines: usize,
}

/// Which checks are made, and what a finding leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checks {
    /// Whether a finding fails the build.
    pub(crate) error: bool,
    skip: Names,
    experimental: Names,
}

/// Names of checks.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Names {
    All,
    These(BTreeSet<String>),
}

impl Default for Names {
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

impl Names {
    fn of(text: &str) -> Self {
        match text.trim() {
            "all" => Self::All,
            list => Self::These(list.split(',').map(|name| name.trim().to_owned()).collect()),
        }
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(names) => names.contains(name),
        }
    }

    fn add(&mut self, other: Self) {
        match (self, other) {
            (this, Self::All) => *this = Self::All,
            (Self::These(names), Self::These(more)) => names.extend(more),
            (Self::All, _) => {}
        }
    }
}

impl Checks {
    /// Whether a check is made.
    pub(crate) fn wants(&self, name: &str, experimental: bool) -> bool {
        match experimental {
            true => self.experimental.has(name),
            false => !self.skip.has(name),
        }
    }

    /// These with what the comments above one instruction say, as `# check=skip=…`.
    pub(crate) fn with_comments(&self, comments: &[String]) -> Self {
        let mut all = self.clone();
        let values = comments.iter().filter_map(|comment| comment.strip_prefix("check="));
        if let Some(Ok(more)) = values.map(Self::parse).next() {
            all.skip.add(more.skip);
            all.experimental.add(more.experimental);
        }
        all
    }

    /// Reads `skip=A,B;error=true`. The error is the option that is none.
    fn parse(text: &str) -> Result<Self, String> {
        let mut checks = Self::default();
        let first = text.split(' ').next().unwrap_or_default();
        for option in first.split(';') {
            match option.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
                Some(("skip", names)) => checks.skip = Names::of(names),
                Some(("experimental", names)) => checks.experimental = Names::of(names),
                Some(("error", "true" | "1")) => checks.error = true,
                Some(("error", "false" | "0")) => checks.error = false,
                _ => return Err(shortened(option)),
            }
        }
        Ok(checks)
    }
}

/// Reads the directives at the top of a file.
pub(super) fn read(text: &str) -> Result<Directives, DockerfileError> {
    let mut read = Directives { escape: '\\', check: Checks::default(), foreign: None, lines: 0 };
    let mut seen = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some((name, value)) = directive(line) else { break };
        let name = name.to_ascii_lowercase();
        let at = |problem| {
            Err(DockerfileError::new(problem, Position { line: index + 1, column: 1 }, line))
        };
        if !["escape", "syntax", "check"].contains(&name.as_str()) {
            break;
        }
        if seen.contains(&name) {
            return at(Problem::RepeatedDirective { name });
        }
        match (name.as_str(), value) {
            ("escape", "`") => read.escape = '`',
            ("escape", "\\") => read.escape = '\\',
            ("escape", _) => return at(Problem::BadEscape { value: shortened(value) }),
            ("check", _) => match Checks::parse(value) {
                Ok(check) => read.check = check,
                Err(option) => return at(Problem::BadCheck { option }),
            },
            _ if is_dockers(value) => {}
            _ => read.foreign = Some((index + 1, shortened(value))),
        }
        seen.push(name);
        read.lines = index + 1;
    }
    Ok(read)
}

/// Splits `# name = value`.
fn directive(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.trim_start().strip_prefix('#')?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let named = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric());
    (named && !value.is_empty()).then_some((name, value))
}

/// Whether `syntax` names Docker's own frontend, of whatever version.
fn is_dockers(value: &str) -> bool {
    let image = value.split_whitespace().next().unwrap_or_default();
    let name = image.split(['@', ':']).next().unwrap_or_default();
    let name = name.trim_start_matches("docker.io/");
    matches!(name, "docker/dockerfile" | "docker/dockerfile-upstream" | "dockerfile.v0")
}
