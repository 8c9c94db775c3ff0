//! From the text of a Dockerfile to instructions.
//!
//! Parsing never executes and never expands variables: what comes out is what was written, with
//! its place. Every error names line and column. Neighbours: [`directives`] reads the comments at
//! the top that matter, [`lines`] joins continued lines, [`here`] reads the texts after an
//! instruction, [`words`] splits and reads JSON forms, [`instruction`] gives meaning, [`mount`]
//! reads `RUN --mount`.
//!
//! The rules are those of Docker's classic builder (buildkit's `frontend/dockerfile/parser` and
//! `instructions`), and so are the texts of the errors.

mod directives;
mod error;
mod flags;
mod healthcheck;
mod here;
mod instruction;
mod lines;
mod mount;
mod words;

pub(crate) use directives::Checks;
pub(crate) use error::shortened;
pub use error::{DockerfileError, Position, Problem};
pub(crate) use healthcheck::{Healthcheck, Probe};
pub(crate) use here::HereDocument;
pub(crate) use instruction::{Command, Instruction, Pair, Run, Transfer, TransferKind};
#[cfg(test)]
pub(crate) use mount::MountFlag;
pub(crate) use mount::{MountKind, Sharing};
pub(crate) use words::nearest;

use lines::LogicalLine;

/// Longest Dockerfile read. Real ones stay below a tenth of it; the bound keeps a hostile context
/// from filling the memory.
pub(crate) const MAX_DOCKERFILE_BYTES: u64 = 4 << 20;

/// Most instructions. Each is an image of its own; real files have less than a hundred.
const MAX_INSTRUCTIONS: usize = 10_000;

/// Most variables, arguments, labels, volumes and words with ports of a file. All of them are
/// looked through whenever one is looked for.
const MAX_PAIRS: usize = 4096;

/// A Dockerfile, parsed.
#[derive(Debug)]
pub(crate) struct Dockerfile {
    /// The escape character: `\` unless a directive says `` ` ``.
    pub(crate) escape: char,
    /// The instructions in the order they were written.
    pub(crate) statements: Vec<Statement>,
    /// What is allowed and yet probably not meant, ready to be printed.
    pub(crate) warnings: Vec<String>,
    /// Which checks the file asks for.
    pub(crate) check: Checks,
    /// Empty lines inside of instructions.
    pub(crate) gaps: Vec<Position>,
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
    /// The comments right above it.
    pub(crate) comments: Vec<String>,
    /// A path in it whose separator at the end of a line was taken for "goes on".
    pub(crate) swallowed: Option<String>,
}

impl Statement {
    /// An error about this instruction as a whole.
    pub(crate) fn error(&self, problem: Problem) -> DockerfileError {
        DockerfileError::new(problem, self.position, &self.excerpt)
    }
}

/// Parses a Dockerfile. `name` is the name it has in errors.
pub(crate) fn parse(name: &str, text: &[u8]) -> Result<Dockerfile, DockerfileError> {
    if text.is_empty() {
        return Err(DockerfileError::whole(Problem::EmptyFile { name: name.into() }));
    }
    parsed(text).map_err(|error| error.named(name))
}

fn parsed(text: &[u8]) -> Result<Dockerfile, DockerfileError> {
    let file = lines::read(plain_text(text)?)?;
    let mut warnings = file.warnings;
    let mut statements = Vec::with_capacity(file.lines.len().min(MAX_INSTRUCTIONS));
    let mut pairs = 0;
    for line in file.lines {
        if statements.len() == MAX_INSTRUCTIONS {
            let limit = MAX_INSTRUCTIONS;
            return Err(line.error(0, Problem::TooManyInstructions { limit }));
        }
        let statement = statement(line, file.escape, &mut warnings)?;
        pairs += statement.instruction.pairs();
        if pairs > MAX_PAIRS {
            return Err(statement.error(Problem::TooManyPairs { limit: MAX_PAIRS }));
        }
        statements.push(statement);
    }
    if statements.is_empty() {
        return Err(DockerfileError::whole(Problem::NoInstructions));
    }
    let (escape, check, gaps) = (file.escape, file.check, file.gaps);
    Ok(Dockerfile { escape, statements, warnings, check, gaps })
}

/// The bytes as text without zeros.
fn plain_text(bytes: &[u8]) -> Result<&str, DockerfileError> {
    let (text, problem) = match std::str::from_utf8(bytes) {
        Ok(text) => match text.find('\0') {
            None => return Ok(text),
            Some(at) => (&text[..at], Problem::ZeroByte),
        },
        Err(error) => {
            let (good, _) = bytes.split_at(error.valid_up_to());
            (std::str::from_utf8(good).unwrap_or_default(), Problem::NotUtf8)
        }
    };
    let start = text.rfind('\n').map_or(0, |end| end + 1);
    let line = text[..start].matches('\n').count() + 1;
    let column = text[start..].chars().count() + 1;
    Err(DockerfileError::new(problem, Position { line, column }, &text[start..]))
}

/// Parses one instruction of an `ONBUILD` trigger, which stands where `place` stands.
pub(crate) fn trigger(
    text: &str,
    escape: char,
    place: &Statement,
) -> Result<Statement, DockerfileError> {
    let line = LogicalLine::synthetic(text, escape, place.position, &place.excerpt)?;
    statement(line, escape, &mut Vec::new())
}

fn statement(
    line: LogicalLine,
    escape: char,
    warnings: &mut Vec<String>,
) -> Result<Statement, DockerfileError> {
    Ok(Statement {
        instruction: instruction::read(&line, escape, warnings)?,
        position: line.position(0),
        excerpt: line.excerpt(0).to_owned(),
        text: line.text,
        comments: line.comments,
        swallowed: line.swallowed,
    })
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
