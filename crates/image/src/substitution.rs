//! Substitution: images that stand on Microsoft's base layers.
//!
//! Those layers need an NT kernel and may not be passed on, so Oriel does not fetch them. It
//! recognises them and puts its own base of the same flavour below the image's own layers. The
//! image keeps its configuration, its manifest and so its identity: what is pushed or saved names
//! the base layers it always named, and runs on Windows as before.
//!
//! ```text
//!   stated in manifest and configuration     on this host
//!   own layers    C   B               ──▶    C   B
//!   base layers   A2  A1              ──▶    layers of windowsservercore
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Descriptor, DiffId, Digest, History, Image, ImageConfig, ImageError, ImageStore, Layer,
    Reference,
};

/// The base with a console and no services.
pub const NANOSERVER: &str = "nanoserver";
/// The base with everything.
pub const SERVERCORE: &str = "windowsservercore";

/// Where Microsoft publishes images.
const MICROSOFT: &str = "mcr.microsoft.com";

/// A layer that a manifest and a configuration state and that is not here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatedLayer {
    /// Digest of its uncompressed tar, as the configuration states it.
    pub diff_id: DiffId,
    /// What the manifest says of its blob.
    pub descriptor: Descriptor,
}

impl StatedLayer {
    /// The layers of an image, base first, as its configuration and its manifest state them.
    pub(crate) fn all(config: &ImageConfig, layers: &[Descriptor]) -> Vec<Self> {
        let pairs = config.rootfs.diff_ids.iter().copied().zip(layers.iter().cloned());
        pairs.map(|(diff_id, descriptor)| Self { diff_id, descriptor }).collect()
    }
}

/// What stands in for the base of an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Substitution {
    /// Familiar name of the base image of this host.
    pub base: String,
    /// How many layers it has; the image's own follow.
    pub base_layers: usize,
    /// The layers it stands in for, base first.
    pub stated: Vec<StatedLayer>,
    /// The repository those were stated in, such as `mcr.microsoft.com/windows/nanoserver`: there
    /// their blobs are.
    pub source: String,
}

/// A base found below an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recognised {
    /// How many of the image's layers belong to it.
    pub layers: usize,
    /// The image of this host that is to stand in: a name without tag.
    pub base: String,
}

/// A rule of the configuration: names that match stand on this base.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// A repository, with a tag or without; `*` stands for anything, slashes included.
    pub name: String,
    /// Name of an image of this host.
    pub base: String,
}

/// When and by what bases are substituted: `base-substitution` of the daemon's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Substitutes {
    /// Whether there is substitution at all.
    pub enabled: bool,
    /// Whether a name of Microsoft's for a base alone means the base of this host when its
    /// registry cannot be reached.
    pub stand_in: bool,
    /// Tried in order before what Oriel knows by itself.
    pub rules: Vec<Rule>,
    /// Diff ids of further base layers, and the base that stands in for them.
    pub layers: BTreeMap<String, String>,
}

impl Default for Substitutes {
    fn default() -> Self {
        Self { enabled: true, stand_in: true, rules: Vec::new(), layers: BTreeMap::new() }
    }
}

impl Substitutes {
    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// [`ImageError::InvalidReference`], [`ImageError::InvalidDigest`].
    pub fn check(&self) -> Result<(), ImageError> {
        for base in self.rules.iter().map(|rule| &rule.base).chain(self.layers.values()) {
            Reference::parse(base)?;
        }
        self.layers.keys().try_for_each(|digest| digest.parse::<Digest>().map(drop))
    }

    /// Whether `name` is that of a base image of this host, which no registry has.
    #[must_use]
    pub fn is_own(&self, name: &Reference) -> bool {
        name.domain() == "docker.io"
            && [NANOSERVER, SERVERCORE].contains(&name.familiar_repository().as_str())
    }

