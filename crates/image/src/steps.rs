//! Steps of builds: which images they have made, and keeping those that a build stands on.
//!
//! An image that was made here is found by the image below it and by the text of its step, which
//! names everything that went in. The index that leads there is kept with the records, so a
//! look-up reads the few images it is about, however many others there are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::records::Batch;
use crate::{Commit, Digest, Image, ImageConfig, ImageError, ImageId, ImageStore};

/// What the index knows of a configuration: the digest of its last step's text.
pub(crate) fn last_step(config: &[u8]) -> Option<Digest> {
    let config: ImageConfig = serde_json::from_slice(config).ok()?;
    config.history.last().map(|step| Digest::of(step.created_by.as_bytes()))
}

/// Counts who stands on which image.
#[derive(Clone, Default)]
pub(crate) struct Held(Arc<Mutex<BTreeMap<ImageId, usize>>>);

impl Held {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ImageId, usize>> {
        // Numbers are always consistent, so a panic elsewhere spoils nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody stands on `image`.
    pub(crate) fn contains(&self, image: &ImageId) -> bool {
        self.lock().contains_key(image)
    }
}

/// Images that a build stands on: nobody removes them as long as this lives.
pub struct Footing {
    store: ImageStore,
    images: Mutex<Vec<ImageId>>,
}

impl Footing {
    /// Stands on `image` too; `false` when it is not there, or not any more. Blocking.
    ///
    /// # Errors
    /// [`ImageError::Database`].
    pub fn add(&self, image: &ImageId) -> Result<bool, ImageError> {
        // A removal looks and acts while it holds this.
        let _editing = self.store.records().edit();
        if self.store.records().one(image)?.is_none() {
            return Ok(false);
        }
        *self.store.held().lock().entry(*image).or_default() += 1;
        self.images.lock().unwrap_or_else(PoisonError::into_inner).push(*image);
        Ok(true)
    }

    /// Commits, and stands on the result. Blocking.
    ///
    /// # Errors
    /// Those of [`ImageStore::commit`].
    pub fn commit(&self, commit: &Commit) -> Result<ImageId, ImageError> {
        self.stand_on(self.store.commit(commit)?)
    }

    /// As [`Footing::commit`], for a sandbox as [`ImageStore::commit_last`] wants it. Blocking.
    ///
    /// # Errors
    /// Those of [`ImageStore::commit`].
    pub fn commit_last(&self, commit: &Commit) -> Result<ImageId, ImageError> {
        self.stand_on(self.store.commit_last(commit)?)
    }

    fn stand_on(&self, image: ImageId) -> Result<ImageId, ImageError> {
        match self.add(&image)? {
            true => Ok(image),
            false => Err(ImageError::NoSuchImage { name: image.to_string() }),
        }
    }
}

impl Drop for Footing {
    fn drop(&mut self) {
        let images = std::mem::take(self.images.get_mut().unwrap_or_else(PoisonError::into_inner));
        let mut held = self.store.held().lock();
        for image in images {
            if let Some(count) = held.get_mut(&image) {
                *count -= 1;
                if *count == 0 {
                    held.remove(&image);
                }
            }
        }
    }
}

impl ImageStore {
    /// Nothing yet, for a build to stand on.
    #[must_use]
    pub fn footing(&self) -> Footing {
        Footing { store: self.clone(), images: Mutex::default() }
    }

    /// Images that a step with the text `created_by` has made of `parent`, newest first.
    ///
    /// # Errors
    /// [`ImageError::Database`], [`ImageError::Damaged`].
    pub fn made_by(&self, parent: &ImageId, created_by: &str) -> Result<Vec<Image>, ImageError> {
        // What is in the index now keeps its configuration until it is read.
        let _recording = self.recording();
        let step = Digest::of(created_by.as_bytes());
        let mut images = Vec::new();
        for id in self.records().made_by(parent, step)? {
            match self.image_by_id(&id) {
                Ok(image) => images.push(image),
                // It was removed meanwhile.
                Err(ImageError::NoSuchImage { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        images.sort_by(|a, b| b.config.created.cmp(&a.config.created).then(a.id.cmp(&b.id)));
        Ok(images)
    }

    /// Puts the images of older versions into the index.
    pub(crate) fn index_steps(&self) -> Result<(), ImageError> {
        let mut put = Vec::new();
        for (id, mut record) in self.records().snapshot()?.images {
            if record.parent.is_some() && record.step.is_none() {
                record.step = last_step(&self.content().get(id.0)?);
                put.push((id, record));
            }
        }
        match put.is_empty() {
            true => Ok(()),
            false => self.records().apply(&Batch { put, ..Batch::default() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Fixture;

    #[test]
    fn steps_are_found_by_parent_and_text_until_their_image_is_removed() {
        let (fixture, base) = Fixture::with_base();
        let (store, text) = (&fixture.store, "cmd /S /C x");
        let made = fixture.commit(None, base);
        let found = || -> Vec<ImageId> {
            let images = store.made_by(&base, text).unwrap();
            images.iter().map(|image| image.id).collect()
        };
        assert_eq!(found(), [made]);
        assert!(store.made_by(&base, "cmd /S /C y").unwrap().is_empty());
        assert!(store.made_by(&made, text).unwrap().is_empty());
        store.remove(&made.to_string(), false, false, &|_| None).unwrap();
        assert_eq!(found(), []);
    }

    #[test]
    fn images_of_older_versions_are_indexed_when_the_store_is_opened() {
        let (fixture, base) = Fixture::with_base();
        let made = fixture.commit(None, base);
        let mut record = fixture.store.records().one(&made).unwrap().unwrap().0;
        record.step = None;
        let old = Batch { put: vec![(made, record)], ..Batch::default() };
        fixture.store.records().apply(&old).unwrap();
        let found = || fixture.store.made_by(&base, "cmd /S /C x").unwrap().len();
        assert_eq!(found(), 0);
        fixture.store.index_steps().unwrap();
        assert_eq!(found(), 1);
    }

    #[test]
    fn an_image_that_a_build_stands_on_stays_until_the_build_ends() {
        let (fixture, base) = Fixture::with_base();
        let store = &fixture.store;
        let lower = fixture.commit(None, base);
        let upper = fixture.commit(None, lower);
        let footing = store.footing();
        assert!(footing.add(&lower).unwrap());
        let remove = |image: ImageId| store.remove(&image.to_string(), true, false, &|_| None);
        assert_eq!(remove(upper).unwrap().len(), 1, "the image below stays");
        let error = remove(lower).unwrap_err().to_string();
        assert!(error.contains("image is being used by a build"), "{error}");
        assert!(!footing.add(&upper).unwrap());
        drop(footing);
        remove(lower).unwrap();
    }
}
