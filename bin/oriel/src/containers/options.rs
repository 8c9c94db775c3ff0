//! What `run` and `create` take: Docker's options.
//!
//! Options that only Linux containers have are taken as well and sent to the daemon, which says
//! what becomes of them.

use clap::Args;

use crate::{
    completion,
    format::human::{parse_bytes, parse_nanoseconds},
};

/// Everything about a new container.
#[derive(Args)]
pub(crate) struct ContainerOptions {
    #[command(flatten)]
    pub(crate) general: General,
    #[command(flatten)]
    pub(crate) program: Program,
    #[command(flatten)]
    pub(crate) network: Network,
    #[command(flatten)]
    pub(crate) storage: Storage,
    #[command(flatten)]
    pub(crate) limits: Limits,
    #[command(flatten)]
    pub(crate) linux: Linux,
    #[command(flatten)]
    pub(crate) health: Health,
    /// Image, then the command and its arguments; everything after IMAGE belongs to the container
    #[arg(
        required = true,
        num_args = 1..,
        trailing_var_arg = true,
        value_names = ["IMAGE", "COMMAND"],
        add = completion::images()
    )]
    pub(crate) image_and_command: Vec<String>,
}

#[derive(Args)]
#[command(next_help_heading = "Container")]
pub(crate) struct General {
    /// Name for the container
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Label, NAME=VALUE; may be given more than once
    #[arg(short, long = "label", value_name = "LABEL")]
    pub(crate) labels: Vec<String>,
    /// File with a label on each line
    #[arg(long = "label-file", value_name = "FILE")]
    pub(crate) label_files: Vec<String>,
    /// Annotation, NAME=VALUE
    #[arg(long = "annotation", value_name = "ANNOTATION")]
    pub(crate) annotations: Vec<String>,
    /// Remove the container, and its anonymous volumes, when it ends
    #[arg(long)]
    pub(crate) rm: bool,
    /// When to start it again: no, always, unless-stopped, on-failure[:MOST]
    #[arg(long, value_name = "POLICY", default_value = "no", hide_default_value = true)]
    pub(crate) restart: String,
    /// How it is kept apart: default, process, hyperv
    #[arg(long, value_name = "ISOLATION")]
    pub(crate) isolation: Option<String>,
    /// Platform of the image, such as windows/amd64
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,
    /// When to pull the image: always, missing, never
    #[arg(long, value_enum, default_value_t = Pull::Missing, hide_possible_values = true)]
    pub(crate) pull: Pull,
    /// Do not show the progress of a pull
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Write the container's id to this file, which must not exist
    #[arg(long, value_name = "FILE")]
    pub(crate) cidfile: Option<std::path::PathBuf>,
    /// Where output goes: json-file, local, none ...
    #[arg(long, value_name = "DRIVER")]
    pub(crate) log_driver: Option<String>,
    /// Option of the log driver, NAME=VALUE
    #[arg(long = "log-opt", value_name = "OPTION")]
    pub(crate) log_options: Vec<String>,
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Pull {
    /// Before every container.
    Always,
    /// When it is not here.
    Missing,
    /// Never.
    Never,
}

#[derive(Args)]
#[command(next_help_heading = "Program")]
pub(crate) struct Program {
    /// Keep standard input open
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the program a console
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Attach to stdin, stdout or stderr only
    #[arg(short, long = "attach", value_name = "STREAM")]
    pub(crate) attach: Vec<String>,
    /// Variable, NAME=VALUE, or NAME to pass this one's on
    #[arg(short, long = "env", value_name = "VARIABLE")]
    pub(crate) env: Vec<String>,
    /// File with a variable on each line
    #[arg(long = "env-file", value_name = "FILE")]
    pub(crate) env_files: Vec<String>,
    /// Directory to start in, such as 'C:\app'
    #[arg(short, long, value_name = "DIRECTORY")]
    pub(crate) workdir: Option<String>,
    /// Account, such as ContainerUser
    #[arg(short, long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Program to run instead of the image's
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) entrypoint: Option<String>,
    /// Signal that stops it
    #[arg(long, value_name = "SIGNAL")]
    pub(crate) stop_signal: Option<String>,
    /// Seconds that a stop waits before it kills
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(crate) stop_timeout: Option<i64>,
    /// Run an init that reaps processes
    #[arg(long)]
    pub(crate) init: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct Network {
    /// Network to join, or name=NETWORK,alias=NAME,ip=ADDRESS; may be given more than once
    #[arg(long = "network", visible_alias = "net", value_name = "NETWORK",
        add = completion::networks())]
    pub(crate) networks: Vec<String>,
    /// Further name on the network
    #[arg(long = "network-alias", visible_alias = "net-alias", value_name = "NAME")]
    pub(crate) aliases: Vec<String>,
    /// Publish a port: [[ADDRESS:]PORT:]PORT[/tcp|/udp]
    #[arg(short, long = "publish", value_name = "PORT")]
    pub(crate) publish: Vec<String>,
    /// Publish every exposed port
    #[arg(short = 'P', long)]
    pub(crate) publish_all: bool,
    /// Expose a port or range of ports
    #[arg(long, value_name = "PORT")]
    pub(crate) expose: Vec<String>,
    /// Computer name
    #[arg(short = 'h', long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// Domain name
    #[arg(long, value_name = "NAME")]
    pub(crate) domainname: Option<String>,
    /// Name server
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) dns: Vec<String>,
    /// Option for looking names up
    #[arg(long = "dns-option", visible_alias = "dns-opt", value_name = "OPTION")]
    pub(crate) dns_options: Vec<String>,
    /// Domain to look names up in
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) dns_search: Vec<String>,
    /// Line of the hosts file, NAME:ADDRESS
    #[arg(long = "add-host", value_name = "HOST")]
    pub(crate) hosts: Vec<String>,
    /// IPv4 address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Option<String>,
    /// IPv6 address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip6: Option<String>,
    /// Hardware address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) mac_address: Option<String>,
    /// Other container, as this one calls it: CONTAINER[:NAME]
    #[arg(long = "link", value_name = "CONTAINER")]
    pub(crate) links: Vec<String>,
}

