//! Command lines: how arguments become one, and where the program's name ends.
//!
//! Windows passes one string to a process; `CommandLineToArgvW` and the C runtime cut it up again.
//! [`join`] is the inverse of that cut, so a program sees exactly the arguments the image or the
//! client named.

/// Joins arguments into a command line from which `CommandLineToArgvW` gives them back.
#[must_use]
pub fn join(arguments: &[String]) -> String {
    let mut line = String::new();
    for (index, argument) in arguments.iter().enumerate() {
        if index > 0 {
            line.push(' ');
        }
        push_escaped(&mut line, argument);
    }
    line
}

/// Quotes where needed. Backslashes are literal except before a quotation mark, where each counts
/// for half ("Parsing C++ command-line arguments", Microsoft Learn).
fn push_escaped(line: &mut String, argument: &str) {
    let plain = !argument.is_empty() && !argument.contains([' ', '\t', '\n', '\u{b}', '"']);
    if plain {
        line.push_str(argument);
        return;
    }
    line.push('"');
    let mut backslashes = 0;
    for character in argument.chars() {
        match character {
            '\\' => backslashes += 1,
            '"' => {
                line.extend(std::iter::repeat_n('\\', backslashes * 2 + 1));
                backslashes = 0;
                line.push('"');
                continue;
            }
            _ => {
                line.extend(std::iter::repeat_n('\\', backslashes));
                backslashes = 0;
                line.push(character);
                continue;
            }
        }
    }
    line.extend(std::iter::repeat_n('\\', backslashes * 2));
    line.push('"');
}

/// Names the program of a command line may have, best first, as `CreateProcess` reads it: what is
/// between quotation marks, else every prefix that ends at a space (`C:\Program Files\x.exe` is
/// first tried as `C:\Program`).
#[must_use]
pub fn programs(line: &str) -> Vec<&str> {
    let line = line.trim_start_matches([' ', '\t']);
    if let Some(quoted) = line.strip_prefix('"') {
        let name = quoted.split('"').next().unwrap_or_default();
        return if name.is_empty() { Vec::new() } else { vec![name] };
    }
    let ends = line
        .char_indices()
        .filter(|(_, character)| matches!(character, ' ' | '\t'))
        .map(|(index, _)| index)
        .chain([line.len()]);
    let mut names: Vec<&str> = Vec::new();
    for end in ends.take(MAX_PREFIXES) {
        let name = line[..end].trim_end_matches([' ', '\t']);
        if !name.is_empty() && names.last() != Some(&name) {
            names.push(name);
        }
    }
    names
}

/// Prefixes tried of an unquoted line. A hostile line of thousands of spaces must not cost
/// thousands of searches; no real program path has more words.
const MAX_PREFIXES: usize = 32;

#[cfg(test)]
mod tests {
    use std::iter::{Peekable, repeat_n};
    use std::str::Chars;

    use super::*;

    /// `CommandLineToArgvW` for everything after the program, written from its documentation.
    fn cut(line: &str) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut rest = line.chars().peekable();
        loop {
            while rest.next_if(|c| *c == ' ' || *c == '\t').is_some() {}
            if rest.peek().is_none() {
                return arguments;
            }
            arguments.push(one(&mut rest));
        }
    }

    fn one(rest: &mut Peekable<Chars>) -> String {
        let (mut argument, mut quoted) = (String::new(), false);
        while rest.peek().is_some_and(|next| quoted || !matches!(next, ' ' | '\t')) {
            let mut backslashes = 0;
            while rest.next_if_eq(&'\\').is_some() {
                backslashes += 1;
            }
            let mark = rest.peek() == Some(&'"');
            argument.extend(repeat_n('\\', if mark { backslashes / 2 } else { backslashes }));
            match (mark, backslashes % 2, rest.next_if(|_| mark || backslashes == 0)) {
                (true, 1, _) => argument.push('"'),
                (true, _, _) => quoted = !quoted,
                (false, _, next) => argument.extend(next),
            }
        }
        argument
    }

    #[test]
    fn arguments_survive_the_command_line() {
        for case in [
            vec!["a", "b c", ""],
            vec!["a\\", "b c\\", "\\\\server\\share x\\\\"],
            vec!["say \"hi\"", "\\\"", "\\\\\"x", "a\\\\b"],
            vec!["tab\tbed", "new\nline", "ü 漢"],
        ] {
            let case: Vec<String> = case.into_iter().map(str::to_owned).collect();
            assert_eq!(cut(&join(&case)), case, "{}", join(&case));
        }
    }

    #[test]
    fn plain_arguments_stay_unquoted() {
        let case = ["cmd", "/c", "echo", "C:\\x\\"].map(str::to_owned);
        assert_eq!(join(&case), "cmd /c echo C:\\x\\");
    }

    #[test]
    fn a_quoted_program_ends_at_its_quotation_mark() {
        assert_eq!(programs("\"C:\\a b\\c.exe\" d"), ["C:\\a b\\c.exe"]);
        assert!(programs("\"\" d").is_empty());
        assert!(programs("  ").is_empty());
    }

    #[test]
    fn an_unquoted_program_is_tried_word_by_word() {
        assert_eq!(programs("C:\\a b\\c.exe  d"), ["C:\\a", "C:\\a b\\c.exe", "C:\\a b\\c.exe  d"]);
        assert_eq!(programs("cmd"), ["cmd"]);
    }

    #[test]
    fn a_line_of_many_words_is_bounded() {
        assert!(programs(&"x ".repeat(100_000)).len() <= MAX_PREFIXES);
    }
}
