//! homing on smol: sockets, TLS, dialling, the clock, tunnel streams with the traits of `futures-io`,
//! and notices of changes around. Nothing here knows what the records on a link mean, and `homing-tokio`
//! is the same, line by line, for tokio. Spawning is smol's own: all there is to run are futures.
#![forbid(unsafe_code)]

mod dial;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod events;
mod network;
mod runtime;
mod socket;
mod tls;

pub use dial::{Socket, accept, dial, encrypt, seek};
pub use homing_driver::relay::{
    BadRelayUrl, ClientTls, DIAL_TIMEOUT, DialError, MAX_AUTHORITY, PATH, RelayUrl, SUBPROTOCOL, Seek, ServerTls,
    TlsError, endpoint_config, prepare,
};
pub use homing_driver::surroundings::{Change, is_local};
pub use network::Surroundings;
pub use runtime::{SmolClock, SmolSleep, TunnelStream};
pub use socket::Io;
pub use tls::TlsStream;
