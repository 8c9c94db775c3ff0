//! Fetching the layers of an image: side by side from the network, in order onto the disk.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use oriel_image::{
    Descriptor, DiffId, Download, Follower, ImageError, ImageStore, IncomingLayer, Layer,
};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Steps, TransferError, blocking};
use crate::{Blob, Repository};

/// Pieces of a blob between the network and the disk; each is some kilobytes.
const PIECES: usize = 64;

/// Where a layer's blob is read from while it comes.
enum Source {
    Coming(Follower),
    Here(std::fs::File),
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Coming(follower) => follower.read(buffer),
            Self::Here(file) => file.read(buffer),
        }
    }
}

/// The layers of one pull.
pub(super) struct Layers<'a> {
    pub(super) store: &'a ImageStore,
    pub(super) repository: &'a Repository,
    pub(super) steps: &'a Steps,
    /// How many are downloaded at once.
    pub(super) at_once: usize,
}

/// A layer that is to be extracted, and where its blob will come from.
struct Expected {
    diff_id: DiffId,
    descriptor: Descriptor,
    source: oneshot::Receiver<Source>,
}

impl Layers<'_> {
    /// Fetches the layers `own` on top of `base` and returns all.
    pub(super) async fn fetch(
        &self,
        base: Vec<Layer>,
        own: Vec<(DiffId, Descriptor)>,
    ) -> Result<Vec<Layer>, TransferError> {
        let (mut layers, missing) = self.known(base, own).await?;
        let stop = CancellationToken::new();
        let _stop_at_end = stop.clone().drop_guard();
        let slots = Arc::new(Semaphore::new(self.at_once));
        let mut downloads = JoinSet::new();
        let mut expected = Vec::new();
        for (diff_id, descriptor) in missing {
            self.steps.of(descriptor.digest, "Pulling fs layer").await;
            let (sender, source) = oneshot::channel();
            let fetch = Fetch {
                store: self.store.clone(),
                repository: self.repository.clone(),
                steps: self.steps.clone(),
                descriptor: descriptor.clone(),
                stop: stop.clone(),
            };
            downloads.spawn(fetch.run(slots.clone(), sender));
            expected.push(Expected { diff_id, descriptor, source });
        }
        let extracted = self.extract(&mut layers, expected).await;
        if extracted.is_err() {
            stop.cancel();
        }
        // A download that failed is why its extraction did.
        let mut first = Ok(());
        while let Some(ended) = downloads.join_next().await {
            match ended.map_err(|_| TransferError::Broken).and_then(|result| result) {
                Err(error) if matches!(first, Ok(()) | Err(TransferError::Cancelled)) => {
                    first = Err(error);
                }
                _ => {}
            }
        }
        match (first, extracted) {
            (Err(TransferError::Cancelled), Err(error)) | (Ok(()), Err(error)) => Err(error),
            (Err(error), _) => Err(error),
            (Ok(()), Ok(())) => Ok(layers),
        }
    }

    /// Splits `own` into those that are here, added to `layers`, and the rest.
    async fn known(
        &self,
        mut layers: Vec<Layer>,
        own: Vec<(DiffId, Descriptor)>,
    ) -> Result<(Vec<Layer>, Vec<(DiffId, Descriptor)>), TransferError> {
        let mut missing = own.into_iter().peekable();
        while let Some((diff_id, descriptor)) = missing.peek() {
            let (parents, diff_id) = (layers.clone(), *diff_id);
            let known =
                blocking(self.store, move |store| store.known_layer(&parents, diff_id)).await?;
            let Some(layer) = known else { break };
            self.steps.of(descriptor.digest, "Already exists").await;
            layers.push(layer);
            missing.next();
        }
        Ok((layers, missing.collect()))
    }

    /// Extracts the layers in order, each as it comes.
    async fn extract(
        &self,
        layers: &mut Vec<Layer>,
        expected: Vec<Expected>,
    ) -> Result<(), TransferError> {
        for Expected { diff_id, descriptor, source } in expected {
            // The sender vanishes when the download fails before its first byte.
            let source = source.await.map_err(|_| TransferError::Cancelled)?;
            let (parents, steps) = (layers.clone(), self.steps.clone());
            let digest = descriptor.digest;
            let layer = blocking(self.store, move |store| {
                let incoming = IncomingLayer {
                    blob: digest,
                    size: descriptor.size,
                    media_type: &descriptor.media_type,
                    diff_id,
                };
                let mut progress = steps.meter(digest, "Extracting", descriptor.size);
                store.take_in_layer(&parents, &incoming, source, &mut progress)
            })
            .await?;
            self.steps.of(digest, "Pull complete").await;
            layers.push(layer);
        }
        Ok(())
    }
}

/// One download.
struct Fetch {
    store: ImageStore,
    repository: Repository,
    steps: Steps,
    descriptor: Descriptor,
    stop: CancellationToken,
}

impl Fetch {
    async fn run(
        self,
        slots: Arc<Semaphore>,
        source: oneshot::Sender<Source>,
    ) -> Result<(), TransferError> {
        let stop = self.stop.clone();
        tokio::select! {
            done = self.download(slots, source) => done,
            () = stop.cancelled() => Err(TransferError::Cancelled),
        }
    }

    async fn download(
        self,
        slots: Arc<Semaphore>,
        source: oneshot::Sender<Source>,
    ) -> Result<(), TransferError> {
        let Descriptor { digest, size, .. } = self.descriptor;
        if slots.available_permits() == 0 {
            self.steps.of(digest, "Waiting").await;
        }
        let _slot = slots.acquire().await.map_err(|_| TransferError::Broken)?;
        let begun = blocking(&self.store, move |store| store.download(digest, size)).await?;
        let Some(download) = begun else {
            let file = blocking(&self.store, move |store| store.open_blob(digest)).await?;
            self.steps.of(digest, "Download complete").await;
            let _ = source.send(Source::Here(file));
            return Ok(());
        };
        // Without a receiver the extraction has failed, which ends this soon.
        let _ = source.send(Source::Coming(download.follow()));
        let mut stream = self.repository.blob(blob(&self.descriptor), download.offset());
        let (pieces, taken) = mpsc::channel::<Bytes>(PIECES);
        let writer = tokio::task::spawn_blocking(move || write(download, taken));
        let mut progress = self.steps.meter(digest, "Downloading", size);
        while let Some(piece) = stream.chunk().await? {
            if pieces.send(piece).await.is_err() {
                // The writer has failed and says why.
                break;
            }
            progress(stream.position());
        }
        drop(pieces);
        self.steps.of(digest, "Verifying Checksum").await;
        writer.await.map_err(|_| TransferError::Broken)??;
        self.steps.of(digest, "Download complete").await;
        Ok(())
    }
}

/// Writes what comes, then checks it. A stream that ended early is found by its length.
fn write(mut download: Download, mut pieces: mpsc::Receiver<Bytes>) -> Result<(), ImageError> {
    while let Some(piece) = pieces.blocking_recv() {
        download.write(&piece)?;
    }
    download.finish()
}

/// A blob as the client wants it described.
pub(super) fn blob(descriptor: &Descriptor) -> Blob {
    Blob { digest: descriptor.digest, size: descriptor.size, urls: descriptor.urls.clone() }
}
