//! Sets of processors and memory nodes, such as `0-2,7`.

use std::collections::BTreeSet;

use oriel_api::resources::Resources;
use oriel_engine::EngineError;

/// More processors or nodes than any kernel is built for.
const MOST: u32 = 8192;

/// Checks which processors and memory nodes are wanted.
pub(super) fn check(resources: &Resources) -> Result<(String, String), EngineError> {
    let cpus = resources.cpuset_cpus.clone().unwrap_or_default();
    let mems = resources.cpuset_mems.clone().unwrap_or_default();
    subset(&cpus, "cpus", "Requested CPUs", "/sys/devices/system/cpu/online")?;
    subset(&mems, "mems", "Requested memory nodes", "/sys/devices/system/node/online")?;
    Ok((cpus, mems))
}

fn subset(wanted: &str, kind: &str, what: &str, online: &str) -> Result<(), EngineError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let invalid = || EngineError::invalid(format!("Invalid value {wanted} for cpuset {kind}"));
    let set = parse(wanted).ok_or_else(invalid)?;
    let available = fs_err::read_to_string(online).unwrap_or_default();
    let available = available.trim();
    // A kernel that does not say has one node.
    let there = parse(available).unwrap_or_else(|| BTreeSet::from([0]));
    if set.is_subset(&there) {
        return Ok(());
    }
    Err(EngineError::invalid(format!(
        "{what} are not available - requested {wanted}, available: {available}"
    )))
}

fn parse(text: &str) -> Option<BTreeSet<u32>> {
    let mut set = BTreeSet::new();
    for part in text.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to): (u32, u32) = (from.parse().ok()?, to.parse().ok()?);
        if from > to || to >= MOST {
            return None;
        }
        set.extend(from..=to);
    }
    Some(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read() {
        assert_eq!(parse("0-2,7"), Some(BTreeSet::from([0, 1, 2, 7])));
        for text in ["", "a", "2-1", "0-4294967295", "-1", "0,", "1-2-3"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn processors_that_are_not_there_are_refused() {
        let resources =
            |cpus: &str| Resources { cpuset_cpus: Some(cpus.to_owned()), ..Resources::default() };
        assert!(check(&resources("0")).is_ok());
        let error = check(&resources("0,8000")).unwrap_err().to_string();
        assert!(
            error.starts_with("Requested CPUs are not available - requested 0,8000"),
            "{error}"
        );
        let error = check(&resources("x")).unwrap_err().to_string();
        assert_eq!(error, "Invalid value x for cpuset cpus");
    }
}
