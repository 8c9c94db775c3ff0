//! Times as image configurations write them.

use std::time::SystemTime;

use jiff::Timestamp;
use oriel_wclayer::FileTime;

/// `time` as Windows counts it.
pub(crate) fn file_time(time: SystemTime) -> FileTime {
    let after = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    FileTime::from_unix(i64::try_from(after.as_secs()).unwrap_or(i64::MAX), after.subsec_nanos())
}

/// Writes `time` as RFC 3339 in UTC, with nanoseconds only where there are some, as Go does.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    Timestamp::try_from(time).unwrap_or_default().to_string()
}

/// Reads an RFC 3339 time; `None` when it is not one, or lies before 1970.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    let time: Timestamp = text.parse().ok()?;
    (time >= Timestamp::UNIX_EPOCH).then(|| time.into())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{parse_rfc3339, rfc3339};

    fn at(seconds: u64, nanoseconds: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds)
    }

    #[test]
    fn times_are_written_as_go_writes_them() {
        assert_eq!(rfc3339(at(0, 0)), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(at(951_827_696, 500_000_000)), "2000-02-29T12:34:56.5Z");
        assert_eq!(rfc3339(at(1_700_000_000, 1)), "2023-11-14T22:13:20.000000001Z");
    }

    #[test]
    fn what_is_written_is_read_back() {
        for day in (0..40_000).step_by(13) {
            let time = at(day * 86_400 + 3_723, 120_000_000);
            assert_eq!(parse_rfc3339(&rfc3339(time)), Some(time));
        }
    }

    #[test]
    fn zones_are_applied_and_nonsense_is_refused() {
        assert_eq!(parse_rfc3339("1970-01-01T01:00:00+01:00"), Some(at(0, 0)));
        assert_eq!(parse_rfc3339("1969-12-31T23:30:00.25-00:30"), Some(at(0, 250_000_000)));
        for text in
            ["", "1970", "1970-01-01T00:00:00", "1970-01-01T00:00:00.Z+", "0001-01-01T00:00:00Z"]
        {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }
}
