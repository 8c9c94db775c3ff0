//! Points in time, and how Docker writes them.

use std::fmt;
use std::time::SystemTime;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, civil};
use serde::{Deserialize, Serialize};

/// Nanoseconds since the first of January 1970, UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Time(pub i64);

const NANOS: i64 = 1_000_000_000;

/// What Docker writes for a time that has not come.
pub const NEVER: &str = "0001-01-01T00:00:00Z";

impl Time {
    /// Whole seconds since 1970.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(NANOS)
    }

    /// Time from `earlier` to this, nothing when it is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> std::time::Duration {
        std::time::Duration::from_nanos(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// `2026-11-22T01:16:16.000000000Z`: nine digits always, as in the lines of `docker logs -t`.
    #[must_use]
    pub fn fixed(self) -> String {
        format!("{:.9}", self.timestamp())
    }

    /// Reads RFC 3339, with any number of digits and any offset.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::of(text.parse().ok()?)
    }

    /// Reads what clients send for `since` and `until`: seconds since 1970, with a fraction or
    /// without, or RFC 3339.
    #[must_use]
    pub fn parse_parameter(text: &str) -> Option<Self> {
        let (seconds, digits) = text.split_once('.').unwrap_or((text, ""));
        match seconds.parse::<i64>() {
            Ok(seconds) => {
                let fraction = if digits.is_empty() { 0 } else { fraction(digits)? };
                seconds.checked_mul(NANOS)?.checked_add(fraction).map(Self)
            }
            Err(_) => Self::parse(text),
        }
    }

    /// Reads what people write after `until=`: a span such as `24h` or `1h30m` before `now`, what
    /// [`Time::parse_parameter`] reads, or a date with or without a time of day, in UTC.
    #[must_use]
    pub fn parse_moment(text: &str, now: Self) -> Option<Self> {
        if let Ok(span) = text.parse::<SignedDuration>() {
            return now.0.checked_sub(i64::try_from(span.as_nanos()).ok()?).map(Self);
        }
        let date = || text.parse::<civil::DateTime>().ok()?.to_zoned(TimeZone::UTC).ok();
        Self::parse_parameter(text).or_else(|| Self::of(date()?.timestamp()))
    }

    fn timestamp(self) -> Timestamp {
        Timestamp::from_nanosecond(self.0.into()).unwrap_or_default()
    }

    fn of(timestamp: Timestamp) -> Option<Self> {
        i64::try_from(timestamp.as_nanosecond()).ok().map(Self)
    }
}

/// RFC 3339 with as many digits as needed: Go's `RFC3339Nano`.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.timestamp().fmt(f)
    }
}

impl From<SystemTime> for Time {
    /// Times that no `Time` can tell become 1970.
    fn from(time: SystemTime) -> Self {
        Timestamp::try_from(time).ok().and_then(Self::of).unwrap_or_default()
    }
}

/// Nanoseconds of the digits after a point; further digits than nine are dropped.
fn fraction(digits: &str) -> Option<i64> {
    let nine: String = digits.chars().chain("000000000".chars()).take(9).collect();
    nine.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    #[test]
    fn times_are_written_as_go_writes_them() {
        let time = Time(1_795_310_176 * NANOS + 120_000_000);
        assert_eq!(time.to_string(), "2026-11-22T01:16:16.12Z");
        assert_eq!(time.fixed(), "2026-11-22T01:16:16.120000000Z");
        assert_eq!(Time(0).to_string(), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn offsets_and_fractions_are_read() {
        let utc = Time::parse("2026-11-22T01:16:16.5Z").unwrap();
        assert_eq!(Time::parse("2026-11-22T03:16:16.500+02:00"), Some(utc));
        assert_eq!(utc.0 % NANOS, NANOS / 2);
        for text in
            ["", "2026", "2026-11-22T01:16:16", "2026-11-22T01:16:16.5", "ü026-11-22T01:16:16Z"]
        {
            assert_eq!(Time::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_moment_may_be_a_span_ago_or_a_date() {
        let now = Time(10 * 3600 * NANOS);
        for (text, seconds) in [
            ("1h", Some(9 * 3600)),
            ("1h30m", Some(8 * 3600 + 1800)),
            ("500ms", Some(10 * 3600 - 1)),
            ("3", Some(3)),
            ("1970-01-02", Some(DAY)),
            ("1970-01-02T01:00", Some(DAY + 3600)),
            ("1970-01-02T01:00:01", Some(DAY + 3601)),
            ("1970-01-02T01:00:01Z", Some(DAY + 3601)),
            ("", None),
            ("h", None),
            ("1x", None),
            ("soon", None),
            ("9999999999999999999h", None),
        ] {
            assert_eq!(Time::parse_moment(text, now).map(Time::seconds), seconds, "{text}");
        }
    }

    #[test]
    fn parameters_may_be_seconds_with_a_fraction() {
        assert_eq!(Time::parse_parameter("3"), Some(Time(3 * NANOS)));
        assert_eq!(Time::parse_parameter("3.000000007"), Some(Time(3 * NANOS + 7)));
        assert_eq!(Time::parse_parameter("1970-01-01T00:00:03Z"), Some(Time(3 * NANOS)));
        assert_eq!(Time::parse_parameter("soon"), None);
    }
}
