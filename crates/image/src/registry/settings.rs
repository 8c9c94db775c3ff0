//! What a container has of its own in its registry: its name, its variables, its time zone.
//!
//! They are written behind the copy of the cached registry. Wine reads sections in any order, and
//! of values that are there twice the last one counts (`server/registry.c`, `load_keys`), so no
//! text is searched and none is parsed. A commit knows them again from the sandbox's record and
//! keeps of them only what the container changed.

use std::io::Write as _;
use std::path::Path;

use oriel_hive::{Key, MAX_VALUE_NAME, Value, ValueKind, wine};
use serde::{Deserialize, Serialize};

use super::{FILES, RegistryTrees, zones};
use crate::error::Attempt;
use crate::{ImageError, SandboxSettings};

/// Longest NetBIOS computer name.
const NETBIOS_LENGTH: usize = 15;

const COMPUTER_NAME: &str = r"System\ControlSet001\Control\ComputerName\ComputerName";
const ACTIVE_COMPUTER_NAME: &str = r"System\ControlSet001\Control\ComputerName\ActiveComputerName";
const TCPIP: &str = r"System\ControlSet001\Services\Tcpip\Parameters";
const ENVIRONMENT: &str = r"System\ControlSet001\Control\Session Manager\Environment";
const TIME_ZONE: &str = r"System\ControlSet001\Control\TimeZoneInformation";
const TIME_ZONES: &str = r"Software\Microsoft\Windows NT\CurrentVersion\Time Zones";
const VOLATILE_ENVIRONMENT: &str = "Volatile Environment";

/// The time zone of containers that ask for none that there is, as Wine does.
const UTC: &str = "UTC";

/// What one container has of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    computer_name: String,
    domain_name: String,
    variables: Vec<(String, String)>,
    /// Windows' name of it.
    time_zone: Option<String>,
}

impl From<&SandboxSettings> for Settings {
    fn from(settings: &SandboxSettings) -> Self {
        let variables = settings.variables.iter().filter(|(name, _)| is_variable(name));
        Self {
            computer_name: settings.computer_name.clone(),
            domain_name: settings.domain_name.clone(),
            variables: variables.cloned().collect(),
            time_zone: settings
                .time_zone
                .as_deref()
                .map(|name| zones::windows_name(name).unwrap_or(UTC).to_owned()),
        }
    }
}

