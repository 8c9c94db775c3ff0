//! pid 1 of a silo: starts the NT personality and answers the bridge protocol.

fn main() {}
