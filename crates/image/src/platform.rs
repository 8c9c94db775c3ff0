//! Which manifest of an index is meant for this host.
//!
//! The rules are Docker's (moby, `daemon/internal/distribution/pull_v2_windows.go`): entries of
//! another processor or system are passed over, and so are Windows builds newer than the host's;
//! among the rest those of the host's own build come first, otherwise the list's order decides.

use std::fmt;

use serde::Deserialize;

use crate::{Descriptor, ImageError};

/// The processor of this host, in Go's words.
const ARCHITECTURE: &str = "amd64";

/// A Windows version as far as compatibility goes, such as `10.0.20348`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WindowsVersion {
    major: u32,
    minor: u32,
    build: u32,
}

impl WindowsVersion {
    /// Reads `major.minor.build` and ignores what follows; `None` for less than three numbers,
    /// which Docker never holds against an image.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| part.parse().ok());
        let (major, minor, build) = (parts.next()??, parts.next()??, parts.next()??);
        Some(Self { major, minor, build })
    }

    /// The version this host presents to images.
    #[must_use]
    pub fn host() -> Self {
        Self::parse(oriel_hcs::OS_VERSION).expect("the version presented has four parts")
    }

    /// Whether this host's Windows is older than what an image of this `os.version` is made for.
    #[must_use]
    pub fn is_older_than(self, os_version: &str) -> bool {
        Self::parse(os_version).is_some_and(|image| image.build > self.build)
    }

    /// The error for an image that is made for a newer Windows. The text is Docker's.
    #[must_use]
    pub fn incompatible(self, os_version: &str) -> ImageError {
        let image = Self::parse(os_version).map_or_else(|| os_version.into(), |it| it.to_string());
        ImageError::TooNew { image, host: self.to_string() }
    }
}

impl fmt::Display for WindowsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.build)
    }
}

/// What an index says of an entry (OCI image specification, image-index.md).
#[derive(Debug, Default, Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(rename = "os.version", default)]
    os_version: String,
}

/// Chooses the entry of an index for a host of version `host`.
///
/// Where every Windows entry is newer than the host, the oldest of them is chosen: whether it can
/// run depends on its base being substituted, which its configuration tells
/// ([`WindowsVersion::is_older_than`] is to be asked again then).
///
/// # Errors
/// [`ImageError::NoMatchingManifest`].
pub fn select(index: &[Descriptor], host: WindowsVersion) -> Result<&Descriptor, ImageError> {
    let platform = |entry: &Descriptor| {
        let platform = entry.platform.clone().unwrap_or_default();
        serde_json::from_value::<Platform>(platform).unwrap_or_default()
    };
    let windows: Vec<_> = index
        .iter()
        .map(|entry| (entry, platform(entry)))
        .filter(|(_, it)| it.os == "windows" && it.architecture == ARCHITECTURE)
        .map(|(entry, it)| (entry, it.os_version))
        .collect();
    let fitting = windows.iter().filter(|(_, version)| !host.is_older_than(version));
    let own = fitting.clone().find(|(_, version)| WindowsVersion::parse(version) == Some(host));
    let newer = windows
        .iter()
        .filter(|(_, version)| host.is_older_than(version))
        .min_by_key(|(_, version)| WindowsVersion::parse(version));
    own.or_else(|| fitting.clone().next())
        .or(newer)
        .map(|(entry, _)| *entry)
        .ok_or_else(|| ImageError::NoMatchingManifest { host: host.to_string() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{WindowsVersion, select};
    use crate::{Descriptor, Digest};

    fn entry(number: u8, os: &str, architecture: &str, version: &str) -> Descriptor {
        let platform = json!({ "os": os, "architecture": architecture, "os.version": version });
        let descriptor = Descriptor::new("", Digest::of(&[number]), 1);
        Descriptor { platform: Some(platform), ..descriptor }
    }

    fn chosen(host: &str, entries: &[(&str, &str, &str)]) -> Result<u8, String> {
        let numbered = (0_u8..).zip(entries);
        let index: Vec<_> =
            numbered.map(|(n, (os, arch, version))| entry(n, os, arch, version)).collect();
        let host = WindowsVersion::parse(host).unwrap();
        let found = select(&index, host).map_err(|error| error.to_string())?;
        Ok((0..).find(|n| Digest::of(&[*n]) == found.digest).unwrap())
    }

    #[test]
    fn the_hosts_own_build_comes_first_then_the_lists_order() {
        let index = [
            ("linux", "amd64", ""),
            ("windows", "arm64", "10.0.20348.1"),
            ("windows", "amd64", "10.0.17763.9"),
            ("windows", "amd64", "10.0.20348.2"),
            ("windows", "amd64", "10.0.20348.9"),
            ("windows", "amd64", "10.0.26100.1"),
        ];
        assert_eq!(chosen("10.0.20348", &index), Ok(3));
        assert_eq!(chosen("10.0.25398", &index), Ok(2));
        assert_eq!(chosen("10.0.26100", &index), Ok(5));
    }

    #[test]
    fn a_version_that_says_too_little_is_never_held_against_an_image() {
        assert_eq!(chosen("10.0.17763", &[("windows", "amd64", "10.0")]), Ok(0));
        assert_eq!(chosen("10.0.17763", &[("windows", "amd64", "")]), Ok(0));
    }

    #[test]
    fn of_newer_ones_alone_the_oldest_is_chosen() {
        let index = [("windows", "amd64", "10.0.26100.1"), ("windows", "amd64", "10.0.25398.1")];
        assert_eq!(chosen("10.0.20348", &index), Ok(1));
        let host = WindowsVersion::parse("10.0.20348").unwrap();
        assert!(host.is_older_than("10.0.26100.1"));
        assert_eq!(
            host.incompatible("10.0.26100.1").to_string(),
            "a Windows version 10.0.26100-based image is incompatible with a 10.0.20348 host"
        );
    }

    #[test]
    fn an_index_without_windows_is_refused_in_dockers_words() {
        let linux = [("linux", "amd64", "")];
        assert_eq!(
            chosen("10.0.20348", &linux),
            Err("no matching manifest for windows/amd64 10.0.20348 in the manifest list entries"
                .to_owned())
        );
        let odd = Descriptor { platform: Some(json!([1])), ..entry(0, "", "", "") };
        assert!(select(&[odd], WindowsVersion::host()).is_err());
    }
}
