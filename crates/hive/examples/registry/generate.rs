//! A registry like `HKEY_LOCAL_MACHINE\SOFTWARE` of a Windows Server, and changes to it.
//!
//! Shapes, names and lengths are those of what fills such a hive: COM classes, interfaces,
//! components of installers and servicing packages. Nothing in it is genuine.

use std::path::Path;

use oriel_hive::wine::{self, Branch};
use oriel_hive::{Key, Security, Value, ValueKind, diff, write, write_delta};

use crate::Result;

/// Keys of the eight families that [`family`] makes of eight numbers.
const KEYS_OF_EIGHT: usize = 23;

/// A small deterministic generator (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A GUID that begins with `first`: what grows in order grows fast.
    fn guid(&mut self, first: u64) -> String {
        let (a, b) = (self.next(), self.next());
        let (c, d) = (a >> 48, a & 0xffff);
        format!("{{{first:08X}-{c:04X}-{d:04X}-{:04X}-{:012X}}}", b >> 48, b >> 16)
    }

    /// Where a program installed a file.
    fn file(&mut self) -> String {
        const WORDS: [&str; 8] = ["net", "core", "shell", "diag", "media", "crypt", "wmi", "svc"];
        let number = self.next();
        let [a, b, ..] = number.to_le_bytes().map(|byte| WORDS[usize::from(byte & 7)]);
        format!(r"C:\Windows\System32\{a}{b}{}.dll", number >> 52)
    }
}

/// Adds the keys of one thing that was installed.
fn family(root: &mut Key, random: &mut Random, number: u64) -> Result {
    match number % 8 {
        0..3 => class(root, random, number),
        3..5 => interface(root, random, number),
        5 => component(root, random, number),
        _ => package(root, random, number),
    }
}

fn class(root: &mut Key, random: &mut Random, number: u64) -> Result {
    let guid = random.guid(number);
    let class = root.get_or_create(&format!(r"Classes\CLSID\{guid}"))?;
    class.set_value(Value::sz("", &format!("Vendor component class {number}")));
    class.set_value(Value::sz("AppID", &random.guid(number)));
    let server = class.get_or_create("InprocServer32")?;
    server.set_value(Value::expand_sz("", &random.file()));
    server.set_value(Value::sz("ThreadingModel", "Both"));
    let program = format!("Vendor.Component{number}.1");
    class.get_or_create("ProgID")?.set_value(Value::sz("", &program));
    class.get_or_create("TypeLib")?.set_value(Value::sz("", &random.guid(number)));
    Ok(())
}

fn interface(root: &mut Key, random: &mut Random, number: u64) -> Result {
    let guid = random.guid(number);
    let interface = root.get_or_create(&format!(r"Classes\Interface\{guid}"))?;
    interface.set_value(Value::sz("", &format!("IVendorInterface{number}")));
    let proxy = interface.get_or_create("ProxyStubClsid32")?;
    proxy.set_value(Value::sz("", "{00020424-0000-0000-C000-000000000046}"));
    let library = interface.get_or_create("TypeLib")?;
    library.set_value(Value::sz("", &random.guid(number)));
    library.set_value(Value::sz("Version", "1.0"));
    Ok(())
}

fn component(root: &mut Key, random: &mut Random, number: u64) -> Result {
    let below = r"Microsoft\Windows\CurrentVersion\Installer\UserData\S-1-5-18\Components";
    let [name, product] =
        [number, random.next()].map(|it| format!("{it:08X}{:024X}", random.next()));
    let key = root.get_or_create(&format!(r"{below}\{name}"))?;
    key.set_value(Value::sz(product, &random.file()));
    Ok(())
}

fn package(root: &mut Key, random: &mut Random, number: u64) -> Result {
    let below = r"Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages";
    let package = format!("Package_{number:08}_for_KB{}~amd64~~10.0.1.2", random.next() >> 44);
    let key = root.get_or_create(&format!(r"{below}\{package}"))?;
    for name in ["CurrentState", "InstallTimeHigh", "InstallTimeLow", "Visibility"] {
        key.set_value(Value::dword(name, u32::try_from(random.next() >> 40)?));
    }
    key.set_value(Value::sz("InstallLocation", &random.file()));
    let bytes: Vec<u8> = (0..8).flat_map(|_| random.next().to_le_bytes()).collect();
    key.set_value(Value::new("Catalog", ValueKind::BINARY, bytes));
    key.get_or_create("Owners")?.set_value(Value::dword(package, 0x2_0070));
    Ok(())
}

/// Gives every key a time of its own.
fn set_times(key: &mut Key, random: &mut Random) -> Result {
    key.last_write = 0x01da_0000_0000_0000 + (random.next() >> 16);
    let names: Vec<String> = key.subkeys().iter().map(|key| key.name().to_string()).collect();
    for name in names {
        set_times(key.get_or_create(&name)?, random)?;
    }
    Ok(())
}

/// What an installer in a layer changes: hundreds of things made, some classes removed.
fn install(root: &mut Key, layer: u64) -> Result {
    let mut random = Random(layer << 32);
    for number in 0..500 {
        family(root, &mut random, (layer << 28) + number)?;
    }
    let names: Vec<String> = class_names(root)?;
    for name in names.iter().step_by(names.len() / 50) {
        root.remove(&format!(r"Classes\CLSID\{name}"));
    }
    Ok(())
}

fn class_names(root: &mut Key) -> Result<Vec<String>> {
    let classes = root.get_or_create(r"Classes\CLSID")?;
    Ok(classes.subkeys().iter().map(|key| key.name().to_string()).collect())
}

/// Writes all files that the other jobs read.
pub(crate) fn all(dir: &Path, keys: usize) -> Result {
    let (mut root, mut random) = (Key::new("ROOT"), Random(1));
    for number in 0..u64::try_from(keys / KEYS_OF_EIGHT * 8)? {
        family(&mut root, &mut random, number)?;
    }
    root.security = Some(Security::from([1, 0, 4, 0x80].as_slice()));
    set_times(&mut root, &mut random)?;
    fs_err::write(dir.join("SOFTWARE"), write(&root)?)?;
    fs_err::write(dir.join("old.reg"), wine::render(&root, &Branch::Machine))?;
    let mut changed = root.clone();
    let names = class_names(&mut changed)?;
    for name in names.iter().step_by(names.len() / 10) {
        let key = changed.get_or_create(&format!(r"Classes\CLSID\{name}\InprocServer32"))?;
        key.set_value(Value::sz("ThreadingModel", "Apartment"));
    }
    fs_err::write(dir.join("new.reg"), wine::render(&changed, &Branch::Machine))?;
    for layer in 1..=5 {
        let below = root.clone();
        install(&mut root, layer)?;
        let delta = write_delta(&diff(&below, &root))?;
        fs_err::write(dir.join(format!("delta-{layer}")), delta)?;
    }
    Ok(())
}
