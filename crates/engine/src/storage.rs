//! Room on disk: what a container may take, what it takes, and what pruning gives back.

use std::collections::{BTreeMap, BTreeSet};

use oriel_hcs::Class;
use oriel_image::{Image, ImageId, Removed, layer_sizes};

use crate::{ContainerView, Engine, EngineError};

/// Reads storage options. Docker's Windows daemon knows one, `size`: the room on drive C:, with 0
/// for the daemon's default (moby `daemon/graphdriver/windows/windows.go`).
///
/// # Errors
/// `Invalid` for a bad size, and for any other option.
pub fn storage_options<'a>(
    options: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Option<u64>, EngineError> {
    let mut size = None;
    for (key, value) in options {
        if !key.eq_ignore_ascii_case("size") {
            return Err(EngineError::invalid(format!("Unknown storage option: {key}")));
        }
        size = Some(parse_size(value)?).filter(|size| *size > 0);
    }
    Ok(size)
}

/// Reads a size such as `20g`, `1.5 GiB` or `1048576`: the grammar of docker/go-units
/// `RAMInBytes`, in which all units are powers of 1024.
pub(crate) fn parse_size(text: &str) -> Result<u64, EngineError> {
    parse_units(text, 1024.0)
}

/// Reads a size by the same grammar, with units that are powers of 1000: docker/go-units
/// `FromHumanSize`.
pub(crate) fn parse_decimal_size(text: &str) -> Result<u64, EngineError> {
    parse_units(text, 1000.0)
}

fn parse_units(text: &str, base: f64) -> Result<u64, EngineError> {
    let bad = || EngineError::invalid(format!("invalid size: '{text}'"));
    let at = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ').ok_or_else(bad)?;
    let (number, suffix) = text.split_at(at + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let plain = number.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let value: f64 = number.parse().ok().filter(|_| plain).ok_or_else(bad)?;
    let suffix = suffix.to_ascii_lowercase();
    let unit = suffix.trim_end_matches('b').trim_end_matches('i');
    let power = match (unit, suffix.as_str()) {
        ("", "" | "b") => 0,
        (unit @ ("k" | "m" | "g" | "t" | "p"), suffix)
            if ["", "b", "ib"].contains(&&suffix[1..]) =>
        {
            "kmgtp".find(unit).map_or(0, |at| at + 1)
        }
        _ => return Err(EngineError::invalid(format!("invalid suffix: '{suffix}'"))),
    };
    let bytes = (0..power).fold(value, |bytes, _| bytes * base);
    // Beyond this a float no longer tells one byte from the next, and no disk is as large.
    if bytes > 9_007_199_254_740_992.0 {
        return Err(bad());
    }
    // The fraction of a byte goes, as in Go.
    format!("{:.0}", bytes.trunc()).parse().map_err(|_| bad())
}

/// What a container takes on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of the files it has made or changed.
    pub own: u64,
    /// These, and those of its image.
    pub with_image: u64,
}

impl Engine {
    /// What containers take, by id. One that cannot be measured is left out, for instance because
    /// it was removed meanwhile. Takes time in proportion to the number of files they wrote.
    pub async fn usage(&self, containers: &[ContainerView]) -> BTreeMap<String, Usage> {
        let wanted: Vec<_> = containers
            .iter()
            .map(|container| (container.id.clone(), container.spec.image_id.clone()))
            .collect();
        let measured = self.blocking(move |engine| {
            let measured = wanted.into_iter().filter_map(|(id, image)| {
                let usage = engine.measure(&id, &image)?;
                Some((id, usage))
            });
            Ok::<_, EngineError>(measured.collect())
        });
        measured.await.unwrap_or_default()
    }

    fn measure(&self, id: &str, image: &str) -> Option<Usage> {
        let own = match self.images().sandbox_bytes(id) {
            Ok(own) => own,
            Err(error) if error.class() == Class::NotFound => return None,
            Err(error) => {
                tracing::warn!(container.id = id, error = %error, "cannot measure a container");
                return None;
            }
        };
        // An image that was removed by force has no size any more.
        let image = image.parse().and_then(|id: ImageId| self.images().image_by_id(&id));
        Some(Usage { own, with_image: own + image.map_or(0, |image| image.size) })
    }

