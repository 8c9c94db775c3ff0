//! A chain's registry: merged from hives, rendered for Wine once, copied per container.
//!
//! The base layer carries plain hives, every layer above deltas. Merging and rendering costs tens
//! of milliseconds, so the result is kept per chain and account; a container gets copies of it in
//! which only its name and its variables are filled in. The copies must be real ones: wineserver
//! truncates a registry file in place when it has a second link (`server/registry.c`,
//! `save_branch`).

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use oriel_hive::{Delta, Key, KeyFlags, Value, ValueKind, WideString, wine};
use oriel_wclayer::{LayerPath, Root};

use crate::disk::{Dir, fold};
use crate::error::Attempt;
use crate::extract::find_file;
use crate::{ImageError, SandboxSettings};

/// Largest hive that is read. The largest of Windows Server, SOFTWARE, has about 100 MiB.
const MAX_HIVE: u64 = 512 << 20;

/// Stands for the NetBIOS computer name in a cached registry.
const NETBIOS_MARK: &str = "@@ORIEL-COMPUTER-NAME@@";
/// Stands for the DNS host name.
const HOST_MARK: &str = "@@ORIEL-HOST-NAME@@";
/// Name of the value that stands for the container's variables.
const VARIABLES_MARK: &str = "@@ORIEL-VARIABLES@@";

/// Longest NetBIOS computer name.
const NETBIOS_LENGTH: usize = 15;

/// What Wine reads, by file.
pub(crate) const FILES: [&str; 3] = ["system.reg", "userdef.reg", "user.reg"];

/// The hives below `HKEY_LOCAL_MACHINE`: key, file of a base layer, file of the layers above.
const MACHINE_HIVES: [(&str, &str, &str); 2] =
    [("System", "SYSTEM", "System_Delta"), ("Software", "SOFTWARE", "Software_Delta")];

/// The rendered registries of all chains.
pub(crate) struct RegistryCache {
    root: PathBuf,
}

/// The three trees Wine has.
#[derive(Debug)]
pub(crate) struct Trees {
    /// `HKEY_LOCAL_MACHINE`.
    pub(crate) machine: Key,
    /// `HKEY_USERS\.Default`.
    pub(crate) default: Key,
    /// `HKEY_CURRENT_USER`.
    pub(crate) user: Key,
}

impl RegistryCache {
    /// Opens the cache and removes what a crash left half made.
    pub(crate) fn open(root: PathBuf) -> Result<Self, ImageError> {
        let attempt = || "open the registry cache".to_owned();
        fs_err::create_dir_all(&root).attempt(attempt)?;
        for entry in fs_err::read_dir(&root).attempt(attempt)? {
            let entry = entry.attempt(attempt)?;
            if entry.file_name().to_string_lossy().ends_with("-creating") {
                fs_err::remove_dir_all(entry.path()).attempt(attempt)?;
            }
        }
        Ok(Self { root })
    }

    /// Removes the registries of chains that are not in `chains`.
    pub(crate) fn retain(&self, chains: &BTreeSet<String>) -> Result<(), ImageError> {
        let attempt = || "remove unused registries".to_owned();
        for entry in fs_err::read_dir(&self.root).attempt(attempt)? {
            let entry = entry.attempt(attempt)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let chain = name.split('-').next().unwrap_or_default();
            if !chains.contains(chain) {
                fs_err::remove_dir_all(entry.path()).attempt(attempt)?;
            }
        }
        Ok(())
    }

    /// The directory with the registry of `chain` for `account`, made when it is not there yet.
    /// `layers` are the chain's directories, topmost first.
    pub(crate) fn rendered(
        &self,
        chain: &str,
        account: &str,
        layers: &[PathBuf],
    ) -> Result<PathBuf, ImageError> {
        let place = self.root.join(format!("{chain}-{}", fold(account)));
        if place.exists() {
            return Ok(place);
        }
        let mut trees = merge(layers, account)?;
        prepare(&mut trees)?;
        let attempt = || format!("render the registry of {chain}");
        let made =
            tempfile::Builder::new().suffix("-creating").tempdir_in(&self.root).attempt(attempt)?;
        for (file, text) in FILES.iter().zip(render(&trees)) {
            fs_err::write(made.path().join(file), text).attempt(attempt)?;
        }
        match fs_err::rename(made.path(), &place) {
            Ok(()) => drop(made.keep()),
            // Another container was faster; its registry is the same.
            Err(_) if place.exists() => {}
            Err(error) => return Err(error).attempt(attempt),
        }
        Ok(place)
    }
}

