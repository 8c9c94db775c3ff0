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
    /// The key of their time zone, from the rendered registry of the image.
    pub(super) fn zone(&self, rendered: &Path) -> Result<Option<Key>, ImageError> {
        let Some(name) = &self.time_zone else { return Ok(None) };
        let attempt = || format!("read the time zone {name}");
        let text = fs_err::read(rendered.join(ZONES)).attempt(attempt)?;
        Ok(wine::parse(&text).attempt(attempt)?.get(name).cloned())
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
    let zone = settings.zone(rendered)?;
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

/// File of a rendered registry with its time zones, each a key with what containers get of it: the
/// registry itself is too long to be read for each.
pub(super) const ZONES: &str = "zones.reg";

/// Writes the time zones of `machine` beside its rendered registry.
pub(super) fn keep_zones(machine: &Key, rendered: &Path) -> Result<(), ImageError> {
    let mut zones = Key::new("");
    for zone in machine.get(TIME_ZONES).map_or(&[][..], Key::subkeys) {
        let mut kept = Key::new(zone.name().clone());
        let values = ["TZI", "Std", "Dlt"].into_iter().filter_map(|name| zone.value(name));
        values.for_each(|value| drop(kept.set_value(value.clone())));
        zones.insert(kept);
    }
    let text = wine::render(&zones, &wine::Branch::Machine);
    fs_err::write(rendered.join(ZONES), text).attempt(|| "write time zones".into())
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
