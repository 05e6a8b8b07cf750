//! Which record may come next: on an ordered transport the next one, of datagrams any that was
//! not seen (protocol 8.2).

use core::fmt;
use core::time::Duration;

use crate::crypto::{Aead, Secret};
use crate::time::Instant;
use crate::wire::{HEADER_LEN, Header};

use super::Discard;
use super::direction::Direction;
use super::replay::{WORDS, Window};

/// How long records of the previous epoch are still taken after the next one has begun.
pub const PREVIOUS_TIME: Duration = Duration::from_secs(30);
/// Forged records in an epoch after which a session over datagrams opens no more.
pub const FORGED_MAX: u32 = 1 << 20;

/// A record whose header was read.
#[derive(Debug)]
pub struct Arrived<'r> {
    pub(super) header: Header,
    pub(super) head: &'r [u8; HEADER_LEN],
    /// Ciphertext and tag.
    pub(super) sealed: &'r mut [u8],
}

impl Arrived<'_> {
    fn open(self, aead: &impl Aead) -> Result<(), Discard> {
        aead.open(self.header.counter, self.head, self.sealed).map_err(|_| Discard::Forged)
    }
}

/// The receiving half of a session: [`Ordered`] or [`Datagrams`].
pub trait Receive<A>: fmt::Debug {
    /// Starts with the secret of epoch 0.
    #[doc(hidden)]
    fn start(secret: Secret<32>) -> Self;

    /// Opens a record in place where it may come now. What is kept changes only after the tag was
    /// verified.
    #[doc(hidden)]
    fn open(&mut self, now: Instant, record: Arrived<'_>) -> Result<(), Discard>;
}

/// Each record must be the next one: for a transport that neither loses nor reorders.
pub struct Ordered<A>(Direction<A>);

impl<A> Ordered<A> {
    pub(super) const fn next(&self) -> Header {
        self.0.header()
    }
}

impl<A> fmt::Debug for Ordered<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ordered").field(&self.next()).finish()
    }
}

impl<A: Aead> Receive<A> for Ordered<A> {
    fn start(secret: Secret<32>) -> Self {
        Self(Direction::new(secret))
    }

    fn open(&mut self, _: Instant, record: Arrived<'_>) -> Result<(), Discard> {
        let (header, expected) = (record.header, self.next());
        if header == expected {
            record.open(&self.0.aead)?;
        } else if header.epoch != expected.epoch && header.epoch != expected.epoch.saturating_add(1) {
            return Err(Discard::Epoch);
        } else if header.counter != expected.counter {
            return Err(Discard::Order);
        } else {
            let next = self.0.next().ok_or(Discard::Epoch)?;
            record.open(&next.aead)?;
            self.0 = next;
        }
        self.0.advance();
        Ok(())
    }
}

/// Records may be lost, repeated and overtaken: each is taken once, a bad one is dropped and the
/// session lives on.
pub struct Datagrams<A> {
    current: Direction<A>,
    /// Of both epochs: no two records have the same counter.
    seen: Window<WORDS>,
    previous: Option<Previous<A>>,
    /// Forged records since the current epoch began.
    forged: u32,
}

/// What is kept of the epoch before: not the secret, from which all later keys follow.
struct Previous<A> {
    aead: A,
    until: Instant,
}

impl<A> Datagrams<A> {
    pub(super) fn newest_epoch(&self) -> u32 {
        self.current.header().epoch
    }

    pub(super) fn previous_until(&self) -> Option<Instant> {
        self.previous.as_ref().map(|previous| previous.until)
    }

    pub(super) fn forget_previous(&mut self, now: Instant) {
        self.previous.take_if(|previous| now >= previous.until);
    }
}

impl<A> fmt::Debug for Datagrams<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datagrams")
            .field("epoch", &self.newest_epoch())
            .field("previous_until", &self.previous_until())
            .field("forged", &self.forged)
            .finish()
    }
}

impl<A: Aead> Datagrams<A> {
    fn open_known(&mut self, now: Instant, record: Arrived<'_>) -> Result<(), Discard> {
        let Header { epoch, counter } = record.header;
        let newest = self.newest_epoch();
        if epoch == newest {
            let fresh = self.seen.check(counter).map_err(|_| Discard::Replayed)?;
            record.open(&self.current.aead)?;
            fresh.commit();
        } else if epoch == newest.saturating_add(1) {
            // Its first record may be lost: any of them begins the epoch.
            let fresh = self.seen.check(counter).map_err(|_| Discard::Replayed)?;
            let next = self.current.next().ok_or(Discard::Epoch)?;
            record.open(&next.aead)?;
            fresh.commit();
            let Direction { aead, .. } = core::mem::replace(&mut self.current, next);
            self.previous = Some(Previous { aead, until: now + PREVIOUS_TIME });
            self.forged = 0;
        } else if epoch.saturating_add(1) == newest {
            let previous = self.previous.as_ref().ok_or(Discard::Epoch)?;
            let fresh = self.seen.check(counter).map_err(|_| Discard::Replayed)?;
            record.open(&previous.aead)?;
            fresh.commit();
        } else {
            return Err(Discard::Epoch);
        }
        Ok(())
    }
}

impl<A: Aead> Receive<A> for Datagrams<A> {
    fn start(secret: Secret<32>) -> Self {
        Self { current: Direction::new(secret), seen: Window::EMPTY, previous: None, forged: 0 }
    }

    fn open(&mut self, now: Instant, record: Arrived<'_>) -> Result<(), Discard> {
        self.forget_previous(now);
        if self.forged >= FORGED_MAX {
            return Err(Discard::Worn);
        }
        let opened = self.open_known(now, record);
        if opened == Err(Discard::Forged) {
            self.forged = self.forged.saturating_add(1);
        }
        opened
    }
}
