//! Records: which images there are, of what layers, under which names.
//!
//! Tables in the data root's database, from text to JSON or text:
//!
//! ```text
//! image.images      64 digits of the image id -> ImageRecord
//! image.references  docker.io/library/x:latest -> 64 digits of the image id
//! image.steps       parent/step/image, 64 digits each -> nothing
//! ```
//!
//! The last is an index of the first: which images a step has made of a parent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::error::Attempt;
use crate::{Digest, ImageError, ImageId, Layer, Reference, Substitution};

const IMAGES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("image.images");
const REFERENCES: TableDefinition<'_, &str, &str> = TableDefinition::new("image.references");
const STEPS: TableDefinition<'_, &str, ()> = TableDefinition::new("image.steps");

/// What is recorded of an image beside its configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    pub(crate) manifest: Digest,
    #[serde(default = "oci_manifest")]
    pub(crate) manifest_type: String,
    pub(crate) parent: Option<ImageId>,
    pub(crate) layers: Vec<Layer>,
    #[serde(default)]
    pub(crate) substitution: Option<Substitution>,
    /// Each with a digest.
    #[serde(default, with = "names")]
    pub(crate) digests: Vec<Reference>,
    /// Seconds after 1970.
    pub(crate) last_tagged: Option<u64>,
    /// Digest of the text of the last step in its history, when it has a parent; records of older
    /// versions get it when the store is opened.
    #[serde(default)]
    pub(crate) step: Option<Digest>,
}

impl ImageRecord {
    /// Its key in the index of steps.
    fn step_key(&self, id: &ImageId) -> Option<String> {
        let (parent, step) = (self.parent?, self.step?);
        Some(format!("{}/{}/{}", parent.0.hex(), step.hex(), id.0.hex()))
    }
}

/// What all manifests were before any came from a registry.
fn oci_manifest() -> String {
    crate::content::MANIFEST.to_owned()
}

/// References in records: as text.
mod names {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::Reference;

    pub(super) fn serialize<S: Serializer>(
        names: &[Reference],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(names.iter().map(ToString::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Reference>, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        names.iter().map(|name| Reference::parse(name).map_err(de::Error::custom)).collect()
    }
}

/// All records at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) images: BTreeMap<ImageId, ImageRecord>,
    pub(crate) references: BTreeMap<Reference, ImageId>,
}

impl Snapshot {
    /// The names of an image, sorted.
    pub(crate) fn names_of(&self, id: &ImageId) -> Vec<Reference> {
        self.references
            .iter()
            .filter(|(_, image)| *image == id)
            .map(|(reference, _)| reference.clone())
            .collect()
    }

    /// Whether another image was built on this one.
    pub(crate) fn has_children(&self, id: &ImageId) -> bool {
        self.images.values().any(|image| image.parent.as_ref() == Some(id))
    }
}

/// The tables.
pub(crate) struct Records {
    database: Arc<Database>,
    /// Held from reading records until writing what was made of them.
    editing: Mutex<()>,
}

/// Changes to be made together.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) put: Vec<(ImageId, ImageRecord)>,
    pub(crate) delete: Vec<ImageId>,
    pub(crate) name: Vec<(Reference, ImageId)>,
    pub(crate) unname: Vec<Reference>,
}

impl Records {
    /// Opens the tables, making them where missing.
    pub(crate) fn open(database: Arc<Database>) -> Result<Self, ImageError> {
        let records = Self { database, editing: Mutex::new(()) };
        records.apply(&Batch::default())?;
        Ok(records)
    }

    /// Keeps others from changing records between a snapshot and what is made of it.
    pub(crate) fn edit(&self) -> MutexGuard<'_, ()> {
        // Nothing is guarded but time, so a panic elsewhere spoils nothing.
        self.editing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads everything.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, ImageError> {
        let attempt = "read the image records";
        let transaction = database(self.database.begin_read(), attempt)?;
        let mut snapshot = Snapshot::default();
        let images = database(transaction.open_table(IMAGES), attempt)?;
        for row in database(images.iter(), attempt)? {
            let (id, record) = database(row, attempt)?;
            snapshot.images.insert(image_id(id.value())?, parse(id.value(), record.value())?);
        }
        let references = database(transaction.open_table(REFERENCES), attempt)?;
        for row in database(references.iter(), attempt)? {
            let (name, id) = database(row, attempt)?;
            let id = image_id(id.value())?;
            if snapshot.images.contains_key(&id) {
                snapshot.references.insert(Reference::parse(name.value())?, id);
            }
        }
        Ok(snapshot)
    }

