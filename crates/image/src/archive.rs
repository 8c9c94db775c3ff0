//! Archives of images: `docker save` and `docker load`.
//!
//! What is written is an OCI image layout and Docker's own format in one tar, as Docker 25 and
//! later do (moby, `daemon/internal/image/tarexport`): `blobs/sha256/*`, `index.json`,
//! `oci-layout`, `manifest.json`, `repositories`. Layers are uncompressed there, so that the
//! digest of a layer is its diff id and any engine can read it.
//!
//! What is read is that, Docker's older form with `<id>/layer.tar`, and any OCI layout, each as
//! tar, gzip or zstd. An archive is a stranger's: its members are spooled to unnamed places under
//! bounds, looked up by name only, and checked against the digests that the configuration states.

mod export;
mod load;
mod save;
mod spool;

pub use export::{Import, Imported};
pub(crate) use save::open_plain;
