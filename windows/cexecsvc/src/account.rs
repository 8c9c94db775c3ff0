//! The two accounts of a container, and what belongs to each.

use crate::environment::{Environment, Setting, Sources};
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

/// The key of the machine's variables, below `HKEY_LOCAL_MACHINE`.
pub(crate) const MACHINE_VARIABLES: &str =
    "System\\CurrentControlSet\\Control\\Session Manager\\Environment";

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

    /// The account's variables.
    pub(crate) fn environment(self) -> Environment {
        let sources = Sources {
            system: system_variables(),
            machine: settings(Root::Machine, MACHINE_VARIABLES),
            account: self.variables(),
            user: settings(Root::User, "Environment"),
        };
        sources.merge()
    }

    /// The variables that are computed for the account.
    pub(crate) fn variables(self) -> Environment {
        let profile = self.profile();
        let mut environment = Environment::default();
        for (name, value) in [
            ("APPDATA", format!("{profile}\\AppData\\Roaming")),
            ("HOMEDRIVE", "C:".to_owned()),
            ("HOMEPATH", profile.trim_start_matches("C:").to_owned()),
            ("LOCALAPPDATA", format!("{profile}\\AppData\\Local")),
            ("TEMP", self.temp()),
            ("TMP", self.temp()),
            ("USERDOMAIN", DOMAIN.to_owned()),
            ("USERNAME", self.name().to_owned()),
            ("USERPROFILE", profile),
        ] {
            environment.set(name, &value);
        }
        environment
    }
}

/// The variables that are computed and the same for both accounts.
fn system_variables() -> Environment {
    let processor = Processor::identify();
    let revision = format!("{:02x}{:02x}", processor.model, processor.stepping);
    let mut environment = Environment::default();
    for (name, value) in [
        ("ALLUSERSPROFILE", "C:\\ProgramData"),
        ("CommonProgramFiles", "C:\\Program Files\\Common Files"),
        ("CommonProgramFiles(x86)", "C:\\Program Files (x86)\\Common Files"),
        ("CommonProgramW6432", "C:\\Program Files\\Common Files"),
        ("COMPUTERNAME", &system::computer_name()),
        ("ComSpec", "C:\\Windows\\system32\\cmd.exe"),
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
        ("windir", "C:\\Windows"),
    ] {
        environment.set(name, value);
    }
    environment
}

/// The variables in a registry key; none when there is no such key.
fn settings(root: Root, path: &str) -> Vec<Setting> {
    Key::open(root, path).map(|key| key.texts()).unwrap_or_default()
}
