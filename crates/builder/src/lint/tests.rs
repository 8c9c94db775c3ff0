//! Tests of the checks: for each file, what is found and where.

use oriel_ignore::Ignore;

use super::*;
use crate::parse;

fn findings(text: &str, ignore: &str) -> Findings {
    let file = parse::parse("Dockerfile", text.as_bytes()).unwrap();
    check(&file, &Ignore::parse(ignore).unwrap())
}

/// `line Rule` of each finding.
fn found(text: &str) -> Vec<String> {
    let list = findings(text, "").list;
    list.iter().map(|finding| format!("{} {}", finding.position.line, finding.rule)).collect()
}

fn message(text: &str) -> String {
    findings(text, "").list.remove(0).message
}

const NANO: &str = "FROM mcr.microsoft.com/windows/nanoserver:ltsc2022";

#[test]
fn a_clean_file_has_no_findings() {
    let text = "# syntax=docker/dockerfile:1\n# escape=`\nARG TAG=ltsc2022\n\
        FROM mcr.microsoft.com/windows/servercore:${TAG} AS build\n\
        SHELL [\"powershell\", \"-Command\", \"$ErrorActionPreference = 'Stop';\"]\n\
        ARG VERSION=1.2\nENV APP_VERSION=${VERSION} `\n    APP_HOME=C:\\app\n\
        RUN Invoke-WebRequest https://x/$env:APP_VERSION.zip -OutFile a.zip; `\n    del a.zip\n\
        FROM --platform=$BUILDPLATFORM mcr.microsoft.com/windows/nanoserver:${TAG}\n\
        WORKDIR C:\\app\nCOPY --from=build C:\\app .\nEXPOSE 80 443/udp\n\
        ENTRYPOINT [\"C:\\\\app\\\\a.exe\"]\nCMD [\"--x\"]\nUSER ContainerUser\n";
    assert_eq!(found(text), [""; 0]);
}

#[test]
fn buildkits_checks_are_made() {
    let table: &[(&str, &[&str])] = &[
        ("FROM a AS Base", &["1 StageNameCasing"]),
        ("FROM a as base", &["1 FromAsCasing"]),
        ("from a AS base", &["1 FromAsCasing"]),
        ("FROM a\nRUN b \\\n\n c", &["3 NoEmptyContinuation"]),
        ("FROM a\nrun b", &["2 ConsistentInstructionCasing"]),
        ("FROM a\nRun b", &["2 ConsistentInstructionCasing"]),
        ("from a\nrun b\nRUN c", &["3 ConsistentInstructionCasing"]),
        ("FROM a AS b\nFROM c AS b", &["2 DuplicateStageName"]),
        ("FROM a AS scratch", &["1 ReservedStageName"]),
        ("FROM a\nCMD b\nENTRYPOINT c", &["2 JSONArgsRecommended", "3 JSONArgsRecommended"]),
        ("FROM a\nSHELL [\"pwsh\"]\nCMD b", &[]),
        ("FROM a\nMAINTAINER b", &["2 MaintainerDeprecated"]),
        ("ARG TAG=1\nFROM a:${TGA:-2}", &[]),
        ("ARG TAG=1\nFROM a:$TGA", &["2 InvalidDefaultArgInFrom", "2 UndefinedArgInFrom"]),
        ("FROM a\nWORKDIR b\nWORKDIR c", &["2 WorkdirRelativePath"]),
        ("FROM a AS x\nWORKDIR C:/\nFROM x\nWORKDIR b", &[]),
        ("FROM a\nCMD [\"b\"]\nCMD [\"c\"]", &["2 MultipleInstructionsDisallowed"]),
        ("FROM a\nHEALTHCHECK NONE\nHEALTHCHECK NONE", &["2 MultipleInstructionsDisallowed"]),
        ("FROM a\nENV b c\nLABEL d e", &["2 LegacyKeyValueFormat", "3 LegacyKeyValueFormat"]),
        ("FROM a\nENV  b=c d=e\nLABEL \"f g\"=h", &[]),
        ("FROM --platform=$TARGETPLATFORM a", &["1 RedundantTargetPlatform"]),
        ("FROM --platform=windows/amd64 a", &["1 FromPlatformFlagConstDisallowed"]),
        ("FROM --platform=windows/amd64 a AS b-amd64", &[]),
        (
            "FROM a\nARG DB_PASSWORD\nENV API_KEY=x",
            &["2 SecretsUsedInArgOrEnv", "3 SecretsUsedInArgOrEnv"],
        ),
        ("FROM a\nARG PUBLIC_KEY TOKEN_FILE KEYBOARD", &[]),
        ("ARG X\nFROM a:$X", &["2 InvalidDefaultArgInFrom"]),
        ("FROM a\nEXPOSE 80/TCP 8080:80 90", &["2 ExposeInvalidFormat", "2 ExposeProtoCasing"]),
    ];
    for (text, expected) in table {
        assert_eq!(&found(text), expected, "{text}");
    }
}

