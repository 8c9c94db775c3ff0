//! Times as image configurations write them.

use std::time::{Duration, SystemTime};

use oriel_wclayer::FileTime;

const SECONDS_PER_DAY: i64 = 86_400;

/// `time` as Windows counts it.
pub(crate) fn file_time(time: SystemTime) -> FileTime {
    let after = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    FileTime::from_unix(i64::try_from(after.as_secs()).unwrap_or(i64::MAX), after.subsec_nanos())
}

/// Writes `time` as RFC 3339 in UTC, with nanoseconds only where there are some, as Go does.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    let (seconds, nanoseconds) = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => (i64::try_from(after.as_secs()).unwrap_or(i64::MAX), after.subsec_nanos()),
        Err(_) => (0, 0),
    };
    let (year, month, day) = civil(seconds.div_euclid(SECONDS_PER_DAY));
    let rest = seconds.rem_euclid(SECONDS_PER_DAY);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    let fraction = format!(".{nanoseconds:09}");
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Reads an RFC 3339 time; `None` when it is not one, or lies before 1970.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let digits = text.get(range)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let separators = [(4, '-'), (7, '-'), (13, ':'), (16, ':')];
    if !separators.iter().all(|(at, c)| text.get(*at..=*at) == Some(c.encode_utf8(&mut [0; 4]))) {
        return None;
    }
    let days = days(number(0..4)?, number(5..7)?, number(8..10)?);
    let clock = number(11..13)? * 3_600 + number(14..16)? * 60 + number(17..19)?;
    let (fraction, zone) = split_fraction(text.get(19..)?)?;
    let seconds = days * SECONDS_PER_DAY + clock - offset_seconds(zone)?;
    let seconds = u64::try_from(seconds).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, fraction))
}

/// Splits `.123Z` into nanoseconds and the zone.
fn split_fraction(text: &str) -> Option<(u32, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let length = rest.find(|c: char| !c.is_ascii_digit())?;
    let (digits, zone) = rest.split_at(length);
    let digits = format!("{digits:0<9}");
    Some((digits.get(..9)?.parse().ok()?, zone))
}

/// Seconds east of UTC that `Z` or `+01:00` stands for.
fn offset_seconds(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    Some(
        sign * (hours.parse::<u8>().ok().map(i64::from)? * 3_600
            + minutes.parse::<u8>().ok().map(i64::from)? * 60),
    )
}

/// Year, month and day of the day `days` after 1970-01-01, in the proleptic Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Years are counted from March, so that the leap day is the last one; an era is 400 years.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Days from 1970-01-01 to that date.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
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
