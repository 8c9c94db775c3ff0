//! Tests of the parser.

use super::*;

fn file(text: &str) -> Dockerfile {
    parse("Dockerfile", text.as_bytes()).unwrap()
}

fn only(text: &str) -> Instruction {
    let mut statements = file(text).statements;
    assert_eq!(statements.len(), 1, "{text}");
    statements.remove(0).instruction
}

fn command(instruction: &Instruction) -> &Command {
    let Instruction::Run(run) = instruction else { panic!("no RUN") };
    &run.command
}

fn failure(text: &str) -> String {
    parse("Dockerfile", text.as_bytes()).unwrap_err().to_string()
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

const HARD: &str = r#"# escape=`
# syntax=docker/dockerfile:1

# a comment
FROM mcr.microsoft.com/windows/nanoserver:ltsc2022 AS Build
SHELL ["powershell", "-Command", "$ErrorActionPreference = 'Stop';"]
WORKDIR C:\app\
RUN Invoke-WebRequest -Uri https://x/y -OutFile c.zip; `
    # inside
    Expand-Archive c.zip C:\tools\ ; `

    Remove-Item c.zip
COPY ["my files\\a.txt", "C:\\my files\\"]
ENV PATH="C:\tools;${PATH}" NAME='a b' X=a` b
LABEL vendor="ACME ` Inc" a=b
HEALTHCHECK --interval=1m30s --retries=3 CMD powershell -Command exit 0
ENTRYPOINT ["C:\\app\\x.exe", "/q"]
CMD serve --port 80
"#;

#[test]
fn an_error_inside_of_a_wide_character_has_a_place() {
    assert!(failure("FROM a\nSHELL [\"\u{760}").contains("line 2"));
}

#[test]
fn a_hard_windows_file_is_read_right() {
    let file = file(HARD);
    assert_eq!(file.escape, '`');
    let instructions: Vec<_> = file.statements.iter().map(|s| &s.instruction).collect();
    let Instruction::From { name, .. } = instructions[0] else { panic!("no FROM") };
    assert_eq!(name.as_deref(), Some("build"));
    assert_eq!(instructions[2], &Instruction::Workdir("C:\\app\\".into()));
    let Command::Shell(run) = command(instructions[3]) else { panic!("no RUN") };
    assert!(run.contains("; ") && run.ends_with("Remove-Item c.zip"), "{run}");
    assert!(!run.contains("inside") && run.contains("C:\\tools\\ ;"), "{run}");
    let Instruction::Transfer(copy) = instructions[4] else { panic!("no COPY") };
    assert_eq!(
        (copy.sources.as_slice(), copy.destination.as_str()),
        (texts(&["my files\\a.txt"]).as_slice(), "C:\\my files\\")
    );
    let Instruction::Env(pairs) = instructions[5] else { panic!("no ENV") };
    let values: Vec<_> = pairs.iter().map(|pair| pair.value.as_str()).collect();
    assert_eq!(values, ["\"C:\\tools;${PATH}\"", "'a b'", "a` b"]);
    let Instruction::Healthcheck(check) = instructions[7] else { panic!("no HEALTHCHECK") };
    assert_eq!((check.interval, check.retries), (90_000_000_000, 3));
    assert_eq!(instructions[9], &Instruction::Cmd(Command::Shell("serve --port 80".into())));
}

#[test]
fn errors_have_dockers_text_and_name_line_and_column() {
    let table = [
        ("FRM x", "line 1: unknown instruction: FRM (did you mean FROM?)", "line 1, column 1"),
        ("FROM a\n  xyzzy q", "line 2: unknown instruction: XYZZY\n", "line 2, column 3"),
        ("FROM", "line 1: FROM requires either one or three arguments", "line 1, column 5"),
        ("FROM a is b", "line 1: FROM requires either one or three", "line 1, column 8"),
        ("FROM a AS 1x", "line 1: invalid name for build stage: \"1x\"", "line 1, column 11"),
        ("FROM a\nRUN", "line 2: RUN requires at least one argument", "line 2, column 4"),
        ("COPY a", "COPY requires at least two arguments, but only one", "line 1, column 6"),
        ("ENV a", "ENV must have two arguments", "line 1, column 5"),
        ("ENV a=b \\\n  c", "can't find = in \"c\". Must be of the form", "line 2, column 3"),
        ("ENV =b", "ENV names can not be blank", "line 1, column 5"),
        ("SHELL cmd", "SHELL requires the arguments to be in JSON form", "line 1, column 7"),
        ("CMD [\"a\", 1]", "arrays must be comprised of strings only", "line 1, column 5"),
        ("COPY --form=x a b", "unknown flag: --form (did you mean from?)", "line 1, column 6"),
        ("COPY --from=a --from=b c d", "duplicate flag specified: from", "line 1, column 15"),
        ("COPY --from a b", "missing a value on flag: from", "line 1, column 6"),
        ("RUN --mount=type=cache x", "flag --mount: target is required", "column 5"),
        ("RUN --network=host x", "the network of the host cannot be had", "column 5"),
        ("RUN --security=insecure x", "only sandbox can be had", "column 5"),
        ("COPY --link=maybe a b", "flag --link: write true or false", "column 6"),
        ("RUN <<EOF\nx\n", "unterminated heredoc", "line 1, column 5"),
        ("FROM a\nCOPY <<A <<B x\na\nA\nb", "unterminated heredoc", "line 2, column 10"),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger", "line 1, column 9"),
        ("HEALTHCHECK FOO", "Unknown type \"FOO\" in HEALTHCHECK (try CMD)", "column 13"),
        ("HEALTHCHECK --timeout=1 CMD x", "invalid value \"1\" for flag", "column 13"),
        ("# escape=x\nFROM a", "invalid escape token 'x'", "line 1, column 1"),
        ("# escape=`\n# escape=`\nFROM a", "only one escape parser directive", "line 2"),
        ("WORKDIR", "WORKDIR requires exactly one argument", "line 1, column 8"),
    ];
    for (text, problem, place) in table {
        let error = failure(text);
        assert!(error.contains(problem) && error.contains(place), "{text}:\n{error}");
        assert!(error.starts_with("dockerfile parse error on line "), "{error}");
    }
}

#[test]
fn the_place_of_an_error_is_shown() {
    let shown = failure("FROM a\n\tCOPY b");
    let expected = "dockerfile parse error on line 2: COPY requires at least two arguments, but \
                    only one was provided. Destination could not be determined\n \
                    --> Dockerfile, line 2, column 7\n  |\n2 | \tCOPY b\n  | \t     ^";
    assert_eq!(shown, expected);
}

#[test]
fn files_without_instructions_are_refused() {
    assert_eq!(failure(""), "the Dockerfile (Dockerfile) cannot be empty");
    assert_eq!(failure("# only\n\n"), "file with no instructions");
    let bad = |text: &[u8]| parse("x", text).unwrap_err().to_string();
    let latin = bad(b"FROM a\nRUN \xff");
    assert!(latin.contains("not UTF-8 text; save it") && latin.contains("x, line 2, column 5"));
    let zero = bad(b"FROM \0");
    assert!(zero.contains("holds a zero byte") && zero.contains("line 1, column 6"), "{zero}");
}

#[test]
fn directives_count_only_at_the_top() {
    assert_eq!(file("# escape=`\nFROM a").escape, '`');
    assert_eq!(file("#ESCAPE = ` \nFROM a").escape, '`');
    assert_eq!(file("\u{feff}# escape=`\nFROM a").escape, '`');
    assert_eq!(file("# comment\n# escape=`\nFROM a").escape, '\\');
    assert_eq!(file("\n# escape=`\nFROM a").escape, '\\');
    assert_eq!(file("# check=skip=all\n# escape=`\nFROM a").escape, '`');
}

#[test]
fn continuation_joins_lines_and_drops_comments() {
    let file = file("RUN a \\  \n# no\n  b \\\n\n c\nRUN d \\\\\nRUN e");
    let texts: Vec<_> = file.statements.iter().map(|s| s.text.as_str()).collect();
    assert_eq!(texts, ["RUN a   b  c", "RUN d \\\\", "RUN e"]);
    assert_eq!(file.warnings.len(), 1);
}

#[test]
fn windows_line_ends_leave_no_trace() {
    let file = file("FROM a\r\nRUN b \\\r\n c\r\n");
    assert_eq!(file.statements[1].text, "RUN b  c");
}

#[test]
fn json_that_does_not_parse_is_shell_form_with_a_warning() {
    let file = file("FROM a\nCMD [\"C:\\app\\x.exe\"]");
    let text = "[\"C:\\app\\x.exe\"]";
    assert_eq!(file.statements[1].instruction, Instruction::Cmd(Command::Shell(text.into())));
    assert!(file.warnings[0].starts_with("[Warning] line 2, column "), "{:?}", file.warnings);
    assert!(matches!(only("CMD [ \"a\" , \"b\" ]"), Instruction::Cmd(Command::Exec(_))));
    assert!(matches!(command(&only("RUN [ -f x ]; y")), Command::Shell(_)));
}

fn documents(instruction: &Instruction) -> Vec<(&str, bool, &str)> {
    let documents: Vec<_> = match instruction {
        Instruction::Run(run) => run.documents.iter().map(|(_, document)| document).collect(),
        Instruction::Transfer(transfer) => transfer.documents.iter().collect(),
        other => panic!("{other:?} has no documents"),
    };
    let parts = documents.into_iter().map(|d| (d.name.as_str(), d.expands, d.text.as_str()));
    parts.collect()
}

#[test]
fn here_documents_are_read_where_they_are_announced() {
    let file = file(
        "FROM a\nCOPY a.txt <<ONE <<-'TWO' C:/x/\n# kept\n$v\r\n\nONE\n\t\tdeep\n\tTWO\nRUN x \\\n \
         && <<EOF\nFROM no\nEOF\nRUN y",
    );
    let instructions: Vec<_> = file.statements.iter().map(|s| &s.instruction).collect();
    assert_eq!(instructions.len(), 4);
    let copied = [("ONE", true, "# kept\n$v\r\n\n"), ("TWO", false, "deep\n")];
    assert_eq!(documents(instructions[1]), copied);
    let Instruction::Transfer(copy) = instructions[1] else { panic!("no COPY") };
    assert_eq!(
        (copy.sources.as_slice(), copy.destination.as_str()),
        (&texts(&["a.txt"])[..], "C:/x/")
    );
    assert_eq!(documents(instructions[2]), [("EOF", true, "FROM no\n")]);
    let Instruction::Run(run) = instructions[2] else { panic!("no RUN") };
    let Command::Shell(command) = &run.command else { panic!("no shell form") };
    assert!(command[run.documents[0].0..].starts_with("<<EOF"), "{command}");
    assert_eq!(file.statements[3].position.line, 13);
}

#[test]
fn words_that_only_look_like_here_documents_are_words() {
    for text in ["RUN x << -", "RUN x <<$1", "CMD <<EOF", "RUN [\"<<EOF\"]", "RUN a<<EOF"] {
        assert_eq!(file(text).statements.len(), 1, "{text}");
    }
}

#[test]
fn a_trigger_keeps_its_here_document() {
    let instruction = only("ONBUILD COPY <<-EOF C:\\x\n\tone\nEOF");
    let Instruction::OnBuild(text) = instruction else { panic!("no ONBUILD") };
    let place = file("FROM a").statements.remove(0);
    let statement = trigger(&text, '\\', &place).unwrap();
    assert_eq!(documents(&statement.instruction), [("EOF", true, "one\n")]);
}

#[test]
fn shell_form_is_kept_verbatim() {
    let text = "RUN   echo \"%PATH%\"  &&  set  X='1'";
    let expected = "echo \"%PATH%\"  &&  set  X='1'";
    assert_eq!(command(&only(text)), &Command::Shell(expected.into()));
}

#[test]
fn old_forms_of_env_and_label_are_read() {
    let pair = |name: &str, value: &str| Pair { name: name.into(), value: value.into() };
    assert_eq!(only("ENV a b c"), Instruction::Env(vec![pair("a", "b c")]));
    let label = Instruction::Label(vec![pair("a", "b"), pair("\"c d\"", "\"e f\"")]);
    assert_eq!(only("LABEL a=b \"c d\"=\"e f\""), label);
}

#[test]
fn a_cut_or_hostile_file_never_panics() {
    for cut in 0..HARD.len() {
        let _ = parse("x", &HARD.as_bytes()[..cut]);
    }
    for text in ["\\", "`", "# escape=\\", "FROM \\", "ENV a=\"", "COPY --", "RUN [", "ARG \\\n"] {
        let _ = parse("x", text.as_bytes());
    }
}
