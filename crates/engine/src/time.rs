//! Points in time, and how Docker writes them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Nanoseconds since the first of January 1970, UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Time(pub i64);

const NANOS: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

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
        format!("{}.{:09}Z", self.date(), self.0.rem_euclid(NANOS))
    }

    /// Reads RFC 3339, with any number of digits and any offset.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        let rest = text.get(19..)?;
        let (fraction, zone) = match rest.strip_prefix('.') {
            Some(rest) => {
                let end = rest.find(|c: char| !c.is_ascii_digit())?;
                (fraction(&rest[..end])?, &rest[end..])
            }
            None => (0, rest),
        };
        let seconds = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
        let offset = zone_offset(zone)?;
        (seconds - offset).checked_mul(NANOS)?.checked_add(fraction).map(Self)
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
        if let Some(span) = span(text) {
            return now.0.checked_sub(span).map(Self);
        }
        let rest = match text.len() {
            10 => "T00:00:00Z",
            16 => ":00Z",
            _ => "Z",
        };
        Self::parse_parameter(text).or_else(|| Self::parse(&format!("{text}{rest}")))
    }

    fn date(self) -> String {
        let seconds = self.seconds();
        let (year, month, day) = civil(seconds.div_euclid(DAY));
        let second = seconds.rem_euclid(DAY);
        format!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
            second / 3600,
            second / 60 % 60,
            second % 60
        )
    }
}

/// RFC 3339 with as many digits as needed: Go's `RFC3339Nano`.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = format!("{:09}", self.0.rem_euclid(NANOS));
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        write!(f, "{}{point}{fraction}Z", self.date())
    }
}

/// Nanoseconds of the digits after a point; further digits than nine are dropped.
fn fraction(digits: &str) -> Option<i64> {
    let nine: String = digits.chars().chain("000000000".chars()).take(9).collect();
    nine.parse().ok()
}

/// Nanoseconds of a span as Go's `time.ParseDuration` reads it; without fractions.
fn span(text: &str) -> Option<i64> {
    const UNITS: [(&str, i64); 7] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("ms", 1_000_000),
        ("s", NANOS),
        ("m", 60 * NANOS),
        ("h", 3600 * NANOS),
    ];
    let (mut rest, mut span) = (text, None);
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == &tail[..end])?;
        let part = number.parse::<i64>().ok()?.checked_mul(*unit)?;
        span = Some(span.unwrap_or(0_i64).checked_add(part)?);
        rest = &tail[end..];
    }
    span
}

fn zone_offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    Some(sign * (hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60))
}

/// Days since 1970 of a date, by Howard Hinnant's `days_from_civil`.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Date of a day since 1970, by Howard Hinnant's `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_go_writes_them() {
        let time = Time(1_795_310_176 * NANOS + 120_000_000);
        assert_eq!(time.to_string(), "2026-11-22T01:16:16.12Z");
        assert_eq!(time.fixed(), "2026-11-22T01:16:16.120000000Z");
        assert_eq!(Time(0).to_string(), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn every_day_of_four_centuries_survives() {
        for day in (-150_000..150_000).step_by(7) {
            let (year, month, of_month) = civil(day);
            assert_eq!(days(year, month, of_month), day);
        }
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
