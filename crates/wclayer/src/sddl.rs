//! Security descriptors as text (MS-DTYP 2.5.1), which older layers have in `MSWINDOWS.sd`.
//!
//! Only what needs no Windows to understand is turned into bytes: SIDs that are the same on every
//! machine, and the kinds of entries that file systems have. An account of a domain or a
//! conditional entry is left alone.

/// SIDs by their abbreviation (MS-DTYP 2.5.1.1), those left out that differ between machines.
const SIDS: &[(&str, &str)] = &[
    ("AC", "S-1-15-2-1"),
    ("AN", "S-1-5-7"),
    ("AO", "S-1-5-32-548"),
    ("AU", "S-1-5-11"),
    ("BA", "S-1-5-32-544"),
    ("BG", "S-1-5-32-546"),
    ("BO", "S-1-5-32-551"),
    ("BU", "S-1-5-32-545"),
    ("CG", "S-1-3-1"),
    ("CO", "S-1-3-0"),
    ("ED", "S-1-5-9"),
    ("HI", "S-1-16-12288"),
    ("IS", "S-1-5-32-568"),
    ("IU", "S-1-5-4"),
    ("LS", "S-1-5-19"),
    ("LW", "S-1-16-4096"),
    ("ME", "S-1-16-8192"),
    ("MU", "S-1-5-32-558"),
    ("NO", "S-1-5-32-556"),
    ("NS", "S-1-5-20"),
    ("NU", "S-1-5-2"),
    ("OW", "S-1-3-4"),
    ("PO", "S-1-5-32-550"),
    ("PS", "S-1-5-10"),
    ("PU", "S-1-5-32-547"),
    ("RC", "S-1-5-12"),
    ("RD", "S-1-5-32-555"),
    ("RE", "S-1-5-32-552"),
    ("SI", "S-1-16-16384"),
    ("SO", "S-1-5-32-549"),
    ("SU", "S-1-5-6"),
    ("SY", "S-1-5-18"),
    ("WD", "S-1-1-0"),
];

/// Rights by their abbreviation; those of files, keys and objects stand for several bits.
const RIGHTS: &[(&str, u32)] = &[
    ("CC", 0x1),
    ("DC", 0x2),
    ("LC", 0x4),
    ("SW", 0x8),
    ("RP", 0x10),
    ("WP", 0x20),
    ("DT", 0x40),
    ("LO", 0x80),
    ("CR", 0x100),
    ("SD", 0x1_0000),
    ("RC", 0x2_0000),
    ("WD", 0x4_0000),
    ("WO", 0x8_0000),
    ("GA", 0x1000_0000),
    ("GX", 0x2000_0000),
    ("GW", 0x4000_0000),
    ("GR", 0x8000_0000),
    ("FA", 0x1f_01ff),
    ("FX", 0x12_00a0),
    ("FW", 0x12_0116),
    ("FR", 0x12_0089),
    ("KA", 0xf_003f),
    ("KR", 0x2_0019),
    ("KX", 0x2_0019),
    ("KW", 0x2_0006),
];

/// The same for `ML` entries, which use three of the lowest bits.
const LABEL_RIGHTS: &[(&str, u32)] = &[("NW", 0x1), ("NR", 0x2), ("NX", 0x4)];

/// What makes an entry count for children (`ACE_HEADER`).
const ACE_FLAGS: &[(&str, u32)] = &[
    ("OI", 0x01),
    ("CI", 0x02),
    ("NP", 0x04),
    ("IO", 0x08),
    ("ID", 0x10),
    ("SA", 0x40),
    ("FA", 0x80),
];

/// Kinds of entries, and whether they belong into the system list.
const ACE_TYPES: &[(&str, u8, bool)] =
    &[("A", 0x00, false), ("D", 0x01, false), ("AU", 0x02, true), ("ML", 0x11, true)];

/// Control bits of the discretionary list; those of the system list are the next bits.
const LIST_FLAGS: &[(&str, u16)] = &[("AR", 0x0100), ("AI", 0x0400), ("P", 0x1000)];

/// `SE_DACL_PRESENT`; the system list's bit is two further.
const PRESENT: u16 = 0x0004;
/// `SE_SELF_RELATIVE`.
const SELF_RELATIVE: u16 = 0x8000;

/// Length of the descriptor's header.
const HEADER: usize = 20;

