//! The variables a process sees: the account's own, with the container's laid over them.
//!
//! Windows compares names without case, keeps the first spelling, and wants the block sorted. None
//! of the Linux environment of the agent gets in: the block is built from nothing.

use std::collections::BTreeMap;

/// A set of environment variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Upper-cased name → (name as spelt, value).
    variables: BTreeMap<String, (String, String)>,
}

/// A variable as the registry keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The value's name.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Whether it is `REG_EXPAND_SZ`.
    pub expand: bool,
}

/// Where the variables of an account come from, in the order they are laid over each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// What is computed and the same for every account.
    pub system: Environment,
    /// The machine's key in the registry. What it says of an account (`USERNAME=SYSTEM`) is meant
    /// for services.
    pub machine: Vec<Setting>,
    /// What is computed for the account: its name, and where its profile is.
    pub account: Environment,
    /// The user's key in the registry.
    pub user: Vec<Setting>,
}

impl Sources {
    /// The account's variables, as `CreateEnvironmentBlock` gives them.
    #[must_use]
    pub fn merge(self) -> Environment {
        let mut environment = self.system;
        environment.overlay(self.machine, |environment, name, value| environment.set(name, value));
        for (name, value) in self.account.variables.values() {
            environment.set(name, value);
        }
        environment.overlay(self.user, Environment::set_or_append);
        environment
    }
}

impl Environment {
    /// Lays the registry's variables over this: plain ones first, so that others can refer to
    /// them.
    fn overlay(&mut self, mut settings: Vec<Setting>, set: impl Fn(&mut Self, &str, &str)) {
        settings.sort_by_key(|setting| setting.expand);
        for Setting { name, text, expand } in settings {
            let value = if expand { self.expand(&text) } else { text };
            set(self, &name, &value);
        }
    }

    /// Sets a variable of the user, whose `Path` follows the machine's.
    fn set_or_append(&mut self, name: &str, value: &str) {
        if name.eq_ignore_ascii_case("Path") {
            self.append_path(value);
        } else {
            self.set(name, value);
        }
    }

    /// Sets a variable; an existing one keeps the spelling of its name. Names that no block can
    /// carry (empty, or with `=` after the first character, or a NUL) are dropped, as is what
    /// follows a NUL in a value.
    pub fn set(&mut self, name: &str, value: &str) {
        // The first character may be `=`: that is how a drive's current directory is kept.
        let unusable = name.chars().enumerate().any(|(at, c)| c == '\0' || (c == '=' && at > 0));
        if name.is_empty() || unusable {
            return;
        }
        let value = value.split('\0').next().unwrap_or_default();
        let key = name.to_uppercase();
        self.variables.entry(key).or_insert_with(|| (name.to_owned(), String::new())).1 =
            value.to_owned();
    }

