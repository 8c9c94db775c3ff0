//! What of the registry of real Windows programs get to see.
//!
//! Hives that Windows wrote hold what its kernel and its boot leave there: drivers, devices,
//! services of Windows. Wine would start the drivers and wait for the services: one such hive made
//! `cmd /c ver` take 65 s in the place of one. And they hold things under names under which Wine
//! keeps what it needs itself. So
//!
//! - the base of an image that is not Oriel's gives what [`ADOPTED`] lists; all else comes from a
//!   base of Oriel's, the *floor*;
//! - the delta of a layer that Windows wrote changes everything but what [`CONTROL_SET`],
//!   [`SYSTEM`], [`SOFTWARE`], [`USER`] and [`Guard::services`] keep as it was;
//! - deltas that Oriel wrote change everything: a container here only ever saw the result of this
//!   policy, so what it changed was meant.
//!
//! Nothing is lost: commits and exports go back to what the layers store.

use std::collections::BTreeSet;

use oriel_hive::{Delta, Key, Value};

use super::chain::Hive;
use super::{links, project};
use crate::ImageError;
use crate::disk::fold;
use crate::error::Attempt;

/// Grows when this policy or the shape of a rendered registry changes: rendered anew then.
pub(super) const VERSION: u32 = 3;

/// What a layer from Windows does not change in the current control set.
const CONTROL_SET: &[&str] = &[
    // The devices of the host it was built on; Wine loads a driver for each root device.
    "Enum",
    "Hardware Profiles",
    r"Control\Class",
    r"Control\DeviceClasses",
    r"Control\DeviceContainers",
    r"Control\DeviceMigration",
    r"Control\GraphicsDrivers",
    r"Control\Video",
    // Paths of hives on that host.
    r"Control\hivelist",
    // Programs find these DLLs by name and load them; Windows' own are not there.
    r"Control\Lsa",
    r"Control\Print",
    r"Control\SecurityProviders",
    // Trace sessions, and the order in which drivers start.
    r"Control\GroupOrderList",
    r"Control\ServiceGroupOrder",
    r"Control\WMI",
    // Files that are to be renamed at boot, subsystems, known DLLs: Wine's own process reads them.
    r"Control\Session Manager",
    // Names of code page files, of which Wine has its own.
    r"Control\Nls",
    // What the container was called in which the layer was made, and its adapters.
    r"Control\ComputerName",
    r"Services\Dhcp",
    r"Services\NetBT",
    r"Services\Tcpip\Linkage",
    r"Services\Tcpip\Parameters\Adapters",
    r"Services\Tcpip\Parameters\Interfaces",
    r"Services\Tcpip6",
    // Which Windows this is.
    r"Control\ProductOptions",
];

/// What lies below those and is changed: people set it on purpose.
const CONTROL_SET_CHANGED: &[&str] =
    &[r"Control\SecurityProviders\SCHANNEL", r"Control\Session Manager\Environment"];

/// Variables of the machine that Windows sets at boot, and those that say where Windows is.
const BOOT_VARIABLES: &[&str] = &[
    "ComSpec",
    "NUMBER_OF_PROCESSORS",
    "OS",
    "PROCESSOR_ARCHITECTURE",
    "PROCESSOR_IDENTIFIER",
    "PROCESSOR_LEVEL",
    "PROCESSOR_REVISION",
    "USERNAME",
    "windir",
];

/// What a layer from Windows does not change elsewhere in `HKEY_LOCAL_MACHINE\SYSTEM`.
const SYSTEM: &[&str] = &[
    // Drives and drivers of the host.
    "DriverDatabase",
    "HardwareConfig",
    "MountedDevices",
    // The state of Windows' own installation and activation.
    "Setup",
    "WPA",
    // The numbers of control sets, which lead to the keys above.
    "Select",
];

