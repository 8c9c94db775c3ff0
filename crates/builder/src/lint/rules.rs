//! The checks: names, which are also what `# check=skip=…` says, and what to do.

/// A check.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Its name.
    pub(crate) name: &'static str,
    /// What to do about a finding.
    pub(crate) advice: &'static str,
    /// Whether it is made only where a file asks for it.
    pub(crate) experimental: bool,
}

const fn rule(name: &'static str, advice: &'static str) -> Rule {
    Rule { name, advice, experimental: false }
}

pub(super) const STAGE_NAME_CASING: Rule =
    rule("StageNameCasing", "write the stage's name in lower case");
pub(super) const FROM_AS_CASING: Rule = rule("FromAsCasing", "write FROM and AS in the same case");
pub(super) const NO_EMPTY_CONTINUATION: Rule = rule(
    "NoEmptyContinuation",
    "remove the empty line, or the escape character at the end of the line before it",
);
pub(super) const CONSISTENT_INSTRUCTION_CASING: Rule =
    rule("ConsistentInstructionCasing", "write all instructions in the same case");
pub(super) const DUPLICATE_STAGE_NAME: Rule =
    rule("DuplicateStageName", "give each stage a name of its own");
pub(super) const RESERVED_STAGE_NAME: Rule =
    rule("ReservedStageName", "give the stage a name other than scratch and context");
pub(super) const JSON_ARGS_RECOMMENDED: Rule = rule(
    "JSONArgsRecommended",
    r#"write a JSON array, as in CMD ["app.exe", "--port", "80"]: a shell passes no Ctrl+C on"#,
);
pub(super) const MAINTAINER_DEPRECATED: Rule =
    rule("MaintainerDeprecated", "write LABEL org.opencontainers.image.authors=\"…\"");
pub(super) const UNDEFINED_ARG_IN_FROM: Rule =
    rule("UndefinedArgInFrom", "declare it with ARG before the first FROM");
pub(super) const WORKDIR_RELATIVE_PATH: Rule =
    rule("WorkdirRelativePath", r"write an absolute path, as in WORKDIR C:\app");
pub(super) const UNDEFINED_VAR: Rule = rule(
    "UndefinedVar",
    "declare it with ARG or ENV in this stage, or give it a default: ${NAME:-default}",
);
pub(super) const MULTIPLE_INSTRUCTIONS_DISALLOWED: Rule =
    rule("MultipleInstructionsDisallowed", "keep the last one and remove this");
pub(super) const LEGACY_KEY_VALUE_FORMAT: Rule =
    rule("LegacyKeyValueFormat", "write NAME=value, in quotes if the value has spaces");
pub(super) const REDUNDANT_TARGET_PLATFORM: Rule =
    rule("RedundantTargetPlatform", "leave --platform out");
pub(super) const SECRETS_USED_IN_ARG_OR_ENV: Rule = rule(
    "SecretsUsedInArgOrEnv",
    "give the value to the one command that needs it, with RUN --mount=type=secret",
);
pub(super) const INVALID_DEFAULT_ARG_IN_FROM: Rule =
    rule("InvalidDefaultArgInFrom", "give the ARG a default with which FROM names an image");
pub(super) const FROM_PLATFORM_FLAG_CONST_DISALLOWED: Rule = rule(
    "FromPlatformFlagConstDisallowed",
    "leave --platform out, write a variable such as $BUILDPLATFORM, or name the platform in the \
     stage's name",
);
pub(super) const COPY_IGNORED_FILE: Rule = rule(
    "CopyIgnoredFile",
    "take the file out of .dockerignore, or add a line with ! in front of it",
);
pub(super) const INVALID_DEFINITION_DESCRIPTION: Rule = Rule {
    experimental: true,
    ..rule(
        "InvalidDefinitionDescription",
        "begin the comment with the name, or put a comment without text after it",
    )
};
pub(super) const EXPOSE_PROTO_CASING: Rule =
    rule("ExposeProtoCasing", "write tcp, udp or sctp in lower case");
pub(super) const EXPOSE_INVALID_FORMAT: Rule =
    rule("ExposeInvalidFormat", "write the port of the container only, and publish it with -p");

// Of Windows.

pub(super) const BACKSLASH_AT_LINE_END: Rule = rule(
    "BackslashAtLineEnd",
    "put # escape=` at the top of the file, or write / at the end of the path",
);
pub(super) const BACKSLASH_IS_ESCAPE: Rule =
    rule("BackslashIsEscape", r"put # escape=` at the top of the file, or write C:/app or C:\\app");
pub(super) const JSON_BACKSLASH: Rule =
    rule("JSONBackslash", r#"write \\ for each backslash in a JSON array: ["C:\\app\\x.exe"]"#);
pub(super) const POWERSHELL_ON_NANO_SERVER: Rule = rule(
    "PowerShellOnNanoServer",
    "do this in a stage from servercore and COPY --from it, or take an image with pwsh",
);
pub(super) const PERCENT_VARIABLE: Rule =
    rule("PercentVariable", "write ${NAME}; %NAME% is for commands of RUN, which cmd reads");
pub(super) const SYSTEM_PATH_REPLACED: Rule = rule(
    "SystemPathReplaced",
    r#"add to the system's path instead: RUN setx /M PATH "%PATH%;C:\tools""#,
);
pub(super) const FORWARD_SLASH_PATH: Rule =
    rule("ForwardSlashPath", r"write backslashes in paths for commands of cmd, as in C:\app");
pub(super) const INSTALLER_ASKS: Rule =
    rule("InstallerAsks", "add /qn, so that nobody needs to answer: msiexec /i x.msi /qn");
pub(super) const UNIX_COMMAND: Rule = rule(
    "UnixCommand",
    "write what cmd has (copy, del, mkdir, rd, type, set), or set SHELL to PowerShell",
);
