//! The directories that say how to reach a registry: `certs.d`.
//!
//! Two layouts share them. Docker's: `<host[:port]>/*.crt` are authorities, `X.cert` with `X.key`
//! is who we are. Containerd's: `<host[:port]>/hosts.toml` says the same and names mirrors
//! (containerd, `docs/hosts.md`). A `hosts.toml` wins.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
};

use reqwest::Url;
use serde::Deserialize;
use toml::Spanned;

use crate::{DistributionError, transport::is_web};

/// Containerd's file.
const HOSTS_FILE: &str = "hosts.toml";

/// Containerd's directory for registries that have none.
const DEFAULT_DIRECTORY: &str = "_default";

/// How far a host is trusted, and who we are to it. The contents of the files, so that a changed
/// file makes for another client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Trust {
    /// Whether to take any certificate.
    pub(crate) skip_verify: bool,
    /// Authorities besides the system's, in PEM.
    pub(crate) roots: Vec<Vec<u8>>,
    /// Our certificate and key, in PEM.
    pub(crate) identity: Option<Vec<u8>>,
}

/// What is said of one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Where the registry is, when not where its name says.
    pub(crate) server: Option<Url>,
    /// How far it is trusted.
    pub(crate) trust: Trust,
    /// Where to ask first, in order.
    pub(crate) mirrors: Vec<Mirror>,
}

/// Another place to pull from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mirror {
    /// Its address.
    pub(crate) url: Url,
    /// How far it is trusted.
    pub(crate) trust: Trust,
    /// Whether it may say what a tag means.
    pub(crate) resolves: bool,
    /// Whether the address is complete: nothing like `/v2` follows.
    pub(crate) complete: bool,
}

/// Reads what is said of `host`, which may have a port.
pub(crate) fn read(directories: &[PathBuf], host: &str) -> Result<Settings, DistributionError> {
    // Containerd's spelling for file systems that have no colons.
    let escaped = host.rsplit_once(':').map(|(name, port)| format!("{name}_{port}_"));
    let names = [Some(host), escaped.as_deref(), Some(DEFAULT_DIRECTORY)];
    // Redirects may name any host; `..` is none.
    if host.starts_with('.') {
        return Ok(Settings::default());
    }
    for directory in directories {
        for name in names.into_iter().flatten() {
            let directory = directory.join(name);
            if directory.is_dir() {
                return read_directory(&directory);
            }
        }
    }
    Ok(Settings::default())
}

fn read_directory(directory: &Path) -> Result<Settings, DistributionError> {
    let path = directory.join(HOSTS_FILE);
    match fs_err::read_to_string(&path) {
        Ok(text) => parse(&text, &path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(Settings { trust: docker_trust(directory)?, ..Settings::default() })
        }
        Err(source) => Err(DistributionError::SettingFile { path, source }),
    }
}

/// Docker's layout.
fn docker_trust(directory: &Path) -> Result<Trust, DistributionError> {
    let unreadable = |source| DistributionError::SettingFile { path: directory.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs_err::read_dir(directory).map_err(unreadable)? {
        paths.push(entry.map_err(unreadable)?.path());
    }
    paths.sort();
    let with = |extension: &'static str| {
        paths.iter().filter(move |path| path.extension().is_some_and(|found| found == extension))
    };
    let mut trust = Trust::default();
    for path in with("crt") {
        trust.roots.push(pem(path)?);
    }
    // Docker offers them all; the library, one.
    if let Some(path) = with("cert").next() {
        trust.identity = Some(pair(path, &path.with_extension("key"))?);
    }
    Ok(trust)
}

fn pem(path: &Path) -> Result<Vec<u8>, DistributionError> {
    fs_err::read(path)
        .map_err(|source| DistributionError::SettingFile { path: path.to_owned(), source })
}

fn pair(certificate: &Path, key: &Path) -> Result<Vec<u8>, DistributionError> {
    Ok([pem(certificate)?, b"\n".to_vec(), pem(key)?].concat())
}

/// `hosts.toml`.
#[derive(Deserialize)]
struct HostsFile {
    server: Option<String>,
    #[serde(flatten)]
    own: Host,
    #[serde(default)]
    host: HashMap<String, Spanned<Host>>,
}

/// What `hosts.toml` says of a server or a mirror.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Host {
    capabilities: Option<Vec<String>>,
    ca: OneOrMany<PathBuf>,
    client: OneOrMany<Client>,
    skip_verify: bool,
    override_path: bool,
}

#[derive(Default, Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    #[default]
    None,
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            Self::None => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// One file with both, or a certificate and its key.
#[derive(Deserialize)]
#[serde(untagged)]
enum Client {
    Both(PathBuf),
    Pair(PathBuf, PathBuf),
}

impl Host {
    /// Reads the files named, which stand relative to `directory`.
    fn trust(&self, directory: &Path) -> Result<Trust, DistributionError> {
        let mut trust = Trust { skip_verify: self.skip_verify, ..Trust::default() };
        for path in self.ca.as_slice() {
            trust.roots.push(pem(&directory.join(path))?);
        }
        trust.identity = match self.client.as_slice().first() {
            Some(Client::Both(path)) => Some(pem(&directory.join(path))?),
            Some(Client::Pair(certificate, key)) => {
                Some(pair(&directory.join(certificate), &directory.join(key))?)
            }
            None => None,
        };
        Ok(trust)
    }

