//! Wildcards: those of `COPY` sources, of `.dockerignore` lines and of `${x#pattern}`.
//!
//! One matcher serves all three. It walks the text once and keeps the set of places in the pattern
//! it may be at, so its time is bounded by the product of the two lengths whatever the pattern.

use std::{iter::Peekable, str::Chars};

/// A compiled pattern.
#[derive(Debug)]
pub struct Pattern {
    tokens: Vec<Token>,
}

#[derive(Debug)]
enum Token {
    /// This character.
    Exactly(char),
    /// `?`: any character but a separator.
    One,
    /// `?` where nothing separates.
    Any,
    /// `[a-z]`: a character of the ranges, or with `^` none of them; never a separator.
    Class { negated: bool, ranges: Vec<(char, char)> },
    /// `*`: any characters but separators.
    Star,
    /// `**` at the end: any characters.
    Everything,
    /// Begins `**/`: from here either past [`Token::Directories`] or into it.
    Enter,
    /// The inside of `**/`: anything, left after a separator.
    Directories,
}

/// How a pattern is written.
#[derive(Clone, Copy)]
struct Dialect {
    double_star: bool,
    classes: bool,
    separator: bool,
    escape: Option<char>,
}

/// What separates components.
const SEPARATOR: char = '/';

impl Pattern {
    /// A pattern over a path with `/` between components, as in Go's `filepath.Match` on Windows.
    /// `None` when it is malformed.
    #[must_use]
    pub fn path(text: &str) -> Option<Self> {
        let dialect = Dialect { double_star: false, classes: true, separator: true, escape: None };
        Self::compile(text, dialect)
    }

    /// A line of a `.dockerignore`: a path pattern where `**` crosses directories.
    #[must_use]
    pub fn ignore(text: &str) -> Option<Self> {
        let dialect = Dialect { double_star: true, classes: true, separator: true, escape: None };
        Self::compile(text, dialect)
    }

    /// A pattern of `${x#pattern}`, where `*` and `?` match every character. Whatever the escape
    /// character is, `\*`, `\?` and `\\` are what follows the backslash.
    #[must_use]
    pub fn shell(text: &str, escape: char) -> Option<Self> {
        let escape = Some(escape);
        Self::compile(
            text,
            Dialect { double_star: false, classes: false, separator: false, escape },
        )
    }

    /// How many steps it takes for each character of a text, at most.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.tokens.len() + 1
    }

    /// Whether the whole text fits.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        self.prefixes(&text).last().copied().unwrap_or(false)
    }

    /// For each length from 0 to that of the text, whether that much of its front fits.
    #[must_use]
    pub fn prefixes(&self, text: &[char]) -> Vec<bool> {
        let end = self.tokens.len();
        let mut places = vec![false; end + 1];
        places[0] = true;
        self.skip_optional(&mut places);
        let mut fits = vec![places[end]];
        for &c in text {
            let mut next = vec![false; end + 1];
            for (at, token) in self.tokens.iter().enumerate().filter(|(at, _)| places[*at]) {
                let (stays, advances) = token.step(c);
                next[at] |= stays;
                next[at + 1] |= advances;
            }
            self.skip_optional(&mut next);
            fits.push(next[end]);
            places = next;
        }
        fits
    }

    /// Steps over what may match nothing.
    fn skip_optional(&self, places: &mut [bool]) {
        for (at, token) in self.tokens.iter().enumerate() {
            match token {
                Token::Star | Token::Everything if places[at] => places[at + 1] = true,
                Token::Enter if places[at] => (places[at + 1], places[at + 2]) = (true, true),
                _ => {}
            }
        }
    }

    fn compile(text: &str, dialect: Dialect) -> Option<Self> {
        let mut tokens = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '*' if dialect.double_star && chars.next_if_eq(&'*').is_some() => {
                    while chars.next_if_eq(&'*').is_some() {}
                    match chars.next_if_eq(&SEPARATOR) {
                        Some(_) => tokens.extend([Token::Enter, Token::Directories]),
                        None => tokens.push(Token::Everything),
                    }
                }
                '*' if dialect.separator => tokens.push(Token::Star),
                '*' => tokens.push(Token::Everything),
                '?' if dialect.separator => tokens.push(Token::One),
                '?' => tokens.push(Token::Any),
                '[' if dialect.classes => tokens.push(class(&mut chars)?),
                c if dialect.escape == Some(c) => tokens.push(Token::Exactly(chars.next()?)),
                '\\' if dialect.escape.is_some() => {
                    let protected = chars.next_if(|next| matches!(next, '*' | '?' | '\\'));
                    tokens.push(Token::Exactly(protected.unwrap_or(c)));
                }
                c => tokens.push(Token::Exactly(c)),
            }
        }
        Some(Self { tokens })
    }
}

impl Token {
    /// Whether a character leaves the walk at this token, and whether it leads past it.
    fn step(&self, c: char) -> (bool, bool) {
        match self {
            Self::Exactly(expected) => (false, c == *expected),
            Self::One => (false, c != SEPARATOR),
            Self::Any => (false, true),
            Self::Class { negated, ranges } => {
                let inside = ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
                (false, c != SEPARATOR && inside != *negated)
            }
            Self::Star => (c != SEPARATOR, false),
            Self::Everything => (true, false),
            Self::Enter => (false, false),
            Self::Directories => (true, c == SEPARATOR),
        }
    }
}

/// Reads a class after its `[`.
fn class(chars: &mut Peekable<Chars<'_>>) -> Option<Token> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let low = chars.next()?;
        if low == ']' && !ranges.is_empty() {
            return Some(Token::Class { negated, ranges });
        }
        if low == ']' || low == '-' {
            return None;
        }
        let high = match chars.next_if_eq(&'-') {
            Some(_) => chars.next().filter(|high| *high != ']')?,
            None => low,
        };
        ranges.push((low, high));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_patterns_follow_go() {
        let table = [
            ("*.exe", "a.exe", true),
            ("*.exe", "dir/a.exe", false),
            ("bin/*", "bin/a", true),
            ("bin/*", "bin/a/b", false),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "zx", true),
            ("a*b*c", "aXXbYYc", true),
            ("a*b*c", "aXXbYY", false),
            ("", "", true),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(Pattern::path(pattern).unwrap().matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn malformed_classes_are_refused() {
        for pattern in ["[", "[]", "[a", "[a-", "[a-]", "[-a]", "x[^"] {
            assert!(Pattern::path(pattern).is_none(), "{pattern}");
        }
    }

    #[test]
    fn double_star_crosses_directories_and_matches_none() {
        let table = [
            ("**/x", "x", true),
            ("**/x", "a/x", true),
            ("**/x", "a/b/x", true),
            ("**/x", "ax", false),
            ("a/**", "a/b/c", true),
            ("a/**/c", "a/c", true),
            ("a/**/c", "a/b/b/c", true),
            ("a/**/c", "a/bc", false),
            ("**", "anything/at/all", true),
        ];
        for (pattern, text, expected) in table {
            let compiled = Pattern::ignore(pattern).unwrap();
            assert_eq!(compiled.matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_bounded_time() {
        let pattern = Pattern::path(&"a*".repeat(200)).unwrap();
        assert!(!pattern.matches(&("a".repeat(2_000) + "b/")));
    }
}
