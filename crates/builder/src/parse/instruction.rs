//! Instructions: their forms, flags and arguments.

use super::{
    DockerfileError, Problem,
    error::shortened,
    flags::{Flags, leading},
    healthcheck::Healthcheck,
    here::HereDocument,
    lines::LogicalLine,
    mount::MountFlag,
    words::{self, Json, Word},
};

/// An instruction as written; variables are not put in yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Instruction {
    /// `FROM image [AS name]`
    From { image: String, name: Option<String>, platform: Option<String> },
    /// `RUN`
    Run(Run),
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

impl Instruction {
    /// How many variables, arguments, labels, volumes or words with ports it adds to an image.
    pub(crate) fn pairs(&self) -> usize {
        match self {
            Self::Env(pairs) | Self::Label(pairs) => pairs.len(),
            Self::Arg(arguments) => arguments.len(),
            Self::Volume(words) | Self::Expose(words) => words.len(),
            _ => 0,
        }
    }
}

/// A command in one of its two forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// The text after the keyword, untouched: it becomes part of one Windows command line.
    Shell(String),
    /// A JSON array of arguments.
    Exec(Vec<String>),
}

/// `RUN`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// What it runs.
    pub(crate) command: Command,
    /// Texts that the command names, each with the place of its word in the command.
    pub(crate) documents: Vec<(usize, HereDocument)>,
    /// What the command sees besides the image.
    pub(crate) mounts: Vec<MountFlag>,
    /// Whether the command has no network (`--network=none`).
    pub(crate) no_network: bool,
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
    /// What to copy; with the documents never empty.
    pub(crate) sources: Vec<String>,
    /// Texts of the Dockerfile that become files.
    pub(crate) documents: Vec<HereDocument>,
    /// Where to.
    pub(crate) destination: String,
    /// `--from`: a stage or an image.
    pub(crate) from: Option<String>,
    /// `--chown`
    pub(crate) chown: Option<String>,
    /// `--chmod`, which means nothing on Windows.
    pub(crate) chmod: bool,
    /// `--exclude`: patterns of what is left out.
    pub(crate) exclude: Vec<String>,
    /// `--parents`: directories that lead to a source come with it.
    pub(crate) parents: bool,
    /// `--unpack`: whether archives are unpacked; `None` is the instruction's own way.
    pub(crate) unpack: Option<bool>,
    /// `--checksum` of what comes from the web.
    pub(crate) checksum: Option<String>,
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
        let name = shortened(&written);
        return Err(line.error(0, Problem::UnknownInstruction { name, suggestion }));
    };
    let start = end + leading(&line.text[end..]);
    let (flags, start) = Flags::take(line, start, escape);
    let rest = Rest { line, keyword, start, escape };
    rest.instruction(&flags, warnings)
}

/// What follows the flags.
pub(super) struct Rest<'a> {
    pub(super) line: &'a LogicalLine,
    pub(super) keyword: &'static str,
    pub(super) start: usize,
    pub(super) escape: char,
}

