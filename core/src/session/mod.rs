//! Sealed records over an ordered transport: counters, epochs, nothing about their contents
//! (protocol 8).

mod direction;

use core::fmt;
use core::num::NonZeroU16;

use crate::crypto::{Aead, Portable};
use crate::handshake::Keys;
use crate::time::Instant;
use crate::wire::{HEADER_LEN, Header, MAX_PLAINTEXT, Reader, TAG_LEN};

use direction::{COUNTER_END, Direction};
pub use direction::{EPOCH_BYTES, EPOCH_RECORDS, EPOCH_TIME};

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
    /// Bytes sealed in this epoch, which has far fewer than 2^32.
    sealed: u32,
    /// When this epoch began.
    since: Instant,
    /// The most plaintext that this side announced to open in one record.
    max_opened: NonZeroU16,
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
        let device = Direction::new(keys.device_to_host.duplicate());
        let host = Direction::new(keys.host_to_device.duplicate());
        let (sealing, opening) = match role {
            Role::Device => (device, host),
            Role::Host => (host, device),
        };
        let max_opened = NonZeroU16::new(keys.own.max_record).unwrap_or(NonZeroU16::MIN);
        Self { sealing, opening, sealed: 0, since: now, max_opened }
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
        if self.is_worn(now) {
            self.sealing = self.sealing.next().ok_or(SealError::Exhausted)?;
            self.sealed = 0;
            self.since = now;
        }
        let header = self.sealing.header();
        let (head, rest) = record.split_first_chunk_mut::<HEADER_LEN>().ok_or(SealError::Length)?;
        let (text, tag) = rest.split_last_chunk_mut::<TAG_LEN>().ok_or(SealError::Length)?;
        *head = header.to_bytes();
        *tag = self.sealing.aead.seal(header.counter, head, text);
        self.sealing.advance();
        self.sealed = self.sealed.saturating_add(total as u32);
        Ok(total)
    }

    /// Whether the keys must change before the next record is sealed.
    fn is_worn(&self, now: Instant) -> bool {
        self.sealing.header().counter >= EPOCH_RECORDS
            || u64::from(self.sealed) >= EPOCH_BYTES
            || now.since(self.since) >= EPOCH_TIME
    }

    /// Opens a record in place and returns its plaintext. The counter moves only after the tag
    /// was verified. When to change keys is the sender's to decide: the time does not matter yet.
    ///
    /// # Errors
    /// [`Discard`]; nothing has changed but the bytes of `record`.
    pub fn open<'b>(&mut self, _now: Instant, record: &'b mut [u8]) -> Result<&'b [u8], Discard> {
        let (head, sealed) = record.split_first_chunk_mut::<HEADER_LEN>().ok_or(Discard::Malformed)?;
        let header = Header::parse(&mut Reader::new(head)).map_err(|_| Discard::Malformed)?;
        let most = self.max_opened.get().into();
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
            let next = self.opening.next().ok_or(Discard::Epoch)?;
            next.aead.open(header.counter, head, sealed).map_err(|_| Discard::Forged)?;
            self.opening = next;
        }
        self.opening.advance();
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
