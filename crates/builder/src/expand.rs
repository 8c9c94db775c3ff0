//! Variables, quotes and escapes in the arguments of instructions.
//!
//! The rules are those of buildkit's `frontend/dockerfile/shell` with the Windows habit of names
//! without case:
//!
//! ```text
//! $x ${x}             the value, or nothing        ${x:?m} ${x?m}   an error when unset
//! ${x:-y} ${x-y}      y when unset                 ${x#p} ${x##p}   without the prefix p
//! ${x:+y} ${x+y}      y when set                   ${x%p} ${x%%p}   without the suffix p
//!   (with a colon, empty counts as unset)          ${x/p/r} ${x//p/r}  p replaced by r
//! 'text'              as it is                     "text"           only $ and the escape work
//! ```

use std::{collections::BTreeSet, iter::Peekable, str::Chars};

use oriel_ignore::Pattern;

/// Longest result in bytes. Windows bounds a variable to 32 767 characters; the bound here also
/// stops a Dockerfile that doubles a variable on every line.
const MAX_EXPANDED: usize = 64 << 10;

/// Deepest nesting of `${a:-${b:-…}}`; bounds the stack.
const MAX_DEPTH: usize = 32;

/// Most work for one word: looking up 4096 variables, or trying a short pattern on all of a long
/// value.
const MAX_WORK: usize = 1 << 25;

/// Work for looking up a variable among the thousands that there may be.
const LOOK_UP: usize = 1 << 13;

/// Why variables could not be put in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// A quote that is not closed.
    #[error("unexpected end of statement while looking for matching {quote}-quote")]
    OpenQuote {
        /// `single` or `double`.
        quote: &'static str,
    },
    /// A brace that is not closed.
    #[error("syntax error: missing '}}'")]
    OpenBrace,
    /// `${x/y}`.
    #[error("syntax error: missing '/' in ${{}}")]
    OpenPattern,
    /// `${}` and its like.
    #[error("syntax error: bad substitution")]
    BadSubstitution,
    /// `${x^y}` and its like.
    #[error("unsupported modifier ({modifier}) in substitution")]
    Modifier {
        /// What stands after the name.
        modifier: String,
    },
    /// `${x:?message}` of a variable without value.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The author's message, or Docker's.
        message: String,
    },
    /// A pattern that is not one.
    #[error("syntax error in pattern")]
    Pattern,
    /// The result is too long.
    #[error("the result is longer than {MAX_EXPANDED} bytes")]
    TooLong,
    /// More variables and patterns than a word needs.
    #[error("the word has too many substitutions, or too long ones")]
    TooMuch,
    /// Braces in braces in braces.
    #[error("substitutions are nested more than {MAX_DEPTH} deep")]
    TooDeep,
}

/// Puts variables into one word and removes its quotes and escapes.
///
/// `variable` gives the value of a name, `None` when it is unset.
pub(crate) fn word(
    text: &str,
    escape: char,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<String, ExpandError> {
    if text.len() > MAX_EXPANDED {
        return Err(ExpandError::TooLong);
    }
    let mut lexer = Lexer::new(text, escape, variable);
    let result = lexer.until(None, Escapes::Read)?;
    if result.len() > MAX_EXPANDED {
        return Err(ExpandError::TooLong);
    }
    Ok(result)
}

/// The variables that a word uses, that are not set, and for which it has no other value.
pub(crate) fn undefined(
    text: &str,
    escape: char,
    variable: &dyn Fn(&str) -> Option<String>,
) -> BTreeSet<String> {
    let mut lexer = Lexer::new(text, escape, variable);
    // What is wrong with the word is told when it is used.
    let _ = lexer.until(None, Escapes::Read);
    lexer.undefined
}

/// Puts variables into the text of a here-document: quotes are text there, and the escape character
/// protects `$` and itself only, as in a shell.
pub(crate) fn document(
    text: &str,
    escape: char,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<String, ExpandError> {
    let mut lexer = Lexer::new(text, escape, variable);
    let mut out = String::new();
    while let Some(c) = lexer.chars.next() {
        match c {
            '$' => lexer.dollar(&mut out)?,
            c if c == escape => {
                out.push(lexer.chars.next_if(|next| *next == '$' || *next == escape).unwrap_or(c));
            }
            c => out.push(c),
        }
        if out.len() > text.len() + MAX_EXPANDED {
            return Err(ExpandError::TooLong);
        }
    }
    Ok(out)
}

/// Whether an escape character outside quotes is read or kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    Read,
    Keep,
}

struct Lexer<'a> {
    chars: Peekable<Chars<'a>>,
    escape: char,
    variable: &'a dyn Fn(&str) -> Option<String>,
    depth: usize,
    /// Work that may still be done.
    work: usize,
    /// Names that had no value and needed one.
    undefined: BTreeSet<String>,
}

