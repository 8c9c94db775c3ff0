//! The NT personality and the base images, built from Debian packages.
//!
//! Windows system calls exist only in Windows kernels; the *personality* plays that part here. It
//! is a read-only Linux root tree with Wine's loader, its object manager and exactly the libraries
//! they need: no shell, no package manager. Wine's Windows side becomes the *base images*
//! `nanoserver` and `windowsservercore`, ordinary Windows base layers.
//!
//! [`build`] makes both; every stage ends in one rename, so a build that is cut off continues where
//! it was, and one that is complete is found without the network.
//!
//! ```text
//! DATA_ROOT/personality/
//!   current.json       which one is in use
//!   ID/root/           the Linux tree
//!   ID/NAME.tar        layer of the base image NAME (uncompressed)
//!   ID/built.json      what was built from what; written last
//!   work/KEY/          finished stages of a build under way
//! ```

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

mod base;
mod build;
mod debian;
mod error;
mod mend;
mod needed;
mod prefix;
mod reduce;
mod registry;
mod run;
mod shape;
mod sources;
mod strip;

pub use error::PersonalityError;

/// What to build, and from where.
#[derive(Clone, Debug, Default)]
pub struct BuildOptions {
    /// Debian mirror, such as `http://mirror.example/debian`; `None` takes the one that the host's
    /// own package sources name.
    pub mirror: Option<String>,
    /// Build anew even when a complete result is there, to take up newer packages.
    pub rebuild: bool,
    /// Keep the unreduced Debian tree and the other intermediate results.
    pub keep_work: bool,
}

/// How far a build is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The stage.
    pub stage: Stage,
    /// What is being done, for people.
    pub text: String,
    /// How much of the stage is done, in [`Progress::unit`]s.
    pub current: u64,
    /// How much there is to do; 0 when unknown.
    pub total: u64,
    /// What `current` and `total` count.
    pub unit: Unit,
}

/// What a [`Progress`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things: packages, files, steps.
    Items,
}

/// The stages of a build, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Download and unpack Debian packages.
    Debian,
    /// Reduce the Debian tree to the personality.
    Reduce,
    /// Strip Wine's Windows programs and libraries of debug sections.
    Strip,
    /// Fill a registry and a C: drive.
    Registry,
    /// Write the layer of a base image.
    Base,
}

impl Stage {
    /// Short name, such as `debian`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::Reduce => "reduce",
            Self::Strip => "strip",
            Self::Registry => "registry",
            Self::Base => "base",
        }
    }
}

/// An NT personality on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Personality {
    /// Its name: hexadecimal digits of a digest over the packages it was made from.
    pub id: String,
    /// The Linux tree that silos see as their root.
    pub root: PathBuf,
    /// Version of the Wine package, such as `10.0~repack-6`.
    pub wine_version: String,
}

/// A base image: one layer and its configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Base {
    /// `nanoserver` or `windowsservercore`.
    pub name: String,
    /// Uncompressed layer tar, in the form of a genuine Windows base layer.
    pub layer_tar: PathBuf,
    /// The OCI image configuration, `rootfs` included.
    pub config: serde_json::Value,
    /// Size of the layer tar in bytes.
    pub tar_bytes: u64,
    /// Number of files and directories in the layer.
    pub entries: u64,
}

/// The result of [`build`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Built {
    /// The personality.
    pub personality: Personality,
    /// The base images.
    pub bases: Vec<Base>,
    /// Size of the personality's files in bytes.
    pub personality_bytes: u64,
    /// Whether everything was there already.
    pub reused: bool,
}

/// Builds the personality and the base images below `data_root`, or finds them built. Needs root;
/// blocks for minutes when it has to build.
///
/// # Errors
/// [`PersonalityError`]; what was finished before stays and is used by the next call.
pub fn build(
    data_root: &Path,
    options: &BuildOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Built, PersonalityError> {
    build::build(data_root, options, progress)
}

/// Finds the personality in use, without building anything.
///
/// # Errors
/// [`PersonalityError`] when what is recorded cannot be read.
pub fn current(data_root: &Path) -> Result<Option<Personality>, PersonalityError> {
    Ok(built(data_root)?.map(|built| built.personality))
}

/// Finds the personality in use with its base images, without building anything.
///
/// # Errors
/// [`PersonalityError`] when what is recorded cannot be read.
pub fn built(data_root: &Path) -> Result<Option<Built>, PersonalityError> {
    build::built(data_root)
}

/// Gives an I/O error the words of what was attempted; the error itself names the path.
fn io_error(attempt: &str) -> impl Fn(io::Error) -> PersonalityError + '_ {
    move |source| PersonalityError::Io { attempt: attempt.to_owned(), source }
}

fn unexpected(attempt: &str, detail: &str) -> PersonalityError {
    PersonalityError::Unexpected { attempt: attempt.to_owned(), detail: detail.to_owned() }
}

/// Lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
