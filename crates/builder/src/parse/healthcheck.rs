//! `HEALTHCHECK`.

use super::{
    DockerfileError, Problem,
    flags::{Flags, leading},
    instruction::{Command, Instruction, Rest},
};

/// `HEALTHCHECK`; times in nanoseconds, 0 meaning "inherit".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Healthcheck {
    /// What it runs.
    pub(crate) probe: Probe,
    /// `--interval`
    pub(crate) interval: i64,
    /// `--timeout`
    pub(crate) timeout: i64,
    /// `--start-period`
    pub(crate) start_period: i64,
    /// `--start-interval`
    pub(crate) start_interval: i64,
    /// `--retries`
    pub(crate) retries: i64,
}

/// What a health check runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Nothing: the base image's check is switched off.
    None,
    /// A command.
    Command(Command),
}

impl Rest<'_> {
    pub(super) fn healthcheck(
        &self,
        flags: &Flags<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<Instruction, DockerfileError> {
        self.some()?;
        let text = self.text();
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let kind = text[..end].to_uppercase();
        let start = self.start + end + leading(&text[end..]);
        let rest = Self { start, ..*self };
        let probe = match kind.as_str() {
            "NONE" if rest.text().is_empty() => Probe::None,
            "NONE" => return self.fail(start, Problem::HealthcheckNone),
            "CMD" if rest.text().is_empty() => {
                return self.fail(start, Problem::HealthcheckWithoutCommand);
            }
            "CMD" => Probe::Command(rest.command(warnings)?),
            _ => return self.fail(self.start, Problem::UnknownHealthcheck { kind }),
        };
        let time = |name| Ok(flags.parsed(name, duration)?.unwrap_or(0));
        Ok(Instruction::Healthcheck(Healthcheck {
            probe,
            interval: time("interval")?,
            timeout: time("timeout")?,
            start_period: time("start-period")?,
            start_interval: time("start-interval")?,
            retries: flags.parsed("retries", retries)?.unwrap_or(0),
        }))
    }
}

/// Reads a Go duration such as `1m30s` into nanoseconds.
fn duration(text: &str) -> Result<i64, &'static str> {
    const FORM: &str = "write a duration such as 1m30s";
    const UNITS: &[(&str, f64)] = &[
        ("ns", 1.0),
        ("us", 1e3),
        ("µs", 1e3),
        ("μs", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
        ("m", 60e9),
        ("h", 3600e9),
    ];
    if text == "0" {
        return Ok(0);
    }
    if text.is_empty() {
        return Err(FORM);
    }
    let mut total = 0.0_f64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(FORM)?;
        let number: f64 = rest[..digits].parse().map_err(|_| FORM)?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == &rest[..end]).ok_or(FORM)?;
        total += number * unit;
        rest = &rest[end..];
    }
    let text = format!("{total:.0}");
    match text.parse::<i64>() {
        Ok(nanoseconds @ (0 | 1_000_000..)) => Ok(nanoseconds),
        Ok(_) => Err("cannot be less than 1ms"),
        Err(_) => Err(FORM),
    }
}

fn retries(text: &str) -> Result<i64, &'static str> {
    match text.parse() {
        Ok(count @ 0..=i64::MAX) => Ok(count),
        _ => Err("write a number that is not negative"),
    }
}
