//! Stage 1: Debian packages, unpacked but not installed.
//!
//! Nothing of a package runs: no maintainer script, no shell of the tree. `mmdebstrap` resolves and
//! checks signatures; Wine's own packages are taken without what they depend on (multimedia, GUI
//! toolkits: some 700 MB), since the libraries needed are known and their closure is checked later.

use std::path::Path;

use crate::run::{DPKG_DEB, MMDEBSTRAP};
use crate::{PersonalityError, io_error, unexpected};

/// Debian release with Wine 10.
pub(crate) const SUITE: &str = "trixie";

/// Keys that sign it.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Packages unpacked with what they depend on.
pub(crate) const PACKAGES: &[&str] = &[
    "libc6",
    "libc-bin",
    "libunwind8",
    "liblzma5",
    "libgnutls30t64",
    "libfreetype6",
    "libfontconfig1",
    "tzdata",
    "netbase",
    "ca-certificates",
    "libz-mingw-w64",
];

/// Packages unpacked alone. The 32-bit `libwine` is there for its Windows files only.
pub(crate) const ALONE: &[&str] = &["wine64:amd64", "libwine:amd64", "libwine:i386", "fonts-wine"];

/// Directory in the tree for the packages unpacked alone, and the list of all others.
pub(crate) const DOWNLOADS: &str = "oriel";

/// Downloads and unpacks into `target`, which must not exist.
pub(crate) fn unpack(
    mirror: &str,
    target: &Path,
    note: &mut dyn FnMut(&str, u64, u64),
) -> Result<(), PersonalityError> {
    let hook = format!(
        "set -e; mkdir \"$1/{DOWNLOADS}\"; cd \"$1/{DOWNLOADS}\"; \
         printf '%s\\n' $MMDEBSTRAP_ESSENTIAL > packages; \
         APT_CONFIG=\"$MMDEBSTRAP_APT_CONFIG\" apt-get download {}",
        ALONE.join(" ")
    );
    let arguments = [
        "--mode=root".to_owned(),
        "--variant=extract".to_owned(),
        "--format=directory".to_owned(),
        "--architectures=amd64,i386".to_owned(),
        format!("--include={}", PACKAGES.join(",")),
        format!("--keyring={KEYRING}"),
        format!("--extract-hook={hook}"),
        SUITE.to_owned(),
        target.display().to_string(),
        mirror.to_owned(),
    ];
    let attempt = format!("download Debian packages from {mirror}");
    MMDEBSTRAP.run(&attempt, &arguments, &mut |line| note(line, 0, 0))?;
    let packages = downloads(target)?;
    let total = u64::try_from(packages.len()).unwrap_or(u64::MAX);
    for (done, package) in (0_u64..).zip(&packages) {
        note(&format!("unpacking {package}"), done, total);
        let arguments = [
            "-x".to_owned(),
            target.join(DOWNLOADS).join(package).display().to_string(),
            target.display().to_string(),
        ];
        DPKG_DEB.run(&format!("unpack {package}"), &arguments, &mut |_| {})?;
    }
    Ok(())
}

/// File names of the packages unpacked alone.
fn downloads(target: &Path) -> Result<Vec<String>, PersonalityError> {
    let directory = target.join(DOWNLOADS);
    let mut names: Vec<String> = fs_err::read_dir(&directory)
        .map_err(io_error("list the downloaded packages"))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".deb"))
        .collect();
    names.sort();
    Ok(names)
}

/// All packages of the tree as `name_version_architecture`, sorted.
pub(crate) fn packages(tree: &Path) -> Result<Vec<String>, PersonalityError> {
    let list = fs_err::read_to_string(tree.join(DOWNLOADS).join("packages"))
        .map_err(io_error("read the list of packages"))?;
    let mut names: Vec<String> = list
        .lines()
        .filter_map(|line| line.rsplit('/').next())
        .map(str::to_owned)
        .chain(downloads(tree)?)
        .map(|name| name.trim_end_matches(".deb").replace("%3a", ":"))
        .filter(|name| !name.is_empty())
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// Version of Wine among `packages`.
pub(crate) fn wine_version(packages: &[String]) -> Result<String, PersonalityError> {
    packages
        .iter()
        .find_map(|name| name.strip_prefix("wine64_")?.split('_').next().map(str::to_owned))
        .ok_or_else(|| unexpected("find Wine's version", "no package wine64"))
}

#[cfg(test)]
mod tests {
    use super::{packages, wine_version};

    #[test]
    fn packages_and_wine_version_come_from_file_names() {
        let tree = tempfile::tempdir().unwrap();
        let downloads = tree.path().join(super::DOWNLOADS);
        fs_err::create_dir(&downloads).unwrap();
        fs_err::write(downloads.join("packages"), "/var/a/zlib1g_1%3a1.3_amd64.deb\n").unwrap();
        fs_err::write(downloads.join("wine64_10.0~repack-6_amd64.deb"), "").unwrap();
        let packages = packages(tree.path()).unwrap();
        assert_eq!(packages, ["wine64_10.0~repack-6_amd64", "zlib1g_1:1.3_amd64"]);
        assert_eq!(wine_version(&packages).unwrap(), "10.0~repack-6");
    }
}
