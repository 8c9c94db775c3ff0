//! What can be wrong with a Dockerfile, and where.

use std::fmt;

use crate::expand::ExpandError;

/// A place in a Dockerfile. Both count from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// Something wrong with a Dockerfile.
///
/// The first line of its text is Docker's, which scripts look for. The lines after it, when the
/// place is known, name line and column and show the line.
#[derive(Debug, PartialEq, Eq)]
pub struct DockerfileError {
    /// What is wrong.
    pub problem: Problem,
    /// Where; `None` when it is about the file as a whole.
    pub position: Option<Position>,
    /// What is shown of the file.
    shown: Box<Shown>,
}

/// What an error shows of the file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shown {
    /// The line at the error's place.
    excerpt: String,
    /// Characters that the excerpt leaves out in front.
    cut: usize,
    /// The file's name; empty when it is not known.
    file: String,
}

/// Longest excerpt shown, in characters: a terminal line.
const MAX_EXCERPT: usize = 120;

/// Longest word of the file that an error repeats, in characters.
const MAX_QUOTED: usize = 200;

impl DockerfileError {
    /// An error at a place whose line reads `excerpt`.
    pub(crate) fn new(problem: Problem, position: Position, excerpt: &str) -> Self {
        // Of a line that no terminal shows, what is around the place.
        let cut = match position.column.checked_sub(MAX_EXCERPT) {
            Some(0) | None => 0,
            Some(_) => position.column - MAX_EXCERPT / 2,
        };
        let excerpt = excerpt.chars().skip(cut).take(MAX_EXCERPT).collect();
        let shown = Box::new(Shown { excerpt, cut, file: String::new() });
        Self { problem, position: Some(position), shown }
    }

    /// An error about the file as a whole.
    pub(crate) fn whole(problem: Problem) -> Self {
        Self { problem, position: None, shown: Box::default() }
    }

    /// The same error, in a file of this name.
    pub(crate) fn named(mut self, file: &str) -> Self {
        file.clone_into(&mut self.shown.file);
        self
    }
}

/// A word of the file as an error repeats it.
pub(crate) fn shortened(word: &str) -> String {
    match word.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("{}…", &word[..end]),
        None => word.to_owned(),
    }
}

impl std::error::Error for DockerfileError {}

impl fmt::Display for DockerfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Position { line, column }) = self.position else {
            return write!(f, "{}", self.problem);
        };
        let Shown { excerpt, cut, file } = &*self.shown;
        let gutter = " ".repeat(line.to_string().len());
        let indent: String = excerpt
            .chars()
            .take(column.saturating_sub(cut + 1))
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let file = if file.is_empty() { "" } else { &format!("{file}, ") };
        write!(f, "dockerfile parse error on line {line}: {}", self.problem)?;
        write!(f, "\n{gutter}--> {file}line {line}, column {column}")?;
        write!(f, "\n{gutter} |\n{line} | {excerpt}\n{gutter} | {indent}^")
    }
}

