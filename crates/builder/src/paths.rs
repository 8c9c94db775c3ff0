//! Paths of Dockerfiles on drive C:.
//!
//! Docker's rules (moby's `dispatchers_windows.go` and `copy_windows.go`): both separators, a
//! rooted path is on C:, a relative one is below the working directory, a drive letter is written
//! in capitals.

use crate::PathError;

/// Where `COPY` writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    /// Absolute path such as `C:\app`.
    pub(crate) path: String,
    /// Whether it was written as a directory, with a separator or a dot at its end.
    pub(crate) directory: bool,
}

/// A path taken apart.
struct Parts<'a> {
    drive: Option<char>,
    rooted: bool,
    components: Vec<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(path: &'a str) -> Self {
        let mut chars = path.chars();
        let (drive, rest) = match (chars.next(), chars.next()) {
            (Some(letter), Some(':')) if letter.is_ascii_alphabetic() => (Some(letter), &path[2..]),
            _ => (None, path),
        };
        let mut parts = Self { drive, rooted: rest.starts_with(['/', '\\']), components: vec![] };
        parts.push(rest);
        parts
    }

    /// Walks on from here; `..` stops at the root.
    fn push(&mut self, path: &'a str) {
        for name in path.split(['/', '\\']) {
            match name {
                "" | "." => {}
                ".." => {
                    self.components.pop();
                }
                name => self.components.push(name),
            }
        }
    }

    fn on_c(&self) -> bool {
        self.drive.is_none_or(|letter| letter.eq_ignore_ascii_case(&'c'))
    }

    fn render(&self) -> String {
        format!("C:\\{}", self.components.join("\\"))
    }
}

/// The working directory after `WORKDIR requested` when it was `current` before, or empty.
pub(crate) fn workdir(current: &str, requested: &str) -> Result<String, PathError> {
    if requested.is_empty() {
        return Err(PathError::Empty);
    }
    let parts = Parts::of(requested);
    if parts.drive.is_some() && !parts.rooted {
        let path = if requested.len() == 2 { format!("{requested}.") } else { requested.into() };
        return Err(PathError::DriveOnly { path });
    }
    if !parts.on_c() {
        return Err(PathError::WorkdirOnOtherDrive { path: requested.to_owned() });
    }
    Ok(below(current, requested, parts))
}

/// Where `COPY … requested` writes to.
pub(crate) fn destination(workdir: &str, requested: &str) -> Result<Destination, PathError> {
    let parts = Parts::of(requested);
    if !parts.on_c() {
        return Err(PathError::OtherDrive);
    }
    if parts.drive.is_some() && !parts.rooted {
        let path = if requested.len() == 2 { format!("{requested}.") } else { requested.into() };
        return Err(PathError::DriveOnly { path });
    }
    let last = requested.rsplit(['/', '\\']).next().unwrap_or_default();
    let directory = ["", ".", ".."].contains(&last);
    Ok(Destination { path: below(workdir, requested, parts), directory })
}

fn below(current: &str, requested: &str, parts: Parts<'_>) -> String {
    if parts.rooted {
        return parts.render();
    }
    let mut whole = Parts::of(current);
    whole.push(requested);
    whole.render()
}

/// Whether Docker on Windows refuses to copy from here: the root and `\windows`, whose files are
/// locked there.
pub(crate) fn is_forbidden_source(path: &str) -> bool {
    let parts = Parts::of(path);
    match parts.components.as_slice() {
        [] => true,
        [only] => only.eq_ignore_ascii_case("windows"),
        _ => false,
    }
}

/// Whether Windows allows the name for a file.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.ends_with(['.', ' '])
        && !name.contains(|c: char| c.is_control() || "<>:\"/\\|?*".contains(c))
        && !is_device(name)
}

/// Whether Windows takes a name for a device, in every directory and with every extension.
fn is_device(name: &str) -> bool {
    const DEVICES: &[&str] = &["con", "prn", "aux", "nul", "conin$", "conout$"];
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_lowercase();
    let number = stem.strip_prefix("com").or_else(|| stem.strip_prefix("lpt"));
    let one =
        |text: &str| text.chars().count() == 1 && text.contains(|c| "0123456789¹²³".contains(c));
    DEVICES.contains(&stem.as_str()) || number.is_some_and(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workdir_follows_dockers_table() {
        let table = [
            ("", "a", "C:\\a"),
            ("", "c:\\foo", "C:\\foo"),
            ("", "\\foo", "C:\\foo"),
            ("", "/foo", "C:\\foo"),
            ("C:\\foo", "bar", "C:\\foo\\bar"),
            ("C:\\foo", "\\bar", "C:\\bar"),
            ("C:\\foo", "c:/bar", "C:\\bar"),
            ("C:\\foo", "..\\x", "C:\\x"),
            ("C:\\foo", "..\\..\\..\\x", "C:\\x"),
            ("", "C:\\", "C:\\"),
            ("", "a/b/./c//d/", "C:\\a\\b\\c\\d"),
            ("", "Programme für Ä", "C:\\Programme für Ä"),
        ];
        for (current, requested, expected) in table {
            assert_eq!(workdir(current, requested).unwrap(), expected, "{current} + {requested}");
        }
    }

    #[test]
    fn drives_without_directory_and_other_drives_are_refused() {
        for path in ["C:", "c:."] {
            let error = workdir("", path).unwrap_err().to_string();
            assert!(error.contains(". is not a directory. If you are specifying a drive letter, "));
        }
        assert_eq!(workdir("", ""), Err(PathError::Empty));
        assert!(matches!(workdir("", "d:\\x"), Err(PathError::WorkdirOnOtherDrive { .. })));
        assert_eq!(destination("", "D:\\x"), Err(PathError::OtherDrive));
    }

    #[test]
    fn destinations_keep_whether_they_name_a_directory() {
        let table = [
            ("C:\\app", "x.txt", "C:\\app\\x.txt", false),
            ("C:\\app", ".", "C:\\app", true),
            ("C:\\app", "sub/", "C:\\app\\sub", true),
            ("", "c:/x\\", "C:\\x", true),
            ("C:\\app", "/", "C:\\", true),
            ("", "a", "C:\\a", false),
        ];
        for (workdir, requested, path, directory) in table {
            let expected = Destination { path: path.into(), directory };
            assert_eq!(destination(workdir, requested), Ok(expected), "{requested}");
        }
    }

    #[test]
    fn names_that_windows_has_no_files_for_are_known() {
        let bad =
            ["", "a:b", "a?", "a ", "a.", "a\u{1}", "NUL", "con.txt", "Aux.c", "com1", "LPT³.x"];
        for name in bad {
            assert!(!is_name(name), "{name}");
        }
        for name in ["a", ".git", "a b", "console", "com", "com10", "nullable.cs", "x.con", "ä"] {
            assert!(is_name(name), "{name}");
        }
    }

    #[test]
    fn the_root_and_windows_are_no_sources() {
        for path in ["/", "C:\\", "c:/windows", "\\WINDOWS\\", "."] {
            assert!(is_forbidden_source(path), "{path}");
        }
        assert!(!is_forbidden_source("C:\\windows\\system32"));
        assert!(!is_forbidden_source("C:\\app"));
    }
}
