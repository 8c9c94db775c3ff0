//! Windows' rule for comparing names.

/// The upper case of a UTF-16 unit as Windows 10 sees it.
pub(crate) fn upcase(unit: u16) -> u16 {
    unit
}
