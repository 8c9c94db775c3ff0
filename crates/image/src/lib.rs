#![forbid(unsafe_code)]
//! Images: content store, windowsfilter layers, references, save and load.
//!
//! An image is a configuration, a chain of layers and some names. This crate keeps all three on
//! disk and makes writable sandboxes on top of a chain:
//!
//! ```text
//! <root>/content/             blobs by digest, an OCI image layout
//! <root>/windowsfilter/CHAIN/ a layer, extracted: Files/, Hives/, layerchain.json
//! <root>/windowsfilter/ID/    a container's sandbox: upper/, work/, registry/, sandbox.json;
//!                             or, with a size, all but the last on a disk in scratch.img
//! <root>/registry-cache/KEY/  merged registry of a chain, rendered for Wine
//! ```
//!
//! Every function blocks; callers on an async runtime use its blocking threads. A crash leaves
//! either the old or the new state: things are made under a temporary name and renamed, and
//! [`ImageStore::open`] removes what was left half made.

mod archive;
mod arrival;
mod attributes;
mod blobs;
mod commit;
mod config;
mod content;
mod decompress;
mod digest;
mod disk;
mod error;
mod extract;
mod files;
mod follow;
mod ingest;
mod lease;
mod level;
mod links;
mod pipeline;
mod platform;
mod rebase;
mod records;
mod reference;
mod registry;
mod removal;
mod sandbox;
mod scratch;
mod shipment;
mod steps;
mod store;
mod substitution;
mod time;
mod upper;
mod usage;
mod view;

#[cfg(test)]
mod tests;

pub use archive::{Import, Imported};
pub use arrival::Arrival;
pub use blobs::{Download, IncomingLayer};
pub use config::{Empty, Healthcheck, History, ImageConfig, MAX_LAYERS, RootFs, RunConfig};
pub use content::{Descriptor, Index, MAX_DOCUMENT, Manifest};
pub use digest::{ChainId, DiffId, Digest, ImageId};
pub use error::ImageError;
pub use files::{
    Clash, Content, DirectoryItem, FileKind, FileMount, OpenDirectory, PathMode, PathStat,
    SandboxFiles, Stat, Unpack,
};
pub use follow::Follower;
pub use lease::Lease;
pub use platform::{WindowsVersion, select};
pub use rebase::{NewBase, Obstacles};
pub use reference::Reference;
pub use registry::{RegistryChange, RegistryTrees};
pub use sandbox::{CONTAINER_ROOT_UID, Sandbox, SandboxSettings};
pub use scratch::{check as check_disks, check_size};
pub use shipment::{Shipment, ShippedLayer};
pub use steps::Footing;
pub use store::{BaseImport, Commit, Image, ImageStore, InUse, Layer, LoadEvent, Loaded, Removed};
pub use substitution::{
    NANOSERVER, Recognised, Rule, SERVERCORE, StatedLayer, Substitutes, Substitution,
};
pub use time::{parse_rfc3339, rfc3339};
pub use upper::{Change, ChangeKind};
pub use usage::{directory_bytes, free_bytes, layer_sizes, shared_sizes};

/// Bounds on what strangers may make this crate store.
struct Limits;

impl Limits {
    /// Largest uncompressed layer: as large as the disk Docker gives a Windows container.
    const LAYER_BYTES: u64 = 127 << 30;
    /// Largest archive of images, uncompressed: as large as eight such layers.
    const ARCHIVE_BYTES: u64 = 8 * Self::LAYER_BYTES;
    /// Most bytes of names that are remembered to the end of a layer: of directories, for their
    /// times, and of links whose targets come later. Room for some 300 000 of them.
    const LAYER_NAMES: u64 = 64 << 20;
    /// Most alternate streams of a file. NTFS has room for some thousands.
    const FILE_STREAMS: usize = 1024;
}
