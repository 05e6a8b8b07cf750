//! One direction's keys: the symmetric ratchet (protocol 7, 8.3).

use core::time::Duration;

use crate::crypto::{Aead, Prk, Secret, expand, hchacha};
use crate::wire::Header;

/// Records in an epoch.
pub const EPOCH_RECORDS: u64 = 1 << 20;
/// Bytes in an epoch.
pub const EPOCH_BYTES: u64 = 1 << 30;
/// How long an epoch lasts.
pub const EPOCH_TIME: Duration = Duration::from_secs(600);
const LAST_EPOCH: u32 = (1 << 24) - 1;

/// Whether a sender that changes its keys in time can have sealed this: [`EPOCH_RECORDS`] in each epoch up to this one.
pub(super) const fn is_possible(header: Header) -> bool {
    header.counter / EPOCH_RECORDS <= header.epoch as u64
}

/// The subkey of the current epoch, and the secret that the next one comes from. The counter goes on from epoch to
/// epoch, so that whatever is missing shows at the next record, a change of keys or not.
pub(super) struct Direction<A> {
    secret: Secret<32>,
    pub(super) aead: A,
    epoch: u32,
    counter: u64,
}

impl<A> Direction<A> {
    pub(super) const fn header(&self) -> Header {
        Header { epoch: self.epoch, counter: self.counter }
    }

    /// Counts a record.
    pub(super) const fn advance(&mut self) {
        self.counter = self.counter.saturating_add(1);
    }
}

impl<A: Aead> Direction<A> {
    pub(super) fn new(secret: Secret<32>) -> Self {
        Self::at(secret, 0, 0)
    }

    /// The next epoch, its keys from nothing but this one's secret.
    pub(super) fn next(&self) -> Option<Self> {
        let epoch = self.epoch.checked_add(1).filter(|epoch| *epoch <= LAST_EPOCH)?;
        Some(Self::at(expand(&self.secret, "next", b""), epoch, self.counter))
    }

    fn at(secret: Secret<32>, epoch: u32, counter: u64) -> Self {
        let prk = Prk::new(&secret);
        let aead = A::new(&hchacha(&prk.expand("key", b""), prk.expand("nonce", b"").expose()));
        Self { secret, aead, epoch, counter }
    }
}
