//! Targets of symbolic links: Windows' view and Linux'.
//!
//! A link in a layer names its target as the container sees it, `C:\Users` or `..\lib`. On disk it
//! is a relative Linux link, so that it means the same wherever the chain is mounted, and `..`
//! never leads above the root of C:.

/// The Linux target of a link in the directory `parents` of C: whose Windows target is `target`.
///
/// Targets on other drives and network shares are kept as they are: they lead nowhere.
pub(crate) fn to_linux(parents: &[String], target: &str) -> String {
    match resolve(parents, target) {
        Some(names) => relative(parents, &names),
        None => target.replace('/', "\\"),
    }
}

/// Names from the root of C: to what a link in the directory `parents` leads to; `None` when that
/// is not on C:.
pub(crate) fn resolve<'a>(parents: &'a [String], target: &'a str) -> Option<Vec<&'a str>> {
    let plain = target.strip_prefix(r"\\?\").or(target.strip_prefix(r"\??\")).unwrap_or(target);
    let (absolute, rest) = match plain.as_bytes() {
        [b'c' | b'C', b':', ..] => (true, &plain[2..]),
        [_, b':', ..] | [b'\\', b'\\', ..] => return None,
        [b'\\' | b'/', ..] => (true, plain),
        _ => (false, plain),
    };
    let mut resolved: Vec<&str> =
        if absolute { Vec::new() } else { parents.iter().map(String::as_str).collect() };
    for component in rest.split(['\\', '/']) {
        match component {
            "" | "." => {}
            ".." => {
                resolved.pop();
            }
            name => resolved.push(name),
        }
    }
    Some(resolved)
}

/// The target that BuildKit meant: its differ puts `Files/` before the targets of symbolic links
/// as it does before names (`util/winlayers/differ.go`).
pub(crate) fn without_prefix(target: &str) -> Option<&str> {
    target.strip_prefix("Files/").or(target.strip_prefix(r"Files\"))
}

/// The path from the directory `from` to `to`.
fn relative(from: &[String], to: &[&str]) -> String {
    let common = from.iter().zip(to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..", from.len() - common);
    let path: Vec<&str> = up.chain(to[common..].iter().copied()).collect();
    if path.is_empty() { ".".to_owned() } else { path.join("/") }
}

/// The Windows target of a link found on disk.
pub(crate) fn to_windows(target: &str) -> String {
    target.replace('/', "\\")
}

#[cfg(test)]
mod tests {
    use super::to_linux;

    #[test]
    fn targets_stay_on_the_drive() {
        let at = |parents: &[&str], target: &str| {
            let parents: Vec<String> = parents.iter().map(|name| (*name).to_owned()).collect();
            to_linux(&parents, target)
        };
        assert_eq!(at(&[], r"C:\Users"), "Users");
        assert_eq!(at(&["a", "b"], r"\??\C:\Users\x"), "../../Users/x");
        assert_eq!(at(&["a", "b"], r"..\c"), "../c");
        assert_eq!(at(&["a"], r"..\..\..\etc\passwd"), "../etc/passwd");
        assert_eq!(at(&["a"], "/etc/passwd"), "../etc/passwd");
        assert_eq!(at(&["a"], r"C:\a"), ".");
        assert_eq!(at(&[], r"\\server\share"), r"\\server\share");
        assert_eq!(at(&[], r"D:\x"), r"D:\x");
    }
}
