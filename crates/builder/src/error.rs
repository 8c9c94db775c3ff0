//! Why builds fail.

use std::{fmt, io};

use oriel_hcs::{Class, ExitMeaning, MissingLibrary, exit_meaning};
use oriel_image::ImageError;
use serde_json::json;

use crate::{DockerfileError, HostError, parse::shortened};

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The Dockerfile is wrong.
    #[error(transparent)]
    Dockerfile(#[from] DockerfileError),
    /// The context is wrong, or the disk refused it.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The image store could not do what the build asked.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The engine could not do what the build asked.
    #[error(transparent)]
    Host(#[from] HostError),
    /// `COPY` or `ADD` could not be done.
    #[error("{keyword} failed: {problem}")]
    Transfer {
        /// The instruction.
        keyword: &'static str,
        /// Why.
        problem: TransferError,
    },
    /// `WORKDIR` names no directory of drive C:.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The context has no Dockerfile of that name. The text is Docker's.
    #[error("Cannot locate specified Dockerfile: {name}")]
    NoDockerfile {
        /// The name asked for.
        name: String,
    },
    /// A line of `.dockerignore` is not a pattern.
    #[error("{file} line {line}: {text:?} is not a pattern")]
    BadIgnore {
        /// The file's name.
        file: String,
        /// Its number, from 1.
        line: usize,
        /// What it says.
        text: String,
    },
    /// Checks found something, and the Dockerfile asks that this fails the build. The text is
    /// Docker's.
    #[error("lint violation found for rules: {}", .rules.join(", "))]
    Checks {
        /// The checks.
        rules: Vec<&'static str>,
    },
    /// The base image is not here and cannot be pulled.
    #[error("{message}")]
    NoBase {
        /// Whose fault it is.
        class: Class,
        /// What was attempted, and why it failed.
        message: String,
    },
    /// The base image is made for another system.
    #[error("image {name} is for {os}, and Oriel builds Windows images only")]
    NotWindows {
        /// The image.
        name: String,
        /// Its system.
        os: String,
    },
    /// A change of a commit or an import that is no instruction for a configuration. The text is
    /// Docker's.
    #[error("{keyword} is not a valid change command")]
    NotAChange {
        /// The instruction, in lower case.
        keyword: String,
    },
    /// A result name with a digest. The text is Docker's.
    #[error("refusing to create a tag with a digest reference")]
    DigestTag,
    /// `SOURCE_DATE_EPOCH` is no time.
    #[error("invalid SOURCE_DATE_EPOCH: {value:?} is no number of seconds since 1970")]
    BadEpoch {
        /// What it is.
        value: String,
    },
    /// A `RUN` command failed. The first line is Docker's.
    #[error(
        "The command '{command}' returned a non-zero code: {code}\n{}",
        explained(*.code, .missing)
    )]
    Command {
        /// Its command line.
        command: String,
        /// Its exit code.
        code: u32,
        /// The DLLs for lack of which a program of it did not begin.
        missing: Vec<MissingLibrary>,
    },
    /// A step failed, at this place.
    #[error("{problem}\n{place}")]
    Step {
        /// Where it stands.
        place: Box<Place>,
        /// Why.
        problem: Box<Self>,
    },
    /// The client has gone away.
    #[error("build cancelled")]
    Cancelled,
    /// A blocking part of the build panicked.
    #[error("a step of the build was lost; this is a defect of Oriel, please report it")]
    Lost,
}

/// A step in the text of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name of the Dockerfile.
    pub file: String,
    /// The line at which the instruction begins, from 1.
    pub line: usize,
    /// That line.
    pub excerpt: String,
    /// The instruction of the base image that stands there in the place of its `FROM`.
    pub trigger: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, excerpt, trigger } = self;
        let gutter = " ".repeat(line.to_string().len());
        write!(f, "{gutter}--> {file}:{line}\n{gutter} |\n{line} | {}", excerpt.trim_end())?;
        match trigger {
            Some(text) => write!(f, "\n{gutter} = ONBUILD of the base image: {}", shortened(text)),
            None => Ok(()),
        }
    }
}

