//! The bodies of the targets, which the core's tests run too.

#[path = "../../core/tests/bodies/mod.rs"]
pub mod bodies;