/// Reads and merges the hives of a chain, topmost layer first.
fn merge(layers: &[PathBuf], account: &str) -> Result<Trees, ImageError> {
    let (base, above) = layers
        .split_last()
        .ok_or(ImageError::BadPath { path: String::new(), problem: "a chain without layers" })?;
    let mut machine = Key::new("");
    for (key, file, delta) in MACHINE_HIVES {
        machine.insert(merge_hive(base, above, file, delta)?.renamed(key));
    }
    let default = merge_hive(base, above, "DEFAULT", "DefaultUser_Delta")?;
    Ok(Trees { machine, default, user: user(layers, account)? })
}

/// One hive of the base with the deltas of the layers above.
fn merge_hive(base: &Path, above: &[PathBuf], file: &str, delta: &str) -> Result<Key, ImageError> {
    let path = format!("Windows/System32/config/{file}");
    let mut merged = match read_file(base, Root::Files, &path)? {
        // imgutil writes empty files.
        Some(bytes) if !bytes.is_empty() => oriel_hive::read_unclean(&bytes)
            .attempt(|| format!("read hive {file} of {}", base.display()))?,
        _ => Key::new(""),
    };
    for layer in above.iter().rev() {
        if let Some(bytes) = read_file(layer, Root::Hives, delta)? {
            let change = oriel_hive::read_delta(&bytes)
                .attempt(|| format!("read {delta} of {}", layer.display()))?;
            oriel_hive::apply(&mut merged, &change);
        }
    }
    Ok(merged)
}

/// The account's own hive of the topmost layer that has one, else that of new accounts.
fn user(layers: &[PathBuf], account: &str) -> Result<Key, ImageError> {
    for profile in [account, "Default"] {
        let path = format!("Users/{profile}/NTUSER.DAT");
        for layer in layers {
            if let Some(bytes) = read_file(layer, Root::Files, &path)? {
                return oriel_hive::read_unclean(&bytes)
                    .attempt(|| format!("read {path} of {}", layer.display()));
            }
        }
    }
    Ok(Key::new(""))
}

/// Reads a file of a layer; `None` when the layer has none.
fn read_file(layer: &Path, root: Root, path: &str) -> Result<Option<Vec<u8>>, ImageError> {
    let attempt = || format!("read {path} of {}", layer.display());
    let path = LayerPath::below(root, path).attempt(attempt)?;
    let dir = Dir::open(layer).attempt(attempt)?;
    let Some((dir, name)) = find_file(&dir, &path).attempt(attempt)? else { return Ok(None) };
    let mut bytes = Vec::new();
    dir.read(&name)
        .and_then(|file| file.take(MAX_HIVE + 1).read_to_end(&mut bytes))
        .attempt(attempt)?;
    if bytes.len() as u64 > MAX_HIVE {
        return Err(ImageError::Limit { what: "a registry hive", limit: MAX_HIVE });
    }
    Ok(Some(bytes))
}

/// Brings the merged trees into the shape Wine expects and puts the marks in.
fn prepare(trees: &mut Trees) -> Result<(), ImageError> {
    let attempt = || "prepare a registry for Wine".to_owned();
    let system = trees.machine.get_or_create("System").attempt(attempt)?;
    let set = match system.remove("CurrentControlSet") {
        Some(set) if !set.is_symlink() && system.get("ControlSet001").is_none() => set,
        _ => system.remove("ControlSet001").unwrap_or_default(),
    };
    system.insert(set.renamed("ControlSet001"));
    system.insert(control_set_link());
    let control = system.get_or_create("ControlSet001").attempt(attempt)?;
    for key in ["ComputerName", "ActiveComputerName"] {
        control
            .get_or_create(&format!(r"Control\ComputerName\{key}"))
            .attempt(attempt)?
            .set_value(Value::sz("ComputerName", NETBIOS_MARK));
    }
    let tcpip = control.get_or_create(r"Services\Tcpip\Parameters").attempt(attempt)?;
    tcpip.set_value(Value::sz("Hostname", HOST_MARK));
    tcpip.set_value(Value::sz("NV Hostname", HOST_MARK));
    let volatile = trees.user.get_or_create("Volatile Environment").attempt(attempt)?;
    volatile.set_value(Value::sz(VARIABLES_MARK, ""));
    Ok(())
}

/// The link that makes `CurrentControlSet` the first control set, as wineserver makes it.
fn control_set_link() -> Key {
    let mut link = Key::new("CurrentControlSet");
    link.flags = KeyFlags::SYMLINK;
    let target = r"\Registry\Machine\System\ControlSet001";
    let data: Vec<u8> = target.encode_utf16().flat_map(u16::to_le_bytes).collect();
    link.set_value(Value::new("SymbolicLinkValue", ValueKind::LINK, data));
    link
}

