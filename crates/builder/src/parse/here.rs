//! Here-documents: texts that stand in a Dockerfile, after the instruction that names them.
//!
//! ```text
//! COPY <<EOF <<"RAW" C:\app\      the words that begin with << name a document each
//! version=$VERSION                the first one: variables are put in
//! EOF
//! $this is kept                   the second: its name was quoted, so nothing is put in
//! RAW
//! ```
//!
//! The form is buildkit's (`frontend/dockerfile/parser`): `<<-` drops tabs in front of each line,
//! and digits in front of `<<` are the descriptor that a shell gives the document to.

use super::words::{self, Word};

/// A text that stands in the Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HereDocument {
    /// Its name: the file that `COPY` makes of it.
    pub(crate) name: String,
    /// The word of the instruction that stands for it, such as `<<-"EOF"`.
    pub(crate) word: String,
    /// Whether variables are put in.
    pub(crate) expands: bool,
    /// Its lines with their ends, as they stand in the file; tabs in front dropped after `<<-`.
    pub(crate) text: String,
}

/// A word that announces a document.
pub(super) struct Marker {
    /// Where it stands in the text of the instruction.
    pub(super) offset: usize,
    word: String,
    name: String,
    expands: bool,
    drops_tabs: bool,
}

/// The documents that an instruction announces. Only `RUN`, `COPY` and `ADD` have any, and
/// `ONBUILD` for them.
pub(super) fn markers(text: &str, escape: char) -> Vec<Marker> {
    let mut words = words::quoted(text, 0, escape).into_iter().peekable();
    let mut keyword = words.next().map(|word| word.text.to_uppercase());
    if keyword.as_deref() == Some("ONBUILD") {
        keyword = words.next().map(|word| word.text.to_uppercase());
    }
    let mut markers = Vec::new();
    if !matches!(keyword.as_deref(), Some("RUN" | "COPY" | "ADD")) {
        return markers;
    }
    while let Some(mut word) = words.next() {
        // The name may stand apart: `<< EOF`.
        if let Some(name) =
            words.next_if(|_| after_arrows(&word.text).is_some_and(|(_, name)| name.is_empty()))
            && let Some(whole) = text.get(word.offset..name.offset + name.text.len())
        {
            word.text = whole.to_owned();
        }
        markers.extend(Marker::of(word));
    }
    markers
}

/// What follows `<<` or `<<-` and white space, and whether the dash is there.
fn after_arrows(word: &str) -> Option<(bool, &str)> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (dash, name) = match rest.strip_prefix('-') {
        Some(name) => (true, name),
        None => (false, rest),
    };
    Some((dash, name.trim_start()))
}

impl Marker {
    fn of(word: Word) -> Option<Self> {
        let (drops_tabs, written) = after_arrows(&word.text)?;
        let name: String = written.chars().filter(|c| !matches!(c, '"' | '\'')).collect();
        // It names a file where the document is shown to a command.
        let named = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
        if !named {
            return None;
        }
        let expands = name == written;
        Some(Self { offset: word.offset, word: word.text, name, expands, drops_tabs })
    }

    /// Reads the document off the front of the lines that follow. `None` when its end is missing.
    pub(super) fn read<'a>(
        self,
        lines: &mut impl Iterator<Item = (usize, &'a str)>,
    ) -> Option<HereDocument> {
        let mut text = String::new();
        for (_, line) in lines {
            let line = if self.drops_tabs { line.trim_start_matches('\t') } else { line };
            if line.trim_end_matches(['\r', '\n']) == self.name {
                let Self { word, name, expands, .. } = self;
                return Some(HereDocument { name, word, expands, text });
            }
            text.push_str(line);
        }
        None
    }
}
