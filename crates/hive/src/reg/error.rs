//! Why Registry Editor text cannot be read or written.

/// Why Registry Editor text cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegError {
    /// The file is too large.
    #[error("cannot read registry file: it is larger than {} MiB", limit >> 20)]
    TooLarge {
        /// The limit in bytes, [`MAX_FILE`](super::MAX_FILE).
        limit: usize,
    },
    /// The first line is not that of a registry file.
    #[error(
        "cannot read registry file: line 1: expected \"Windows Registry Editor Version 5.00\" or \
         \"REGEDIT4\""
    )]
    NotReg,
    /// The bytes are not text.
    #[error("cannot read registry file: line {line}: text is neither UTF-16 nor UTF-8")]
    NotText {
        /// Number of the line, from 1.
        line: usize,
    },
    /// A line makes no sense.
    #[error("cannot read registry file: line {line}: {problem}")]
    Syntax {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: RegProblem,
    },
    /// The key or one of its values has a name that text cannot carry: with a NUL or line break,
    /// or in UTF-8 one that is not valid UTF-16.
    #[error(
        "cannot write `{}` as a registry file: it has a name that such text cannot carry",
        key.escape_debug()
    )]
    Unwritable {
        /// Full name of the key, as far as it is text.
        key: String,
    },
}

/// What is wrong with a line of Registry Editor text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegProblem {
    /// The line begins with none of the marks that lines begin with.
    #[error("unexpected start of line, expected a [key], a \"value\" or a ; comment")]
    Start,
    /// A value stands before the first key, or below a key that is deleted.
    #[error("value outside of any key")]
    Homeless,
    /// The brackets of a key do not end, or hold nothing.
    #[error("malformed [key]")]
    Key,
    /// A quoted text or continued line does not end.
    #[error("unterminated text")]
    Unterminated,
    /// A backslash is followed by something it does not escape.
    #[error("unknown escape, a backslash in quotes is written \\\\")]
    Escape,
    /// The data of a value has no known form.
    #[error("malformed value data")]
    Data,
    /// A number is missing or too large.
    #[error("malformed number")]
    Number,
    /// Something follows where the line should end.
    #[error("unexpected text at the end")]
    Trailing,
    /// The line, or a text that goes over several, is too long.
    #[error("line is too long")]
    LongLine,
    /// A key's or value's name is too long, or one of a key is empty.
    #[error("impossible name of a key or value")]
    Name,
    /// Keys are nested deeper than Windows permits.
    #[error("key is nested too deep")]
    Depth,
    /// The file has too many keys and values.
    #[error("too many keys and values for one file")]
    TooMany,
}
