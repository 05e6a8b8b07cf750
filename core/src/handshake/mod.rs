//! Pairing and connecting: Noise IK with a pre-shared key, one type per state (protocol 6).
//! No retries, no timers, no records.
//!
//! ```text
//! PAIR     -> [psk] e, es, (e1), s, ss, Params       CONNECT  -> e, es, (e1), s, ss, Params
//!          <- e, ee, (ekem1), se, Params                      <- e, ee, (ekem1), se, [psk], Params
//! ```
//! What is in `( )` belongs to the hybrid suite.

mod error;
mod guest;
mod initiator;
mod message;
mod responder;
mod schedule;
mod turnstile;

pub use error::{Error, Failure};
pub use guest::{GuestChain, GuestSeed};
pub use initiator::{AwaitReply, start};
pub use message::{
    ChannelId, HELLO_MAX, Kind, Mode, REPLY_MAX, RouteId, Suite, Ticket, emit_failure, host_mac1_key, parse_failure,
};
pub use responder::{ConnectKnock, Door, Knock, PairKnock, hear};
pub use schedule::{CheckWords, Exports, Keys};
pub use turnstile::Turnstile;
