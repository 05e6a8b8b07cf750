//! homing on tokio: where a relay is, TLS, sockets, dialling, the clock, and tunnel streams with
//! tokio's traits. Nothing here knows what the records on a link mean.
#![forbid(unsafe_code)]

mod dial;
mod runtime;
mod socket;
mod tls;
mod url;
mod websocket;

pub use dial::{DIAL_TIMEOUT, DialError, Socket, dial};
pub use runtime::{TokioClock, TunnelStream};
pub use socket::{Io, prepare};
pub use tls::{ClientTls, ServerTls, TlsError};
pub use url::{BadRelayUrl, MAX_AUTHORITY, RelayUrl};
pub use websocket::{PATH, SUBPROTOCOL, endpoint_config};
