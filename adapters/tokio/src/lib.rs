//! homing on tokio: sockets, TLS, dialling, the clock, tunnel streams with tokio's traits, and
//! notices of changes around. Nothing here knows what the records on a link mean, and what is not
//! about tokio is in [`homing_driver`]. Spawning is tokio's own: all there is to run are futures.
#![forbid(unsafe_code)]

mod dial;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod events;
mod network;
mod runtime;
mod socket;
mod tls;

pub use dial::{Socket, accept, connect, dial, encrypt, seek};
pub use homing_driver::relay::{
    BadRelayUrl, ClientTls, DIAL_TIMEOUT, DialError, MAX_AUTHORITY, PATH, RelayUrl, SUBPROTOCOL, Seek, ServerTls,
    TlsError, endpoint_config, prepare,
};
pub use homing_driver::surroundings::{Change, is_local};
pub use network::Surroundings;
pub use runtime::{TokioClock, TunnelStream};
pub use socket::Io;