/// What an exit code means, in decimal, in hexadecimal as Windows writes it, and in words.
fn explained(code: u32, missing: &[MissingLibrary]) -> String {
    let number = format!("exit code {code} (0x{code:08X}");
    let Some(ExitMeaning { name, meaning }) = exit_meaning(code) else {
        return format!("{number})");
    };
    let libraries: Vec<_> = missing
        .iter()
        .map(|MissingLibrary { name, needed_by }| format!("{name}, which {needed_by} needs"))
        .collect();
    match libraries.is_empty() {
        true => format!("{number} {name}): {meaning}"),
        false => format!("{number} {name}): {meaning}: {}", libraries.join("; ")),
    }
}

/// Why a build context or an archive could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The archive is damaged, or its source failed.
    #[error("cannot read the archive: {source}")]
    Archive {
        /// What happened.
        source: io::Error,
    },
    /// The disk refused.
    #[error("cannot unpack the archive: {source}")]
    Disk {
        /// What happened, with the path.
        #[from]
        source: io::Error,
    },
    /// A path that leads out of the archive.
    #[error("the archive holds {path:?}, which lies outside of it")]
    Outside {
        /// The path.
        path: String,
    },
    /// A path that leads through a file or a link.
    #[error("the archive holds {path:?} below something that is not a directory")]
    ThroughFile {
        /// The path.
        path: String,
    },
    /// A hard link to something that is not an earlier file.
    #[error("the archive's hard link {path:?} names no file before it: {target:?}")]
    BadHardLink {
        /// The link.
        path: String,
        /// What it names.
        target: String,
    },
    /// Something that Windows containers do not have.
    #[error("the archive holds {path:?}, {what}, which is not supported")]
    Unsupported {
        /// The path.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// A compression that is not read.
    #[error("the archive is compressed with bzip2 or xz; gzip and zstd are supported")]
    Compression,
    /// More entries than allowed.
    #[error("the archive holds more than {limit} entries")]
    TooManyEntries {
        /// The bound.
        limit: usize,
    },
    /// More bytes than allowed.
    #[error("the archive holds more than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: u64,
    },
    /// A path with more components than allowed.
    #[error("the archive holds a path with more than {limit} components")]
    TooDeep {
        /// The bound.
        limit: usize,
    },
    /// An extension header longer than allowed.
    #[error("the archive holds an extension header of more than {limit} bytes")]
    LongName {
        /// The bound.
        limit: u64,
    },
    /// A Dockerfile or `.dockerignore` longer than allowed.
    #[error("{path} is longer than {limit} bytes")]
    FileTooLong {
        /// Its path.
        path: String,
        /// The bound.
        limit: u64,
    },
}

