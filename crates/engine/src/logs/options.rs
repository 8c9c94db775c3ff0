//! Log drivers and their options, in Docker's names and with Docker's refusals.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::attributes::Wanted;
use crate::{EngineError, storage};

/// Where output goes besides attached clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    /// A file of JSON lines.
    #[default]
    JsonFile,
    /// Compact files that are rotated and compressed.
    Local,
    /// Nowhere.
    None,
}

impl LogDriver {
    /// Its name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::JsonFile => "json-file",
            Self::Local => "local",
            Self::None => "none",
        }
    }

    /// Finds a driver by its name; an empty one is the default.
    ///
    /// # Errors
    /// `Invalid`, in Docker's words.
    pub fn parse(name: &str) -> Result<Self, EngineError> {
        match name {
            "" | "json-file" => Ok(Self::JsonFile),
            "local" => Ok(Self::Local),
            "none" => Ok(Self::None),
            other => Err(EngineError::invalid(format!(
                "error looking up logging plugin {other}: plugin \"{other}\" not found"
            ))),
        }
    }
}

/// How a log is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keeping {
    /// Bytes after which a file is full.
    pub(super) max_size: Option<u64>,
    /// Files, with the one that is written.
    pub(super) max_file: u32,
    /// Whether full files are compressed.
    pub(super) compress: bool,
}

/// Checks the options of a driver, as they came from a client or the daemon's configuration.
///
/// # Errors
/// `Invalid`, in Docker's words.
pub fn check_log_options(
    driver: LogDriver,
    options: &BTreeMap<String, String>,
) -> Result<(), EngineError> {
    // Docker lets anything pass for a driver that does nothing.
    if driver == LogDriver::None {
        return Ok(());
    }
    check_mode(options)?;
    Wanted::parse(options)?;
    keeping(driver, options).map(drop)
}

/// Reads how a log is to be kept.
pub(super) fn keeping(
    driver: LogDriver,
    options: &BTreeMap<String, String>,
) -> Result<Keeping, EngineError> {
    let local = driver == LogDriver::Local;
    let mut keeping = match driver {
        LogDriver::Local => Keeping { max_size: Some(20 << 20), max_file: 5, compress: true },
        _ => Keeping { max_size: None, max_file: 1, compress: false },
    };
    for (name, value) in options {
        match name.as_str() {
            "max-size" => keeping.max_size = Some(max_size(value)?),
            "max-file" => keeping.max_file = max_file(value)?,
            "compress" => keeping.compress = truth(value)?,
            "labels" | "labels-regex" | "env" | "env-regex" | "tag" | "mode"
            | "max-buffer-size" => {}
            other if local => {
                let text = format!("unknown log opt '{other}' for log driver local");
                return Err(EngineError::invalid(text));
            }
            other => {
                let text = format!("unknown log opt '{other}' for json-file log driver");
                return Err(EngineError::invalid(text));
            }
        }
    }
    if keeping.compress && (keeping.max_file < 2 || keeping.max_size.is_none()) {
        return Err(EngineError::invalid(if local {
            "compression cannot be enabled when max file count is 1"
        } else {
            "compress cannot be true when max-file is less than 2 or max-size is not set"
        }));
    }
    Ok(keeping)
}

fn check_mode(options: &BTreeMap<String, String>) -> Result<(), EngineError> {
    let mode = options.get("mode").map_or("", String::as_str);
    if !matches!(mode, "" | "blocking" | "non-blocking") {
        return Err(EngineError::invalid(format!("logger: logging mode not supported: {mode}")));
    }
    let Some(size) = options.get("max-buffer-size") else { return Ok(()) };
    if mode != "non-blocking" {
        return Err(EngineError::invalid(
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ));
    }
    match storage::parse_size(size) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(EngineError::invalid(format!("error parsing option max-buffer-size: {error}")))
        }
    }
}

fn max_size(text: &str) -> Result<u64, EngineError> {
    match storage::parse_decimal_size(text) {
        Ok(0) => Err(EngineError::invalid("max-size must be a positive number")),
        Ok(size) => Ok(size),
        Err(error) => {
            Err(EngineError::invalid(format!("invalid value for max-size: {text}: {error}")))
        }
    }
}

