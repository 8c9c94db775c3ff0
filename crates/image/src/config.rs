//! The image configuration, as the OCI image specification and Docker define it.
//!
//! Fields this crate does not know are kept, so that a foreign image keeps its identity when only
//! something else changes.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// The document whose digest is the image's id.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// Processor architecture in Go's words, such as `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// Operating system: `windows`.
    #[serde(default)]
    pub os: String,
    /// Windows version in four parts, such as `10.0.20348.2113`.
    #[serde(rename = "os.version", default, skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// Features the image needs; the one defined is `win32k`.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// When the image was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// How a container of it runs.
    #[serde(default, deserialize_with = "null_as_default")]
    pub config: RunConfig,
    /// Its layers.
    #[serde(default)]
    pub rootfs: RootFs,
    /// How each layer came to be.
    #[serde(default, deserialize_with = "null_as_default")]
    pub history: Vec<History>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Most layers of an image; Docker's own bound (`MaxLayerDepth`).
pub const MAX_LAYERS: usize = 127;

impl ImageConfig {
    /// The system the image is for when that is not Windows, cut to what a message can show.
    #[must_use]
    pub fn foreign_system(&self) -> Option<String> {
        let os = if self.os.is_empty() { "linux" } else { &self.os };
        let foreign = !os.eq_ignore_ascii_case("windows");
        foreign.then(|| os.chars().take(32).collect())
    }
}

/// How a container of an image runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RunConfig {
    /// Account; empty is `ContainerAdministrator`.
    #[serde(default)]
    pub user: String,
    /// Ports the program listens on, such as `5432/tcp`.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_empty_map")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// Environment, each `NAME=value`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub env: Vec<String>,
    /// Default arguments.
    #[serde(default)]
    pub cmd: Option<Vec<String>>,
    /// Health check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Whether `cmd` and `entrypoint` are command lines already, not to be escaped again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
    /// Directories that hold data.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_empty_map")]
    pub volumes: BTreeMap<String, Empty>,
    /// Directory to start in.
    #[serde(default)]
    pub working_dir: String,
    /// Program.
    #[serde(default)]
    pub entrypoint: Option<Vec<String>>,
    /// Triggers for images built on this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_build: Option<Vec<String>>,
    /// Labels.
    #[serde(default, deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
    /// Signal that stops it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// Shell for the shell form of commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// An empty JSON object, which Docker uses for the members of a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// Health check; durations are in nanoseconds, 0 is the default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", command]`.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Time between checks.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Time after which a check has failed.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Time the container has to start.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Time between checks while it starts.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub retries: i64,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The layers of an image, base first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Digest of each layer's uncompressed tar.
    #[serde(default, deserialize_with = "null_as_default")]
    pub diff_ids: Vec<crate::DiffId>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

/// One step of an image's making.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The command.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// Who.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Whether the step made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Reads `null` as the default value: Go writes it for empty lists and maps.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn is_empty_map(map: &BTreeMap<String, Empty>) -> bool {
    map.is_empty()
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::Healthcheck;

    /// docker-py sends what was not given.
    #[test]
    fn null_in_a_health_check_is_the_default() {
        let text = r#"{"Test":null,"Interval":5,"Timeout":null,"StartPeriod":null,"Retries":null}"#;
        let check: Healthcheck = serde_json::from_str(text).unwrap();
        assert_eq!(check, Healthcheck { interval: 5, ..Healthcheck::default() });
    }
}
