//! Walking a tree in pages.
//!
//! A page begins behind the last key of the page before, by name: the tree may have changed in
//! between, and a walk still ends and shows no key twice.

use std::ops::ControlFlow;

use oriel_hive::{Key, WideString};

/// A key on a walk.
pub struct Step<'a> {
    /// Names from where the walk began; none for that key itself.
    pub names: &'a [WideString],
    /// The key.
    pub key: &'a Key,
    /// Whether it is the last of those beside it.
    pub last: bool,
}

/// Visits `key` and the keys below, each before those below it, down to `depth` levels, from
/// behind the key named `after`. Links are visited and not followed.
pub fn walk<'a, T>(
    key: &'a Key,
    after: Option<&[WideString]>,
    depth: usize,
    visit: &mut dyn FnMut(Step<'_>) -> ControlFlow<T>,
) -> ControlFlow<T> {
    let mut names = Vec::new();
    if after.is_none() {
        visit(Step { names: &names, key, last: true })?;
    }
    below(key, after.unwrap_or_default(), depth, &mut names, visit)
}

fn below<T>(
    key: &Key,
    after: &[WideString],
    depth: usize,
    names: &mut Vec<WideString>,
    visit: &mut dyn FnMut(Step<'_>) -> ControlFlow<T>,
) -> ControlFlow<T> {
    if depth == 0 || key.is_symlink() {
        return ControlFlow::Continue(());
    }
    let subkeys = key.subkeys();
    let from = after.first().map_or(0, |after| {
        subkeys.partition_point(|subkey| subkey.name().name_order(after).is_lt())
    });
    for (at, subkey) in subkeys.iter().enumerate().skip(from) {
        let seen = after.first().filter(|_| at == from);
        let seen = seen.is_some_and(|after| subkey.name().name_order(after).is_eq());
        names.push(subkey.name().clone());
        if !seen {
            visit(Step { names, key: subkey, last: at + 1 == subkeys.len() })?;
        }
        below(subkey, if seen { &after[1..] } else { &[] }, depth - 1, names, visit)?;
        names.pop();
    }
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Key {
        let mut tree = Key::new("");
        for path in [r"a\b\c", r"a\B2", "d", r"e\f"] {
            tree.get_or_create(path).unwrap();
        }
        tree
    }

    fn page(after: Option<&[WideString]>, depth: usize, limit: usize) -> Vec<Vec<WideString>> {
        let mut seen = Vec::new();
        let _ = walk(&tree(), after, depth, &mut |step| {
            if seen.len() == limit {
                return ControlFlow::Break(());
            }
            seen.push(step.names.to_vec());
            ControlFlow::Continue(())
        });
        seen
    }

    fn shown(page: &[Vec<WideString>]) -> Vec<String> {
        let names = page
            .iter()
            .map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(r"\"));
        names.collect()
    }

    #[test]
    fn keys_come_before_those_below_them() {
        let all = ["", "a", r"a\b", r"a\b\c", r"a\B2", "d", "e", r"e\f"];
        assert_eq!(shown(&page(None, 9, 99)), all);
        assert_eq!(shown(&page(None, 1, 99)), ["", "a", "d", "e"]);
        assert_eq!(shown(&page(None, 0, 99)), [""]);
    }

    #[test]
    fn pages_of_any_length_make_up_the_tree() {
        for limit in 1..9 {
            let mut all = page(None, 9, limit);
            loop {
                let more = page(all.last().map(Vec::as_slice), 9, limit);
                if more.is_empty() {
                    break;
                }
                all.extend(more);
            }
            assert_eq!(all, page(None, 9, 99), "{limit}");
        }
    }

    #[test]
    fn a_walk_goes_on_behind_a_key_that_has_gone() {
        let after: Vec<WideString> = vec!["a".into(), "b1".into(), "x".into()];
        assert_eq!(shown(&page(Some(&after), 9, 2)), [r"a\B2", "d"]);
    }
}
