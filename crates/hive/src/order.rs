//! Finding names in lists that are not in the order of names, such as the values of a key.

use crate::WideString;

/// A list is short when comparing each of its items with each is faster than sorting it.
const SHORT: usize = 8;

/// The places of a list's items in the order of their names.
///
/// Costs one sort, so that comparing two long lists is not quadratic.
pub(crate) struct NameIndex<'a, T> {
    items: &'a [T],
    name: fn(&T) -> &WideString,
    places: Vec<usize>,
}

impl<'a, T> NameIndex<'a, T> {
    pub(crate) fn new(items: &'a [T], name: fn(&T) -> &WideString) -> Self {
        let mut places: Vec<usize> = (0..items.len()).collect();
        places.sort_by(|a, b| name(&items[*a]).name_order(name(&items[*b])));
        Self { items, name, places }
    }

    /// The place of an item called `wanted`.
    pub(crate) fn find(&self, wanted: &WideString) -> Option<usize> {
        let order = |place: &usize| (self.name)(&self.items[*place]).name_order(wanted);
        self.places.binary_search_by(order).ok().map(|at| self.places[at])
    }

    /// Places of the items whose name an earlier item has already.
    fn repeated(&self) -> Vec<usize> {
        self.equal_neighbours().map(|(_, later)| later).collect()
    }

    /// Places of the items whose name a later item has too.
    pub(crate) fn replaced(&self) -> Vec<usize> {
        self.equal_neighbours().map(|(earlier, _)| earlier).collect()
    }

    fn equal_neighbours(&self) -> impl Iterator<Item = (usize, usize)> {
        let name = |place: usize| (self.name)(&self.items[place]);
        let pairs = self.places.windows(2).map(|pair| (pair[0], pair[1]));
        pairs.filter(move |(a, b)| name(*a).name_order(name(*b)).is_eq())
    }
}

/// Removes every item whose name an earlier item has.
pub(crate) fn keep_first<T>(items: &mut Vec<T>, name: fn(&T) -> &WideString) {
    if has_repeated(items, name) {
        let repeated = NameIndex::new(items, name).repeated();
        remove_places(items, &repeated);
    }
}

/// Removes every item whose name a later item has.
pub(crate) fn keep_last<T>(items: &mut Vec<T>, name: fn(&T) -> &WideString) {
    if has_repeated(items, name) {
        let replaced = NameIndex::new(items, name).replaced();
        remove_places(items, &replaced);
    }
}

/// Whether two items have one name; of long lists it says so unseen.
fn has_repeated<T>(items: &[T], name: fn(&T) -> &WideString) -> bool {
    let repeats = |at: usize| {
        items[..at].iter().any(|other| name(other).name_order(name(&items[at])).is_eq())
    };
    items.len() > SHORT || (1..items.len()).any(repeats)
}

/// Removes the items at `places`, which may come in any order.
pub(crate) fn remove_places<T>(items: &mut Vec<T>, places: &[usize]) {
    if places.is_empty() {
        return;
    }
    let mut gone = vec![false; items.len()];
    for place in places {
        gone[*place] = true;
    }
    let mut marks = gone.into_iter();
    items.retain(|_| !marks.next().unwrap_or(false));
}

/// Sorts items by name and keeps the first of each name; costs one pass when nothing is to be done.
pub(crate) fn sort_names<T>(items: &mut Vec<T>, name: fn(&T) -> &WideString) {
    if !items.is_sorted_by(|a, b| name(a).name_order(name(b)).is_lt()) {
        items.sort_by(|a, b| name(a).name_order(name(b)));
        items.dedup_by(|later, first| name(later).name_order(name(first)).is_eq());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(names: &[&str]) -> Vec<WideString> {
        names.iter().map(|name| WideString::from(*name)).collect()
    }

    #[test]
    fn the_first_of_each_name_is_kept_in_place() {
        let mut names = wide(&["b", "A", "B", "a", "c"]);
        keep_first(&mut names, |name| name);
        assert_eq!(names, wide(&["b", "A", "c"]));
    }

    #[test]
    fn sorting_keeps_the_first_of_each_name() {
        let mut names = wide(&["b", "A", "B", "_", "a"]);
        sort_names(&mut names, |name| name);
        assert_eq!(names, wide(&["A", "b", "_"]));
    }

    #[test]
    fn places_are_removed_in_any_order() {
        let mut names = wide(&["a", "b", "c", "d"]);
        remove_places(&mut names, &[3, 0]);
        assert_eq!(names, wide(&["b", "c"]));
    }

    #[test]
    fn an_index_finds_names_in_any_case() {
        let names = wide(&["Zeta", "alpha", "Été"]);
        let index = NameIndex::new(&names, |name| name);
        assert_eq!(index.find(&"ÉTÉ".into()), Some(2));
        assert_eq!(index.find(&"ZETA".into()), Some(0));
        assert_eq!(index.find(&"beta".into()), None);
    }
}
