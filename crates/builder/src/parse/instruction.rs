//! Instructions: their forms, flags and arguments.

use super::{
    DockerfileError, Problem,
    flags::{Flags, leading},
    lines::LogicalLine,
    words::{self, Json, Word},
};

/// An instruction as written; variables are not put in yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Instruction {
    /// `FROM image [AS name]`
    From { image: String, name: Option<String>, platform: Option<String> },
    /// `RUN`
    Run(Command),
    /// `CMD`
    Cmd(Command),
    /// `ENTRYPOINT`
    Entrypoint(Command),
    /// `SHELL`
    Shell(Vec<String>),
    /// `COPY` and `ADD`
    Transfer(Transfer),
    /// `ENV`
    Env(Vec<Pair>),
    /// `LABEL`
    Label(Vec<Pair>),
    /// `ARG`; a value is the default.
    Arg(Vec<(String, Option<String>)>),
    /// `WORKDIR`
    Workdir(String),
    /// `USER`
    User(String),
    /// `EXPOSE`
    Expose(Vec<String>),
    /// `VOLUME`
    Volume(Vec<String>),
    /// `STOPSIGNAL`
    StopSignal(String),
    /// `MAINTAINER`
    Maintainer(String),
    /// `ONBUILD`, with the text of its trigger.
    OnBuild(String),
    /// `HEALTHCHECK`
    Healthcheck(Healthcheck),
}

/// A command in one of its two forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// The text after the keyword, untouched: it becomes part of one Windows command line.
    Shell(String),
    /// A JSON array of arguments.
    Exec(Vec<String>),
}

/// A name with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    /// The name.
    pub(crate) name: String,
    /// The value.
    pub(crate) value: String,
}

/// Which of the two copying instructions it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransferKind {
    /// `COPY`
    Copy,
    /// `ADD`, which unpacks local archives.
    Add,
}

impl TransferKind {
    /// The instruction's name.
    pub(crate) fn keyword(self) -> &'static str {
        match self {
            Self::Copy => "COPY",
            Self::Add => "ADD",
        }
    }
}

/// `COPY` or `ADD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    /// Which of them.
    pub(crate) kind: TransferKind,
    /// What to copy; never empty.
    pub(crate) sources: Vec<String>,
    /// Where to.
    pub(crate) destination: String,
    /// `--from`: a stage or an image.
    pub(crate) from: Option<String>,
    /// `--chown`
    pub(crate) chown: Option<String>,
}

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

/// Names of all instructions.
const KEYWORDS: &[&str] = &[
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Flags that `RUN` has in BuildKit only.
const RUN_BUILDKIT: &[&str] = &["mount", "network", "security", "device"];

/// Flags that `COPY` and `ADD` have in BuildKit only.
const TRANSFER_BUILDKIT: &[&str] =
    &["chmod", "link", "parents", "exclude", "checksum", "keep-git-dir", "unpack"];

/// Reads one logical line.
pub(super) fn read(
    line: &LogicalLine,
    escape: char,
    warnings: &mut Vec<String>,
) -> Result<Instruction, DockerfileError> {
    let end = line.text.find(char::is_whitespace).unwrap_or(line.text.len());
    let written = line.text[..end].to_uppercase();
    let Some(&keyword) = KEYWORDS.iter().find(|known| **known == written) else {
        let suggestion = words::nearest(&written, KEYWORDS);
        return Err(line.error(0, Problem::UnknownInstruction { name: written, suggestion }));
    };
    let start = end + leading(&line.text[end..]);
    let (flags, start) = Flags::take(line, start, escape);
    let rest = Rest { line, keyword, start, escape };
    rest.instruction(&flags, warnings)
}

/// What follows the flags.
struct Rest<'a> {
    line: &'a LogicalLine,
    keyword: &'static str,
    start: usize,
    escape: char,
}

