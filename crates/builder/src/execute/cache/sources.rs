//! Steps that were made elsewhere: what `--cache-from` names.
//!
//! The history of an image is compared with the steps of the build as moby does (`image/cache`):
//! the image below has to be the beginning of it, in texts and in layers, and the next step has to
//! have the text of this one. Only then is the one layer of that step taken, and the image made
//! that the step made there, with the same id.

use std::sync::Arc;

use oriel_image::{
    Descriptor, History, Image, ImageConfig, ImageId, ImageStore, Layer, Reference, rfc3339,
};
use tokio::sync::{Mutex, OnceCell};

use super::{Execution, Record};
use crate::{BuildError, DescribedImage, HostError, StepId, state::State};

/// The images that may hold steps of a build.
#[derive(Default)]
pub(in crate::execute) struct Sources {
    found: OnceCell<Vec<Source>>,
    /// Held while a layer is taken, so that each is taken once.
    taking: Mutex<()>,
}

/// An image that may hold steps of a build.
struct Source {
    name: Reference,
    config: ImageConfig,
    layers: Layers,
}

/// Where its layers are.
enum Layers {
    /// In the store, base first.
    Here(Vec<Layer>),
    /// In its registry, as many as its configuration states.
    There(Vec<Descriptor>),
}

impl Source {
    /// The step after those of `below`, if the history begins with those.
    fn step_after(&self, below: &ImageConfig) -> Option<&History> {
        let (history, next) = self.config.history.split_at_checked(below.history.len())?;
        let same = |(a, b): (&History, &History)| {
            (&a.created_by, a.empty_layer) == (&b.created_by, b.empty_layer)
        };
        let fits = history.iter().zip(&below.history).all(same)
            && self.config.rootfs.diff_ids.starts_with(&below.rootfs.diff_ids);
        next.first().filter(|_| fits)
    }
}

impl Execution<'_> {
    /// Looks for the step in the histories of other images; makes its image of what is there.
    pub(super) async fn made_elsewhere(
        &self,
        state: &State,
        record: &Record,
        step: StepId,
    ) -> Result<Option<ImageId>, BuildError> {
        if self.request.cache_from.is_empty() {
            return Ok(None);
        }
        let sources = self.sources.found.get_or_try_init(|| self.look_at_all()).await?;
        let parent = state.image;
        let below = self.blocking(move |images| Ok(images.image_by_id(&parent)?)).await?;
        let created = self.epoch.map(rfc3339);
        for source in sources {
            let same = |made: &&History| {
                made.created_by == record.created_by
                    && made.author == state.author
                    && (created.is_none() || made.created == created)
            };
            let Some(made) = source.step_after(&below.config).filter(same) else { continue };
            let _taking = self.sources.taking.lock().await;
            let lease = self.site.images.lease();
            let layer = match made.empty_layer {
                true => None,
                false => self.layer_of(source, &below, step).await?,
            };
            let lacking = layer.is_none() && !made.empty_layer;
            let (made, run, footing) =
                (made.clone(), state.config.clone(), Arc::clone(&self.footing));
            let adopt = move |images: &ImageStore| {
                // It ends here, for the last one to end removes files.
                let _lease = lease;
                if lacking {
                    return Ok(None);
                }
                let image = images.adopt(&parent, made, layer, &run)?;
                Ok(footing.add(&image)?.then_some(image))
            };
            let image = self.blocking(adopt).await?;
            if image.is_some() {
                return Ok(image);
            }
        }
        Ok(None)
    }

    /// Looks at all images that are named; one that cannot be had is told of and left out.
    async fn look_at_all(&self) -> Result<Vec<Source>, BuildError> {
        let mut sources = Vec::new();
        for name in &self.request.cache_from {
            match self.look_at(name).await {
                Ok(source) => sources.push(source),
                Err(BuildError::Cancelled) => return Err(BuildError::Cancelled),
                Err(error) => {
                    let text = format!("[Warning] --cache-from {name} is left out: {error}");
                    self.report.warn(text).await?;
                }
            }
        }
        Ok(sources)
    }

    /// Looks at an image here, else in its registry.
    async fn look_at(&self, name: &str) -> Result<Source, BuildError> {
        let reference = Reference::parse(name)?.or_latest();
        if let Some(image) = self.resolve(name).await? {
            self.hold(image.id).await?;
            let layers = Layers::Here(image.layers);
            return Ok(Source { name: reference, config: image.config, layers });
        }
        let described = tokio::select! {
            described = self.site.bases.describe(&reference) => described,
            () = self.report.closed() => return Err(BuildError::Cancelled),
        };
        let DescribedImage { config, layers } = described.map_err(no_base)?;
        Ok(Source { name: reference, config, layers: Layers::There(layers) })
    }

    /// Takes the layer of the step after those of `below`; one that cannot be had is told of.
    async fn layer_of(
        &self,
        source: &Source,
        below: &Image,
        step: StepId,
    ) -> Result<Option<Layer>, BuildError> {
        let at = below.config.rootfs.diff_ids.len();
        let descriptors = match &source.layers {
            Layers::Here(layers) => {
                // What stands in for a base may be another one.
                let same = |(a, b): (&Layer, &Layer)| a.chain_id == b.chain_id;
                let fits = layers.iter().zip(&below.layers).all(same);
                return Ok(layers.get(below.layers.len()).filter(|_| fits).cloned());
            }
            Layers::There(descriptors) => descriptors,
        };
        let stated = source.config.rootfs.diff_ids.get(at).zip(descriptors.get(at));
        let Some((diff_id, descriptor)) = stated else { return Ok(None) };
        let (layer, onto) = ((*diff_id, descriptor.clone()), below.layers.clone());
        let taken = self
            .telling(step, |lines| self.site.bases.take_layer(&source.name, layer, onto, lines));
        match taken.await? {
            Ok(layer) => Ok(Some(layer)),
            Err(HostError { message, .. }) => {
                let name = source.name.familiar();
                let text = format!("[Warning] --cache-from {name} has no layer: {message}");
                self.report.warn(text).await?;
                Ok(None)
            }
        }
    }
}

fn no_base(HostError { class, message }: HostError) -> BuildError {
    BuildError::NoBase { class, message }
}
