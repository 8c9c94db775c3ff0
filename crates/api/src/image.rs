//! Bodies about images.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Element of `GET /images/json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Summary {
    /// Id.
    pub id: String,
    /// Id of the image it was built on, or empty.
    pub parent_id: String,
    /// Names with tag; never `null`.
    pub repo_tags: Vec<String>,
    /// Names with digest; never `null`.
    pub repo_digests: Vec<String>,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// Bytes of all its layers.
    pub size: u64,
    /// Bytes shared with other images; -1 when not asked for.
    pub shared_size: i64,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// Number of containers; -1 when not counted.
    pub containers: i64,
}

/// Element of `GET /images/{name}/history`, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HistoryItem {
    /// Id of the image as it was then, or `<missing>`.
    pub id: String,
    /// When, in seconds since 1970.
    pub created: i64,
    /// Instruction.
    pub created_by: String,
    /// Names of the image as it was then.
    pub tags: Option<Vec<String>>,
    /// Bytes of the layer.
    pub size: u64,
    /// Comment.
    pub comment: String,
}

/// Element of the answer to `DELETE /images/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deleted {
    /// A name was taken off.
    Untagged(String),
    /// An image is gone.
    Deleted(String),
}
