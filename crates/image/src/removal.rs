//! Removing names and images, by Docker's rules (moby, `daemon/images/image_delete.go`).

use crate::records::{Batch, Snapshot};
use crate::store::find;
use crate::{Image, ImageError, ImageId, ImageStore, InUse, Reference, Removed};

/// Who wants to know whether a container uses an image.
type Usage<'a> = dyn Fn(&ImageId) -> Option<InUse> + 'a;

impl ImageStore {
    /// Removes a name, and the image with its unused parents when that was the last one.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`], [`ImageError::ReferenceInUse`], [`ImageError::ImageInUse`].
    pub fn remove(
        &self,
        name: &str,
        force: bool,
        noprune: bool,
        in_use: &dyn Fn(&ImageId) -> Option<InUse>,
    ) -> Result<Vec<Removed>, ImageError> {
        let editing = self.records().edit();
        let snapshot = self.records().snapshot()?;
        let (id, reference) = find(&snapshot, name)?;
        let image = self.image(&snapshot, id)?;
        let mut removed = Vec::new();
        if let Some(reference) = reference {
            check_reference(&image, &reference, force, in_use)?;
            // What still needs the image keeps it, without a name and without a complaint.
            let needed = image.references.len() > 1
                || self.check_image(&snapshot, &image, force, in_use).is_err();
            if needed {
                return self.untag(&image, vec![reference]);
            }
        } else {
            let several = repositories(&image) > 1;
            if several && !force {
                return Err(conflict(
                    &id,
                    Force::Needed,
                    "image is referenced in multiple repositories",
                ));
            }
            self.check_image(&snapshot, &image, force, in_use)?;
        }
        let used = |id: &ImageId| self.held().contains(id) || in_use(id).is_some();
        let doomed = chain_of(&snapshot, id, noprune, &used);
        let mut batch = Batch::default();
        for id in &doomed {
            for reference in snapshot.names_of(id) {
                removed.push(Removed::Untagged(reference.familiar()));
                batch.unname.push(reference);
            }
            removed.push(Removed::Deleted(*id));
            batch.delete.push(*id);
        }
        self.records().apply(&batch)?;
        self.write_index()?;
        drop(editing);
        self.collect()?;
        Ok(removed)
    }

    /// Children, builds and running containers keep an image; stopped ones unless forced.
    fn check_image(
        &self,
        snapshot: &Snapshot,
        image: &Image,
        force: bool,
        in_use: &Usage<'_>,
    ) -> Result<(), ImageError> {
        if snapshot.has_children(&image.id) {
            return Err(conflict(&image.id, Force::Useless, "image has dependent child images"));
        }
        if self.held().contains(&image.id) {
            return Err(conflict(&image.id, Force::Useless, "image is being used by a build"));
        }
        match in_use(&image.id) {
            Some(user) if user.running => {
                let reason = format!("image is being used by running container {}", user.container);
                Err(conflict(&image.id, Force::Useless, reason))
            }
            Some(user) if !force => {
                let reason = format!("image is being used by stopped container {}", user.container);
                Err(conflict(&image.id, Force::Needed, reason))
            }
            _ => Ok(()),
        }
    }

    /// Takes names from an image that stays. A repository that has no name for it any more takes
    /// its digest along.
    fn untag(&self, image: &Image, names: Vec<Reference>) -> Result<Vec<Removed>, ImageError> {
        debug_assert!(names.iter().all(|name| image.references.contains(name)));
        let removed = names.iter().map(|name| Removed::Untagged(name.familiar())).collect();
        let mut batch = Batch::default();
        if let Some(record) = self.records().snapshot()?.images.remove(&image.id) {
            let left = image.references.iter().filter(|name| !names.contains(name));
            let left: Vec<String> = left.map(Reference::repository).collect();
            let gone = |repository: &String| {
                !left.contains(repository) && names.iter().any(|it| it.repository() == *repository)
            };
            let mut record = record;
            record.digests.retain(|digest| !gone(&digest.repository()));
            batch.put.push((image.id, record));
        }
        batch.unname = names;
        self.records().apply(&batch)?;
        self.write_index()?;
        Ok(removed)
    }
}

/// Whether a conflict can be overruled.
#[derive(Clone, Copy)]
enum Force {
    Needed,
    Useless,
}

fn conflict(id: &ImageId, force: Force, reason: impl Into<String>) -> ImageError {
    let force = match force {
        Force::Needed => "must be forced",
        Force::Useless => "cannot be forced",
    };
    ImageError::ImageInUse { image: id.0.short(), force, reason: reason.into() }
}

/// A container keeps the last name of its image unless forced.
fn check_reference(
    image: &Image,
    reference: &Reference,
    force: bool,
    in_use: &Usage<'_>,
) -> Result<(), ImageError> {
    if force || image.references.len() > 1 {
        return Ok(());
    }
    match in_use(&image.id) {
        Some(user) => Err(ImageError::ReferenceInUse {
            name: reference.familiar(),
            container: user.container,
            image: image.id.0.short(),
        }),
        None => Ok(()),
    }
}

/// Number of repositories an image has names in.
fn repositories(image: &Image) -> usize {
    let mut names: Vec<String> = image.references.iter().map(Reference::repository).collect();
    names.sort();
    names.dedup();
    names.len()
}

/// The image and those above it in its ancestry that nobody needs any more.
fn chain_of(
    snapshot: &Snapshot,
    id: ImageId,
    noprune: bool,
    used: &dyn Fn(&ImageId) -> bool,
) -> Vec<ImageId> {
    let mut doomed = vec![id];
    let mut next = snapshot.images.get(&id).and_then(|record| record.parent).filter(|_| !noprune);
    while let Some(parent) = next {
        let Some(record) = snapshot.images.get(&parent) else { break };
        let other_child = snapshot
            .images
            .iter()
            .any(|(child, record)| record.parent == Some(parent) && !doomed.contains(child));
        if other_child || !snapshot.names_of(&parent).is_empty() || used(&parent) {
            break;
        }
        doomed.push(parent);
        next = record.parent;
    }
    doomed
}
