//! One stream's states.
//!
//! ```text
//! sending:    Open --fin sent--> Done        receiving:   Open --fin or reset heard--> Done
//!               '--reset, or stop heard--> Reset --told--> Done
//! ```
//! A stream leaves the table when both directions are done, nothing is owed and the application
//! has released it.

use super::flow::{RecvCredit, SendCredit};
use crate::wire::StreamId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    Open,
    Reset(u16),
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    Open,
    Done,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) send: SendCredit,
    pub(super) recv: RecvCredit,
    pub(super) sending: Sending,
    pub(super) receiving: Receiving,
    /// A stop to be told to the peer.
    pub(super) stop: Option<u16>,
    /// The application has bytes, or the end, to send.
    pub(super) wants: bool,
    /// The application holds it no more: what arrives is discarded.
    pub(super) released: bool,
}

impl Stream {
    pub(super) const fn new(id: StreamId, send: SendCredit, recv: RecvCredit) -> Self {
        Self {
            id,
            send,
            recv,
            sending: Sending::Open,
            receiving: Receiving::Open,
            stop: None,
            wants: false,
            released: false,
        }
    }

    /// Whether it may have a turn, given the session's credit.
    pub(super) fn is_ready(&self, session: u64) -> bool {
        self.wants && self.sending == Sending::Open && self.send.available().min(session) > 0
    }

    pub(super) fn owes_control(&self) -> bool {
        matches!(self.sending, Sending::Reset(_)) || self.stop.is_some() || self.credit_due().is_some()
    }

    /// The limit to announce, if it is time: not to a peer that was told to stop.
    pub(super) fn credit_due(&self) -> Option<u64> {
        if self.receiving == Receiving::Open && !self.released { self.recv.due_on_consumption() } else { None }
    }

    pub(super) fn is_over(&self) -> bool {
        self.released && self.sending == Sending::Done && self.receiving == Receiving::Done && self.stop.is_none()
    }

    /// Whether the peer is the one who opened it, given the low bit of the peer's ids.
    pub(super) const fn is_of(&self, opener: u32) -> bool {
        self.id.0 & 1 == opener
    }
}