    /// The base of this host that stands in for the whole image `name`, when its registry cannot
    /// be asked: only names of bases without further layers have one.
    #[must_use]
    pub fn stand_in(&self, name: &Reference) -> Option<String> {
        if !(self.enabled && self.stand_in) {
            return None;
        }
        let path = match (name.domain(), name.path()) {
            (MICROSOFT, path) => path,
            ("docker.io", path) => path.strip_prefix("microsoft/").map(|_| path)?,
            _ => return None,
        };
        let base = match path {
            "windows/nanoserver" | "microsoft/nanoserver" => NANOSERVER,
            "windows/servercore" | "microsoft/windowsservercore" | "windows/server" | "windows" => {
                SERVERCORE
            }
            _ => return None,
        };
        Some(self.ruled(name).unwrap_or(base).to_owned())
    }

    /// Recognises the base below an image with this configuration and these layers.
    ///
    /// `name` is what the image is called, if anything: the flavour is in many names.
    #[must_use]
    pub fn recognise(
        &self,
        name: Option<&Reference>,
        config: &ImageConfig,
        layers: &[Descriptor],
    ) -> Option<Recognised> {
        if !self.enabled {
            return None;
        }
        let diff_ids = &config.rootfs.diff_ids;
        let listed: Vec<&String> =
            diff_ids.iter().map_while(|id| self.layers.get(&id.to_string())).collect();
        let foreign = layers.iter().take_while(|layer| layer.is_foreign()).count();
        let stated = steps_of_base(&config.history);
        let count = listed.len().max(foreign).max(stated).min(diff_ids.len());
        if count == 0 {
            return None;
        }
        let base = listed
            .last()
            .map(|base| base.as_str())
            .or_else(|| name.and_then(|name| self.ruled(name)))
            .unwrap_or_else(|| flavour(name, config, layers, count));
        Some(Recognised { layers: count, base: base.to_owned() })
    }

    /// The base that a rule of the configuration gives for `name`.
    fn ruled(&self, name: &Reference) -> Option<&str> {
        let whole = name.familiar();
        let repository = name.familiar_repository();
        let fits = |rule: &&Rule| matches(&rule.name, &whole) || matches(&rule.name, &repository);
        self.rules.iter().find(fits).map(|rule| rule.base.as_str())
    }
}

impl ImageStore {
    /// A base image of this host.
    ///
    /// # Errors
    /// [`ImageError::NoSubstitute`] when it is not here.
    pub fn local_base(&self, name: &str) -> Result<Image, ImageError> {
        self.resolve(name).map_err(|error| match error {
            ImageError::NoSuchImage { .. } => ImageError::NoSubstitute { base: name.to_owned() },
            other => other,
        })
    }

    /// Recognises the base below an image called `name` and finds what stands in for it: layers of
    /// this host, and what is to be recorded. `None` for an image on a base of its own.
    ///
    /// # Errors
    /// [`ImageError::NoSubstitute`].
    pub fn substitute(
        &self,
        name: Option<&Reference>,
        config: &ImageConfig,
        layers: &[Descriptor],
    ) -> Result<Option<(Vec<Layer>, Substitution)>, ImageError> {
        let Some(found) = self.substitutes().recognise(name, config, layers) else {
            return Ok(None);
        };
        let base = self.local_base(&found.base)?;
        let mut stated = StatedLayer::all(config, layers);
        stated.truncate(found.layers);
        let substitution = Substitution {
            base: Reference::parse(&found.base)?.or_latest().familiar(),
            base_layers: base.layers.len(),
            stated,
            source: name.map_or_else(|| published(&found.base), Reference::repository),
        };
        Ok(Some((base.layers, substitution)))
    }
}

/// Where Microsoft publishes the base that `base` is of the flavour of.
fn published(base: &str) -> String {
    let nano = base.contains(NANOSERVER);
    format!("{MICROSOFT}/windows/{}", if nano { "nanoserver" } else { "servercore" })
}

/// Number of leading steps with which Microsoft's own images begin; those of Oriel's begin alike.
fn steps_of_base(history: &[History]) -> usize {
    let steps = history.iter().filter(|step| !step.empty_layer);
    steps
        .take_while(|step| {
            let begins = ["Apply image ", "Install update "];
            step.comment != oriel_hcs::BASE_COMMENT
                && begins.iter().any(|begin| step.created_by.starts_with(begin))
        })
        .count()
}

