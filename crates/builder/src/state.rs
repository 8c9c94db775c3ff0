//! What a stage is at one point of its build: the image so far, its configuration, the arguments
//! in scope; and how the instructions that only change a configuration change it.

use std::collections::BTreeMap;

use oriel_image::{Empty, Healthcheck, ImageId, RunConfig};

use crate::{
    BuildRequest, Problem,
    execute::Ahead,
    expand::{self, ExpandError},
    parse::{self, Command, Pair, Probe},
    plan,
};

/// The shell of commands in shell form (moby's `builder_windows.go`).
const DEFAULT_SHELL: &[&str] = &["cmd", "/S", "/C"];

/// A stage under construction.
pub(crate) struct State {
    /// The image so far.
    pub(crate) image: ImageId,
    /// How containers of it run.
    pub(crate) config: RunConfig,
    /// `MAINTAINER`
    pub(crate) author: String,
    /// Arguments declared in this stage.
    pub(crate) arguments: BTreeMap<String, Option<String>>,
    /// Whether this stage has its own `CMD`, which an `ENTRYPOINT` then leaves alone.
    pub(crate) has_cmd: bool,
    /// Whether a step had to be run, so that none after it can be in the cache.
    pub(crate) busted: bool,
    /// What comes next, and is ready for that.
    pub(crate) ahead: Ahead,
}

/// A command line as an image keeps it.
pub(crate) struct CommandLine {
    /// One element in shell form.
    pub(crate) words: Vec<String>,
    /// Whether it is a command line already, not to be escaped again.
    pub(crate) escaped: bool,
}

impl State {
    /// A stage that begins with an image and its configuration.
    pub(crate) fn new(image: ImageId, config: RunConfig) -> Self {
        Self {
            image,
            config,
            author: String::new(),
            arguments: BTreeMap::new(),
            has_cmd: false,
            busted: false,
            ahead: Ahead::default(),
        }
    }

    /// Puts variables into a word.
    pub(crate) fn expand(&self, word: &str, escape: char) -> Result<String, ExpandError> {
        expand::word(word, escape, &|name| self.variable(name))
    }

