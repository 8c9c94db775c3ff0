//! What is left to do before the first process: the parts of `wineboot` that programs can see.
//!
//! The registry on disk and the layer's files are ready when the silo starts; these are kept in
//! memory and have to be made each time. The drivers start first and become ready beside the rest.

use std::os::windows::io::OwnedHandle;
use std::sync::Arc;

use crate::account::{Account, DOMAIN};
use crate::drivers::Drivers;
use crate::nt::object::{self, SharedData};
use crate::nt::processor::{self, Processor};
use crate::nt::registry::{Key, Root};
use crate::nt::{Win32Error, system};

/// What must live as long as the silo.
pub(crate) struct Booted {
    /// The drivers, which may still be on their way.
    pub(crate) drivers: Arc<Drivers>,
    /// While it exists, processes that are started without a Windows parent do not look for
    /// `wineboot`.
    _event: Option<OwnedHandle>,
}

/// Completes the boot. A part that fails is reported and left out: most programs run without.
pub(crate) fn complete() -> Booted {
    report("fill the shared data page", fill_shared_data());
    let drivers = Drivers::start();
    report("describe the hardware", describe_hardware());
    report("name the computer", name_computer());
    let account = session_account();
    report("describe the session", describe_session(account));
    if let Err(error) = make_profile(account) {
        complain(&format!("cannot make the profile of {}: {error}", account.name()));
    }
    let event = object::signalled_event("\\KernelObjects\\__wineboot_event");
    if let Err(error) = &event {
        complain(&format!("cannot signal the end of the boot: error 0x{:x}", error.0));
    }
    Booted { drivers: Arc::new(drivers), _event: event.ok() }
}

/// Makes the directories of a profile that programs expect.
pub(crate) fn make_profile(account: Account) -> std::io::Result<()> {
    let profile = account.profile();
    // The deepest first: on all but the very first start it is there, and so are the others.
    if std::fs::exists(account.temp())? {
        return Ok(());
    }
    for directory in [
        "AppData\\Local\\Temp",
        "AppData\\LocalLow",
        "AppData\\Roaming",
        "Desktop",
        "Documents",
        "Downloads",
    ] {
        std::fs::create_dir_all(format!("{profile}\\{directory}"))?;
    }
    Ok(())
}

/// Writes a line to the agent's log.
#[expect(clippy::print_stderr, reason = "standard error is the agent's log")]
pub(crate) fn complain(text: &str) {
    eprintln!("cexecsvc: {text}");
}

fn report(what: &str, result: Result<(), Win32Error>) {
    if let Err(error) = result {
        complain(&format!("cannot {what}: error 0x{:x}", error.0));
    }
}

/// Whose session this silo is: the personality was told by the name of its Unix user.
fn session_account() -> Account {
    std::env::var("WINEUSERNAME")
        .ok()
        .and_then(|name| Account::named(&name).ok())
        .unwrap_or(Account::Administrator)
}

/// Fills the fields of `KUSER_SHARED_DATA` that are not clocks. Offsets are those of `wdm.h`.
fn fill_shared_data() -> Result<(), Win32Error> {
    let page = SharedData::open()?;
    let version = object::version();
    let number = |offset, value: u32| page.put(offset, &value.to_le_bytes());
    number(0x004, 1 << 24); // TickCountMultiplier: the tick count is in milliseconds
    let root: Vec<u8> =
        "C:\\Windows\0".encode_utf16().flat_map(|unit| unit.to_le_bytes()).collect();
    page.put(0x030, &root); // NtSystemRoot
    number(0x244, 2 << 20); // LargePageMinimum
    number(0x260, version.dwBuildNumber); // NtBuildNumber
    number(0x264, u32::from(version.wProductType)); // NtProductType
    page.put(0x268, &[1]); // ProductTypeIsValid
    page.put(0x26a, &9_u16.to_le_bytes()); // NativeProcessorArchitecture: AMD64
    number(0x26c, version.dwMajorVersion); // NtMajorVersion
    number(0x270, version.dwMinorVersion); // NtMinorVersion
    page.put(0x274, &processor::features()); // ProcessorFeatures
    number(0x2d0, u32::from(version.wSuiteMask)); // SuiteMask
    page.put(0x2d5, &[3]); // NXSupportPolicy: opt out, a server's default
    number(0x2e8, object::physical_pages()); // NumberOfPhysicalPages
    number(0x3c0, system::processor_count()); // ActiveProcessorCount
    page.put(0x3c4, &[1]); // ActiveGroupCount
    if let Some(state) = processor::extended_state() {
        page.put(0x3d8, &state); // XState
    }
    Ok(())
}

/// Makes `HKLM\HARDWARE`, from which programs read the processor's name and speed.
fn describe_hardware() -> Result<(), Win32Error> {
    let processor = Processor::identify();
    let megahertz = processor::megahertz();
    for index in 0..system::processor_count() {
        let path = format!("Hardware\\Description\\System\\CentralProcessor\\{index}");
        let key = Key::create_volatile(Root::Machine, &path)?;
        key.set_text("Identifier", &processor.identifier())?;
        key.set_text("ProcessorNameString", &processor.brand)?;
        key.set_text("VendorIdentifier", &processor.vendor)?;
        key.set_number("FeatureSet", 0)?;
        key.set_number("~MHz", megahertz)?;
    }
    let system = Key::create_volatile(Root::Machine, "Hardware\\Description\\System")?;
    system.set_text("Identifier", "AT compatible")?;
    let bios = Key::create_volatile(Root::Machine, "Hardware\\Description\\System\\BIOS")?;
    bios.set_text("SystemManufacturer", "Oriel")?;
    bios.set_text("SystemProductName", "Silo")
}

/// Makes the key that `GetComputerName` reads: the name of this boot, which is the configured one.
fn name_computer() -> Result<(), Win32Error> {
    const NAMES: &str = "System\\CurrentControlSet\\Control\\ComputerName";
    if !system::computer_name().is_empty() {
        return Ok(());
    }
    let configured = Key::open(Root::Machine, &format!("{NAMES}\\ComputerName"))
        .into_iter()
        .flat_map(|key| key.texts())
        .find(|text| text.name.eq_ignore_ascii_case("ComputerName"))
        .map_or_else(|| system::host_name().to_uppercase(), |text| text.text);
    let active = Key::create_volatile(Root::Machine, &format!("{NAMES}\\ActiveComputerName"))?;
    // A NetBIOS name has at most 15 characters.
    active.set_text("ComputerName", &configured.chars().take(15).collect::<String>())
}

/// Makes `HKCU\Volatile Environment`, which Windows fills at log-on.
fn describe_session(account: Account) -> Result<(), Win32Error> {
    let profile = account.profile();
    let key = Key::create_volatile(Root::User, "Volatile Environment")?;
    for (name, text) in [
        ("APPDATA", format!("{profile}\\AppData\\Roaming")),
        ("HOMEDRIVE", "C:".to_owned()),
        ("HOMEPATH", profile.trim_start_matches("C:").to_owned()),
        ("LOCALAPPDATA", format!("{profile}\\AppData\\Local")),
        ("LOGONSERVER", format!("\\\\{}", system::computer_name())),
        ("USERDOMAIN", DOMAIN.to_owned()),
        ("USERNAME", account.name().to_owned()),
        ("USERPROFILE", profile),
    ] {
        key.set_text(name, &text)?;
    }
    Ok(())
}
