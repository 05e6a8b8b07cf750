//! What keeps a relay going that others depend on: proxies in front, restarts, a log that nobody fills, lack of everything.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod acme;
mod activation;
mod behind;
mod certificates;
mod ends;
mod exhausted;
mod full;
mod logs;
#[path = "../support/plain.rs"]
mod plain;
#[path = "../support/mod.rs"]
mod support;
