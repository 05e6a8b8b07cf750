//! What the binary promises about who gets in, and what others can learn, held by real processes.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

#[path = "support/mitm.rs"]
mod mitm;
#[path = "support/plain.rs"]
mod plain;
#[path = "support/rogue.rs"]
mod rogue;
#[path = "support/scene.rs"]
mod scene;

#[path = "e2e_security/blind.rs"]
mod blind;
#[path = "e2e_security/files.rs"]
mod files;
#[path = "e2e_security/identity.rs"]
mod identity;
#[path = "e2e_security/revoked.rs"]
mod revoked;
#[path = "e2e_security/tickets.rs"]
mod tickets;
#[path = "e2e_security/transport.rs"]
mod transport;
