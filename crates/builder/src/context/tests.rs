//! Tests of the context.
