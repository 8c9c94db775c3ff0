//! What a container has of its own in its registry.

use std::path::Path;

use super::FILES;
use crate::error::Attempt;
use crate::{ImageError, SandboxSettings};

/// Stands for the NetBIOS computer name in a cached registry.
pub(super) const NETBIOS_MARK: &str = "@@ORIEL-COMPUTER-NAME@@";
/// Stands for the DNS host name.
pub(super) const HOST_MARK: &str = "@@ORIEL-HOST-NAME@@";
/// Name of the value that stands for the container's variables.
pub(super) const VARIABLES_MARK: &str = "@@ORIEL-VARIABLES@@";

/// Longest NetBIOS computer name.
const NETBIOS_LENGTH: usize = 15;

/// Copies a rendered registry to a container's own directory and fills in what is its own.
pub(crate) fn personalise(
    rendered: &Path,
    target: &Path,
    settings: &SandboxSettings,
) -> Result<(), ImageError> {
    let attempt = || format!("write the registry of {}", target.display());
    let [system, default, user] = FILES;
    let text = fs_err::read(rendered.join(system)).attempt(attempt)?;
    let netbios: String =
        settings.computer_name.to_uppercase().chars().take(NETBIOS_LENGTH).collect();
    let text = replace(&text, NETBIOS_MARK.as_bytes(), escape(&netbios).as_bytes());
    let text = replace(&text, HOST_MARK.as_bytes(), escape(&settings.computer_name).as_bytes());
    fs_err::write(target.join(system), text).attempt(attempt)?;

    fs_err::copy(rendered.join(default), target.join(default)).attempt(attempt)?;

    let text = fs_err::read(rendered.join(user)).attempt(attempt)?;
    let mut lines = String::new();
    for (name, value) in &settings.variables {
        lines += &format!("\"{}\"=\"{}\"\n", escape(name), escape(value));
    }
    let mark = format!("\"{VARIABLES_MARK}\"=\"\"\n");
    let text = replace(&text, mark.as_bytes(), lines.as_bytes());
    fs_err::write(target.join(user), text).attempt(attempt)?;
    Ok(())
}

/// Replaces every `mark` in `text`.
fn replace(text: &[u8], mark: &[u8], with: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(text.len() + with.len());
    let mut rest = text;
    while let Some(at) = position(rest, mark) {
        result.extend_from_slice(&rest[..at]);
        result.extend_from_slice(with);
        rest = &rest[at + mark.len()..];
    }
    result.extend_from_slice(rest);
    result
}

/// Where `mark`, which begins with a rare byte, stands in `text`.
fn position(text: &[u8], mark: &[u8]) -> Option<usize> {
    let first = *mark.first()?;
    let mut from = 0;
    while let Some(at) = text[from..].iter().position(|byte| *byte == first) {
        if text[from + at..].starts_with(mark) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// Text as it stands in a registry file: every unit outside of printable ASCII as `\xhhhh`.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for unit in text.encode_utf16() {
        match u8::try_from(unit).map(char::from) {
            Ok(c @ ('"' | '\\')) => escaped.extend(['\\', c]),
            Ok(c @ ' '..='~') => escaped.push(c),
            _ => escaped += &format!("\\x{unit:04x}"),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::{escape, replace};

    #[test]
    fn marks_are_replaced_wherever_they_stand() {
        assert_eq!(replace(b"a@@x@@b@@x@@", b"@@x@@", b"1"), b"a1b1");
        assert_eq!(replace(b"@@@x@@", b"@@x@@", b"1"), b"@1");
    }

    #[test]
    fn texts_are_escaped_for_wine() {
        assert_eq!(escape(r#"a"\b"#), r#"a\"\\b"#);
        assert_eq!(escape("\u{fc}\n"), r"\x00fc\x000a");
    }
}