/// The texts of [`FILES`].
fn render(trees: &Trees) -> [Vec<u8>; 3] {
    let user = wine::Branch::User(wine::LOCAL_USER.to_owned());
    [
        wine::render(&trees.machine, &wine::Branch::Machine),
        wine::render(&trees.default, &wine::Branch::Default),
        wine::render(&trees.user, &user),
    ]
}

/// Copies a rendered registry to a container's own directory and fills in what is its own.
pub(crate) fn personalise(
    rendered: &Path,
    target: &Path,
    settings: &SandboxSettings,
) -> Result<(), ImageError> {
    let attempt = || format!("write the registry of {}", target.display());
    let [system, default, user] = FILES;
    let text = fs_err::read(rendered.join(system)).attempt(attempt)?;
    let netbios: String =
        settings.computer_name.to_uppercase().chars().take(NETBIOS_LENGTH).collect();
    let text = replace(&text, NETBIOS_MARK.as_bytes(), escape(&netbios).as_bytes());
    let text = replace(&text, HOST_MARK.as_bytes(), escape(&settings.computer_name).as_bytes());
    fs_err::write(target.join(system), text).attempt(attempt)?;

    fs_err::copy(rendered.join(default), target.join(default)).attempt(attempt)?;

    let text = fs_err::read(rendered.join(user)).attempt(attempt)?;
    let mut lines = String::new();
    for (name, value) in &settings.variables {
        lines += &format!("\"{}\"=\"{}\"\n", escape(name), escape(value));
    }
    let mark = format!("\"{VARIABLES_MARK}\"=\"\"\n");
    let text = replace(&text, mark.as_bytes(), lines.as_bytes());
    fs_err::write(target.join(user), text).attempt(attempt)?;
    Ok(())
}

/// Replaces every `mark` in `text`.
fn replace(text: &[u8], mark: &[u8], with: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(text.len() + with.len());
    let mut rest = text;
    while let Some(at) = position(rest, mark) {
        result.extend_from_slice(&rest[..at]);
        result.extend_from_slice(with);
        rest = &rest[at + mark.len()..];
    }
    result.extend_from_slice(rest);
    result
}

/// Where `mark`, which begins with a rare byte, stands in `text`.
fn position(text: &[u8], mark: &[u8]) -> Option<usize> {
    let first = *mark.first()?;
    let mut from = 0;
    while let Some(at) = text[from..].iter().position(|byte| *byte == first) {
        if text[from + at..].starts_with(mark) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// Text as it stands in a registry file: every unit outside of printable ASCII as `\xhhhh`.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for unit in text.encode_utf16() {
        match u8::try_from(unit).map(char::from) {
            Ok(c @ ('"' | '\\')) => escaped.extend(['\\', c]),
            Ok(c @ ' '..='~') => escaped.push(c),
            _ => escaped += &format!("\\x{unit:04x}"),
        }
    }
    escaped
}

