//! Giving up capabilities for good.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

/// Number of capabilities to try; the kernel has 41 and answers `EINVAL` from the first it does
/// not know.
const CAPABILITY_BITS: u32 = 64;

/// Removes every capability from every set of this thread, bounding set first, so that nothing
/// gives one back: not a set-user-id program, not file capabilities, not a new identity.
///
/// # Errors
/// Those of prctl(2) and capset(2).
pub fn drop_capabilities() -> io::Result<()> {
    clear_ambient_capability_set()?;
    for bit in 0..CAPABILITY_BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        match capability_is_in_bounding_set(capability) {
            Ok(true) => remove_capability_from_bounding_set(capability)?,
            Ok(false) => {}
            Err(_) => break,
        }
    }
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(())
}

/// Forbids this process and its descendants to gain privileges by executing a program.
///
/// # Errors
/// Those of prctl(2).
pub fn forbid_new_privileges() -> io::Result<()> {
    Ok(set_no_new_privs(true)?)
}
