//! What the host offers for networks, for `oriel system check`.

use oriel_hcs::Check;

/// Looks at what networks need from the host. Changes nothing there: what has to be tried is tried
/// in a network namespace of its own.
pub async fn check() -> Vec<Check> {
    todo!()
}
