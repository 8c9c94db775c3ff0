//! Instructions that change how containers of an image run, and nothing else.
//!
//! A build executes them one by one; `docker commit --change` and `docker import --change` name
//! some of them and apply them at once.

use oriel_image::{ImageId, RunConfig};

use crate::{
    BuildError, Problem, expand,
    parse::{self, DockerfileError, HereDocument, Instruction, Pair, Statement, shortened},
    paths,
    state::{State, quoted},
};

/// Instructions that a change may be, in lower case (moby `builder/dockerfile/builder.go`).
const CHANGES: [&str; 11] = [
    "cmd",
    "entrypoint",
    "env",
    "expose",
    "healthcheck",
    "label",
    "onbuild",
    "stopsignal",
    "user",
    "volume",
    "workdir",
];

/// Changes a configuration as instructions of a Dockerfile say.
///
/// # Errors
/// [`BuildError::NotAChange`], [`BuildError::Dockerfile`], [`BuildError::Path`].
pub fn apply_changes(config: RunConfig, changes: &[String]) -> Result<RunConfig, BuildError> {
    let mut given = changes.iter().filter(|change| !change.trim().is_empty()).peekable();
    if given.peek().is_none() {
        return Ok(config);
    }
    for change in given {
        check_change(change)?;
    }
    let file = parse::parse("changes", changes.join("\n").as_bytes())?;
    let mut state = State::new(ImageId(oriel_image::Digest::of(b"")), config);
    for statement in &file.statements {
        // A change may hide further lines.
        check_change(&statement.text)?;
        match &statement.instruction {
            Instruction::Workdir(path) => {
                let path = state.expand_in(statement, file.escape, path)?;
                state.config.working_dir = paths::workdir(&state.config.working_dir, &path)?;
            }
            _ => drop(state.configure(statement, file.escape)?),
        }
    }
    Ok(state.config)
}

fn check_change(text: &str) -> Result<(), BuildError> {
    let keyword = text.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    if CHANGES.contains(&keyword.as_str()) {
        return Ok(());
    }
    Err(BuildError::NotAChange { keyword })
}

impl State {
    /// Puts variables into a word of an instruction.
    pub(crate) fn expand_in(
        &self,
        statement: &Statement,
        escape: char,
        word: &str,
    ) -> Result<String, DockerfileError> {
        self.expand(word, escape).map_err(|problem| {
            statement.error(Problem::Expansion { word: shortened(word), problem })
        })
    }

    /// Puts variables into each of several words.
    pub(crate) fn expand_all(
        &self,
        statement: &Statement,
        escape: char,
        words: &[String],
    ) -> Result<Vec<String>, DockerfileError> {
        words.iter().map(|word| self.expand_in(statement, escape, word)).collect()
    }

    /// Puts variables into a here-document, unless its name was quoted.
    pub(crate) fn expand_document(
        &self,
        statement: &Statement,
        escape: char,
        document: &HereDocument,
    ) -> Result<String, DockerfileError> {
        if !document.expands {
            return Ok(document.text.clone());
        }
        expand::document(&document.text, escape, &|name| self.variable(name)).map_err(|problem| {
            statement.error(Problem::Expansion { word: document.word.clone(), problem })
        })
    }

    fn expand_pairs(
        &self,
        statement: &Statement,
        escape: char,
        pairs: &[Pair],
    ) -> Result<Vec<Pair>, DockerfileError> {
        let expand = |word: &str| self.expand_in(statement, escape, word);
        let pair =
            |pair: &Pair| Ok(Pair { name: expand(&pair.name)?, value: expand(&pair.value)? });
        pairs.iter().map(pair).collect()
    }

