//! Stage 2: from the Debian tree to the personality tree.
//!
//! The silo shows this tree to every container as its Unix root, so it holds what Wine opens and
//! nothing else: no shell, no package manager, no documentation.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::needed::library_closure;
use crate::{PersonalityError, io_error};

/// Where Debian keeps libraries of the machine.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Wine's Unix halves that console programs and services use. Left out are sound, video, scanners,
/// USB, and `winewayland`, which complains on standard error of every program with windows.
const UNIX_HALVES: &[&str] = &[
    "ntdll", "ws2_32", "nsiproxy", "dnsapi", "mountmgr", "bcrypt", "crypt32", "secur32", "msv1_0",
    "win32u", "netapi32", "dwrite", "winspool", "localspl",
];

/// Libraries opened by name. Without fontconfig win32u gives up before it has a window station, and
/// every program with windows starts another explorer, without end; without libgcc glibc aborts
/// when a thread ends.
const OPENED: &[&str] =
    &["libgcc_s.so.1", "libgnutls.so.30", "libfreetype.so.6", "libfontconfig.so.1"];

/// Directories taken whole.
const TREES: &[&str] = &["usr/lib/locale/C.utf8", "usr/share/zoneinfo", "usr/share/wine/nls"];

/// Where a silo mounts something.
const MOUNT_POINTS: &[&str] = &[
    "proc",
    "sys",
    "dev",
    "tmp",
    "run",
    "prefix",
    "usr/lib/x86_64-linux-gnu/wine/x86_64-windows",
    "usr/lib/x86_64-linux-gnu/wine/i386-windows",
];

/// Empty files that a silo may mount its own over.
const MOUNT_FILES: &[&str] = &["hosts", "resolv.conf", "hostname", "passwd", "group"];

/// Fontconfig without any directory: fonts are the base image's, in `C:\Windows\Fonts`.
const FONTS_CONF: &str =
    "<?xml version=\"1.0\"?>\n<fontconfig><cachedir>/tmp/fontconfig</cachedir></fontconfig>\n";

/// Makes the personality tree `root` from the Debian tree `debian`.
pub(crate) fn reduce(debian: &Path, root: &Path) -> Result<(), PersonalityError> {
    let unix = format!("{LIBRARIES}/wine/x86_64-unix");
    let mut programs: Vec<PathBuf> = ["wine64", "wineserver64"]
        .iter()
        .map(|name| format!("usr/lib/wine/{name}").into())
        .collect();
    programs.extend(UNIX_HALVES.iter().map(|name| PathBuf::from(format!("{unix}/{name}.so"))));
    programs.extend(OPENED.iter().map(|name| Path::new(LIBRARIES).join(name)));

    let start: Vec<PathBuf> = programs.iter().map(|path| debian.join(path)).collect();
    let halves = debian.join(&unix);
    let libraries =
        library_closure(&start, &debian.join(LIBRARIES), &|name| halves.join(name).exists())?;
    for path in &programs {
        copy(&debian.join(path), &root.join(path))?;
    }
    for name in &libraries {
        let path = Path::new(LIBRARIES).join(name);
        copy(&debian.join(&path), &root.join(&path))?;
    }
    for tree in TREES {
        copy_tree(&debian.join(tree), &root.join(tree))?;
    }
    links_and_mount_points(root)?;
    configuration(debian, root)
}

fn links_and_mount_points(root: &Path) -> Result<(), PersonalityError> {
    let attempt = "lay out the personality";
    for directory in MOUNT_POINTS {
        fs_err::create_dir_all(root.join(directory)).map_err(io_error(attempt))?;
    }
    fs_err::create_dir_all(root.join("usr/lib64")).map_err(io_error(attempt))?;
    let loader = "ld-linux-x86-64.so.2";
    for (target, link) in [
        ("usr/lib", "lib".to_owned()),
        ("usr/lib64", "lib64".to_owned()),
        (&*format!("../lib/x86_64-linux-gnu/{loader}"), format!("usr/lib64/{loader}")),
        ("wineserver64", "usr/lib/wine/wineserver".to_owned()),
    ] {
        symlink(target, root.join(link)).map_err(io_error(attempt))?;
    }
    Ok(())
}

fn configuration(debian: &Path, root: &Path) -> Result<(), PersonalityError> {
    for name in ["services", "protocols"] {
        let path = Path::new("etc").join(name);
        copy(&debian.join(&path), &root.join(&path))?;
    }
    for name in MOUNT_FILES {
        write(&root.join("etc").join(name), b"")?;
    }
    write(
        &root.join("etc/nsswitch.conf"),
        b"hosts: files dns\nservices: files\nprotocols: files\n",
    )?;
    write(&root.join("etc/fonts/fonts.conf"), FONTS_CONF.as_bytes())?;
    write(&root.join("etc/ssl/certs/ca-certificates.crt"), &certificates(debian)?)
}

/// The bundle that the maintainer script of `ca-certificates` would make.
fn certificates(debian: &Path) -> Result<Vec<u8>, PersonalityError> {
    let attempt = "collect the certificates";
    let directory = debian.join("usr/share/ca-certificates/mozilla");
    let entries = fs_err::read_dir(&directory).map_err(io_error(attempt))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut bundle = Vec::new();
    for file in files {
        bundle.extend(fs_err::read(&file).map_err(io_error(attempt))?);
        bundle.push(b'\n');
    }
    Ok(bundle)
}

/// Copies what `from` is or leads to, readable for all, executable if it was.
fn copy(from: &Path, to: &Path) -> Result<(), PersonalityError> {
    let bytes = fs_err::read(from).map_err(io_error("copy a file of the personality"))?;
    write(to, &bytes)?;
    let mode = fs_err::metadata(from).map_err(io_error("copy a file"))?.permissions().mode();
    let mode = if mode & 0o100 == 0 { 0o644 } else { 0o755 };
    fs_err::set_permissions(to, std::fs::Permissions::from_mode(mode))
        .map_err(io_error("set the mode of a file"))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), PersonalityError> {
    let attempt = "write a file of the personality";
    let parent = path.parent().unwrap_or(path);
    fs_err::create_dir_all(parent).map_err(io_error(attempt))?;
    fs_err::write(path, bytes).map_err(io_error(attempt))?;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o644)).map_err(io_error(attempt))
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), PersonalityError> {
    for entry in fs_err::read_dir(from).map_err(io_error("copy a directory"))?.flatten() {
        let path = entry.path();
        let target = to.join(entry.file_name());
        if path.is_dir() {
            copy_tree(&path, &target)?;
        } else if path.exists() {
            copy(&path, &target)?;
        }
    }
    Ok(())
}
