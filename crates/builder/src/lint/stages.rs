//! Checks of stages: their names and platforms, and what may stand in one only once.

use std::collections::{BTreeMap, BTreeSet};

use oriel_image::Reference;

use super::{Checker, rules};
use crate::{
    expand,
    parse::{Instruction, Statement},
};

impl Checker<'_> {
    pub(super) fn stages(&mut self) {
        let mut names = BTreeSet::new();
        for stage in self.stage_statements() {
            self.from(&stage[0], &mut names);
            self.once(stage);
            self.description(&stage[0]);
        }
        for statement in &self.file.statements {
            if matches!(statement.instruction, Instruction::Arg(_)) {
                self.description(statement);
            }
        }
        self.default_arguments();
    }

    fn from(&mut self, from: &Statement, names: &mut BTreeSet<String>) {
        let Instruction::From { name, platform, .. } = &from.instruction else { return };
        let words: Vec<&str> = from.text.split_whitespace().collect();
        if let ([first, .., keyword, written], Some(name)) = (words.as_slice(), name) {
            if *written != written.to_lowercase() {
                let text = format!("Stage name '{written}' should be lowercase");
                self.add(&rules::STAGE_NAME_CASING, from, text);
            }
            let (lower, upper) = (first.to_lowercase(), first.to_uppercase());
            let fits = match *first {
                f if f == lower => **keyword == keyword.to_lowercase(),
                f if f == upper => **keyword == keyword.to_uppercase(),
                _ => true,
            };
            if !fits {
                let text = format!("'{keyword}' and '{first}' keywords' casing do not match");
                self.add(&rules::FROM_AS_CASING, from, text);
            }
            if ["context", "scratch"].contains(&name.as_str()) {
                let text =
                    format!("Stage name should not use the same name as reserved stage {name:?}");
                self.add(&rules::RESERVED_STAGE_NAME, from, text);
            }
            if !names.insert(name.clone()) {
                let text = format!("Duplicate stage name {name:?}, stage names should be unique");
                self.add(&rules::DUPLICATE_STAGE_NAME, from, text);
            }
        }
        if let Some(platform) = platform {
            self.platform(from, platform, name.as_deref().unwrap_or_default());
        }
    }

    fn platform(&mut self, from: &Statement, platform: &str, stage: &str) {
        if ["$TARGETPLATFORM", "${TARGETPLATFORM}"].contains(&platform) {
            let text = format!(
                "Setting platform to predefined {platform} in FROM is redundant as this is the \
                 default behavior"
            );
            self.add(&rules::REDUNDANT_TARGET_PLATFORM, from, text);
        } else if !platform.contains('$') && !platform.split('/').any(|p| stage.contains(p)) {
            let text = format!("FROM --platform flag should not use constant value {platform:?}");
            self.add(&rules::FROM_PLATFORM_FLAG_CONST_DISALLOWED, from, text);
        }
    }

    /// Finds instructions of which only the last counts.
    fn once(&mut self, stage: &[Statement]) {
        let mut last: BTreeMap<&str, &Statement> = BTreeMap::new();
        for statement in stage {
            let keyword = match statement.instruction {
                Instruction::Cmd(_) => "CMD",
                Instruction::Entrypoint(_) => "ENTRYPOINT",
                Instruction::Healthcheck(_) => "HEALTHCHECK",
                _ => continue,
            };
            if let Some(earlier) = last.insert(keyword, statement) {
                let text = format!(
                    "Multiple {keyword} instructions should not be used in the same stage because \
                     only the last one will be used"
                );
                self.add(&rules::MULTIPLE_INSTRUCTIONS_DISALLOWED, earlier, text);
            }
        }
    }

    /// Checks that a comment right above a stage or an argument describes that.
    fn description(&mut self, statement: &Statement) {
        let (keyword, names): (_, Vec<&str>) = match &statement.instruction {
            Instruction::From { name: Some(name), .. } => ("FROM", vec![name]),
            Instruction::Arg(list) => ("ARG", list.iter().map(|(name, _)| name.as_str()).collect()),
            _ => return,
        };
        let Some(comment) = statement.comments.last() else { return };
        let first = comment.split(' ').next().unwrap_or_default();
        if names.contains(&first) || first.starts_with("check=") {
            return;
        }
        let example = if names.len() == 1 { names[0] } else { "<arg_key>" };
        let text =
            format!("Comment for {keyword} should follow the format: `# {example} <description>`");
        self.add(&rules::INVALID_DEFINITION_DESCRIPTION, statement, text);
    }

    /// Finds bases that are no names while the client gives no arguments.
    fn default_arguments(&mut self) {
        let arguments = self.default_globals();
        for stage in self.stage_statements() {
            let Instruction::From { image, .. } = &stage[0].instruction else { continue };
            if !image.contains('$') {
                continue;
            }
            let lookup = |name: &str| arguments.get(&name.to_ascii_lowercase()).cloned();
            let Ok(resolved) = expand::word(image, self.file.escape, &lookup) else { continue };
            if Reference::parse(&resolved).is_err() {
                let text = format!(
                    "Default value for ARG {image} results in empty or invalid base image name"
                );
                self.add(&rules::INVALID_DEFAULT_ARG_IN_FROM, &stage[0], text);
            }
        }
    }

    /// Compares the case of each instruction with that of most.
    pub(super) fn casing(&mut self) {
        let first = |statement: &Statement| {
            statement.text.split_whitespace().next().unwrap_or_default().to_owned()
        };
        let statements: Vec<_> = self.stage_statements().into_iter().flatten().collect();
        let count = |same: fn(&str) -> bool| statements.iter().filter(|s| same(&first(s))).count();
        let lower = count(|word| word == word.to_lowercase());
        let upper = count(|word| word == word.to_uppercase());
        for statement in statements {
            let word = first(statement);
            let (right, name) = match lower > upper {
                true => (word.to_lowercase(), "lowercase"),
                false => (word.to_uppercase(), "uppercase"),
            };
            if word != right {
                let text = format!(
                    "Command '{word}' should match the case of the command majority ({name})"
                );
                self.add(&rules::CONSISTENT_INSTRUCTION_CASING, statement, text);
            }
        }
    }
}