    /// Reads what is recorded of one image, and its names, sorted.
    pub(crate) fn one(
        &self,
        id: &ImageId,
    ) -> Result<Option<(ImageRecord, Vec<Reference>)>, ImageError> {
        let attempt = "read an image record";
        let transaction = database(self.database.begin_read(), attempt)?;
        let images = database(transaction.open_table(IMAGES), attempt)?;
        let hex = id.0.hex();
        let Some(row) = database(images.get(hex.as_str()), attempt)? else { return Ok(None) };
        let record = parse(&hex, row.value())?;
        let references = database(transaction.open_table(REFERENCES), attempt)?;
        let mut names = Vec::new();
        for row in database(references.iter(), attempt)? {
            let (name, of) = database(row, attempt)?;
            if of.value() == hex {
                names.push(Reference::parse(name.value())?);
            }
        }
        names.sort();
        Ok(Some((record, names)))
    }

    /// The images that the step of this digest has made of `parent`.
    pub(crate) fn made_by(
        &self,
        parent: &ImageId,
        step: Digest,
    ) -> Result<Vec<ImageId>, ImageError> {
        let attempt = "look a step up";
        let transaction = database(self.database.begin_read(), attempt)?;
        let steps = database(transaction.open_table(STEPS), attempt)?;
        let prefix = format!("{}/{}/", parent.0.hex(), step.hex());
        // `g` comes after all hexadecimal digits.
        let last = format!("{prefix}g");
        let rows = database(steps.range(prefix.as_str()..last.as_str()), attempt)?;
        rows.map(|row| image_id(&database(row, attempt)?.0.value()[prefix.len()..])).collect()
    }

    /// Makes all changes or none.
    pub(crate) fn apply(&self, batch: &Batch) -> Result<(), ImageError> {
        let attempt = "write the image records";
        let transaction = database(self.database.begin_write(), attempt)?;
        {
            let mut images = database(transaction.open_table(IMAGES), attempt)?;
            let mut steps = database(transaction.open_table(STEPS), attempt)?;
            let mut forget = |id: &ImageId, old: Option<Vec<u8>>| -> Result<(), ImageError> {
                let Some(old) = old else { return Ok(()) };
                match parse(&id.0.hex(), &old)?.step_key(id) {
                    Some(key) => database(steps.remove(key.as_str()), attempt).map(drop),
                    None => Ok(()),
                }
            };
            for (id, record) in &batch.put {
                let bytes = serde_json::to_vec(record)
                    .attempt(|| format!("write the record of image {id}"))?;
                let hex = id.0.hex();
                let old = database(images.insert(hex.as_str(), bytes.as_slice()), attempt)?;
                forget(id, old.map(|old| old.value().to_vec()))?;
            }
            for id in &batch.delete {
                let old = database(images.remove(id.0.hex().as_str()), attempt)?;
                forget(id, old.map(|old| old.value().to_vec()))?;
            }
            let keys = batch.put.iter().filter_map(|(id, record)| record.step_key(id));
            for key in keys {
                database(steps.insert(key.as_str(), ()), attempt)?;
            }
            let mut references = database(transaction.open_table(REFERENCES), attempt)?;
            for reference in &batch.unname {
                database(references.remove(reference.to_string().as_str()), attempt)?;
            }
            for (reference, id) in &batch.name {
                let (name, id) = (reference.to_string(), id.0.hex());
                database(references.insert(name.as_str(), id.as_str()), attempt)?;
            }
        }
        database(transaction.commit(), attempt)
    }
}

fn parse(id: &str, record: &[u8]) -> Result<ImageRecord, ImageError> {
    serde_json::from_slice(record).attempt(|| format!("read the record of image {id}"))
}

fn image_id(hex: &str) -> Result<ImageId, ImageError> {
    Digest::from_hex(hex).map(ImageId).ok_or_else(|| ImageError::Damaged {
        what: "an image record".into(),
        problem: "its key is no digest".into(),
    })
}

/// Names what was attempted on the database.
fn database<T, E: Into<redb::Error>>(
    result: Result<T, E>,
    attempt: &'static str,
) -> Result<T, ImageError> {
    result.map_err(|error| ImageError::Database { attempt, source: Box::new(error.into()) })
}
