//! The log of a world: always summed up in a hash, printed on demand.

use core::fmt::Arguments;

pub(crate) struct Trace {
    hash: u64,
    prints: bool,
    time: u64,
}

impl Trace {
    pub(crate) fn new(seed: u64) -> Self {
        Self { hash: seed, prints: std::env::var_os("TRACE").is_some(), time: 0 }
    }

    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) const fn time(&mut self, time: u64) {
        self.time = time;
        self.mix(time);
    }

    /// Notes what happened: numbers for the hash, words for the reader.
    pub(crate) fn note(&mut self, numbers: &[u64], words: Arguments<'_>) {
        for number in numbers {
            self.mix(*number);
        }
        if self.prints {
            eprintln!("{:>12} {words}", self.time);
        }
    }

    const fn mix(&mut self, number: u64) {
        self.hash = (self.hash ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
    }
}
