//! Where the output of containers goes that do not say.

use std::collections::BTreeMap;

use oriel_api::container::LogConfig;
use oriel_engine::{LogDriver, check_log_options};

use super::{Arguments, directives::Directives};

/// Log driver of containers that name none, and its options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogDefaults {
    pub(crate) driver: LogDriver,
    pub(crate) options: BTreeMap<String, String>,
}

impl LogDefaults {
    /// Lays what a container says over this: its driver, and of the same driver the options it has
    /// not said (moby `daemon/logs.go`, `mergeAndVerifyLogConfig`).
    pub(crate) fn complete(&self, config: &mut LogConfig) {
        let kind = config.kind.get_or_insert_default();
        if kind.is_empty() {
            self.driver.word().clone_into(kind);
        }
        if kind == self.driver.word() {
            let options = config.config.get_or_insert_default();
            for (name, value) in &self.options {
                options.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
    }
}

/// Takes them from the flags and the file.
pub(super) fn logs(file: &mut Directives, arguments: &Arguments) -> LogDefaults {
    let driver = file.text("log-driver", arguments.log_driver.as_ref()).unwrap_or_default();
    let options = options(file, &arguments.log_opts);
    let settled = LogDriver::parse(&driver).and_then(|driver| {
        check_log_options(driver, &options)?;
        Ok(LogDefaults { driver, options })
    });
    settled.unwrap_or_else(|error| {
        file.problem(format!("log-driver, log-opts: {error}"));
        LogDefaults::default()
    })
}

fn options(file: &mut Directives, flags: &[String]) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    for flag in flags {
        match flag.split_once('=') {
            Some((name, value)) => drop(options.insert(name.to_owned(), value.to_owned())),
            None => file.problem(format!("log-opts: {flag:?} is not of the form NAME=VALUE")),
        }
    }
    let Some(value) = file.take("log-opts") else { return options };
    if !flags.is_empty() {
        file.twice("log-opts", &flags.join(" "), &value.to_string());
    }
    serde_json::from_value(value).unwrap_or_else(|_| {
        file.problem("log-opts must be an object of texts".to_owned());
        BTreeMap::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(driver: &str, options: &[(&str, &str)]) -> (String, Vec<String>) {
        let pairs = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let defaults = LogDefaults {
            driver: LogDriver::Local,
            options: pairs(&[("max-size", "1m"), ("max-file", "3")]),
        };
        let mut config = LogConfig { kind: Some(driver.to_owned()), config: Some(pairs(options)) };
        defaults.complete(&mut config);
        let options = config.config.unwrap_or_default();
        let options = options.into_iter().map(|(key, value)| format!("{key}={value}"));
        (config.kind.unwrap_or_default(), options.collect())
    }

    #[test]
    fn what_a_container_says_comes_first() {
        let of = |driver, options| {
            let (kind, options) = completed(driver, options);
            format!("{kind} {}", options.join(" "))
        };
        assert_eq!(of("", &[]), "local max-file=3 max-size=1m");
        assert_eq!(of("local", &[("max-size", "9m")]), "local max-file=3 max-size=9m");
        assert_eq!(of("json-file", &[]), "json-file ");
        assert_eq!(of("none", &[]), "none ");
    }
}
