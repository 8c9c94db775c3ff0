//! Names of a layer's entries.

use std::fmt;

use crate::LayerError;
use crate::archive::shortened;

/// The top-level directories of a layer that mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Root {
    /// `Files`: the C: drive.
    Files,
    /// `Hives`: registry deltas.
    Hives,
    /// `UtilityVM`: the virtual machine that Hyper-V isolation boots.
    UtilityVm,
}

impl Root {
    /// The directory's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Files => "Files",
            Self::Hives => "Hives",
            Self::UtilityVm => "UtilityVM",
        }
    }

    /// The root of that name, compared without case.
    fn named(name: &str) -> Option<Self> {
        [Self::Files, Self::Hives, Self::UtilityVm]
            .into_iter()
            .find(|root| root.name().eq_ignore_ascii_case(name))
    }
}

/// Longest name of an entry in bytes: what Linux takes as one path, less room for the store's own
/// directories. Windows would take 32 767 characters, but no such file could be shown to a guest.
pub(crate) const MAX_PATH_BYTES: usize = 3_900;

/// Deepest nesting of directories, so that recursive work is bounded.
const MAX_DEPTH: usize = 256;

/// Longest component in UTF-16 units, as NTFS has it.
const MAX_COMPONENT_UNITS: usize = 255;

/// The name of an entry: below one of the [`Root`]s, with plain components only. Case is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LayerPath {
    root: Root,
    /// Components below the root, joined by `/`; empty for the root itself.
    rest: String,
}

impl LayerPath {
    /// The directory `root` itself.
    #[must_use]
    pub fn root_of(root: Root) -> Self {
        Self { root, rest: String::new() }
    }

    /// Parses a name as it stands in a tar, such as `Files/Windows/System32`.
    ///
    /// A leading `./` and a trailing `/` are accepted. `Ok(None)` is a harmless name below another
    /// top-level directory, which Windows does not look at either.
    ///
    /// # Errors
    /// [`LayerError::Name`] for an absolute name, `..`, an empty component, a drive letter, a
    /// backslash, a control character, or one that is too long. Names that only Windows' own
    /// programs refuse, such as `CON` or `a.`, are names to NTFS and therefore here.
    pub fn parse(name: &str) -> Result<Option<Self>, LayerError> {
        let bad = |detail| LayerError::Name { name: shortened(name), detail };
        if name.len() > MAX_PATH_BYTES {
            return Err(bad("too long"));
        }
        if name.starts_with('/') {
            return Err(bad("absolute"));
        }
        let mut plain = name;
        while let Some(rest) = plain.strip_prefix("./") {
            plain = rest;
        }
        let plain = plain.strip_suffix('/').unwrap_or(plain);
        if matches!(plain, "" | ".") {
            return Ok(None);
        }
        if plain.bytes().any(|byte| byte == b'\\' || byte < b' ') {
            return Err(bad("backslash or control character"));
        }
        for (depth, component) in plain.split('/').enumerate() {
            check_component(component).map_err(bad)?;
            if depth >= MAX_DEPTH {
                return Err(bad("too deep"));
            }
        }
        let (first, rest) = plain.split_once('/').unwrap_or((plain, ""));
        if first.contains(':') {
            return Err(bad("starts with a drive letter"));
        }
        Ok(Root::named(first).map(|root| Self { root, rest: rest.to_owned() }))
    }

    /// The path of `components`, joined by `/`, below `root`.
    ///
    /// # Errors
    /// [`LayerError::Name`] as for [`LayerPath::parse`].
    pub fn below(root: Root, components: &str) -> Result<Self, LayerError> {
        let name = if components.is_empty() {
            root.name().to_owned()
        } else {
            format!("{}/{components}", root.name())
        };
        Self::parse(&name)?.ok_or(LayerError::Name { name, detail: "not below a layer's root" })
    }

    /// The top-level directory.
    #[must_use]
    pub fn root(&self) -> Root {
        self.root
    }

    /// What follows the root, joined by `/`; empty for the root itself.
    #[must_use]
    pub fn rest(&self) -> &str {
        &self.rest
    }

