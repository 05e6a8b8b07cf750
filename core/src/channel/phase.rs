//! Where a channel is in its life.

use core::fmt;
use core::time::Duration;

use crate::mux::WindowCaps;
use crate::wire::Params;

/// How long any step before the channel is open may take.
pub const PHASE_TIME: Duration = Duration::from_secs(10);
/// How long the host's operator may take to decide on a device.
pub const CONFIRM_TIME: Duration = Duration::from_secs(60);

/// What a device's new session begins with, where the host does not know the old one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Anew {
    pub(super) own: Params,
    pub(super) peer: Params,
    pub(super) caps: WindowCaps,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Device: AUTH goes first, streams may follow at once.
    Greeting,
    /// Device: AUTH asks for a session that was; the proof that the host owes, and what a new one
    /// would begin with.
    Resuming {
        proof: [u8; 16],
        anew: Anew,
    },
    /// A session that was is taken up again: the peer is to say what it has.
    AwaitState,
    /// Device: PAIR_FINISH sent.
    Asking,
    /// Device: paired, and storing it.
    Storing,
    /// Host: the first record must carry the token with this hash; and the handshake's hash.
    AwaitAuth {
        token_hash: [u8; 32],
        hash: [u8; 32],
    },
    /// Host: a guest must say what limits it; and the handshake's hash.
    AwaitGuest {
        hash: [u8; 32],
    },
    /// Host: a guest has said it, and the application has not said which token that leads to.
    Introduced {
        hash: [u8; 32],
    },
    /// Host: the first record must carry PAIR_FINISH.
    AwaitFinish,
    /// Host: the application decides on the device.
    Deciding,
    /// Host: PAIR_ACCEPT sent.
    AwaitAck,
    Open,
    /// A CLOSE waits to be sent.
    Closing,
    Over,
}

impl Phase {
    /// Whether it must lead to the next one in time.
    pub(super) const fn has_deadline(&self) -> bool {
        !matches!(self, Self::Open | Self::Closing | Self::Over)
    }

    pub(super) const fn may_send_streams(&self) -> bool {
        matches!(self, Self::Greeting | Self::Resuming { .. } | Self::AwaitState | Self::Open)
    }
}

impl fmt::Debug for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Greeting => "Greeting",
            Self::Asking => "Asking",
            Self::Storing => "Storing",
            Self::Resuming { .. } => "Resuming",
            Self::AwaitState => "AwaitState",
            Self::AwaitAuth { .. } => "AwaitAuth",
            Self::AwaitGuest { .. } => "AwaitGuest",
            Self::Introduced { .. } => "Introduced",
            Self::AwaitFinish => "AwaitFinish",
            Self::Deciding => "Deciding",
            Self::AwaitAck => "AwaitAck",
            Self::Open => "Open",
            Self::Closing => "Closing",
            Self::Over => "Over",
        })
    }
}
