//! What a container is to be: the engine's own model, stored in its record.
//!
//! A client's wishes ([`Overrides`]) are laid over the image's configuration once, at creation, by
//! [`merge`]; from then on the image is not asked again.

use std::{collections::BTreeMap, net::Ipv4Addr};

use oriel_hcs::{CommandLine, Confinement, ConsoleSize, Limits, PortMapping, Protocol};
use oriel_image::{Empty, RunConfig};
use serde::{Deserialize, Serialize};

use crate::{
    EngineError, LogDriver, Membership, MountPoint, MountWishes, RestartPolicy, command, health,
};

/// A request to create a container.
#[derive(Clone, Debug, Default)]
pub struct CreateRequest {
    /// Name; `None` has one invented.
    pub name: Option<String>,
    /// Image, as the client named it.
    pub image: String,
    /// What differs from the image's configuration.
    pub overrides: Overrides,
    /// Standard streams and console.
    pub streams: StreamOptions,
    /// What it runs on.
    pub host: HostOptions,
    /// What is to be shown inside; becomes [`HostOptions::mounts`].
    pub mounts: MountWishes,
    /// Runs this in place of entry point and command; for `RUN` instructions.
    pub command: Option<CommandLine>,
}

/// What a client wants to differ from the image's configuration.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Computer name.
    pub hostname: String,
    /// Domain name.
    pub domain_name: String,
    /// Configuration; empty fields leave the image's. An entry point of `Some(vec![])` or
    /// `Some(vec![""])` takes the image's away.
    pub run: RunConfig,
    /// Grace period in seconds; negative waits without end.
    pub stop_timeout: Option<i64>,
}

/// Standard streams and console of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StreamOptions {
    /// Whether the client said it attaches standard input.
    pub attach_stdin: bool,
    /// Whether the client said it attaches standard output.
    pub attach_stdout: bool,
    /// Whether the client said it attaches standard error.
    pub attach_stderr: bool,
    /// Whether it has a console.
    pub tty: bool,
    /// Whether standard input stays open.
    pub open_stdin: bool,
    /// Whether standard input closes when the first client leaves.
    pub stdin_once: bool,
    /// First size of the console.
    pub console: Option<ConsoleSize>,
}

/// What a container runs on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostOptions {
    /// Published ports; host port 0 means any.
    pub ports: Vec<PortMapping>,
    /// Whether every exposed port is published.
    pub publish_all: bool,
    /// What happens when it ends.
    pub restart: RestartPolicy,
    /// Whether it is removed when it ends.
    pub auto_remove: bool,
    /// Its network mode: name of its first network (one that does not exist is reported by its
    /// start), or `container:` and whose compartment it shares.
    pub network: String,
    /// Its networks; none are that of the mode.
    pub networks: Vec<Membership>,
    /// Further lines of `hosts`: name and address.
    pub extra_hosts: Vec<(String, String)>,
    /// Name servers in place of the network's.
    pub dns: Vec<Ipv4Addr>,
    /// Domains in which a name without dots is looked for.
    pub dns_search: Vec<String>,
    /// Options of the resolver.
    pub dns_options: Vec<String>,
    /// Resource limits.
    pub limits: Limits,
    /// How it is bound besides.
    pub confinement: Confinement,
    /// Where output goes.
    pub log: LogDriver,
    /// Options of where it goes, checked.
    pub log_options: BTreeMap<String, String>,
    /// Bytes on its drive C:; `None` is the daemon's default.
    pub sandbox_size: Option<u64>,
    /// What is shown inside besides the image, outer places before inner ones.
    pub mounts: Vec<MountPoint>,
    /// The client's `HostConfig` with defaults resolved, as it is shown again.
    pub document: serde_json::Map<String, serde_json::Value>,
}