/// Why `COPY` or `ADD` could not be done.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// A source that is not there. The text is Docker's.
    #[error(
        "file not found in build context or excluded by .dockerignore: stat {path}: file does not \
         exist"
    )]
    NotInContext {
        /// The source.
        path: String,
    },
    /// A source that the stage or image does not have. The text is Docker's.
    #[error("stat {path}: file does not exist")]
    NotInImage {
        /// The source.
        path: String,
    },
    /// A pattern that fits nothing. The text is Docker's.
    #[error("no source files were specified")]
    NothingMatches,
    /// A pattern that is not one. The text is Go's.
    #[error("syntax error in pattern")]
    BadPattern,
    /// Several sources and a destination that is no directory. The text is Docker's.
    #[error(
        "When using {keyword} with more than one source file, the destination must be a directory \
         and end with a /"
    )]
    NotADirectory {
        /// The instruction.
        keyword: &'static str,
    },
    /// The destination.
    #[error(transparent)]
    Destination(#[from] PathError),
    /// A name that no file on Windows can have.
    #[error("{name:?} is not a file name on Windows")]
    BadName {
        /// The name.
        name: String,
    },
    /// A source from which Docker on Windows does not copy. The text is Docker's.
    #[error("copy from c:\\ or c:\\windows is not allowed on windows")]
    ForbiddenSource,
    /// Symbolic links that multiply what is copied.
    #[error("symbolic links lead to more than {limit} files")]
    TooManyFiles {
        /// The bound.
        limit: usize,
    },
    /// `COPY https://…`. The text is Docker's.
    #[error("source can't be a URL for COPY: {url}; ADD fetches files of the web")]
    Url {
        /// The source.
        url: String,
    },
    /// A file of the web that neither its address nor its server names. The text is Docker's.
    #[error("cannot determine filename for url: {url}")]
    NoName {
        /// The source.
        url: String,
    },
    /// A file of the web that is longer than allowed, or takes longer.
    #[error("{url} is more than {limit_bytes} bytes, or takes more than {limit_minutes} minutes")]
    TooMuch {
        /// The source.
        url: String,
        /// The bound on its length.
        limit_bytes: u64,
        /// The bound on the time to fetch it.
        limit_minutes: u64,
    },
    /// A file of the web that is not what `--checksum` says.
    #[error("digest mismatch for {url}: it is sha256:{found}, and --checksum says {expected}")]
    Checksum {
        /// The source.
        url: String,
        /// What it is.
        found: String,
        /// What it was to be.
        expected: String,
    },
    /// `--chown` with an account that does not exist.
    #[error("unable to find user {account}: ContainerAdministrator and ContainerUser exist")]
    UnknownAccount {
        /// The account.
        account: String,
    },
    /// An archive for `ADD` that cannot be read, or a file of the context.
    #[error(transparent)]
    Archive(#[from] ContextError),
    /// A file of an image that cannot be read.
    #[error(transparent)]
    Image(ImageError),
}

/// Why a path of a Dockerfile is not one on drive C:. Texts are Docker's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// An empty `WORKDIR`.
    #[error("cannot normalize nothing")]
    Empty,
    /// A drive without a directory.
    #[error(
        "{path} is not a directory. If you are specifying a drive letter, please add a trailing \
         '\\'"
    )]
    DriveOnly {
        /// The path.
        path: String,
    },
    /// A destination on another drive.
    #[error("Windows does not support destinations not on the system drive (C:)")]
    OtherDrive,
    /// A `WORKDIR` on another drive.
    #[error("the working directory {path} is not on the system drive (C:)")]
    WorkdirOnOtherDrive {
        /// The path.
        path: String,
    },
}

impl BuildError {
    /// Whose fault it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Host(error) => error.class,
            Self::Image(error) => error.class(),
            Self::Context(error) => error.class(),
            Self::Transfer { problem: TransferError::Archive(error), .. } => error.class(),
            Self::Transfer { problem: TransferError::Image(error), .. } => error.class(),
            Self::NoBase { class, .. } => *class,
            Self::NotWindows { .. } => Class::Unsupported,
            Self::Dockerfile(_)
            | Self::Transfer { .. }
            | Self::Path(_)
            | Self::NoDockerfile { .. }
            | Self::BadIgnore { .. }
            | Self::Checks { .. }
            | Self::DigestTag
            | Self::BadEpoch { .. }
            | Self::NotAChange { .. }
            | Self::Command { .. } => Class::Invalid,
            Self::Step { problem, .. } => problem.class(),
            Self::Cancelled => Class::Cancelled,
            Self::Lost => Class::Bug,
        }
    }

    /// The same error with its place, unless it tells that already or there is none.
    pub(crate) fn at(self, place: impl FnOnce() -> Place) -> Self {
        match self {
            Self::Dockerfile(error) => Self::Dockerfile(error.named(&place().file)),
            Self::Step { .. } | Self::Cancelled => self,
            problem => Self::Step { place: Box::new(place()), problem: Box::new(problem) },
        }
    }

    /// The error without its place.
    #[must_use]
    pub fn problem(&self) -> &Self {
        match self {
            Self::Step { problem, .. } => problem.problem(),
            problem => problem,
        }
    }

    /// The error as the last line of a build's output:
    /// `{"errorDetail":{"code":3,"message":"…"},"error":"…"}` and a newline.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        let message = self.to_string();
        let detail = match self.problem() {
            Self::Command { code, .. } => json!({ "code": code, "message": message }),
            _ => json!({ "message": message }),
        };
        let mut line = json!({ "errorDetail": detail, "error": message }).to_string().into_bytes();
        line.extend_from_slice(b"\r\n");
        line
    }
}

impl ContextError {
    /// Whose fault it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Disk { .. } => Class::Host,
            Self::Unsupported { .. } | Self::Compression => Class::Unsupported,
            _ => Class::Invalid,
        }
    }
}
