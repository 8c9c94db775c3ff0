//! `.dockerignore`, line by line. The rules are those of moby's `patternmatcher`: the last line
//! that fits a path or one of its parents decides, and `!` takes back.

use std::fmt;

use crate::glob::Pattern;

/// The lines of a `.dockerignore`.
#[derive(Debug, Default)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    pattern: Pattern,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Exclude,
    Include,
}

/// A line that is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Its number, from 1.
    pub line: usize,
    /// What it says.
    pub text: String,
}

impl std::error::Error for BadLine {}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of .dockerignore is no pattern: {:?}", self.line, self.text)
    }
}

impl Ignore {
    /// Reads a `.dockerignore`.
    ///
    /// # Errors
    /// When a line is no pattern.
    pub fn parse(text: &str) -> Result<Self, BadLine> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rules = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (verdict, written) = match line.strip_prefix('!') {
                Some(rest) => (Verdict::Include, rest.trim()),
                None => (Verdict::Exclude, line),
            };
            let bad = || BadLine { line: index + 1, text: line.to_owned() };
            let cleaned = clean(written);
            if cleaned.is_empty() {
                if verdict == Verdict::Include {
                    return Err(bad());
                }
                continue;
            }
            let pattern = Pattern::ignore(&cleaned).ok_or_else(bad)?;
            rules.push(Rule { pattern, verdict });
        }
        Ok(Self { rules })
    }

    /// Whether no line excludes anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether a line takes back what another excludes, so that a directory that is excluded may
    /// still hold files that are not.
    #[must_use]
    pub fn takes_back(&self) -> bool {
        self.rules.iter().any(|rule| rule.verdict == Verdict::Include)
    }

    /// Whether the build does not see this path, `/` between its components.
    #[must_use]
    pub fn excludes(&self, path: &str) -> bool {
        let last = self.rules.iter().rev().find(|rule| rule.fits(path));
        last.is_some_and(|rule| rule.verdict == Verdict::Exclude)
    }
}

impl Rule {
    /// Whether the pattern fits the path or one of its parents.
    fn fits(&self, path: &str) -> bool {
        let parents = path.match_indices('/').map(|(end, _)| &path[..end]);
        parents.chain([path]).any(|path| self.pattern.matches(path))
    }
}

/// Go's `filepath.Clean` for a relative pattern, with both kinds of separators.
fn clean(pattern: &str) -> String {
    let mut components: Vec<&str> = Vec::new();
    for component in pattern.split(['/', '\\']) {
        match component {
            "" | "." => {}
            ".." => {
                components.pop();
            }
            name => components.push(name),
        }
    }
    components.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_follow_dockers_table() {
        let table: &[(&str, &str, bool)] = &[
            ("*.md", "README.md", true),
            ("*.md", "docs/a.md", false),
            ("**/*.md", "docs/deep/a.md", true),
            ("docs", "docs/deep/a.md", true),
            ("/docs/", "docs/a", true),
            ("docs/*", "docs/a", true),
            ("docs/**", "docs", false),
            ("bin\\x64", "bin/x64/a.dll", true),
            ("*\n!keep.txt", "keep.txt", false),
            ("*\n!keep.txt", "other.txt", true),
            ("a\n!a/b", "a/b/c", false),
            ("a\n!a/b\na/b/c", "a/b/c", true),
            ("# comment\n\n  x  ", "x", true),
            ("# comment", "# comment", false),
            (".", "anything", false),
            ("./x/../y", "y", true),
            ("temp?", "temp1", true),
            ("[ab].txt", "b.txt", true),
        ];
        for (text, path, expected) in table {
            let ignore = Ignore::parse(text).unwrap();
            assert_eq!(ignore.excludes(path), *expected, "{text:?} on {path}");
        }
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = Ignore::parse("ok\n[a-").unwrap_err();
        assert_eq!(error, BadLine { line: 2, text: "[a-".into() });
        assert_eq!(Ignore::parse("!").unwrap_err().line, 1);
    }
}
