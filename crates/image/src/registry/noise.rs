//! What a mere boot changes, which is no change of the container's.

use oriel_hive::Key;

use super::RegistryTrees;

/// Keys of a control set that a mere boot changes, or that name this one container.
const CONTROL_NOISE: [&str; 6] = [
    r"Control\Class",
    r"Control\DeviceClasses",
    r"Control\ComputerName",
    r"Control\Session Manager\Environment\Volatile",
    r"Enum",
    r"Hardware Profiles",
];

/// Values of a control set, likewise.
const CONTROL_VALUES: [(&str, &str); 9] = [
    // Wine's name for the time zone, by `TZ`: the first one with the same rules.
    (r"Control\TimeZoneInformation", "StandardName"),
    (r"Control\TimeZoneInformation", "TimeZoneKeyName"),
    (r"Services\Tcpip\Parameters", "Hostname"),
    (r"Services\Tcpip\Parameters", "NV Hostname"),
    (r"Services\Tcpip\Parameters", "Domain"),
    (r"Control\Session Manager\Environment", "NUMBER_OF_PROCESSORS"),
    (r"Control\Session Manager\Environment", "PROCESSOR_IDENTIFIER"),
    (r"Control\Session Manager\Environment", "PROCESSOR_LEVEL"),
    (r"Control\Session Manager\Environment", "PROCESSOR_REVISION"),
];

/// Keys of `HKEY_LOCAL_MACHINE`, likewise.
const MACHINE_NOISE: [&str; 5] = [
    "Hardware",
    r"System\CurrentControlSet",
    r"System\MountedDevices",
    r"Software\Microsoft\Windows NT\CurrentVersion\NetworkCards",
    r"Software\Microsoft\Windows NT\CurrentVersion\Perflib\009",
];

/// Keys of an account, likewise.
const USER_NOISE: [&str; 2] = ["Volatile Environment", r"Software\Wine\Fonts"];

/// Keys that wineserver makes when it starts, without anything in them (`server/registry.c`,
/// `init_registry`); the first is in the second.
const MADE: [&str; 2] = [r"Software\Classes\Wow6432Node", r"Software\Classes"];

/// Removes from the machine's tree of a container what wineserver made there and `old` lacks.
pub(super) fn drop_made(old: &Key, new: &mut Key) {
    for path in MADE {
        let empty = |key: &Key| key.subkeys().is_empty() && key.values().is_empty();
        if old.get(path).is_none() && new.get(path).is_some_and(empty) {
            new.remove(path);
        }
    }
}

/// Removes it from the registry of a container or of its image.
pub(super) fn drop_noise(trees: &mut RegistryTrees) {
    for path in MACHINE_NOISE {
        trees.machine.remove(path);
    }
    if let Some(set) = trees.machine.get_mut(r"System\ControlSet001") {
        for path in CONTROL_NOISE {
            set.remove(path);
        }
        for (path, value) in CONTROL_VALUES {
            if let Some(key) = set.get_mut(path) {
                key.remove_value(value);
            }
        }
    }
    for user in [&mut trees.user, &mut trees.default] {
        for path in USER_NOISE {
            user.remove(path);
        }
    }
}
