//! `SOURCE_DATE_EPOCH`: the build argument that asks for an image that depends on nothing but what
//! goes in (<https://reproducible-builds.org/specs/source-date-epoch/>).

use std::time::{Duration, SystemTime};

use crate::{BuildError, BuildRequest};

/// The argument. It needs no `ARG`.
pub(crate) const NAME: &str = "SOURCE_DATE_EPOCH";

/// The last second of the year 9999, which is the last one that RFC 3339 writes.
const LAST: u64 = 253_402_300_799;

/// The time that the images of a build have, and the latest of their files; `None` when the
/// request says nothing of it.
pub(crate) fn of(request: &BuildRequest) -> Result<Option<SystemTime>, BuildError> {
    let Some(text) = request.build_args.get(NAME).and_then(Option::as_ref) else { return Ok(None) };
    if text.is_empty() {
        return Ok(None);
    }
    let seconds = text.parse().ok().filter(|seconds| *seconds <= LAST);
    let seconds = seconds.ok_or_else(|| BuildError::BadEpoch { value: text.clone() })?;
    Ok(Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_seconds_are_a_time() {
        let epoch = |text: &str| {
            let build_args = [(NAME.to_owned(), Some(text.to_owned()))].into();
            of(&BuildRequest { build_args, ..BuildRequest::default() })
        };
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(epoch("1700000000").unwrap(), Some(at(1_700_000_000)));
        assert_eq!((epoch("0").unwrap(), epoch("").unwrap()), (Some(at(0)), None));
        for text in ["-1", "1.5", "now", "253402300800", "99999999999999999999"] {
            let error = epoch(text).unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }
}