#[derive(Args)]
#[command(next_help_heading = "Storage")]
pub(crate) struct Storage {
    /// Show a volume or host path inside: SOURCE:'C:\path'[:ro]
    #[arg(short, long = "volume", value_name = "VOLUME")]
    pub(crate) volumes: Vec<String>,
    /// Show something inside: type=bind|volume|tmpfs|npipe,source=...,target=...[,readonly]
    #[arg(long = "mount", value_name = "MOUNT")]
    pub(crate) mounts: Vec<String>,
    /// Directory in memory: 'C:\path'[:OPTIONS]
    #[arg(long, value_name = "PATH")]
    pub(crate) tmpfs: Vec<String>,
    /// Show the volumes of another container: CONTAINER[:ro]
    #[arg(long, value_name = "CONTAINER", add = completion::containers())]
    pub(crate) volumes_from: Vec<String>,
    /// Driver of volumes
    #[arg(long, value_name = "DRIVER")]
    pub(crate) volume_driver: Option<String>,
    /// Option of the sandbox, such as size=20g
    #[arg(long = "storage-opt", value_name = "OPTION")]
    pub(crate) storage_options: Vec<String>,
    /// Refuse writes to everything but volumes
    #[arg(long)]
    pub(crate) read_only: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct Limits {
    /// Memory, such as 512m
    #[arg(short, long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) memory: Option<i64>,
    /// Memory and swap together; -1 is no limit
    #[arg(long, value_name = "BYTES", value_parser = bytes_or_none, allow_hyphen_values = true)]
    pub(crate) memory_swap: Option<i64>,
    /// Memory that is kept when the host runs out
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) memory_reservation: Option<i64>,
    /// Processors, such as 1.5
    #[arg(long, value_name = "NUMBER", value_parser = billionths)]
    pub(crate) cpus: Option<i64>,
    /// Whole processors
    #[arg(long, value_name = "NUMBER")]
    pub(crate) cpu_count: Option<i64>,
    /// Percent of all processors
    #[arg(long, value_name = "PERCENT")]
    pub(crate) cpu_percent: Option<i64>,
    /// Weight against other containers
    #[arg(short, long, value_name = "NUMBER")]
    pub(crate) cpu_shares: Option<i64>,
    /// Microseconds in which a quota counts
    #[arg(long, value_name = "MICROSECONDS")]
    pub(crate) cpu_period: Option<i64>,
    /// Microseconds of a processor in a period
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    pub(crate) cpu_quota: Option<i64>,
    /// Processors it may run on, such as 0-1
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_cpus: Option<String>,
    /// Memory nodes it may use
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_mems: Option<String>,
    /// Bytes a second of the system drive
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) io_maxbandwidth: Option<i64>,
    /// Reads and writes a second of the system drive
    #[arg(long, value_name = "NUMBER")]
    pub(crate) io_maxiops: Option<i64>,
    /// Weight of its reads and writes
    #[arg(long, value_name = "NUMBER")]
    pub(crate) blkio_weight: Option<u16>,
    /// Most tasks; -1 is no limit
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(crate) pids_limit: Option<i64>,
    /// Limit of the kernel, NAME=SOFT[:HARD]
    #[arg(long = "ulimit", value_name = "LIMIT")]
    pub(crate) ulimits: Vec<String>,
    /// Size of shared memory
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) shm_size: Option<i64>,
    /// Do not kill it when memory runs out
    #[arg(long)]
    pub(crate) oom_kill_disable: bool,
    /// How readily it is killed when memory runs out
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(crate) oom_score_adj: Option<i64>,
}