/// What a layer from Windows does not change in `HKEY_LOCAL_MACHINE\SOFTWARE`, nor in what 32-bit
/// programs see of it.
const SOFTWARE: &[&str] = &[
    // Wine's own settings.
    "Wine",
    // Which emulator runs 32-bit programs.
    r"Microsoft\Wow64",
    // Fonts are files; Wine notes here which ones it has.
    r"Microsoft\Windows NT\CurrentVersion\FontLink",
    r"Microsoft\Windows NT\CurrentVersion\FontSubstitutes",
    r"Microsoft\Windows NT\CurrentVersion\Fonts",
    // Drivers for sound, and what runs when a program crashes.
    r"Microsoft\Windows NT\CurrentVersion\AeDebug",
    r"Microsoft\Windows NT\CurrentVersion\Drivers32",
    // Performance counters of Windows' services; Wine makes this key itself.
    r"Microsoft\Windows NT\CurrentVersion\Perflib",
    // The accounts of the host, by its own SIDs, and how they log on.
    r"Microsoft\Windows NT\CurrentVersion\ProfileList",
    r"Microsoft\Windows NT\CurrentVersion\Winlogon",
    // Services and tasks of Windows that are not there.
    r"Microsoft\Windows NT\CurrentVersion\Schedule",
    r"Microsoft\Windows NT\CurrentVersion\Svchost",
    // The adapters of the host.
    r"Microsoft\Windows NT\CurrentVersion\NetworkCards",
    // Wine tells the time by these and needs all of them.
    r"Microsoft\Windows NT\CurrentVersion\Time Zones",
    // What Windows notes of its own parts: event providers, packages, assemblies.
    r"Microsoft\Windows\CurrentVersion\Component Based Servicing",
    r"Microsoft\Windows\CurrentVersion\SideBySide",
    r"Microsoft\Windows\CurrentVersion\WINEVT",
    // Programs that run at each start.
    r"Microsoft\Windows\CurrentVersion\RunServices",
];

/// What 32-bit programs see in the place of `HKEY_LOCAL_MACHINE\SOFTWARE`.
const SOFTWARE_32: &str = "Wow6432Node";

/// What an account's hive from Windows does not change.
const USER: &[&str] = &[
    // Wine's own settings: that there is no display, among others.
    r"Software\Wine",
    // What each log-on leaves.
    "Volatile Environment",
    // Numbers and dates as Wine's locale has them.
    r"Control Panel\International",
    // Printers of the host.
    r"Software\Microsoft\Windows NT\CurrentVersion\Devices",
    r"Software\Microsoft\Windows NT\CurrentVersion\PrinterPorts",
    r"Software\Microsoft\Windows NT\CurrentVersion\Windows",
    // Where the directories of the profile are, which the base has.
    r"Software\Microsoft\Windows\CurrentVersion\Explorer\Shell Folders",
    r"Software\Microsoft\Windows\CurrentVersion\Explorer\User Shell Folders",
];

/// What the base of an image that is not Oriel's gives: hive, key (`*` is the current control set)
/// and values.
const ADOPTED: &[(Hive, &str, &[&str])] = &[
    // Which Windows it is: Wine's version calls answer by these.
    (
        Hive::Software,
        r"Microsoft\Windows NT\CurrentVersion",
        &[
            "BuildLab",
            "BuildLabEx",
            "CurrentBuild",
            "CurrentBuildNumber",
            "CurrentMajorVersionNumber",
            "CurrentMinorVersionNumber",
            "CurrentVersion",
            "DisplayVersion",
            "EditionID",
            "InstallationType",
            "ProductName",
            "ReleaseId",
            "UBR",
        ],
    ),
    (Hive::System, r"*\Control\ProductOptions", &["ProductSuite", "ProductType"]),
    // Where programs are looked for.
    (Hive::System, r"*\Control\Session Manager\Environment", &["Path", "PATHEXT", "PSModulePath"]),
];

