//! The homing loop, written once over `futures-io`: it joins a WebSocket, the protocol core and
//! the streams that applications hold. It knows no runtime: sockets come in, a [`Clock`] tells
//! the time.
//!
//! A device makes a [`device::call`], a host [`host::serve`]s a link; both are plain futures that
//! end with the link. Reconnecting is the caller's; streams outlive their link where the caller
//! gives the next one what was kept: a device its [`device::Kept`], a host its [`host::Sessions`].
//!
//! A program that serves or reaches one service begins with a [`host::Registry`] or a
//! [`device::Profile`], which keep keys, tickets and devices in memory and have written down what is to
//! last. One that decides more brings a [`host::Gate`] or a [`device::Caller`] of its own.
//!
//! With the feature `net` it also holds what the adapters of runtimes share: the way to a relay, and
//! when connections may have died without a word.
#![forbid(unsafe_code)]

mod aead;
mod bell;
mod conversation;
pub mod device;
mod drive;
mod ended;
pub mod host;
mod kept;
mod outbound;
mod pipe;
mod pulse;
#[cfg(feature = "net")]
pub mod relay;
mod retry;
#[cfg(feature = "net")]
pub mod steady;
mod stream;
#[cfg(feature = "net")]
pub mod surroundings;
mod ties;
mod wire;

pub use aead::Ring;
pub use conversation::{DEVICE_STREAMS, HOST_STREAMS, Paired};
pub use drive::Clock;
pub use ended::Ended;
pub use pipe::StreamError;
pub use stream::Stream;
pub use wire::WireError;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;

/// Below this many bytes of the relay's credit a record waits for more.
const LEAST_CREDIT: usize = 512;

/// A random time below `most`.
fn jitter(most: core::time::Duration) -> core::time::Duration {
    let part = f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX);
    most.mul_f64(part)
}

/// The system's randomness. Without it nothing here can go on safely, hence the panic inside.
fn random() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}
