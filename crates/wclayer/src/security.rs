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

/// The self-relative descriptor for a file or directory that `COPY --chown` gives to the account
/// `sid`, such as `S-1-5-93-2-2`: the account owns it, and besides Administrators and SYSTEM may do
/// everything but take it from others. Rights are those that moby asks for
/// (`daemon/builder/dockerfile/copy_windows.go`: `GRGWGXRCWDSD`), as NTFS stores them. `None` when
/// `sid` is none.
#[must_use]
pub fn owned(sid: &str, directory: bool) -> Option<Vec<u8>> {
    let flags = if directory { "OICI" } else { "" };
    if !sid.starts_with("S-1-") {
        return None;
    }
    crate::sddl::parse(&format!(
        "O:{sid}G:SYD:(A;{flags};FA;;;BA)(A;{flags};FA;;;SY)(A;{flags};0x1701bf;;;{sid})"
    ))
}

fn decode(text: &str) -> Vec<u8> {
    STANDARD.decode(text).expect("the constants of this module are base64")
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_an_account_owns_names_it_twice() {
        let user = [1, 3, 0, 0, 0, 0, 0, 5, 93, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0];
        for (directory, flags) in [(true, 3), (false, 0)] {
            let descriptor = super::owned("S-1-5-93-2-2", directory).unwrap();
            assert_eq!(descriptor[..4], [1, 0, 0x04, 0x80]);
            assert_eq!(descriptor[20..40], user, "the owner");
            assert!(descriptor.ends_with(&user), "the last entry");
            let entry = descriptor.len() - 28;
            let header = [0, flags, 28, 0, 0xbf, 0x01, 0x17, 0x00];
            assert_eq!(descriptor[entry..entry + 8], header);
        }
        for bad in ["BA", "ContainerUser", "S-1-", "S-1-5-x", "S-1-5-18)(A;;FA;;;WD"] {
            assert_eq!(super::owned(bad, false), None, "{bad}");
        }
    }

    /// Revision 1, `SE_SELF_RELATIVE | SE_DACL_PRESENT`, owner at 0x14 (MS-DTYP 2.4.6).
    #[test]
    fn descriptors_are_self_relative_with_an_access_list() {
        for descriptor in [super::default_directory(), super::default_file()] {
            assert_eq!(descriptor[..8], [1, 0, 0x04, 0x80, 0x14, 0, 0, 0]);
        }
    }
}
