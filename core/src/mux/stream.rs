//! One stream's states.
//!
//! ```text
//! sending:    Open --fin sent--> Finished --acknowledged--> Done
//!               '--reset, or stop heard--> Reset --told--> ResetTold --acknowledged--> Done
//! receiving:  Open --fin or reset heard--> Ended --acknowledged--> Done
//! a new attachment that knows no better:  Finished -> Open, ResetTold -> Reset
//! ```
//! A stream leaves the table when both directions are done, nothing is owed and the application
//! has released it.

use super::Violation;
use super::flow::{RecvCredit, SendCredit};
use crate::wire::{ResumeEntry, StreamId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    Open,
    /// All was sent, and the end.
    Finished,
    /// The peer is to be told.
    Reset(u16),
    ResetTold(u16),
    /// The peer has the end.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    Open,
    /// The end came; the peer is to be told so.
    Ended,
    Done,
}

/// A stop, until the end of what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    None,
    Owed(u16),
    Told(u16),
}

/// Of a [`ResumeEntry`]: the end was received.
pub(super) const END: u8 = 1;

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) send: SendCredit,
    pub(super) recv: RecvCredit,
    /// Bytes that the peer says it has.
    pub(super) acknowledged: u64,
    /// Bytes that the peer was told are here.
    pub(super) told: u64,
    pub(super) sending: Sending,
    pub(super) receiving: Receiving,
    pub(super) stop: Stop,
    /// The application has bytes, or the end, to send.
    pub(super) wants: bool,
    /// The application holds it no more: what arrives is discarded.
    pub(super) released: bool,
    /// The peer is to be told what has arrived, little as it may be.
    pub(super) nudged: bool,
    /// The peer has listed it since the last loss.
    pub(super) listed: bool,
}

impl Stream {
    pub(super) const fn new(id: StreamId, send: SendCredit, recv: RecvCredit) -> Self {
        Self {
            id,
            send,
            recv,
            acknowledged: 0,
            told: 0,
            sending: Sending::Open,
            receiving: Receiving::Open,
            stop: Stop::None,
            wants: false,
            released: false,
            nudged: false,
            listed: false,
        }
    }

    /// Whether it may have a turn, given the session's credit.
    pub(super) fn is_ready(&self, session: u64) -> bool {
        self.wants && self.sending == Sending::Open && self.send.available().min(session) > 0
    }

    /// Whether a control frame is owed that does not wait for company.
    pub(super) fn owes_control(&self) -> bool {
        matches!(self.sending, Sending::Reset(_)) || matches!(self.stop, Stop::Owed(_)) || self.credit_due().is_some()
    }

    /// The limit to announce, if it is time, or the old one where only what has arrived is to be
    /// told: nothing to a peer that was told to stop.
    pub(super) fn credit_due(&self) -> Option<u64> {
        if self.receiving != Receiving::Open || self.released {
            return None;
        }
        let untold = self.recv.received().saturating_sub(self.told);
        let tell = untold >= u64::from(self.recv.window() / 2) || (self.nudged && untold > 0);
        self.recv.due_on_consumption().or_else(|| tell.then(|| self.recv.limit()))
    }

    pub(super) fn is_over(&self) -> bool {
        self.released && self.sending == Sending::Done && self.receiving == Receiving::Done && self.stop == Stop::None
    }

    /// Whether the peer is the one who opened it, given the low bit of the peer's ids.
    pub(super) const fn is_of(&self, opener: u32) -> bool {
        self.id.0 & 1 == opener
    }

    /// Whether the peer may already have the end.
    pub(super) const fn has_told_end(&self) -> bool {
        matches!(self.sending, Sending::Finished | Sending::ResetTold(_) | Sending::Done)
    }

    /// The end of what was received came.
    pub(super) const fn end_receiving(&mut self) {
        self.receiving = Receiving::Ended;
        self.stop = Stop::None;
    }

    /// The peer has so much, and perhaps the end.
    ///
    /// # Errors
    /// [`Violation::Acknowledgement`] for what was not sent.
    pub(super) fn acknowledge(&mut self, received: u64, end: bool) -> Result<(), Violation> {
        if received > self.send.sent() {
            return Err(Violation::Acknowledgement);
        }
        if end {
            if !self.has_told_end() || received != self.send.sent() {
                return Err(Violation::Acknowledgement);
            }
            self.sending = Sending::Done;
        }
        self.acknowledged = self.acknowledged.max(received);
        Ok(())
    }

    /// Goes on, on a new attachment, from what the peer says it has. Returns by how many bytes
    /// that is behind what was sent.
    ///
    /// # Errors
    /// [`Violation::Acknowledgement`] for what was not sent, or was acknowledged before.
    pub(super) fn rewind(&mut self, received: u64, end: bool) -> Result<u64, Violation> {
        if received < self.acknowledged || (self.sending == Sending::Done && !end) {
            return Err(Violation::Acknowledgement);
        }
        self.acknowledge(received, end)?;
        let lost = self.send.rewind(received);
        match self.sending {
            Sending::Finished => self.sending = Sending::Open,
            Sending::ResetTold(code) => self.sending = Sending::Reset(code),
            Sending::Open | Sending::Reset(_) | Sending::Done => {}
        }
        self.wants = self.sending == Sending::Open;
        if let Stop::Told(code) = self.stop {
            self.stop = Stop::Owed(code);
        }
        self.listed = true;
        Ok(lost)
    }

    /// What the peer is told after a loss.
    pub(super) fn entry(&self) -> ResumeEntry {
        let ended = self.receiving != Receiving::Open;
        let flags = if ended { END } else { 0 };
        ResumeEntry { id: self.id, received: self.recv.received(), limit: self.recv.limit(), flags }
    }
}