    /// Removes all containers that do not run and that `wanted` accepts. Returns their ids, and
    /// the bytes of their files.
    ///
    /// # Errors
    /// `Host`; what was removed before stays so.
    pub async fn prune(
        &self,
        wanted: impl Fn(&ContainerView) -> bool,
    ) -> Result<(Vec<String>, u64), EngineError> {
        let (mut removed, mut reclaimed) = (Vec::new(), 0);
        for view in self.containers() {
            if view.state.is_active() || !wanted(&view) {
                continue;
            }
            let usage = self.usage(std::slice::from_ref(&view)).await;
            match self.remove(&view.id, false).await {
                Ok(()) => {
                    reclaimed += usage.get(&view.id).map_or(0, |usage| usage.own);
                    removed.push(view.id);
                }
                // Started or removed by somebody else meanwhile.
                Err(error) if error.class() == Class::Conflict => {}
                Err(EngineError::NoSuchContainer { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.emit_prune("container", reclaimed);
        Ok((removed, reclaimed))
    }

    /// Removes all images that no container uses and that `wanted` accepts, those built on others
    /// before the others. Returns what was removed, and the bytes of the layers that went with it.
    ///
    /// # Errors
    /// `Host`; what was removed before stays so.
    pub async fn prune_images(
        &self,
        wanted: impl Fn(&Image) -> bool,
    ) -> Result<(Vec<Removed>, u64), EngineError> {
        let before = layer_sizes(&self.all_images().await?);
        let mut removed = Vec::new();
        let mut tried = BTreeSet::new();
        loop {
            let images = self.all_images().await?;
            let parents: BTreeSet<_> = images.iter().filter_map(|image| image.parent).collect();
            // Each is tried once: what is in use stays.
            let next = images.iter().filter(|image| {
                !parents.contains(&image.id) && wanted(image) && tried.insert(image.id)
            });
            let next: Vec<_> = next.collect();
            if next.is_empty() {
                break;
            }
            for image in next {
                if self.image_user(&image.id).is_none() {
                    removed.extend(self.remove_unused(image).await?);
                }
            }
        }
        let after = layer_sizes(&self.all_images().await?);
        let gone = before.iter().filter(|(chain, _)| !after.contains_key(chain));
        let partial = self.blocking(|engine| engine.images().forget_downloads()).await?;
        let reclaimed = gone.map(|(_, size)| size).sum::<u64>() + partial;
        self.emit_prune("image", reclaimed);
        Ok((removed, reclaimed))
    }

    /// Removes an image by all of its names, not by force: who uses it by now keeps it.
    async fn remove_unused(&self, image: &Image) -> Result<Vec<Removed>, EngineError> {
        let mut names: Vec<_> = image.references.iter().map(ToString::to_string).collect();
        if names.is_empty() {
            names.push(image.id.to_string());
        }
        let mut removed = Vec::new();
        for name in names {
            match self.remove_image(&name, false, false).await {
                Ok(more) => removed.extend(more),
                Err(error) if matches!(error.class(), Class::Conflict | Class::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    async fn all_images(&self) -> Result<Vec<Image>, EngineError> {
        self.blocking(|engine| engine.images().list()).await
    }

    /// Emits the event of a prune, also of one that found nothing.
    pub fn emit_prune(&self, kind: &'static str, reclaimed: u64) {
        let attributes = BTreeMap::from([("reclaimed".to_owned(), reclaimed.to_string())]);
        self.emit_event(kind, "prune", "", attributes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        for (text, bytes) in [
            ("32", 32),
            ("32b", 32),
            ("32 B", 32),
            ("32k", 32 << 10),
            ("32KIB", 32 << 10),
            ("32Kb", 32 << 10),
            ("32.3", 32),
            ("32.3 mb", 33_869_004),
            ("0.3MB", 314_572),
            ("20g", 20 << 30),
            ("120GB", 120 << 30),
            ("3Tb", 3 << 40),
            ("1p", 1 << 50),
            ("0", 0),
        ] {
            assert_eq!(parse_size(text).unwrap(), bytes, "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_in_dockers_words() {
        for (text, words) in [
            ("", "invalid size: ''"),
            ("hello", "invalid size: 'hello'"),
            ("-32", "invalid size: '-32'"),
            ("-1g", "invalid size: '-1g'"),
            ("+1g", "invalid size: '+1g'"),
            (" 32 ", "invalid size: ' 32 '"),
            ("1e99", "invalid size: '1e99'"),
            ("nan1", "invalid size: 'nan1'"),
            ("9999999999999999999", "invalid size: '9999999999999999999'"),
            ("99999p", "invalid size: '99999p'"),
            ("1..2g", "invalid size: '1..2g'"),
            ("32m b", "invalid size: '32m b'"),
            ("32bm", "invalid suffix: 'bm'"),
            ("32x", "invalid suffix: 'x'"),
            ("32ib", "invalid suffix: 'ib'"),
            ("32kbb", "invalid suffix: 'kbb'"),
            ("32µ", "invalid suffix: 'µ'"),
        ] {
            assert_eq!(parse_size(text).unwrap_err().to_string(), words, "{text}");
        }
    }

    #[test]
    fn size_is_the_only_storage_option() {
        assert_eq!(storage_options([]).unwrap(), None);
        assert_eq!(storage_options([("Size", "1g")]).unwrap(), Some(1 << 30));
        assert_eq!(storage_options([("size", "0")]).unwrap(), None);
        let error = storage_options([("dm.basesize", "1g")]).unwrap_err();
        assert_eq!(error.to_string(), "Unknown storage option: dm.basesize");
    }
}