/// The largest blob a nanoserver layer has had; servercore's first layer is over 1 GB.
const LARGEST_NANOSERVER: u64 = 500 << 20;

/// Which of Microsoft's bases lies below.
fn flavour(
    name: Option<&Reference>,
    config: &ImageConfig,
    layers: &[Descriptor],
    count: usize,
) -> &'static str {
    if let Some(name) = name.map(Reference::familiar) {
        if name.contains("nanoserver") {
            return NANOSERVER;
        }
        if ["servercore", "windows/server", "windowsserver"].iter().any(|word| name.contains(word))
        {
            return SERVERCORE;
        }
    }
    // Nano Server is one layer, and its containers run as its one unprivileged account.
    let small = layers.first().is_none_or(|layer| layer.size < LARGEST_NANOSERVER);
    let unprivileged = config.config.user.eq_ignore_ascii_case("ContainerUser");
    if count == 1 && (unprivileged || small) { NANOSERVER } else { SERVERCORE }
}

/// Whether `pattern`, in which `*` stands for anything, describes all of `text`.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut rest) = text.strip_prefix(head) else { return false };
    let Some((middle, last)) = tail.rsplit_once('*') else { return rest.ends_with(tail) };
    for part in middle.split('*') {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::{NANOSERVER, Recognised, Rule, SERVERCORE, Substitutes, matches};
    use crate::{Descriptor, DiffId, Digest, History, ImageConfig, Reference, RootFs};

    fn config(steps: &[&str], user: &str) -> ImageConfig {
        let history = steps.iter().map(|step| History {
            created_by: (*step).to_owned(),
            empty_layer: step.starts_with('#'),
            ..History::default()
        });
        let layers = steps.iter().filter(|step| !step.starts_with('#'));
        let diff_ids = layers.map(|step| DiffId(Digest::of(step.as_bytes()))).collect();
        let mut config = ImageConfig { history: history.collect(), ..ImageConfig::default() };
        config.rootfs = RootFs { diff_ids, ..RootFs::default() };
        config.config.user = user.to_owned();
        config
    }

    fn layers(kinds: &[(&str, u64)]) -> Vec<Descriptor> {
        kinds.iter().map(|(kind, size)| Descriptor::new(kind, Digest::of(b""), *size)).collect()
    }

    const PLAIN: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    const FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

    fn recognised(
        name: &str,
        steps: &[&str],
        user: &str,
        kinds: &[(&str, u64)],
    ) -> Option<(usize, String)> {
        let name = (!name.is_empty()).then(|| Reference::parse(name).unwrap());
        let found =
            Substitutes::default().recognise(name.as_ref(), &config(steps, user), &layers(kinds));
        found.map(|Recognised { layers, base }| (layers, base))
    }

    #[test]
    fn microsofts_bases_are_known_by_their_steps() {
        let nano = ["Apply image 10.0.20348.5622", "cmd /S /C copy"];
        let sizes = [(PLAIN, 124_637_397), (PLAIN, 1000)];
        let found = recognised("app", &nano, "ContainerUser", &sizes);
        assert_eq!(found, Some((1, NANOSERVER.to_owned())));
        let core = ["Apply image 10.0.20348.5622", "Install update 10.0.20348.5499", "RUN"];
        let sizes = [(PLAIN, 1_489_019_076), (PLAIN, 694_978_322), (PLAIN, 9)];
        assert_eq!(recognised("", &core, "", &sizes), Some((2, SERVERCORE.to_owned())));
    }

    #[test]
    fn foreign_layers_are_a_base_whatever_the_steps_say() {
        let found = recognised("", &["x", "y"], "", &[(FOREIGN, 1_500_000_000), (PLAIN, 9)]);
        assert_eq!(found, Some((1, SERVERCORE.to_owned())));
    }

    #[test]
    fn names_tell_the_flavour() {
        let steps = ["Apply image ltsc2022-amd64", "#env", "RUN"];
        let sizes = [(PLAIN, 900 << 20), (PLAIN, 9)];
        for (name, base) in [
            ("mcr.microsoft.com/dotnet/runtime:8.0-nanoserver-ltsc2022", NANOSERVER),
            ("mcr.microsoft.com/windows/servercore/iis:latest", SERVERCORE),
            ("unknown", SERVERCORE),
        ] {
            assert_eq!(recognised(name, &steps, "", &sizes), Some((1, base.to_owned())), "{name}");
        }
    }

    #[test]
    fn an_image_of_ones_own_has_no_base_to_replace() {
        assert_eq!(recognised("x", &["RUN a", "Apply image 1"], "", &[(PLAIN, 1); 2]), None);
        let mut oriels = config(&["Apply image 10.0.20348.2113", "RUN"], "ContainerUser");
        oriels.history[0].comment = oriel_hcs::BASE_COMMENT.to_owned();
        let plain = layers(&[(PLAIN, 1), (PLAIN, 1)]);
        assert_eq!(Substitutes::default().recognise(None, &oriels, &plain), None);
        let off = Substitutes { enabled: false, ..Substitutes::default() };
        let config = config(&["Apply image 1"], "");
        assert_eq!(off.recognise(None, &config, &layers(&[(FOREIGN, 1)])), None);
    }

    #[test]
    fn the_configuration_has_the_first_word() {
        let substitutes: Substitutes = serde_json::from_str(&format!(
            r#"{{ "rules": [{{ "name": "registry.example/*:*-core", "base": "mine:2" }}],
                 "layers": {{ "{}": "nanoserver" }} }}"#,
            Digest::of(b"private")
        ))
        .unwrap();
        substitutes.check().unwrap();
        let steps = ["Apply image 1", "x"];
        let name = Reference::parse("registry.example/a/b:1-core").unwrap();
        let plain = layers(&[(PLAIN, 1), (PLAIN, 1)]);
        let found = substitutes.recognise(Some(&name), &config(&steps, ""), &plain).unwrap();
        assert_eq!(found.base, "mine:2");
        let found = substitutes.recognise(None, &config(&["private", "x"], ""), &plain).unwrap();
        assert_eq!((found.layers, found.base.as_str()), (1, NANOSERVER));
        for bad in [
            Substitutes {
                rules: vec![Rule { name: "x".into(), base: "No Name".into() }],
                ..Substitutes::default()
            },
            Substitutes {
                layers: [("sha256:1".to_owned(), "x".to_owned())].into(),
                ..Substitutes::default()
            },
        ] {
            assert!(bad.check().is_err());
        }
    }

    #[test]
    fn names_of_bases_have_a_stand_in_and_others_have_none() {
        let substitutes = Substitutes::default();
        for (name, base) in [
            ("mcr.microsoft.com/windows/nanoserver:ltsc2022", Some(NANOSERVER)),
            ("mcr.microsoft.com/windows/servercore:ltsc2019", Some(SERVERCORE)),
            ("mcr.microsoft.com/windows:20H2", Some(SERVERCORE)),
            ("microsoft/nanoserver", Some(NANOSERVER)),
            ("microsoft/windowsservercore:1803", Some(SERVERCORE)),
            ("mcr.microsoft.com/dotnet/runtime:8.0", None),
            ("mcr.microsoft.com/windows/servercore/iis", None),
            ("windows/nanoserver", None),
            ("registry.example/windows/nanoserver", None),
        ] {
            let name = Reference::parse(name).unwrap();
            assert_eq!(substitutes.stand_in(&name).as_deref(), base, "{name}");
        }
    }

    #[test]
    fn patterns_span_slashes() {
        for (pattern, text, fits) in [
            ("a/*", "a/b/c", true),
            ("*-core", "x-core", true),
            ("a*b*c", "a/x/b/y/c", true),
            ("a*b*c", "acb", false),
            ("a", "ab", false),
            ("*", "", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
