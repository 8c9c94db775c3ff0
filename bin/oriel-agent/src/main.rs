//! pid 1 of a silo: starts the NT personality and answers the bridge protocol.
//!
//! The program is the guest half of [`oriel_silo`], linked statically, for it must run without
//! any library: the root it ends up in holds none of the host's.

use std::process::ExitCode;

fn main() -> ExitCode {
    oriel_silo::agent::main(std::env::args_os())
}
