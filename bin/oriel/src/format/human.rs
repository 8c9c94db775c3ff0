//! Numbers, times and ids as people read and write them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::{Timestamp, tz::TimeZone};

/// Bytes in decimal units, as Docker shows them.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: &[&str] = &["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes}B");
    }
    // Tenths, so that whole numbers do.
    let mut tenths = bytes / 100;
    for unit in UNITS {
        if tenths < 10_000 || unit == &"PB" {
            return format!("{}.{}{unit}", tenths / 10, tenths % 10);
        }
        tenths /= 1000;
    }
    String::new()
}

/// The first 12 digits of an id.
pub(crate) fn short(id: &str) -> String {
    id.trim_start_matches("sha256:").chars().take(12).collect()
}

/// How long ago a time in seconds since 1970 was, roughly.
pub(crate) fn ago(now: i64, then: i64) -> String {
    const UNITS: &[(i64, &str)] = &[
        (86_400 * 365, "year"),
        (86_400 * 30, "month"),
        (86_400 * 7, "week"),
        (86_400, "day"),
        (3_600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let seconds = (now - then).max(0);
    match UNITS.iter().find(|(unit, _)| seconds >= *unit) {
        None => "just now".to_owned(),
        Some((unit, name)) => {
            let count = seconds / unit;
            let s = if count == 1 { "" } else { "s" };
            format!("{count} {name}{s} ago")
        }
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    i64::try_from(clock().as_secs()).unwrap_or(i64::MAX)
}

/// A time in seconds since 1970 as listings name it, such as `2026-01-02 03:04:05 +0000 UTC`.
pub(crate) fn moment(seconds: i64) -> String {
    let Ok(time) = Timestamp::from_second(seconds) else { return seconds.to_string() };
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
}

/// A moment for `--since` and `--until`: a time, Unix seconds, or how long ago (`10m`). The daemon
/// reads all of these but the last, which is by this machine's clock.
pub(crate) fn since(text: &str, now: Duration) -> String {
    match parse_duration(text) {
        Ok(ago) if text.ends_with(|c: char| c.is_ascii_alphabetic()) => {
            let then = now.saturating_sub(ago);
            format!("{}.{:09}", then.as_secs(), then.subsec_nanos())
        }
        _ => text.to_owned(),
    }
}

/// Time since 1970.
pub(crate) fn clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Cuts a text to `room` characters, the last of them `…` if something is missing.
pub(crate) fn clip(text: &str, room: usize) -> String {
    match text.chars().count() <= room {
        true => text.to_owned(),
        false => text.chars().take(room - 1).chain(['…']).collect(),
    }
}

/// Bytes in binary units, as Docker's `stats` shows memory.
pub(crate) fn binary_size(bytes: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes, 0);
    while value >= 1024.0 && unit + 1 < units.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    let text = format!("{value:.3}");
    // Four digits that matter.
    let text: String = text.chars().take(5).collect();
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", units[unit])
}

/// Bytes, such as `512m` or `1.5GB`; units are binary, as with Docker.
///
/// # Errors
/// When it is no size.
pub(crate) fn parse_bytes(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?} is no size; write for example 512m or 2g");
    let lower = text.trim().to_ascii_lowercase();
    let end = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(end);
    let unit = unit.trim().trim_end_matches('b').trim_end_matches('i');
    let power = ["", "k", "m", "g", "t", "p"].iter().position(|known| *known == unit);
    let factor = (0..power.ok_or_else(wrong)?).fold(1_i64, |factor, _| factor * 1024);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let whole: i64 = whole.parse().map_err(|_| wrong())?;
    let bytes = whole.checked_mul(factor).ok_or_else(wrong)?;
    let part: String = part.chars().take(6).collect();
    if part.is_empty() {
        return Ok(bytes);
    }
    let scale = 10_i64.pow(u32::try_from(part.len()).map_err(|_| wrong())?);
    let part: i64 = part.parse().map_err(|_| wrong())?;
    Ok(bytes
        + i64::try_from(i128::from(part) * i128::from(factor) / i128::from(scale))
            .map_err(|_| wrong())?)
}

/// A duration as Go writes it: `1m30s`, `500ms`, `0`.
///
/// # Errors
/// When it is none.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    const UNITS: &[(&str, f64)] = &[
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let wrong = || format!("{text:?} is no duration; write for example 30s or 1m30s");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let digit = |c: char| c.is_ascii_digit() || c == '.';
        let end = rest.find(|c| !digit(c)).ok_or_else(wrong)?;
        let number: f64 = rest[..end].parse().map_err(|_| wrong())?;
        rest = &rest[end..];
        let end = rest.find(digit).unwrap_or(rest.len());
        let unit = UNITS.iter().find(|(name, _)| *name == &rest[..end]).ok_or_else(wrong)?;
        seconds += number * unit.1;
        rest = &rest[end..];
    }
    match text.is_empty() {
        true => Err(wrong()),
        false => Duration::try_from_secs_f64(seconds).map_err(|_| wrong()),
    }
}

/// Nanoseconds of a duration, as the API has them.
///
/// # Errors
/// As [`parse_duration`].
pub(crate) fn parse_nanoseconds(text: &str) -> Result<i64, String> {
    let duration = parse_duration(text)?;
    i64::try_from(duration.as_nanos()).map_err(|_| format!("{text:?} is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_read_as_people_say_them() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1_500, "1.5kB"),
            (250_000_000, "250.0MB"),
            (999_999, "999.9kB"),
            (2_340_000_000, "2.3GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(ago(100, 100), "just now");
        assert_eq!(ago(100, 99), "1 second ago");
        assert_eq!(ago(1_000_000, 0), "1 week ago");
        assert_eq!(ago(7_200, 0), "2 hours ago");
    }

    #[test]
    fn sizes_and_durations_are_written_as_for_docker() {
        for (text, bytes) in [
            ("0", 0),
            ("512m", 512 << 20),
            ("1.5g", 3 << 29),
            ("2GiB", 2 << 30),
            ("10KB", 10 << 10),
            ("7b", 7),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for bad in ["", "m", "-1", "1x", "99999999999g", "1.2.3m"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_nanoseconds("1.5ms"), Ok(1_500_000));
        for bad in ["", "5", "s", "1y", "1e400s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_ago_are_by_this_clock_and_others_are_left() {
        let now = Duration::from_millis(1_000_500);
        assert_eq!(since("10m", now), "400.500000000");
        assert_eq!(since("0s", now), "1000.500000000");
        assert_eq!(since("1700000000", now), "1700000000");
        assert_eq!(since("2026-01-02T03:04:05Z", now), "2026-01-02T03:04:05Z");
    }

    #[test]
    fn memory_has_four_digits() {
        assert_eq!(binary_size(0.0), "0B");
        assert_eq!(binary_size(1536.0), "1.5KiB");
        assert_eq!(binary_size(3_000_000_000.0), "2.794GiB");
    }
}
