//! Images between registries and the image store.
//!
//! The two sides know nothing of each other: the client moves bytes asynchronously, the store
//! blocks. Here they meet, with what only both together can decide: which manifest of an index,
//! what is here already, which base is substituted, where a blob can be mounted from.

mod inspect;
mod layers;
mod pull;
mod push;
mod rebase;
mod single;

use oriel_hcs::Class;
use oriel_image::{Digest, ImageError, ImageStore};
use tokio::sync::mpsc;

use crate::{DistributionError, Registries};

pub use inspect::Inspected;
pub use pull::Pulled;
pub use push::Pushed;
pub use single::Described;

/// Moves images. Cheap to clone.
#[derive(Clone)]
pub struct Transfers {
    store: ImageStore,
    registries: Registries,
}

impl Transfers {
    /// Moves images between `store` and `registries`.
    #[must_use]
    pub fn new(store: ImageStore, registries: Registries) -> Self {
        Self { store, registries }
    }

    /// The registries.
    #[must_use]
    pub fn registries(&self) -> &Registries {
        &self.registries
    }
}

/// Bytes between two news of progress.
const NEWS: u64 = 512 << 10;

/// A step of a transfer, in the words of Docker's progress lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it is about: the first digits of a layer's digest, or a tag; empty for the whole.
    pub id: String,
    /// What happens, such as `Downloading`.
    pub status: String,
    /// Bytes done and bytes in all, where that is known.
    pub progress: Option<(u64, u64)>,
}

/// Where steps go. The receiver's end is how a transfer learns that nobody waits for it.
#[derive(Clone, Debug)]
pub struct Steps(mpsc::Sender<Step>);

impl Steps {
    /// Sends steps to `sender`.
    #[must_use]
    pub fn new(sender: mpsc::Sender<Step>) -> Self {
        Self(sender)
    }

    /// Waits until nobody listens any more.
    async fn closed(&self) {
        self.0.closed().await;
    }

    /// Says what happens to the whole.
    pub async fn say(&self, status: impl Into<String>) {
        self.send(String::new(), status.into(), None).await;
    }

    /// Says what happens to `id`.
    async fn about(&self, id: String, status: impl Into<String>) {
        self.send(id, status.into(), None).await;
    }

    /// Says what happens to the blob `digest`.
    async fn of(&self, digest: Digest, status: impl Into<String>) {
        self.send(digest.short(), status.into(), None).await;
    }

    /// Returns what says, from time to time, how far it is with the blob `digest`.
    fn meter(&self, digest: Digest, status: &'static str, total: u64) -> impl FnMut(u64) + use<> {
        let (sender, id) = (self.0.clone(), digest.short());
        let mut told = 0;
        move |current| {
            // An upload that begins again counts from 0 again.
            if current >= told && current - told < NEWS {
                return;
            }
            told = current;
            let progress = Some((current, total));
            let step = Step { id: id.clone(), status: status.to_owned(), progress };
            // Progress that nobody has time for is out of date when somebody has.
            let _ = sender.try_send(step);
        }
    }

    async fn send(&self, id: String, status: String, progress: Option<(u64, u64)>) {
        // Without a listener the transfer is cancelled elsewhere.
        let _ = self.0.send(Step { id, status, progress }).await;
    }
}

/// Why an image did not get from or to a registry.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The registry's side.
    #[error(transparent)]
    Registry(#[from] DistributionError),
    /// The store's side.
    #[error(transparent)]
    Store(#[from] ImageError),
    /// The image is for another system. The text is Docker's.
    #[error(
        "image operating system \"{os}\" cannot be used on this platform: operating system is \
         not supported"
    )]
    ForeignSystem {
        /// The image's system.
        os: String,
    },
    /// A manifest or configuration cannot be read.
    #[error("cannot read {what} of {image}")]
    Document {
        /// Which document.
        what: &'static str,
        /// The image.
        image: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A manifest and its configuration contradict each other.
    #[error("{image}: the manifest has {manifest} layers and the configuration {config}")]
    LayerCount {
        /// The image.
        image: String,
        /// Layers of the manifest.
        manifest: usize,
        /// Layers of the configuration.
        config: usize,
    },
    /// A base layer is neither here nor in the registry pushed to.
    #[error(
        "base layer {digest} is neither here nor in {registry}: copy {source_repository} there \
         first, or push where {source_repository} is"
    )]
    BaseElsewhere {
        /// The layer's blob.
        digest: Digest,
        /// The registry pushed to.
        registry: String,
        /// Where it is.
        source_repository: String,
    },
    /// Nobody waits for the result any more.
    #[error("the client has gone")]
    Cancelled,
    /// A part of the transfer panicked.
    #[error("a part of the transfer broke down")]
    Broken,
}

impl TransferError {
    /// Whose fault it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Registry(error) => error.class(),
            Self::Store(error) => error.class(),
            Self::ForeignSystem { .. } => Class::Unsupported,
            Self::Document { .. } | Self::LayerCount { .. } => Class::Corrupt,
            Self::BaseElsewhere { .. } => Class::Conflict,
            Self::Cancelled => Class::Cancelled,
            Self::Broken => Class::Bug,
        }
    }

    /// Whether other credentials may help.
    #[must_use]
    pub fn wants_login(&self) -> bool {
        matches!(self, Self::Registry(error) if error.wants_login())
    }
}

/// Runs what blocks on a thread for that.
async fn blocking<T: Send + 'static>(
    store: &ImageStore,
    work: impl FnOnce(&ImageStore) -> Result<T, ImageError> + Send + 'static,
) -> Result<T, TransferError> {
    let store = store.clone();
    let done = tokio::task::spawn_blocking(move || work(&store)).await;
    Ok(done.map_err(|_| TransferError::Broken)??)
}
