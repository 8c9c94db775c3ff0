//! `docker save`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};

use serde::Serialize;

use crate::content::{BUFFER, CONFIG, Descriptor, Index, LAYER, LAYOUT, MANIFEST, Manifest};
use crate::decompress::decompressed;
use crate::error::Attempt;
use crate::store::{annotations, find};
use crate::{Digest, Image, ImageError, ImageStore, Layer, Reference};

/// Size of a tar block.
const BLOCK: u64 = 512;

/// One image of `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    /// `null` for an image saved by its id.
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
    /// Layers that are not in the archive, by diff id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    layer_sources: BTreeMap<String, Descriptor>,
}

impl ImageStore {
    /// Writes the images `names` as `docker save` does: an OCI layout with Docker's manifest.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`] before the first byte, [`ImageError::Io`].
    pub fn save(&self, names: &[String], output: &mut dyn Write) -> Result<(), ImageError> {
        let _recording = self.recording();
        let chosen = self.chosen(names)?;
        let mut archive = Output { output, written: BTreeSet::new(), buffer: vec![0; BUFFER] };
        let mut manifests = Vec::new();
        let mut docker = Vec::new();
        let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for (image, references) in &chosen {
            // What is stood in for was never here: it is saved by reference, as foreign layers are.
            let stated = image.substitution.iter().flat_map(|it| &it.stated);
            let mut layers: Vec<_> = stated.clone().map(|it| it.descriptor.clone()).collect();
            let own = image.substitution.as_ref().map_or(0, |it| it.base_layers);
            for layer in image.layers.iter().skip(own) {
                layers.push(self.save_layer(&mut archive, layer)?);
            }
            let config = self.content().get(image.id.0)?;
            archive.blob(image.id.0, &config)?;
            docker.push(DockerImage {
                config: blob_name(image.id.0),
                repo_tags: (!references.is_empty())
                    .then(|| references.iter().map(Reference::familiar).collect()),
                layers: image.config.rootfs.diff_ids.iter().map(|id| blob_name(id.0)).collect(),
                layer_sources: stated
                    .map(|it| (it.diff_id.to_string(), it.descriptor.clone()))
                    .collect(),
            });
            let manifest = Manifest {
                schema_version: 2,
                media_type: MANIFEST.into(),
                config: Descriptor::new(CONFIG, image.id.0, config.len() as u64),
                layers,
            };
            let manifest = json(&manifest, "a manifest")?;
            let digest = Digest::of(&manifest);
            archive.blob(digest, &manifest)?;
            let entry = Descriptor::new(MANIFEST, digest, manifest.len() as u64);
            if references.is_empty() {
                manifests.push(entry.clone());
            }
            for name in references {
                manifests.push(Descriptor { annotations: annotations(name), ..entry.clone() });
                let top = image.layers.last().map(|layer| layer.diff_id.0.hex());
                let tag = name.tag().unwrap_or_default().to_owned();
                let tags = repositories.entry(name.familiar_repository()).or_default();
                tags.insert(tag, top.unwrap_or_default());
            }
        }
        let index = Index {
            schema_version: 2,
            media_type: "application/vnd.oci.image.index.v1+json".into(),
            manifests,
        };
        archive.file("index.json", &json(&index, "index.json")?)?;
        archive.file("manifest.json", &json(&docker, "manifest.json")?)?;
        archive.file("oci-layout", LAYOUT.as_bytes())?;
        archive.file("repositories", &json(&repositories, "repositories")?)?;
        archive.finish()
    }

    /// The images that `names` mean, each with the names it is saved under. A repository without
    /// a tag means all its tags.
    fn chosen(&self, names: &[String]) -> Result<Vec<(Image, Vec<Reference>)>, ImageError> {
        let snapshot = self.records().snapshot()?;
        let mut chosen: BTreeMap<_, BTreeSet<Reference>> = BTreeMap::new();
        for name in names {
            let whole_repository = Reference::parse(name)
                .ok()
                .filter(|reference| reference.tag().is_none() && reference.digest().is_none());
            let mut any = false;
            for (reference, id) in &snapshot.references {
                if whole_repository
                    .as_ref()
                    .is_some_and(|wanted| wanted.repository() == reference.repository())
                {
                    chosen.entry(*id).or_default().insert(reference.clone());
                    any = true;
                }
            }
            if !any {
                let (id, reference) = find(&snapshot, name)?;
                chosen.entry(id).or_default().extend(reference);
            }
        }
        chosen
            .into_iter()
            .map(|(id, names)| Ok((self.image(&snapshot, id)?, names.into_iter().collect())))
            .collect()
    }

    /// Writes a layer as an uncompressed blob and describes it.
    fn save_layer(
        &self,
        archive: &mut Output<'_>,
        layer: &Layer,
    ) -> Result<Descriptor, ImageError> {
        let size = match layer.tar_size {
            _ if layer.blob == layer.diff_id.0 => layer.compressed_size,
            Some(size) => size,
            // A tar header states the length, which the blob does not tell: read it twice.
            None => io::copy(&mut open_plain(self, layer.blob)?, &mut io::sink())
                .attempt(|| format!("read layer {}", layer.diff_id))?,
        };
        if archive.written.insert(layer.diff_id.0) {
            let plain = open_plain(self, layer.blob)?;
            archive.member(&blob_name(layer.diff_id.0), size, plain)?;
        }
        Ok(Descriptor::new(LAYER, layer.diff_id.0, size))
    }
}

/// Opens a layer blob, decompressed.
pub(crate) fn open_plain(
    store: &ImageStore,
    digest: Digest,
) -> Result<Box<dyn Read + Send>, ImageError> {
    decompressed(store.content().read(digest)?)
}

fn blob_name(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn json(value: &impl Serialize, what: &str) -> Result<Vec<u8>, ImageError> {
    serde_json::to_vec(value).attempt(|| format!("write {what}"))
}

/// The tar being written.
struct Output<'a> {
    output: &'a mut dyn Write,
    /// Blobs that are in it already.
    written: BTreeSet<Digest>,
    buffer: Vec<u8>,
}

impl Output<'_> {
    fn blob(&mut self, digest: Digest, bytes: &[u8]) -> Result<(), ImageError> {
        if self.written.insert(digest) {
            self.file(&blob_name(digest), bytes)?;
        }
        Ok(())
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), ImageError> {
        self.member(name, bytes.len() as u64, bytes)
    }

    fn member(&mut self, name: &str, size: u64, data: impl Read) -> Result<(), ImageError> {
        let attempt = || format!("write `{name}` of the archive");
        let mut header = tar::Header::new_ustar();
        header.set_path(name).attempt(attempt)?;
        header.set_mode(0o644);
        header.set_size(size);
        header.set_cksum();
        self.output.write_all(header.as_bytes()).attempt(attempt)?;
        self.data(data, size).attempt(attempt)?;
        let padding = usize::try_from(size.next_multiple_of(BLOCK) - size).unwrap_or(0);
        self.output.write_all(&vec![0; padding]).attempt(attempt)
    }

    /// Copies the `size` bytes of a member.
    fn data(&mut self, data: impl Read, size: u64) -> io::Result<()> {
        let mut data = data.take(size);
        let mut copied = 0;
        while copied < size {
            let count = data.read(&mut self.buffer)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.output.write_all(&self.buffer[..count])?;
            copied += count as u64;
        }
        Ok(())
    }

    fn finish(self) -> Result<(), ImageError> {
        let attempt = || "write the end of the archive".to_owned();
        self.output.write_all(&[0; 2 * 512]).attempt(attempt)?;
        self.output.flush().attempt(attempt)
    }
}
