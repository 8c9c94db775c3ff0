//! Where a container's output goes.

use std::collections::BTreeMap;

use oriel_api::container::HostConfig;
use oriel_engine::{EngineError, LogDriver, check_log_options};

/// The log driver, with its options.
pub(super) fn log(
    host: &HostConfig,
    warnings: &mut Vec<String>,
) -> Result<(LogDriver, BTreeMap<String, String>), EngineError> {
    let config = host.log_config.clone().unwrap_or_default();
    let driver = LogDriver::parse(config.kind.as_deref().unwrap_or_default())?;
    let options = config.config.unwrap_or_default();
    check_log_options(driver, &options)?;
    if options.get("mode").is_some_and(|mode| mode == "non-blocking") {
        warnings.push(
            "Log option mode=non-blocking has no effect: logs are files of the host, for which no \
             program has to wait."
                .to_owned(),
        );
    }
    Ok((driver, options))
}
