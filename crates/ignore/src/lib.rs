//! Wildcards, and the rules of `.dockerignore`: which files of a context a build does not see.
//!
//! Both ends of a build need the same rules: the command line, so that it does not send what is
//! ignored, and the builder, because not every client looks. Pure: texts in, verdicts out.

mod glob;
mod rules;

pub use glob::Pattern;
pub use rules::{BadLine, Ignore};
