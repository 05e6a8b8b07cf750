//! Sealed records, over an ordered transport or as datagrams: counters, epochs, nothing about their
//! contents (protocol 8).

mod direction;
mod receive;
mod replay;

use core::fmt;
use core::num::NonZeroU16;

use crate::crypto::{Aead, Portable};
use crate::handshake::Keys;
use crate::time::Instant;
use crate::wire::{HEADER_LEN, Header, MAX_PLAINTEXT, Reader, TAG_LEN};

use direction::{Direction, is_possible};
pub use direction::{EPOCH_BYTES, EPOCH_RECORDS, EPOCH_TIME};
pub use receive::{Arrived, Datagrams, FORGED_MAX, Ordered, PREVIOUS_TIME, Receive};
pub use replay::{Fresh, Replayed, WINDOW, Window};

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
#[non_exhaustive]
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

/// Why a record was not opened. On an ordered transport each of these ends the attachment; a
/// datagram is dropped, and only [`Worn`](Self::Worn) is the end.
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
    /// A datagram that was opened before, or is too old to tell.
    Replayed,
    /// Too many forged datagrams for one key: connect anew.
    Worn,
}

impl fmt::Display for Discard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a record",
            Self::Order => "record out of order",
            Self::Epoch => "record of an impossible epoch",
            Self::Forged => "forged record",
            Self::Replayed => "record repeated, or too old to tell",
            Self::Worn => "too many forged records: connect anew",
        })
    }
}

impl core::error::Error for Discard {}

/// Two keys and two counters: seals what goes out, opens what comes in, in place. What may come in
/// is for `R` to say; the records are the same.
pub struct Session<A = Portable, R = Ordered<A>> {
    sealing: Direction<A>,
    opening: R,
    /// Bytes sealed in this epoch, which has far fewer than 2^32.
    sealed: u32,
    /// The first counter that is too high for this epoch.
    end: u64,
    /// When this epoch began.
    since: Instant,
    /// The most plaintext that this side announced to open in one record.
    max_opened: NonZeroU16,
}

impl<A, R: fmt::Debug> fmt::Debug for Session<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("sealing", &self.sealing.header())
            .field("opening", &self.opening)
            .finish_non_exhaustive()
    }
}

impl<A: Aead> Session<A> {
    /// Starts with the keys of a handshake, over a transport that neither loses nor reorders.
    #[must_use]
    pub fn new(role: Role, keys: &Keys, now: Instant) -> Self {
        Self::start(role, keys, now)
    }

    /// What the next opened record must be.
    #[must_use]
    pub const fn next_opened(&self) -> Header {
        self.opening.next()
    }
}

impl<A: Aead> Session<A, Datagrams<A>> {
    /// Starts with the keys of a handshake, over a transport that may lose, repeat and reorder.
    ///
    /// The peer's keys change at the latest with [`EPOCH_RECORDS`], [`EPOCH_BYTES`] or
    /// [`EPOCH_TIME`]. An epoch of which nothing arrives cannot be passed over: whoever seals
    /// rarely should seal something now and then.
    #[must_use]
    pub fn datagrams(role: Role, keys: &Keys, now: Instant) -> Self {
        Self::start(role, keys, now)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout): the keys of the previous epoch are
    /// kept until then.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.opening.previous_until()
    }

    /// Erases the keys of the previous epoch when their time is over. [`open`](Self::open) does so
    /// too: without this call they stay until the next record.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.opening.forget_previous(now);
    }

    /// The newest epoch of which a record was opened.
    #[must_use]
    pub fn newest_epoch(&self) -> u32 {
        self.opening.newest_epoch()
    }
}

impl<A: Aead, R: Receive<A>> Session<A, R> {
    /// Bytes that a record is longer than its plaintext.
    pub const OVERHEAD: usize = HEADER_LEN + TAG_LEN;

    fn start(role: Role, keys: &Keys, now: Instant) -> Self {
        let (sealing, opening) = match role {
            Role::Device => (&keys.device_to_host, &keys.host_to_device),
            Role::Host => (&keys.host_to_device, &keys.device_to_host),
        };
        let max_opened = NonZeroU16::new(keys.own.max_record).unwrap_or(NonZeroU16::MIN);
        let (sealing, opening) = (Direction::new(sealing.duplicate()), R::start(opening.duplicate()));
        Self { sealing, opening, sealed: 0, end: EPOCH_RECORDS, since: now, max_opened }
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
            self.end = self.sealing.header().counter.saturating_add(EPOCH_RECORDS);
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
        self.sealing.header().counter >= self.end
            || u64::from(self.sealed) >= EPOCH_BYTES
            || now.since(self.since) >= EPOCH_TIME
    }

    /// Opens a record in place and returns its plaintext. Which records were seen changes only
    /// after the tag was verified. When to change keys is the sender's to decide: `now` only says
    /// how long datagrams of the previous epoch are still taken.
    ///
    /// # Errors
    /// [`Discard`]; nothing has changed but the bytes of `record` and the number of forged datagrams.
    pub fn open<'b>(&mut self, now: Instant, record: &'b mut [u8]) -> Result<&'b [u8], Discard> {
        let (head, sealed) = record.split_first_chunk_mut::<HEADER_LEN>().ok_or(Discard::Malformed)?;
        let header = Header::parse(&mut Reader::new(head)).map_err(|_| Discard::Malformed)?;
        let most = self.max_opened.get().into();
        let len = sealed.len().checked_sub(TAG_LEN).filter(|len| *len <= most).ok_or(Discard::Malformed)?;
        if !is_possible(header) {
            return Err(Discard::Epoch); // the peer should have changed keys long ago (protocol 8.3)
        }
        self.opening.open(now, Arrived { header, head, sealed })?;
        Ok(sealed.get(..len).unwrap_or_default())
    }

    /// What the next sealed record will be.
    #[must_use]
    pub const fn next_sealed(&self) -> Header {
        self.sealing.header()
    }
}