/// What a container changed in its registry.
#[derive(Debug, Default)]
pub(crate) struct RegistryChanges {
    /// Files below `Hives`, with their content.
    pub(crate) deltas: Vec<(&'static str, Vec<u8>)>,
    /// The account's new `NTUSER.DAT`, when its hive changed.
    pub(crate) user: Option<Vec<u8>>,
}

/// The hives of a container that can change, in the order of a genuine export.
const DELTAS: [(&str, &str); 4] = [
    ("SAM", "Sam_Delta"),
    ("SECURITY", "Security_Delta"),
    ("Software", "Software_Delta"),
    ("System", "System_Delta"),
];

/// Compares a container's registry with that of its chain, as rendered.
pub(crate) fn changes(rendered: &Path, sandbox: &Path) -> Result<RegistryChanges, ImageError> {
    let [old, new] = [parse(rendered)?, parse(sandbox)?];
    let write = |name: &str, delta: &Delta| {
        oriel_hive::write_delta(delta).attempt(|| format!("write {name}"))
    };
    let mut changes = RegistryChanges::default();
    let delta = oriel_hive::diff(&old.default, &new.default);
    if !delta.is_empty() {
        changes.deltas.push(("DefaultUser_Delta", write("DefaultUser_Delta", &delta)?));
    }
    let empty = Key::new("");
    for (key, name) in DELTAS {
        let [old, new] = [&old, &new].map(|trees| trees.machine.get(key).unwrap_or(&empty));
        let delta = oriel_hive::diff(old, new);
        if !delta.is_empty() {
            changes.deltas.push((name, write(name, &delta)?));
        }
    }
    changes.user = changed_user(&old, &new)?;
    Ok(changes)
}

/// The hives of a base layer: file, file of the layers above, and where the tree is that Wine has
/// below `HKEY_LOCAL_MACHINE`, or nothing for `HKEY_USERS\\.Default`.
const BASE_HIVES: [(&str, &str, Option<&str>); 5] = [
    ("DEFAULT", "DefaultUser_Delta", None),
    ("SAM", "Sam_Delta", Some("SAM")),
    ("SECURITY", "Security_Delta", Some("SECURITY")),
    ("SOFTWARE", "Software_Delta", Some("Software")),
    ("SYSTEM", "System_Delta", Some("System")),
];

/// The whole registry of a container, as a base layer carries it.
pub(crate) struct WholeRegistry {
    /// Files below `Windows/System32/config`, with their content.
    pub(crate) hives: Vec<(&'static str, Vec<u8>)>,
    /// The account's new `NTUSER.DAT`, when its hive changed.
    pub(crate) user: Option<Vec<u8>>,
}

/// Puts the hives of a chain and what a container changed in them together. `layers` are the
/// chain's directories, topmost first; `rendered` is their registry as the container got it.
pub(crate) fn whole(
    layers: &[PathBuf],
    rendered: &Path,
    sandbox: &Path,
) -> Result<WholeRegistry, ImageError> {
    let [old, new] = [parse(rendered)?, parse(sandbox)?];
    let (base, above) = layers
        .split_last()
        .ok_or(ImageError::BadPath { path: String::new(), problem: "a chain without layers" })?;
    let empty = Key::new("");
    let mut hives = Vec::new();
    for (file, delta, key) in BASE_HIVES {
        let mut hive = merge_hive(base, above, file, delta)?;
        let [old, new] = [&old, &new].map(|trees| match key {
            Some(key) => trees.machine.get(key).unwrap_or(&empty),
            None => &trees.default,
        });
        oriel_hive::apply(&mut hive, &oriel_hive::diff(old, new));
        hives.push((file, oriel_hive::write(&hive).attempt(|| format!("write hive {file}"))?));
    }
    Ok(WholeRegistry { hives, user: changed_user(&old, &new)? })
}

/// The account's hive, when it changed.
fn changed_user(old: &Trees, new: &Trees) -> Result<Option<Vec<u8>>, ImageError> {
    if oriel_hive::diff(&old.user, &new.user).is_empty() {
        return Ok(None);
    }
    oriel_hive::write(&new.user).attempt(|| "write NTUSER.DAT".into()).map(Some)
}

/// Reads the three registry files of a directory and removes what every container has of its own.
fn parse(directory: &Path) -> Result<Trees, ImageError> {
    let read = |file: &str| {
        let path = directory.join(file);
        let attempt = || format!("read {}", path.display());
        let text = fs_err::read(&path).attempt(attempt)?;
        wine::parse(&text).attempt(attempt)
    };
    let [system, default, user] = FILES;
    let mut trees = Trees { machine: read(system)?, default: read(default)?, user: read(user)? };
    drop_noise(&mut trees);
    Ok(trees)
}

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
const CONTROL_VALUES: [(&str, &str); 7] = [
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

fn drop_noise(trees: &mut Trees) {
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
    for root in [&mut trees.machine, &mut trees.user, &mut trees.default] {
        trim_classes(root);
    }
}

/// Wine adds a NUL to every class name each time it saves (`server/registry.c`, `dump_class`).
fn trim_classes(key: &mut Key) {
    if let Some(class) = &key.class {
        let units = class.units();
        let end = units.iter().rposition(|unit| *unit != 0).map_or(0, |at| at + 1);
        if end < units.len() {
            key.class = Some(WideString::from(units[..end].to_vec())).filter(|c| !c.is_empty());
        }
    }
    let names: Vec<String> = key.subkeys().iter().map(|child| child.name().to_string()).collect();
    for name in names {
        if let Some(child) = key.get_mut(&name) {
            trim_classes(child);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{escape, replace};

    #[test]
    fn marks_are_replaced_wherever_they_stand() {
        assert_eq!(replace(b"a@@x@@b@@x@@", b"@@x@@", b"1"), b"a1b1");
        assert_eq!(replace(b"@@@x@@", b"@@x@@", b"1"), b"@1");
    }

    #[test]
    fn texts_are_escaped_for_wine() {
        assert_eq!(escape(r#"a"\b"#), r#"a\"\\b"#);
        assert_eq!(escape("\u{fc}\n"), r"\x00fc\x000a");
    }
}
