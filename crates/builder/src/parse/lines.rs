//! Physical lines to logical lines: directives, comments and continuation.
//!
//! ```text
//! # escape=`            directives: only before anything else
//! RUN one && `          a line that ends in the escape character goes on
//!   # comment           comments and empty lines inside are dropped
//!   two                 the text is `RUN one &&   two`
//! ```

use super::{
    DockerfileError, Position, Problem,
    directives::{self, Checks},
    here::{self, HereDocument},
};

/// A Dockerfile cut into logical lines.
pub(super) struct File {
    /// The escape character.
    pub(super) escape: char,
    /// One per instruction.
    pub(super) lines: Vec<LogicalLine>,
    /// Warnings ready to be printed.
    pub(super) warnings: Vec<String>,
    /// Which checks the file asks for.
    pub(super) check: Checks,
    /// Empty lines inside of instructions.
    pub(super) gaps: Vec<Position>,
}

/// The text of one instruction, and where each part of it stands in the file.
#[derive(Debug, Default)]
pub(super) struct LogicalLine {
    /// Continued lines joined.
    pub(super) text: String,
    /// The texts that follow it, each with the place of its word in `text`.
    pub(super) documents: Vec<(usize, HereDocument)>,
    /// The comments right above it.
    pub(super) comments: Vec<String>,
    /// A path whose separator at the end of a line was taken for "goes on".
    pub(super) swallowed: Option<String>,
    segments: Vec<Segment>,
}

/// A part of a logical line that comes from one physical line.
#[derive(Debug)]
struct Segment {
    /// Byte offset in the logical text.
    offset: usize,
    /// Where that byte stands in the file.
    start: Position,
    /// The physical line.
    excerpt: String,
}

impl LogicalLine {
    /// A line that stands in no file, such as a trigger kept in an image, with the documents that
    /// follow it.
    pub(super) fn synthetic(
        text: &str,
        escape: char,
        start: Position,
        excerpt: &str,
    ) -> Result<Self, DockerfileError> {
        let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
        let segment = Segment { offset: 0, start, excerpt: excerpt.to_owned() };
        let mut line =
            Self { text: first.trim_end().to_owned(), segments: vec![segment], ..Self::default() };
        line.take_documents(escape, &mut rest.split_inclusive('\n').enumerate())?;
        Ok(line)
    }

    /// Reads the documents that the text announces off the front of the lines that follow.
    fn take_documents<'a>(
        &mut self,
        escape: char,
        lines: &mut impl Iterator<Item = (usize, &'a str)>,
    ) -> Result<(), DockerfileError> {
        for marker in here::markers(&self.text, escape) {
            let offset = marker.offset;
            let document = marker.read(lines);
            let document = document.ok_or_else(|| self.error(offset, Problem::OpenDocument))?;
            self.documents.push((offset, document));
        }
        Ok(())
    }

    /// Where a byte of the text stands in the file.
    pub(super) fn position(&self, offset: usize) -> Position {
        let segment = self.segment(offset);
        // An offset may point into a character: serde_json counts bytes.
        let places = self.text[segment.offset..].char_indices();
        let column = places.take_while(|(at, _)| segment.offset + at < offset).count();
        Position { column: segment.start.column + column, ..segment.start }
    }

    /// The physical line that a byte of the text comes from.
    pub(super) fn excerpt(&self, offset: usize) -> &str {
        &self.segment(offset).excerpt
    }

    /// An error about the byte at `offset`.
    pub(super) fn error(&self, offset: usize, problem: Problem) -> DockerfileError {
        DockerfileError::new(problem, self.position(offset), self.excerpt(offset))
    }

    fn segment(&self, offset: usize) -> &Segment {
        let after = self.segments.partition_point(|segment| segment.offset <= offset);
        &self.segments[after.saturating_sub(1)]
    }

    fn push(&mut self, number: usize, physical: &str, kept: &str, skipped: usize) {
        self.segments.push(Segment {
            offset: self.text.len(),
            start: Position { line: number, column: skipped + 1 },
            excerpt: physical.to_owned(),
        });
        self.text.push_str(kept);
    }
}

/// Cuts a Dockerfile into logical lines.
pub(super) fn read(text: &str) -> Result<File, DockerfileError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let directives = directives::read(text)?;
    let escape = directives.escape;
    let (mut lines, mut warnings, mut gaps) = (Vec::new(), Vec::new(), Vec::new());
    let mut current: Option<LogicalLine> = None;
    let mut comments = Vec::new();
    let mut physicals = text.split_inclusive('\n').enumerate();
    while let Some((index, physical)) = physicals.next() {
        let physical = without_end(physical);
        let trimmed = physical.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            match trimmed.strip_prefix('#').map(str::trim) {
                None if current.is_some() => gaps.push(Position { line: index + 1, column: 1 }),
                Some("") if current.is_none() => comments.clear(),
                Some(text) if current.is_none() && index >= directives.lines => {
                    comments.push(text.to_owned());
                }
                _ => {}
            }
            continue;
        }
        let line = current.get_or_insert_default();
        let (visible, skipped) = match line.segments.is_empty() {
            true => (trimmed, physical.chars().count() - trimmed.chars().count()),
            false => (physical, 0),
        };
        let (kept, goes_on) = strip_continuation(visible, escape);
        line.push(index + 1, physical, kept, skipped);
        if goes_on && line.swallowed.is_none() {
            line.swallowed = path_at_end(kept, escape);
        }
        if !goes_on && let Some(mut line) = current.take() {
            line.comments = std::mem::take(&mut comments);
            lines.push(finish(line, escape, &mut physicals)?);
        }
    }
    if let Some(line) = current {
        lines.push(finish(LogicalLine { comments, ..line }, escape, &mut physicals)?);
    }
    if !gaps.is_empty() {
        let text = "[WARNING]: Empty continuation lines will become errors in a future release.";
        warnings.push(text.to_owned());
    }
    if let Some((line, name)) = directives.foreign {
        warnings.push(format!(
            "[Warning] line {line}: syntax={name} asks for a frontend of its own; this builder \
             reads the file with Docker's rules"
        ));
    }
    Ok(File { escape, lines, warnings, check: directives.check, gaps })
}

/// A line without its end.
fn without_end(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

/// Removes white space from the end of an instruction, and reads the documents that follow it.
fn finish<'a>(
    mut line: LogicalLine,
    escape: char,
    lines: &mut impl Iterator<Item = (usize, &'a str)>,
) -> Result<LogicalLine, DockerfileError> {
    line.text.truncate(line.text.trim_end().len());
    line.take_documents(escape, lines)?;
    Ok(line)
}

/// The line without the escape character at its end, and whether it had one. A doubled escape
/// character at the end is text.
fn strip_continuation(line: &str, escape: char) -> (&str, bool) {
    let end = line.trim_end_matches([' ', '\t']);
    match end.strip_suffix(escape) {
        Some(rest) if !rest.ends_with(escape) => (rest, true),
        _ => (line, false),
    }
}

/// The path that a continued line ends in, if its separator is the escape character.
fn path_at_end(kept: &str, escape: char) -> Option<String> {
    let last = kept.rsplit(char::is_whitespace).next().filter(|_| escape == '\\')?;
    let drive = last.len() == 2 && last.ends_with(':');
    (drive || last.contains(":\\")).then(|| format!("{}\\", super::shortened(last)))
}
