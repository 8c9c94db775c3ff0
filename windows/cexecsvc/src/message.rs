//! Windows' texts for the errors that clients match on.
//!
//! Docker's CLI and Compose look for "The system cannot find the file specified." to exit with
//! status 127, and for "Access is denied." to exit with 126. The personality's own texts differ in
//! wording, so the ones that matter are fixed here.

/// `ERROR_FILE_NOT_FOUND`.
pub const FILE_NOT_FOUND: u32 = 2;
/// `ERROR_PATH_NOT_FOUND`.
pub const PATH_NOT_FOUND: u32 = 3;
/// `ERROR_ACCESS_DENIED`.
pub const ACCESS_DENIED: u32 = 5;
/// `ERROR_INVALID_PARAMETER`.
pub const INVALID_PARAMETER: u32 = 87;
/// `ERROR_BAD_EXE_FORMAT`.
pub const BAD_EXE_FORMAT: u32 = 193;
/// `ERROR_FILENAME_EXCED_RANGE`.
pub const FILENAME_TOO_LONG: u32 = 206;
/// `ERROR_DIRECTORY`.
pub const DIRECTORY: u32 = 267;
/// `ERROR_NONE_MAPPED`.
pub const NONE_MAPPED: u32 = 1332;

/// Windows' text for a Win32 error, or `None` for one that only `FormatMessage` knows.
#[must_use]
pub fn text(code: u32) -> Option<&'static str> {
    Some(match code {
        FILE_NOT_FOUND => "The system cannot find the file specified.",
        PATH_NOT_FOUND => "The system cannot find the path specified.",
        ACCESS_DENIED => "Access is denied.",
        INVALID_PARAMETER => "The parameter is incorrect.",
        BAD_EXE_FORMAT => "%1 is not a valid Win32 application.",
        FILENAME_TOO_LONG => "The filename or extension is too long.",
        DIRECTORY => "The directory name is invalid.",
        NONE_MAPPED => "No mapping between account names and security IDs was done.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_reads_as_docker_clients_expect() {
        assert_eq!(text(2), Some("The system cannot find the file specified."));
    }

    #[test]
    fn other_codes_are_left_to_the_system() {
        assert_eq!(text(1), None);
    }
}
