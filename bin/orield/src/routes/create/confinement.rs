//! What Linux bounds a container with besides limits: its processes, its disk, its network.

use std::collections::BTreeMap;

use oriel_api::{container::HostConfig, resources::Ulimit};
use oriel_engine::EngineError;
use oriel_hcs::{Confinement, ProcessLimit};

/// Limits of processes that Docker knows (docker/go-units `ulimit.go`).
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Settles it.
pub(super) fn confinement(host: &HostConfig) -> Result<Confinement, EngineError> {
    let oom_score = host.oom_score_adj.unwrap_or_default();
    let refused = || {
        EngineError::invalid(format!(
            "Invalid value {oom_score}, range for oom score adj is [-1000, 1000]"
        ))
    };
    let oom_score = i32::try_from(oom_score).ok().filter(|score| score.abs() <= 1000);
    let ulimits = host.resources.ulimits.iter().flatten();
    Ok(Confinement {
        read_only: host.readonly_rootfs.unwrap_or_default(),
        process_limits: ulimits.map(process_limit).collect::<Result<_, _>>()?,
        oom_score: oom_score.ok_or_else(refused)?,
        network_settings: network_settings(host)?,
        cgroup_parent: cgroup_parent(host)?,
    })
}

fn process_limit(ulimit: &Ulimit) -> Result<ProcessLimit, EngineError> {
    let Ulimit { name, hard, soft } = ulimit;
    if !ULIMITS.contains(&name.as_str()) {
        return Err(EngineError::invalid(format!("invalid ulimit type: {name}")));
    }
    // -1 is no limit at all.
    let value = |value: i64| u64::try_from(value).ok();
    if *hard < -1 || *soft < -1 {
        return Err(EngineError::invalid(format!("invalid ulimit {name}: {soft}:{hard}")));
    }
    let (soft, hard) = (value(*soft), value(*hard));
    if hard.is_some_and(|hard| soft.is_none_or(|soft| soft > hard)) {
        return Err(EngineError::invalid(format!(
            "ulimit soft limit must be less than or equal to hard limit: {} > {}",
            ulimit.soft, ulimit.hard
        )));
    }
    Ok(ProcessLimit { name: name.clone(), soft, hard })
}

/// Settings of the container's own network; all others would be the host's.
fn network_settings(host: &HostConfig) -> Result<BTreeMap<String, String>, EngineError> {
    let shared = host.network_mode.as_deref().is_some_and(|mode| mode.starts_with("container:"));
    let settings = host.sysctls.iter().flatten().map(|(name, value)| {
        let dotted = name.replace('/', ".");
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if !dotted.starts_with("net.") || dotted.contains("..") || !dotted.chars().all(plain) {
            return Err(EngineError::invalid(format!(
                "sysctl \"{name}\" is not in a separate kernel namespace"
            )));
        }
        if shared {
            return Err(EngineError::invalid(format!(
                "conflicting options: sysctl \"{name}\" and the container type network mode"
            )));
        }
        Ok((dotted, value.clone()))
    });
    settings.collect()
}

fn cgroup_parent(host: &HostConfig) -> Result<String, EngineError> {
    let parent = host.resources.cgroup_parent.clone().unwrap_or_default();
    let good = |part: &str| part != "." && part != ".." && !part.contains(['\0', '\n']);
    if parent.split('/').all(good) {
        Ok(parent)
    } else {
        Err(EngineError::invalid(format!("invalid cgroup parent: {parent:?}")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settled(host: Value) -> Result<Confinement, String> {
        let host = serde_json::from_value(host).unwrap();
        confinement(&host).map_err(|error| error.to_string())
    }

    #[test]
    fn what_linux_has_is_taken() {
        let found = settled(json!({
            "ReadonlyRootfs": true, "OomScoreAdj": 500, "CgroupParent": "/a/b",
            "Ulimits": [{ "Name": "nofile", "Soft": 1024, "Hard": 2048 },
                { "Name": "core", "Soft": -1, "Hard": -1 }],
            "Sysctls": { "net/core/somaxconn": "512", "net.ipv4.ip_forward": "1" },
        }))
        .unwrap();
        assert!(found.read_only && found.oom_score == 500 && found.cgroup_parent == "/a/b");
        assert_eq!(found.process_limits[0].soft, Some(1024));
        assert_eq!(found.process_limits[1].hard, None);
        assert_eq!(found.network_settings["net.core.somaxconn"], "512");
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let ulimit = |name: &str, soft: i64, hard: i64| {
            let ulimit = json!({ "Name": name, "Soft": soft, "Hard": hard });
            json!({ "Ulimits": [ulimit] })
        };
        for (host, text) in [
            (ulimit("x", 1, 1), "invalid ulimit type: x"),
            (ulimit("nofile", 2, 1), "less than or equal to hard limit: 2 > 1"),
            (ulimit("nofile", -1, 1), "less than or equal to hard limit: -1 > 1"),
            (ulimit("nofile", -2, 1), "invalid ulimit nofile"),
            (json!({ "OomScoreAdj": 1001 }), "range for oom score adj is [-1000, 1000]"),
            (json!({ "Sysctls": { "kernel.panic": "1" } }), "not in a separate kernel namespace"),
            (json!({ "Sysctls": { "net.../x": "1" } }), "not in a separate kernel namespace"),
            (
                json!({ "Sysctls": { "net.a": "1" }, "NetworkMode": "container:x" }),
                "conflicting options",
            ),
            (json!({ "CgroupParent": "a/../b" }), "invalid cgroup parent"),
        ] {
            let error = settled(host).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }
}
