#![forbid(unsafe_code)]
//! Client of OCI and Docker registries: pull, push, login, mirrors.
//!
//! Knows the distribution protocol and nothing of how blobs are kept: the caller checks a blob's
//! digest while it stores it. The way in is [`Registries`], one for the daemon's life; a
//! [`Repository`] is one repository on one registry, reached for one operation of one user.
//!
//! ```text
//! Registries ── options, HTTP clients per host, tokens
//!  └─ Repository ── Endpoint (mirror) … Endpoint (the registry itself) ── urls of foreign layers
//!       manifest, blob: the first endpoint that has it          everything else: the registry
//! ```

mod auth;
mod blob;
mod credentials;
mod endpoint;
mod error;
mod failure;
mod hosts;
mod options;
mod push;
mod registries;
mod repository;
mod search;
mod transfer;
mod transport;
mod web;

pub use blob::{Blob, BlobStream};
pub use credentials::{Credentials, decode_header};
pub use error::DistributionError;
pub use options::{Proxy, RegistryOptions};
pub use registries::{Access, Login, Registries};
pub use repository::{Fetched, Head, Repository};
pub use search::Found;
pub use transfer::{Described, Inspected, Pulled, Pushed, Step, Steps, TransferError, Transfers};
pub use web::WebFile;