/// What a container is, settled at creation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Image, as the client named it.
    pub image: String,
    /// Id of the image.
    pub image_id: String,
    /// Computer name.
    pub hostname: String,
    /// Domain name.
    pub domain_name: String,
    /// Configuration of image and client together.
    pub run: RunConfig,
    /// What runs.
    pub command: CommandLine,
    /// First word of what runs, as `docker inspect` shows it.
    pub path: String,
    /// The words after it.
    pub args: Vec<String>,
    /// Grace period in seconds; negative waits without end.
    pub stop_timeout: Option<i64>,
    /// Standard streams and console.
    pub streams: StreamOptions,
    /// What it runs on.
    pub host: HostOptions,
}

impl Spec {
    /// Settles what a container is.
    ///
    /// # Errors
    /// `Invalid` when nobody says what to run, or for options that contradict each other.
    pub fn settle(
        id: &str,
        image_id: &str,
        image: &RunConfig,
        request: CreateRequest,
    ) -> Result<Self, EngineError> {
        let CreateRequest { overrides, streams, mut host, image: name, command, .. } = request;
        if host.auto_remove && host.restart != RestartPolicy::No {
            return Err(EngineError::invalid(
                "can't create 'AutoRemove' container with restart policy",
            ));
        }
        let run = merge(image, overrides.run);
        check_texts(&run, &overrides.hostname, &overrides.domain_name)?;
        crate::signal::action(stop_signal(&run))?;
        run.healthcheck.as_ref().map_or(Ok(()), health::validate)?;
        let (line, path, args) = match command {
            Some(CommandLine::Verbatim(line)) => {
                (CommandLine::Verbatim(line.clone()), line, Vec::new())
            }
            Some(CommandLine::Arguments(words)) => {
                let (path, args) = split_first(words.clone());
                (CommandLine::Arguments(words), path, args)
            }
            None => {
                let words = command::words(&run).ok_or(EngineError::NoCommand)?;
                let (path, args) = split_first(words);
                (command::line(&path, &args, run.args_escaped), path, args)
            }
        };
        if host.publish_all {
            publish_exposed(&run, &mut host.ports)?;
        }
        let hostname =
            if overrides.hostname.is_empty() { id[..12].to_owned() } else { overrides.hostname };
        Ok(Self {
            image: name,
            image_id: image_id.to_owned(),
            hostname,
            domain_name: overrides.domain_name,
            run,
            command: line,
            path,
            args,
            stop_timeout: overrides.stop_timeout,
            streams,
            host,
        })
    }

    /// The computer name that NetBIOS allows: upper case, at most 15 characters.
    #[must_use]
    pub fn computer_name(&self) -> String {
        self.hostname.chars().take(15).collect::<String>().to_uppercase()
    }

    /// The account it runs as.
    #[must_use]
    pub fn account(&self) -> &str {
        if self.run.user.is_empty() { command::DEFAULT_ACCOUNT } else { &self.run.user }
    }

    /// The signal that stops it.
    #[must_use]
    pub fn stop_signal(&self) -> &str {
        stop_signal(&self.run)
    }
}

/// Longest name of an account in bytes: it is the name of a directory as well.
const LONGEST_ACCOUNT: usize = 255;

/// Refuses texts that Windows could not be given.
fn check_texts(run: &RunConfig, hostname: &str, domain: &str) -> Result<(), EngineError> {
    let listed = [&run.cmd, &run.entrypoint, &run.shell];
    let listed = listed.into_iter().flatten().flatten().chain(&run.env);
    let single = [run.working_dir.as_str(), hostname, domain];
    no_nul(listed.map(String::as_str).chain(single))?;
    let named = |c: char| !c.is_control() && !"\\/".contains(c);
    if run.user.len() > LONGEST_ACCOUNT || !run.user.chars().all(named) {
        let user = run.user.chars().take(40).collect::<String>();
        return Err(EngineError::invalid(format!("{user:?} is no name of an account")));
    }
    Ok(())
}

