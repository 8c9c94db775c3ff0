//! The store as a whole, on a small Windows-like image.

mod disks;

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use oriel_hive::{Key, Value, wine};
use oriel_wclayer::{Attributes, Entry, FileTime, Kind, LayerPath, Reader, Writer};

use crate::{
    BaseImport, Change, ChangeKind, Commit, Content, Digest, FileKind, ImageConfig, ImageError,
    ImageId, ImageStore, InUse, Loaded, Reference, RegistryChange, Removed, Sandbox,
    SandboxSettings,
};

mod archive;
mod commit;
mod extract;
mod fidelity;
mod sandbox;
mod store;
mod transfer;

const TIME: FileTime = FileTime(133_444_736_000_000_000);

/// A store in a directory of its own.
pub(crate) struct Fixture {
    directory: tempfile::TempDir,
    pub(crate) store: ImageStore,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = redb::Database::create(directory.path().join("meta.redb")).unwrap();
        let store = ImageStore::open(directory.path(), Arc::new(database)).unwrap();
        Self { directory, store }
    }

    /// A store that holds the base image.
    pub(crate) fn with_base() -> (Self, ImageId) {
        let fixture = Self::new();
        let tar = fixture.directory.path().join("base.tar");
        fs_err::write(&tar, base_tar()).unwrap();
        let config = ImageConfig {
            os: "windows".into(),
            architecture: "amd64".into(),
            ..ImageConfig::default()
        };
        let base = BaseImport { name: "nanoserver".into(), layer_tar: tar, config };
        let id = fixture.store.import_base(&base).unwrap();
        (fixture, id)
    }

    fn sandbox(&self, id: &str, image: &ImageId) -> Sandbox {
        let settings = SandboxSettings {
            computer_name: "web-Server-number-1".into(),
            variables: vec![("USERNAME".into(), "a\"b".into())],
            ..SandboxSettings::default()
        };
        self.store.create_sandbox(id, image, &settings).unwrap()
    }

    pub(crate) fn commit(&self, sandbox: Option<&str>, parent: ImageId) -> ImageId {
        let commit = commit_of(sandbox, parent);
        self.store.commit(&commit).unwrap()
    }

    /// Names below the data root, for comparing before and after.
    fn everything(&self) -> Vec<String> {
        let mut found = Vec::new();
        for part in ["content/blobs/sha256", "content/ingest", "windowsfilter", "registry-cache"] {
            for entry in fs_err::read_dir(self.directory.path().join(part)).unwrap() {
                found.push(format!("{part}/{}", entry.unwrap().file_name().to_string_lossy()));
            }
        }
        found.sort();
        found
    }
}

/// A commit of a sandbox, or of a configuration.
fn commit_of(sandbox: Option<&str>, parent: ImageId) -> Commit {
    Commit {
        sandbox: sandbox.map(str::to_owned),
        registry: None,
        registry_change: None,
        parent,
        config: crate::RunConfig { user: "ContainerUser".into(), ..Default::default() },
        created_by: "cmd /S /C x".into(),
        comment: String::new(),
        author: "me".into(),
        created: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        latest: None,
    }
}

fn path(name: &str) -> LayerPath {
    LayerPath::parse(name).unwrap().unwrap()
}

/// A tar of directories (ending in a slash) and files.
fn tar_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (name, data) in entries {
        let kind = match name.strip_suffix('/') {
            Some(_) => Kind::Directory,
            None => Kind::File { size: data.len() as u64 },
        };
        writer.add(&Entry::new(path(name), kind, TIME), *data).unwrap();
    }
    writer.finish().unwrap()
}

fn system_hive() -> Vec<u8> {
    let mut root = Key::new("SYSTEM");
    let key = root.get_or_create(r"ControlSet001\Control\Session Manager\Environment").unwrap();
    key.set_value(Value::sz("OS", "Windows_NT"));
    oriel_hive::write(&root).unwrap()
}

/// The hive by which a base is known to be Oriel's.
fn software_hive() -> Vec<u8> {
    let mut root = Key::new("SOFTWARE");
    root.get_or_create("Wine").unwrap();
    oriel_hive::write(&root).unwrap()
}