fn max_file(text: &str) -> Result<u32, EngineError> {
    match text.parse::<i64>().map(u32::try_from) {
        Ok(Ok(number)) if number > 0 => Ok(number),
        Ok(_) => Err(EngineError::invalid("max-file cannot be less than 1")),
        Err(error) => {
            Err(EngineError::invalid(format!("invalid value for max-file: {text}: {error}")))
        }
    }
}

/// A yes or no as Go's `strconv.ParseBool` reads it.
fn truth(text: &str) -> Result<bool, EngineError> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(EngineError::invalid(format!(
            "invalid boolean value for compress: \"{text}\" is neither true nor false"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(driver: LogDriver, options: &[(&str, &str)]) -> Result<Keeping, String> {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        check_log_options(driver, &options).map_err(|error| error.to_string())?;
        Ok(keeping(driver, &options).unwrap())
    }

    #[test]
    fn a_json_file_grows_unless_told_otherwise() {
        let keeping = of(LogDriver::JsonFile, &[]).unwrap();
        assert_eq!(keeping, Keeping { max_size: None, max_file: 1, compress: false });
        let options = [("max-size", "10k"), ("max-file", "3"), ("compress", "true")];
        let keeping = of(LogDriver::JsonFile, &options).unwrap();
        assert_eq!(keeping, Keeping { max_size: Some(10_000), max_file: 3, compress: true });
    }

    #[test]
    fn a_local_log_is_bounded_as_dockers() {
        let keeping = of(LogDriver::Local, &[("mode", "blocking")]).unwrap();
        assert_eq!(keeping, Keeping { max_size: Some(20 << 20), max_file: 5, compress: true });
        let keeping = of(LogDriver::Local, &[("compress", "0"), ("max-file", "1")]).unwrap();
        assert_eq!((keeping.max_file, keeping.compress), (1, false));
    }

    #[test]
    fn bad_options_are_refused_in_dockers_words() {
        use LogDriver::{JsonFile, Local};
        for (driver, options, text) in [
            (JsonFile, &[("x", "1")][..], "unknown log opt 'x' for json-file log driver"),
            (Local, &[("x", "1")], "unknown log opt 'x' for log driver local"),
            (JsonFile, &[("max-size", "0")], "max-size must be a positive number"),
            (JsonFile, &[("max-size", "-1")], "invalid value for max-size: -1: "),
            (JsonFile, &[("max-file", "0")], "max-file cannot be less than 1"),
            (JsonFile, &[("max-file", "-3")], "max-file cannot be less than 1"),
            (JsonFile, &[("max-file", "x")], "invalid value for max-file: x: "),
            (JsonFile, &[("compress", "yes")], "invalid boolean value for compress"),
            (JsonFile, &[("compress", "1")], "compress cannot be true when max-file is less"),
            (Local, &[("max-file", "1")], "compression cannot be enabled when max file count"),
            (Local, &[("mode", "x")], "logger: logging mode not supported: x"),
            (Local, &[("max-buffer-size", "1m")], "logger: max-buffer-size option is only supp"),
            (JsonFile, &[("labels-regex", "(")], "invalid log opt labels-regex: "),
            (JsonFile, &[("tag", "{{.Nobody}}")], "invalid log opt tag: "),
            (
                Local,
                &[("mode", "non-blocking"), ("max-buffer-size", "x")],
                "error parsing option max-buffer-size: ",
            ),
        ] {
            let error = of(driver, options).unwrap_err();
            assert!(error.starts_with(text), "{options:?}: {error}");
        }
        let any = BTreeMap::from([("x".to_owned(), "1".to_owned())]);
        assert!(check_log_options(LogDriver::None, &any).is_ok());
        let error = LogDriver::parse("loki").unwrap_err().to_string();
        assert_eq!(error, "error looking up logging plugin loki: plugin \"loki\" not found");
    }
}
