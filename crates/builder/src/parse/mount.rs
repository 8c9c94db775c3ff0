//! `RUN --mount=…`: what a command sees besides the image, and the image does not keep.
//!
//! The keys are those of buildkit (`frontend/dockerfile/instructions/commands_runmount.go`).
//! Owners and modes mean nothing on Windows and are read and left alone.

use super::words;

/// One `--mount`; variables are not put in yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MountFlag {
    /// What kind of mount it is.
    pub(crate) kind: MountKind,
    /// The stage or image that files come from; the context when there is none.
    pub(crate) from: Option<String>,
    /// Path in it.
    pub(crate) source: Option<String>,
    /// Path in the container.
    pub(crate) target: Option<String>,
    /// Name of a cache or of a secret.
    pub(crate) id: Option<String>,
    /// Whether writes are refused; `None` is the kind's own way.
    pub(crate) read_only: Option<bool>,
    /// Who may have a cache at the same time.
    pub(crate) sharing: Sharing,
    /// Whether a step without the secret fails.
    pub(crate) required: bool,
    /// Bytes of memory.
    pub(crate) size_bytes: Option<u64>,
}

/// Kinds of mounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum MountKind {
    /// Files of the context, of a stage or of an image.
    #[default]
    Bind,
    /// A directory that stays from build to build.
    Cache,
    /// Memory.
    Tmpfs,
    /// A secret of the client.
    Secret,
    /// An agent of the client.
    Ssh,
}

/// Who may have a cache at the same time; the strictest is the greatest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sharing {
    /// Everybody.
    #[default]
    Shared,
    /// One at a time; the others get one of their own.
    Private,
    /// One at a time; the others wait.
    Locked,
}

/// Keys of `--mount`, for suggestions.
const KEYS: &[&str] = &[
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
];

impl MountFlag {
    /// Reads the value of the flag. The error says what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut flag = Self::default();
        for field in text.split(',') {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (field, None),
            };
            flag.set(key.trim().to_ascii_lowercase().as_str(), value)?;
        }
        flag.check().map(|()| flag)
    }

    fn set(&mut self, key: &str, value: Option<&str>) -> Result<(), String> {
        let needed = || {
            value
                .filter(|value| !value.is_empty())
                .map(str::to_owned)
                .ok_or_else(|| format!("{key} must have a value, as in {key}=VALUE"))
        };
        match key {
            "type" => self.kind = kind(&needed()?)?,
            "from" => self.from = Some(needed()?),
            "source" | "src" => self.source = Some(needed()?),
            "target" | "dst" | "destination" => self.target = Some(needed()?),
            "id" => self.id = Some(needed()?),
            "readonly" | "ro" => self.read_only = Some(truth(key, value)?),
            "readwrite" | "rw" => self.read_only = Some(!truth(key, value)?),
            "required" => self.required = truth(key, value)?,
            "sharing" => self.sharing = sharing(&needed()?)?,
            "size" => self.size_bytes = Some(size(&needed()?)?),
            "mode" | "uid" | "gid" => drop(needed()?),
            "env" => {
                return Err(
                    "secrets in variables (env) are not supported: read the file".to_owned()
                );
            }
            _ => {
                let meant = words::nearest(key, KEYS).map(|key| format!(" (did you mean {key}?)"));
                return Err(format!("unexpected key '{key}'{}", meant.unwrap_or_default()));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let needs_target =
            matches!(self.kind, MountKind::Bind | MountKind::Cache | MountKind::Tmpfs);
        if needs_target && self.target.is_none() {
            return Err("target is required".to_owned());
        }
        let is_named = self.id.is_some() || self.source.is_some() || self.target.is_some();
        if self.kind == MountKind::Secret && !is_named {
            return Err("one of id, target required".to_owned());
        }
        if self.size_bytes.is_some() && self.kind != MountKind::Tmpfs {
            return Err("size is for tmpfs only".to_owned());
        }
        let has_files = matches!(self.kind, MountKind::Bind | MountKind::Cache);
        if self.from.is_some() && !has_files {
            return Err("from is for bind and cache only".to_owned());
        }
        Ok(())
    }
}

fn kind(word: &str) -> Result<MountKind, String> {
    Ok(match word.to_ascii_lowercase().as_str() {
        "bind" => MountKind::Bind,
        "cache" => MountKind::Cache,
        "tmpfs" => MountKind::Tmpfs,
        "secret" => MountKind::Secret,
        "ssh" => MountKind::Ssh,
        _ => return Err(format!("unsupported mount type {word:?}")),
    })
}

fn sharing(word: &str) -> Result<Sharing, String> {
    Ok(match word.to_ascii_lowercase().as_str() {
        "shared" => Sharing::Shared,
        "private" => Sharing::Private,
        "locked" => Sharing::Locked,
        _ => return Err(format!("unsupported sharing value {word:?}")),
    })
}

fn truth(key: &str, value: Option<&str>) -> Result<bool, String> {
    match value.map(str::to_ascii_lowercase).as_deref() {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => Err(format!("invalid value {other:?} for {key}: write true or false")),
    }
}

/// Reads `64m` and its like into bytes.
fn size(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit()).unwrap_or(lower.len());
    let unit: u64 = match lower[digits..].trim_end_matches("ib").trim_end_matches('b') {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => 0,
    };
    let number = lower[..digits].parse::<u64>().ok();
    number
        .and_then(|number| number.checked_mul(unit))
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| format!("invalid size {text:?}: write a size such as 64m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read() {
        let flag = MountFlag::parse("type=cache,target=C:\\npm,id=npm,sharing=locked").unwrap();
        assert_eq!((flag.kind, flag.sharing), (MountKind::Cache, Sharing::Locked));
        assert_eq!((flag.target.as_deref(), flag.id.as_deref()), (Some("C:\\npm"), Some("npm")));
        let flag = MountFlag::parse("target=C:\\src,from=build,src=/out,rw").unwrap();
        assert_eq!((flag.kind, flag.read_only), (MountKind::Bind, Some(false)));
        assert_eq!((flag.from.as_deref(), flag.source.as_deref()), (Some("build"), Some("/out")));
        let flag = MountFlag::parse("type=tmpfs,dst=C:\\t,size=64m,mode=0700").unwrap();
        assert_eq!(flag.size_bytes, Some(64 << 20));
        assert!(MountFlag::parse("type=secret,id=token,required").unwrap().required);
        assert_eq!(MountFlag::parse("type=ssh").unwrap().kind, MountKind::Ssh);
    }

    #[test]
    fn what_is_no_mount_is_refused_by_name() {
        let table = [
            ("type=volume,target=C:\\x", "unsupported mount type \"volume\""),
            ("type=cache", "target is required"),
            ("tarjet=C:\\x", "unexpected key 'tarjet' (did you mean target?)"),
            ("target", "target must have a value, as in target=VALUE"),
            ("type=cache,target=C:\\x,sharing=all", "unsupported sharing value \"all\""),
            ("target=C:\\x,ro=maybe", "invalid value \"maybe\" for ro: write true or false"),
            ("type=tmpfs,target=C:\\x,size=big", "invalid size \"big\": write a size such as 64m"),
            ("type=tmpfs,target=C:\\x,size=99999999999999g", "invalid size"),
            ("target=C:\\x,size=1m", "size is for tmpfs only"),
            ("type=tmpfs,target=C:\\x,from=a", "from is for bind and cache only"),
            ("type=secret,env=TOKEN", "secrets in variables (env) are not supported"),
            ("type=secret,required", "one of id, target required"),
        ];
        for (text, expected) in table {
            let error = MountFlag::parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
