//! Names of what an instance makes in the kernel, so that it finds them again after a restart and
//! leaves those of other instances alone. Pure.

/// Longest name of a link, `IFNAMSIZ` of `linux/if.h` less the final zero.
pub(crate) const LONGEST_LINK_NAME: usize = 15;

/// Longest instance name: keeps the table's name far below the kernel's 255.
const LONGEST_INSTANCE: usize = 64;

/// Longest id of a compartment: one path component (`NAME_MAX` is 255).
const LONGEST_ID: usize = 128;

/// Name of the nft table of the instance.
pub(crate) fn table(instance: &str) -> String {
    format!("oriel-{instance}")
}

/// What the host's end of every veth pair of the instance starts with.
pub(crate) fn link_prefix(instance: &str) -> String {
    format!("or{:04x}", hash(instance) & 0xffff)
}

/// Name of the host's end of the endpoint's veth pair: 15 bytes. 36 bits of the id's hash make a
/// collision among a thousand endpoints unlikelier than one in 100 000; it shows as an error.
pub(crate) fn host_link(instance: &str, id: &str) -> String {
    format!("{}{:09x}", link_prefix(instance), hash(id) & 0xf_ffff_ffff)
}

/// Whether the link is the host's end of a veth pair of the instance.
pub(crate) fn is_host_link(instance: &str, link: &str) -> bool {
    link.len() == LONGEST_LINK_NAME && link.starts_with(&link_prefix(instance))
}

/// What a link that belongs to the instance is marked with (`ip link` shows it as alias).
pub(crate) fn mark(instance: &str, what: &str) -> String {
    format!("oriel:{instance}:{what}")
}

/// Whether a link with this mark belongs to the instance.
pub(crate) fn is_mark(instance: &str, mark: &str) -> bool {
    mark.strip_prefix("oriel:")
        .and_then(|rest| rest.strip_prefix(instance))
        .is_some_and(|rest| rest.starts_with(':'))
}

/// Whether an instance may be called so: it becomes part of a table's name.
pub(crate) fn is_instance(name: &str) -> bool {
    name.len() <= LONGEST_INSTANCE && is_plain(name)
}

/// Whether a compartment may be called so: its id becomes a file name.
pub(crate) fn is_plain_id(id: &str) -> bool {
    id.len() <= LONGEST_ID && is_plain(id)
}

/// Whether a link may be called so.
pub(crate) fn is_link(name: &str) -> bool {
    name.len() <= LONGEST_LINK_NAME && is_plain(name)
}

fn is_plain(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    name.bytes().all(inner) && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

/// FNV-1a with 64 bits (draft-eastlake-fnv, section 2): the standard library's hashes may change
/// between releases, which would orphan the links of a running host.
fn hash(text: &str) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    text.bytes().fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_links_fit_and_stay_the_same() {
        let id = "4f2ad7c1b0e94e7f8a1b2c3d4e5f60718293a4b5c6d7e8f901234567890abcde";
        let link = host_link("default", id);
        assert_eq!(link.len(), LONGEST_LINK_NAME);
        assert_eq!(link, "orc5fee348af3f9");
        assert_ne!(link, host_link("default", "other"));
        assert_ne!(link, host_link("second", id));
    }

    #[test]
    fn instances_know_their_own_links_only() {
        let link = host_link("default", "web");
        assert!(is_host_link("default", &link));
        assert!(!is_host_link("second", &link));
        assert!(!is_host_link("default", "eth0"));
        assert!(!is_host_link("default", &link_prefix("default")));
    }

    #[test]
    fn instances_know_their_own_marks_only() {
        assert!(is_mark("a", &mark("a", "nat")));
        for other in [mark("ab", "nat"), mark("b", "nat"), String::new(), "oriel:a".to_owned()] {
            assert!(!is_mark("a", &other), "{other}");
        }
    }

    #[test]
    fn names_that_would_leave_their_place_are_refused() {
        for bad in ["", ".", "..", "../x", "a/b", "a b", "-a", "ü", "a\0"] {
            assert!(!is_plain_id(bad) && !is_instance(bad) && !is_link(bad), "{bad:?}");
        }
        assert!(is_plain_id(&"f".repeat(128)) && !is_plain_id(&"f".repeat(129)));
        assert!(is_link("oriel0") && !is_link("sixteen-letters-"));
    }

    #[test]
    fn hash_is_fnv_1a() {
        assert_eq!(hash(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash("foobar"), 0x8594_4171_f739_67e8);
    }
}