#[derive(Args)]
#[command(next_help_heading = "Security and Linux")]
pub(crate) struct Linux {
    /// Security option, such as credentialspec=file://name.json
    #[arg(long = "security-opt", value_name = "OPTION")]
    pub(crate) security_options: Vec<String>,
    /// Give it everything
    #[arg(long)]
    pub(crate) privileged: bool,
    /// Capability to add
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_add: Vec<String>,
    /// Capability to drop
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_drop: Vec<String>,
    /// Device
    #[arg(long = "device", value_name = "DEVICE")]
    pub(crate) devices: Vec<String>,
    /// Further group
    #[arg(long, value_name = "GROUP")]
    pub(crate) group_add: Vec<String>,
    /// Setting of the kernel, NAME=VALUE
    #[arg(long = "sysctl", value_name = "SETTING")]
    pub(crate) sysctls: Vec<String>,
    /// Whose IPC namespace
    #[arg(long, value_name = "MODE")]
    pub(crate) ipc: Option<String>,
    /// Whose PID namespace
    #[arg(long, value_name = "MODE")]
    pub(crate) pid: Option<String>,
    /// Whose UTS namespace
    #[arg(long, value_name = "MODE")]
    pub(crate) uts: Option<String>,
    /// Whose user namespace
    #[arg(long, value_name = "MODE")]
    pub(crate) userns: Option<String>,
    /// Parent of its cgroup
    #[arg(long, value_name = "CGROUP")]
    pub(crate) cgroup_parent: Option<String>,
    /// Runtime
    #[arg(long, value_name = "NAME")]
    pub(crate) runtime: Option<String>,
}

#[derive(Args)]
#[command(next_help_heading = "Health")]
pub(crate) struct Health {
    /// Command that tells whether it is well
    #[arg(long = "health-cmd", value_name = "COMMAND")]
    pub(crate) command: Option<String>,
    /// Time between checks, such as 30s
    #[arg(long = "health-interval", value_name = "DURATION", value_parser = parse_nanoseconds)]
    pub(crate) interval: Option<i64>,
    /// Time a check may take
    #[arg(long = "health-timeout", value_name = "DURATION", value_parser = parse_nanoseconds)]
    pub(crate) timeout: Option<i64>,
    /// Failing checks in a row that make it unhealthy
    #[arg(long = "health-retries", value_name = "NUMBER")]
    pub(crate) retries: Option<i64>,
    /// Time to start in which failing checks do not count
    #[arg(long = "health-start-period", value_name = "DURATION", value_parser = parse_nanoseconds)]
    pub(crate) start_period: Option<i64>,
    /// Time between checks while it starts
    #[arg(long = "health-start-interval", value_name = "DURATION",
        value_parser = parse_nanoseconds)]
    pub(crate) start_interval: Option<i64>,
    /// Turn off the image's health check
    #[arg(long = "no-healthcheck")]
    pub(crate) none: bool,
}

/// Bytes, or -1.
pub(crate) fn bytes_or_none(text: &str) -> Result<i64, String> {
    if text == "-1" { Ok(-1) } else { parse_bytes(text) }
}

/// Processors in billionths.
pub(crate) fn billionths(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?} is no number of processors; write for example 1.5");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 9 || !part.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(wrong());
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| wrong())? };
    let part: i64 = format!("{part:0<9}").parse().map_err(|_| wrong())?;
    whole.checked_mul(1_000_000_000).and_then(|whole| whole.checked_add(part)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_exact_billionths() {
        assert_eq!(billionths("1.5"), Ok(1_500_000_000));
        assert_eq!(billionths(".25"), Ok(250_000_000));
        for bad in ["", "x", "1.x", "1.0000000001", "99999999999"] {
            assert!(billionths(bad).is_err() || bad.is_empty(), "{bad}");
        }
    }
}
