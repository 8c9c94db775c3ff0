//! `api/services/control/control.proto` and `api/types/worker.proto`: builds as a whole.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use prost::Message;

/// A moment (`google/protobuf/timestamp.proto`).
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Timestamp {
    /// Seconds since 1970.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds on top.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(since.subsec_nanos()).unwrap_or_default(),
        }
    }
}

/// A program in LLB (`solver/pb/ops.proto`): only whether there is one.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Definition {
    /// Its operations.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub operations: Vec<Vec<u8>>,
}

/// Where a result goes.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Exporter {
    /// Its kind, such as `moby`.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// Its settings.
    #[prost(btree_map = "string, string", tag = "2")]
    pub attributes: BTreeMap<String, String>,
}

/// A place for cached steps.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CacheOption {
    /// Its kind, such as `registry`.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// Its settings.
    #[prost(btree_map = "string, string", tag = "2")]
    pub attributes: BTreeMap<String, String>,
}

/// Places for cached steps.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CacheOptions {
    /// Where they are put.
    #[prost(message, repeated, tag = "4")]
    pub exports: Vec<CacheOption>,
    /// Where they are looked for.
    #[prost(message, repeated, tag = "5")]
    pub imports: Vec<CacheOption>,
}

/// `Control.Solve`: a build.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SolveRequest {
    /// The client's name for it, unique.
    #[prost(string, tag = "1")]
    pub reference: String,
    /// A program to run instead of a frontend.
    #[prost(message, optional, tag = "2")]
    pub definition: Option<Definition>,
    /// Where the result goes, from clients that know one exporter.
    #[prost(string, tag = "3")]
    pub exporter: String,
    /// Its settings.
    #[prost(btree_map = "string, string", tag = "4")]
    pub exporter_attributes: BTreeMap<String, String>,
    /// Session of the client.
    #[prost(string, tag = "5")]
    pub session: String,
    /// What makes a program; empty when the client drives that itself.
    #[prost(string, tag = "6")]
    pub frontend: String,
    /// Its settings.
    #[prost(btree_map = "string, string", tag = "7")]
    pub frontend_attributes: BTreeMap<String, String>,
    /// Where cached steps are.
    #[prost(message, optional, tag = "8")]
    pub cache: Option<CacheOptions>,
    /// What the client allows the build to do.
    #[prost(string, repeated, tag = "9")]
    pub entitlements: Vec<String>,
    /// Where the result goes.
    #[prost(message, repeated, tag = "13")]
    pub exporters: Vec<Exporter>,
}

/// Its answer.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SolveResponse {
    /// What the exporters tell of the result.
    #[prost(btree_map = "string, string", tag = "1")]
    pub exporter_response: BTreeMap<String, String>,
}

/// `Control.Status`: to follow a build.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct StatusRequest {
    /// The client's name for it.
    #[prost(string, tag = "1")]
    pub reference: String,
}

/// What happened since the last of these.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct StatusResponse {
    /// Steps that began, ended, or are new.
    #[prost(message, repeated, tag = "1")]
    pub vertexes: Vec<Vertex>,
    /// How far parts of steps are.
    #[prost(message, repeated, tag = "2")]
    pub statuses: Vec<VertexStatus>,
    /// What steps print.
    #[prost(message, repeated, tag = "3")]
    pub logs: Vec<VertexLog>,
    /// What is wrong and no error.
    #[prost(message, repeated, tag = "4")]
    pub warnings: Vec<VertexWarning>,
}

/// A step.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Vertex {
    /// Its name among programs: a digest.
    #[prost(string, tag = "1")]
    pub digest: String,
    /// Those that it needs.
    #[prost(string, repeated, tag = "2")]
    pub inputs: Vec<String>,
    /// Its name among people.
    #[prost(string, tag = "3")]
    pub name: String,
    /// Whether it was not run.
    #[prost(bool, tag = "4")]
    pub cached: bool,
    /// When it began.
    #[prost(message, optional, tag = "5")]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[prost(message, optional, tag = "6")]
    pub completed: Option<Timestamp>,
    /// Why it failed.
    #[prost(string, tag = "7")]
    pub error: String,
}

/// How far a part of a step is.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct VertexStatus {
    /// The part, as people read it.
    #[prost(string, tag = "1")]
    pub id: String,
    /// The step.
    #[prost(string, tag = "2")]
    pub vertex: String,
    /// More to read.
    #[prost(string, tag = "3")]
    pub name: String,
    /// Bytes done.
    #[prost(int64, tag = "4")]
    pub current: i64,
    /// Bytes in all, or none.
    #[prost(int64, tag = "5")]
    pub total: i64,
    /// Now.
    #[prost(message, optional, tag = "6")]
    pub timestamp: Option<Timestamp>,
    /// When it began.
    #[prost(message, optional, tag = "7")]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[prost(message, optional, tag = "8")]
    pub completed: Option<Timestamp>,
}

