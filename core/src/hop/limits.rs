//! Sizes and times of a hop, each with its reason.

use core::time::Duration;

/// Version of the outer frames.
pub const VERSION: u8 = 1;

/// The longest relay authority and the longest operator key, in bytes.
pub const MAX_NAME: usize = 64;

/// The number of the one channel on a device's link.
pub const DEVICE_IDX: u32 = 1;

/// Bytes of DATA that either end of a fresh channel may be sent unasked: the first handshake
/// message fits, so opening costs no extra round trip.
pub const EARLY_CREDIT: u32 = 4096;

/// Bytes of credit per channel and direction to begin with.
pub const INITIAL_WINDOW: u32 = 64 * 1024;

/// Bytes of credit per channel and direction at most.
pub const MAX_WINDOW: u32 = 2 * 1024 * 1024;

/// What a receiver assumes of the hop at the other side of the relay. Its credit passes through
/// to the sender, so the loop is longer than the round trip that it can measure.
pub const FAR_HOP: Duration = Duration::from_millis(100);

/// A link that has said nothing valid for so long is cut, and so is a relay that sends no HELLO.
pub const HELLO_TIME: Duration = Duration::from_secs(10);

/// How long a dial to a host that is away waits for it.
pub const PARK_TIME: Duration = Duration::from_secs(25);

/// How long a host may take to accept a channel.
pub const ACCEPT_TIME: Duration = Duration::from_secs(10);

/// A relay says something to a host that waits on demand at least this often.
pub const BEAT_TIME: Duration = Duration::from_secs(25);

/// A host that waits on demand and hears nothing for so long dials again.
pub const DEAF_TIME: Duration = Duration::from_secs(60);

/// A relay knocks at a host no more often than this, until the host has answered.
pub const KNOCK_TIME: Duration = Duration::from_secs(2);

/// A relay cuts a link that was silent for so long.
pub const SILENCE_TIME: Duration = Duration::from_secs(75);

/// An endpoint that has heard nothing for so long sends a PING.
pub const QUIET_TIME: Duration = Duration::from_secs(15);

/// How long that PING may stay unanswered: a half-open link is found within 24 s.
pub const ANSWER_TIME: Duration = Duration::from_secs(9);

/// How long a link that may have died may take to show that it did not.
pub(super) const PROBE_TIME: Duration = Duration::from_secs(3);
