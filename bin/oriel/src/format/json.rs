//! JSON for people: indented, its keys in the order the daemon sent them.

/// Documents as one indented list.
pub(crate) fn list(documents: &[Vec<u8>]) -> String {
    let joined = documents.join(&b","[..]);
    let mut text = indent(&[b"[", joined.as_slice(), b"]"].concat());
    text.push('\n');
    text
}

/// Indents valid JSON by four blanks, as Docker does. Only white space changes.
pub(crate) fn indent(json: &[u8]) -> String {
    let mut out = Vec::with_capacity(json.len() * 2);
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    let mut bytes = json.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if quoted {
            out.push(byte);
            (quoted, escaped) = (escaped || byte != b'"', !escaped && byte == b'\\');
            continue;
        }
        match byte {
            b'"' => {
                quoted = true;
                out.push(byte);
            }
            b'{' | b'[' => {
                out.push(byte);
                while bytes.next_if(u8::is_ascii_whitespace).is_some() {}
                if let Some(end) = bytes.next_if(|next| matches!(next, b'}' | b']')) {
                    out.push(end);
                    continue;
                }
                depth += 1;
                line(&mut out, depth);
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            byte if byte.is_ascii_whitespace() => {}
            byte => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn line(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    out.extend(std::iter::repeat_n(b' ', depth * 4));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_white_space_changes() {
        let json = br#"{"b":[1,{"x":"a,\"{:"}], "a":{ },"c":[]}"#;
        let lines = [
            "{",
            "    \"b\": [",
            "        1,",
            "        {",
            "            \"x\": \"a,\\\"{:\"",
            "        }",
            "    ],",
            "    \"a\": {},",
            "    \"c\": []",
            "}",
        ];
        assert_eq!(indent(json), lines.join("\n"));
        assert_eq!(list(&[]), "[]\n");
        assert_eq!(list(&[b"1".to_vec(), b"2".to_vec()]), "[\n    1,\n    2\n]\n");
    }
}