/// Takes from the hive `base` of a foreign base what programs may see of it. `set` is the name of
/// the current control set, in `floor` too.
pub(super) fn adopt(
    floor: &mut Key,
    base: &Key,
    (hive, set): (Hive, &str),
) -> Result<(), ImageError> {
    for (_, path, names) in ADOPTED.iter().filter(|(of, _, _)| *of == hive) {
        let path = path.replace('*', set);
        let Some(key) = base.get(&path) else { continue };
        let values = names.iter().filter_map(|name| key.value(name));
        for value in values {
            let attempt = || format!("take over `{path}`");
            floor.get_or_create(&path).attempt(attempt)?.set_value(value.clone());
        }
    }
    Ok(())
}

/// An account's hive that Windows wrote, on that of the floor.
pub(super) fn adopt_user(floor: Key, mut user: Key) -> Key {
    for path in USER {
        user.remove(path);
    }
    let mut adopted = floor;
    oriel_hive::apply(&mut adopted, &oriel_hive::diff(&Key::new(""), &user));
    adopted
}

/// Whether a base is Oriel's, by its hive `SOFTWARE`.
pub(super) fn is_own_base(software: &Key) -> bool {
    software.get(SOFTWARE[0]).is_some()
}

/// Takes from a hive `SOFTWARE` that is not Oriel's what a container wrote of Wine's settings: it
/// would be taken for one that has all of them.
pub(super) fn disown_base(software: &mut Key) {
    software.remove(SOFTWARE[0]);
}

/// Whether an account's hive has what Wine needs there.
pub(super) fn is_own_user(user: &Key) -> bool {
    user.get(USER[0]).is_some()
}

/// Like [`disown_base`], for the hive of an account.
pub(super) fn disown_user(user: &mut Key) {
    user.remove(USER[0]);
}

/// Keeps one hive from what layers from Windows would change in it.
pub(super) struct Guard {
    hive: Hive,
    /// Name of the current control set.
    set: String,
    /// Folded names of the services that the base has.
    provided: BTreeSet<String>,
}

impl Guard {
    /// Guards `hive`, of which the base is `base`.
    pub(super) fn new(hive: Hive, base: &Key, control_set: u32) -> Self {
        let set = project::control_set(control_set);
        let services = base.get(&format!(r"{set}\Services")).filter(|_| hive == Hive::System);
        let services = services.map_or(&[][..], Key::subkeys);
        let provided = services.iter().filter(|service| service.value("ImagePath").is_some());
        let provided = provided.map(|service| fold(&service.name().to_string())).collect();
        Self { hive, set, provided }
    }

    /// Lays the delta of a layer from Windows on `tree`.
    pub(super) fn apply(&self, tree: &mut Key, delta: &Delta) -> Result<(), ImageError> {
        let kept: Vec<_> =
            self.kept().into_iter().map(|path| (tree.get(&path).cloned(), path)).collect();
        let services = format!(r"{}\Services", self.set);
        let services_before = tree.get(&services).cloned();
        let services_before = services_before.unwrap_or_else(|| Key::new("Services"));
        links::apply(tree, delta, &self.root())?;
        let changed: Vec<String> = match self.hive {
            Hive::System => CONTROL_SET_CHANGED.iter().map(|path| self.in_set(path)).collect(),
            _ => Vec::new(),
        };
        for (key, path) in kept {
            restore(tree, &path, key, &changed)?;
        }
        if self.hive == Hive::System {
            let after = tree.remove(&services).unwrap_or_default();
            put(tree, &services, Some(self.services(&services_before, &after)))?;
        }
        Ok(())
    }

    /// The keys that stay as they are.
    fn kept(&self) -> Vec<String> {
        let plain = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        match self.hive {
            Hive::System => {
                let mut paths: Vec<String> = plain(SYSTEM);
                paths.extend(CONTROL_SET.iter().map(|path| self.in_set(path)));
                paths
            }
            Hive::Software => {
                let mut paths: Vec<String> = plain(SOFTWARE);
                paths.extend(SOFTWARE.iter().map(|path| format!(r"{SOFTWARE_32}\{path}")));
                paths
            }
            Hive::Default => plain(USER),
            Hive::Sam | Hive::Security => Vec::new(),
        }
    }

