//! Two layers of a hive, laid on one another: what changed between them brings the upper one back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oriel_hive::{Key, apply, diff, lift, read_delta, write_delta};

// The first byte says how many pages the lower layer has.
fuzz_target!(|data: &[u8]| {
    let [pages, rest @ ..] = data else { return };
    let (lower, upper) = rest.split_at((usize::from(*pages) * 4096).min(rest.len()));
    let (Ok(lower), Ok(upper)) = (read_delta(lower), read_delta(upper)) else { return };
    let mut old = Key::new("");
    apply(&mut old, &lower);
    let mut new = old.clone();
    apply(&mut new, &upper);

    let change = diff(&old, &new);
    let mut again = old.clone();
    apply(&mut again, &change);
    assert!(diff(&again, &new).is_empty(), "{change:?}");
    if let Ok(bytes) = write_delta(&change) {
        let stored = read_delta(&bytes).expect("what was written can be read");
        let mut again = old.clone();
        apply(&mut again, &stored);
        assert!(diff(&again, &new).is_empty(), "{change:?}");
    }
    // Where a container saw just what its image has, there is nothing to lift.
    let lifted = lift(change.clone(), &old, &old);
    let mut again = old.clone();
    apply(&mut again, &lifted);
    assert!(diff(&again, &new).is_empty(), "{change:?} {lifted:?}");
    // Else it is enough that it ends.
    let mut other = Key::new("");
    apply(&mut other, &upper);
    let lifted = lift(change, &old, &other);
    apply(&mut other, &lifted);
});