/// Values below a root, each with its key.
type Values = Vec<(&'static str, Value)>;

impl Settings {
    /// The key of their time zone, from a registry file of the image.
    pub(super) fn zone(&self, file: &Path) -> Result<Option<Key>, ImageError> {
        self.time_zone.as_deref().map_or(Ok(None), |name| time_zone_key(file, name))
    }

    /// Lays them over the registry of an image, `old`. When that is only what differs from the
    /// container's, `new` is what differs there: in keys that both lack, they are what the image
    /// has.
    pub(super) fn apply(
        &self,
        zone: Option<&Key>,
        old: &mut RegistryTrees,
        new: Option<&RegistryTrees>,
    ) -> Result<(), ImageError> {
        for (old, new, mut values) in [
            (&mut old.machine, new.map(|new| &new.machine), self.machine(zone)),
            (&mut old.user, new.map(|new| &new.user), self.user()),
        ] {
            if let Some(new) = new {
                values.retain(|(path, _)| old.get(path).is_some() || new.get(path).is_some());
            }
            set(old, values)?;
        }
        Ok(())
    }

    /// Values of `HKEY_LOCAL_MACHINE`. `zone` is the key of the time zone.
    fn machine(&self, zone: Option<&Key>) -> Values {
        let mut values = Values::new();
        if !self.computer_name.is_empty() {
            let netbios: String =
                self.computer_name.to_uppercase().chars().take(NETBIOS_LENGTH).collect();
            values.push((COMPUTER_NAME, Value::sz("ComputerName", &netbios)));
            values.push((ACTIVE_COMPUTER_NAME, Value::sz("ComputerName", &netbios)));
            for (name, text) in [("Hostname", &self.computer_name), ("Domain", &self.domain_name)] {
                values.push((TCPIP, Value::sz(name, text)));
                values.push((TCPIP, Value::sz(format!("NV {name}").as_str(), text)));
            }
        }
        values
            .extend(self.variables.iter().map(|(name, text)| (ENVIRONMENT, variable(name, text))));
        values.extend(zone.into_iter().flat_map(time_zone).map(|value| (TIME_ZONE, value)));
        values
    }

    /// Values of `HKEY_CURRENT_USER`. The last word on most variables is the user's, so those of
    /// the container are here too; `Path` would be joined with that of the machine.
    fn user(&self) -> Values {
        let variables = self.variables.iter();
        let plain = variables.filter(|(name, _)| !name.eq_ignore_ascii_case("Path"));
        plain.map(|(name, text)| (VOLATILE_ENVIRONMENT, variable(name, text))).collect()
    }
}

/// Copies a rendered registry to a container's own directory and adds what is its own.
pub(crate) fn personalise(
    rendered: &Path,
    target: &Path,
    settings: &Settings,
) -> Result<(), ImageError> {
    let attempt = || format!("write the registry of {}", target.display());
    for file in FILES {
        fs_err::copy(rendered.join(file), target.join(file)).attempt(attempt)?;
    }
    let [machine, _, user] = FILES;
    let zone = settings.zone(&rendered.join(machine))?;
    let local = wine::Branch::User(wine::LOCAL_USER.to_owned());
    for (file, values, branch) in [
        (machine, settings.machine(zone.as_ref()), wine::Branch::Machine),
        (user, settings.user(), local),
    ] {
        let mut root = Key::new("");
        set(&mut root, values)?;
        let text = wine::render(&root, &branch);
        let options = fs_err::OpenOptions::new().append(true).open(target.join(file));
        let mut file = options.attempt(attempt)?;
        file.write_all(sections(&text)).attempt(attempt)?;
    }
    Ok(())
}

/// The sections of a registry text; nothing when the only one is that of an empty root.
fn sections(text: &[u8]) -> &[u8] {
    let start = text.windows(2).position(|pair| pair == b"\n[").unwrap_or(text.len());
    if text[start..].starts_with(b"\n[]") { &[] } else { &text[start..] }
}

/// The key of a time zone, read from a text without reading the rest of it.
fn time_zone_key(file: &Path, name: &str) -> Result<Option<Key>, ImageError> {
    let attempt = || format!("look for a time zone in {}", file.display());
    let text = fs_err::read(file).attempt(attempt)?;
    let path = format!(r"{TIME_ZONES}\{name}").replace('\\', r"\\");
    let heading = format!("\n[{path}] ");
    let Some(start) = find(&text, heading.as_bytes()) else { return Ok(None) };
    let length = find(&text[start + 1..], b"\n[").map_or(text.len(), |end| start + 1 + end);
    let head = &text[..find(&text, b"\n[").unwrap_or(0)];
    let part = [head, &text[start..length], b"\n"].concat();
    let root = wine::parse(&part).attempt(attempt)?;
    Ok(root.get(&format!(r"{TIME_ZONES}\{name}")).cloned())
}

/// Where `what`, which begins with an end of a line, stands in `text`.
fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    let lines = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    lines.map(|(at, _)| at).find(|at| text[*at..].starts_with(what))
}

/// Sets values, making their keys.
fn set(root: &mut Key, values: Values) -> Result<(), ImageError> {
    for (path, value) in values {
        let attempt = || format!("set `{path}`");
        root.get_or_create(path).attempt(attempt)?.set_value(value);
    }
    Ok(())
}

/// Whether a variable can be a value of the registry; `=C:` and the like are of one process.
fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0']) && name.encode_utf16().count() <= MAX_VALUE_NAME
}

/// A variable as the registry keeps it: one that names others is expanded.
fn variable(name: &str, text: &str) -> Value {
    let names_others = text.split('%').count() > 2;
    if names_others { Value::expand_sz(name, text) } else { Value::sz(name, text) }
}

/// Length of `TZI`: three numbers and two dates (`REG_TZI_FORMAT` of timezoneapi.h).
const TZI_LENGTH: usize = 44;

/// The values of `TimeZoneInformation` for the time zone that `key` describes.
fn time_zone(key: &Key) -> Vec<Value> {
    let tzi = key.value("TZI").map(|value| value.data.as_slice()).unwrap_or_default();
    let Some(tzi) = tzi.first_chunk::<TZI_LENGTH>() else { return Vec::new() };
    let number = |name, at: usize| Value::new(name, ValueKind::DWORD, &tzi[at..at + 4]);
    let date = |name, at: usize| Value::new(name, ValueKind::BINARY, &tzi[at..at + 16]);
    let zone = key.name().to_string();
    let named = |value, name| {
        let text = key.value(name).and_then(Value::text);
        Value::sz(value, &text.unwrap_or_else(|| zone.clone()))
    };
    vec![
        number("Bias", 0),
        number("StandardBias", 4),
        number("DaylightBias", 8),
        date("StandardStart", 12),
        date("DaylightStart", 28),
        Value::dword("DynamicDaylightTimeDisabled", 0),
        named("StandardName", "Std"),
        named("DaylightName", "Dlt"),
        Value::sz("TimeZoneKeyName", &zone),
    ]
}
