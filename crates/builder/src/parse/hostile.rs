//! Dockerfiles that mean harm: each with its error and place, in bounded time and memory.

use super::{MAX_DOCKERFILE_BYTES, parse};
use crate::{BuildRequest, plan::Plan};

/// The error of a file, whether it is found when it is read or when it is planned.
fn failure(text: &str) -> String {
    let error = match parse("Dockerfile", text.as_bytes()) {
        Ok(file) => Plan::new(file, &BuildRequest::default()).unwrap_err(),
        Err(error) => error,
    };
    let text = error.to_string();
    assert!(text.len() < 2000, "{} bytes of error", text.len());
    text
}

/// As many as a quarter of the longest file can hold: enough to tell what takes more time than its
/// length.
fn repeated(text: &str) -> String {
    text.repeat(usize::try_from(MAX_DOCKERFILE_BYTES / 4).unwrap() / text.len())
}

#[test]
fn many_of_anything_are_too_many() {
    let table = [
        (format!("FROM a\n{}", "RUN x\n".repeat(100_000)), "more than 10000 instructions", "10001"),
        (format!("FROM a\nENV {}", repeated("a=b ")), "more than 4096 variables", "2"),
        (format!("FROM a\nARG {}", repeated("a ")), "more than 4096 variables", "2"),
        (format!("FROM a\n{}", "LABEL a=b\n".repeat(5000)), "more than 4096 variables", "4098"),
        (format!("FROM a\nVOLUME {}", repeated("C:/a ")), "volumes and ports", "2"),
        (format!("FROM a\nEXPOSE {}", repeated("1-65535 ")), "volumes and ports", "2"),
        (repeated("FROM a AS b\n"), "more than 10000 instructions", "10001"),
    ];
    for (text, expected, line) in table {
        let error = failure(&text);
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(&format!("Dockerfile, line {line}, column 1")), "{error}");
    }
}

#[test]
fn gigantic_lines_and_words_are_shown_where_they_are_wrong() {
    let long = repeated("x");
    let text = failure(&format!("FROM a\n{long}"));
    assert!(text.contains("unknown instruction: XXXX") && text.contains("line 2, column 1"));
    let text = failure(&format!("FROM a\nCOPY --{long} a b"));
    assert!(text.contains("unknown flag: --xxxx") && text.contains("line 2, column 6"), "{text}");
    let text = failure(&format!("FROM a\nENV a=b {long}"));
    assert!(text.contains("can't find = in \"xxxx") && text.contains("line 2, column 9"), "{text}");
    let text = failure(&format!("FROM a AS {long}/"));
    assert!(text.contains("invalid name for build stage") && text.contains("column 11"), "{text}");
    let text = failure(&format!("FROM a\nRUN [\"{long}\", 1]"));
    assert!(text.contains("arrays must be comprised of strings only"), "{text}");
    let text = failure(&format!("FROM a\nENV {}=b {}c", "a".repeat(3000), "=".repeat(10)));
    assert!(text.contains("ENV names can not be blank"), "{text}");
    assert!(text.contains("line 2, column 3008"), "{text}");
    let caret = text.lines().last().unwrap().find('^').unwrap();
    let shown = text.lines().nth_back(1).unwrap();
    assert_eq!(&shown[caret..], "==========c", "{text}");
}

#[test]
fn continued_lines_are_bounded_by_the_file() {
    let file = parse("Dockerfile", format!("FROM a\nRUN {}x", repeated("y \\\n")).as_bytes());
    assert_eq!(file.unwrap().statements.len(), 2);
    let file = parse("Dockerfile", format!("FROM a \\\n{}", repeated("#\n")).as_bytes());
    assert_eq!(file.unwrap().statements.len(), 1);
    let file = parse("Dockerfile", format!("{}FROM a", repeated("# c\n")).as_bytes());
    assert_eq!(file.unwrap().statements.len(), 1);
}

#[test]
fn expansions_do_not_explode() {
    let mut doubling = "ARG a=xxxxxxxxxxxxxxxx\n".to_owned();
    for _ in 0..40 {
        doubling += "ARG a=$a$a\n";
    }
    let table = [
        (doubling + "FROM $a", "the result is longer than 65536 bytes"),
        (format!("FROM {}x{}", "${u:-".repeat(5000), "}".repeat(5000)), "more than 32 deep"),
        (format!("FROM {}", "$u".repeat(30_000)), "too many substitutions"),
        (format!("FROM {}", "x".repeat(100_000)), "the result is longer than 65536 bytes"),
    ];
    for (text, expected) in table {
        let error = failure(&text);
        assert!(error.contains(expected) && error.contains("line "), "{error}");
    }
}

#[test]
fn a_stage_takes_from_stages_before_it_only() {
    let table = [
        ("FROM a AS b\nCOPY --from=1 x y\n", "invalid from flag value 1", "line 2"),
        ("FROM a AS b\nCOPY --from=0 x y\n", "circular dependency detected on stage: 0", "line 2"),
        ("FROM a AS b\nCOPY --from=b x y\n", "circular dependency detected on stage: b", "line 2"),
        (
            "FROM a AS b\nRUN --mount=from=c,target=C:/x y\nFROM a AS c",
            "comes after this one",
            "line 2",
        ),
        (
            "FROM c AS b\nFROM b AS c\nCOPY --from=d x y\nFROM c AS d",
            "comes after this one",
            "line 3",
        ),
        ("FROM a\nCOPY --from=$X x y", "variable expansion is not supported for --from", "line 2"),
    ];
    for (text, expected, place) in table {
        let error = failure(text);
        assert!(error.contains(expected) && error.contains(place), "{text}: {error}");
    }
}

#[test]
fn control_characters_and_other_encodings_are_told_apart() {
    let table: &[(&[u8], &str, &str)] = &[
        (b"FROM a\nRUN \0x", "holds a zero byte", "line 2, column 5"),
        (b"F\0R\0O\0M\0 \0a\0", "holds a zero byte", "line 1, column 2"),
        (b"\xff\xfeF\0R\0O\0M\0", "is not UTF-8 text", "line 1, column 1"),
        (b"FROM a\nLABEL a=\xe4\n", "is not UTF-8 text", "line 2, column 9"),
        (b"FROM a\nRUN a\x1b[2Jb\nNOPE", "unknown instruction: NOPE", "line 3, column 1"),
    ];
    for (bytes, expected, place) in table {
        let error = parse("Dockerfile", bytes).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains(place), "{error}");
    }
}

#[test]
fn many_documents_and_flags_take_no_more_time_than_their_length() {
    let documents = "RUN ".to_owned() + &"<<a ".repeat(20_000) + "\n" + &"a\n".repeat(20_000);
    let file = parse("Dockerfile", format!("FROM a\n{documents}").as_bytes()).unwrap();
    assert_eq!(file.statements.len(), 2);
    let error = failure(&format!("FROM a\nCOPY {} a b", "--link ".repeat(20_000)));
    assert!(error.contains("duplicate flag specified: link"), "{error}");
    let mounts = "--mount=type=tmpfs,target=C:/x ".repeat(20_000);
    assert!(parse("Dockerfile", format!("FROM a\nRUN {mounts} x").as_bytes()).is_ok());
}