    /// Changes the configuration; returns the history text after `#(nop)` and a warning.
    pub(crate) fn configure(
        &mut self,
        statement: &Statement,
        escape: char,
    ) -> Result<(String, Option<&'static str>), BuildError> {
        let join = |pairs: &[Pair]| {
            pairs.iter().map(|Pair { name, value }| format!(" {name}={value}")).collect::<String>()
        };
        let comment = match &statement.instruction {
            Instruction::Env(pairs) => {
                let pairs = self.expand_pairs(statement, escape, pairs)?;
                self.set_env(&pairs);
                format!("ENV{}", join(&pairs))
            }
            Instruction::Label(pairs) => {
                let pairs = self.expand_pairs(statement, escape, pairs)?;
                let text = format!("LABEL{}", join(&pairs));
                self.config.labels.extend(pairs.into_iter().map(|pair| (pair.name, pair.value)));
                text
            }
            Instruction::Cmd(command) => {
                let line = self.command_line(command);
                let text = format!("CMD {}", quoted(&line.words));
                return Ok((text, self.set_cmd(line)));
            }
            Instruction::Entrypoint(command) => {
                let line = self.command_line(command);
                let text = format!("ENTRYPOINT {}", quoted(&line.words));
                return Ok((text, self.set_entrypoint(line)));
            }
            Instruction::Shell(words) => {
                // The history names the shell that was, as Docker writes it after the change.
                self.config.shell = Some(words.clone());
                format!("SHELL [{}]", words.join(" "))
            }
            Instruction::User(user) => {
                self.config.user = self.expand_in(statement, escape, user)?;
                format!("USER {}", self.config.user)
            }
            Instruction::Expose(words) => {
                let words = self.expand_all(statement, escape, words)?;
                let words: Vec<_> =
                    words.iter().flat_map(|word| word.split_whitespace().map(Into::into)).collect();
                let ports = self.expose(&words).map_err(|problem| statement.error(problem))?;
                format!("EXPOSE {ports}")
            }
            Instruction::Volume(words) => {
                let words = self.expand_all(statement, escape, words)?;
                let text = format!("VOLUME [{}]", words.join(" "));
                let volumes = words.into_iter().map(|word| (word, oriel_image::Empty {}));
                self.config.volumes.extend(volumes);
                text
            }
            Instruction::StopSignal(signal) => {
                self.config.stop_signal = self.expand_in(statement, escape, signal)?;
                format!("STOPSIGNAL {}", self.config.stop_signal)
            }
            Instruction::Maintainer(name) => {
                self.author.clone_from(name);
                format!("MAINTAINER {name}")
            }
            Instruction::OnBuild(text) => {
                self.config.on_build.get_or_insert_default().push(text.clone());
                format!("ONBUILD {text}")
            }
            Instruction::Healthcheck(check) => self.set_healthcheck(check),
            Instruction::From { .. }
            | Instruction::Arg(_)
            | Instruction::Run(_)
            | Instruction::Transfer(_)
            | Instruction::Workdir(_) => return Err(BuildError::Lost),
        };
        Ok((comment, None))
    }
}

#[cfg(test)]
mod tests {
    use oriel_image::RunConfig;

    use super::apply_changes;

    fn changed(changes: &[&str]) -> Result<RunConfig, String> {
        let changes: Vec<_> = changes.iter().map(|change| (*change).to_owned()).collect();
        let config = RunConfig {
            env: vec!["A=1".into()],
            working_dir: r"C:\app".into(),
            ..RunConfig::default()
        };
        apply_changes(config, &changes).map_err(|error| error.to_string())
    }

    #[test]
    fn changes_are_applied_in_order() {
        let config = changed(&[
            "ENV B=2 C=$A",
            "workdir sub",
            r#"CMD ["a.exe", "b"]"#,
            "EXPOSE 80",
            "LABEL x=y",
            "USER ContainerUser",
            "",
        ])
        .unwrap();
        assert_eq!(config.env, ["A=1", "B=2", "C=1"]);
        assert_eq!(config.working_dir, r"C:\app\sub");
        assert_eq!(config.cmd.unwrap(), ["a.exe", "b"]);
        assert!(config.exposed_ports.contains_key("80/tcp"));
        assert_eq!(config.labels["x"], "y");
        assert_eq!(config.user, "ContainerUser");
        assert_eq!(changed(&[]).unwrap().env, ["A=1"]);
    }

    #[test]
    fn what_makes_layers_is_no_change() {
        for (change, text) in [
            ("RUN dir", "run is not a valid change command"),
            ("nonsense", "nonsense is not a valid change command"),
            ("FROM x", "from is not a valid change command"),
        ] {
            assert_eq!(changed(&[change]).unwrap_err(), text);
        }
        assert!(changed(&["ENV"]).unwrap_err().contains("ENV"));
        let hidden = changed(&["LABEL a=b\nRUN dir"]).unwrap_err();
        assert_eq!(hidden, "run is not a valid change command");
    }
}