impl Rest<'_> {
    fn instruction(
        &self,
        flags: &Flags<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<Instruction, DockerfileError> {
        match self.keyword {
            "FROM" => flags.check(&["platform"], &[])?,
            "RUN" => flags.check(&["network", "security"], &["mount"])?,
            "COPY" => {
                flags.check(&["from", "chown", "chmod", "link", "parents"], &["exclude"])?;
            }
            "ADD" => flags.check(
                &["chown", "chmod", "link", "unpack", "checksum", "keep-git-dir"],
                &["exclude"],
            )?,
            "HEALTHCHECK" => flags.check(
                &["interval", "timeout", "start-period", "start-interval", "retries"],
                &[],
            )?,
            _ => flags.check(&[], &[])?,
        }
        match self.keyword {
            "FROM" => self.from(flags),
            "RUN" => self.run(flags, warnings),
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

    pub(super) fn text(&self) -> &str {
        &self.line.text[self.start..]
    }

    pub(super) fn fail<T>(&self, offset: usize, problem: Problem) -> Result<T, DockerfileError> {
        Err(self.line.error(offset, problem))
    }

    pub(super) fn some(&self) -> Result<(), DockerfileError> {
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
            [_, keyword, _, wrong, ..] if keyword.text.eq_ignore_ascii_case("as") => {
                return self.fail(wrong.offset, Problem::FromArguments);
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
            return self.fail(word.offset, Problem::BadStageName { name: shortened(&word.text) });
        }
        Ok(name)
    }

    pub(super) fn command(&self, warnings: &mut Vec<String>) -> Result<Command, DockerfileError> {
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

    fn run(
        &self,
        flags: &Flags<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<Instruction, DockerfileError> {
        self.some()?;
        let network = |word: &str| match word {
            "default" => Ok(false),
            "none" => Ok(true),
            "host" => Err("the network of the host cannot be had"),
            _ => Err("write default or none"),
        };
        let security = |word: &str| match word {
            "sandbox" => Ok(()),
            _ => Err("only sandbox can be had"),
        };
        flags.parsed("security", security)?;
        let documents = self.line.documents.iter();
        Ok(Instruction::Run(Run {
            command: self.command(warnings)?,
            documents: documents.map(|(at, text)| (at - self.start, text.clone())).collect(),
            mounts: flags.each("mount", MountFlag::parse)?,
            no_network: flags.parsed("network", network)?.unwrap_or_default(),
        }))
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
            Json::Broken(offset) => self.fail(self.start + offset, self.shell_not_json()),
            Json::No => self.fail(self.start, self.shell_not_json()),
        }
    }

    fn shell_not_json(&self) -> Problem {
        Problem::ShellNotJson { written: shortened(self.text()) }
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
        if volumes.is_empty() {
            let instruction = self.keyword;
            return self.fail(self.start, Problem::AtLeastOneArgument { instruction });
        }
        let volumes: Vec<_> = volumes.iter().map(|volume| volume.trim().to_owned()).collect();
        if volumes.iter().any(String::is_empty) {
            return self.fail(self.start, Problem::EmptyVolume);
        }
        Ok(Instruction::Volume(volumes))
    }

    fn transfer(
        &self,
        kind: TransferKind,
        flags: &Flags<'_>,
    ) -> Result<Instruction, DockerfileError> {
        self.some()?;
        let instruction = self.keyword;
        let documents: Vec<_> = self.line.documents.iter().map(|(_, text)| text.clone()).collect();
        let (mut sources, last) = self.paths()?;
        if let Some((at, _)) = self.line.documents.last().filter(|(at, _)| *at > last) {
            return self.fail(*at, Problem::DocumentAsDestination { instruction });
        }
        let destination = sources.pop().unwrap_or_default();
        if sources.is_empty() && documents.is_empty() {
            return self.fail(self.start, Problem::NoDestination { instruction });
        }
        // Copies of files are no different whether their layer leans on the ones below or not, and
        // Git repositories are refused.
        flags.switch("link")?;
        flags.switch("keep-git-dir")?;
        Ok(Instruction::Transfer(Transfer {
            kind,
            sources,
            documents,
            destination,
            from: flags.value("from")?.map(str::to_owned),
            chown: flags.value("chown")?.map(str::to_owned),
            chmod: flags.value("chmod")?.is_some(),
            exclude: flags.each("exclude", |pattern| Ok::<_, String>(pattern.trim().to_owned()))?,
            parents: flags.switch("parents")?,
            unpack: flags.is_set("unpack").then(|| flags.switch("unpack")).transpose()?,
            checksum: flags.value("checksum")?.map(str::to_owned),
        }))
    }

    /// The paths of `COPY` or `ADD`, without the words of documents, and where the last stands.
    fn paths(&self) -> Result<(Vec<String>, usize), DockerfileError> {
        if self.line.documents.is_empty() {
            return Ok((self.list()?, self.start));
        }
        let mut text = self.text().to_owned();
        for (at, document) in &self.line.documents {
            let start = at - self.start;
            let blank = " ".repeat(document.word.len());
            text.replace_range(start..start + blank.len(), &blank);
        }
        let words = words::plain(&text, self.start);
        let last = words.last().map_or(self.start, |word| word.offset);
        Ok((words.into_iter().map(|word| word.text).collect(), last))
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
            None => self.fail(word.offset, Problem::NoEquals { word: shortened(&word.text) }),
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
        if word == "ONBUILD" {
            return self.fail(self.start, Problem::ChainedTrigger);
        }
        if ["FROM", "MAINTAINER"].contains(&word.as_str()) {
            return self.fail(self.start, Problem::BadTrigger { instruction: word });
        }
        if !KEYWORDS.contains(&word.as_str()) {
            let suggestion = words::nearest(&word, KEYWORDS);
            let name = shortened(&word);
            return self.fail(self.start, Problem::UnknownInstruction { name, suggestion });
        }
        let mut trigger = self.text().to_owned();
        for (_, document) in &self.line.documents {
            trigger.push_str(&format!("\n{}{}", document.text, document.name));
        }
        Ok(Instruction::OnBuild(trigger))
    }
}
