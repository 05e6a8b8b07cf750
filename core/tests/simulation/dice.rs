//! All chance of a world: one seeded generator, asked for numbers.

use core::convert::Infallible;

use rand_core::{Rng, TryCryptoRng, TryRng};

use crate::rng::Seeded;

pub(crate) struct Dice(Seeded);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Seeded::new(seed))
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.next_u64() % (high - low + 1)
    }

    /// An index into something of this length.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.between(0, len as u64 - 1) as usize
    }

    /// True in `parts` of 100 cases.
    pub(crate) fn percent(&mut self, parts: u64) -> bool {
        self.between(0, 99) < parts
    }

    /// A time up to `span`: any, or an early one, when all begins.
    pub(crate) fn sometime(&mut self, span: u64) -> u64 {
        if self.percent(70) { self.between(0, span) } else { self.wide(span) }
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    /// Mostly small, seldom up to `high`: each power of two is as likely as the next.
    pub(crate) fn wide(&mut self, high: u64) -> u64 {
        let bits = self.between(0, u64::from(64 - high.leading_zeros()));
        let top = high.min((1_u64 << bits).saturating_sub(1));
        self.between(0, top)
    }
}

impl TryRng for Dice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.0.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0.try_next_u64()
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.try_fill_bytes(out)
    }
}

impl TryCryptoRng for Dice {}
