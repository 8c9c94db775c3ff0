//! One entry of a layer.

use crate::{FileTime, LayerPath};

/// `FILE_ATTRIBUTE_*` bits (winnt.h). Unknown bits are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attributes(pub u32);

impl Attributes {
    /// `FILE_ATTRIBUTE_READONLY`.
    pub const READ_ONLY: Self = Self(0x1);
    /// `FILE_ATTRIBUTE_HIDDEN`.
    pub const HIDDEN: Self = Self(0x2);
    /// `FILE_ATTRIBUTE_SYSTEM`.
    pub const SYSTEM: Self = Self(0x4);
    /// `FILE_ATTRIBUTE_DIRECTORY`.
    pub const DIRECTORY: Self = Self(0x10);
    /// `FILE_ATTRIBUTE_ARCHIVE`.
    pub const ARCHIVE: Self = Self(0x20);
    /// `FILE_ATTRIBUTE_SPARSE_FILE`.
    pub const SPARSE: Self = Self(0x200);
    /// `FILE_ATTRIBUTE_REPARSE_POINT`.
    pub const REPARSE_POINT: Self = Self(0x400);

    /// Whether all bits of `other` are set.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for Attributes {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file with this many bytes of data.
    File {
        /// Length of the data.
        size: u64,
    },
    /// A symbolic link. Whether it is one to a directory is in the attributes, as on NTFS.
    Symlink {
        /// The print name, such as `..\lib` or `C:\lib`: the container's view, not the layer's.
        target: String,
    },
    /// A junction (mount point); a directory.
    Junction {
        /// The print name, such as `C:\Users`.
        target: String,
    },
    /// Another name of a file in this layer or in one below.
    HardLink {
        /// The name it links to.
        target: LayerPath,
    },
    /// [`Entry::path`] of the layers below is gone.
    Whiteout,
    /// Everything in the directory [`Entry::path`] of the layers below is gone. Genuine producers
    /// never write it.
    OpaqueWhiteout,
    /// An alternate data stream of [`Entry::path`], which came before.
    Stream {
        /// Name of the stream, without `:` and `:$DATA`.
        name: String,
        /// Length of the data.
        size: u64,
    },
}

/// One entry of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub path: LayerPath,
    /// What it is.
    pub kind: Kind,
    /// Windows' attributes. Absent in the tar: [`Attributes::DIRECTORY`] or none.
    pub attributes: Attributes,
    /// Self-relative security descriptor: `MSWINDOWS.rawsd`, or what the older `MSWINDOWS.sd` says.
    pub security: Option<Vec<u8>>,
    /// The text of `MSWINDOWS.sd` when there is no binary one and the text needs a Windows domain
    /// to be understood.
    pub sddl: Option<String>,
    /// When it was created; the same as `modified` when the tar does not say.
    pub created: FileTime,
    /// When its data was last written.
    pub modified: FileTime,
    /// When it was last read.
    pub accessed: Option<FileTime>,
    /// When its metadata was last changed.
    pub changed: Option<FileTime>,
    /// NTFS extended attributes, sorted by name.
    pub extended: Vec<(String, Vec<u8>)>,
}

impl Entry {
    /// An entry with the usual attributes of its kind, no security descriptor, and all four times
    /// set to `time`.
    #[must_use]
    pub fn new(path: LayerPath, kind: Kind, time: FileTime) -> Self {
        let attributes = match kind {
            Kind::Directory => Attributes::DIRECTORY,
            Kind::Symlink { .. } => Attributes::REPARSE_POINT,
            Kind::Junction { .. } => Attributes::DIRECTORY | Attributes::REPARSE_POINT,
            Kind::File { .. } | Kind::HardLink { .. } => Attributes::ARCHIVE,
            Kind::Whiteout | Kind::OpaqueWhiteout | Kind::Stream { .. } => Attributes::default(),
        };
        Self {
            path,
            kind,
            attributes,
            security: None,
            sddl: None,
            created: time,
            modified: time,
            accessed: Some(time),
            changed: Some(time),
            extended: Vec::new(),
        }
    }

    /// Length of the data that follows the entry.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self.kind {
            Kind::File { size } | Kind::Stream { size, .. } => size,
            _ => 0,
        }
    }
}
