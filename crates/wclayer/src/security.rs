//! Security descriptors for files that Oriel authors.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Directory: owner Administrators, group SYSTEM, users may read and create; the descriptor that
/// BuildKit writes (`util/winlayers/differ.go`).
const DIRECTORY: &str = "\
    AQAEgBQAAAAkAAAAAAAAADAAAAABAgAAAAAABSAAAAAgAgAAAQEAAAAAAAUSAAAAAgCoAAcAAAAAAxgA/wEfAAECAA\
    AAAAAFIAAAACACAAAAAxQA/wEfAAEBAAAAAAAFEgAAAAAAGAD/AR8AAQIAAAAAAAUgAAAAIAIAAAALFAAAAAAQAQEA\
    AAAAAAMAAAAAAAMYAKkAEgABAgAAAAAABSAAAAAhAgAAAAIYAAQAAAABAgAAAAAABSAAAAAhAgAAAAIYAAIAAAABAg\
    AAAAAABSAAAAAhAgAA";

/// File: owner Administrators, group SYSTEM, users may read and run; BuildKit's as well.
const FILE: &str = "\
    AQAEgBQAAAAkAAAAAAAAADAAAAABAgAAAAAABSAAAAAgAgAAAQEAAAAAAAUSAAAAAgBMAAMAAAAAABgA/wEfAAECAA\
    AAAAAFIAAAACACAAAAABQA/wEfAAEBAAAAAAAFEgAAAAAAGACpABIAAQIAAAAAAAUgAAAAIQIAAA==";

/// The self-relative descriptor for a directory made by Oriel:
/// ```text
/// O:BAG:SYD:(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;;FA;;;BA)(A;OICIIO;GA;;;CO)
/// (A;OICI;0x1200a9;;;BU)(A;CI;LC;;;BU)(A;CI;DC;;;BU)
/// ```
#[must_use]
pub fn default_directory() -> Vec<u8> {
    decode(DIRECTORY)
}

/// The self-relative descriptor for a file made by Oriel:
/// `O:BAG:SYD:(A;;FA;;;BA)(A;;FA;;;SY)(A;;0x1200a9;;;BU)`.
#[must_use]
pub fn default_file() -> Vec<u8> {
    decode(FILE)
}

fn decode(text: &str) -> Vec<u8> {
    STANDARD.decode(text).expect("the constants of this module are base64")
}

#[cfg(test)]
mod tests {
    /// Revision 1, `SE_SELF_RELATIVE | SE_DACL_PRESENT`, owner at 0x14 (MS-DTYP 2.4.6).
    #[test]
    fn descriptors_are_self_relative_with_an_access_list() {
        for descriptor in [super::default_directory(), super::default_file()] {
            assert_eq!(descriptor[..8], [1, 0, 0x04, 0x80, 0x14, 0, 0, 0]);
        }
    }
}
