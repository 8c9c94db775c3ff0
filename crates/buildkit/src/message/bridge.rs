//! `frontend/gateway/pb/gateway.proto`: builds that the client drives itself.

use std::collections::BTreeMap;

use prost::Message;

use super::control::{CacheOption, Definition, WorkerRecord};

/// `LLBBridge.Solve`: a step of such a build, which here is always all of it.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct BridgeSolveRequest {
    /// A program to run instead of a frontend.
    #[prost(message, optional, tag = "1")]
    pub definition: Option<Definition>,
    /// What makes a program.
    #[prost(string, tag = "2")]
    pub frontend: String,
    /// Its settings.
    #[prost(btree_map = "string, string", tag = "3")]
    pub options: BTreeMap<String, String>,
    /// Whether this is the result, from clients that know no `Return`.
    #[prost(bool, tag = "10")]
    pub is_final: bool,
    /// Where cached steps are looked for.
    #[prost(message, repeated, tag = "12")]
    pub cache_imports: Vec<CacheOption>,
    /// Programs whose results the frontend uses.
    #[prost(btree_map = "string, message", tag = "13")]
    pub inputs: BTreeMap<String, Definition>,
}

/// Its answer.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct BridgeSolveResponse {
    /// What came of it.
    #[prost(message, optional, tag = "3")]
    pub result: Option<SolveResult>,
}

/// What came of a build.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SolveResult {
    /// The image, or several by platform.
    #[prost(oneof = "solve_result::Refs", tags = "1, 3, 4")]
    pub refs: Option<solve_result::Refs>,
    /// What else is known of it.
    #[prost(btree_map = "string, bytes", tag = "10")]
    pub metadata: BTreeMap<String, Vec<u8>>,
}

/// Parts of [`SolveResult`].
pub mod solve_result {
    /// The image, or several by platform.
    #[derive(Clone, PartialEq, Eq, prost::Oneof)]
    pub enum Refs {
        /// Its name, from clients that know no [`super::Ref`].
        #[prost(string, tag = "1")]
        Name(String),
        /// The image.
        #[prost(message, tag = "3")]
        One(super::Ref),
        /// Images by platform.
        #[prost(message, tag = "4")]
        Many(super::RefMap),
    }
}

/// The result of a build, by name.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Ref {
    /// Its name.
    #[prost(string, tag = "1")]
    pub id: String,
}

/// Results by platform.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RefMap {
    /// The results.
    #[prost(btree_map = "string, message", tag = "1")]
    pub refs: BTreeMap<String, Ref>,
}

/// An error (`google/rpc/status.proto`).
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RpcStatus {
    /// Its number.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// What went wrong.
    #[prost(string, tag = "2")]
    pub message: String,
}

/// `LLBBridge.Return`: the client is done.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ReturnRequest {
    /// What is to be the result.
    #[prost(message, optional, tag = "1")]
    pub result: Option<SolveResult>,
    /// Why there is none.
    #[prost(message, optional, tag = "2")]
    pub error: Option<RpcStatus>,
}

/// Something that a server can do (`util/apicaps/pb/caps.proto`).
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ApiCap {
    /// Its name.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Whether it can.
    #[prost(bool, tag = "2")]
    pub enabled: bool,
    /// Why not, as people read it.
    #[prost(string, tag = "5")]
    pub reason: String,
}

/// Answer of `LLBBridge.Ping`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Pong {
    /// What the bridge can do.
    #[prost(message, repeated, tag = "1")]
    pub frontend_caps: Vec<ApiCap>,
    /// What programs in LLB may ask for.
    #[prost(message, repeated, tag = "2")]
    pub llb_caps: Vec<ApiCap>,
    /// Who runs steps.
    #[prost(message, repeated, tag = "3")]
    pub workers: Vec<WorkerRecord>,
}

/// `LLBBridge.Warn`: something that the client has to tell its user.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct WarnRequest {
    /// The step.
    #[prost(string, tag = "1")]
    pub digest: String,
    /// How bad.
    #[prost(int64, tag = "2")]
    pub level: i64,
    /// What, in a line.
    #[prost(bytes = "vec", tag = "3")]
    pub short: Vec<u8>,
}