    /// Whether this is the top-level directory itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.rest.is_empty()
    }

    /// The components below the root.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.rest.split('/').filter(|component| !component.is_empty())
    }

    /// The last component; the root's name for a root.
    #[must_use]
    pub fn file_name(&self) -> &str {
        if self.is_root() {
            return self.root.name();
        }
        self.rest.rsplit_once('/').map_or(self.rest.as_str(), |(_, name)| name)
    }

    /// The directory that holds it; `None` for a root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let rest = self.rest.rsplit_once('/').map_or("", |(parent, _)| parent);
        Some(Self { root: self.root, rest: rest.to_owned() })
    }

    /// The entry `name` of this directory.
    ///
    /// # Errors
    /// [`LayerError::Name`] when `name` is not a plain component or the result too long.
    pub fn join(&self, name: &str) -> Result<Self, LayerError> {
        if name.is_empty() || name.contains('/') {
            return Err(LayerError::Name { name: name.to_owned(), detail: "not a single name" });
        }
        let rest = if self.is_root() { name.to_owned() } else { format!("{}/{name}", self.rest) };
        Self::below(self.root, &rest)
    }
}

impl fmt::Display for LayerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.root.name())?;
        if !self.is_root() {
            write!(f, "/{}", self.rest)?;
        }
        Ok(())
    }
}

/// Refuses components that mean something else on either system.
fn check_component(component: &str) -> Result<(), &'static str> {
    match component {
        "" => return Err("empty component"),
        "." => return Err("`.` component"),
        ".." => return Err("`..` component"),
        _ => {}
    }
    // No text has more UTF-16 units than bytes.
    let long = component.len() > MAX_COMPONENT_UNITS;
    if long && component.encode_utf16().count() > MAX_COMPONENT_UNITS {
        return Err("component too long");
    }
    Ok(())
}

/// Folds a name's case, for comparing names as Windows does: character by character.
#[must_use]
pub fn fold(name: &str) -> String {
    name.chars().map(fold_char).collect()
}

pub(crate) fn fold_char(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_uppercase();
    }
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(single), None) => single,
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::{LayerPath, Root, fold};

    fn parse(name: &str) -> Option<String> {
        LayerPath::parse(name).expect("a valid name").map(|path| path.to_string())
    }

    #[test]
    fn usual_names_are_accepted() {
        assert_eq!(parse("Files"), Some("Files".into()));
        assert_eq!(parse("./Files/Windows/"), Some("Files/Windows".into()));
        assert_eq!(parse("FILES/Über"), Some("Files/Über".into()));
        assert_eq!(parse("UtilityVM/Files/EFI"), Some("UtilityVM/Files/EFI".into()));
        assert_eq!(parse("Files/a:b"), Some("Files/a:b".into()));
    }

    #[test]
    fn names_only_win32_refuses_are_names() {
        for name in
            ["Files/CON", "Files/nul.txt", "Files/a.", "Files/b ", "Files/a<b>|\"?*", "Files/%"]
        {
            assert_eq!(parse(name).as_deref(), Some(name));
        }
        let wide = format!("Files/{}", "\u{e4}".repeat(255));
        assert_eq!(parse(&wide), Some(wide));
    }

    #[test]
    fn case_is_folded_by_character() {
        assert_eq!(fold("aäßσς.Txt"), "AÄßΣΣ.TXT");
        assert_eq!(fold("\u{149}"), "\u{149}");
    }

    #[test]
    fn messages_do_not_repeat_what_is_endless() {
        let error = LayerPath::parse(&"x".repeat(1 << 20)).unwrap_err();
        assert!(error.to_string().len() < 400);
    }

    #[test]
    fn other_roots_are_nobodys_business() {
        assert_eq!(parse("layout"), None);
        assert_eq!(parse("./"), None);
    }

    #[test]
    fn names_that_leave_the_tree_are_refused() {
        let long = format!("Files/{}", "a/".repeat(5_000));
        let deep = format!("Files{}", "/a".repeat(300));
        let wide = format!("Files/{}", "a".repeat(256));
        let astral = format!("Files/{}", "\u{1f600}".repeat(128));
        for name in [
            "/Files",
            "Files/../x",
            "..",
            "../x",
            "Files//x",
            "Files/./x",
            "C:/x",
            "Files\\x",
            "Files/a\\..\\b",
            "Files/a\0",
            "Files/\u{1}",
            "x/../Files",
            &long,
            &deep,
            &wide,
            &astral,
        ] {
            assert!(LayerPath::parse(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn parents_and_children_agree() {
        let path = LayerPath::root_of(Root::Files).join("a").and_then(|p| p.join("b")).unwrap();
        assert_eq!(path.to_string(), "Files/a/b");
        assert_eq!(path.file_name(), "b");
        assert_eq!(path.parent().and_then(|p| p.parent()), Some(LayerPath::root_of(Root::Files)));
        assert_eq!(path.components().collect::<Vec<_>>(), ["a", "b"]);
        assert!(path.join("x/y").is_err());
        assert!(path.join("..").is_err());
    }
}
