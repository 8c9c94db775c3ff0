//! Where a program is looked for.
//!
//! `CreateProcess` itself would search along the agent's `Path`; a container's process must be
//! found along its own. The order is Windows': the working directory, the system directories, then
//! `Path`; `.exe` is added to a name without an extension.

/// Extensions given to a name that has none.
const EXTENSIONS: [&str; 2] = [".exe", ".com"];

/// Directories searched before `Path`.
const SYSTEM_DIRECTORIES: [&str; 3] =
    ["C:\\Windows\\System32", "C:\\Windows\\System", "C:\\Windows"];

/// Longest list of candidates for one name, so that a hostile `Path` costs a bounded time.
const MAX_CANDIDATES: usize = 512;

/// Full paths a program may have, best first. `directory` is the new process's working directory
/// and `path` its `Path`.
#[must_use]
pub fn candidates(name: &str, directory: &str, path: &str) -> Vec<String> {
    let name = name.replace('/', "\\");
    if name.contains('\\') || has_drive(&name) {
        return with_extensions(&absolute(&name, directory));
    }
    let directories = std::iter::once(directory)
        .chain(SYSTEM_DIRECTORIES)
        .chain(path.split(';').map(|entry| entry.trim().trim_matches('"')));
    let mut found = Vec::new();
    for entry in directories.filter(|entry| !entry.is_empty()) {
        found.extend(with_extensions(&absolute(&join(entry, &name), directory)));
        if found.len() >= MAX_CANDIDATES {
            break;
        }
    }
    found
}

/// Whether `CreateProcess` would report a missing file rather than a missing path when none of the
/// candidates exists: so for a bare name; a name with a directory names that directory here.
#[must_use]
pub fn named_directory(name: &str, directory: &str) -> Option<String> {
    let name = name.replace('/', "\\");
    if !name.contains('\\') && !has_drive(&name) {
        return None;
    }
    let full = absolute(&name, directory);
    full.rsplit_once('\\').map(|(parent, _)| format!("{parent}\\"))
}

/// Makes a path absolute against a working directory on C:.
#[must_use]
pub fn absolute(path: &str, directory: &str) -> String {
    let path = path.replace('/', "\\");
    if path.starts_with("\\\\") {
        path
    } else if path.starts_with('\\') {
        format!("C:{path}")
    } else if has_drive(&path) {
        let (drive, rest) = path.split_at(2);
        if rest.starts_with('\\') { path } else { format!("{drive}\\{rest}") }
    } else {
        join(directory, &path)
    }
}

/// Whether a program is a batch file, which `cmd.exe` has to run.
#[must_use]
pub fn is_batch(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    lower.ends_with(".bat") || lower.ends_with(".cmd")
}

fn join(directory: &str, name: &str) -> String {
    let separator = if directory.ends_with(['\\', '/']) { "" } else { "\\" };
    format!("{directory}{separator}{name}")
}

fn has_drive(path: &str) -> bool {
    matches!(path.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic())
}

fn with_extensions(path: &str) -> Vec<String> {
    let file = path.rsplit('\\').next().unwrap_or_default();
    if let Some(bare) = path.strip_suffix('.') {
        vec![bare.to_owned()]
    } else if file.contains('.') {
        vec![path.to_owned()]
    } else {
        EXTENSIONS.iter().map(|extension| format!("{path}{extension}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_sought_in_the_working_directory_the_system_and_path() {
        let found = candidates("node", "C:\\app", "C:\\nodejs;;\"C:\\b c\"");
        assert_eq!(
            found,
            [
                "C:\\app\\node.exe",
                "C:\\app\\node.com",
                "C:\\Windows\\System32\\node.exe",
                "C:\\Windows\\System32\\node.com",
                "C:\\Windows\\System\\node.exe",
                "C:\\Windows\\System\\node.com",
                "C:\\Windows\\node.exe",
                "C:\\Windows\\node.com",
                "C:\\nodejs\\node.exe",
                "C:\\nodejs\\node.com",
                "C:\\b c\\node.exe",
                "C:\\b c\\node.com",
            ]
        );
    }

    #[test]
    fn a_name_with_a_directory_is_not_sought_along_path() {
        assert_eq!(candidates("bin/x.exe", "C:\\app", "C:\\p"), ["C:\\app\\bin\\x.exe"]);
        assert_eq!(candidates("\\x", "C:\\app", ""), ["C:\\x.exe", "C:\\x.com"]);
        assert_eq!(candidates("c:/x.bat", "C:\\", ""), ["c:\\x.bat"]);
        assert_eq!(candidates("C:\\x.", "C:\\", ""), ["C:\\x"]);
    }

    #[test]
    fn only_a_name_with_a_directory_can_miss_its_path() {
        assert_eq!(named_directory("x.exe", "C:\\app"), None);
        assert_eq!(named_directory("C:\\no\\x.exe", "C:\\"), Some("C:\\no\\".into()));
        assert_eq!(named_directory("no\\x", "C:\\app"), Some("C:\\app\\no\\".into()));
        assert_eq!(named_directory("C:\\x", "C:\\"), Some("C:\\".into()));
    }

    #[test]
    fn a_hostile_path_is_bounded() {
        assert!(candidates("x", "C:\\", &"C:\\a;".repeat(100_000)).len() < MAX_CANDIDATES + 2);
    }

    #[test]
    fn batch_files_are_known_by_their_extension() {
        assert!(is_batch("C:\\A.BAT") && is_batch("b.cmd") && !is_batch("C:\\bat"));
    }
}
