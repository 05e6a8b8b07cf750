//! homing on tokio: where a relay is, TLS, sockets and dialling.
//!
//! Nothing here knows what the records on a link mean.
#![forbid(unsafe_code)]

mod dial;
mod socket;
mod tls;
mod url;
mod websocket;

pub use dial::{DIAL_TIMEOUT, DialError, Socket, dial};
pub use socket::Io;
pub use tls::{ClientTls, ServerTls, TlsError};
pub use url::{BadRelayUrl, MAX_AUTHORITY, RelayUrl};
pub use websocket::{PATH, SUBPROTOCOL, endpoint_config};
