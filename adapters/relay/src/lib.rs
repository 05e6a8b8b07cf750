//! The homing relay server: forwards sealed records that it cannot read.
//!
//! It puts sockets under [`homing_core::relay`], which decides; nothing here knows a handshake, a
//! session or a stream.
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

mod config;
mod frame;
mod http;
mod hub;
mod link;
mod outbox;
mod server;
mod status;

pub use config::{Admission, DRAIN_TIME, RelayConfig, RelayError, TlsFiles};
pub use hub::{Seen, Tap};
pub use server::{Relay, RelayHandle};
pub use status::Status;