fn base_tar() -> Vec<u8> {
    let empty = oriel_hive::write(&Key::new("")).unwrap();
    tar_of(&[
        ("Files/", b""),
        ("Files/Users/", b""),
        ("Files/Windows/", b""),
        ("Files/Windows/System32/", b""),
        ("Files/Windows/System32/cexecsvc.exe", b""),
        ("Files/Windows/System32/cmd.exe", b"MZ"),
        ("Files/Windows/System32/config/", b""),
        ("Files/Windows/System32/config/DEFAULT", &empty),
        ("Files/Windows/System32/config/SOFTWARE", &software_hive()),
        ("Files/Windows/System32/config/SYSTEM", &system_hive()),
    ])
}

fn text(store: &ImageStore, sandbox: &Sandbox, path: &str) -> String {
    let mut text = String::new();
    store.sandbox_files(sandbox).read(path).unwrap().read_to_string(&mut text).unwrap();
    text
}

/// Names and kinds of the entries of an image's topmost layer.
fn top_layer(fixture: &Fixture, image: ImageId) -> Vec<(String, Kind)> {
    let image = fixture.store.image_by_id(&image).unwrap();
    let blob = fixture.store.content().read(image.layers.last().unwrap().blob).unwrap();
    let mut reader = Reader::new(crate::decompress::decompressed(blob).unwrap());
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        entries.push((entry.path.to_string(), entry.kind));
    }
    entries
}

fn names(entries: &[(String, Kind)]) -> Vec<&str> {
    entries.iter().map(|(name, _)| name.as_str()).collect()
}

fn edit(sandbox: &Sandbox, file: &str, branch: &wine::Branch, change: impl FnOnce(&mut Key)) {
    let file = sandbox.path.join("registry").join(file);
    let mut root = wine::parse(&fs_err::read(&file).unwrap()).unwrap();
    change(&mut root);
    fs_err::write(&file, wine::render(&root, branch)).unwrap();
}
/// Says that a test did nothing.
pub(crate) fn writeln_skipped(why: &str) {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "skipped: {why}").unwrap();
}

/// Whether this process may set `trusted.*` attributes; says so when not.
fn may_use_trusted_attributes(directory: &Path) -> bool {
    let directory = crate::disk::Dir::open(directory).unwrap();
    let may = crate::disk::set_xattr(&directory, "trusted.oriel.test", b"1").unwrap();
    if !may {
        writeln_skipped("only root has trusted extended attributes");
    }
    may
}

/// Runs `script` on an overlay of the sandbox, in a mount namespace of its own.
fn in_overlay(sandbox: &Sandbox, script: &str) -> bool {
    let lower: Vec<_> = sandbox.layers.iter().map(|layer| layer.to_str().unwrap()).collect();
    let script = format!(
        "set -e; cd {path}; mkdir merged; mount -t overlay overlay -o \
         lowerdir={lower},upperdir=upper,workdir=work,redirect_dir=off merged; cd merged; {script}",
        path = sandbox.path.display(),
        lower = lower.join(":"),
    );
    let shell = ["--mount", "sh", "-c", &script];
    match std::process::Command::new("unshare").args(shell).output() {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            writeln_skipped(&format!(
                "no overlay here: {}",
                String::from_utf8_lossy(&output.stderr)
            ));
            false
        }
        Err(error) => {
            writeln_skipped(&format!("no unshare here: {error}"));
            false
        }
    }
}

/// A docker archive around one layer, in the form of Docker 1.10 to 24.
fn docker_archive(os: &str, layer: &[u8], diff: Digest) -> Vec<u8> {
    let rootfs = format!(r#"{{"type":"layers","diff_ids":["{diff}"]}}"#);
    let config = format!(r#"{{"os":"{os}","architecture":"amd64","rootfs":{rootfs}}}"#);
    let config_name = format!("{}.json", Digest::of(config.as_bytes()).hex());
    let manifest = format!(
        r#"[{{"Config":"{config_name}","RepoTags":["old:1"],"Layers":["abc/layer.tar"]}}]"#
    );
    let mut builder = tar::Builder::new(Vec::new());
    for (name, data) in [
        (config_name.as_str(), config.as_bytes()),
        ("abc/layer.tar", layer),
        ("manifest.json", manifest.as_bytes()),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        builder.append_data(&mut header, name, data).unwrap();
    }
    builder.into_inner().unwrap()
}
/// Loads a layer on top of nothing and returns its `Files`.
fn extracted(fixture: &Fixture, layer: &[u8]) -> Result<std::path::PathBuf, ImageError> {
    let archive = docker_archive("windows", layer, Digest::of(layer));
    fixture.store.load(&mut &archive[..], &mut |_| {})?;
    let image = fixture.store.resolve("old:1")?;
    Ok(fixture.store.layers().directory(image.layers[0].chain_id).join("Files"))
}
