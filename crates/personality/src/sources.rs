//! Which Debian mirror the host uses, read from apt's own sources.
//!
//! Both forms that apt knows (`sources.list(5)`) are understood: one line per source, and stanzas
//! (deb822). Only the archive's address is of interest; suites and components are Oriel's choice.

use std::path::Path;

use crate::PersonalityError;

/// Finds the mirror in `directory`, usually `/etc/apt`.
pub(crate) fn mirror(directory: &Path) -> Result<String, PersonalityError> {
    let mut files = vec![directory.join("sources.list")];
    let parts = directory.join("sources.list.d");
    if let Ok(entries) = fs_err::read_dir(&parts) {
        let mut more: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        more.sort();
        files.extend(more);
    }
    files
        .iter()
        .filter_map(|file| {
            let text = fs_err::read_to_string(file).ok()?;
            match file.extension()?.to_str()? {
                "list" => one_line(&text),
                "sources" => stanzas(&text),
                _ => None,
            }
        })
        .next()
        .ok_or_else(|| PersonalityError::NoMirror { directory: directory.to_owned() })
}

/// First Debian archive in the one-line form: `deb [options] URI suite components`.
fn one_line(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        archive(rest.split_whitespace().next()?)
    })
}

/// First Debian archive in the stanza form.
fn stanzas(text: &str) -> Option<String> {
    text.replace("\r\n", "\n").split("\n\n").find_map(|stanza| {
        let enabled = field(stanza, "Enabled").is_none_or(|value| value.trim() != "no");
        let binary = field(stanza, "Types")?.split_whitespace().any(|kind| kind == "deb");
        let uris = field(stanza, "URIs")?;
        (enabled && binary).then(|| uris.split_whitespace().find_map(archive)).flatten()
    })
}

/// Value of a field, its continuation lines included.
fn field(stanza: &str, name: &str) -> Option<String> {
    let mut value: Option<String> = None;
    for line in stanza.lines().filter(|line| !line.starts_with('#')) {
        let continues = line.starts_with([' ', '\t']);
        match (&mut value, continues) {
            (Some(text), true) => {
                text.push(' ');
                text.push_str(line.trim());
            }
            (Some(_), false) => break,
            (None, _) => {
                value = line
                    .split_once(':')
                    .filter(|(key, _)| key.eq_ignore_ascii_case(name))
                    .map(|(_, text)| text.trim().to_owned());
            }
        }
    }
    value
}

/// Keeps the address of a Debian archive: its path ends in `/debian`, which leaves out security
/// updates, backports of third parties and other distributions.
fn archive(uri: &str) -> Option<String> {
    let plain = uri.trim_end_matches('/');
    let known = ["http://", "https://", "file:", "copy:"].iter().any(|s| plain.starts_with(s));
    (known && plain.ends_with("/debian")).then(|| plain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{mirror, one_line, stanzas};

    #[test]
    fn one_line_sources_with_options_are_understood() {
        let text = "# deb http://old/debian x main\n\
                    deb-src http://src/debian x main\n\
                    deb http://mirror.example/debian-security bookworm-security main\n\
                    deb [arch=amd64 signed-by=/a b] http://mirror/debian/ bookworm main\n";
        assert_eq!(one_line(text).as_deref(), Some("http://mirror/debian"));
    }

    #[test]
    fn stanzas_with_comments_and_continuations_are_understood() {
        let text = "Types: deb\nURIs: http://other/ubuntu\nSuites: x\n\n\
                    Enabled: no\nTypes: deb\nURIs: http://off/debian\n\n\
                    types: deb deb-src\n# a comment\nuris:\n http://first/debian-security\n \
                    https://mirror/debian\nSuites: bookworm\n";
        assert_eq!(stanzas(text).as_deref(), Some("https://mirror/debian"));
    }

    #[test]
    fn without_a_debian_source_the_error_says_where_it_looked() {
        let directory = tempfile::tempdir().unwrap();
        fs_err::write(directory.path().join("sources.list"), "deb http://x/ubuntu y z\n").unwrap();
        let error = mirror(directory.path()).unwrap_err().to_string();
        assert!(error.contains("--mirror"), "{error}");
    }

    #[test]
    fn files_that_apt_ignores_are_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let parts = directory.path().join("sources.list.d");
        fs_err::create_dir(&parts).unwrap();
        fs_err::write(parts.join("a.list.disabled"), "deb http://no/debian y z\n").unwrap();
        fs_err::write(parts.join("b.sources"), "Types: deb\nURIs: http://yes/debian\n").unwrap();
        assert_eq!(mirror(directory.path()).unwrap(), "http://yes/debian");
    }
}