    fn in_set(&self, path: &str) -> String {
        format!(r"{}\{path}", self.set)
    }

    /// How programs name the root of the hive.
    fn root(&self) -> String {
        match self.hive.key() {
            Some(key) => format!(r"\Registry\Machine\{key}"),
            None => r"\Registry\User\.Default".to_owned(),
        }
    }

    /// The services after a layer from Windows changed them.
    ///
    /// Those of the base keep how they start, but take parameters. Others may come when they are
    /// programs of their own; Windows' own ones live in `svchost.exe`.
    fn services(&self, before: &Key, after: &Key) -> Key {
        let mut services = before.clone();
        for service in before.subkeys() {
            let name = service.name().to_string();
            if !self.is_provided(service) && after.get(&name).is_none() {
                services.remove(&name);
            }
        }
        for service in after.subkeys() {
            let old = before.get(&service.name().to_string());
            if let Some(old) = old.filter(|_| self.is_provided(service)) {
                let mut kept = old.clone();
                service.subkeys().iter().cloned().for_each(|key| drop(kept.insert(key)));
                services.insert(kept);
            } else if !self.is_provided(service) && may_start(service) {
                services.insert(service.clone());
            }
        }
        services
    }

    fn is_provided(&self, service: &Key) -> bool {
        self.provided.contains(&fold(&service.name().to_string()))
    }
}

/// Whether Wine may start a service: one without a type is none, only parameters of one.
fn may_start(service: &Key) -> bool {
    /// A process of its own, or one shared with others (`SERVICE_WIN32`).
    const PROGRAM: u32 = 0x30;
    /// Drivers and adapters, templates and instances for a user.
    const OTHERS: u32 = 0x0f | 0x40 | 0x80;
    let Some(kind) = service.value("Type").and_then(Value::number) else { return true };
    let path = service.value("ImagePath").and_then(Value::text).unwrap_or_default();
    let path = path.to_ascii_lowercase();
    kind & PROGRAM != 0 && kind & OTHERS == 0 && !path.is_empty() && !path.contains("svchost.exe")
}

/// Puts `key` back to `path`, but for what is below `changed`.
fn restore(
    tree: &mut Key,
    path: &str,
    key: Option<Key>,
    changed: &[String],
) -> Result<(), ImageError> {
    let below = changed.iter().filter(|inner| inner.starts_with(path));
    let stays: Vec<_> = below.map(|inner| (inner, tree.get(inner).cloned())).collect();
    let variables = key.as_ref().and_then(|key| key.get("Environment")).cloned();
    put(tree, path, key)?;
    for (inner, key) in stays {
        put(tree, inner, key)?;
        if let Some(environment) = tree.get_mut(inner)
            && inner.ends_with(r"\Environment")
        {
            restore_variables(environment, variables.as_ref());
        }
    }
    Ok(())
}

/// Puts the variables back that are Windows' own.
fn restore_variables(environment: &mut Key, before: Option<&Key>) {
    for name in BOOT_VARIABLES {
        match before.and_then(|before| before.value(name)) {
            Some(value) => drop(environment.set_value(value.clone())),
            None => drop(environment.remove_value(name)),
        }
    }
}

/// Puts `key` to `path`, or nothing.
fn put(tree: &mut Key, path: &str, key: Option<Key>) -> Result<(), ImageError> {
    let Some(key) = key else {
        tree.remove(path);
        return Ok(());
    };
    let (parent, _) = path.rsplit_once('\\').unwrap_or(("", path));
    let attempt = || format!("keep `{path}`");
    tree.get_or_create(parent).attempt(attempt)?.insert(key);
    Ok(())
}
