//! Bodies about the daemon, Docker's and Oriel's own.

use serde::{Deserialize, Serialize};

/// Body of `GET /version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Version {
    /// Product.
    pub platform: Platform,
    /// Its parts.
    pub components: Vec<Component>,
    /// Version.
    pub version: String,
    /// Newest API version.
    pub api_version: String,
    /// Oldest API version.
    #[serde(rename = "MinAPIVersion")]
    pub min_api_version: String,
    /// Commit it was built from.
    pub git_commit: String,
    /// Clients expect it; empty.
    pub go_version: String,
    /// `windows`.
    pub os: String,
    /// Architecture.
    pub arch: String,
    /// Version of the Windows it presents.
    pub kernel_version: String,
    /// Time of the build.
    pub build_time: String,
}

/// Product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Platform {
    /// Name.
    pub name: String,
}

/// Part of the product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Component {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// More about it.
    pub details: std::collections::BTreeMap<String, String>,
}

/// Element of `GET /oriel/system/check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// The verdict.
    pub level: CheckLevel,
    /// What was found.
    pub finding: String,
    /// What to do about it; empty when all is well.
    pub remedy: String,
}

/// Verdict of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckLevel {
    /// All is well.
    Ok,
    /// It works, with something missing.
    Warning,
    /// Containers cannot run.
    Failing,
}

/// Body of `GET /oriel/base`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Base {
    /// The NT personality, or `null` before `oriel base build`.
    pub personality: Option<Personality>,
    /// The base images that exist.
    pub images: Vec<BaseImage>,
}

/// Last `aux` of `POST /oriel/base/build`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BaseBuilt {
    /// The NT personality.
    pub personality: Personality,
    /// Bytes of the personality's files.
    pub personality_bytes: u64,
    /// Whether all of it was there already.
    pub reused: bool,
    /// The base images.
    pub images: Vec<BuiltImage>,
}

/// A base image that was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BuiltImage {
    /// Name, such as `nanoserver`.
    pub name: String,
    /// Id.
    pub id: String,
    /// Bytes of its layer as a tar.
    pub tar_bytes: u64,
    /// Bytes of its layer as it travels, compressed by gzip.
    pub gzip_bytes: u64,
}

/// The NT personality.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Personality {
    /// Id.
    pub id: String,
    /// Version of Wine.
    pub wine_version: String,
}

/// A base image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BaseImage {
    /// Name, such as `nanoserver`.
    pub name: String,
    /// Id.
    pub id: String,
    /// Bytes of its layer.
    pub size: u64,
}
