//! One direction's keys: the symmetric ratchet (protocol 7, 8.3).

use core::time::Duration;

use crate::crypto::{Aead, Secret, expand, expand_into, hchacha};
use crate::time::Instant;
use crate::wire::Header;

/// Records in an epoch.
pub const EPOCH_RECORDS: u64 = 1 << 20;
/// Bytes in an epoch.
pub const EPOCH_BYTES: u64 = 1 << 30;
/// How long an epoch lasts.
pub const EPOCH_TIME: Duration = Duration::from_secs(600);
const LAST_EPOCH: u32 = (1 << 24) - 1;

/// The subkey of the current epoch, and the secret that the next one comes from.
pub(super) struct Direction<A> {
    secret: Secret<32>,
    pub(super) aead: A,
    epoch: u32,
    counter: u64,
    bytes: u64,
    since: Instant,
}

impl<A> Direction<A> {
    pub(super) const fn header(&self) -> Header {
        Header { epoch: self.epoch, counter: self.counter }
    }

    /// Whether the sender must change keys before it seals again.
    pub(super) fn is_worn(&self, now: Instant) -> bool {
        self.counter >= EPOCH_RECORDS || self.bytes >= EPOCH_BYTES || now.since(self.since) >= EPOCH_TIME
    }

    /// Counts a record of `len` bytes.
    pub(super) const fn advance(&mut self, len: usize) {
        self.counter = self.counter.saturating_add(1);
        self.bytes = self.bytes.saturating_add(len as u64);
    }
}

impl<A: Aead> Direction<A> {
    pub(super) fn new(secret: Secret<32>, now: Instant) -> Self {
        Self::at(secret, 0, now)
    }

    /// The next epoch, from nothing but this one's secret.
    pub(super) fn next(&self, now: Instant) -> Option<Self> {
        let epoch = self.epoch.checked_add(1).filter(|epoch| *epoch <= LAST_EPOCH)?;
        Some(Self::at(expand(&self.secret, "next", b""), epoch, now))
    }

    fn at(secret: Secret<32>, epoch: u32, since: Instant) -> Self {
        let prefix = expand_into::<16>(&secret, "nonce", b"");
        let aead = A::new(&hchacha(&expand(&secret, "key", b""), prefix.expose()));
        Self { secret, aead, epoch, counter: 0, bytes: 0, since }
    }
}