/// What a step printed.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct VertexLog {
    /// The step.
    #[prost(string, tag = "1")]
    pub vertex: String,
    /// When.
    #[prost(message, optional, tag = "2")]
    pub timestamp: Option<Timestamp>,
    /// 1 for standard output, 2 for standard error.
    #[prost(int64, tag = "3")]
    pub stream: i64,
    /// What.
    #[prost(bytes = "vec", tag = "4")]
    pub message: Vec<u8>,
}

/// Something wrong that is no error.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct VertexWarning {
    /// The step.
    #[prost(string, tag = "1")]
    pub vertex: String,
    /// How bad; 1 is the mildest.
    #[prost(int64, tag = "2")]
    pub level: i64,
    /// What, in a line.
    #[prost(bytes = "vec", tag = "3")]
    pub short: Vec<u8>,
    /// Why, in several.
    #[prost(bytes = "vec", repeated, tag = "4")]
    pub detail: Vec<Vec<u8>>,
    /// Where to read more.
    #[prost(string, tag = "5")]
    pub url: String,
}

/// What something can run on (`solver/pb/ops.proto`).
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Platform {
    /// Such as `amd64`.
    #[prost(string, tag = "1")]
    pub architecture: String,
    /// Such as `windows`.
    #[prost(string, tag = "2")]
    pub os: String,
}

/// Which BuildKit answers.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct BuildkitVersion {
    /// Its Go package.
    #[prost(string, tag = "1")]
    pub package: String,
    /// Its version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// Its commit.
    #[prost(string, tag = "3")]
    pub revision: String,
}

/// Who runs steps.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct WorkerRecord {
    /// Its name.
    #[prost(string, tag = "1")]
    pub id: String,
    /// What else is known of it.
    #[prost(btree_map = "string, string", tag = "2")]
    pub labels: BTreeMap<String, String>,
    /// What it runs.
    #[prost(message, repeated, tag = "3")]
    pub platforms: Vec<Platform>,
    /// Which BuildKit it is part of.
    #[prost(message, optional, tag = "5")]
    pub version: Option<BuildkitVersion>,
}

/// Answer of `Control.ListWorkers`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ListWorkersResponse {
    /// The workers.
    #[prost(message, repeated, tag = "1")]
    pub records: Vec<WorkerRecord>,
}

/// Answer of `Control.Info`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct InfoResponse {
    /// Which BuildKit answers.
    #[prost(message, optional, tag = "1")]
    pub version: Option<BuildkitVersion>,
}

/// `Control.DiskUsage`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DiskUsageRequest {
    /// Which records: any of these, in containerd's language.
    #[prost(string, repeated, tag = "1")]
    pub filters: Vec<String>,
}

/// Its answer.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DiskUsageResponse {
    /// The records.
    #[prost(message, repeated, tag = "1")]
    pub records: Vec<UsageRecord>,
}

/// `Control.Prune`; each record removed is one message of the answer.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PruneRequest {
    /// Which records: any of these, in containerd's language.
    #[prost(string, repeated, tag = "1")]
    pub filters: Vec<String>,
    /// Also those that are part of an image.
    #[prost(bool, tag = "2")]
    pub all: bool,
    /// Those used within so many nanoseconds stay.
    #[prost(int64, tag = "3")]
    pub keep_duration: i64,
    /// Those used last stay, up to so many bytes.
    #[prost(int64, tag = "4")]
    pub keep_bytes: i64,
    /// So many bytes may stay otherwise.
    #[prost(int64, tag = "5")]
    pub most_bytes: i64,
    /// So many bytes are to be free on the disk.
    #[prost(int64, tag = "6")]
    pub free_bytes: i64,
}

/// Something that stays from build to build.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct UsageRecord {
    /// Its name.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Whether it changes.
    #[prost(bool, tag = "2")]
    pub mutable: bool,
    /// Whether a build has it.
    #[prost(bool, tag = "3")]
    pub in_use: bool,
    /// Bytes.
    #[prost(int64, tag = "4")]
    pub size: i64,
    /// When it was made.
    #[prost(message, optional, tag = "6")]
    pub created: Option<Timestamp>,
    /// When a build had it last.
    #[prost(message, optional, tag = "7")]
    pub used: Option<Timestamp>,
    /// How many builds had it.
    #[prost(int64, tag = "8")]
    pub usage_count: i64,
    /// What it is, as people read it.
    #[prost(string, tag = "9")]
    pub description: String,
    /// What it is, as programs read it.
    #[prost(string, tag = "10")]
    pub kind: String,
    /// Whether an image has it too.
    #[prost(bool, tag = "11")]
    pub shared: bool,
}

/// `Control.ListenBuildHistory`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct BuildHistoryRequest {
    /// Only builds that run.
    #[prost(bool, tag = "1")]
    pub active_only: bool,
    /// Only this one.
    #[prost(string, tag = "2")]
    pub reference: String,
    /// Whether the answer ends with what is there now.
    #[prost(bool, tag = "3")]
    pub early_exit: bool,
}
