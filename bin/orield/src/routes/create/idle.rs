//! Options that mean nothing to Windows programs: checked as Docker checks them, and accepted with
//! a warning when a container would have less, or other things, than was asked for.

use oriel_api::container::{Device, DeviceRequest, HostConfig};
use oriel_engine::EngineError;

/// Linux' capabilities, without their prefix (capabilities(7)).
const CAPABILITIES: &str = " AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF \
                            CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID \
                            IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE \
                            MKNOD NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON \
                            SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT \
                            SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE \
                            SYS_TIME SYS_TTY_CONFIG WAKE_ALARM ALL ";

/// Runtimes that containers are commonly asked to be made with.
const RUNTIMES: [&str; 4] =
    ["runc", "io.containerd.runc.v2", "io.containerd.runhcs.v1", "com.docker.hcsshim.v1"];

/// Checks them all.
pub(super) fn check(host: &HostConfig, warnings: &mut Vec<String>) -> Result<(), EngineError> {
    check_capabilities(host)?;
    modes(host, warnings)?;
    real_time(host)?;
    devices(host.devices.as_deref().unwrap_or_default())?;
    device_requests(host.device_requests.as_deref().unwrap_or_default())?;
    let runtime = host.runtime.as_deref().unwrap_or_default();
    if !runtime.is_empty() && !RUNTIMES.contains(&runtime) {
        let reason = format!("unknown or invalid runtime name: {runtime}");
        return Err(EngineError::invalid(reason));
    }
    let shared = host.shm_size.unwrap_or_default();
    if shared < 0 {
        return Err(EngineError::invalid("SHM size can not be less than 0"));
    }
    let all_zero = host.cap_add.iter().flatten().next().is_none();
    for (name, asked, why) in [
        ("Privileged", host.privileged == Some(true), "containers are confined like all others"),
        ("CapAdd", !all_zero, "Windows programs have no Linux capabilities"),
        ("Runtime", !runtime.is_empty(), "containers are made by oriel-agent"),
        ("ShmSize", shared > 0, "shared memory of Windows programs counts as memory"),
    ] {
        if asked {
            warnings.push(discarded(name, why));
        }
    }
    Ok(())
}

/// A warning about an option of which nothing came.
fn discarded(name: &str, why: &str) -> String {
    format!("Option {name} is not supported for Windows: {why}. {name} discarded.")
}

/// Refuses what is no capability.
pub(super) fn check_capabilities(host: &HostConfig) -> Result<(), EngineError> {
    for (list, names) in [("CapAdd", &host.cap_add), ("CapDrop", &host.cap_drop)] {
        for name in names.iter().flatten() {
            let upper = name.to_ascii_uppercase();
            let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
            let known = !bare.contains(' ') && CAPABILITIES.contains(&format!(" {bare} "));
            if bare.is_empty() || !known {
                let reason = format!("invalid {list}: unknown capability: \"CAP_{bare}\"");
                return Err(EngineError::invalid(reason));
            }
        }
    }
    Ok(())
}

/// Namespaces that are somebody else's.
fn modes(host: &HostConfig, warnings: &mut Vec<String>) -> Result<(), EngineError> {
    for (name, words, mode) in [
        ("IpcMode", "IPC mode", &host.ipc_mode),
        ("PidMode", "PID mode", &host.pid_mode),
        ("UTSMode", "UTS mode", &host.uts_mode),
        ("UsernsMode", "USER mode", &host.userns_mode),
        ("CgroupnsMode", "cgroup namespace mode", &host.cgroupns_mode),
    ] {
        let of_container = |mode: &str| {
            mode.strip_prefix("container:").is_some_and(|container| !container.is_empty())
        };
        match (name, mode.as_deref().unwrap_or_default()) {
            (_, "" | "private") | ("IpcMode", "none") => {}
            (_, "host") | ("IpcMode", "shareable") => warnings.push(discarded(name, OWN)),
            ("IpcMode" | "PidMode", mode) if of_container(mode) => {
                warnings.push(discarded(name, OWN));
            }
            (_, mode) => return Err(EngineError::invalid(format!("invalid {words}: {mode}"))),
        }
    }
    Ok(())
}

/// Why a container shares no namespace but that of networks.
const OWN: &str = "every container has its own";

