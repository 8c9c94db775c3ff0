//! The only crate that talks to the kernel and may hold unsafe code.
