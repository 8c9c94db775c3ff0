//! Names of containers: what may be one, and what Oriel calls those nobody named.

use crate::{EngineError, IdSource};

const ADJECTIVES: [&str; 48] = [
    "agile", "amber", "ample", "apt", "brave", "bright", "brisk", "calm", "candid", "clear",
    "clever", "crisp", "daring", "deft", "eager", "early", "fair", "fine", "fleet", "fond",
    "frank", "gentle", "glad", "golden", "grand", "hardy", "honest", "jolly", "keen", "kind",
    "light", "lively", "lucid", "merry", "mild", "modest", "neat", "noble", "patient", "plain",
    "proud", "quiet", "rapid", "serene", "sharp", "sincere", "steady", "warm",
];

/// People who shaped windows: of glass, of light, and of computers.
const SURNAMES: [&str; 48] = [
    "alberti",
    "aalto",
    "babbage",
    "backus",
    "baird",
    "bell",
    "borromini",
    "brunel",
    "brunelleschi",
    "cerf",
    "chartres",
    "cutler",
    "dijkstra",
    "engelbart",
    "euler",
    "faraday",
    "fermat",
    "fresnel",
    "galileo",
    "gauss",
    "hamilton",
    "hopper",
    "huygens",
    "jacquard",
    "johnson",
    "kay",
    "kepler",
    "knuth",
    "lampson",
    "leibniz",
    "lovelace",
    "maxwell",
    "mies",
    "newton",
    "noether",
    "palladio",
    "pascal",
    "paxton",
    "perkins",
    "ritchie",
    "shannon",
    "soane",
    "sutherland",
    "thompson",
    "tiffany",
    "turing",
    "wilkes",
    "wren",
];

/// A name for a container that nobody named. The caller checks that it is free; from the tenth
/// attempt on a digit makes that likelier.
pub(crate) fn invent(ids: &dyn IdSource, attempt: usize) -> String {
    let adjective = ADJECTIVES[ids.pick(ADJECTIVES.len())];
    let surname = SURNAMES[ids.pick(SURNAMES.len())];
    if attempt < 10 {
        format!("{adjective}_{surname}")
    } else {
        format!("{adjective}_{surname}{}", ids.pick(10_000))
    }
}

/// Takes off the slash that a name may begin with, and checks the rest:
/// `[a-zA-Z0-9][a-zA-Z0-9_.-]+` (moby `daemon/names`).
pub(crate) fn check(name: &str) -> Result<String, EngineError> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let valid = bare.len() > 1
        && bare.starts_with(|c: char| c.is_ascii_alphanumeric())
        && bare.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if valid {
        Ok(bare.to_owned())
    } else {
        Err(EngineError::InvalidName { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct First;

    impl IdSource for First {
        fn id(&self) -> String {
            "0".repeat(64)
        }

        fn pick(&self, _: usize) -> usize {
            0
        }
    }

    #[test]
    fn invented_names_are_names() {
        assert_eq!(invent(&First, 0), "agile_alberti");
        assert!(check(&invent(&First, 10)).is_ok());
        for name in ADJECTIVES.iter().chain(&SURNAMES) {
            assert!(check(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_name_may_begin_with_a_slash() {
        assert_eq!(check("/web-1").unwrap(), "web-1");
        assert_eq!(check("Web_1.x").unwrap(), "Web_1.x");
    }

    #[test]
    fn other_texts_are_no_names() {
        for name in ["", "/", "a", "-ab", "a b", "a/b", "ü1", "..", "a\\b"] {
            assert!(check(name).is_err(), "{name}");
        }
    }
}