impl<'a> Lexer<'a> {
    fn new(text: &'a str, escape: char, variable: &'a dyn Fn(&str) -> Option<String>) -> Self {
        let (chars, undefined) = (text.chars().peekable(), BTreeSet::new());
        Self { chars, escape, variable, depth: 0, work: MAX_WORK, undefined }
    }

    fn spend(&mut self, work: usize) -> Result<(), ExpandError> {
        self.work = self.work.checked_sub(work).ok_or(ExpandError::TooMuch)?;
        Ok(())
    }

    /// Reads up to `stop`, which is consumed, or to the end when there is none.
    fn until(&mut self, stop: Option<char>, escapes: Escapes) -> Result<String, ExpandError> {
        let mut out = String::new();
        loop {
            let Some(c) = self.chars.next() else {
                return match stop {
                    None => Ok(out),
                    Some('/') => Err(ExpandError::OpenPattern),
                    Some(_) => Err(ExpandError::OpenBrace),
                };
            };
            if Some(c) == stop {
                return Ok(out);
            }
            match c {
                '\'' => self.single_quoted(&mut out)?,
                '"' => self.double_quoted(&mut out)?,
                '$' => self.dollar(&mut out)?,
                c if c == self.escape => {
                    if escapes == Escapes::Keep {
                        out.push(c);
                    }
                    out.extend(self.chars.next());
                }
                c => out.push(c),
            }
            if out.len() > MAX_EXPANDED {
                return Err(ExpandError::TooLong);
            }
        }
    }

    fn single_quoted(&mut self, out: &mut String) -> Result<(), ExpandError> {
        loop {
            match self.chars.next() {
                None => return Err(ExpandError::OpenQuote { quote: "single" }),
                Some('\'') => return Ok(()),
                Some(c) => out.push(c),
            }
        }
    }

    fn double_quoted(&mut self, out: &mut String) -> Result<(), ExpandError> {
        loop {
            match self.chars.next() {
                None => return Err(ExpandError::OpenQuote { quote: "double" }),
                Some('"') => return Ok(()),
                Some('$') => self.dollar(out)?,
                Some(c) if c == self.escape => match self.chars.peek().copied() {
                    Some(next) if next == '"' || next == '$' || next == self.escape => {
                        self.chars.next();
                        out.push(next);
                    }
                    _ => out.push(c),
                },
                Some(c) => out.push(c),
            }
        }
    }

