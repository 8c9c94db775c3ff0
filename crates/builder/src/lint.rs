//! Build checks: what a Dockerfile may say and yet probably does not mean.
//!
//! The checks that buildkit has (`frontend/dockerfile/linter`) keep their names and texts, so that
//! `# check=skip=…` means the same here; those of Windows' own traps are added. Nothing is built
//! and no image is asked: what a base image brings is known only of Microsoft's own, which bring
//! nothing.
//!
//! Neighbours: [`stages`] checks `FROM` and what follows it as a whole, [`instructions`] one
//! instruction at a time, [`variables`] what is put in, [`windows`] our own.

mod instructions;
mod rules;
mod stages;
mod variables;
mod windows;

use oriel_ignore::Ignore;

use crate::parse::{Dockerfile, Instruction, Position, Statement, shortened};

pub(crate) use rules::Rule;

/// Most findings told at the end of a build.
const MAX_BRIEF: usize = 5;

/// Most findings kept: more nobody reads.
const MAX_FINDINGS: usize = 1000;

/// Something that a Dockerfile probably does not mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check, such as `WorkdirRelativePath`.
    pub rule: &'static str,
    /// Where it is.
    pub position: Position,
    /// The line of the file there.
    pub excerpt: String,
    /// What is found.
    pub message: String,
    /// What to do.
    pub advice: &'static str,
}

/// What the checks of a Dockerfile found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// By their places in the file.
    pub list: Vec<Finding>,
    /// Whether the file asks that they fail the build (`# check=error=true`).
    pub error: bool,
}

impl Findings {
    /// The checks that found something, each once.
    #[must_use]
    pub fn rules(&self) -> Vec<&'static str> {
        let mut rules: Vec<_> = self.list.iter().map(|finding| finding.rule).collect();
        rules.sort_unstable();
        rules.dedup();
        rules
    }

    /// The findings in a few lines for the end of a build. What the build has warned of when it
    /// began is not said again.
    pub(crate) fn brief(&self) -> Vec<String> {
        let told = [rules::NO_EMPTY_CONTINUATION.name, rules::JSON_BACKSLASH.name];
        let mut list = self.list.iter().filter(|finding| !told.contains(&finding.rule));
        let first = list.by_ref().take(MAX_BRIEF).map(|finding| {
            let Finding { rule, message, position, .. } = finding;
            format!("[Warning] {rule}: {message} (line {})", position.line)
        });
        let mut lines: Vec<String> = first.collect();
        match list.count() {
            0 => {}
            more => {
                lines.push(format!("[Warning] … and {more} more, which a check of the build shows"))
            }
        }
        lines
    }
}

/// Checks a Dockerfile whose context is filtered by `ignore`.
pub(crate) fn check(file: &Dockerfile, ignore: &Ignore) -> Findings {
    let mut checker = Checker { file, ignore, found: Vec::new() };
    checker.gaps();
    checker.casing();
    checker.stages();
    checker.variables();
    for statement in &file.statements {
        checker.instruction(statement);
    }
    checker.windows();
    let mut list = checker.found;
    list.sort_by_key(|finding| (finding.position.line, finding.position.column, finding.rule));
    list.dedup();
    Findings { list, error: file.check.error }
}

/// A file that is checked, and what was found so far.
struct Checker<'a> {
    file: &'a Dockerfile,
    ignore: &'a Ignore,
    found: Vec<Finding>,
}

impl<'a> Checker<'a> {
    /// Adds a finding about an instruction, unless the file does not want it.
    fn add(&mut self, rule: &Rule, statement: &Statement, message: String) {
        let checks = self.file.check.with_comments(&statement.comments);
        if checks.wants(rule.name, rule.experimental) {
            self.push(rule, statement.position, &statement.excerpt, message);
        }
    }

    fn push(&mut self, rule: &Rule, position: Position, excerpt: &str, message: String) {
        if self.found.len() < MAX_FINDINGS {
            let excerpt = shortened(excerpt);
            let Rule { name, advice, .. } = *rule;
            self.found.push(Finding { rule: name, position, excerpt, message, advice });
        }
    }

    /// The statements of each stage, its `FROM` first.
    fn stage_statements(&self) -> Vec<&'a [Statement]> {
        let statements = &self.file.statements;
        let is_from = |at: &usize| matches!(statements[*at].instruction, Instruction::From { .. });
        let starts: Vec<usize> = (0..statements.len()).filter(is_from).collect();
        let ends = starts.iter().copied().skip(1).chain([statements.len()]);
        starts.iter().zip(ends).map(|(start, end)| &statements[*start..end]).collect()
    }

    /// The `ARG`s before the first stage.
    fn globals(&self) -> impl Iterator<Item = &'a Statement> {
        let is_from = |s: &&Statement| matches!(s.instruction, Instruction::From { .. });
        self.file.statements.iter().take_while(move |statement| !is_from(statement))
    }

    fn gaps(&mut self) {
        for gap in &self.file.gaps {
            if self.file.check.wants(rules::NO_EMPTY_CONTINUATION.name, false) {
                let message = "Empty continuation line".to_owned();
                self.push(&rules::NO_EMPTY_CONTINUATION, *gap, "", message);
            }
        }
    }
}

/// A path in quotes, with its backslashes as they stand in the file.
fn quoted(path: &str) -> String {
    let shown = path.chars().map(|c| if c.is_control() { ' ' } else { c });
    format!("\"{}\"", shown.collect::<String>())
}

#[cfg(test)]
mod tests;
