//! What may happen at a switch.

use arbitrary::Arbitrary;

use super::Bytes;

/// What may happen. Links and channels are chosen by number among those there are; hosts and pairing
/// slots are few, so that they meet.
#[derive(Arbitrary, Clone, Debug)]
pub enum Step<'a> {
    Attach,
    Register {
        link: u8,
        host: u8,
        honest: bool,
    },
    Dial {
        link: u8,
        host: u8,
        honest: bool,
    },
    PairSlot {
        link: u8,
        slot: u8,
        ttl: u16,
    },
    DialPair {
        link: u8,
        slot: u8,
    },
    Accept {
        channel: u8,
        credit: u32,
    },
    Refuse {
        channel: u8,
    },
    Deny {
        link: u8,
    },
    Data {
        channel: u8,
        up: bool,
        len: u16,
    },
    Strange {
        link: u8,
        idx: u32,
        len: u16,
    },
    Credit {
        channel: u8,
        up: bool,
        bytes: u32,
    },
    Close {
        channel: u8,
        up: bool,
    },
    Sent {
        channel: u8,
        up: bool,
        bytes: u32,
    },
    Detach {
        link: u8,
    },
    Garbage {
        link: u8,
        message: Bytes<'a>,
    },
    Wait {
        millis: u16,
    },
    /// Bytes of channels that are over leave, or the socket that they wait for goes.
    Late {
        link: u8,
        bytes: u32,
        gone: bool,
    },
    /// A link on which a host may wait to be woken.
    AttachWaiting,
}
