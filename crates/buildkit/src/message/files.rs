//! `tonistiigi/fsutil/types`: files on their way from a client.

use prost::Message;

/// One step of a copy.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Packet {
    /// What it is.
    #[prost(enumeration = "PacketKind", tag = "1")]
    pub kind: i32,
    /// A file, with [`PacketKind::Stat`]; none is the end of the list.
    #[prost(message, optional, tag = "2")]
    pub stat: Option<Stat>,
    /// The file that data belongs to: its place in the list.
    #[prost(uint32, tag = "3")]
    pub id: u32,
    /// Content, or what went wrong.
    #[prost(bytes = "bytes", tag = "4")]
    pub data: bytes::Bytes,
}

/// What a [`Packet`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum PacketKind {
    /// A file of the list.
    Stat = 0,
    /// The receiver wants a file's content.
    Request = 1,
    /// A piece of it; an empty one is its end.
    Data = 2,
    /// All is done.
    Finish = 3,
    /// Something went wrong.
    Error = 4,
}

/// A file, as Go tells of it.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Stat {
    /// Its path from the root of the copy, with slashes.
    #[prost(string, tag = "1")]
    pub path: String,
    /// Kind and permissions, in the bits of Go's `os.FileMode`.
    #[prost(uint32, tag = "2")]
    pub mode: u32,
    /// Bytes.
    #[prost(int64, tag = "5")]
    pub size: i64,
    /// When it was last written, in nanoseconds since 1970.
    #[prost(int64, tag = "6")]
    pub modified_nanos: i64,
    /// Where a symbolic link points, or the earlier name of the same file.
    #[prost(string, tag = "7")]
    pub link: String,
}
