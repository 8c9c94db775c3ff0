//! Messages, by the file of BuildKit's that describes them.

mod bridge;
mod control;
mod files;
mod session;

pub use bridge::{
    ApiCap, BridgeSolveRequest, BridgeSolveResponse, Pong, Ref, RefMap, ReturnRequest, RpcStatus,
    SolveResult, WarnRequest, solve_result,
};
pub use control::{
    BuildHistoryRequest, BuildkitVersion, CacheOption, CacheOptions, Definition, DiskUsageRequest,
    DiskUsageResponse, Exporter, InfoResponse, ListWorkersResponse, Platform, PruneRequest,
    SolveRequest, SolveResponse, StatusRequest, StatusResponse, Timestamp, UsageRecord, Vertex,
    VertexLog, VertexStatus, VertexWarning, WorkerRecord,
};
pub use files::{Packet, PacketKind, Stat};
pub use session::{
    BytesMessage, CredentialsRequest, CredentialsResponse, GetSecretRequest, GetSecretResponse,
    HealthResponse,
};

/// A message without fields.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Empty {}