    /// Looks a variable up, without case.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.variables.get(&name.to_uppercase()).map(|(_, value)| value.as_str())
    }

    /// Adds directories to the end of `Path`, as the user's `Path` follows the machine's.
    pub fn append_path(&mut self, directories: &str) {
        let joined = match self.value("Path") {
            Some(path) if !path.is_empty() => {
                format!("{}{}{directories}", path, if path.ends_with(';') { "" } else { ";" })
            }
            _ => directories.to_owned(),
        };
        self.set("Path", &joined);
    }

    /// Replaces `%NAME%` by the variable's value and leaves unknown names alone, as
    /// `ExpandEnvironmentStrings` does.
    #[must_use]
    pub fn expand(&self, text: &str) -> String {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            expanded.push_str(before);
            let found = after
                .split_once('%')
                .and_then(|(name, tail)| self.value(name).map(|value| (value, tail)));
            if let Some((value, tail)) = found {
                expanded.push_str(value);
                rest = tail;
            } else {
                expanded.push('%');
                rest = after;
            }
        }
        expanded + rest
    }

    /// The block for `CreateProcess`: `NAME=value` strings in order of their upper-cased names,
    /// each with a NUL, and one more NUL at the end.
    #[must_use]
    pub fn block(&self) -> Vec<u16> {
        let mut block = Vec::new();
        for (name, value) in self.variables.values() {
            block.extend(format!("{name}={value}").encode_utf16());
            block.push(0);
        }
        if block.is_empty() {
            block.push(0);
        }
        block.push(0);
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Environment {
        let mut environment = Environment::default();
        for (name, value) in variables {
            environment.set(name, value);
        }
        environment
    }

    fn lines(environment: &Environment) -> Vec<String> {
        let text = String::from_utf16(&environment.block()).unwrap();
        text.trim_end_matches('\0').split('\0').map(str::to_owned).collect()
    }

    #[test]
    fn the_last_value_wins_and_the_first_spelling_stays() {
        assert_eq!(lines(&of(&[("Path", "a"), ("PATH", "b"), ("path", "c")])), ["Path=c"]);
    }

    #[test]
    fn the_block_is_sorted_without_case_and_ends_with_two_nuls() {
        let environment = of(&[("b", "2"), ("_", "4"), ("A", "1"), ("C", "3")]);
        assert_eq!(lines(&environment), ["A=1", "b=2", "C=3", "_=4"]);
        assert!(environment.block().ends_with(&[u16::from(b'4'), 0, 0]));
        assert_eq!(Environment::default().block(), [0, 0]);
    }

    #[test]
    fn the_user_path_follows_the_machine_path() {
        let mut environment = of(&[("Path", "C:\\Windows")]);
        environment.append_path("C:\\me");
        assert_eq!(environment.value("PATH"), Some("C:\\Windows;C:\\me"));
    }

    fn settings(settings: &[(&str, &str)]) -> Vec<Setting> {
        let setting = |&(name, text): &(&str, &str)| Setting {
            name: name.to_owned(),
            text: text.to_owned(),
            expand: text.contains('%'),
        };
        settings.iter().map(setting).collect()
    }

    #[test]
    fn the_machine_says_nothing_of_the_account_and_the_user_says_the_last_word() {
        let sources = Sources {
            system: of(&[("SystemRoot", "C:\\Windows"), ("OS", "?")]),
            machine: settings(&[
                ("Path", "%SystemRoot%\\system32"),
                ("TEMP", "%SystemRoot%\\TEMP"),
                ("USERNAME", "SYSTEM"),
                ("OS", "Windows_NT"),
            ]),
            account: of(&[
                ("USERNAME", "ContainerUser"),
                ("USERPROFILE", "C:\\Users\\ContainerUser"),
                ("TMP", "C:\\tmp"),
                ("TEMP", "C:\\tmp"),
            ]),
            user: settings(&[("TEMP", "%USERPROFILE%\\Temp"), ("path", "C:\\me")]),
        };
        let merged = sources.merge();
        for (name, value) in [
            ("USERNAME", "ContainerUser"),
            ("TMP", "C:\\tmp"),
            ("TEMP", "C:\\Users\\ContainerUser\\Temp"),
            ("Path", "C:\\Windows\\system32;C:\\me"),
            ("OS", "Windows_NT"),
        ] {
            assert_eq!(merged.value(name), Some(value), "{name}");
        }
    }

    #[test]
    fn known_names_expand_and_unknown_ones_stay() {
        let environment = of(&[("SystemRoot", "C:\\Windows")]);
        assert_eq!(environment.expand("%systemroot%\\x"), "C:\\Windows\\x");
        assert_eq!(environment.expand("100% %nope% %"), "100% %nope% %");
        assert_eq!(environment.expand("%nope%systemroot%"), "%nopeC:\\Windows");
    }

    #[test]
    fn names_no_block_can_carry_are_dropped() {
        let environment =
            of(&[("", "x"), ("A=B", "x"), ("A\0B", "x"), ("ü=", "x"), ("=C:", "C:\\")]);
        assert_eq!(lines(&environment), ["=C:=C:\\"]);
        assert_eq!(lines(&of(&[("A", "x\0B=y"), ("ü", "1")])), ["A=x", "ü=1"]);
    }
}
