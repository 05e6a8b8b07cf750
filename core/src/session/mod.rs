//! Sealed records over an ordered transport: counters, epochs, nothing about their contents
//! (protocol 8).

mod direction;

use core::fmt;

use crate::crypto::{Aead, Portable};
use crate::handshake::Keys;
use crate::time::Instant;
use crate::wire::{HEADER_LEN, Header, MAX_PLAINTEXT, Reader, TAG_LEN};

use direction::Direction;
pub use direction::{EPOCH_BYTES, EPOCH_RECORDS, EPOCH_TIME};

/// No record of an epoch has this counter or a higher one.
const COUNTER_END: u64 = 1 << 32;

/// Which end of a session this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Started the handshake.
    Device,
    /// Answered it.
    Host,
}

/// Why nothing was sealed. The session is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// The plaintext is longer than a record may be, or does not fit the buffer.
    Length,
    /// The last epoch is used up: connect anew.
    Exhausted,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "record too long",
            Self::Exhausted => "session's keys are used up",
        })
    }
}

impl core::error::Error for SealError {}

/// Why a record was not opened. On an ordered transport each of these ends the attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discard {
    /// Not a record, or longer than was announced.
    Malformed,
    /// Not the next one: lost, repeated or overtaken on the way.
    Order,
    /// An epoch that cannot follow.
    Epoch,
    /// Not sealed by the peer.
    Forged,
}

impl fmt::Display for Discard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a record",
            Self::Order => "record out of order",
            Self::Epoch => "record of an impossible epoch",
            Self::Forged => "forged record",
        })
    }
}

impl core::error::Error for Discard {}

/// Two keys and two counters: seals what goes out, opens what comes in, in place.
pub struct Session<A = Portable> {
    sealing: Direction<A>,
    opening: Direction<A>,
    /// The most plaintext that this side announced to open in one record.
    max_opened: u16,
}

impl<A> fmt::Debug for Session<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("sealing", &self.sealing.header())
            .field("opening", &self.opening.header())
            .finish()
    }
}

impl<A: Aead> Session<A> {
    /// Bytes that a record is longer than its plaintext.
    pub const OVERHEAD: usize = HEADER_LEN + TAG_LEN;

    /// Starts with the keys of a handshake.
    #[must_use]
    pub fn new(role: Role, keys: &Keys, now: Instant) -> Self {
        let device = Direction::new(keys.device_to_host.duplicate(), now);
        let host = Direction::new(keys.host_to_device.duplicate(), now);
        let (sealing, opening) = match role {
            Role::Device => (device, host),
            Role::Host => (host, device),
        };
        Self { sealing, opening, max_opened: keys.own.max_record }
    }

    /// Seals the `len` bytes of plaintext at [`HEADER_LEN`] of `buf` and returns the record's
    /// length. Moves to the next epoch when the current one is used up.
    ///
    /// # Errors
    /// [`SealError`]; `buf` is then untouched.
    pub fn seal(&mut self, now: Instant, buf: &mut [u8], len: usize) -> Result<usize, SealError> {
        if len > MAX_PLAINTEXT {
            return Err(SealError::Length);
        }
        let total = len.saturating_add(Self::OVERHEAD);
        let record = buf.get_mut(..total).ok_or(SealError::Length)?;
        if self.sealing.is_worn(now) {
            self.sealing = self.sealing.next(now).ok_or(SealError::Exhausted)?;
        }
        let header = self.sealing.header();
        let (head, rest) = record.split_first_chunk_mut::<HEADER_LEN>().ok_or(SealError::Length)?;
        let (text, tag) = rest.split_last_chunk_mut::<TAG_LEN>().ok_or(SealError::Length)?;
        *head = header.to_bytes();
        *tag = self.sealing.aead.seal(header.counter, head, text);
        self.sealing.advance(total);
        Ok(total)
    }

    /// Opens a record in place and returns its plaintext. The counter moves only after the tag
    /// was verified.
    ///
    /// # Errors
    /// [`Discard`]; nothing has changed but the bytes of `record`.
    pub fn open<'b>(&mut self, now: Instant, record: &'b mut [u8]) -> Result<&'b [u8], Discard> {
        let total = record.len();
        let (head, sealed) = record.split_first_chunk_mut::<HEADER_LEN>().ok_or(Discard::Malformed)?;
        let header = Header::parse(&mut Reader::new(head)).map_err(|_| Discard::Malformed)?;
        let most = self.max_opened.into();
        let len = sealed.len().checked_sub(TAG_LEN).filter(|len| *len <= most).ok_or(Discard::Malformed)?;
        let expected = self.opening.header();
        if header.counter >= COUNTER_END {
            return Err(Discard::Epoch); // the peer should have changed keys long ago (protocol 8.3)
        } else if header == expected {
            self.opening.aead.open(header.counter, head, sealed).map_err(|_| Discard::Forged)?;
        } else if header.epoch == expected.epoch {
            return Err(Discard::Order);
        } else if header.epoch != expected.epoch.saturating_add(1) {
            return Err(Discard::Epoch);
        } else if header.counter != 0 {
            return Err(Discard::Order);
        } else {
            let next = self.opening.next(now).ok_or(Discard::Epoch)?;
            next.aead.open(header.counter, head, sealed).map_err(|_| Discard::Forged)?;
            self.opening = next;
        }
        self.opening.advance(total);
        Ok(sealed.get(..len).unwrap_or_default())
    }

    /// What the next sealed record will be.
    #[must_use]
    pub fn next_sealed(&self) -> Header {
        self.sealing.header()
    }

    /// What the next opened record must be.
    #[must_use]
    pub fn next_opened(&self) -> Header {
        self.opening.header()
    }
}
