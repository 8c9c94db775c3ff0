//! Changes of keys that are links to other keys.
//!
//! Programs never reach a key below a link: the kernel goes on at its target. A 32-bit installer on
//! Windows writes to shared keys below `Wow6432Node` that are links in Wine, and people name keys
//! below `CurrentControlSet`. Laid on a link, such a change would put a key in its place.

use oriel_hive::{Delta, DeltaKey, Key, KeyFlags, Semantics};

use crate::ImageError;
use crate::error::Attempt;

/// Longest way from link to link that is followed, as in Windows.
const MAX_LINKS: usize = 32;

/// Lays `change` on `tree`, whose root programs know as `root`, such as `\Registry\Machine`.
pub(super) fn apply(tree: &mut Key, change: &Delta, root: &str) -> Result<(), ImageError> {
    let mut rest = vec![(String::new(), change.root.clone())];
    for _ in 0..=MAX_LINKS {
        for (place, mut change) in std::mem::take(&mut rest) {
            let attempt = || format!("change the registry below `{place}`");
            let key = tree.get_or_create(&place).attempt(attempt)?;
            linked(key, &mut change, root, &mut rest);
            change.flags = key.flags;
            oriel_hive::apply(key, &Delta { root: change });
        }
        if rest.is_empty() {
            break;
        }
    }
    Ok(())
}

/// Takes what is below links of `key` out of `change`, with the place it belongs to. A link that
/// leads out of the tree stays, and what is said of it is dropped.
fn linked(key: &Key, change: &mut DeltaKey, root: &str, found: &mut Vec<(String, DeltaKey)>) {
    let changes = std::mem::take(&mut change.subkeys);
    for mut change_below in changes {
        let at = key.subkeys().binary_search_by(|key| key.name().name_order(&change_below.name));
        if let Some(below) = at.ok().and_then(|at| key.subkeys().get(at)) {
            let keeps = change_below.flags.contains(KeyFlags::SYMLINK)
                || change_below.semantics == Semantics::Tombstone;
            if below.is_symlink() && !keeps {
                if let Some(target) = target(below, root) {
                    change_below.semantics = Semantics::Merge;
                    found.push((target, change_below));
                }
                continue;
            }
            linked(below, &mut change_below, root, found);
        }
        change.subkeys.push(change_below);
    }
}

/// Where a link leads, below `root`.
fn target(link: &Key, root: &str) -> Option<String> {
    let data = &link.value("SymbolicLinkValue")?.data;
    let (units, _) = data.as_chunks::<2>();
    let units: Vec<u16> = units.iter().copied().map(u16::from_le_bytes).collect();
    let target = String::from_utf16(&units).ok()?;
    let (head, rest) = target.split_at_checked(root.len())?;
    (head.eq_ignore_ascii_case(root) && rest.starts_with('\\')).then(|| rest[1..].to_owned())
}
