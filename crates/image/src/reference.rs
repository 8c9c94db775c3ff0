//! Image references: how people name images.
//!
//! The grammar is that of `distribution/reference` v0.6 (`regexp.go`, `normalize.go`): an optional
//! registry, a path of lower-case components, then a tag, a digest or both. Names without registry
//! belong to `docker.io`, and single names there to `library`.

use std::fmt;

use crate::{Digest, ImageError};

/// Registry of names that have none.
const DEFAULT_DOMAIN: &str = "docker.io";

/// Its older name, read as the same.
const LEGACY_DOMAIN: &str = "index.docker.io";

/// Namespace of single names on the default registry.
const OFFICIAL: &str = "library/";

/// Longest repository name, registry included.
const MAX_NAME: usize = 255;

/// Longest tag.
const MAX_TAG: usize = 128;

/// A parsed and normalised name of an image.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Parses `text` as Docker does.
    ///
    /// # Errors
    /// [`ImageError::InvalidReference`] or [`ImageError::UppercaseReference`].
    pub fn parse(text: &str) -> Result<Self, ImageError> {
        if Digest::from_hex(text).is_some() {
            // 64 hexadecimal digits are always an image id.
            return Err(ImageError::InvalidReference);
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => {
                (name, Some(digest.parse().map_err(|_| ImageError::InvalidReference)?))
            }
            None => (text, None),
        };
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (name, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(ImageError::InvalidReference);
        }
        let (domain, path) = split_domain(name);
        check_repository(&domain, &path, name)?;
        Ok(Self { domain, path, tag: tag.map(str::to_owned), digest })
    }

    /// The registry, such as `docker.io`.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository on the registry, such as `library/nanoserver`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Registry and repository, such as `docker.io/library/nanoserver`.
    #[must_use]
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The repository as people write it, such as `nanoserver`.
    #[must_use]
    pub fn familiar_repository(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.repository();
        }
        match self.path.strip_prefix(OFFICIAL) {
            Some(single) if !single.contains('/') => single.to_owned(),
            _ => self.path.clone(),
        }
    }

    /// The whole name as people write it, such as `nanoserver:latest`.
    #[must_use]
    pub fn familiar(&self) -> String {
        format!("{}{}", self.familiar_repository(), self.suffix())
    }

    /// The same with the tag `latest` when there is neither tag nor digest.
    #[must_use]
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some("latest".to_owned());
        }
        self
    }

    /// The same repository with another tag and no digest.
    ///
    /// # Errors
    /// [`ImageError::InvalidReference`].
    pub fn with_tag(&self, tag: &str) -> Result<Self, ImageError> {
        if !is_tag(tag) {
            return Err(ImageError::InvalidReference);
        }
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same repository with a digest and no tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// `:tag@digest`, as far as present.
    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self.digest.map(|digest| format!("@{digest}")).unwrap_or_default();
        tag + &digest
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.repository(), self.suffix())
    }
}

/// Splits off the registry: the first component when it looks like a host.
fn split_domain(name: &str) -> (String, String) {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.chars().any(char::is_uppercase) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, name),
    };
    let domain = if domain == LEGACY_DOMAIN { DEFAULT_DOMAIN } else { domain };
    let official = domain == DEFAULT_DOMAIN && !path.contains('/');
    let path = if official { format!("{OFFICIAL}{path}") } else { path.to_owned() };
    (domain.to_owned(), path)
}

/// Checks registry and repository; `name` is what the user wrote.
fn check_repository(domain: &str, path: &str, name: &str) -> Result<(), ImageError> {
    if path.chars().any(char::is_uppercase) {
        return Err(ImageError::UppercaseReference { name: name.to_owned() });
    }
    let fits = domain.len() + 1 + path.len() <= MAX_NAME;
    if fits && is_domain(domain) && path.split('/').all(is_path_component) {
        Ok(())
    } else {
        Err(ImageError::InvalidReference)
    }
}

/// `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`
fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

/// Host name, IPv4 address or bracketed IPv6 address, with an optional port.
fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (domain, None),
    };
    let port_fits =
        port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    let label = |label: &str| {
        let bytes = label.as_bytes();
        let ends = [bytes.first(), bytes.last()];
        ends.iter().all(|end| end.is_some_and(u8::is_ascii_alphanumeric))
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
    };
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host_fits = match bracketed {
        Some(address) => {
            !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':')
        }
        None => host.split('.').all(label),
    };
    port_fits && host_fits
}

/// Lower-case letters and digits, separated by one dot, one or two underscores or any hyphens.
fn is_path_component(component: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    if ![bytes.first(), bytes.last()].iter().all(|end| end.is_some_and(|byte| word(*byte))) {
        return false;
    }
    bytes.split(|byte| word(*byte)).all(|between| {
        matches!(between, b"" | b"." | b"_" | b"__") || between.iter().all(|b| *b == b'-')
    })
}

#[cfg(test)]
mod tests {
    use super::Reference;

    #[test]
    fn names_are_normalised_as_docker_does() {
        for (text, canonical, familiar) in [
            ("nanoserver", "docker.io/library/nanoserver:latest", "nanoserver:latest"),
            ("a/b:1", "docker.io/a/b:1", "a/b:1"),
            ("index.docker.io/x:y", "docker.io/library/x:y", "x:y"),
            ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
            ("localhost:5000/x/y:z", "localhost:5000/x/y:z", "localhost:5000/x/y:z"),
            ("[::1]:5000/x:z", "[::1]:5000/x:z", "[::1]:5000/x:z"),
            (
                "mcr.microsoft.com/windows/nanoserver:ltsc2022",
                "mcr.microsoft.com/windows/nanoserver:ltsc2022",
                "mcr.microsoft.com/windows/nanoserver:ltsc2022",
            ),
            ("a__b/c-----d.e", "docker.io/a__b/c-----d.e:latest", "a__b/c-----d.e:latest"),
        ] {
            let reference = Reference::parse(text).expect(text).or_latest();
            assert_eq!(reference.to_string(), canonical);
            assert_eq!(reference.familiar(), familiar);
        }
    }

    #[test]
    fn a_digest_needs_no_tag() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let reference = Reference::parse(&format!("x@{digest}")).unwrap().or_latest();
        assert_eq!(reference.familiar(), format!("x@{digest}"));
        let both = Reference::parse(&format!("x:1@{digest}")).unwrap();
        assert_eq!((both.tag(), both.digest().is_some()), (Some("1"), true));
    }

    #[test]
    fn nonsense_is_refused_in_dockers_words() {
        let long_tag = format!("x:{}", "a".repeat(129));
        let long_name = "a".repeat(250);
        let id = "0123456789abcdef".repeat(4);
        for text in [
            "",
            ":",
            "x:",
            "-x",
            "x-",
            "a..b",
            "a___b",
            "a//b",
            "/a",
            "a/",
            "x@sha256:1",
            "x:y z",
            "x/../y",
            "a b",
            "a:b:c/",
            "ho_st.x/y/%",
            &long_tag,
            &long_name,
            &id,
        ] {
            let error = Reference::parse(text).expect_err(text).to_string();
            assert_eq!(error, "invalid reference format", "{text}");
        }
        assert_eq!(
            Reference::parse("a/Bc").unwrap_err().to_string(),
            "invalid reference format: repository name (a/Bc) must be lowercase"
        );
    }
}
