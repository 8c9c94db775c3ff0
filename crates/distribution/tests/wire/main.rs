//! The client on the wire: against a real registry and against one that follows a script.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod real_registry;
mod scripted;
mod support;
