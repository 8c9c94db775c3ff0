//! Checks of variables: whether what is put in was set before.

use std::collections::BTreeMap;

use super::{Checker, quoted, rules};
use crate::{
    expand,
    parse::{Command, Instruction, Statement, nearest},
    plan,
};

/// Most variables kept, all stages together. No file that a person wrote has as many.
const MAX_SCOPES: usize = 1 << 18;

/// Variables by their names in lower case, with the name as it was written.
type Names = BTreeMap<String, String>;

/// What is known at one place of a stage.
#[derive(Clone, Default)]
struct Scope {
    names: Names,
    /// Whether nothing else can be set: the base brings no variables.
    complete: bool,
    /// Whether `WORKDIR` stood before.
    placed: bool,
    /// Whether `SHELL` stood before.
    shell: bool,
}

impl Scope {
    fn set(&mut self, name: &str) {
        self.names.insert(name.to_ascii_lowercase(), name.to_owned());
    }
}

impl Checker<'_> {
    pub(super) fn variables(&mut self) {
        // Each stage may take over all that the ones before have set.
        let pairs: usize = self.file.statements.iter().map(|s| s.instruction.pairs()).sum();
        if self.stage_statements().len() * pairs > MAX_SCOPES {
            return;
        }
        let globals = self.default_globals();
        let known: Vec<String> = self.declared_globals();
        let mut stages: Vec<(Option<String>, Scope)> = Vec::new();
        for stage in self.stage_statements() {
            let Instruction::From { image, name, platform } = &stage[0].instruction else {
                continue;
            };
            for word in [Some(image), platform.as_ref()].into_iter().flatten() {
                self.global_use(&stage[0], word, &known);
            }
            let lookup = |name: &str| globals.get(&name.to_ascii_lowercase()).cloned();
            let base = expand::word(image, self.file.escape, &lookup).unwrap_or_default();
            let earlier = stages.iter().rev().find(|(name, _)| {
                name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(&base))
            });
            let mut scope = match earlier {
                Some((_, scope)) => scope.clone(),
                None => Scope { complete: brings_nothing(&base), ..Scope::default() },
            };
            for statement in &stage[1..] {
                self.statement(statement, &mut scope);
            }
            stages.push((name.clone(), scope));
        }
    }

    /// Names that `FROM` may use.
    fn declared_globals(&self) -> Vec<String> {
        let own = self.globals().flat_map(|statement| match &statement.instruction {
            Instruction::Arg(list) => list.iter().map(|(name, _)| name.clone()).collect(),
            _ => Vec::new(),
        });
        own.chain(plan::platform_arguments().into_keys()).collect()
    }

    /// Values of the `ARG`s before the first stage when the client gives none, by their names in
    /// lower case.
    pub(super) fn default_globals(&self) -> BTreeMap<String, String> {
        let mut values: BTreeMap<String, String> = plan::platform_arguments()
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect();
        for statement in self.globals() {
            let Instruction::Arg(list) = &statement.instruction else { continue };
            for (name, default) in list {
                let Some(default) = default else { continue };
                let lookup = |name: &str| values.get(&name.to_ascii_lowercase()).cloned();
                if let Ok(value) = expand::word(default, self.file.escape, &lookup) {
                    values.insert(name.to_ascii_lowercase(), value);
                }
            }
        }
        values
    }

    fn global_use(&mut self, from: &Statement, word: &str, known: &[String]) {
        let set =
            |name: &str| known.iter().any(|k| k.eq_ignore_ascii_case(name)).then(|| "x".to_owned());
        for name in expand::undefined(word, self.file.escape, &set) {
            let names: Vec<&str> = known.iter().map(String::as_str).collect();
            let meant = nearest(&name, &names).map(|name| format!(" (did you mean {name}?)"));
            let meant = meant.unwrap_or_default();
            let text = format!("FROM argument '{name}' is not declared{meant}");
            self.add(&rules::UNDEFINED_ARG_IN_FROM, from, text);
        }
    }

    fn statement(&mut self, statement: &Statement, scope: &mut Scope) {
        for word in words(&statement.instruction) {
            self.uses(statement, word, scope);
        }
        match &statement.instruction {
            Instruction::Env(pairs) => pairs.iter().for_each(|pair| scope.set(&pair.name)),
            Instruction::Arg(list) => list.iter().for_each(|(name, _)| scope.set(name)),
            Instruction::Shell(_) => scope.shell = true,
            Instruction::Cmd(command) => self.form(statement, "CMD", command, scope),
            Instruction::Entrypoint(command) => self.form(statement, "ENTRYPOINT", command, scope),
            Instruction::Workdir(path) => {
                if !scope.placed && is_relative(path) {
                    let text = format!(
                        "Relative workdir {} can have unexpected results if the base image changes",
                        quoted(path)
                    );
                    self.add(&rules::WORKDIR_RELATIVE_PATH, statement, text);
                }
                scope.placed = true;
            }
            _ => {}
        }
    }

    fn form(&mut self, statement: &Statement, keyword: &str, command: &Command, scope: &Scope) {
        if matches!(command, Command::Shell(text) if !text.is_empty()) && !scope.shell {
            let text = format!(
                "JSON arguments recommended for {keyword} to prevent unintended behavior related \
                 to OS signals"
            );
            self.add(&rules::JSON_ARGS_RECOMMENDED, statement, text);
        }
    }

    fn uses(&mut self, statement: &Statement, word: &str, scope: &Scope) {
        if !scope.complete {
            return;
        }
        let set = |name: &str| {
            let found = scope.names.contains_key(&name.to_ascii_lowercase());
            (found || plan::is_proxy(name)).then(|| "x".to_owned())
        };
        for name in expand::undefined(word, self.file.escape, &set) {
            // A rule of its own tells what happens to the system's path.
            if name.eq_ignore_ascii_case("path") {
                continue;
            }
            let names: Vec<&str> = scope.names.values().map(String::as_str).collect();
            let meant = nearest(&name, &names).map(|name| format!(" (did you mean ${name}?)"));
            let meant = meant.unwrap_or_default();
            let text = format!("Usage of undefined variable '${name}'{meant}");
            self.add(&rules::UNDEFINED_VAR, statement, text);
        }
    }
}