impl Rest<'_> {
    fn instruction(
        &self,
        flags: &Flags<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<Instruction, DockerfileError> {
        match self.keyword {
            "FROM" => flags.check(&["platform"], &[])?,
            "RUN" => flags.check(&[], RUN_BUILDKIT)?,
            "COPY" => flags.check(&["from", "chown"], TRANSFER_BUILDKIT)?,
            "ADD" => flags.check(&["chown"], TRANSFER_BUILDKIT)?,
            "HEALTHCHECK" => flags.check(
                &["interval", "timeout", "start-period", "start-interval", "retries"],
                &[],
            )?,
            _ => flags.check(&[], &[])?,
        }
        match self.keyword {
            "FROM" => self.from(flags),
            "RUN" => {
                self.no_here_document()?;
                self.some()?;
                self.command(warnings).map(Instruction::Run)
            }
            "CMD" => self.command(warnings).map(Instruction::Cmd),
            "ENTRYPOINT" => self.some().and(self.command(warnings)).map(Instruction::Entrypoint),
            "SHELL" => self.shell(),
            "COPY" => self.transfer(TransferKind::Copy, flags),
            "ADD" => self.transfer(TransferKind::Add, flags),
            "ENV" => self.pairs().map(Instruction::Env),
            "LABEL" => self.pairs().map(Instruction::Label),
            "ARG" => self.arguments(),
            "WORKDIR" => self.one().map(Instruction::Workdir),
            "USER" => self.one().map(Instruction::User),
            "EXPOSE" => self.some().map(|()| Instruction::Expose(self.plain())),
            "VOLUME" => self.volume(),
            "STOPSIGNAL" => self.one().map(Instruction::StopSignal),
            "MAINTAINER" => self.one().map(Instruction::Maintainer),
            "ONBUILD" => self.on_build(),
            _ => self.healthcheck(flags, warnings),
        }
    }

    fn text(&self) -> &str {
        &self.line.text[self.start..]
    }

    fn fail<T>(&self, offset: usize, problem: Problem) -> Result<T, DockerfileError> {
        Err(self.line.error(offset, problem))
    }

    fn some(&self) -> Result<(), DockerfileError> {
        if self.text().is_empty() {
            let instruction = self.keyword;
            return self.fail(self.start, Problem::AtLeastOneArgument { instruction });
        }
        Ok(())
    }

    /// The whole text as one argument.
    fn one(&self) -> Result<String, DockerfileError> {
        if self.text().is_empty() {
            let instruction = self.keyword;
            return self.fail(self.start, Problem::ExactlyOneArgument { instruction });
        }
        Ok(self.text().to_owned())
    }

    fn plain(&self) -> Vec<String> {
        words::plain(self.text(), 0).into_iter().map(|word| word.text).collect()
    }

    fn json(&self) -> Result<Json, DockerfileError> {
        words::json(self.text()).map_err(|problem| self.line.error(self.start, problem))
    }

    fn from(&self, flags: &Flags<'_>) -> Result<Instruction, DockerfileError> {
        let words = words::plain(self.text(), self.start);
        let platform = flags.value("platform")?.map(str::to_owned);
        let (image, name) = match words.as_slice() {
            [image] => (image, None),
            [image, keyword, name] if keyword.text.eq_ignore_ascii_case("as") => {
                (image, Some(self.stage_name(name)?))
            }
            [_, wrong, ..] => return self.fail(wrong.offset, Problem::FromArguments),
            [] => return self.fail(self.start, Problem::FromArguments),
        };
        Ok(Instruction::From { image: image.text.clone(), name, platform })
    }

    fn stage_name(&self, word: &Word) -> Result<String, DockerfileError> {
        let name = word.text.to_lowercase();
        let valid = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c));
        if !valid {
            return self.fail(word.offset, Problem::BadStageName { name: word.text.clone() });
        }
        Ok(name)
    }

    fn command(&self, warnings: &mut Vec<String>) -> Result<Command, DockerfileError> {
        match self.json()? {
            Json::Array(arguments) => Ok(Command::Exec(arguments)),
            Json::No => Ok(Command::Shell(self.text().to_owned())),
            Json::Broken(offset) => {
                if self.text().ends_with(']') {
                    warnings.push(self.broken_json(self.start + offset));
                }
                Ok(Command::Shell(self.text().to_owned()))
            }
        }
    }

    fn broken_json(&self, offset: usize) -> String {
        let at = self.line.position(offset);
        format!(
            "[Warning] line {}, column {}: not a JSON array of strings, so {} takes it as a shell \
             command; in JSON a backslash is written \\\\",
            at.line, at.column, self.keyword
        )
    }

    fn shell(&self) -> Result<Instruction, DockerfileError> {
        match self.json()? {
            Json::Array(words) if words.is_empty() => {
                let instruction = self.keyword;
                self.fail(self.start, Problem::AtLeastOneArgument { instruction })
            }
            Json::Array(words) => Ok(Instruction::Shell(words)),
            Json::Broken(offset) => self.fail(self.start + offset, Problem::ShellNotJson),
            Json::No => self.fail(self.start, Problem::ShellNotJson),
        }
    }

    /// A JSON array, or words.
    fn list(&self) -> Result<Vec<String>, DockerfileError> {
        Ok(match self.json()? {
            Json::Array(words) => words,
            _ => self.plain(),
        })
    }

    fn volume(&self) -> Result<Instruction, DockerfileError> {
        self.some()?;
        let volumes = self.list()?;
        if volumes.is_empty() || volumes.iter().any(|volume| volume.trim().is_empty()) {
            let instruction = self.keyword;
            return self.fail(self.start, Problem::AtLeastOneArgument { instruction });
        }
        Ok(Instruction::Volume(volumes))
    }

    fn transfer(
        &self,
        kind: TransferKind,
        flags: &Flags<'_>,
    ) -> Result<Instruction, DockerfileError> {
        self.no_here_document()?;
        self.some()?;
        let mut sources = self.list()?;
        let destination = sources.pop().unwrap_or_default();
        if sources.is_empty() {
            let instruction = self.keyword;
            return self.fail(self.start, Problem::NoDestination { instruction });
        }
        Ok(Instruction::Transfer(Transfer {
            kind,
            sources,
            destination,
            from: flags.value("from")?.map(str::to_owned),
            chown: flags.value("chown")?.map(str::to_owned),
        }))
    }

    /// `name=value …`, or the old form `name everything else`.
    fn pairs(&self) -> Result<Vec<Pair>, DockerfileError> {
        self.some()?;
        let words = words::quoted(self.text(), self.start, self.escape);
        let instruction = self.keyword;
        if words.first().is_some_and(|word| word.text.contains('=')) {
            return words.iter().map(|word| self.pair(word)).collect();
        }
        match self.text().split_once(char::is_whitespace) {
            Some((name, value)) => {
                Ok(vec![Pair { name: name.into(), value: value.trim_start().into() }])
            }
            None => self.fail(self.start, Problem::TwoArguments { instruction }),
        }
    }

    fn pair(&self, word: &Word) -> Result<Pair, DockerfileError> {
        let instruction = self.keyword;
        match word.text.split_once('=') {
            None => self.fail(word.offset, Problem::NoEquals { word: word.text.clone() }),
            Some(("", _)) => self.fail(word.offset, Problem::BlankName { instruction }),
            Some((name, value)) => Ok(Pair { name: name.into(), value: value.into() }),
        }
    }

    fn arguments(&self) -> Result<Instruction, DockerfileError> {
        self.some()?;
        let instruction = self.keyword;
        let words = words::quoted(self.text(), self.start, self.escape);
        let arguments = words.iter().map(|word| match word.text.split_once('=') {
            Some(("", _)) => self.fail(word.offset, Problem::BlankName { instruction }),
            Some((name, value)) => Ok((name.to_owned(), Some(value.to_owned()))),
            None => Ok((word.text.clone(), None)),
        });
        arguments.collect::<Result<_, _>>().map(Instruction::Arg)
    }

    fn on_build(&self) -> Result<Instruction, DockerfileError> {
        self.some()?;
        let word = self.text().split_whitespace().next().unwrap_or_default().to_uppercase();
        if ["ONBUILD", "FROM", "MAINTAINER"].contains(&word.as_str()) {
            return self.fail(self.start, Problem::BadTrigger { instruction: word });
        }
        if !KEYWORDS.contains(&word.as_str()) {
            let suggestion = words::nearest(&word, KEYWORDS);
            return self.fail(self.start, Problem::UnknownInstruction { name: word, suggestion });
        }
        Ok(Instruction::OnBuild(self.text().to_owned()))
    }

    fn healthcheck(
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

    /// Refuses `<<EOF`, `<<-EOF` and `<<"EOF"`.
    fn no_here_document(&self) -> Result<(), DockerfileError> {
        for word in words::plain(self.text(), self.start) {
            let after = word.text.trim_start_matches(|c: char| c.is_ascii_digit());
            let Some(name) = after.strip_prefix("<<") else { continue };
            let name = name.strip_prefix('-').unwrap_or(name).trim_matches(['"', '\'']);
            let named = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
            if named {
                return self.fail(word.offset, Problem::HereDocument { word: word.text });
            }
        }
        Ok(())
    }
}

/// Reads a Go duration such as `1m30s` into nanoseconds.
fn duration(text: &str) -> Result<i64, &'static str> {
    const FORM: &str = "write a duration such as 1m30s";
    const UNITS: &[(&str, f64)] = &[
        ("ns", 1.0),
        ("us", 1e3),
        ("µs", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
        ("m", 60e9),
        ("h", 3600e9),
    ];
    if text == "0" {
        return Ok(0);
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
        Ok(nanoseconds) if nanoseconds >= 1_000_000 => Ok(nanoseconds),
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
