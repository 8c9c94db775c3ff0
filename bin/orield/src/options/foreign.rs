//! dockerd's directives that nothing here listens to.
//!
//! A directive whose absence costs nobody anything is accepted with a warning, so that files
//! written for dockerd can be used. One that promises something (a limit, an address, a wall) is
//! refused, unless it asks for what is so anyway.

use serde_json::Value;

use super::directives::Directives;

/// What becomes of a directive.
enum Verdict {
    /// Accepted with a warning; it would change nothing.
    Idle(&'static str),
    /// Refused, unless it says nothing.
    Refused(&'static str),
    /// Refused, unless its value, as JSON, is among these.
    Only(&'static [&'static str], &'static str),
}

use Verdict::{Idle, Only, Refused};

const NO_IPV6: &str = "containers have IPv4 only";
const NO_SWARM: &str = "this engine is never part of a swarm";
const NO_RUNTIME: &str = "containers are silos, made by oriel-agent and by no OCI runtime";
const NO_CONTAINERD: &str = "there is no containerd";
const NO_PROXY: &str = "published ports need no userland proxy";
const LINUX_ONLY: &str = "Windows containers have nothing of the kind";
const PER_CONTAINER: &str = "give it to each container";
const PER_NETWORK: &str = "give it to each network";

const VERDICTS: &[(&str, Verdict)] = &[
    ("allow-direct-routing", Only(&["false"], "addresses of containers are not routed to")),
    ("authorization-plugins", Refused("there are no plugins")),
    ("bip6", Refused(NO_IPV6)),
    ("bridge-accept-fwmark", Refused("the rules of the firewall know no marks")),
    ("builder", Idle("the classic builder's cache is bounded by `docker image prune`")),
    ("cdi-spec-dirs", Idle("there are no CDI devices")),
    ("cgroup-parent", Refused("the control groups are at a fixed place")),
    ("containerd", Idle(NO_CONTAINERD)),
    ("containerd-namespace", Idle(NO_CONTAINERD)),
    ("containerd-plugins-namespace", Idle(NO_CONTAINERD)),
    ("cpu-rt-period", Refused(PER_CONTAINER)),
    ("cpu-rt-runtime", Refused(PER_CONTAINER)),
    ("default-cgroupns-mode", Idle(LINUX_ONLY)),
    ("default-gateway", Refused("the gateway of network nat is its bridge")),
    ("default-gateway-v6", Refused(NO_IPV6)),
    ("default-ipc-mode", Idle(LINUX_ONLY)),
    ("default-network-opts", Refused(PER_NETWORK)),
    ("default-runtime", Idle(NO_RUNTIME)),
    ("default-shm-size", Idle(LINUX_ONLY)),
    ("default-ulimits", Refused(PER_CONTAINER)),
    ("dns-opts", Idle("Windows programs have no resolver options")),
    ("dns-search", Refused(PER_CONTAINER)),
    ("exec-opts", Only(&[r#"["isolation=process"]"#, r#"["isolation=default"]"#], NO_RUNTIME)),
    ("experimental", Idle("nothing here is experimental")),
    ("features", Idle("there is the classic builder and one image store")),
    ("firewall-backend", Only(&[r#""nftables""#], "ports are published with nftables")),
    ("fixed-cidr", Refused("network nat has all addresses of bip")),
    ("fixed-cidr-v6", Refused(NO_IPV6)),
    ("host-gateway-ip", Refused("the host is the gateway of a container's network")),
    ("host-gateway-ips", Refused("the host is the gateway of a container's network")),
    ("icc", Only(&["true"], "containers of one network always reach each other")),
    ("init", Idle("every silo has an init of its own")),
    ("init-path", Idle("every silo has an init of its own")),
    ("ip", Refused("say the address with each published port")),
    ("ip-forward", Only(&["true"], "containers are reached by forwarding")),
    ("ip-forward-no-drop", Idle("the policy of the host's firewall is left alone")),
    ("ip-masq", Only(&["true"], "containers of network nat are behind the host's address")),
    ("ip6tables", Idle(NO_IPV6)),
    ("iptables", Only(&["true"], "ports are published with nftables, which has to be allowed")),
    ("ipv6", Only(&["false"], NO_IPV6)),
    ("live-restore", Only(&["true"], "containers always go on without the daemon")),
    ("log-format", Only(&[r#""text""#], "the daemon's log is text")),
    ("metrics-addr", Refused("there are no metrics yet")),
    ("mtu", Refused(PER_NETWORK)),
    ("network-control-plane-mtu", Idle(NO_SWARM)),
    ("no-new-privileges", Only(&["true"], "no process of a container ever gains privileges")),
    ("node-generic-resources", Idle(NO_SWARM)),
    ("oom-score-adjust", Refused("set OOMScoreAdjust= of the service")),
    ("raw-logs", Idle("the daemon's log has no colours")),
    ("runtimes", Idle(NO_RUNTIME)),
    ("seccomp-profile", Only(&[r#""builtin""#], "the filter of system calls is built in")),
    ("selinux-enabled", Only(&["false"], "containers have no SELinux labels")),
    ("shutdown-timeout", Idle("containers go on when the daemon ends")),
    ("storage-driver", Only(&[r#""windowsfilter""#], "the storage driver is windowsfilter")),
    ("swarm-default-advertise-addr", Idle(NO_SWARM)),
    ("userland-proxy", Idle(NO_PROXY)),
    ("userland-proxy-path", Idle(NO_PROXY)),
    ("userns-remap", Refused("the agent drops every capability instead")),
];

/// Takes all of them; returns the warnings.
pub(super) fn foreign(directives: &mut Directives) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, verdict) in VERDICTS {
        let Some(value) = directives.take(name) else { continue };
        match verdict {
            Idle(why) => warnings.push(format!("{name} means nothing here: {why}")),
            Only(values, _) if values.contains(&value.to_string().as_str()) => {}
            Refused(_) | Only(..) if says_nothing(&value) => {}
            Refused(why) | Only(_, why) => {
                directives.problem(format!("{name} {value} is not supported: {why}"));
            }
        }
    }
    warnings
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}
