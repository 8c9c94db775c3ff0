//! From hives to Wine's text and back, on hives as Windows and Oriel write them.

use std::path::PathBuf;

use oriel_hive::{Key, Value, wine};
use oriel_wclayer::{LayerPath, Root};

use super::cache::Rendered;
use super::chain::{Chain, Hive};
use super::layer::Below;
use super::seen::{self, Floor};
use super::settings::Settings;
use super::{FILES, LayerHives, RegistryChange, RegistryTrees, capture};

mod control_sets;
mod foreign;
mod links;
mod settings;
mod users;

const ACCOUNT: &str = "ContainerAdministrator";

/// Layers in a directory of their own.
pub(super) struct Layers {
    directory: tempfile::TempDir,
    /// Topmost first.
    chain: Vec<PathBuf>,
}

impl Layers {
    /// A base with these hives.
    fn on(hives: &[(Hive, Key)]) -> Self {
        let mut layers = Self { directory: tempfile::tempdir().unwrap(), chain: Vec::new() };
        layers.add();
        for (hive, root) in hives {
            let path = format!("Windows/System32/config/{}", hive.file());
            layers.file(Root::Files, &path, &oriel_hive::write(root).unwrap());
        }
        layers
    }

    /// An empty layer on top.
    fn add(&mut self) -> &mut Self {
        let layer = self.directory.path().join(self.chain.len().to_string());
        fs_err::create_dir_all(layer.join("Files")).unwrap();
        self.chain.insert(0, layer);
        self
    }

    /// A file of the topmost layer.
    fn file(&mut self, root: Root, path: &str, data: &[u8]) -> &mut Self {
        let path = LayerPath::below(root, path).unwrap();
        let place = self.chain[0].join(path.to_string());
        fs_err::create_dir_all(place.parent().unwrap()).unwrap();
        fs_err::write(place, data).unwrap();
        self
    }

    /// A delta on top that Windows wrote, from `change` made to what the chain stores.
    fn windows(&mut self, hive: Hive, change: impl FnOnce(&mut Key)) -> &mut Self {
        let old = self.chain().stored(hive).unwrap();
        let mut new = old.clone();
        change(&mut new);
        let mut delta = oriel_hive::write_delta(&oriel_hive::diff(&old, &new)).unwrap();
        without_name(&mut delta);
        self.add().file(Root::Hives, hive.delta_file(), &delta)
    }

    fn chain(&self) -> Chain<'_> {
        Chain::new(&self.chain).unwrap()
    }

    /// What programs see.
    fn seen(&self) -> RegistryTrees {
        self.seen_on(&[]).0
    }

    fn seen_on(&self, floors: &[Floor]) -> (RegistryTrees, seen::Shape) {
        let seen = seen::merge(&self.chain, ACCOUNT, floors).unwrap();
        (seen.trees, seen.shape)
    }

    /// Lets a container change what it sees, as text and back, and commits that.
    fn commit(&mut self, floors: &[Floor], change: impl FnOnce(&mut RegistryTrees)) -> LayerHives {
        let rendered = self.rendered(floors);
        let mut new = capture::read(rendered.path()).unwrap();
        change(&mut new);
        let own = written(&new);
        let change = capture::changes(rendered.path(), &Settings::default(), own.path()).unwrap();
        let made = self.below(&rendered).layer(&change).unwrap();
        self.add();
        for (name, hive) in &made.hives {
            self.file(Root::Hives, name, hive);
        }
        if let Some(hive) = &made.user {
            self.file(Root::Files, &format!("Users/{ACCOUNT}/NTUSER.DAT"), hive);
        }
        made
    }

    /// What an export of a container without changes stores, by file.
    fn exported(&self, floors: &[Floor], file: &str) -> Key {
        let rendered = self.rendered(floors);
        let whole = self.below(&rendered).whole(&RegistryChange::default()).unwrap();
        let (_, hive) = whole.hives.iter().find(|(name, _)| *name == file).unwrap();
        oriel_hive::read(hive).unwrap()
    }

    /// The files that containers get copies of.
    fn rendered(&self, floors: &[Floor]) -> tempfile::TempDir {
        let (trees, shape) = self.seen_on(floors);
        let rendered = written(&trees);
        super::settings::keep_zones(&trees.machine, rendered.path()).unwrap();
        let shape = serde_json::to_vec(&shape).unwrap();
        fs_err::write(rendered.path().join("shape.json"), shape).unwrap();
        rendered
    }

    fn below(&self, rendered: &tempfile::TempDir) -> Below<'_> {
        let rendered = Rendered { path: rendered.path().to_owned() };
        Below::new(self.chain(), ACCOUNT, &rendered).unwrap()
    }

    /// This chain as what a foreign base stands on.
    fn floor(&self, name: &str) -> Floor {
        Floor { name: name.into(), chain: "f".repeat(64), layers: self.chain.clone() }
    }
}

