//! Checks of what goes wrong on Windows only: separators that escape, shells that are not there,
//! installers that wait for a click.

use super::{Checker, quoted, rules, variables};
use crate::{
    expand,
    parse::{Command, Instruction, Pair, Statement},
};

/// Which shell runs the commands of a stage in shell form.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shell {
    Cmd,
    Other,
}

impl Shell {
    /// That of a `SHELL`.
    fn of(words: &[String]) -> Self {
        let cmd = words.first().is_some_and(|word| program(word) == "cmd");
        if cmd { Self::Cmd } else { Self::Other }
    }
}

/// Commands that cmd does not have. Git and others bring some, so only the ones that come first in
/// a line, and in the form only Unix has, are taken for a mistake.
const UNIX: &[&str] = &[
    "apt-get ", "apt ", "yum ", "apk ", "rm -", "cp -", "mv -", "mkdir -p", "chmod ", "chown ",
    "export ", "ln -s", "touch ", "ls -", "set -e",
];

/// Commands that are part of cmd, which takes `/` for the beginning of a switch.
const BUILT_IN: &[&str] =
    &["copy", "del", "dir", "erase", "md", "mkdir", "move", "rd", "ren", "rmdir", "type"];

impl Checker<'_> {
    pub(super) fn windows(&mut self) {
        self.line_ends();
        let globals = self.default_globals();
        for stage in self.stage_statements() {
            let Instruction::From { image, .. } = &stage[0].instruction else { continue };
            let lookup = |name: &str| globals.get(&name.to_ascii_lowercase()).cloned();
            let base = expand::word(image, self.file.escape, &lookup).unwrap_or_default();
            let nano = base.to_lowercase().contains("nanoserver");
            let mut shell = Shell::Cmd;
            for statement in &stage[1..] {
                self.separators(statement);
                self.percent(statement);
                match &statement.instruction {
                    Instruction::Env(pairs) => self.path(statement, pairs),
                    Instruction::Shell(words) => {
                        self.powershell(statement, words.first(), nano);
                        shell = Shell::of(words);
                    }
                    Instruction::Run(run) => {
                        self.command(statement, "RUN", &run.command, (nano, shell));
                    }
                    Instruction::Cmd(command) => {
                        self.command(statement, "CMD", command, (nano, shell));
                    }
                    Instruction::Entrypoint(command) => {
                        self.command(statement, "ENTRYPOINT", command, (nano, shell));
                    }
                    _ => {}
                }
            }
        }
    }

    /// Finds paths whose last separator was read as "goes on in the next line".
    fn line_ends(&mut self) {
        for statement in &self.file.statements {
            if let Some(path) = &statement.swallowed {
                let path = quoted(path);
                let text = format!(
                    "The backslash at the end of {path} makes the next line part of this one"
                );
                self.add(&rules::BACKSLASH_AT_LINE_END, statement, text);
            }
        }
    }

    /// Finds paths that lose their separators.
    fn separators(&mut self, statement: &Statement) {
        if self.file.escape != '\\' || statement.swallowed.is_some() {
            return;
        }
        for word in variables::words(&statement.instruction) {
            let keep = |name: &str| Some(format!("${name}"));
            let Ok(read) = expand::word(word, '\\', &keep) else { continue };
            if has_drive(word) && !has_drive(&read) {
                let (word, read) = (quoted(word), quoted(&read));
                let text = format!("\\ is the escape character here, so {word} means {read}");
                self.add(&rules::BACKSLASH_IS_ESCAPE, statement, text);
            }
        }
    }

    fn percent(&mut self, statement: &Statement) {
        for word in variables::words(&statement.instruction) {
            if let Some(name) = percent_name(word) {
                let text = format!("%{name}% is not put in here and stays as it is");
                self.add(&rules::PERCENT_VARIABLE, statement, text);
            }
        }
    }

    /// Finds an `ENV PATH` without the system's directories. No image of Microsoft's has the
    /// variable: the path is in the registry, and `ENV` hides it.
    fn path(&mut self, statement: &Statement, pairs: &[Pair]) {
        for Pair { name, value } in pairs {
            if name.eq_ignore_ascii_case("path") && !value.to_lowercase().contains("system32") {
                let text = "ENV PATH hides the system's path, which is not in a variable that \
                            ENV can read";
                self.add(&rules::SYSTEM_PATH_REPLACED, statement, text.to_owned());
            }
        }
    }

    fn command(
        &mut self,
        statement: &Statement,
        keyword: &str,
        command: &Command,
        (nano, shell): (bool, Shell),
    ) {
        match command {
            Command::Exec(words) => {
                self.powershell(statement, words.first(), nano);
                // `\n`, `\t` and their like are right in JSON, and in no path.
                if let Some(word) = words.iter().find(|word| {
                    word.contains(['\u{8}', '\t', '\n', '\u{c}', '\r'])
                        && word.as_bytes().get(1) == Some(&b':')
                }) {
                    let text = format!("The path {word:?} has a backslash that JSON reads");
                    self.add(&rules::JSON_BACKSLASH, statement, text);
                }
            }
            Command::Shell(text) => {
                if text.starts_with('[') && text.ends_with(']') && text.contains('"') {
                    let text = format!("{keyword} is no JSON array, and taken as a shell command");
                    self.add(&rules::JSON_BACKSLASH, statement, text);
                }
                self.lines(statement, text, (nano, shell));
            }
        }
    }

    /// Checks the single commands of a line of cmd.
    fn lines(&mut self, statement: &Statement, text: &str, (nano, shell): (bool, Shell)) {
        let lower = text.to_lowercase();
        if lower.contains("msiexec") && !lower.contains("/q") && !lower.contains("-q") {
            let text = "msiexec without /q shows a window and waits for an answer";
            self.add(&rules::INSTALLER_ASKS, statement, text.to_owned());
        }
        if shell != Shell::Cmd {
            return;
        }
        let commands = text.split(['&', '|', ';', '(', ')']).map(str::trim);
        for command in commands.filter(|command| !command.is_empty()) {
            let lower = command.to_lowercase();
            let first = command.split_whitespace().next().map(str::to_owned);
            self.powershell(statement, first.as_ref(), nano);
            if UNIX.iter().any(|unix| lower.starts_with(unix)) {
                let text = format!("cmd has no {:?}", first.clone().unwrap_or_default());
                self.add(&rules::UNIX_COMMAND, statement, text);
            }
            let mut words = lower.split_whitespace();
            let built_in = words.next().is_some_and(|first| BUILT_IN.contains(&first));
            if let Some(path) = words.find(|word| is_forward(word)).filter(|_| built_in) {
                let text = format!("cmd takes the slashes of {} for switches", quoted(path));
                self.add(&rules::FORWARD_SLASH_PATH, statement, text);
            }
        }
    }

    fn powershell(&mut self, statement: &Statement, program_name: Option<&String>, nano: bool) {
        if nano && program_name.is_some_and(|name| program(name) == "powershell") {
            let text = "Nano Server has no PowerShell";
            self.add(&rules::POWERSHELL_ON_NANO_SERVER, statement, text.to_owned());
        }
    }
}

/// The name of a program without directory and extension, in lower case.
fn program(path: &str) -> String {
    let path = path.trim_matches(['"', '\'', '@']).to_lowercase();
    let name = path.rsplit(['\\', '/']).next().unwrap_or_default();
    name.trim_end_matches(".exe").to_owned()
}

/// Whether a word has `C:\` in it.
fn has_drive(word: &str) -> bool {
    word.match_indices(":\\").any(|(at, _)| {
        word[..at].chars().next_back().is_some_and(|letter| letter.is_ascii_alphabetic())
    })
}

/// Whether a word is a path such as `c:/x`.
fn is_forward(word: &str) -> bool {
    let bytes = word.trim_matches('"').as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphabetic) && bytes.get(1..3) == Some(b":/")
}

/// The name in `%NAME%`.
fn percent_name(word: &str) -> Option<&str> {
    let mut parts = word.split('%').skip(1);
    parts.find(|name| {
        !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "_()".contains(c))
            && name.starts_with(|c: char| c.is_ascii_alphabetic())
            && word.contains(&format!("%{name}%"))
    })
}
