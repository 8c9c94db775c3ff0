//! Leases: what is under way and not recorded yet is not collected.
//!
//! A blob or layer becomes somebody's when an image is recorded that has it. Until then only a
//! lease keeps it: a pull, a load, a push, a commit holds one from before its first byte until its
//! record is made. Collection waits for nobody: with a lease out it is only noted as due, and the
//! last lease to end does it. So removing an image never waits for a pull of another.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{ImageError, ImageStore};

/// Counts leases.
#[derive(Default)]
pub(crate) struct Leases(Mutex<Held>);

#[derive(Default)]
struct Held {
    leases: usize,
    /// Somebody wanted to collect meanwhile.
    due: bool,
}

impl Leases {
    fn lock(&self) -> MutexGuard<'_, Held> {
        // Two plain values are always consistent, so a panic elsewhere spoils nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps collection from taking what is not recorded yet, as long as it lives.
///
/// Dropping the last one may remove files, so drop it where blocking is allowed.
#[must_use = "collection is held back only while the lease lives"]
pub struct Lease {
    store: ImageStore,
}

impl ImageStore {
    /// Keeps collection from taking what is not recorded yet, as long as the lease lives.
    pub fn lease(&self) -> Lease {
        self.leases().lock().leases += 1;
        Lease { store: self.clone() }
    }

    /// Removes what an operation that failed left: layers and blobs that no image came to use. Why
    /// it failed matters more than why they stay, so that is only said.
    pub fn clean_up(&self) {
        if let Err(error) = self.collect() {
            tracing::warn!(%error, "cannot remove what a failed operation left");
        }
    }

    /// Removes what no image has: at once, or when the last lease ends.
    pub(crate) fn collect(&self) -> Result<(), ImageError> {
        // The lock is held during the sweep, so that a lease begins before or after it.
        let mut held = self.leases().lock();
        held.due = held.leases > 0;
        if held.due { Ok(()) } else { self.sweep() }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut held = self.store.leases().lock();
        held.leases -= 1;
        if held.leases > 0 || !std::mem::take(&mut held.due) {
            return;
        }
        if let Err(error) = self.store.sweep() {
            tracing::warn!(%error, "cannot remove what no image has");
        }
    }
}