    fn dollar(&mut self, out: &mut String) -> Result<(), ExpandError> {
        if self.chars.peek() != Some(&'{') {
            let name = self.name();
            match name.is_empty() {
                true => out.push('$'),
                false => {
                    let value = self.value(&name)?;
                    out.push_str(&self.needed(name, value));
                }
            }
            return Ok(());
        }
        self.chars.next();
        match self.chars.peek() {
            None => return Err(ExpandError::OpenBrace),
            Some('{' | '}' | ':') => return Err(ExpandError::BadSubstitution),
            Some(_) => {}
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ExpandError::TooDeep);
        }
        let value = self.braced()?;
        self.depth -= 1;
        out.push_str(&value);
        Ok(())
    }

    /// Reads the inside of `${…}` and its closing brace.
    fn braced(&mut self) -> Result<String, ExpandError> {
        let name = self.name();
        let value = self.value(&name)?;
        match self.chars.next() {
            Some('}') => Ok(self.needed(name, value)),
            Some(':') => {
                let value = value.filter(|value| !value.is_empty());
                match self.chars.next() {
                    Some(c @ ('-' | '+' | '?')) => {
                        self.conditional(c, &name, value, "is not allowed to be empty")
                    }
                    None => Err(ExpandError::OpenBrace),
                    Some(c) => Err(ExpandError::Modifier { modifier: format!(":{c}") }),
                }
            }
            Some(c @ ('-' | '+' | '?')) => {
                self.conditional(c, &name, value, "is not allowed to be unset")
            }
            Some(c @ ('#' | '%')) => self.trimmed(c, &value.unwrap_or_default()),
            Some('/') => self.replaced(&value.unwrap_or_default()),
            None => Err(ExpandError::OpenBrace),
            Some(c) => Err(ExpandError::Modifier { modifier: c.to_string() }),
        }
    }

    fn conditional(
        &mut self,
        modifier: char,
        name: &str,
        value: Option<String>,
        refusal: &str,
    ) -> Result<String, ExpandError> {
        let word = self.until(Some('}'), Escapes::Read)?;
        match (modifier, value) {
            ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            (_, Some(value)) => Ok(value),
            ('-', None) => Ok(word),
            (_, None) => Err(ExpandError::Required {
                name: name.to_owned(),
                message: if word.is_empty() { refusal.to_owned() } else { word },
            }),
        }
    }

    fn trimmed(&mut self, modifier: char, value: &str) -> Result<String, ExpandError> {
        let word = self.until(Some('}'), Escapes::Keep)?;
        let (greedy, pattern) = match word.strip_prefix(modifier) {
            Some(rest) => (true, rest),
            None => (false, word.as_str()),
        };
        let pattern = Pattern::shell(pattern, self.escape).ok_or(ExpandError::Pattern)?;
        let chars = pattern_input(value)?;
        let tries = if modifier == '#' { 1 } else { chars.len() + 1 };
        self.spend(tries * chars.len() * pattern.steps())?;
        let kept = match modifier {
            '#' => {
                let cut = cut_front(&pattern, &chars, greedy);
                cut.map(|cut| &chars[cut..])
            }
            _ => {
                let mut cuts = 0..=chars.len();
                let fits = |cut: &usize| pattern.prefixes(&chars[*cut..]).last() == Some(&true);
                let cut = if greedy { cuts.find(fits) } else { cuts.rev().find(fits) };
                cut.map(|cut| &chars[..cut])
            }
        };
        Ok(kept.unwrap_or(&chars).iter().collect())
    }

    fn replaced(&mut self, value: &str) -> Result<String, ExpandError> {
        let all = self.chars.next_if_eq(&'/').is_some();
        let pattern = self.until(Some('/'), Escapes::Keep)?;
        let replacement = self.until(Some('}'), Escapes::Read)?;
        let pattern = Pattern::shell(&pattern, self.escape).ok_or(ExpandError::Pattern)?;
        let chars = pattern_input(value)?;
        let mut out = String::new();
        let mut at = 0;
        while at < chars.len() {
            self.spend((chars.len() - at) * pattern.steps())?;
            let length = cut_front(&pattern, &chars[at..], true).unwrap_or(0);
            if length == 0 {
                out.push(chars[at]);
                at += 1;
                continue;
            }
            out.push_str(&replacement);
            at += length;
            if !all {
                break;
            }
            if out.len() > MAX_EXPANDED {
                return Err(ExpandError::TooLong);
            }
        }
        out.extend(&chars[at..]);
        Ok(out)
    }

    /// Reads a variable's name: letters, digits and `_`, or digits, or one special character.
    fn name(&mut self) -> String {
        let mut name = String::new();
        let first = self.chars.peek().copied().unwrap_or_default();
        if "@*#?-$!".contains(first) {
            name.extend(self.chars.next());
            return name;
        }
        let number = first.is_numeric();
        let fits = |c: &char| c.is_numeric() || !number && (c.is_alphabetic() || *c == '_');
        while let Some(c) = self.chars.next_if(fits) {
            name.push(c);
        }
        name
    }

    /// A value that has no substitute.
    fn needed(&mut self, name: String, value: Option<String>) -> String {
        value.unwrap_or_else(|| {
            self.undefined.insert(name);
            String::new()
        })
    }

    fn value(&mut self, name: &str) -> Result<Option<String>, ExpandError> {
        self.spend(LOOK_UP)?;
        Ok((self.variable)(name))
    }
}

/// The characters of a value that a pattern is tried on. The bound keeps the square of it small.
fn pattern_input(value: &str) -> Result<Vec<char>, ExpandError> {
    const MAX_CHARACTERS: usize = 4096;
    let chars: Vec<char> = value.chars().collect();
    if chars.len() > MAX_CHARACTERS { Err(ExpandError::TooLong) } else { Ok(chars) }
}

