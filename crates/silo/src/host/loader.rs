//! Which DLLs a program lacks, as Wine's loader says in the agent's log.
//!
//! ```text
//! 0024:err:module:import_dll Library b.dll (which is needed by L"C:\\a.dll") not found
//! 0024:err:module:import_dll Library a.dll (which is needed by L"C:\\x.exe") not found
//! 0024:err:module:loader_init Importing dlls for L"C:\\x.exe" failed, status c0000135
//! ```
//!
//! Programs load DLLs that may be absent all the time, so only what the last line of a program
//! that did not begin sums up counts. The number in front is the thread's. A program of the guest
//! can write anything to this log, so nothing here is believed beyond being shown.

use std::{collections::BTreeMap, io::Read as _, path::Path};

use fs_err as fs;
use oriel_hcs::MissingLibrary;

/// Most bytes of a log that are read: more than the agent writes.
const MAX_LOG: u64 = 1 << 20;

/// Most DLLs told, and longest name of one in characters.
const MAX_LIBRARIES: usize = 8;
const MAX_NAME: usize = 260;

/// What the last program lacked that could not begin; nothing when the log cannot be read.
pub(super) fn missing(log: &Path) -> Vec<MissingLibrary> {
    let mut bytes = Vec::new();
    let read = fs::File::open(log).and_then(|file| file.take(MAX_LOG).read_to_end(&mut bytes));
    if read.is_err() {
        return Vec::new();
    }
    in_text(&String::from_utf8_lossy(&bytes))
}

fn in_text(log: &str) -> Vec<MissingLibrary> {
    let mut found: BTreeMap<&str, Vec<MissingLibrary>> = BTreeMap::new();
    let mut last = Vec::new();
    for line in log.lines() {
        let Some((thread, said)) = line.split_once(":err:module:") else { continue };
        if let Some(library) = said.strip_prefix("import_dll Library ").and_then(library) {
            found.entry(thread).or_default().push(library);
        } else if said.starts_with("loader_init Importing dlls for ")
            && said.ends_with(" failed, status c0000135")
        {
            last = found.remove(thread).unwrap_or_default();
        }
    }
    first_causes(last)
}

/// Reads `b.dll (which is needed by L"C:\\a.dll") not found`.
fn library(said: &str) -> Option<MissingLibrary> {
    let (name, rest) = said.strip_suffix(" not found")?.split_once(" (which is needed by L\"")?;
    let needed_by = plain(rest.strip_suffix("\")")?);
    Some(MissingLibrary { name: plain(name), needed_by })
}

/// Without the DLLs that were found and could not be used for want of another.
fn first_causes(all: Vec<MissingLibrary>) -> Vec<MissingLibrary> {
    let file_name = |path: &str| path.rsplit('\\').next().unwrap_or(path).to_lowercase();
    let users: Vec<String> = all.iter().map(|library| file_name(&library.needed_by)).collect();
    let causes = all.into_iter().filter(|library| !users.contains(&library.name.to_lowercase()));
    causes.take(MAX_LIBRARIES).collect()
}

/// A string as it was before Wine made it printable (`wine_dbgstr_wn`: `\\`, `\"` and four digits
/// for what is not ASCII), and safe to be shown.
fn plain(quoted: &str) -> String {
    let mut text = String::new();
    let mut rest = quoted.chars();
    while let Some(c) = rest.next() {
        let c = match c {
            '\\' => match rest.next() {
                Some(first) if first.is_ascii_hexdigit() => {
                    let digits: String = [first].into_iter().chain(rest.by_ref().take(3)).collect();
                    let number = u32::from_str_radix(&digits, 16).ok();
                    number.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
                }
                Some(escaped) => escaped,
                None => break,
            },
            c => c,
        };
        text.push(if c.is_control() { char::REPLACEMENT_CHARACTER } else { c });
    }
    text.chars().take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(log: &str) -> Vec<(String, String)> {
        in_text(log).into_iter().map(|library| (library.name, library.needed_by)).collect()
    }

    const LOG: &str = r#"oriel-agent: hello
0010:err:module:import_dll Library optional.dll (which is needed by L"C:\\plugin.dll") not found
0024:err:module:import_dll Library b.dll (which is needed by L"C:\\d\00e9p\\A.dll") not found
0030:err:module:import_dll Library noise.dll (which is needed by L"C:\\y.exe") not found
0024:err:module:import_dll Library a.dll (which is needed by L"C:\\x.exe") not found
0024:err:module:loader_init Importing dlls for L"C:\\x.exe" failed, status c0000135
"#;

    #[test]
    fn the_dll_that_is_missing_is_named_and_not_those_that_need_it() {
        assert_eq!(names(LOG), [("b.dll".into(), r"C:\dép\A.dll".into())]);
    }

    #[test]
    fn a_log_without_a_program_that_did_not_begin_names_nothing() {
        let log = LOG.rsplit_once("0024:err:module:loader_init").unwrap().0;
        assert_eq!(names(log), []);
        assert_eq!(names(&LOG.replace("c0000135", "c000007b")), []);
    }

    #[test]
    fn what_a_guest_writes_is_bounded_and_shows_no_control_characters() {
        let long = "n".repeat(1000);
        let line = |name: &str| {
            let by = "L\"\\001b\\\"";
            format!("1:err:module:import_dll Library {name} (which is needed by {by}) not found\n")
        };
        let end = "1:err:module:loader_init Importing dlls for L\"x\" failed, status c0000135\n";
        let log = format!("{}{}{end}", line(&long), line("\u{1b}[2J").repeat(100));
        let names = names(&log);
        assert_eq!(names.len(), MAX_LIBRARIES);
        assert_eq!(names[0].0.len(), MAX_NAME);
        assert!(names.iter().all(|(name, by)| !format!("{name}{by}").contains('\u{1b}')));
    }
}
