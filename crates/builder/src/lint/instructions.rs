//! Checks of single instructions.

use super::{Checker, rules};
use crate::parse::{Instruction, Pair, Statement, Transfer};

/// Words in a variable's name that tell of a secret, and those that tell of none.
const SECRET: &[&str] = &[
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "password",
    "pword",
    "passwd",
    "secret",
    "token",
];
const NO_SECRET: &[&str] = &["public", "file", "version"];

impl Checker<'_> {
    pub(super) fn instruction(&mut self, statement: &Statement) {
        match &statement.instruction {
            Instruction::Maintainer(_) => {
                let text = "Maintainer instruction is deprecated in favor of using label";
                self.add(&rules::MAINTAINER_DEPRECATED, statement, text.to_owned());
            }
            Instruction::Env(pairs) => {
                self.old_form(statement, "ENV", pairs);
                for pair in pairs {
                    self.secret(statement, "ENV", &pair.name);
                }
            }
            Instruction::Label(pairs) => self.old_form(statement, "LABEL", pairs),
            Instruction::Arg(list) => {
                for (name, _) in list {
                    self.secret(statement, "ARG", name);
                }
            }
            Instruction::Expose(ports) => self.ports(statement, ports),
            Instruction::Transfer(transfer) => self.ignored(statement, transfer),
            _ => {}
        }
    }

    /// Finds `ENV name value`. Of that form there is one pair, whose `=` the text lacks.
    fn old_form(&mut self, statement: &Statement, keyword: &str, pairs: &[Pair]) {
        let [pair] = pairs else { return };
        let rest = statement.text.get(keyword.len()..).unwrap_or_default().trim_start();
        let after = rest.strip_prefix(pair.name.as_str()).unwrap_or_default();
        if !after.starts_with('=') {
            let text = format!(
                "\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" \
                 format"
            );
            self.add(&rules::LEGACY_KEY_VALUE_FORMAT, statement, text);
        }
    }

    fn secret(&mut self, statement: &Statement, keyword: &str, name: &str) {
        let lower = name.to_lowercase();
        // A word may be of two: `api_key`.
        let has =
            |words: &[&str]| words.iter().any(|word| lower.split('_').any(|part| part == *word));
        if has(SECRET) && !has(NO_SECRET) {
            let text = format!(
                "Do not use ARG or ENV instructions for sensitive data ({keyword} {name:?})"
            );
            self.add(&rules::SECRETS_USED_IN_ARG_OR_ENV, statement, text);
        }
    }

    fn ports(&mut self, statement: &Statement, ports: &[String]) {
        for port in ports {
            let (number, protocol) = port.split_once('/').unwrap_or((port, ""));
            if !port.contains('$') && protocol != protocol.to_lowercase() {
                let text =
                    format!("Defined protocol '{port}' in EXPOSE instruction should be lowercase");
                self.add(&rules::EXPOSE_PROTO_CASING, statement, text);
            }
            if !port.contains('$') && number.contains(':') {
                let text = format!(
                    "EXPOSE instruction should not define an IP address or host-port mapping, \
                     found '{port}'"
                );
                self.add(&rules::EXPOSE_INVALID_FORMAT, statement, text);
            }
        }
    }

    /// Finds sources that `.dockerignore` keeps out of the context. Lines that take back make that
    /// a question of each file.
    fn ignored(&mut self, statement: &Statement, transfer: &Transfer) {
        if transfer.from.is_some() || self.ignore.takes_back() {
            return;
        }
        let keyword = match transfer.kind.keyword() {
            "ADD" => "Add",
            _ => "Copy",
        };
        for source in &transfer.sources {
            let path = source.replace('\\', "/");
            let path = path.trim_start_matches("./").trim_matches('/');
            let known = !path.is_empty() && !path.contains(['$', '*', '?', '[', ':']);
            if known && self.ignore.excludes(path) {
                let text = format!(
                    "Attempting to {keyword} file {path:?} that is excluded by .dockerignore"
                );
                self.add(&rules::COPY_IGNORED_FILE, statement, text);
            }
        }
    }
}