/// Turns `text` into a self-relative descriptor; `None` when it cannot be understood here.
pub(crate) fn parse(text: &str) -> Option<Vec<u8>> {
    let mut control = SELF_RELATIVE;
    let mut parts: [Vec<u8>; 4] = Default::default();
    for (key, value) in sections(text)? {
        let (place, bytes) = match key {
            'O' => (0, sid(value)?),
            'G' => (1, sid(value)?),
            'S' => (2, list(value, true, &mut control)?),
            _ => (3, list(value, false, &mut control)?),
        };
        if !parts[place].is_empty() {
            return None;
        }
        parts[place] = bytes;
    }
    let mut descriptor = vec![0; HEADER];
    descriptor[0] = 1;
    descriptor[2..4].copy_from_slice(&control.to_le_bytes());
    for (place, part) in parts.iter().enumerate().filter(|(_, part)| !part.is_empty()) {
        let offset = u32::try_from(descriptor.len()).ok()?;
        descriptor[4 + 4 * place..8 + 4 * place].copy_from_slice(&offset.to_le_bytes());
        descriptor.extend_from_slice(part);
    }
    Some(descriptor)
}

/// Splits `O:…G:…D:…S:…`.
fn sections(text: &str) -> Option<Vec<(char, &str)>> {
    let mut starts: Vec<(usize, char)> = Vec::new();
    let mut depth = 0_i32;
    let bytes = text.as_bytes();
    for (at, pair) in bytes.windows(2).enumerate() {
        match pair {
            [b'(', _] => depth += 1,
            [b')', _] => depth -= 1,
            [key @ (b'O' | b'G' | b'D' | b'S'), b':'] if depth == 0 => {
                starts.push((at, char::from(*key)));
            }
            _ => {}
        }
    }
    let ends = starts.iter().skip(1).map(|(at, _)| *at).chain([text.len()]);
    let whole = starts.first().is_none_or(|(at, _)| *at == 0);
    let found = starts.iter().zip(ends).map(|((at, key), end)| (*key, &text[at + 2..end]));
    (whole && !starts.is_empty()).then(|| found.collect())
}

/// A SID by abbreviation or in its usual text form.
fn sid(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    let known = SIDS.iter().find(|(name, _)| *name == text).map(|(_, sid)| *sid);
    let mut numbers = known.unwrap_or(text).strip_prefix("S-1-")?.split('-');
    let authority: u64 = numbers.next()?.parse().ok()?;
    let subs: Vec<u32> = numbers.map(|number| number.parse().ok()).collect::<Option<_>>()?;
    // SID_MAX_SUB_AUTHORITIES, and an authority of 48 bits.
    if subs.len() > 15 || authority >> 48 != 0 {
        return None;
    }
    let mut bytes = vec![1, u8::try_from(subs.len()).ok()?];
    bytes.extend_from_slice(&authority.to_be_bytes()[2..]);
    subs.iter().for_each(|sub| bytes.extend_from_slice(&sub.to_le_bytes()));
    Some(bytes)
}

/// A list of entries with its flags.
fn list(text: &str, system: bool, control: &mut u16) -> Option<Vec<u8>> {
    let shift = u32::from(system);
    *control |= PRESENT << (2 * shift);
    let (mut flags, aces) = text.split_at(text.find('(').unwrap_or(text.len()));
    while !flags.trim().is_empty() {
        let (name, bit) = LIST_FLAGS.iter().find(|(name, _)| flags.trim().starts_with(name))?;
        *control |= bit << shift;
        flags = &flags.trim()[name.len()..];
    }
    let mut body = Vec::new();
    let mut count = 0_u16;
    let mut rest = aces.trim();
    while !rest.is_empty() {
        let (inner, after) = rest.strip_prefix('(')?.split_once(')')?;
        body.extend(ace(inner, system)?);
        count = count.checked_add(1)?;
        rest = after.trim_start();
    }
    // ACL_REVISION, size and number of entries.
    let size = u16::try_from(body.len() + 8).ok()?;
    let mut acl = vec![2, 0];
    for field in [size, count, 0] {
        acl.extend_from_slice(&field.to_le_bytes());
    }
    acl.extend(body);
    Some(acl)
}

