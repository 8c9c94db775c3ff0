//! PAX records: the extension header before a member.

use crate::LayerError;

/// The PAX records of one member, in the order they were written.
///
/// They stay in the form they have in the archive, so that a member costs one allocation however
/// many it has; the bound on that form ([`crate::archive::MAX_EXTENSION`]) bounds their number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    body: Vec<u8>,
}

impl Records {
    /// Takes the body of the extension header at `offset`.
    pub(crate) fn parse(body: Vec<u8>, offset: u64) -> Result<Self, LayerError> {
        let mut rest = body.as_slice();
        while !rest.is_empty() {
            let (key, value, length) = first_record(rest)
                .ok_or(LayerError::Header { offset, detail: "bad PAX record" })?;
            // As Go's `validPAXRecord`: these texts would end at a NUL for other readers.
            let text = matches!(key, "path" | "linkpath");
            if key.contains('\0') || (text && value.contains(&0)) {
                return Err(LayerError::Header { offset, detail: "NUL in a PAX record" });
            }
            rest = &rest[length..];
        }
        Ok(Self { body })
    }

    /// Keys and values. Of records with the same key the last one counts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut rest = self.body.as_slice();
        std::iter::from_fn(move || {
            let (key, value, length) = first_record(rest)?;
            rest = &rest[length..];
            Some((key, value))
        })
    }
}

/// Key, value and length of the record `LENGTH KEY=VALUE\n` that `body` begins with.
fn first_record(body: &[u8]) -> Option<(&str, &[u8], usize)> {
    let blank = body.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&body[..blank]).ok()?.parse().ok()?;
    let record = body.get(blank + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
    let key = std::str::from_utf8(&record[..equals]).ok()?;
    Some((key, &record[equals + 1..], length))
}

#[cfg(test)]
mod tests {
    use super::Records;

    #[test]
    fn records_come_in_order_and_values_may_hold_anything() {
        let body = b"6 a=1\n8 b=\n=\0\n6 a=2\n".to_vec();
        let records = Records::parse(body, 0).unwrap();
        let found: Vec<_> = records.iter().collect();
        assert_eq!(found, [("a", &b"1"[..]), ("b", b"\n=\0"), ("a", b"2")]);
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for body in [
            &b"x a=1\n"[..],
            b"6 a=1",
            b"6 a=1 ",
            b"5 a=1\n",
            b"7 a=1\n",
            b"0 a=1\n",
            b"3 a=1\n",
            b"99999999999999999999 a=1\n",
            b"5 =1\n",
            b"5 aa\n",
            b"6 a=1\n\0\0\0",
            b"7 a\0=1\n",
            b"10 path=\0\n",
            b"7 \xff\xff=\n",
        ] {
            assert!(Records::parse(body.to_vec(), 0).is_err(), "{}", body.escape_ascii());
        }
    }
}
