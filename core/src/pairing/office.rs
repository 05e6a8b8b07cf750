//! Where a host keeps its live tickets: single use, expiry, and who won (protocol 5.5).
//!
//! ```text
//! Active --commit--> Consumed(device)       Active --expiry--> gone
//!    '--cancelled, or too many handshakes--> gone
//! ```
//! The host calls [`Office::commit`], stores the device's record, and answers only then, one device
//! after the other; whoever commits first has the ticket, unless storing fails and it is rolled back.

use core::fmt;
use core::time::Duration;

use heapless::Vec;

use super::ticket::{Secrets, Ticket};
use crate::crypto::PublicKey;
use crate::handshake::{self, Suite};
use crate::hop::rv_hash;
use crate::time::Instant;

/// Live tickets at once.
pub const MAX_TICKETS: usize = 4;
/// Handshakes that one ticket survives.
pub const MAX_HANDSHAKES: u8 = 16;
/// How long a ticket lives unless its maker says less.
pub const TICKET_LIFE: Duration = Duration::from_secs(300);

/// A ticket's name within its host, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TicketId(pub u64);

/// What became of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketState {
    /// Waiting for a device.
    Active,
    /// Used by this device, which may finish a pairing whose end it did not hear of.
    Consumed(PublicKey),
}

/// Why a ticket was not issued or committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// There are [`MAX_TICKETS`] already.
    TooMany,
    /// It expired, was cancelled, or never was.
    Gone,
    /// Another device was first.
    Used,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooMany => "too many pairing links are open: close one or wait until it expires",
            Self::Gone => "the pairing link has expired or was cancelled",
            Self::Used => "the pairing link was used by another device",
        })
    }
}

impl core::error::Error for Refused {}

/// How a commit went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// This device won the ticket.
    First,
    /// The same device again: its record is replaced.
    Again,
}

#[derive(Debug)]
struct Entry {
    id: TicketId,
    suite: Suite,
    secrets: Secrets,
    confirm: bool,
    expires: Instant,
    state: TicketState,
    handshakes: u8,
    /// The last commit was one of a device that had the ticket already.
    again: bool,
}

/// A host's live tickets.
#[derive(Debug, Default)]
pub struct Office {
    entries: Vec<Entry, MAX_TICKETS>,
    issued: u64,
}

impl Office {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Vec::new(), issued: 0 }
    }

    /// Takes in a ticket that lives for `life`, at most [`TICKET_LIFE`]. Where there is no room, the
    /// oldest used ticket is forgotten.
    ///
    /// # Errors
    /// [`Refused::TooMany`].
    pub fn issue(&mut self, ticket: &Ticket, now: Instant, life: Duration) -> Result<TicketId, Refused> {
        self.expire(now);
        let id = TicketId(self.issued);
        let entry = Entry {
            id,
            suite: ticket.suite,
            secrets: ticket.secrets(),
            confirm: ticket.flags.confirm,
            expires: now + life.min(TICKET_LIFE),
            state: TicketState::Active,
            handshakes: 0,
            again: false,
        };
        if self.entries.is_full() {
            // A used ticket serves only a device that did not hear of its success; it makes way.
            let used = self.entries.iter().position(|entry| entry.state != TicketState::Active);
            used.map(|place| self.entries.remove(place));
        }
        self.entries.push(entry).map_err(|_| Refused::TooMany)?;
        self.issued = self.issued.saturating_add(1);
        Ok(id)
    }

    /// What [`handshake::hear`] needs of the live tickets, in the order that its index counts.
    pub fn live(&mut self, now: Instant) -> impl Iterator<Item = (Suite, &handshake::Ticket)> {
        self.expire(now);
        self.entries.iter().map(|entry| (entry.suite, &entry.secrets.handshake))
    }

    /// The ticket at `index` of [`live`](Self::live), until any ticket comes or goes.
    #[must_use]
    pub fn id_at(&self, index: usize) -> Option<TicketId> {
        self.entries.get(index).map(|entry| entry.id)
    }

    /// Counts a handshake under the ticket at `index` of [`live`](Self::live), by the device with
    /// this key, and names the ticket. One handshake too many cancels it.
    ///
    /// # Errors
    /// [`Refused::Gone`], [`Refused::Used`].
    pub fn knock(&mut self, index: usize, device: &PublicKey, now: Instant) -> Result<TicketId, Refused> {
        // Nothing is removed before the look-up: the index counts the tickets as `live` showed them.
        let entry = self.entries.get_mut(index).filter(|entry| entry.expires > now).ok_or(Refused::Gone)?;
        if let TicketState::Consumed(winner) = entry.state
            && winner != *device
        {
            return Err(Refused::Used);
        }
        entry.handshakes = entry.handshakes.saturating_add(1);
        let id = entry.id;
        if entry.handshakes > MAX_HANDSHAKES {
            self.cancel(id);
            return Err(Refused::Gone);
        }
        Ok(id)
    }

    /// The compare-and-swap: the first device to get here has the ticket.
    ///
    /// # Errors
    /// [`Refused::Gone`], [`Refused::Used`].
    pub fn commit(&mut self, id: TicketId, device: &PublicKey, now: Instant) -> Result<Commit, Refused> {
        self.expire(now);
        let entry = self.entries.iter_mut().find(|entry| entry.id == id).ok_or(Refused::Gone)?;
        match entry.state {
            TicketState::Active => {
                entry.state = TicketState::Consumed(*device);
                entry.again = false;
                Ok(Commit::First)
            }
            TicketState::Consumed(winner) if winner == *device => {
                entry.again = true;
                Ok(Commit::Again)
            }
            TicketState::Consumed(_) => Err(Refused::Used),
        }
    }

    /// Takes the last [`commit`](Self::commit) back, where storing the device failed. A ticket that
    /// the same device had consumed before stays consumed.
    pub fn roll_back(&mut self, id: TicketId) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id && !entry.again) {
            entry.state = TicketState::Active;
        }
    }

    /// Ends a ticket.
    pub fn cancel(&mut self, id: TicketId) {
        self.entries.retain(|entry| entry.id != id);
    }

    /// What became of a ticket; none once it is gone.
    #[must_use]
    pub fn state(&self, id: TicketId) -> Option<TicketState> {
        self.entries.iter().find(|entry| entry.id == id).map(|entry| entry.state)
    }

    /// Whether the operator is to confirm the device of this ticket.
    #[must_use]
    pub fn confirms(&self, id: TicketId) -> bool {
        self.entries.iter().any(|entry| entry.id == id && entry.confirm)
    }

    /// The pairing slots that the relay is to know: hash of the rendezvous, seconds left.
    pub fn slots(&self, now: Instant) -> impl Iterator<Item = ([u8; 16], u16)> {
        self.entries.iter().map(move |entry| {
            let left = entry.expires.since(now).as_secs();
            (rv_hash(&entry.secrets.rendezvous), u16::try_from(left).unwrap_or(u16::MAX))
        })
    }

    /// When the next ticket expires.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.entries.iter().map(|entry| entry.expires).min()
    }

    fn expire(&mut self, now: Instant) {
        self.entries.retain(|entry| entry.expires > now);
    }
}