/// Real-time scheduling is for nobody: Docker's own words for Windows.
fn real_time(host: &HostConfig) -> Result<(), EngineError> {
    let resources = &host.resources;
    for (what, value) in
        [("period", resources.cpu_realtime_period), ("runtime", resources.cpu_realtime_runtime)]
    {
        if value.is_some_and(|value| value != 0) {
            return Err(EngineError::invalid(format!(
                "invalid option: CPU real-time {what} is not supported for Windows containers"
            )));
        }
    }
    Ok(())
}

/// A container without the device it was to have is not what was asked for.
fn devices(devices: &[Device]) -> Result<(), EngineError> {
    let Some(device) = devices.first() else { return Ok(()) };
    let path = &device.path_on_host;
    let class = path.strip_prefix("class/").is_some_and(|id| !id.is_empty());
    let typed = path.split_once("://").is_some_and(|(kind, id)| !kind.is_empty() && !id.is_empty());
    if !class && !typed {
        return Err(EngineError::invalid(format!(
            "invalid device assignment path: '{path}', must be 'class/ID' or 'IDType://ID'"
        )));
    }
    Err(EngineError::unsupported(format!(
        "device {path} cannot be given to a container by this daemon: leave it out"
    )))
}

fn device_requests(requests: &[DeviceRequest]) -> Result<(), EngineError> {
    let Some(request) = requests.first() else { return Ok(()) };
    let choices = request.capabilities.clone().unwrap_or_default();
    let choices: Vec<_> =
        choices.iter().map(|capabilities| format!("[{}]", capabilities.join(" "))).collect();
    Err(EngineError::invalid(format!(
        "could not select device driver {:?} with capabilities: [{}]",
        request.driver,
        choices.join(" ")
    )))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn checked(host: Value) -> Result<Vec<String>, String> {
        let host = serde_json::from_value(host).unwrap();
        let mut warnings = Vec::new();
        check(&host, &mut warnings).map_err(|error| error.to_string())?;
        Ok(warnings)
    }

    #[test]
    fn what_is_so_anyway_brings_no_warning() {
        let host = json!({
            "CapDrop": ["ALL", "CAP_NET_RAW", "mknod"], "IpcMode": "private", "PidMode": "",
            "Init": true, "CgroupnsMode": "private", "Privileged": false, "Devices": [],
        });
        assert_eq!(checked(host), Ok(Vec::new()));
    }

    #[test]
    fn what_is_not_given_is_said() {
        for (name, value) in [
            ("CapAdd", json!(["NET_ADMIN"])),
            ("Privileged", json!(true)),
            ("IpcMode", json!("host")),
            ("PidMode", json!("container:x")),
            ("UTSMode", json!("host")),
            ("UsernsMode", json!("host")),
            ("CgroupnsMode", json!("host")),
            ("Runtime", json!("runc")),
            ("ShmSize", json!(67_108_864)),
        ] {
            let warnings = checked(json!({ name: value })).unwrap();
            assert_eq!(warnings.len(), 1, "{name}");
            assert!(warnings[0].ends_with(&format!("{name} discarded.")), "{warnings:?}");
        }
    }

    #[test]
    fn names_are_checked_as_docker_checks_them() {
        for (host, text) in [
            (json!({ "CapAdd": ["X"] }), "invalid CapAdd: unknown capability: \"CAP_X\""),
            (json!({ "CapDrop": ["A B"] }), "invalid CapDrop: unknown capability"),
            (json!({ "IpcMode": "x" }), "invalid IPC mode: x"),
            (json!({ "PidMode": "container:" }), "invalid PID mode: container:"),
            (json!({ "UTSMode": "x" }), "invalid UTS mode: x"),
            (json!({ "Runtime": "x" }), "unknown or invalid runtime name: x"),
            (json!({ "ShmSize": -1 }), "SHM size can not be less than 0"),
            (json!({ "CpuRealtimePeriod": 1 }), "CPU real-time period is not supported"),
            (
                json!({ "Devices": [{ "PathOnHost": "/dev/sda" }] }),
                "must be 'class/ID' or 'IDType://ID'",
            ),
            (json!({ "Devices": [{ "PathOnHost": "class/5B45" }] }), "cannot be given"),
            (
                json!({ "DeviceRequests": [{ "Capabilities": [["gpu"]] }] }),
                "could not select device driver \"\" with capabilities: [[gpu]]",
            ),
        ] {
            let error = checked(host).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }
}
