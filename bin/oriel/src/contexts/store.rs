//! Contexts on disk: Oriel's own, and Docker's, which are only read.
//!
//! ```text
//! $XDG_CONFIG_HOME/oriel/
//!   current                 name of the context in use; absent for the default
//!   contexts/NAME/meta.json {"Host": "tcp://...", "Description": "..."}
//!                ca.pem cert.pem key.pem     (key.pem is 0600)
//! ~/.docker/contexts/meta/ID/meta.json, tls/ID/docker/*.pem      (docker/cli, `cli/context/store`)
//! ```

use std::{
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::connection::{Endpoint, Tls, TlsMaterial};

/// The context that is always there: the daemon of this machine.
pub(super) const DEFAULT: &str = "default";

/// A daemon by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Context {
    /// Name.
    pub(crate) name: String,
    /// Address.
    pub(crate) host: String,
    /// Words about it.
    pub(crate) description: String,
    /// Where it is stored.
    directory: Option<PathBuf>,
    /// Where its certificates are, if it has any.
    certificates: Option<PathBuf>,
    dockers: bool,
    /// Docker's flag that nobody is asked who the daemon is.
    unverified: bool,
}

impl Context {
    /// The context that is always there.
    pub(super) fn usual() -> Self {
        Self {
            name: DEFAULT.to_owned(),
            host: Endpoint::default().to_string(),
            description: "the daemon of this machine".to_owned(),
            ..Self::default()
        }
    }

    pub(super) fn has_tls(&self) -> bool {
        self.certificates.is_some()
    }

    pub(super) fn is_dockers(&self) -> bool {
        self.dockers
    }

    pub(super) fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// TLS with the certificates of the context.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn tls(&self) -> anyhow::Result<Option<Tls>> {
        let Some(directory) = &self.certificates else { return Ok(None) };
        let mut material = TlsMaterial::in_directory(directory)?;
        if self.unverified {
            material.authority = None;
        } else if material.authority.is_none() {
            bail!("the context {:?} has no ca.pem; make it anew with --ca FILE", self.name);
        }
        Tls::new(&material).map(Some)
    }
}

/// Where contexts are.
pub(crate) struct Store {
    own: PathBuf,
    docker: PathBuf,
    /// What the environment says the current context is.
    asked: Option<String>,
}

impl Store {
    /// That of the person who runs this.
    pub(crate) fn open() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let home = variable("HOME").map(PathBuf::from).unwrap_or_default();
        let config = variable("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), Into::into);
        let docker = variable("DOCKER_CONFIG").map_or_else(|| home.join(".docker"), Into::into);
        let asked = variable("ORIEL_CONTEXT").or_else(|| variable("DOCKER_CONTEXT"));
        Self {
            own: config.join("oriel"),
            docker,
            asked: asked.map(|name| name.to_string_lossy().into_owned()),
        }
    }

    /// Name of the context in use.
    pub(crate) fn current(&self) -> String {
        let stored = || fs_err::read_to_string(self.own.join("current")).ok();
        let name = self.asked.clone().or_else(stored).unwrap_or_default();
        if name.trim().is_empty() { DEFAULT.to_owned() } else { name.trim().to_owned() }
    }

    /// All contexts but the default, Oriel's own first.
    pub(crate) fn all(&self) -> Vec<Context> {
        let mut all: Vec<_> = directories(&self.own.join("contexts"))
            .into_iter()
            .filter_map(|directory| own(&directory))
            .collect();
        let dockers = directories(&self.docker.join("contexts/meta"));
        let known: Vec<_> = all.iter().map(|context: &Context| context.name.clone()).collect();
        let dockers = dockers.into_iter().filter_map(|directory| self.dockers(&directory));
        all.extend(dockers.filter(|context| !known.contains(&context.name)));
        all
    }

    /// A context by name.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn find(&self, name: &str) -> anyhow::Result<Context> {
        if name == DEFAULT {
            return Ok(Context::usual());
        }
        let found = self.all().into_iter().find(|context| context.name == name);
        found.with_context(|| {
            format!("there is no context {name:?}; list them with: oriel context ls")
        })
    }

    /// Makes a context, with certificates if there are any.
    ///
    /// # Errors
    /// When the name is bad or taken, or writing fails.
    pub(super) fn create(
        &self,
        name: &str,
        host: &str,
        description: &str,
        tls: Option<&TlsMaterial>,
    ) -> anyhow::Result<()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '+' | '-');
        if name == DEFAULT || name.starts_with('.') || name.is_empty() || !name.chars().all(plain) {
            bail!("{name:?} cannot name a context; use letters, digits and _ . + -");
        }
        let place = self.own.join("contexts");
        if place.join(name).exists() {
            bail!("there is a context {name:?}; remove it with: oriel context rm {name}");
        }
        fs_err::create_dir_all(&place)?;
        let made = tempfile::Builder::new().prefix(".creating-").tempdir_in(&place)?;
        let meta = json!({ "Host": host, "Description": description });
        fs_err::write(made.path().join("meta.json"), meta.to_string())?;
        if let Some(tls) = tls {
            write_material(made.path(), tls)?;
        }
        fs_err::rename(made.keep(), place.join(name))?;
        Ok(())
    }

    /// Makes a context the current one.
    ///
    /// # Errors
    /// When there is none of that name, or writing fails.
    pub(super) fn choose(&self, name: &str) -> anyhow::Result<()> {
        self.find(name)?;
        fs_err::create_dir_all(&self.own)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.own)?;
        file.write_all(name.as_bytes())?;
        file.persist(self.own.join("current")).context("cannot keep the choice")?;
        Ok(())
    }

    /// Removes a context.
    ///
    /// # Errors
    /// When it is Docker's, the default, or the current one and not `force`.
    pub(super) fn remove(&self, name: &str, force: bool) -> anyhow::Result<()> {
        if name == DEFAULT {
            bail!("the context {DEFAULT:?} is always there");
        }
        let context = self.find(name)?;
        if context.dockers {
            bail!("{name:?} is Docker's; remove it with: docker context rm {name}");
        }
        let current = self.current() == name;
        if current && !force {
            bail!("{name:?} is in use; use another first, or give --force");
        }
        if let Some(directory) = &context.directory {
            fs_err::remove_dir_all(directory)?;
        }
        if current {
            self.choose(DEFAULT)?;
        }
        Ok(())
    }

    fn dockers(&self, directory: &Path) -> Option<Context> {
        let meta = read(&directory.join("meta.json"))?;
        let endpoint = &meta["Endpoints"]["docker"];
        let certificates =
            self.docker.join("contexts/tls").join(directory.file_name()?).join("docker");
        Some(Context {
            name: meta["Name"].as_str()?.to_owned(),
            host: endpoint["Host"].as_str()?.to_owned(),
            description: meta["Metadata"]["Description"].as_str().unwrap_or_default().to_owned(),
            directory: Some(directory.to_owned()),
            certificates: certificates.is_dir().then_some(certificates),
            dockers: true,
            unverified: endpoint["SkipTLSVerify"] == true,
        })
    }
}

