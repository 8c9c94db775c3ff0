//! The words of `-v`: `[source:]target[:mode]`, after moby's `windows_parser.go`, with Linux paths
//! for sources.

/// How the refusal of another drive ends.
pub(crate) const ONLY_DRIVE: &str = "is not on drive C:, which is the only one there is yet";

/// A `-v` in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bind {
    /// Path on the host, named pipe, name of a volume, or nothing.
    pub(crate) source: String,
    /// Path inside, normal, or a named pipe.
    pub(crate) target: String,
    /// `ro`, `rw` or nothing.
    pub(crate) mode: String,
}

/// Whether a word is a mode, in any case.
pub(crate) fn is_mode(word: &str) -> bool {
    word.eq_ignore_ascii_case("ro") || word.eq_ignore_ascii_case("rw")
}

/// Reads a `-v`. The error says what is wrong; it is empty when nothing better can be said.
pub(crate) fn bind(text: &str) -> Result<Bind, String> {
    let (rest, mode) = match text.rsplit_once(':') {
        Some((rest, mode)) if is_mode(mode) => (rest, mode),
        _ => (text, ""),
    };
    // The colon of a drive at the front does not end the source.
    let skip = if begins_with_drive(rest) { 2 } else { 0 };
    let (source, inside) = match rest[skip..].find(':') {
        Some(at) => (&rest[..skip + at], &rest[skip + at + 1..]),
        None => ("", rest),
    };
    if is_pipe(source) || is_pipe(inside) {
        let target = pipe(inside)?;
        if !source.starts_with('/') || is_pipe(source) {
            pipe(source)?;
        }
        if mode.eq_ignore_ascii_case("ro") {
            return Err(String::new());
        }
        return Ok(Bind { source: source.to_owned(), target, mode: mode.to_owned() });
    }
    if source.is_empty() && (inside.len() < rest.len() || !mode.is_empty()) {
        return Err(String::new());
    }
    let absolute = inside.starts_with(['/', '\\']) || begins_with_drive(inside);
    if !absolute {
        return Err(String::new());
    }
    let target = target(inside)?;
    if begins_with_drive(source) || source.starts_with('\\') {
        let words = "invalid mount config for type \"bind\": bind source path does not exist";
        return Err(format!("{words}: {source}"));
    }
    Ok(Bind { source: source.to_owned(), target, mode: mode.to_owned() })
}

/// Makes a path inside normal: a drive, backslashes, no `.` and `..`. `/data` is `C:\data`.
pub(crate) fn target(path: &str) -> Result<String, String> {
    let bad = || format!("invalid mount path: '{path}'");
    let plain = path.replace('/', "\\");
    let plain = plain.strip_prefix(r"\\?\").unwrap_or(&plain);
    let (drive, rest) = match plain.as_bytes() {
        [drive, b':', ..] if drive.is_ascii_alphabetic() => (&plain[..1], &plain[2..]),
        [b'\\', b'\\', ..] => return Err(bad()),
        [b'\\', ..] => ("C", plain),
        _ => return Err(format!("{} mount path must be absolute", bad())),
    };
    if !rest.is_empty() && !rest.starts_with('\\') {
        return Err(bad());
    }
    let mut names: Vec<&str> = Vec::new();
    for name in rest.split('\\') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name if is_name(name) => names.push(name),
            _ => return Err(bad()),
        }
    }
    if !drive.eq_ignore_ascii_case("c") {
        return Err(format!("destination '{path}' {ONLY_DRIVE}"));
    }
    if names.is_empty() {
        let root = if rest.is_empty() { "c:" } else { "c:\\" };
        return Err(format!("destination path ({root}) cannot be 'c:' or 'c:\\'"));
    }
    Ok(format!("C:\\{}", names.join("\\")))
}

/// Whether Windows can have a file of that name.
fn is_name(name: &str) -> bool {
    name.len() <= 255 && !name.chars().any(|c| c < ' ' || "<>\":|?*".contains(c))
}

