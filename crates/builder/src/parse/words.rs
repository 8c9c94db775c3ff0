//! Splitting the text after an instruction's name, as Docker does for each instruction.
//!
//! Words keep their quotes and escape characters: those are read when variables are put in.

use super::Problem;

/// A word and the byte it begins at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Byte offset in the text that was split, plus the base given.
    pub(super) offset: usize,
    /// The word.
    pub(super) text: String,
}

/// Splits at white space and at nothing else.
pub(super) fn plain(text: &str, base: usize) -> Vec<Word> {
    let mut words = Vec::new();
    let mut start = None;
    for (offset, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (c.is_whitespace(), start) {
            (true, Some(begin)) => {
                words.push(Word { offset: base + begin, text: text[begin..offset].to_owned() });
                start = None;
            }
            (false, None) => start = Some(offset),
            _ => {}
        }
    }
    words
}

/// Splits at white space outside quotes that is not escaped; quotes and escapes stay.
pub(super) fn quoted(text: &str, base: usize, escape: char) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut quote = None;
    let mut inside = false;
    let mut chars = text.char_indices();
    while let Some((offset, c)) = chars.next() {
        if !inside && c.is_whitespace() {
            continue;
        }
        if inside && quote.is_none() && c.is_whitespace() {
            inside = false;
            continue;
        }
        if !inside {
            words.push(Word { offset: base + offset, text: String::new() });
            inside = true;
        }
        let Some(word) = words.last_mut() else { continue };
        word.text.push(c);
        // Docker takes the character after an escape as it is, save inside single quotes.
        if c == escape && quote != Some('\'') {
            word.text.extend(chars.next().map(|(_, next)| next));
        } else if quote == Some(c) {
            quote = None;
        } else if quote.is_none() && (c == '"' || c == '\'') {
            quote = Some(c);
        }
    }
    words
}

/// A word without its quotes. Escapes stay: they are read when variables are put in.
pub(super) fn without_quotes(text: &str, escape: char) -> String {
    let mut out = String::with_capacity(text.len());
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == escape {
            out.push(c);
            out.extend(chars.next());
        } else if quote == Some(c) {
            quote = None;
        } else if quote.is_none() && (c == '"' || c == '\'') {
            quote = Some(c);
        } else {
            out.push(c);
        }
    }
    out
}

/// A JSON form, or why the text is not one.
pub(super) enum Json {
    /// An array of strings.
    Array(Vec<String>),
    /// Not meant as JSON.
    No,
    /// It looks like an array and does not parse; Docker then takes it as plain text. The offset
    /// within the text says where it stops being JSON.
    Broken(usize),
}

/// Reads a JSON array of strings.
pub(super) fn json(text: &str) -> Result<Json, Problem> {
    let text = text.trim_start();
    if !text.starts_with('[') {
        return Ok(Json::No);
    }
    match serde_json::from_str::<Vec<serde_json::Value>>(text) {
        Ok(values) => values
            .into_iter()
            .map(|value| match value {
                serde_json::Value::String(text) => Ok(text),
                _ => Err(Problem::NotStrings),
            })
            .collect::<Result<_, _>>()
            .map(Json::Array),
        Err(error) => Ok(Json::Broken(error.column().saturating_sub(1).min(text.len()))),
    }
}

/// The one of `known` that differs from `name` in at most two letters, if any; Docker's measure.
pub(crate) fn nearest(name: &str, known: &[&str]) -> Option<String> {
    const TOO_FAR: usize = 3;
    /// Longer than any name there is; measuring takes time by the length.
    const TOO_LONG: usize = 64;
    if name.len() > TOO_LONG {
        return None;
    }
    known
        .iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance < TOO_FAR)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| (*candidate).to_owned())
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replace = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
