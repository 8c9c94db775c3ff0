//! Windows file times.

/// A FILETIME: units of 100 ns since 1601-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileTime(pub u64);

/// Seconds from 1601-01-01 to 1970-01-01.
const EPOCH_DIFFERENCE: i64 = 11_644_473_600;

/// Units per second.
const PER_SECOND: i64 = 10_000_000;

impl FileTime {
    /// 1970-01-01 UTC.
    pub const UNIX_EPOCH: Self = Self(116_444_736_000_000_000);

    /// The time `seconds` and `nanoseconds` after 1970-01-01; what lies outside the range of a
    /// FILETIME is moved to its nearer end.
    #[must_use]
    pub fn from_unix(seconds: i64, nanoseconds: u32) -> Self {
        let units = seconds
            .saturating_add(EPOCH_DIFFERENCE)
            .saturating_mul(PER_SECOND)
            .saturating_add(i64::from(nanoseconds / 100));
        Self(u64::try_from(units).unwrap_or(0))
    }

    /// Seconds and nanoseconds after 1970-01-01; the seconds may be negative.
    #[must_use]
    pub fn to_unix(self) -> (i64, u32) {
        let units = i64::try_from(self.0).unwrap_or(i64::MAX);
        let seconds = units.div_euclid(PER_SECOND) - EPOCH_DIFFERENCE;
        let nanoseconds = u32::try_from(units.rem_euclid(PER_SECOND) * 100).unwrap_or(0);
        (seconds, nanoseconds)
    }

    /// The text of a PAX time record: trailing zeros of the fraction are left out.
    pub(crate) fn to_pax(self) -> String {
        let (seconds, nanoseconds) = self.to_unix();
        if nanoseconds == 0 {
            return seconds.to_string();
        }
        // A time before 1970 is written as a negative decimal, so the fraction counts downwards.
        let (sign, whole, fraction) = if seconds < 0 {
            ("-", -(seconds + 1), 1_000_000_000 - nanoseconds)
        } else {
            ("", seconds, nanoseconds)
        };
        let text = format!("{sign}{whole}.{fraction:09}");
        text.trim_end_matches('0').to_owned()
    }

    /// Reads a PAX time record; `None` when it is not one.
    ///
    /// BuildKit writes creation times without the leading zeros of the fraction (`%d.%d`), which
    /// cannot be told from a right one: below a second its times are not what they were.
    pub(crate) fn from_pax(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let negative = whole.starts_with('-');
        let seconds: i64 = whole.parse().ok()?;
        let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
        let nanoseconds = digits.fold(0_u32, |sum, digit| sum * 10 + u32::from(digit - b'0'));
        if negative && nanoseconds > 0 {
            return Some(Self::from_unix(seconds.saturating_sub(1), 1_000_000_000 - nanoseconds));
        }
        Some(Self::from_unix(seconds, nanoseconds))
    }
}

#[cfg(test)]
mod tests {
    use super::FileTime;

    #[test]
    fn pax_text_is_as_go_writes_it() {
        for (time, text) in [
            (FileTime(0), "-11644473600"),
            (FileTime::UNIX_EPOCH, "0"),
            (FileTime::from_unix(1_700_000_000, 123_456_700), "1700000000.1234567"),
            (FileTime::from_unix(5, 500_000_000), "5.5"),
            (FileTime::from_unix(-2, 500_000_000), "-1.5"),
        ] {
            assert_eq!(time.to_pax(), text);
            assert_eq!(FileTime::from_pax(text), Some(time), "{text}");
        }
    }

    #[test]
    fn fractions_of_any_length_are_read() {
        assert_eq!(FileTime::from_pax("1.000000099"), Some(FileTime::from_unix(1, 0)));
        assert_eq!(FileTime::from_pax("1.0000001999999"), Some(FileTime::from_unix(1, 100)));
        assert_eq!(FileTime::from_pax("1."), Some(FileTime::from_unix(1, 0)));
    }

    #[test]
    fn nonsense_and_overflow_do_not_panic() {
        for text in ["", ".", "x", "1.x", "1e9", "99999999999999999999"] {
            assert_eq!(FileTime::from_pax(text), None, "{text}");
        }
        assert_eq!(FileTime::from_pax("-9223372036854775808"), Some(FileTime(0)));
        assert!(FileTime::from_pax("9223372036854775807").is_some());
        let _ = FileTime(u64::MAX).to_pax();
    }
}