    fn can(&self, capability: &str) -> bool {
        let listed = self.capabilities.as_ref();
        listed.is_none_or(|list| list.iter().any(|item| item == capability))
    }
}

fn parse(text: &str, path: &Path) -> Result<Settings, DistributionError> {
    let bad = |problem: String| DistributionError::Setting {
        setting: HOSTS_FILE,
        value: path.display().to_string(),
        problem,
    };
    let file: HostsFile = toml::from_str(text).map_err(|error| bad(error.message().to_owned()))?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let url = |text: &str| address(text).ok_or_else(|| bad(format!("`{text}` is no address")));
    // The order in the file is the order of trial; a map has forgotten it.
    let mut hosts: Vec<_> = file.host.iter().collect();
    hosts.sort_by_key(|(_, host)| host.span().start);
    let mut mirrors = Vec::new();
    for (text, host) in hosts {
        let host = host.get_ref();
        if !host.can("pull") {
            continue;
        }
        mirrors.push(Mirror {
            url: url(text)?,
            trust: host.trust(directory)?,
            resolves: host.can("resolve"),
            complete: host.override_path,
        });
    }
    let server = file.server.as_deref().map(url).transpose()?;
    Ok(Settings { server, trust: file.own.trust(directory)?, mirrors })
}

/// The address of a registry; `https` goes without saying.
pub(crate) fn address(text: &str) -> Option<Url> {
    let full = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    Url::parse(&full).ok().filter(is_web)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Settings, parse, read};

    fn hosts(text: &str) -> Settings {
        parse(text, Path::new("/nowhere/hosts.toml")).unwrap()
    }

    #[test]
    fn mirrors_are_tried_in_the_order_of_the_file() {
        let settings = hosts(
            r#"
            server = "https://registry-1.docker.io"
            [host."https://z.example"]
            capabilities = ["pull", "resolve"]
            [host."http://a.example:5000/v2/proxy"]
            capabilities = ["pull"]
            override_path = true
            [host."push.example"]
            capabilities = ["push"]
            [host."m.example"]
            skip_verify = true
            "#,
        );
        assert_eq!(settings.server.unwrap().as_str(), "https://registry-1.docker.io/");
        let mirrors: Vec<_> = settings
            .mirrors
            .iter()
            .map(|m| (m.url.as_str(), m.resolves, m.complete, m.trust.skip_verify))
            .collect();
        assert_eq!(
            mirrors,
            [
                ("https://z.example/", true, false, false),
                ("http://a.example:5000/v2/proxy", false, true, false),
                ("https://m.example/", true, false, true),
            ]
        );
    }

    #[test]
    fn files_stand_relative_to_hosts_toml() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("r.example_5000_");
        fs_err::create_dir_all(directory.join("sub")).unwrap();
        fs_err::write(directory.join("ca.pem"), "CA").unwrap();
        fs_err::write(directory.join("sub/me.cert"), "CERT").unwrap();
        fs_err::write(directory.join("sub/me.key"), "KEY").unwrap();
        let text = r#"
            ca = "ca.pem"
            client = [["sub/me.cert", "sub/me.key"]]
            [host."https://mirror"]
            ca = ["ca.pem", "ca.pem"]
            client = "sub/me.cert"
        "#;
        fs_err::write(directory.join("hosts.toml"), text).unwrap();
        let settings = read(&[folder.path().to_owned()], "r.example:5000").unwrap();
        assert_eq!(settings.trust.roots, [b"CA"]);
        assert_eq!(settings.trust.identity.unwrap(), b"CERT\nKEY");
        let mirror = &settings.mirrors[0].trust;
        assert_eq!((mirror.roots.len(), mirror.identity.as_deref()), (2, Some(&b"CERT"[..])));
    }

    #[test]
    fn dockers_layout_is_read_when_there_is_no_hosts_toml() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("r.example:5000");
        fs_err::create_dir(&directory).unwrap();
        for (name, text) in [("a.crt", "A"), ("b.crt", "B"), ("c.cert", "C"), ("c.key", "K")] {
            fs_err::write(directory.join(name), text).unwrap();
        }
        let absent = folder.path().join("absent");
        let directories = [absent, folder.path().to_owned()];
        let trust = read(&directories, "r.example:5000").unwrap().trust;
        assert_eq!(trust.roots, [b"A", b"B"]);
        assert_eq!(trust.identity.unwrap(), b"C\nK");
        assert_eq!(read(&directories, "r.example").unwrap(), Settings::default());
    }

    #[test]
    fn a_certificate_without_key_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::create_dir(folder.path().join("r")).unwrap();
        fs_err::write(folder.path().join("r/me.cert"), "C").unwrap();
        let error = read(&[folder.path().to_owned()], "r").unwrap_err().to_string();
        assert!(error.ends_with("r/me.key"), "{error}");
    }

    #[test]
    fn nonsense_is_refused_with_the_file_named() {
        for text in ["server = 1", "=", "[host.\"ftp://x\"]", "server = \"http://\"", "ca = 7"] {
            let error = parse(text, Path::new("/x/hosts.toml")).unwrap_err().to_string();
            assert!(error.starts_with("hosts.toml `/x/hosts.toml`: "), "{error}");
        }
    }
}
