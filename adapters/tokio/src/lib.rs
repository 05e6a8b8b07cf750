//! homing on tokio: where a relay is, TLS, sockets, dialling, the clock, tunnel streams with
//! tokio's traits, and notices of changes around. Nothing here knows what the records on a link mean.
#![forbid(unsafe_code)]

mod dial;
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), path = "no_netlink.rs")]
mod netlink;
mod network;
mod runtime;
mod socket;
mod tls;
mod url;
mod wake;
mod websocket;

pub use dial::{DIAL_TIMEOUT, DialError, Socket, dial};
pub use network::{Change, Surroundings, is_local};
pub use runtime::{TokioClock, TunnelStream};
pub use socket::{Io, prepare};
pub use tls::{ClientTls, ServerTls, TlsError};
pub use url::{BadRelayUrl, MAX_AUTHORITY, RelayUrl};
pub use websocket::{PATH, SUBPROTOCOL, endpoint_config};
