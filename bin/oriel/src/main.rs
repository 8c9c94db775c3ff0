//! The Oriel command line.

fn main() {}