    /// The value of a variable: one of `ENV`, else an argument; names without case.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        let variable = self.config.env.iter().rev().find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            key.eq_ignore_ascii_case(name).then(|| value.to_owned())
        });
        let argument = || {
            let same = |(key, _): &(&String, _)| key.eq_ignore_ascii_case(name);
            self.arguments.iter().find(same).and_then(|(_, value)| value.clone())
        };
        variable.or_else(argument)
    }

    /// `NAME=value` of the arguments that `RUN` sees: those that no `ENV` hides, sorted.
    pub(crate) fn visible_arguments(&self) -> Vec<String> {
        let hidden = |name: &str| {
            let names = self.config.env.iter().filter_map(|pair| pair.split_once('='));
            names.into_iter().any(|(key, _)| key.eq_ignore_ascii_case(name))
        };
        let values = self.arguments.iter().filter(|(name, _)| !hidden(name));
        values.filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?))).collect()
    }

    /// Proxy settings of the request: `RUN` sees them, the history does not.
    pub(crate) fn proxies(&self, request: &BuildRequest) -> Vec<String> {
        let undeclared = |name: &str| plan::is_proxy(name) && !self.arguments.contains_key(name);
        let given = request.build_args.iter().filter(|(name, _)| undeclared(name));
        given.filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?))).collect()
    }

    /// Declares an argument: the client's value, else the default, else that of an `ARG` before
    /// the first `FROM`.
    pub(crate) fn declare(
        &mut self,
        name: &str,
        default: Option<String>,
        request: &BuildRequest,
        globals: &BTreeMap<String, String>,
    ) {
        let given = request.build_args.get(name).cloned().flatten();
        let value = given.or(default).or_else(|| globals.get(name).cloned());
        self.arguments.insert(name.to_owned(), value);
    }

    /// The command line that a command becomes.
    pub(crate) fn command_line(&self, command: &Command) -> CommandLine {
        match command {
            Command::Exec(words) => CommandLine { words: words.clone(), escaped: false },
            // `CMD` alone leaves nothing, and the flag as it was.
            Command::Shell(text) if text.is_empty() => {
                CommandLine { words: Vec::new(), escaped: self.config.args_escaped }
            }
            Command::Shell(text) => {
                CommandLine { words: vec![format!("{} {text}", self.shell())], escaped: true }
            }
        }
    }

    /// The shell's words, joined.
    pub(crate) fn shell(&self) -> String {
        self.shell_words().join(" ")
    }

    /// The shell's words; never empty.
    pub(crate) fn shell_words(&self) -> Vec<String> {
        let words = self.config.shell.clone().filter(|shell| !shell.is_empty());
        words.unwrap_or_else(|| DEFAULT_SHELL.iter().map(|word| (*word).to_owned()).collect())
    }

    /// Sets variables; a name without case that is there already keeps its place.
    pub(crate) fn set_env(&mut self, pairs: &[Pair]) {
        for Pair { name, value } in pairs {
            let same = |pair: &&mut String| {
                pair.split_once('=').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name))
            };
            let text = format!("{name}={value}");
            match self.config.env.iter_mut().find(same) {
                Some(existing) => *existing = text,
                None => self.config.env.push(text),
            }
        }
    }

    /// Sets the command; returns a warning about mixed forms, whose text is Docker's.
    pub(crate) fn set_cmd(&mut self, line: CommandLine) -> Option<&'static str> {
        let entry = self.config.entrypoint.as_ref().is_some_and(|words| !words.is_empty());
        let mixed = entry && self.config.args_escaped != line.escaped;
        self.has_cmd |= !line.words.is_empty();
        self.config.cmd = Some(line.words);
        self.config.args_escaped = line.escaped;
        mixed.then_some(
            "[Warning] Shell-form ENTRYPOINT and exec-form CMD may have unexpected results",
        )
    }

    /// Sets the entry point; returns a warning about mixed forms, whose text is Docker's.
    pub(crate) fn set_entrypoint(&mut self, line: CommandLine) -> Option<&'static str> {
        let cmd = self.config.cmd.as_deref().unwrap_or_default();
        let own = match cmd {
            [only] => {
                self.config.shell.is_none()
                    && !only.eq_ignore_ascii_case("c:\\windows\\system32\\cmd.exe")
            }
            [] => false,
            _ => true,
        };
        let mixed = own && self.config.args_escaped != line.escaped;
        self.config.entrypoint = Some(line.words);
        self.config.args_escaped = line.escaped;
        if !self.has_cmd {
            self.config.cmd = None;
        }
        mixed.then_some(
            "[Warning] Shell-form CMD and exec-form ENTRYPOINT may have unexpected results",
        )
    }

    /// Adds ports; returns them as the history has them.
    pub(crate) fn expose(&mut self, words: &[String]) -> Result<String, Problem> {
        let mut ports = Vec::new();
        for word in words {
            ports.extend(parse_ports(word)?);
            if ports.len() > MAX_PORTS {
                return Err(Problem::TooManyPorts { limit: MAX_PORTS });
            }
        }
        ports.sort();
        self.config.exposed_ports.extend(ports.iter().map(|port| (port.clone(), Empty {})));
        Ok(ports.join(" "))
    }

    /// Sets the health check; returns it as the history has it.
    pub(crate) fn set_healthcheck(&mut self, check: &parse::Healthcheck) -> String {
        let test = match &check.probe {
            Probe::None => vec!["NONE".to_owned()],
            Probe::Command(Command::Shell(text)) => vec!["CMD-SHELL".into(), text.clone()],
            Probe::Command(Command::Exec(words)) => {
                [&["CMD".to_owned()], words.as_slice()].concat()
            }
        };
        let text = format!(
            "HEALTHCHECK &{{{} \"{}ns\" \"{}ns\" \"{}ns\" \"{}ns\" '{}'}}",
            quoted(&test),
            check.interval,
            check.timeout,
            check.start_period,
            check.start_interval,
            check.retries
        );
        self.config.healthcheck = Some(Healthcheck {
            test,
            interval: check.interval,
            timeout: check.timeout,
            start_period: check.start_period,
            start_interval: check.start_interval,
            retries: check.retries,
            ..Healthcheck::default()
        });
        text
    }
}

/// Go's `%q` of a list of strings.
pub(crate) fn quoted(words: &[String]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("[{}]", words.join(" "))
}

/// Most ports of one `EXPOSE`: all there are.
const MAX_PORTS: usize = 1 << 16;

/// Reads `8080`, `8080/udp` and `8000-8005/tcp`. Of `127.0.0.1:80:8080`, which Docker's checks
/// advise against, only the last is the container's.
fn parse_ports(text: &str) -> Result<Vec<String>, Problem> {
    let bad = || Problem::BadPort { port: text.to_owned() };
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(bad());
    }
    let range = range.rsplit(':').next().unwrap_or_default();
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(bad);
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(bad());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}
