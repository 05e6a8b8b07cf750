//! The way to a relay, as far as no runtime has a part in it: where it is, whom TLS trusts, how a
//! connection becomes a link, and why one could not be had.

mod certificates;
mod error;
pub mod events;
mod seek;
mod socket;
mod tls;
mod upgrade;
mod url;
mod way;
mod websocket;

pub use certificates::Certificates;
pub use error::DialError;
pub use seek::{BadSeek, ROUTE_HEADER, Seek, Seeker};
pub use socket::{Attempt, attempts, prepare};
pub use tls::{ClientTls, ServerTls, TlsError};
pub use upgrade::upgrade;
pub use url::{BadRelayUrl, MAX_AUTHORITY, RelayUrl};
pub use way::{Hop, Way, follow};
pub use websocket::{PATH, SUBPROTOCOL, endpoint_config};

use core::time::Duration;

/// How long dialling may take, over all.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take where another relay of the cluster was named: there are more to try.
pub const HOP_TIMEOUT: Duration = Duration::from_secs(5);
