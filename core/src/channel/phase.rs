//! Where a channel is in its life.

use core::fmt;
use core::time::Duration;

/// How long any step before the channel is open may take.
pub const PHASE_TIME: Duration = Duration::from_secs(10);
/// How long the host's operator may take to decide on a device.
pub const CONFIRM_TIME: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Device: AUTH goes first, streams may follow at once.
    Greeting,
    /// Device: PAIR_FINISH sent.
    Asking,
    /// Device: paired, and storing it.
    Storing,
    /// Host: the first record must carry the token with this hash.
    AwaitAuth([u8; 32]),
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
        matches!(self, Self::Greeting | Self::Open)
    }
}

impl fmt::Debug for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Greeting => "Greeting",
            Self::Asking => "Asking",
            Self::Storing => "Storing",
            Self::AwaitAuth(_) => "AwaitAuth",
            Self::AwaitFinish => "AwaitFinish",
            Self::Deciding => "Deciding",
            Self::AwaitAck => "AwaitAck",
            Self::Open => "Open",
            Self::Closing => "Closing",
            Self::Over => "Over",
        })
    }
}
