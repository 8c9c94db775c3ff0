//! Stage 5: base images, as genuine Windows base layers.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use oriel_hive::Key;
use oriel_wclayer::{Entry, FileTime, Kind, LayerError, LayerPath, Root, Writer, security};

use crate::needed::import_closure;
use crate::prefix::ACCOUNT;
use crate::registry::{self, Flavour};
use crate::{PersonalityError, io_error, unexpected};

/// What nanoserver offers; everything these import comes along.
const NANOSERVER: &[&str] = &[
    "advapi32.dll",
    "apisetschema.dll",
    "bcrypt.dll",
    "bcryptprimitives.dll",
    "cabinet.dll",
    "combase.dll",
    "credui.dll",
    "crypt32.dll",
    "cryptsp.dll",
    "dbghelp.dll",
    "dhcpcsvc.dll",
    "dhcpcsvc6.dll",
    "dnsapi.dll",
    "fltlib.dll",
    "imagehlp.dll",
    "iphlpapi.dll",
    "kernel32.dll",
    "kernelbase.dll",
    "mpr.dll",
    "msasn1.dll",
    "msvcp140.dll",
    "msvcrt.dll",
    "mswsock.dll",
    "ncrypt.dll",
    "netapi32.dll",
    "normaliz.dll",
    "nsi.dll",
    "ntdll.dll",
    "ole32.dll",
    "oleaut32.dll",
    "powrprof.dll",
    "propsys.dll",
    "psapi.dll",
    "rpcrt4.dll",
    "rsaenh.dll",
    "schannel.dll",
    "sechost.dll",
    "secur32.dll",
    "shcore.dll",
    "shfolder.dll",
    "shlwapi.dll",
    "sspicli.dll",
    "tzres.dll",
    "ucrtbase.dll",
    "userenv.dll",
    "uxtheme.dll",
    "vcruntime140.dll",
    "vcruntime140_1.dll",
    "version.dll",
    "winhttp.dll",
    "winmm.dll",
    "wldap32.dll",
    "ws2_32.dll",
    "wtsapi32.dll",
    "dbgeng.dll",
    "user32.dll",
    "gdi32.dll",
    "imm32.dll",
    "shell32.dll",
    "setupapi.dll",
    "msv1_0.dll",
    "kerberos.dll",
    "attrib.exe",
    "cmd.exe",
    "conhost.exe",
    "fc.exe",
    "find.exe",
    "findstr.exe",
    "hostname.exe",
    "icacls.exe",
    "ipconfig.exe",
    "net.exe",
    "netstat.exe",
    "ping.exe",
    "reg.exe",
    "robocopy.exe",
    "rpcss.exe",
    "sc.exe",
    "services.exe",
    "setx.exe",
    "svchost.exe",
    "taskkill.exe",
    "tasklist.exe",
    "where.exe",
    "whoami.exe",
    "winedevice.exe",
    "xcopy.exe",
    "ntoskrnl.exe",
    "mountmgr.sys",
    "nsiproxy.sys",
];

/// Wine's programs that do nothing and say that it went well: a Dockerfile had better fail at its
/// first line of PowerShell than go through without any effect.
const PRETENDERS: &[&str] = &["powershell.exe"];

/// Windows' spelling of directories that Wine writes in small letters.
const SPELLING: &[&str] = &[
    "Windows",
    "System32",
    "SysWOW64",
    "Users",
    "WinSxS",
    "Help",
    "INF",
    "Logs",
    "Performance",
    "Resources",
    "Security",
    "System",
    "Tasks",
    "Temp",
    "Globalization",
    "Sorting",
    "Manifests",
    "Themes",
    "Installer",
];

/// Empty directories of every base image.
const DIRECTORIES: &[&str] = &[
    "Program Files/Common Files",
    "ProgramData",
    "Users/Public",
    "Windows/System32/config",
    "Windows/System32/drivers/etc",
    "Windows/Temp",
];

/// Empty directories of an account.
const PROFILE: &[&str] = &[
    "AppData/Local/Temp",
    "AppData/LocalLow",
    "AppData/Roaming",
    "Desktop",
    "Documents",
    "Downloads",
    "Favorites",
    "Links",
    "Music",
    "Pictures",
    "Videos",
];

/// What a path of the layer holds.
enum Content {
    Directory,
    File(PathBuf),
    Bytes(Vec<u8>),
}

/// Paths below `Files` by component, which sorts as genuine producers walk: depth first.
type Tree = BTreeMap<Vec<String>, Content>;

