//! Rules about single source files.

use std::path::{Path, PathBuf};

use crate::Finding;

/// Most production lines of a file; what comes after `mod tests` does not count.
const MAX_LINES: usize = 800;

/// Longest line in columns.
const MAX_COLUMNS: usize = 100;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc"];

/// Where `unsafe` may be: the ground, and the agent that calls Windows.
const MAY_BE_UNSAFE: &[&str] = &["crates/sys/", "windows/cexecsvc/"];

/// Directories that hold no source of ours.
const SKIPPED: &[&str] = &["target", ".git", ".ci", ".demo", "fixtures", "node_modules"];

/// A source file.
pub(crate) struct Source {
    /// Path from the root, with `/`.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

/// Reads all Rust sources below the root.
pub(crate) fn collect(root: &Path) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(directory) = waiting.pop() {
        for entry in fs_err::read_dir(root.join(&directory))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = directory.join(&name);
            if entry.file_type()?.is_dir() {
                if !SKIPPED.contains(&name.as_str()) {
                    waiting.push(path);
                }
            } else if name.ends_with(".rs") {
                let text = fs_err::read_to_string(entry.path())?;
                sources.push(Source { path: path.to_string_lossy().into_owned(), text });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

/// Checks one file.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let whole = |text: String| Finding::new(&source.path, text);
    let production = production_lines(&source.text);
    if production > MAX_LINES && !is_test(&source.path) {
        findings.push(whole(format!("{production} production lines, {MAX_LINES} are allowed")));
    }
    if !has_module_doc(&source.text) {
        findings.push(whole("begins with no //! that says why it exists".to_owned()));
    }
    let stem = Path::new(&source.path).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let stems = stem.iter().map(String::as_str).chain(source.path.split('/'));
    if stems.into_iter().any(|name| EMPTY_NAMES.contains(&name)) {
        findings.push(whole("is called after nothing; name it after what is inside".to_owned()));
    }
    for (index, line) in source.text.lines().enumerate() {
        let place = format!("{}:{}", source.path, index + 1);
        findings.extend(check_line(&source.path, line).map(|text| Finding::new(place, text)));
    }
    findings
}

fn check_line(path: &str, line: &str) -> Option<String> {
    let columns = line.chars().count();
    if columns > MAX_COLUMNS {
        return Some(format!("{columns} columns, {MAX_COLUMNS} are allowed"));
    }
    if is_unsafe(line) && !MAY_BE_UNSAFE.iter().any(|allowed| path.starts_with(allowed)) {
        return Some("unsafe code outside of crates/sys and windows/cexecsvc".to_owned());
    }
    is_loose_todo(line).then(|| "a note to do later needs an issue: TODO(#123)".to_owned())
}

/// Lines before the unit tests.
fn production_lines(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines.windows(2).position(|pair| {
        pair[0].trim() == "#[cfg(test)]" && pair[1].trim_start().starts_with("mod tests")
    });
    tests.unwrap_or(lines.len())
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs") || path.starts_with("conformance/")
}

/// Whether the first thing in a file, attributes of the crate aside, is its doc comment.
fn has_module_doc(text: &str) -> bool {
    let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
    first.is_some_and(|line| line.starts_with("//!"))
}

/// Whether a line holds the keyword as code: a block, a function, an implementation.
fn is_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    ["{", "fn", "impl", "extern", "trait"].iter().any(|next| {
        code.trim_start().starts_with(&format!("unsafe {next}"))
            || code.contains(&format!(" unsafe {next}"))
            || code.contains(&format!("(unsafe {next}"))
    }) && !code.contains('"')
}

fn is_loose_todo(line: &str) -> bool {
    let Some((_, comment)) = line.split_once("//") else { return false };
    ["TODO", "FIXME", "XXX"].iter().any(|word| {
        comment.find(word).is_some_and(|at| {
            let before = comment[..at].chars().next_back();
            let after = &comment[at + word.len()..];
            let stands_alone = !before.is_some_and(|c| c.is_alphanumeric() || c == '"' || c == '`')
                && after.chars().next().is_none_or(|c| ":( ".contains(c));
            stands_alone && !after.starts_with("(#")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        let source = Source { path: path.into(), text: text.into() };
        check(&source).into_iter().map(|finding| finding.text).collect()
    }

    #[test]
    fn a_tidy_file_passes() {
        let text = "//! Why.\n\nfn f() {} // see TODO(#12): later\n";
        assert!(findings("crates/a/src/lib.rs", text).is_empty());
    }

    #[test]
    fn each_rule_finds_its_breach() {
        let long = format!("//! Why.\n// {}\n", "x".repeat(100));
        let later = format!("//! Why.\n// {}: later\n", "TODO");
        let table = [
            ("crates/a/src/x.rs", "fn f() {}\n", "begins with no"),
            ("crates/a/src/util.rs", "//! Why.\n", "called after nothing"),
            ("crates/common/src/x.rs", "//! Why.\n", "called after nothing"),
            ("crates/a/src/x.rs", &later, "needs an issue"),
            ("crates/a/src/x.rs", "//! Why.\nfn f() { unsafe { g() } }\n", "unsafe code"),
            ("crates/a/src/x.rs", &long, "103 columns"),
        ];
        for (path, text, expected) in table {
            let found = findings(path, text);
            assert!(found.len() == 1 && found[0].contains(expected), "{path} {text}: {found:?}");
        }
    }

    #[test]
    fn length_counts_production_lines_only() {
        let code = "fn f() {}\n".repeat(MAX_LINES - 1);
        let with_tests = format!("//! Why.\n{code}#[cfg(test)]\nmod tests {{\n{code}}}\n");
        assert!(findings("crates/a/src/x.rs", &with_tests).is_empty());
        let longer = format!("//! Why.\n{code}fn g() {{}}\n");
        assert!(findings("crates/a/src/x.rs", &longer)[0].contains("801 production lines"));
    }

    #[test]
    fn unsafe_stands_where_it_may() {
        let text = "//! Why.\nunsafe fn f() {}\n";
        assert!(findings("crates/sys/src/x.rs", text).is_empty());
        assert!(findings("windows/cexecsvc/src/x.rs", text).is_empty());
        assert_eq!(findings("bin/orield/src/x.rs", text).len(), 1);
    }
}
