//! From the text of a Dockerfile to instructions.
//!
//! Parsing never executes and never expands variables: what comes out is what was written, with
//! its place. Every error names line and column. Neighbours: [`lines`] joins continued lines and
//! reads parser directives, [`here`] the texts after an instruction, [`words`] splits and reads
//! JSON forms, [`instruction`] gives meaning, [`mount`] reads `RUN --mount`.
//!
//! The rules are those of Docker's classic builder (buildkit's `frontend/dockerfile/parser` and
//! `instructions`), and so are the texts of the errors.

mod error;
mod flags;
mod healthcheck;
mod here;
mod instruction;
mod lines;
mod mount;
mod words;

pub use error::{DockerfileError, Position, Problem};
pub(crate) use healthcheck::{Healthcheck, Probe};
pub(crate) use here::HereDocument;
pub(crate) use instruction::{Command, Instruction, Pair, Run, Transfer, TransferKind};
pub(crate) use mount::{MountFlag, MountKind, Sharing};

use lines::LogicalLine;

/// Longest Dockerfile read. Real ones stay below a tenth of it; the bound keeps a hostile context
/// from filling the memory.
pub(crate) const MAX_DOCKERFILE_BYTES: u64 = 4 << 20;

/// A Dockerfile, parsed.
#[derive(Debug)]
pub(crate) struct Dockerfile {
    /// The escape character: `\` unless a directive says `` ` ``.
    pub(crate) escape: char,
    /// The instructions in the order they were written.
    pub(crate) statements: Vec<Statement>,
    /// What is allowed and yet probably not meant, ready to be printed.
    pub(crate) warnings: Vec<String>,
}

/// One instruction and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    /// What it says.
    pub(crate) instruction: Instruction,
    /// Its text, continued lines joined, as it is printed for each step.
    pub(crate) text: String,
    /// Where it begins.
    pub(crate) position: Position,
    /// Its first line as it stands in the file, for error messages.
    pub(crate) excerpt: String,
}

impl Statement {
    /// An error about this instruction as a whole.
    pub(crate) fn error(&self, problem: Problem) -> DockerfileError {
        DockerfileError::new(problem, self.position, &self.excerpt)
    }
}

/// Parses a Dockerfile. `name` is the name it has in errors about the file as a whole.
pub(crate) fn parse(name: &str, text: &[u8]) -> Result<Dockerfile, DockerfileError> {
    if text.is_empty() {
        return Err(DockerfileError::whole(Problem::EmptyFile { name: name.into() }));
    }
    let text = std::str::from_utf8(text).map_err(|_| DockerfileError::whole(Problem::NotUtf8))?;
    let file = lines::read(text)?;
    let mut warnings = file.warnings;
    let mut statements = Vec::with_capacity(file.lines.len());
    for line in &file.lines {
        statements.push(statement(line, file.escape, &mut warnings)?);
    }
    if statements.is_empty() {
        return Err(DockerfileError::whole(Problem::NoInstructions));
    }
    Ok(Dockerfile { escape: file.escape, statements, warnings })
}

/// Parses one instruction of an `ONBUILD` trigger, which stands where `place` stands.
pub(crate) fn trigger(
    text: &str,
    escape: char,
    place: &Statement,
) -> Result<Statement, DockerfileError> {
    let line = LogicalLine::synthetic(text, escape, place.position, &place.excerpt)?;
    statement(&line, escape, &mut Vec::new())
}

fn statement(
    line: &LogicalLine,
    escape: char,
    warnings: &mut Vec<String>,
) -> Result<Statement, DockerfileError> {
    let instruction = instruction::read(line, escape, warnings)?;
    Ok(Statement {
        instruction,
        text: line.text.clone(),
        position: line.position(0),
        excerpt: line.excerpt(0).to_owned(),
    })
}

#[cfg(test)]
mod tests;
