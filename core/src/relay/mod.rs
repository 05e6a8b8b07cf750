//! The relay as a state machine: who is registered, who is joined with whom, and how many bytes
//! may be under way. DATA passes through in the caller's buffer and is never looked into; sockets,
//! queues and accounts are the caller's.
//!
//! ```text
//! link:    attach -> greeted -> REGISTER -> (asked ->) host, or waiting
//!                           `-> DIAL -> parked -> device        (any: hang_up -> leaving)
//! leaving: all that waited has left -> gone                     (any: detach -> gone)
//! channel: OPENED, INCOMING -> offered -> ACCEPT -> open        (any: CLOSED -> gone)
//! ```
//!
//! **Bound.** Of each channel and direction the relay holds at most one window of bytes: a sender
//! gets credit for `min(what the receiver granted, what has left for the receiver + window)`, and
//! one that sends more loses its channel. All windows together stay within [`Config::budget`]. What
//! still waits for one end of a channel that is over counts too, until it has left or that link is
//! gone.
//!
//! **No presence oracle.** A dial to an unknown route, to an absent host and with a wrong proof get
//! the same answer at the same time, [`PARK_TIME`](crate::hop::PARK_TIME) later, after the same work. Where
//! the host comes within that time, a good dial opens at once.
//!
//! **Waking.** A host that waits ([`Switch::attach_waiting`]) is not there: a good dial knocks at it and
//! stays parked, and opens when the host registers on a link of its own. It costs the relay no channel and
//! no timer.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used))]

mod admit;
mod channels;
mod flow;
mod index;
mod leave;
mod list;
mod slots;
mod switch;

pub use index::RouteSlot;
pub use slots::{ChannelSlot, LinkSlot, MAX_CHANNELS};
pub use switch::Switch;

use core::fmt;

pub use crate::hop::{Code, Violation};
use crate::hop::{INITIAL_WINDOW, MAX_WINDOW, RouteId};

/// A link, in one life of its slot: a late event of an earlier life finds nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkId {
    slot: u32,
    generation: u32,
}

impl LinkId {
    /// Which slot the link has; smaller than the number of slots, and free for another link once
    /// this one is gone.
    #[must_use]
    pub const fn slot(self) -> usize {
        self.slot as usize
    }
}

/// Where the switch's answers go.
pub trait Outbox {
    /// Send this message on the link, in order with other control messages. CLOSED must not
    /// overtake DATA that was forwarded before it; all else may, and should where much DATA waits.
    /// At most [`MAX_CONTROL`](crate::hop::MAX_CONTROL) bytes.
    fn control(&mut self, link: LinkId, message: &[u8]);

    /// Send what is queued for the link, then end it. The switch knows it only for what still waits:
    /// tell [`Switch::sent`] of it as before, and [`Switch::detach`] where the socket goes earlier.
    fn hang_up(&mut self, link: LinkId, reason: Code);

    /// A host has proved its route and waits: answer with [`Switch::admit`] or [`Switch::deny`] before the time for its
    /// registration is over. Only where [`Config::ask`] says so.
    fn ask(&mut self, _link: LinkId, _ask: &Ask) {}

    /// A channel is to be opened between these two links; false where their account has enough.
    fn open(&mut self, _host: LinkId, _device: LinkId) -> bool {
        true
    }

    /// A host that waits is to be woken by a good dial; false where that is too often, and the dial is refused as busy.
    fn knock(&mut self, _host: LinkId) -> bool {
        true
    }

    /// A channel that was opened is over.
    fn over(&mut self, _host: LinkId, _device: LinkId) {}
}

/// A host that wants to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The route that it has proved.
    pub route_id: RouteId,
    /// Hash of the key that it showed, by [`operator_hash`](crate::hop::operator_hash).
    pub key_hash: [u8; 32],
}

/// What has become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// Nothing is left to do with it.
    Done,
    /// Send the very same buffer, whose first bytes have been rewritten, on another link; then
    /// tell [`Switch::sent`] with this `idx` and the length of its body.
    Forward {
        /// The link to send it on.
        to: LinkId,
        /// The channel's number there.
        idx: u32,
    },
}

/// Why a link cannot be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttachError {
    /// Every slot is taken.
    Full,
    /// The relay's name has more than 64 bytes.
    Name,
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "relay has no room for another link",
            Self::Name => "name of the relay is longer than 64 bytes",
        })
    }
}

impl core::error::Error for AttachError {}

/// The relay's policies.
#[derive(Clone, Debug)]
pub struct Config {
    /// Hash of the key that hosts have to show, by [`operator_hash`](crate::hop::operator_hash);
    /// `None` lets every host in.
    pub operator: Option<[u8; 32]>,
    /// Whether the caller decides on each host instead, by [`Outbox::ask`].
    pub ask: bool,
    /// Channels per host. What waits for it of channels that are over counts as a channel for each
    /// beginning window.
    pub channels_per_host: u32,
    /// Dials that wait for their host; where there are more, the oldest gets its answer early.
    pub parked: u32,
    /// Dials per capability and minute.
    pub dials_per_minute: u8,
    /// Dials per pairing slot.
    pub dials_per_slot: u8,
    /// Bytes of all windows together: what the relay may have to hold.
    pub budget: u64,
    /// Bytes of a window to begin with.
    pub window: u32,
    /// Bytes of a window at most.
    pub max_window: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            operator: None,
            ask: false,
            channels_per_host: 64,
            parked: 1024,
            dials_per_minute: 10,
            dials_per_slot: 16,
            budget: 256 << 20,
            window: INITIAL_WINDOW,
            max_window: MAX_WINDOW,
        }
    }
}

/// What there is and what was, for a status page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Links attached now, without those that were hung up.
    pub links: u32,
    /// Hosts registered now.
    pub hosts: u32,
    /// Hosts that wait to be woken now.
    pub waiting: u32,
    /// Channels now.
    pub channels: u32,
    /// Dials waiting for their host now.
    pub parked: u32,
    /// Bytes of all windows now, and those that wait of channels that are over.
    pub reserved: u64,
    /// Bytes of DATA bodies forwarded so far.
    pub bytes: u64,
    /// Registrations and dials turned away so far.
    pub refused: u64,
}

/// Storage that the caller gives: a `Vec`, an array, a slice. Its length must not change.
pub trait Slots<T>: AsRef<[T]> + AsMut<[T]> {}

impl<T, S: AsRef<[T]> + AsMut<[T]>> Slots<T> for S {}
