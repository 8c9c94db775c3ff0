//! How a step that failed becomes a [`NetworkError`].

use std::fmt::Display;

use oriel_hcs::NetworkError;

/// The host refused `attempt`.
pub(crate) fn host(attempt: impl Into<String>, reason: impl Display) -> NetworkError {
    NetworkError::Host { attempt: attempt.into(), reason: reason.to_string() }
}
