//! The specification: every promise names a test, and the test exists.

use std::{collections::BTreeSet, path::Path};

use crate::{Finding, files::Source};

/// The file with the promises, from the root.
const FILE: &str = "SPECIFICATION.md";

/// The word of a promise that no test proves yet.
const PENDING: &str = "*pending*";

/// Checks that each row of the tables names tests of the tree, or says that it is pending.
pub(crate) fn check(root: &Path, sources: &[Source]) -> anyhow::Result<Vec<Finding>> {
    let text = fs_err::read_to_string(root.join(FILE))?;
    Ok(compare(&text, &tests(sources)))
}

/// Where tests are cases in a table, `name: "…"`, and not functions that a harness finds.
const CASES: &str = "conformance/tests/";

/// Names of all functions of the tree, and of the end-to-end cases.
fn tests(sources: &[Source]) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for source in sources {
        for piece in source.text.split("fn ").skip(1) {
            let end = piece.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            names.insert(&piece[..end.unwrap_or(piece.len())]);
        }
        if source.path.starts_with(CASES) {
            let cases = source.text.split("name: \"").skip(1);
            names.extend(cases.filter_map(|piece| Some(piece.split_once('"')?.0)));
        }
    }
    names
}

fn compare(text: &str, tests: &BTreeSet<&str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some(test) = last_cell(line) else { continue };
        let place = format!("{FILE}:{}", index + 1);
        let names: Vec<&str> = test.split('`').skip(1).step_by(2).collect();
        if names.is_empty() && !test.contains(PENDING) && !test.contains("pending") {
            findings
                .push(Finding::new(&place, format!("names no test and does not say {PENDING}")));
        }
        for name in names {
            let function = name.rsplit("::").next().unwrap_or(name);
            if !tests.contains(function) {
                findings.push(Finding::new(&place, format!("there is no test `{name}`")));
            }
        }
    }
    findings
}

/// The last cell of a table's row; none for other lines, heads and rulers.
fn last_cell(line: &str) -> Option<&str> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let (_, last) = inner.rsplit_once('|')?;
    let last = last.trim();
    let is_ruler = last.chars().all(|c| c == '-' || c == ':');
    (!is_ruler && last != "Test").then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "| Promise | Test |\n|---|---|\n| a | `it_works` |\n| b | *pending* |\n";

    #[test]
    fn promises_with_tests_or_pending_pass() {
        assert!(compare(TABLE, &BTreeSet::from(["it_works"])).is_empty());
    }

    #[test]
    fn a_missing_test_is_named_with_its_line() {
        let expected = Finding::new("SPECIFICATION.md:3", "there is no test `it_works`");
        assert_eq!(compare(TABLE, &BTreeSet::new()), [expected]);
        let silent = compare("| a | soon |", &BTreeSet::new());
        assert!(silent[0].text.contains("names no test"));
    }

    #[test]
    fn functions_are_found_by_their_names() {
        let text = "async fn one() {}\n#[test]\nfn two_2<T>() {}".to_owned();
        let sources = [Source { path: "x.rs".into(), text }];
        assert_eq!(tests(&sources), BTreeSet::from(["one", "two_2"]));
    }

    #[test]
    fn end_to_end_cases_are_found_by_their_names() {
        let text = "&[Case { name: \"it_works\", run: f }]".to_owned();
        let case = |path: &str| [Source { path: path.into(), text: text.clone() }];
        let sources = case("conformance/tests/e2e/x.rs");
        assert_eq!(tests(&sources), BTreeSet::from(["it_works"]));
        assert!(tests(&case("crates/a/src/x.rs")).is_empty());
    }
}