/// Registry files of Wine's in a directory of their own.
fn written(trees: &RegistryTrees) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (file, (tree, branch)) in FILES.iter().zip(trees.branches()) {
        fs_err::write(directory.path().join(file), wine::render(tree, &branch)).unwrap();
    }
    directory
}

/// Makes a delta one that Windows wrote: nothing where ours have a name.
fn without_name(delta: &mut [u8]) {
    delta[48..112].fill(0);
    delta[508..512].fill(0);
    let (numbers, _) = delta[..508].as_chunks::<4>();
    let sum = numbers.iter().fold(0, |sum, number| sum ^ u32::from_le_bytes(*number));
    delta[508..512].copy_from_slice(&sum.to_le_bytes());
    assert!(!oriel_hive::is_own_delta(delta));
}

/// A tree with these values.
fn tree(values: &[(&str, Value)]) -> Key {
    let mut root = Key::new("ROOT");
    for (path, value) in values {
        root.get_or_create(path).unwrap().set_value(value.clone());
    }
    root
}

fn set(root: &mut Key, path: &str, value: Value) {
    root.get_or_create(path).unwrap().set_value(value);
}

fn text(root: &Key, path: &str, name: &str) -> Option<String> {
    root.get(path)?.value(name)?.text()
}

/// Hives as those of a base of Oriel's.
fn oriel() -> Layers {
    let system = tree(&[
        ("Select", Value::dword("Current", 1)),
        (r"ControlSet001\Services\Tcpip\Parameters", Value::sz("Hostname", "container")),
        (r"ControlSet001\Services\Spooler", Value::sz("ImagePath", r"C:\Windows\spoolsv.exe")),
        (r"ControlSet001\Services\Spooler", Value::dword("Type", 0x10)),
        (r"ControlSet001\Services\Spooler", Value::dword("Start", 3)),
        (r"ControlSet001\Control\Session Manager\Environment", Value::sz("OS", "Windows_NT")),
        (r"ControlSet001\Control\Class\{4d36e968}", Value::sz("Class", "Display")),
    ]);
    let software = tree(&[
        (r"Wine\LicenseInformation", Value::dword("x", 1)),
        (r"Microsoft\Windows NT\CurrentVersion", Value::sz("CurrentBuild", "20348")),
        (r"Microsoft\Windows NT\CurrentVersion\Fonts", Value::sz("Tahoma", "tahoma.ttf")),
        (r"Classes\.txt", Value::sz("", "txtfile")),
    ]);
    let user = tree(&[
        (r"Software\Wine\Drivers", Value::sz("Graphics", "null")),
        ("Environment", Value::sz("TEMP", "x")),
    ]);
    let default = tree(&[(r"Software\Wine\Drivers", Value::sz("Graphics", "null"))]);
    let mut layers =
        Layers::on(&[(Hive::System, system), (Hive::Software, software), (Hive::Default, default)]);
    let user = oriel_hive::write(&user).unwrap();
    layers.file(Root::Files, &format!("Users/{ACCOUNT}/NTUSER.DAT"), &user);
    layers
}