/// Refuses texts with a NUL, which ends texts of Windows.
pub(crate) fn no_nul<'a>(mut texts: impl Iterator<Item = &'a str>) -> Result<(), EngineError> {
    match texts.find(|text| text.contains('\0')) {
        Some(text) => Err(EngineError::invalid(format!("{text:?} has a NUL in it"))),
        None => Ok(()),
    }
}

/// Docker's default, which on Windows means: shut down.
fn stop_signal(run: &RunConfig) -> &str {
    if run.stop_signal.is_empty() { "SIGTERM" } else { &run.stop_signal }
}

fn split_first(words: Vec<String>) -> (String, Vec<String>) {
    let mut words = words.into_iter();
    (words.next().unwrap_or_default(), words.collect())
}

/// Publishes on any free port each exposed port that has no host port yet.
fn publish_exposed(run: &RunConfig, ports: &mut Vec<PortMapping>) -> Result<(), EngineError> {
    for exposed in run.exposed_ports.keys() {
        let (container_port, protocol) = parse_port(exposed)?;
        let published = ports
            .iter()
            .any(|port| port.container_port == container_port && port.protocol == protocol);
        if !published {
            ports.push(PortMapping {
                protocol,
                host_ip: Ipv4Addr::UNSPECIFIED.into(),
                host_port: 0,
                container_port,
            });
        }
    }
    Ok(())
}

/// Reads a port such as `80/tcp` or `53/udp`; without a protocol it is TCP.
///
/// # Errors
/// `Invalid` for anything else.
pub fn parse_port(text: &str) -> Result<(u16, Protocol), EngineError> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" | "" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        other => {
            return Err(EngineError::invalid(format!("invalid proto '{other}': {text}")));
        }
    };
    match number.parse() {
        Ok(number) if number > 0 => Ok((number, protocol)),
        _ => Err(EngineError::invalid(format!("invalid port '{number}': {text}"))),
    }
}

