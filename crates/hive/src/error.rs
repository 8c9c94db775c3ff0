//! Why a hive cannot be read, written or edited.

/// The on-disk structure an error speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    /// The first 4096 bytes of a hive.
    BaseBlock,
    /// A hive bin, the unit in which a hive grows.
    Bin,
    /// A cell, whatever it holds.
    Cell,
    /// A key (`nk`).
    Key,
    /// A list of subkeys (`li`, `lf`, `lh`, `ri`).
    SubkeyList,
    /// A list of values.
    ValueList,
    /// A value (`vk`).
    Value,
    /// The data of a value.
    Data,
    /// A big data record (`db`).
    BigData,
    /// A security descriptor (`sk`).
    Security,
    /// The class name of a key.
    Class,
}

impl std::fmt::Display for Structure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::BaseBlock => "base block",
            Self::Bin => "hive bin",
            Self::Cell => "cell",
            Self::Key => "key",
            Self::SubkeyList => "subkey list",
            Self::ValueList => "value list",
            Self::Value => "value",
            Self::Data => "value data",
            Self::BigData => "big data record",
            Self::Security => "security record",
            Self::Class => "class name",
        })
    }
}

/// Why an operation on a hive failed.
///
/// Offsets are those stored in a hive: they count from the first hive bin, 4096 bytes into the
/// file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HiveError {
    /// The bytes do not begin as a hive does.
    #[error("cannot read registry hive: it does not begin with \"regf\"")]
    NotAHive,
    /// The bytes end before the structure does.
    #[error("cannot read registry hive: the {structure} at 0x{offset:x} is cut short")]
    Truncated {
        /// What was being read.
        structure: Structure,
        /// Where it begins.
        offset: u32,
    },
    /// The base block's checksum is wrong.
    #[error("cannot read registry hive: checksum is 0x{stored:08x}, should be 0x{computed:08x}")]
    Checksum {
        /// The sum found.
        stored: u32,
        /// The sum the bytes have.
        computed: u32,
    },
    /// The hive was being written when its machine stopped; [`crate::recover`] applies its logs,
    /// [`crate::read_unclean`] reads it all the same.
    #[error("cannot read registry hive: it is dirty (sequence numbers {primary} and {secondary})")]
    Dirty {
        /// Number set when a write began.
        primary: u32,
        /// Number set when it ended.
        secondary: u32,
    },
    /// The hive is dirty and none of its logs goes on where it stopped; [`crate::read_unclean`]
    /// reads it all the same.
    #[error(
        "cannot recover registry hive: it is dirty (sequence numbers {primary} and {secondary}) \
         and none of {logs} logs fits it"
    )]
    NoLogFits {
        /// Number set when a write began.
        primary: u32,
        /// Number set when it ended.
        secondary: u32,
        /// How many logs there were.
        logs: usize,
    },
    /// The format version or kind of file is none of those this crate reads.
    #[error("cannot read registry hive: format {major}.{minor}, file type {kind} is not supported")]
    Version {
        /// Major version, 1 in every hive known.
        major: u32,
        /// Minor version; 3 to 6 are supported.
        minor: u32,
        /// File type; 0 is a hive, others are logs.
        kind: u32,
    },
    /// A structure lacks its signature.
    #[error("cannot read registry hive: no {structure} at 0x{offset:x}")]
    Signature {
        /// What was expected.
        structure: Structure,
        /// Where it was expected.
        offset: u32,
    },
    /// A reference points outside the hive, between cells or to a free cell.
    #[error("cannot read registry hive: reference to a {structure} at 0x{offset:x} leads nowhere")]
    BadReference {
        /// What was expected.
        structure: Structure,
        /// Where it was expected.
        offset: u32,
    },
    /// Two structures claim the same bytes, as a cycle or a shared subtree would.
    #[error("cannot read registry hive: the {structure} at 0x{offset:x} is used twice")]
    UsedTwice {
        /// What was being read.
        structure: Structure,
        /// Where it begins.
        offset: u32,
    },
    /// A length or count does not fit its structure.
    #[error("cannot read registry hive: the {structure} at 0x{offset:x} has an impossible size")]
    BadSize {
        /// What was being read.
        structure: Structure,
        /// Where it begins.
        offset: u32,
    },
    /// Keys are nested deeper than Windows permits.
    #[error("registry keys are nested deeper than {limit} levels")]
    TooDeep {
        /// The limit, [`crate::MAX_DEPTH`].
        limit: usize,
    },
    /// A name is longer than Windows permits.
    #[error("registry name of {length} characters is too long, the limit is {limit}")]
    NameTooLong {
        /// Length in UTF-16 units.
        length: usize,
        /// The limit, [`crate::MAX_KEY_NAME`] or [`crate::MAX_VALUE_NAME`].
        limit: usize,
    },
    /// A key other than a root has an empty name.
    #[error("a registry key below another has no name")]
    EmptyName,
    /// The tree does not fit a hive: a hive holds less than 2 GiB.
    #[error("registry tree is too large for a hive")]
    TooLarge,
    /// The text is not a registry file of Wine.
    #[error("cannot read Wine registry file: it does not begin with \"WINE REGISTRY Version 2\"")]
    NotWine,
    /// A line of a Wine registry file makes no sense.
    #[error("cannot read Wine registry file: line {line}: {problem}")]
    WineSyntax {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: WineProblem,
    },
}

/// What is wrong with a line of a Wine registry file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WineProblem {
    /// The line begins with none of the marks that lines begin with.
    #[error("unexpected start of line")]
    Start,
    /// A value or option stands before the first key.
    #[error("value outside of any key")]
    Homeless,
    /// A quoted text or a key name does not end.
    #[error("unterminated text")]
    Unterminated,
    /// The data of a value has no known form.
    #[error("malformed value data")]
    Data,
    /// A number is missing or too large.
    #[error("malformed number")]
    Number,
    /// Something follows where the line should end.
    #[error("unexpected text at the end")]
    Trailing,
}