/// What is wrong with a Dockerfile. Texts are Docker's where Docker has one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file has no bytes.
    #[error("the Dockerfile ({name}) cannot be empty")]
    EmptyFile {
        /// Its name.
        name: String,
    },
    /// The file is not text.
    #[error("the Dockerfile is not UTF-8 text; save it as UTF-8")]
    NotUtf8,
    /// The file has a zero byte.
    #[error("the Dockerfile holds a zero byte; save it as UTF-8 text")]
    ZeroByte,
    /// More instructions than allowed.
    #[error("the Dockerfile has more than {limit} instructions")]
    TooManyInstructions {
        /// The bound.
        limit: usize,
    },
    /// More variables, labels, volumes and ports than allowed.
    #[error("the Dockerfile has more than {limit} variables, labels, volumes and ports")]
    TooManyPairs {
        /// The bound.
        limit: usize,
    },
    /// A `check` directive that does not parse.
    #[error("invalid check option {option:?}")]
    BadCheck {
        /// What was written.
        option: String,
    },
    /// `ADD` of a Git repository.
    #[error(
        "{url} is a Git repository, which ADD does not fetch; RUN git clone, or ADD the address of \
         an archive with --unpack=true"
    )]
    GitSource {
        /// The source.
        url: String,
    },
    /// `ADD --checksum` with what is none.
    #[error("invalid checksum {checksum:?}: write sha256: and 64 hexadecimal digits")]
    BadChecksum {
        /// What was written.
        checksum: String,
    },
    /// `ADD --checksum` with several sources. The text is Docker's.
    #[error("checksum can't be specified for multiple sources")]
    ChecksumOfMany,
    /// `ADD --checksum` with a source that is not of the web. The text is Docker's.
    #[error("checksum requires HTTP(S) sources")]
    ChecksumOfLocal,
    /// The file has comments only.
    #[error("file with no instructions")]
    NoInstructions,
    /// A directive stands twice.
    #[error("only one {name} parser directive can be used")]
    RepeatedDirective {
        /// The directive.
        name: String,
    },
    /// The escape directive names a character that cannot be one.
    #[error("invalid escape token '{value}' does not match ` or \\")]
    BadEscape {
        /// What it names.
        value: String,
    },
    /// No instruction has this name.
    #[error("unknown instruction: {name}{}", did_you_mean(.suggestion.as_deref()))]
    UnknownInstruction {
        /// The name, in capitals.
        name: String,
        /// A known one that is nearly the same.
        suggestion: Option<String>,
    },
    /// The instruction has no flag of this name.
    #[error("unknown flag: --{name}{}", did_you_mean(.suggestion.as_deref()))]
    UnknownFlag {
        /// The flag's name.
        name: String,
        /// A known one that is nearly the same.
        suggestion: Option<String>,
    },
    /// A flag stands twice.
    #[error("duplicate flag specified: {name}")]
    RepeatedFlag {
        /// The flag's name.
        name: String,
    },
    /// A flag has no value.
    #[error("missing a value on flag: {name}")]
    FlagWithoutValue {
        /// The flag's name.
        name: String,
    },
    /// A here-document that does not end.
    #[error("unterminated heredoc: its name does not stand on a line of its own")]
    OpenDocument,
    /// A here-document that a command is to read, in a shell that cannot do that.
    #[error(
        "{word} gives a command its input, which of Windows' shells only cmd can; COPY the text \
         into a file and have the command read that"
    )]
    DocumentAsInput {
        /// The word that stands for the document.
        word: String,
    },
    /// An instruction with no argument.
    #[error("{instruction} requires at least one argument")]
    AtLeastOneArgument {
        /// The instruction.
        instruction: &'static str,
    },
    /// An instruction with none or several arguments.
    #[error("{instruction} requires exactly one argument")]
    ExactlyOneArgument {
        /// The instruction.
        instruction: &'static str,
    },
    /// `COPY` or `ADD` with one argument.
    #[error(
        "{instruction} requires at least two arguments, but only one was provided. Destination \
         could not be determined"
    )]
    NoDestination {
        /// The instruction.
        instruction: &'static str,
    },
    /// `FROM` with a wrong number of words, or a second one that is not `AS`.
    #[error("FROM requires either one or three arguments")]
    FromArguments,
    /// A stage name that cannot be one.
    #[error(
        "invalid name for build stage: {name:?}, name can't start with a number or contain symbols"
    )]
    BadStageName {
        /// The name.
        name: String,
    },
    /// Two stages of one name.
    #[error("duplicate name {name}")]
    RepeatedStageName {
        /// The name.
        name: String,
    },
    /// An instruction before the first `FROM`.
    #[error("no build stage in current context")]
    NoStage,
    /// `ENV name` or `LABEL name`.
    #[error("{instruction} must have two arguments")]
    TwoArguments {
        /// The instruction.
        instruction: &'static str,
    },
    /// A word without an equals sign among words with one.
    #[error("Syntax error - can't find = in {word:?}. Must be of the form: name=value")]
    NoEquals {
        /// The word.
        word: String,
    },
    /// `ENV =value` and its like.
    #[error("{instruction} names can not be blank")]
    BlankName {
        /// The instruction.
        instruction: &'static str,
    },
    /// A JSON array with something other than strings in it.
    #[error("when using JSON array syntax, arrays must be comprised of strings only")]
    NotStrings,
    /// `SHELL` without a JSON array.
    #[error("SHELL requires the arguments to be in JSON form{}", single_backslash(.written))]
    ShellNotJson {
        /// What was written instead.
        written: String,
    },
    /// `VOLUME ""`.
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
    /// A here-document where `COPY` is to write.
    #[error("{instruction} cannot accept a heredoc as a destination")]
    DocumentAsDestination {
        /// The instruction.
        instruction: &'static str,
    },
    /// `ONBUILD ONBUILD`.
    #[error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")]
    ChainedTrigger,
    /// An instruction that `ONBUILD` cannot hold.
    #[error("{instruction} isn't allowed as an ONBUILD trigger")]
    BadTrigger {
        /// The instruction.
        instruction: String,
    },
    /// A `HEALTHCHECK` of an unknown kind.
    #[error("Unknown type {kind:?} in HEALTHCHECK (try CMD)")]
    UnknownHealthcheck {
        /// The word after `HEALTHCHECK`.
        kind: String,
    },
    /// `HEALTHCHECK NONE` with something after it.
    #[error("HEALTHCHECK NONE takes no arguments")]
    HealthcheckNone,
    /// `HEALTHCHECK CMD` with nothing after it.
    #[error("Missing command after HEALTHCHECK CMD")]
    HealthcheckWithoutCommand,
    /// A flag's value that does not parse.
    #[error("invalid value {value:?} for flag --{name}: {reason}")]
    BadFlagValue {
        /// The flag's name.
        name: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: Box<str>,
    },
    /// `EXPOSE` of more ports than there are.
    #[error("EXPOSE names more than {limit} ports")]
    TooManyPorts {
        /// The bound.
        limit: usize,
    },
    /// A port that does not parse.
    #[error("invalid containerPort: {port}")]
    BadPort {
        /// What was written.
        port: String,
    },
    /// A secret or an agent that a step cannot do without.
    #[error(
        "{name} is required and not there: give it with --secret id={name},src=FILE, which needs \
         BuildKit's client (docker buildx build)"
    )]
    NoSecret {
        /// Its id.
        name: String,
    },
    /// A secret that is no secret any more.
    #[error("secret {name} is longer than {limit} bytes")]
    LongSecret {
        /// Its id.
        name: String,
        /// Most bytes.
        limit: usize,
    },
    /// Variables that cannot be put in.
    #[error("failed to process {word:?}: {problem}")]
    Expansion {
        /// The word.
        word: String,
        /// What is wrong with it.
        problem: ExpandError,
    },
    /// A stage that is not there, or not there yet.
    #[error("invalid from flag value {value}: no earlier stage and no image of that name")]
    UnknownStage {
        /// The flag's value.
        value: String,
    },
    /// `--from=$STAGE`. The text is Docker's.
    #[error(
        "variable expansion is not supported for --from, define a new stage with FROM using ARG \
         from global scope as a workaround: {value}"
    )]
    VariableStage {
        /// The flag's value.
        value: String,
    },
    /// A step that takes from its own stage. The text is Docker's.
    #[error("circular dependency detected on stage: {name}")]
    CircularStage {
        /// The stage, as the step names it.
        name: String,
    },
    /// A step that takes from a stage after its own.
    #[error("invalid from flag value {name}: stage {name} comes after this one")]
    LaterStage {
        /// The stage, as the step names it.
        name: String,
    },
    /// `target` names no stage.
    #[error("target stage {target:?} could not be found")]
    UnknownTarget {
        /// The name asked for.
        target: String,
    },
    /// `FROM` whose image name is empty once variables are put in.
    #[error("base name ({written}) should not be blank")]
    BlankBase {
        /// What was written.
        written: String,
    },
    /// `FROM scratch`, which no Windows builder knows.
    #[error("Windows does not support FROM scratch")]
    FromScratch,
    /// A platform other than Windows.
    #[error("unsupported platform {platform:?}: Oriel builds windows/amd64 images")]
    BadPlatform {
        /// The platform asked for.
        platform: String,
    },
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map(|name| format!(" (did you mean {name}?)")).unwrap_or_default()
}

/// Docker's hint for who writes `SHELL ["C:\x.exe"]`.
fn single_backslash(written: &str) -> String {
    let path = written.match_indices(":\\").any(|(at, _)| {
        let mut before = written[..at].chars().rev();
        before.next().is_some_and(|c| c.is_ascii_alphabetic()) && before.next() == Some('"')
    });
    if !path || written.contains(r"\\") || !written.contains(']') {
        return String::new();
    }
    format!(
        ". It looks like '{written}' includes a file path without an escaped back-slash. JSON \
         requires back-slashes to be escaped such as [\"c:\\\\path\\\\to\\\\file.exe\", \
         \"/parameter\"]"
    )
}