#[test]
fn variables_are_followed_through_stages() {
    let table: &[(&str, &[&str])] = &[
        ("ENV A=$B", &["2 UndefinedVar"]),
        ("ENV A=${B:-x} C=${D:+y} ${E-z}=1", &[]),
        ("ARG B\nENV A=$b", &[]),
        ("ENV A=1 C=$A", &["2 UndefinedVar"]),
        ("ENV A=1\nLABEL x=$A y='$B' z=\"$B\"", &["3 UndefinedVar"]),
        ("COPY $X .", &["2 UndefinedVar"]),
        ("RUN echo $X", &[]),
        ("LABEL p=$HTTP_PROXY", &[]),
        ("ENV A=1\nFROM other\nENV C=$D", &[]),
    ];
    for (rest, expected) in table {
        assert_eq!(&found(&format!("{NANO}\n{rest}")), expected, "{rest}");
    }
    let stages = format!("{NANO} AS x\nENV A=1\nFROM x\nENV B=$A C=$D\n");
    assert_eq!(found(&stages), ["4 UndefinedVar"]);
    let meant = message(&format!("{NANO}\nENV COLOUR=1\nLABEL x=$COLOR"));
    assert_eq!(meant, "Usage of undefined variable '$COLOR' (did you mean $COLOUR?)");
    let meant = message("ARG TAG=1\nFROM a:x$TGA");
    assert_eq!(meant, "FROM argument 'TGA' is not declared (did you mean TAG?)");
}

#[test]
fn traps_of_windows_are_found() {
    let table: &[(&str, &[&str])] = &[
        ("COPY a C:\\app\\\nRUN b", &["2 BackslashAtLineEnd"]),
        ("RUN dir C:\\\nRUN b", &["2 BackslashAtLineEnd"]),
        ("RUN dir C:\\x \\\n && b", &[]),
        ("WORKDIR C:\\app", &["2 BackslashIsEscape"]),
        ("ENV A=\"C:\\app\" B='C:\\app' C=C:\\\\app", &[]),
        ("RUN [\"C:\\app\\x.exe\"]", &["2 JSONBackslash"]),
        ("ENTRYPOINT [\"C:\\new\\tool.exe\"]", &["2 JSONBackslash"]),
        ("RUN [\"C:\\\\new\\\\tool.exe\"]", &[]),
        ("RUN powershell -Command x", &["2 PowerShellOnNanoServer"]),
        ("SHELL [\"powershell.exe\", \"-Command\"]", &["2 PowerShellOnNanoServer"]),
        ("RUN pwsh -Command x", &[]),
        ("ENV A=%PATH%", &["2 PercentVariable"]),
        ("RUN echo %PATH%", &[]),
        ("LABEL a=100%", &[]),
        ("ENV PATH=\"C:/tools;${PATH}\"", &["2 SystemPathReplaced"]),
        ("ENV PATH=C:/tools;C:/Windows/System32", &[]),
        ("RUN mkdir C:/app & del /q C:\\app", &["2 ForwardSlashPath"]),
        ("RUN C:/app/x.exe & mkdir C:\\app", &[]),
        ("RUN msiexec /i x.msi", &["2 InstallerAsks"]),
        ("RUN msiexec /i x.msi /qn", &[]),
        ("RUN apt-get install x && rm -rf y", &["2 UnixCommand"; 2]),
        ("RUN echo a & rmdir /s /q b", &[]),
    ];
    for (rest, expected) in table {
        assert_eq!(&found(&format!("{NANO}\n{rest}")), expected, "{rest}");
    }
    let told = message("FROM a\nWORKDIR C:\\app");
    assert_eq!(told, r#"\ is the escape character here, so "C:\app" means "C:app""#);
    assert_eq!(found("# escape=`\nFROM a\nWORKDIR C:\\app\nCOPY a C:\\app\\\nRUN b"), [""; 0]);
}

#[test]
fn files_that_are_ignored_cannot_be_copied() {
    let of = |text: &str, ignore: &str| {
        let rules = findings(&format!("FROM a\n{text}"), ignore).rules();
        rules == ["CopyIgnoredFile"]
    };
    assert!(of("COPY bin/x.log C:/", "**/*.log"));
    assert!(of("ADD .\\secret C:/", "secret"));
    assert!(!of("COPY . C:/", "secret"));
    assert!(!of("COPY bin/x.log C:/", "*.log\n!bin"));
    assert!(!of("COPY --from=b secret C:/", "secret"));
    let text = findings("FROM a\nCOPY x C:/", "x").list.remove(0).message;
    assert_eq!(text, "Attempting to Copy file \"x\" that is excluded by .dockerignore");
}

#[test]
fn a_file_chooses_its_checks() {
    let text = "FROM a AS Base\nMAINTAINER b";
    assert_eq!(found(&format!("# check=skip=StageNameCasing\n{text}")), ["3 MaintainerDeprecated"]);
    assert_eq!(found(&format!("# check=skip=all\n{text}")), [""; 0]);
    assert_eq!(found("# check=skip=A, B\nFROM a AS Base"), ["2 StageNameCasing"]);
    let own = "FROM a\n# check=skip=MaintainerDeprecated\nMAINTAINER b";
    assert_eq!(found(own), [""; 0]);
    assert!(findings("# check=skip=all;error=true\nFROM a", "").error);
    assert!(!findings("# check=error=false\nFROM a", "").error);
    let bad = parse::parse("x", b"# check=skp=all\nFROM a").unwrap_err().to_string();
    assert!(bad.contains("invalid check option \"skp=all\"\n"), "{bad}");
    let described = "# check=experimental=all\n# the tag\nARG TAG=1\nFROM a:$TAG";
    assert_eq!(found(described), ["3 InvalidDefinitionDescription"]);
    assert_eq!(
        found("# check=experimental=all\n# TAG of the base\nARG TAG=1\nFROM a:$TAG"),
        [""; 0]
    );
}

#[test]
fn findings_of_hostile_files_are_bounded() {
    let many = "FROM a\n".to_owned() + &"MAINTAINER b\n".repeat(5000);
    assert_eq!(findings(&many, "").list.len(), MAX_FINDINGS);
    let mut stages = String::new();
    for number in 0..3000 {
        stages += &format!("FROM s{number} AS s{}\nENV v{number}=$none\n", number + 1);
    }
    assert!(!findings(&stages, "").rules().contains(&"UndefinedVar"));
}
