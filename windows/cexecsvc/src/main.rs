//! The Windows-side container execution agent.

fn main() {}
