//! The only crate that talks to the kernel and may hold unsafe code.
//!
//! Thin, safe wrappers: each function is one idea of the kernel, returns [`std::io::Result`], and
//! leaves context to the caller, who knows what was attempted on what. Where `nix` or `rustix`
//! already offer a safe call that needs no thought, callers use those directly.
//!
//! | module | why it exists |
//! |---|---|
//! | [`fork`] | `fork` in a program that has one thread; dropping inherited descriptors |
//! | [`loopback`] | files as block devices |
//! | [`memory`] | how much the allocator keeps for later |
//! | [`mount`] | mounts as descriptors: clone, change, map ids, attach |
//! | [`namespace`] | user namespaces with a mapping, held by a descriptor |
//! | [`preload`] | what the loader reads into Wine's processes |
//! | [`privilege`] | giving up capabilities for good |
//! | [`process`] | naming a process so that a reused number is not mistaken for it |

pub mod fork;
pub mod loopback;
pub mod memory;
pub mod mount;
pub mod namespace;
pub mod preload;
pub mod privilege;
pub mod process;
