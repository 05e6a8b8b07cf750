//! Where a channel is in its life.

use core::fmt;
use core::time::Duration;

use crate::time::Instant;

/// How long any step before the channel is open may take.
pub const PHASE_TIME: Duration = Duration::from_secs(10);
/// How long the host's operator may take to decide on a device.
pub const CONFIRM_TIME: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Device: AUTH goes first, streams may follow at once.
    Greeting {
        until: Instant,
    },
    /// Device: PAIR_FINISH sent.
    Asking {
        until: Instant,
    },
    /// Device: paired, and storing it.
    Storing {
        until: Instant,
    },
    /// Host: the first record must carry the token with this hash.
    AwaitAuth {
        token_hash: [u8; 32],
        until: Instant,
    },
    /// Host: the first record must carry PAIR_FINISH.
    AwaitFinish {
        until: Instant,
    },
    /// Host: the application decides on the device.
    Deciding {
        until: Instant,
    },
    /// Host: PAIR_ACCEPT sent.
    AwaitAck {
        until: Instant,
    },
    Open,
    /// A CLOSE waits to be sent.
    Closing,
    Over,
}

impl Phase {
    pub(super) const fn deadline(&self) -> Option<Instant> {
        match *self {
            Self::Greeting { until }
            | Self::Asking { until }
            | Self::Storing { until }
            | Self::AwaitAuth { until, .. }
            | Self::AwaitFinish { until }
            | Self::Deciding { until }
            | Self::AwaitAck { until } => Some(until),
            Self::Open | Self::Closing | Self::Over => None,
        }
    }

    pub(super) const fn may_send_streams(&self) -> bool {
        matches!(self, Self::Greeting { .. } | Self::Open)
    }
}

impl fmt::Debug for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Greeting { .. } => "Greeting",
            Self::Asking { .. } => "Asking",
            Self::Storing { .. } => "Storing",
            Self::AwaitAuth { .. } => "AwaitAuth",
            Self::AwaitFinish { .. } => "AwaitFinish",
            Self::Deciding { .. } => "Deciding",
            Self::AwaitAck { .. } => "AwaitAck",
            Self::Open => "Open",
            Self::Closing => "Closing",
            Self::Over => "Over",
        })
    }
}