/// Where a base image is made from.
pub(crate) struct Sources<'a> {
    /// Stripped Windows files.
    pub(crate) windows: &'a Path,
    /// What Wine filled.
    pub(crate) prefix: &'a Path,
    /// The Debian tree, for fonts and network tables.
    pub(crate) debian: &'a Path,
    /// Time of everything in the layer, in seconds since 1970.
    pub(crate) epoch: i64,
}

/// Writes the layer of `flavour` to `output`; the number of its entries is returned.
pub(crate) fn write(
    flavour: Flavour,
    sources: &Sources<'_>,
    output: impl Write,
    note: &mut dyn FnMut(&str, u64, u64),
) -> Result<u64, PersonalityError> {
    let mut tree = Tree::new();
    programs(flavour, sources, &mut tree)?;
    for directory in DIRECTORIES {
        directory_of(&mut tree, directory);
    }
    for account in [ACCOUNT, "ContainerUser", "Default"] {
        for directory in PROFILE {
            directory_of(&mut tree, &format!("Users/{account}/{directory}"));
        }
    }
    for (name, debian) in [("services", "services"), ("protocol", "protocols")] {
        let source = Content::File(sources.debian.join("etc").join(debian));
        file_of(&mut tree, &format!("Windows/System32/drivers/etc/{name}"), source);
    }
    let hosts = b"127.0.0.1 localhost\r\n::1 localhost\r\n".to_vec();
    file_of(&mut tree, "Windows/System32/drivers/etc/hosts", Content::Bytes(hosts));
    // The silo shows its own agent here.
    file_of(&mut tree, "Windows/System32/cexecsvc.exe", Content::Bytes(Vec::new()));
    hives(flavour, sources.prefix, &mut tree)?;
    layer(&tree, sources.epoch, output, note)
}

/// Puts Windows files where they belong.
fn programs(
    flavour: Flavour,
    sources: &Sources<'_>,
    tree: &mut Tree,
) -> Result<(), PersonalityError> {
    let set = files_in(&sources.windows.join("x86_64-windows"))?;
    let wanted = match flavour {
        Flavour::Windowsservercore => {
            walk(&sources.prefix.join("drive_c"), &mut Vec::new(), tree)?;
            for (name, path) in files_in(&sources.windows.join("i386-windows"))? {
                file_of(tree, &format!("Windows/SysWOW64/{name}"), Content::File(path));
            }
            for (name, path) in files_in(&sources.debian.join("oriel/fonts"))? {
                file_of(tree, &format!("Windows/Fonts/{name}"), Content::File(path));
            }
            set.keys().cloned().collect()
        }
        Flavour::Nanoserver => nanoserver(&set)?,
    };
    for name in wanted {
        let Some(path) = set.get(&name) else { continue };
        if name.ends_with(".sys") {
            let driver = format!("Windows/System32/drivers/{name}");
            file_of(tree, &driver, Content::File(path.clone()));
        }
        file_of(tree, &format!("Windows/System32/{name}"), Content::File(path.clone()));
    }
    without_pretenders(tree);
    Ok(())
}

fn without_pretenders(tree: &mut Tree) {
    tree.retain(|path, _| {
        path.last().is_none_or(|name| !PRETENDERS.contains(&name.to_lowercase().as_str()))
    });
}

/// Names of nanoserver's files.
fn nanoserver(set: &BTreeMap<String, PathBuf>) -> Result<BTreeSet<String>, PersonalityError> {
    for name in ["ntdll.dll", "kernel32.dll", "kernelbase.dll", "cmd.exe"] {
        if !set.contains_key(name) {
            return Err(unexpected("choose nanoserver's files", &format!("{name} is missing")));
        }
    }
    import_closure(NANOSERVER.iter().map(|&name| name.to_owned()), set)
}

/// The base hives, and the accounts' own.
fn hives(flavour: Flavour, prefix: &Path, tree: &mut Tree) -> Result<(), PersonalityError> {
    let bad = |source: oriel_hive::HiveError| {
        unexpected("turn Wine's registry into hives", &source.to_string())
    };
    let parse = |name: &str| {
        let text = fs_err::read(prefix.join(name)).map_err(io_error("read Wine's registry"))?;
        oriel_hive::wine::parse(&text).map_err(bad)
    };
    let machine = registry::machine(parse("system.reg")?, flavour).map_err(bad)?;
    let part = |name: &str| machine.get(name).cloned().unwrap_or_else(|| Key::new(name));
    let default = registry::user(parse("userdef.reg")?, "Default").map_err(bad)?;
    let user = parse("user.reg")?;
    for (name, key) in [
        ("SYSTEM", part("System")),
        ("SOFTWARE", part("Software")),
        ("SAM", part("SAM")),
        ("SECURITY", part("SECURITY")),
        ("DEFAULT", default),
    ] {
        let path = format!("Windows/System32/config/{name}");
        file_of(tree, &path, Content::Bytes(oriel_hive::write(&key).map_err(bad)?));
    }
    for account in [ACCOUNT, "ContainerUser", "Default"] {
        let key = registry::user(user.clone(), account).map_err(bad)?;
        let path = format!("Users/{account}/NTUSER.DAT");
        file_of(tree, &path, Content::Bytes(oriel_hive::write(&key).map_err(bad)?));
    }
    Ok(())
}

