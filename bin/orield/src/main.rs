//! The Oriel daemon: Docker Engine API routes and wiring.

fn main() {}
