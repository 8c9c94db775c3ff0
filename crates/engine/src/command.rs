//! Command lines and environments: how an image and a client together say what runs. Pure.

use oriel_hcs::CommandLine;
use oriel_image::RunConfig;

/// Account of a container when neither image nor client names one.
pub const DEFAULT_ACCOUNT: &str = "ContainerAdministrator";

/// Directory a program starts in when neither image nor client names one.
pub(crate) const DEFAULT_DIRECTORY: &str = "C:\\";

/// Entry point and command as one list; `None` when both are empty.
pub(crate) fn words(run: &RunConfig) -> Option<Vec<String>> {
    let entrypoint = run.entrypoint.iter().flatten();
    let words: Vec<String> = entrypoint.chain(run.cmd.iter().flatten()).cloned().collect();
    words.first().is_some_and(|first| !first.is_empty()).then_some(words)
}

/// The command line of a program and its arguments. With `args_escaped` the program is a command
/// line already, and only what a client put after it is escaped (moby `daemon/oci_windows.go`).
pub(crate) fn line(path: &str, args: &[String], args_escaped: bool) -> CommandLine {
    if !args_escaped {
        let words = std::iter::once(path.to_owned()).chain(args.iter().cloned());
        return CommandLine::Arguments(words.collect());
    }
    let mut line = path.to_owned();
    for arg in args {
        line.push(' ');
        line.push_str(&escape(arg));
    }
    CommandLine::Verbatim(line)
}

/// Writes an argument so that `CommandLineToArgvW` reads it back: the rule of Go's
/// `syscall.EscapeArg`.
#[must_use]
pub fn escape(arg: &str) -> String {
    if arg.is_empty() {
        return "\"\"".to_owned();
    }
    let quote = arg.contains([' ', '\t']);
    if !quote && !arg.contains(['"', '\\']) {
        return arg.to_owned();
    }
    let mut escaped = String::with_capacity(arg.len() + 2);
    if quote {
        escaped.push('"');
    }
    let mut backslashes = 0;
    for c in arg.chars() {
        match c {
            '\\' => backslashes += 1,
            '"' => {
                escaped.extend(std::iter::repeat_n('\\', backslashes + 1));
                backslashes = 0;
            }
            _ => backslashes = 0,
        }
        escaped.push(c);
    }
    if quote {
        escaped.extend(std::iter::repeat_n('\\', backslashes));
        escaped.push('"');
    }
    escaped
}

/// Name of a variable, for comparison: Windows knows no case there. A leading `=` belongs to the
/// name (`=C:` holds the current directory of a drive).
fn key(variable: &str) -> String {
    let end = variable
        .char_indices()
        .skip(1)
        .find(|(_, c)| *c == '=')
        .map_or(variable.len(), |(at, _)| at);
    variable[..end].to_uppercase()
}

/// The client's variables, then those of the image that the client does not set. The client's
/// entries without `=` take the image's away.
pub(crate) fn merge_environment(image: &[String], client: &[String]) -> Vec<String> {
    let named: Vec<String> = client.iter().map(|variable| key(variable)).collect();
    let kept = image.iter().filter(|variable| !named.contains(&key(variable)));
    let set = client.iter().filter(|variable| variable.contains('='));
    set.chain(kept).cloned().collect()
}

/// Variables as pairs, each name once, the last value winning.
#[must_use]
pub fn pairs(variables: &[String]) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::with_capacity(variables.len());
    for variable in variables {
        let name_length = key(variable).chars().count();
        let name: String = variable.chars().take(name_length).collect();
        let Some(value) = variable[name.len()..].strip_prefix('=') else { continue };
        let value = value.to_owned();
        match pairs.iter_mut().find(|(known, _)| key(known) == key(&name)) {
            Some(pair) => *pair = (name, value),
            None => pairs.push((name, value)),
        }
    }
    pairs
}

/// The value of a variable.
pub(crate) fn variable(variables: &[String], name: &str) -> Option<String> {
    let mut pairs = pairs(variables).into_iter();
    pairs.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// A working directory as Windows wants it: absolute, with a drive and backslashes.
#[must_use]
pub fn directory(path: &str) -> String {
    let path = path.replace('/', "\\");
    match path.as_bytes() {
        [] => DEFAULT_DIRECTORY.to_owned(),
        [b'\\', ..] => format!("C:{path}"),
        [drive, b':', ..] if drive.is_ascii_alphabetic() => path,
        _ => format!("C:\\{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    #[test]
    fn arguments_are_escaped_as_go_does() {
        for (arg, escaped) in [
            ("", "\"\""),
            ("a", "a"),
            ("a b", "\"a b\""),
            ("a\"b", "a\\\"b"),
            ("C:\\x\\", "C:\\x\\"),
            ("C:\\a b\\", "\"C:\\a b\\\\\""),
            ("\\\\\"", "\\\\\\\\\\\""),
        ] {
            assert_eq!(escape(arg), escaped, "{arg}");
        }
    }

    #[test]
    fn an_escaped_command_line_stays_verbatim() {
        let line = line("cmd /S /C echo \"hi\"", &list(&["a b"]), true);
        assert_eq!(line, CommandLine::Verbatim("cmd /S /C echo \"hi\" \"a b\"".to_owned()));
    }

    #[test]
    fn names_of_variables_have_no_case() {
        let image = list(&["Path=C:\\Windows", "A=1", "B=2"]);
        let merged = merge_environment(&image, &list(&["PATH=C:\\app", "b"]));
        assert_eq!(merged, list(&["PATH=C:\\app", "A=1"]));
    }

    #[test]
    fn pairs_keep_the_last_value() {
        let pairs = pairs(&list(&["a=1", "A=2=3", "=C:=C:\\x", "nothing"]));
        let expected = [("A", "2=3"), ("=C:", "C:\\x")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_variable_is_found_in_any_case() {
        let variables = list(&["A=1", "tz=x", "TZ=Europe/Berlin"]);
        assert_eq!(variable(&variables, "TZ").as_deref(), Some("Europe/Berlin"));
        assert_eq!(variable(&variables, "Z"), None);
    }

    #[test]
    fn directories_become_absolute() {
        for (given, expected) in
            [("", "C:\\"), ("/app", "C:\\app"), ("c:/x", "c:\\x"), ("app\\y", "C:\\app\\y")]
        {
            assert_eq!(directory(given), expected);
        }
    }
}