/// Lays a client's wishes over an image's configuration (moby `daemon/commit.go`, `merge`).
#[must_use]
pub fn merge(image: &RunConfig, mut client: RunConfig) -> RunConfig {
    let nothing = |words: &Option<Vec<String>>| words.as_ref().is_none_or(Vec::is_empty);
    if nothing(&client.entrypoint) {
        if nothing(&client.cmd) {
            client.cmd.clone_from(&image.cmd);
            client.args_escaped = image.args_escaped;
        }
        if client.entrypoint.is_none() {
            client.entrypoint.clone_from(&image.entrypoint);
        }
    }
    // The client of `docker run --entrypoint ""` sends one empty word.
    if client.entrypoint.as_deref() == Some(&[String::new()]) {
        client.entrypoint = None;
    }
    client.env = command::merge_environment(&image.env, &client.env);
    fill(&mut client.user, &image.user);
    fill(&mut client.working_dir, &image.working_dir);
    fill(&mut client.stop_signal, &image.stop_signal);
    client.shell = client.shell.or_else(|| image.shell.clone());
    client.healthcheck = health::inherit(client.healthcheck, image.healthcheck.as_ref());
    let ports = image.exposed_ports.keys().map(|port| (port.clone(), Empty {}));
    client.exposed_ports.extend(ports);
    let volumes = image.volumes.keys().map(|path| (path.clone(), Empty {}));
    client.volumes.extend(volumes);
    for (key, value) in &image.labels {
        client.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    client
}

fn fill(wish: &mut String, image: &str) {
    if wish.is_empty() {
        image.clone_into(wish);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|word| (*word).to_owned()).collect())
    }

    fn image() -> RunConfig {
        RunConfig {
            cmd: words(&["-p", "80"]),
            entrypoint: words(&["server.exe"]),
            args_escaped: true,
            env: vec!["Path=C:\\Windows".to_owned(), "A=1".to_owned()],
            user: "ContainerUser".to_owned(),
            ..RunConfig::default()
        }
    }

    fn settle(run: RunConfig) -> Result<Spec, EngineError> {
        let overrides = Overrides { run, ..Overrides::default() };
        let request =
            CreateRequest { image: "app".to_owned(), overrides, ..CreateRequest::default() };
        Spec::settle(&"ab".repeat(32), "sha256:x", &image(), request)
    }

    #[test]
    fn without_wishes_the_image_decides() {
        let spec = settle(RunConfig::default()).unwrap();
        assert_eq!(spec.command, CommandLine::Verbatim("server.exe -p 80".to_owned()));
        assert_eq!((spec.path.as_str(), spec.args.len()), ("server.exe", 2));
        assert_eq!(spec.account(), "ContainerUser");
        assert_eq!(spec.computer_name(), "ABABABABABAB");
    }

    #[test]
    fn what_windows_has_no_text_for_is_refused() {
        let user = |user: &str| RunConfig { user: user.to_owned(), ..RunConfig::default() };
        assert!(settle(user("ContainerUser")).is_ok());
        for name in ["a\0b", "a\\b", "../x", "a\n", &"x".repeat(256)] {
            assert!(settle(user(name)).is_err(), "{name:?}");
        }
        let env = RunConfig { env: vec!["A=\0".to_owned()], ..RunConfig::default() };
        assert!(settle(env).unwrap_err().to_string().contains("NUL"));
        assert!(settle(RunConfig { cmd: words(&["a\0"]), ..RunConfig::default() }).is_err());
    }

    #[test]
    fn a_command_replaces_arguments_and_is_escaped() {
        let run = RunConfig { cmd: words(&["a b"]), ..RunConfig::default() };
        let spec = settle(run).unwrap();
        let expected = vec!["server.exe".to_owned(), "a b".to_owned()];
        assert_eq!(spec.command, CommandLine::Arguments(expected));
    }

    #[test]
    fn an_entry_point_drops_the_images_command() {
        let run = RunConfig { entrypoint: words(&["cmd"]), ..RunConfig::default() };
        assert_eq!(settle(run).unwrap().command, CommandLine::Arguments(vec!["cmd".to_owned()]));
    }

    #[test]
    fn an_empty_entry_point_takes_the_images_away() {
        let run =
            RunConfig { entrypoint: words(&[""]), cmd: words(&["cmd"]), ..RunConfig::default() };
        assert_eq!(settle(run).unwrap().command, CommandLine::Arguments(vec!["cmd".to_owned()]));
        let run = RunConfig { entrypoint: words(&[""]), ..RunConfig::default() };
        assert!(matches!(settle(run), Err(EngineError::NoCommand)));
    }

    #[test]
    fn publishing_all_keeps_what_is_published_already() {
        let mut run = image();
        for port in ["80/tcp", "53/udp"] {
            run.exposed_ports.insert(port.to_owned(), Empty {});
        }
        let taken = PortMapping {
            protocol: Protocol::Tcp,
            host_ip: Ipv4Addr::LOCALHOST.into(),
            host_port: 8080,
            container_port: 80,
        };
        let mut ports = vec![taken.clone()];
        publish_exposed(&run, &mut ports).unwrap();
        assert_eq!(ports.len(), 2);
        assert_eq!(ports[0], taken);
        assert_eq!((ports[1].container_port, ports[1].host_port), (53, 0));
    }

    #[test]
    fn ports_have_a_number_and_a_protocol() {
        assert_eq!(parse_port("80").unwrap(), (80, Protocol::Tcp));
        assert_eq!(parse_port("53/UDP").unwrap(), (53, Protocol::Udp));
        for port in ["", "0", "65536", "80/sctp", "a/tcp"] {
            assert!(parse_port(port).is_err(), "{port}");
        }
    }

    #[test]
    fn automatic_removal_and_restart_exclude_each_other() {
        let host = HostOptions {
            auto_remove: true,
            restart: RestartPolicy::Always,
            ..HostOptions::default()
        };
        let request = CreateRequest { host, ..CreateRequest::default() };
        assert!(Spec::settle(&"ab".repeat(32), "", &image(), request).is_err());
    }
}
