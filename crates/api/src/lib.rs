//! Types of the Docker Engine API as Oriel speaks it.
//!
//! The wire model and nothing else: bodies, query strings, filters, stream frames and version
//! numbers, shared by the daemon that answers and the command line that asks. Requests accept
//! `null` for whatever may be absent, because clients in several languages send it; answers are
//! exact about `null`, `[]` and `{}`, because clients in several languages depend on it. The
//! engine has its own model, and `orield` converts at the edge.

pub mod container;
pub mod event;
pub mod exec;
mod filters;
pub mod frame;
pub mod image;
mod ladder;
pub mod network;
mod progress;
mod query;
pub mod registry;
pub mod resources;
mod shape;
pub mod system;
mod version;

use serde::{Deserialize, Serialize};

pub use filters::{Filters, FiltersError};
pub use ladder::{Shape, differs, has_event, shape};
pub use progress::{ErrorDetail, Line, ProgressDetail};
pub use query::{NumberError, Query, percent_decode, percent_encode};
pub use shape::{ShapeError, check_create};
pub use version::{ApiVersion, VersionError};

/// Body of every error answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong, in words for a person.
    pub message: String,
}
