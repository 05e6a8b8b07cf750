//! What homing must do on any runtime, written once: a relay, a host that answers streams and serves TCP, and a device,
//! each generic over its [`Runtime`], and the [`cases`] that any three of them have to pass. Real sockets on loopback.
//!
//! Where something is amiss the cases panic: they are for tests. The benches measure the same three roles.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test that cannot go on stops")]

pub mod cases;
mod device;
mod host;
mod relay;
mod runtime;
mod wire;

pub use device::{Calling, Device, forward};
pub use host::{Host, Told, Wish};
pub use relay::RunningRelay;
pub use runtime::{Runtime, Smol, Tokio};
pub use wire::Wire;

use core::time::Duration;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;

/// Nothing here takes so long.
pub const PATIENCE: Duration = Duration::from_secs(30);

fn entropy() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}