/// Length of the shortest or the longest front that fits.
fn cut_front(pattern: &Pattern, chars: &[char], greedy: bool) -> Option<usize> {
    let fits = pattern.prefixes(chars);
    if greedy { fits.iter().rposition(|fits| *fits) } else { fits.iter().position(|fits| *fits) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str, escape: char) -> Result<String, ExpandError> {
        word(text, escape, &|name| match name.to_ascii_lowercase().as_str() {
            "x" => Some("value".into()),
            "empty" => Some(String::new()),
            "path" => Some("C:\\a\\b.tar.gz".into()),
            _ => None,
        })
    }

    #[test]
    fn substitutions_follow_dockers_table() {
        let table = [
            ("plain", "plain"),
            ("$x", "value"),
            ("${X}", "value"),
            ("$xy.", "."),
            ("${x}y", "valuey"),
            ("$unset|", "|"),
            ("$", "$"),
            ("$.", "$."),
            ("100%", "100%"),
            ("${unset:-d}", "d"),
            ("${empty:-d}", "d"),
            ("${empty-d}", ""),
            ("${unset-d}", "d"),
            ("${x:-d}", "value"),
            ("${x:+y}", "y"),
            ("${empty:+y}", ""),
            ("${empty+y}", "y"),
            ("${unset:+y}", ""),
            ("${unset:-${x}}", "value"),
            ("${unset:-'a b'}", "a b"),
            ("${x#va}", "lue"),
            ("${path##*\\}", "b.tar.gz"),
            ("${path%.*}", "C:\\a\\b.tar"),
            ("${path%%.*}", "C:\\a\\b"),
            ("${x/l/L}", "vaLue"),
            ("${x/[/L}", "value"),
            ("${x//?/.}", "....."),
            ("${path//\\\\/\\}", "C:\\a\\b.tar.gz"),
            ("${path//\\\\//}", "C:/a/b.tar.gz"),
            ("${10}$12x", "x"),
            ("$größe|", "|"),
            ("${path//a/_}", "C:\\_\\b.t_r.gz"),
            ("'$x'", "$x"),
            ("\"$x\"", "value"),
            ("\"a 'b' c\"", "a 'b' c"),
        ];
        for (text, expected) in table {
            assert_eq!(expand(text, '`').as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn the_escape_character_protects_one_character() {
        let table = [
            ("`$x", '`', "$x"),
            ("C:\\$x", '`', "C:\\value"),
            ("C:\\a\\b", '`', "C:\\a\\b"),
            ("C:\\a\\b", '\\', "C:ab"),
            ("C:\\\\a", '\\', "C:\\a"),
            ("\"C:\\a\\$x\"", '\\', "C:\\a$x"),
            ("\"`\"q`\" `n\"", '`', "\"q\" `n"),
            ("end`", '`', "end"),
        ];
        for (text, escape, expected) in table {
            assert_eq!(expand(text, escape).as_deref(), Ok(expected), "{text} with {escape}");
        }
    }

    #[test]
    fn quotes_are_text_in_a_here_document() {
        let of = |text| document(text, '`', &|name| (name == "x").then(|| "value".into()));
        let text = "a=\"$x\" '${x}' `$x ``n `n C:\\d\n";
        assert_eq!(of(text).unwrap(), "a=\"value\" 'value' $x `n `n C:\\d\n");
        assert_eq!(of("${x"), Err(ExpandError::OpenBrace));
        assert_eq!(of(&"y".repeat(MAX_EXPANDED * 2)).unwrap().len(), MAX_EXPANDED * 2);
    }

    #[test]
    fn malformed_words_are_refused_with_dockers_texts() {
        let table = [
            ("'a", "unexpected end of statement while looking for matching single-quote"),
            ("\"a", "unexpected end of statement while looking for matching double-quote"),
            ("${x", "syntax error: missing '}'"),
            ("${", "syntax error: missing '}'"),
            ("${x:-y", "syntax error: missing '}'"),
            ("${x/y}", "syntax error: missing '/' in ${}"),
            ("${x//y/z", "syntax error: missing '}'"),
            ("${}", "syntax error: bad substitution"),
            ("${:-x}", "syntax error: bad substitution"),
            ("${x^y}", "unsupported modifier (^) in substitution"),
            ("${x:#y}", "unsupported modifier (:#) in substitution"),
            ("${unset?}", "unset: is not allowed to be unset"),
            ("${empty:?say it}", "empty: say it"),
        ];
        for (text, expected) in table {
            assert_eq!(expand(text, '`').unwrap_err().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn doubling_and_nesting_are_bounded() {
        let long = "y".repeat(MAX_EXPANDED / 2 + 1);
        let doubled = word("$a$a", '`', &|_| Some(long.clone()));
        assert_eq!(doubled, Err(ExpandError::TooLong));
        assert_eq!(expand(&"y".repeat(MAX_EXPANDED + 1), '`'), Err(ExpandError::TooLong));
        assert_eq!(expand(&"$u".repeat(20_000), '`'), Err(ExpandError::TooMuch));
        let documents = document(&"$u".repeat(1 << 20), '`', &|_| None);
        assert_eq!(documents, Err(ExpandError::TooMuch));
        let pattern = "*a".repeat(2000) + "b";
        for text in [format!("${{long%%{pattern}}}"), format!("${{long//{pattern}/z}}")] {
            let slow = word(&text, '`', &|_| Some("a".repeat(4000)));
            assert_eq!(slow, Err(ExpandError::TooMuch));
        }
        let nested = "${u:-".repeat(100) + &"}".repeat(100);
        assert_eq!(expand(&nested, '`'), Err(ExpandError::TooDeep));
    }
}
