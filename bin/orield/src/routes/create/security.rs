//! `SecurityOpt`: credentials of a Windows domain, and what Linux' daemons protect with.

use std::path::{Component, Path};

use oriel_engine::EngineError;
use serde_json::Value;

/// Options of Linux' daemons. Whatever they say, a container is confined as all others.
const LINUX: [&str; 5] = ["seccomp", "apparmor", "label", "systempaths", "writable-cgroups"];

/// Longest credential specification; real ones are some hundred bytes.
const LONGEST_SPEC: u64 = 1 << 20;

/// What Docker's daemon on Windows says of a wrong one.
const WRONG_SPEC: &str = "invalid credential spec security option - value must be prefixed by \
                          'file://', 'registry://', or 'raw://' followed by a non-empty value";

/// Checks the options. `strict` knows only those of Windows; `root` is the data root.
pub(super) fn check(
    options: &[String],
    strict: bool,
    root: &Path,
    warnings: &mut Vec<String>,
) -> Result<(), EngineError> {
    for option in options {
        let separated = option.split_once('=').or_else(|| {
            // What Docker's clients wrote before there were equals signs.
            option.split_once(':').filter(|_| !strict)
        });
        let (name, value) = match separated {
            Some(pair) => pair,
            None if option == "no-new-privileges" && !strict => (option.as_str(), "true"),
            None => {
                return Err(EngineError::invalid(format!(
                    "invalid security option: no equals sign in supplied value {option}"
                )));
            }
        };
        match name {
            name if name.eq_ignore_ascii_case("credentialspec") => {
                credentials(value, root)?;
                warnings.push(
                    "Option credentialspec has no effect: this host is in no Windows domain."
                        .to_owned(),
                );
            }
            // No process of a container ever gains privileges.
            "no-new-privileges" if !strict && value == "true" => {}
            "no-new-privileges" if !strict && value == "false" => {
                warnings.push(confined(name));
            }
            name if !strict && LINUX.contains(&name) => warnings.push(confined(name)),
            name => {
                let reason = format!("security option not supported: {name}");
                return Err(EngineError::invalid(reason));
            }
        }
    }
    Ok(())
}

fn confined(name: &str) -> String {
    format!(
        "Security option {name} is not supported for Windows: containers are confined like all \
         others. {name} discarded."
    )
}

/// Checks that there is a specification.
fn credentials(value: &str, root: &Path) -> Result<(), EngineError> {
    let wrong = || EngineError::invalid(WRONG_SPEC);
    let (scheme, value) = value.split_once("://").ok_or_else(wrong)?;
    if value.is_empty() {
        return Err(wrong());
    }
    match scheme.to_ascii_lowercase().as_str() {
        "raw" => json(value),
        "file" => json(&file(value, root)?),
        "registry" => Err(EngineError::invalid(format!(
            "registry-based credential spec \"{value}\" could not be found: this host has no \
             Windows registry"
        ))),
        _ => Err(wrong()),
    }
}

fn json(text: &str) -> Result<(), EngineError> {
    match serde_json::from_str(text) {
        Ok(Value::Object(_)) => Ok(()),
        _ => Err(EngineError::invalid("invalid credential spec: it is no JSON object")),
    }
}

fn file(path: &str, root: &Path) -> Result<String, EngineError> {
    let base = root.join("CredentialSpecs");
    let relative = Path::new(path);
    if relative.is_absolute() || path.contains(':') || path.starts_with('\\') {
        let reason = "invalid credential spec: file:// path cannot be absolute";
        return Err(EngineError::invalid(reason));
    }
    if !relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        let base = base.display();
        let reason = format!("invalid credential spec: file:// path must be under {base}");
        return Err(EngineError::invalid(reason));
    }
    let failed = |error: std::io::Error| {
        EngineError::invalid(format!("failed to load credential spec: {error}"))
    };
    let full = base.join(relative);
    let metadata = fs_err::metadata(&full).map_err(failed)?;
    if !metadata.is_file() || metadata.len() > LONGEST_SPEC {
        let reason =
            format!("failed to load credential spec: {path} is no file of a sensible size");
        return Err(EngineError::invalid(reason));
    }
    fs_err::read_to_string(full).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(option: &str, strict: bool) -> Result<usize, String> {
        let root = tempfile::tempdir().unwrap();
        fs_err::create_dir(root.path().join("CredentialSpecs")).unwrap();
        fs_err::write(root.path().join("CredentialSpecs/a.json"), "{}").unwrap();
        fs_err::write(root.path().join("outside.json"), "{}").unwrap();
        let mut warnings = Vec::new();
        check(&[option.to_owned()], strict, root.path(), &mut warnings)
            .map_err(|error| error.to_string())?;
        Ok(warnings.len())
    }

    #[test]
    fn what_linux_daemons_know_is_accepted_unless_strict() {
        for (option, warnings) in [
            ("no-new-privileges", 0),
            ("no-new-privileges=true", 0),
            ("no-new-privileges:true", 0),
            ("no-new-privileges=false", 1),
            ("seccomp=unconfined", 1),
            ("apparmor:unconfined", 1),
            ("label=disable", 1),
        ] {
            assert_eq!(checked(option, false), Ok(warnings), "{option}");
            let refused = checked(option, true).unwrap_err();
            assert!(refused.contains("security option"), "{refused}");
        }
        assert_eq!(checked("a=b", false).unwrap_err(), "security option not supported: a");
    }

    #[test]
    fn a_credential_specification_must_be_there() {
        for good in ["credentialspec=file://a.json", "credentialspec=raw://{\"A\":1}"] {
            assert_eq!(checked(good, true), Ok(1), "{good}");
        }
        for (option, text) in [
            ("credentialspec", "no equals sign"),
            ("credentialspec=x", "must be prefixed by"),
            ("credentialspec=file://", "must be prefixed by"),
            ("credentialspec=config://x", "must be prefixed by"),
            ("credentialspec=raw://x", "no JSON object"),
            ("credentialspec=file:///etc/passwd", "cannot be absolute"),
            ("credentialspec=file://../outside.json", "must be under"),
            ("credentialspec=file://missing.json", "failed to load credential spec"),
            ("credentialspec=registry://x", "could not be found"),
        ] {
            let error = checked(option, true).unwrap_err();
            assert!(error.contains(text), "{option}: {error}");
        }
    }
}
