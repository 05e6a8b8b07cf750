//! The homing relay server: forwards sealed records that it cannot read.
//!
//! It puts sockets under [`homing_core::relay`], which decides; nothing here knows a handshake, a
//! session or a stream.
//!
//! It runs on tokio, and with the feature `smol` on smol: [`Relay`] and `SmolRelay` are one [`Server`] with the sockets,
//! timers and tasks of a [`Runtime`]. Either offers all that there is: links, TLS from files, `/healthz` and `/version`,
//! counts, draining. What the program `homing relay` adds, its control socket, signals and settings, is on tokio.
//!
//! ```no_run
//! use homing_relay::{Admission, Relay, RelayConfig};
//! # async fn start() -> Result<(), homing_relay::RelayError> {
//! let config = RelayConfig::new(([127, 0, 0, 1], 8080).into(), Admission::Open);
//! let relay = Relay::bind(config).await?;
//! println!("listening on {}", relay.local_addr());
//! relay.run(std::future::pending()).await;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod account;
#[cfg(feature = "acme")]
pub mod acme;
mod address;
mod config;
pub mod directory;
mod forwarded;
mod frame;
mod http;
mod hub;
mod limits;
mod link;
mod metrics;
mod no_room;
#[cfg(feature = "smol")]
mod on_smol;
#[cfg(feature = "tokio")]
mod on_tokio;
mod outbox;
mod probe;
mod proxied;
mod runtime;
mod server;
mod status;
mod turned_away;
mod watch;

pub use address::AddressLimits;
pub use config::{Admission, DRAIN_TIME, RelayConfig, RelayError, STALL_TIME, TlsFiles};
pub use hub::{Seen, Tap};
#[cfg(feature = "smol")]
pub use on_smol::{Smol, SmolIo};
#[cfg(feature = "tokio")]
pub use on_tokio::Tokio;
pub use runtime::Runtime;
pub use server::{RelayHandle, Server};
pub use status::Status;

/// A relay on tokio.
#[cfg(feature = "tokio")]
pub type Relay = Server<Tokio>;

/// A relay on smol.
#[cfg(feature = "smol")]
pub type SmolRelay = Server<Smol>;
