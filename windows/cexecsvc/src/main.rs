//! The Windows-side container execution agent; see the library for what it does.

use std::process::ExitCode;

#[cfg(windows)]
fn main() -> ExitCode {
    cexecsvc::run()
}

#[cfg(not(windows))]
fn main() -> ExitCode {
    ExitCode::FAILURE
}