/// Writes `tree` as a layer tar. A file that is the same as an earlier one becomes a hard link, as
/// in genuine layers.
fn layer(
    tree: &Tree,
    epoch: i64,
    output: impl Write,
    note: &mut dyn FnMut(&str, u64, u64),
) -> Result<u64, PersonalityError> {
    let time = FileTime::from_unix(epoch, 0);
    let mut writer = Writer::new(BufWriter::new(output));
    let mut seen: BTreeMap<Vec<u8>, LayerPath> = BTreeMap::new();
    let mut root = Entry::new(LayerPath::root_of(Root::Files), Kind::Directory, time);
    root.security = Some(security::default_directory());
    writer.add(&root, io::empty()).map_err(tar)?;
    let total = u64::try_from(tree.len()).unwrap_or(u64::MAX);
    for (done, (components, content)) in (0_u64..).zip(tree) {
        if done % 16 == 0 {
            note("writing the layer", done, total);
        }
        let path = LayerPath::below(Root::Files, &components.join("/")).map_err(tar)?;
        let bytes = match content {
            Content::Directory => {
                let mut entry = Entry::new(path, Kind::Directory, time);
                entry.security = Some(security::default_directory());
                writer.add(&entry, io::empty()).map_err(tar)?;
                continue;
            }
            Content::File(source) => fs_err::read(source).map_err(io_error("read a file"))?,
            Content::Bytes(bytes) => bytes.clone(),
        };
        let digest = ring::digest::digest(&ring::digest::SHA256, &bytes).as_ref().to_vec();
        let earlier = seen.get(&digest).filter(|_| !bytes.is_empty()).cloned();
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let kind = match earlier {
            Some(target) => Kind::HardLink { target },
            None => Kind::File { size },
        };
        seen.entry(digest).or_insert_with(|| path.clone());
        let linked = matches!(kind, Kind::HardLink { .. });
        let mut entry = Entry::new(path, kind, time);
        entry.security = (!linked).then(security::default_file);
        let data = if linked { &[][..] } else { &bytes[..] };
        writer.add(&entry, data).map_err(tar)?;
    }
    writer.finish().map_err(tar)?.flush().map_err(io_error("write the layer"))?;
    Ok(total + 1)
}

fn tar(source: LayerError) -> PersonalityError {
    unexpected("write the layer of a base image", &source.to_string())
}

/// The configuration of the image (OCI image specification, config.md).
pub(crate) fn config(flavour: Flavour, diff_id: &str, created: &str) -> serde_json::Value {
    let mut config = serde_json::json!({ "Cmd": ["c:\\windows\\system32\\cmd.exe"] });
    if flavour == Flavour::Nanoserver {
        config["User"] = "ContainerUser".into();
    }
    serde_json::json!({
        "created": created,
        "architecture": "amd64",
        "os": "windows",
        "os.version": oriel_hcs::OS_VERSION,
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
        "history": [{
            "created": created,
            "created_by": format!("Apply image {}", oriel_hcs::OS_VERSION),
            "comment": oriel_hcs::BASE_COMMENT,
        }],
    })
}

/// Plain files of a directory by name in lower case.
fn files_in(directory: &Path) -> Result<BTreeMap<String, PathBuf>, PersonalityError> {
    let entries = fs_err::read_dir(directory).map_err(io_error("list Windows files"))?;
    let files = entries.flatten().filter(|entry| entry.path().is_file());
    Ok(files
        .map(|entry| (entry.file_name().to_string_lossy().to_ascii_lowercase(), entry.path()))
        .collect())
}

/// Takes over the C: drive that Wine made, with Windows' spelling and without links to the host.
fn walk(
    directory: &Path,
    above: &mut Vec<String>,
    tree: &mut Tree,
) -> Result<(), PersonalityError> {
    let entries = fs_err::read_dir(directory).map_err(io_error("read Wine's C: drive"))?;
    for entry in entries.flatten() {
        let name = spelled(&entry.file_name().to_string_lossy());
        let path = entry.path();
        let kind = entry.file_type().map_err(io_error("read Wine's C: drive"))?;
        above.push(name);
        if kind.is_dir() {
            directory_of(tree, &above.join("/"));
            walk(&path, above, tree)?;
        } else if kind.is_file() {
            file_of(tree, &above.join("/"), Content::File(path));
        }
        above.pop();
    }
    Ok(())
}