/// One entry: `type;flags;rights;object;inherited object;SID`.
fn ace(text: &str, system: bool) -> Option<Vec<u8>> {
    let fields: Vec<&str> = text.split(';').map(str::trim).collect();
    let [kind, flags, mask, "", "", trustee] = fields[..] else { return None };
    let (_, kind, _) = ACE_TYPES.iter().find(|(name, _, sys)| *name == kind && *sys == system)?;
    let flags = u8::try_from(sum(flags, ACE_FLAGS)?).ok()?;
    let table = if *kind == 0x11 { LABEL_RIGHTS } else { RIGHTS };
    let mask = number(mask).or_else(|| sum(mask, table))?;
    let sid = sid(trustee)?;
    let mut bytes = vec![*kind, flags];
    bytes.extend_from_slice(&u16::try_from(sid.len() + 8).ok()?.to_le_bytes());
    bytes.extend_from_slice(&mask.to_le_bytes());
    bytes.extend(sid);
    Some(bytes)
}

/// A mask in hexadecimal or decimal.
fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The bits of names of two letters that stand one after the other.
fn sum(text: &str, table: &[(&str, u32)]) -> Option<u32> {
    (0..text.len()).step_by(2).try_fold(0, |bits, at| {
        let name = text.get(at..at + 2)?;
        table.iter().find(|(known, _)| *known == name).map(|(_, bit)| bits | bit)
    })
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::parse;
    use crate::security;

    /// What BuildKit, crane and imgutil write, in both forms.
    #[test]
    fn text_and_bytes_of_known_producers_agree() {
        let directory = "O:BAG:SYD:(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;;FA;;;BA)(A;OICIIO;GA;;;CO)\
                         (A;OICI;0x1200a9;;;BU)(A;CI;LC;;;BU)(A;CI;DC;;;BU)";
        assert_eq!(parse(directory), Some(security::default_directory()));
        let file = "O:BAG:SYD:(A;;FA;;;BA)(A;;FA;;;SY)(A;;0x1200a9;;;BU)";
        assert_eq!(parse(file), Some(security::default_file()));
        for (text, bytes) in [
            (
                "O:BUG:BU",
                "AQAAgBQAAAAkAAAAAAAAAAAAAAABAgAAAAAABSAAAAAhAgAAAQIAAAAAAAUgAAAAIQIAAA==",
            ),
            (
                "O:BAG:BA",
                "AQAAgBQAAAAkAAAAAAAAAAAAAAABAgAAAAAABSAAAAAgAgAAAQIAAAAAAAUgAAAAIAIAAA==",
            ),
        ] {
            assert_eq!(parse(text), Some(STANDARD.decode(bytes).unwrap()), "{text}");
        }
    }

    #[test]
    fn lists_flags_and_plain_sids_are_understood() {
        let text = "O:S-1-5-93-2-1G:SYD:PAI(D;;FRFX;;;WD)(A;OICIID;1179817;;;S-1-15-2-1)\
                    S:AI(ML;;NW;;;LW)(AU;SAFA;FA;;;WD)";
        let bytes = parse(text).unwrap();
        // DACL present, protected and auto-inherited; SACL present and auto-inherited.
        assert_eq!(bytes[2..4], 0x9c14_u16.to_le_bytes());
        assert_eq!(bytes[20..36], [1, 3, 0, 0, 0, 0, 0, 5, 93, 0, 0, 0, 2, 0, 0, 0]);
        // An empty list grants nothing; no list grants everything.
        assert_eq!(parse("D:").unwrap()[20..], [2, 0, 8, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn what_needs_a_domain_or_is_no_descriptor_is_left_alone() {
        for text in [
            "",
            "O:",
            "O:DA",
            "O:BAO:BA",
            "BA",
            "xO:BA",
            "O:S-1",
            "O:S-1-281474976710656-1",
            "O:S-1-5-4294967296",
            "O:S-2-5-1",
            "D:(A;;FA;;;LA)",
            "D:(A;;FA;;;BA",
            "D:(A;;ZZ;;;BA)",
            "D:(A;OI?;FA;;;BA)",
            "D:(OA;;FA;bf967aba-0de6-11d0-a285-00aa003049e2;;BA)",
            "D:(XA;;FX;;;WD;(@User.x == 1))",
            "D:(AU;;FA;;;BA)",
            "D:Q(A;;FA;;;BA)",
            "D:(A;;F\u{c4};;;BA)",
            "S:(A;;FA;;;BA)",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