fn begins_with_drive(text: &str) -> bool {
    match text.as_bytes() {
        [drive, b':'] => drive.is_ascii_alphabetic(),
        [drive, b':', slash, ..] => drive.is_ascii_alphabetic() && b"\\/".contains(slash),
        _ => false,
    }
}

/// Makes the path of a named pipe normal: its beginning in backslashes, and a name.
pub(crate) fn pipe(path: &str) -> Result<String, String> {
    let name = path.get(PIPE.len()..).filter(|_| is_pipe(path));
    let name = name.filter(|name| !name.is_empty() && is_name(name) && !name.contains(['/', '\\']));
    let name = name.filter(|name| !matches!(*name, "." | ".."));
    name.map(|name| format!("{PIPE}{name}"))
        .ok_or_else(|| format!("'{path}' is not a valid pipe path"))
}

/// What the path of a named pipe begins with.
pub(crate) const PIPE: &str = r"\\.\pipe\";

/// Whether a path begins with `\\.\pipe\`, in either kind of slashes.
pub(crate) fn is_pipe(path: &str) -> bool {
    path.replace('/', "\\").to_ascii_lowercase().starts_with(PIPE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String, String) {
        let bind = bind(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        (bind.source, bind.target, bind.mode)
    }

    #[test]
    fn specifications_are_taken_apart() {
        for (text, source, target, mode) in [
            ("/host/dir:C:\\data", "/host/dir", "C:\\data", ""),
            ("/host/dir:c:/data/:ro", "/host/dir", "C:\\data", "ro"),
            ("/host/Dir:C:\\Data:RW", "/host/Dir", "C:\\Data", "RW"),
            ("vol:C:\\v", "vol", "C:\\v", ""),
            ("vol:/v:ro", "vol", "C:\\v", "ro"),
            ("v:C:\\v", "v", "C:\\v", ""),
            ("C:\\v", "", "C:\\v", ""),
            ("c:/v/w", "", "C:\\v\\w", ""),
            ("/v", "", "C:\\v", ""),
            ("//./pipe/a:\\\\.\\PIPE\\b:rw", "//./pipe/a", "\\\\.\\pipe\\b", "rw"),
            ("/run/x.sock:\\\\.\\pipe\\x", "/run/x.sock", "\\\\.\\pipe\\x", ""),
            ("/h:\\\\?\\C:\\a\\.\\b\\..\\c", "/h", "C:\\a\\c", ""),
        ] {
            let expected = (source.to_owned(), target.to_owned(), mode.to_owned());
            assert_eq!(parts(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, words) in [
            ("", ""),
            ("data", ""),
            ("vol:data", ""),
            ("/a:C:\\x:z", "invalid mount path"),
            ("C:\\v:ro", ""),
            (":C:\\v", ""),
            ("/h:C:", "destination path (c:) cannot be 'c:' or 'c:\\'"),
            ("/h:C:\\", "destination path (c:\\) cannot be 'c:' or 'c:\\'"),
            ("/h:/", "destination path (c:\\) cannot be"),
            ("/h:C:\\a\\..", "destination path (c:\\) cannot be"),
            ("/h:D:\\data", "destination 'D:\\data' is not on drive C:"),
            ("/h:C:\\a<b", "invalid mount path: 'C:\\a<b'"),
            ("/h:\\\\server\\share", "invalid mount path"),
            ("C:\\a:C:\\b", "bind source path does not exist: C:\\a"),
            (r"\\.\pipe\x:\\.\pipe\x:ro", ""),
            ("//./pipe/x:C:\\x", "'C:\\x' is not a valid pipe path"),
            (r"vol:\\.\pipe\x", "'vol' is not a valid pipe path"),
            (r"\\.\pipe\x", "'' is not a valid pipe path"),
            (r"\\.\pipe\..:\\.\pipe\x", r"'\\.\pipe\..' is not a valid pipe path"),
            (r"\\.\pipe\a\b:\\.\pipe\x", "is not a valid pipe path"),
        ] {
            let error = bind(text).unwrap_err();
            assert!(
                error.contains(words) && words.is_empty() == error.is_empty(),
                "{text}: {error}"
            );
        }
    }
}