fn spelled(name: &str) -> String {
    SPELLING
        .iter()
        .find(|known| known.eq_ignore_ascii_case(name))
        .map_or_else(|| name.to_owned(), |&known| known.to_owned())
}

fn directory_of(tree: &mut Tree, path: &str) {
    let components: Vec<String> = path.split('/').map(str::to_owned).collect();
    for length in 1..=components.len() {
        tree.entry(components[..length].to_vec()).or_insert(Content::Directory);
    }
}

fn file_of(tree: &mut Tree, path: &str, content: Content) {
    let (parent, _) = path.rsplit_once('/').unwrap_or((path, ""));
    directory_of(tree, parent);
    tree.insert(path.split('/').map(str::to_owned).collect(), content);
}

/// A writer that counts and digests what passes through.
pub(crate) struct Digesting<W> {
    inner: W,
    context: ring::digest::Context,
    pub(crate) written: u64,
}

impl<W> Digesting<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, context: ring::digest::Context::new(&ring::digest::SHA256), written: 0 }
    }

    pub(crate) fn finish(self) -> (W, String) {
        (self.inner, format!("sha256:{}", crate::hex(self.context.finish().as_ref())))
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.context.update(&bytes[..count]);
        self.written += u64::try_from(count).unwrap_or(0);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_have_the_spelling_of_windows() {
        assert_eq!(spelled("windows"), "Windows");
        assert_eq!(spelled("syswow64"), "SysWOW64");
        assert_eq!(spelled("Program Files (x86)"), "Program Files (x86)");
    }

    #[test]
    fn parents_come_first_and_equal_files_are_links() {
        let mut tree = Tree::new();
        file_of(&mut tree, "Windows/b.dll", Content::Bytes(b"same".to_vec()));
        file_of(&mut tree, "Windows/a.dll", Content::Bytes(b"same".to_vec()));
        file_of(&mut tree, "Windows/x", Content::Bytes(Vec::new()));
        file_of(&mut tree, "Windows/y", Content::Bytes(Vec::new()));
        let mut bytes = Vec::new();
        assert_eq!(layer(&tree, 0, &mut bytes, &mut |_, _, _| {}).unwrap(), 6);
        let mut reader = oriel_wclayer::Reader::new(bytes.as_slice());
        let mut seen = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            let kind = match entry.kind {
                Kind::Directory => "directory",
                Kind::HardLink { .. } => "link",
                _ => "file",
            };
            seen.push(format!("{} {kind}", entry.path));
        }
        assert_eq!(
            seen,
            [
                "Files directory",
                "Files/Windows directory",
                "Files/Windows/a.dll file",
                "Files/Windows/b.dll link",
                "Files/Windows/x file",
                "Files/Windows/y file",
            ]
        );
    }

    #[test]
    fn nanoserver_runs_as_container_user() {
        let nano = config(Flavour::Nanoserver, "sha256:00", "2025-06-26T00:00:00Z");
        let core = config(Flavour::Windowsservercore, "sha256:00", "2025-06-26T00:00:00Z");
        assert_eq!(nano["config"]["User"], "ContainerUser");
        assert!(core["config"].get("User").is_none());
        assert_eq!(nano["os.version"], oriel_hcs::OS_VERSION);
    }

    #[test]
    fn a_digest_covers_what_was_written() {
        let mut output = Digesting::new(Vec::new());
        output.write_all(b"abc").unwrap();
        let (bytes, digest) = output.finish();
        assert_eq!(bytes, b"abc");
        assert!(digest.starts_with("sha256:ba7816bf"), "{digest}");
    }

    #[test]
    fn programs_that_only_pretend_are_left_out() {
        let mut tree = Tree::new();
        let kept = ["Windows/System32/cmd.exe", "Windows/System32/powershell.dll"];
        let system = "Windows/System32/WindowsPowerShell/v1.0/PowerShell.exe";
        for path in kept.into_iter().chain(["Windows/SysWOW64/powershell.exe", system]) {
            file_of(&mut tree, path, Content::Bytes(Vec::new()));
        }
        without_pretenders(&mut tree);
        let files = tree.iter().filter(|(_, content)| matches!(content, Content::Bytes(_)));
        let files: Vec<String> = files.map(|(path, _)| path.join("/")).collect();
        assert_eq!(files, kept);
    }
}