fn own(directory: &Path) -> Option<Context> {
    let meta = read(&directory.join("meta.json"))?;
    let name = directory.file_name()?.to_str()?.to_owned();
    Some(Context {
        name,
        host: meta["Host"].as_str()?.to_owned(),
        description: meta["Description"].as_str().unwrap_or_default().to_owned(),
        directory: Some(directory.to_owned()),
        certificates: directory.join("ca.pem").exists().then(|| directory.to_owned()),
        dockers: false,
        unverified: false,
    })
}

fn read(file: &Path) -> Option<Value> {
    serde_json::from_slice(&fs_err::read(file).ok()?).ok()
}

/// Directories in one, by name; none if it is not there.
fn directories(place: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs_err::read_dir(place) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir() && !name_starts_with_dot(path))
        .collect();
    found.sort();
    found
}

fn name_starts_with_dot(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn write_material(directory: &Path, tls: &TlsMaterial) -> anyhow::Result<()> {
    if let Some(authority) = &tls.authority {
        fs_err::write(directory.join("ca.pem"), authority)?;
    } else {
        bail!("a context with a certificate needs to know whom to believe; give --ca FILE");
    }
    if let Some((certificate, key)) = &tls.identity {
        fs_err::write(directory.join("cert.pem"), certificate)?;
        // Nobody else may read the key.
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(directory.join("key.pem"))
            .context("cannot write key.pem")?;
        file.write_all(key)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(root: &Path) -> Store {
        Store { own: root.join("oriel"), docker: root.join("docker"), asked: None }
    }

    #[test]
    fn contexts_are_made_used_and_removed() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path());
        assert_eq!(store.current(), DEFAULT);
        store.create("box", "ssh://box", "mine", None).unwrap();
        assert!(store.create("box", "ssh://box", "", None).is_err(), "the name is taken");
        for bad in ["default", "../x", "", "a b", ".x"] {
            assert!(store.create(bad, "ssh://box", "", None).is_err(), "{bad}");
        }
        store.choose("box").unwrap();
        assert_eq!(store.current(), "box");
        assert_eq!(store.find("box").unwrap().host, "ssh://box");
        assert!(store.remove("box", false).unwrap_err().to_string().contains("in use"));
        store.remove("box", true).unwrap();
        assert_eq!((store.current().as_str(), store.all().len()), (DEFAULT, 0));
        assert!(store.choose("box").unwrap_err().to_string().contains("oriel context ls"));
    }

    #[test]
    fn dockers_contexts_are_seen_and_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let meta = root.path().join("docker/contexts/meta/0a1b");
        fs_err::create_dir_all(&meta).unwrap();
        fs_err::create_dir_all(root.path().join("docker/contexts/tls/0a1b/docker")).unwrap();
        let text = r#"{"Name":"lab","Metadata":{"Description":"d"},
            "Endpoints":{"docker":{"Host":"tcp://lab:2376","SkipTLSVerify":false}}}"#;
        fs_err::write(meta.join("meta.json"), text).unwrap();
        let store = store(root.path());
        let lab = store.find("lab").unwrap();
        assert_eq!((lab.host.as_str(), lab.has_tls()), ("tcp://lab:2376", true));
        assert!(store.remove("lab", true).unwrap_err().to_string().contains("docker context rm"));
        assert!(lab.tls().err().unwrap().to_string().contains("no ca.pem"));
    }

    #[test]
    fn keys_are_for_their_owner() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path());
        let pem = |text: &str| text.as_bytes().to_vec();
        let tls =
            TlsMaterial { authority: Some(pem("ca")), identity: Some((pem("cert"), pem("key"))) };
        store.create("lab", "tcp://lab:2376", "", Some(&tls)).unwrap();
        let key = root.path().join("oriel/contexts/lab/key.pem");
        let mode = fs_err::metadata(key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(store.find("lab").unwrap().has_tls());
    }
}
