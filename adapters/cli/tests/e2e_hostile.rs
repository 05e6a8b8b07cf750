//! What the binary bears from others: a man in the middle, garbage at every port, paired devices that break the rules.
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

#[path = "e2e_hostile/floods.rs"]
mod floods;
#[path = "e2e_hostile/garbage.rs"]
mod garbage;
#[path = "e2e_hostile/liars.rs"]
mod liars;
#[path = "e2e_hostile/middle.rs"]
mod middle;
#[path = "e2e_hostile/missiles.rs"]
mod missiles;
#[path = "e2e_hostile/rules.rs"]
mod rules;
