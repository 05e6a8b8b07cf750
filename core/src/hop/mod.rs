//! The link between an endpoint and a relay: admission, opening, credit, liveness, closing
//! (protocol 12). What travels inside DATA is opaque here, and so is the socket.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used))]

mod auth;
mod claim;
mod code;
mod credit;
pub mod device;
mod frame;
pub mod host;
mod limits;
mod pulse;
pub mod wait;

pub use auth::{
    CAPABILITY_LEN, CapId, Capability, ChannelId, RouteId, RvHash, attach_mac, blinded_route, operator_hash,
    register_mac, route_id, rv_hash,
};
pub use code::Code;
pub use credit::{Exceeded, RecvCredit, SendCredit, Window, Windows};
pub use device::{DeviceLink, Purpose};
pub use frame::{
    DATA, DATA_HEADER_LEN, Dial, Frame, Hello, Incoming, Kind, MAX_CONTROL, MAX_MESSAGE, Register, data_header,
};
pub use host::HostLink;
pub use limits::{
    ACCEPT_TIME, ANSWER_TIME, BEAT_TIME, DEAF_TIME, DEVICE_IDX, EARLY_CREDIT, FAR_HOP, HELLO_TIME, INITIAL_WINDOW,
    KNOCK_TIME, MAX_NAME, MAX_WINDOW, PARK_TIME, QUIET_TIME, SILENCE_TIME, VERSION,
};
pub use wait::WaitLink;

use core::fmt;

use crate::wire::Malformed;

/// The peer broke the protocol of the hop: hang up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// A message that does not parse.
    Malformed,
    /// A message that has no place here and now.
    Unexpected,
    /// The relay speaks another version.
    Version,
    /// The relay's ephemeral key is of small order.
    WeakKey,
    /// More channels were opened than were answered for.
    Flood,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "peer sent a malformed message",
            Self::Unexpected => "peer sent a message out of place",
            Self::Version => "relay speaks another protocol version; update this program",
            Self::WeakKey => "relay sent a key of small order",
            Self::Flood => "relay opens channels faster than they can be refused",
        })
    }
}

impl core::error::Error for Violation {}

impl From<Malformed> for Violation {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// The relay has not been heard of for too long: hang up and dial again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("relay does not answer; dial again")
    }
}

impl core::error::Error for Lost {}

/// A name or key is longer than the 64 bytes that the protocol has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("relay name or operator key is longer than 64 bytes; use a shorter one")
    }
}

impl core::error::Error for TooLong {}

/// The small queue for this request is full; take what `poll_output` has and try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull;

impl fmt::Display for QueueFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many requests wait for the relay; try again later")
    }
}

impl core::error::Error for QueueFull {}
