//! Why a link ended, and what that means for the next attempt.

use core::time::Duration;

use homing_core::channel::{self, code};
use homing_core::handshake::{self, Failure};
use homing_core::hop;
use homing_core::wire::Scope;

use crate::wire::WireError;

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Ended {
    /// The application asked for it.
    #[error("ended on request")]
    Asked,
    /// The socket to the relay.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The relay broke the protocol of the hop.
    #[error("{0}")]
    Violation(hop::Violation),
    /// The relay does not answer.
    #[error("{0}")]
    Silent(hop::Lost),
    /// The relay closed the channel or link, with its reason.
    #[error("{0}")]
    Hop(hop::Code),
    /// The relay has no room for this now, and says when to come back: in no more than
    /// [`LONGEST_TOLD`](homing_core::backoff::LONGEST_TOLD).
    #[error("{}", hop::Code::Busy)]
    Busy {
        /// How long there is no use in it.
        retry_after: Duration,
    },
    /// The host gave a hint why it does not answer, and in how many milliseconds another call makes
    /// sense.
    #[error("{0}")]
    Failure(Failure, u32),
    /// The host's reply was not the pinned host's.
    #[error("the other end is not the host that this device was paired with: {0}")]
    Handshake(handshake::Error),
    /// The channel failed.
    #[error("{0}")]
    Channel(channel::Error),
    /// The peer closed the session or channel.
    #[error("{}", close_text(*.code, .text))]
    Closed {
        /// What was closed.
        scope: Scope,
        /// A code of [`homing_core::channel::code`].
        code: u16,
        /// The peer's words, with nothing in them that a terminal would obey.
        text: String,
    },
    /// What the application had to store could not be stored.
    #[error("{0}")]
    Storage(String),
}

impl Ended {
    /// Whether no further attempt can succeed until a person does something.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Asked | Self::Storage(_) => true,
            Self::Closed { code, .. } => {
                matches!(*code, code::REVOKED | code::TICKET_USED | code::DENIED | code::TOKEN_INVALID | code::EXPIRED)
            }
            _ => false,
        }
    }
}

impl From<hop::Violation> for Ended {
    fn from(violation: hop::Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<channel::Error> for Ended {
    fn from(error: channel::Error) -> Self {
        Self::Channel(error)
    }
}

fn close_text(code: u16, text: &str) -> String {
    let meaning = match code {
        code::NORMAL => "the other end closed the session",
        code::PROTOCOL => "the other end says that this end broke the protocol",
        code::FLOW_CONTROL => "the other end says that this end sent too much",
        code::LIMIT => "a limit of the other end is reached",
        code::TIMEOUT => "the other end waited too long",
        code::REVOKED => "this device was revoked by its host: pair again with a new link",
        code::TICKET_USED => "the pairing link was used already: ask for a new one",
        code::DENIED => "the host's operator did not accept this device",
        code::TOKEN_INVALID => "the host does not know this device's token: pair again with a new link",
        code::EXPIRED => "what this guest was given is over: ask for a new link",
        code::SUPERSEDED => "a newer connection took over",
        code::SHUTDOWN => "the other end is shutting down",
        _ => "the other end failed",
    };
    if text.is_empty() { meaning.into() } else { format!("{meaning} ({text})") }
}

/// A peer's text without control characters.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
