//! `session/*`: what a client has for the build that it asked for.

use prost::Message;

/// `Auth.Credentials` (`session/auth/auth.proto`).
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CredentialsRequest {
    /// The registry.
    #[prost(string, tag = "1")]
    pub host: String,
}

/// Its answer. Not printed: it is a secret.
#[derive(Clone, PartialEq, Eq, Message)]
#[prost(skip_debug)]
pub struct CredentialsResponse {
    /// The account; with none, the secret is an identity token.
    #[prost(string, tag = "1")]
    pub username: String,
    /// The password.
    #[prost(string, tag = "2")]
    pub secret: String,
}

/// `Secrets.GetSecret` (`session/secrets/secrets.proto`).
#[derive(Clone, PartialEq, Eq, Message)]
pub struct GetSecretRequest {
    /// Its name.
    #[prost(string, tag = "1")]
    pub id: String,
}

/// Its answer. Not printed: it is a secret.
#[derive(Clone, PartialEq, Eq, Message)]
#[prost(skip_debug)]
pub struct GetSecretResponse {
    /// The secret.
    #[prost(bytes = "vec", tag = "1")]
    pub data: Vec<u8>,
}

/// `Upload.Pull` (`session/upload/upload.proto`): a stream of bytes.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct BytesMessage {
    /// The next of them.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: bytes::Bytes,
}

/// Answer of `grpc.health.v1.Health/Check`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct HealthResponse {
    /// 1: well.
    #[prost(int32, tag = "1")]
    pub status: i32,
}

impl std::fmt::Debug for CredentialsResponse {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("CredentialsResponse").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for GetSecretResponse {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("GetSecretResponse").finish_non_exhaustive()
    }
}
