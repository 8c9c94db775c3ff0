//! Dockerfiles: parse, plan, execute against a build host.