/// The words of an instruction into which variables are put.
pub(super) fn words(instruction: &Instruction) -> Vec<&str> {
    match instruction {
        Instruction::Env(pairs) | Instruction::Label(pairs) => {
            pairs.iter().flat_map(|pair| [pair.name.as_str(), pair.value.as_str()]).collect()
        }
        Instruction::Arg(list) => list.iter().filter_map(|(_, value)| value.as_deref()).collect(),
        Instruction::Workdir(word) | Instruction::User(word) | Instruction::StopSignal(word) => {
            vec![word]
        }
        Instruction::Expose(words) | Instruction::Volume(words) => {
            words.iter().map(String::as_str).collect()
        }
        Instruction::Transfer(transfer) => {
            let all = transfer.sources.iter().chain([&transfer.destination]);
            all.map(String::as_str).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether an image is one of Microsoft's bases, none of which sets a variable.
fn brings_nothing(image: &str) -> bool {
    let name = image.split(['@', ':']).next().unwrap_or_default();
    let last = name.rsplit('/').next().unwrap_or_default();
    ["nanoserver", "servercore", "server", "windows"].contains(&last)
        && (name == last || name.contains("microsoft"))
}

/// Whether a path depends on the directory before; what begins with a variable may not.
fn is_relative(path: &str) -> bool {
    let path = path.trim_start_matches(['"', '\'']);
    let drive = path.as_bytes().get(1) == Some(&b':');
    !drive && !path.starts_with(['/', '\\', '$'])
}
