//! The two accounts of a container, and what belongs to each.

use crate::environment::Environment;
use crate::message;
use crate::nt::processor::Processor;
use crate::nt::registry::{Key, Root};
use crate::nt::{Win32Error, system};

/// An account processes run under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    /// `ContainerAdministrator`.
    Administrator,
    /// `ContainerUser`.
    User,
}

/// The domain of both accounts, as Windows containers show it.
pub(crate) const DOMAIN: &str = "User Manager";

impl Account {
    /// Finds an account by the name a client gave, with or without its domain.
    pub(crate) fn named(name: &str) -> Result<Self, Win32Error> {
        let bare = match name.rsplit_once('\\') {
            Some((domain, bare)) if domain.eq_ignore_ascii_case(DOMAIN) => bare,
            _ => name,
        };
        if bare.is_empty() || bare.eq_ignore_ascii_case("ContainerAdministrator") {
            Ok(Self::Administrator)
        } else if bare.eq_ignore_ascii_case("ContainerUser") {
            Ok(Self::User)
        } else {
            Err(Win32Error(message::NONE_MAPPED))
        }
    }

    /// The account's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Administrator => "ContainerAdministrator",
            Self::User => "ContainerUser",
        }
    }

    /// The profile directory.
    pub(crate) fn profile(self) -> String {
        format!("C:\\Users\\{}", self.name())
    }

    /// The temporary directory.
    pub(crate) fn temp(self) -> String {
        format!("{}\\AppData\\Local\\Temp", self.profile())
    }

    /// The account's variables: computed ones, then the machine's and the user's from the
    /// registry, as `CreateEnvironmentBlock` would give them.
    pub(crate) fn environment(self) -> Environment {
        let mut environment = self.computed();
        for (root, path) in [
            (Root::Machine, "System\\CurrentControlSet\\Control\\Session Manager\\Environment"),
            (Root::User, "Environment"),
        ] {
            overlay(&mut environment, root, path);
        }
        // The registry holds one user's profile, which need not be this account's.
        for name in ["TEMP", "TMP"] {
            environment.set(name, &self.temp());
        }
        environment
    }

    fn computed(self) -> Environment {
        let processor = Processor::identify();
        let profile = self.profile();
        let revision = format!("{:02x}{:02x}", processor.model, processor.stepping);
        let mut environment = Environment::default();
        for (name, value) in [
            ("ALLUSERSPROFILE", "C:\\ProgramData"),
            ("APPDATA", &format!("{profile}\\AppData\\Roaming")),
            ("CommonProgramFiles", "C:\\Program Files\\Common Files"),
            ("CommonProgramFiles(x86)", "C:\\Program Files (x86)\\Common Files"),
            ("CommonProgramW6432", "C:\\Program Files\\Common Files"),
            ("COMPUTERNAME", &system::computer_name()),
            ("ComSpec", "C:\\Windows\\system32\\cmd.exe"),
            ("LOCALAPPDATA", &format!("{profile}\\AppData\\Local")),
            ("NUMBER_OF_PROCESSORS", &system::processor_count().to_string()),
            ("OS", "Windows_NT"),
            ("Path", "C:\\Windows\\system32;C:\\Windows"),
            ("PATHEXT", ".COM;.EXE;.BAT;.CMD"),
            ("PROCESSOR_ARCHITECTURE", "AMD64"),
            ("PROCESSOR_IDENTIFIER", &format!("{}, {}", processor.identifier(), processor.vendor)),
            ("PROCESSOR_LEVEL", &processor.family.to_string()),
            ("PROCESSOR_REVISION", &revision),
            ("ProgramData", "C:\\ProgramData"),
            ("ProgramFiles", "C:\\Program Files"),
            ("ProgramFiles(x86)", "C:\\Program Files (x86)"),
            ("ProgramW6432", "C:\\Program Files"),
            ("PUBLIC", "C:\\Users\\Public"),
            ("SystemDrive", "C:"),
            ("SystemRoot", "C:\\Windows"),
            ("TEMP", &self.temp()),
            ("TMP", &self.temp()),
            ("USERDOMAIN", DOMAIN),
            ("USERNAME", self.name()),
            ("USERPROFILE", &profile),
            ("windir", "C:\\Windows"),
        ] {
            environment.set(name, value);
        }
        environment
    }
}

/// Lays a registry key's variables over an environment: plain ones first, so that others can refer
/// to them, and the user's `Path` after the machine's.
fn overlay(environment: &mut Environment, root: Root, path: &str) {
    let Some(key) = Key::open(root, path) else { return };
    let mut texts = key.texts();
    texts.sort_by_key(|text| text.expand);
    for text in texts {
        let value = if text.expand { environment.expand(&text.text) } else { text.text };
        match root {
            Root::User if text.name.eq_ignore_ascii_case("Path") => environment.append_path(&value),
            _ => environment.set(&text.name, &value),
        }
    }
}
