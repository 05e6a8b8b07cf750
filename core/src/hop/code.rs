//! Why a channel or a link ended.

use core::fmt;

use crate::wire::Malformed;

/// The code in CLOSED and REFUSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Code {
    /// Everything was said.
    Normal = 0,
    /// Nobody answers at this route. An unknown route and an absent host look alike.
    NotReachable = 1,
    /// The host does not want this channel.
    Refused = 2,
    /// A limit on channels or dials is reached.
    Busy = 3,
    /// More DATA came than credit was granted.
    FlowControl = 4,
    /// The other side took too long.
    Timeout = 5,
    /// A message broke the protocol.
    Protocol = 6,
    /// The far end's link ended.
    Gone = 7,
    /// A proof was wrong, or the capability is denied or expired.
    Denied = 8,
    /// The relay is about to stop.
    Draining = 9,
    /// The same host registered again on another link.
    Superseded = 10,
    /// No such pairing slot, or it is used up.
    PairSlot = 11,
}

impl Code {
    /// Every code, in the order of its byte.
    pub const ALL: [Self; 12] = [
        Self::Normal,
        Self::NotReachable,
        Self::Refused,
        Self::Busy,
        Self::FlowControl,
        Self::Timeout,
        Self::Protocol,
        Self::Gone,
        Self::Denied,
        Self::Draining,
        Self::Superseded,
        Self::PairSlot,
    ];

    /// The code of a byte.
    ///
    /// # Errors
    /// [`Malformed`] where the byte is none.
    pub fn parse(byte: u8) -> Result<Self, Malformed> {
        Self::ALL.get(usize::from(byte)).copied().ok_or(Malformed)
    }

    /// The code's byte.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "closed",
            Self::NotReachable => "host is not connected to the relay; check that it runs",
            Self::Refused => "host refused the connection",
            Self::Busy => "too many connections; try again in a minute",
            Self::FlowControl => "more data was sent than the other side had room for; update both sides",
            Self::Timeout => "other side took too long to answer",
            Self::Protocol => "relay did not understand a message; update both sides",
            Self::Gone => "other side lost its connection to the relay",
            Self::Denied => "relay denied access; this device may have been removed, pair it again",
            Self::Draining => "relay is about to restart; connect again",
            Self::Superseded => "host connected again from elsewhere",
            Self::PairSlot => "pairing code is unknown, expired or used up; ask for a new one",
        })
    }
}

impl core::error::Error for Code {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_codes_belong_together() {
        for (byte, code) in (0..).zip(Code::ALL) {
            assert_eq!(code.to_byte(), byte);
            assert_eq!(Code::parse(byte), Ok(code));
        }
        assert_eq!(Code::parse(12), Err(Malformed));
        assert_eq!(Code::parse(255), Err(Malformed));
    }
}
