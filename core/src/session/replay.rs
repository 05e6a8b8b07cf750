//! The replay window (RFC 6479): which of the latest counters were seen. No keys.

use core::fmt;

/// How many of the latest counters a receiver of datagrams tells apart; older ones are refused.
pub const WINDOW: u64 = 1024;

const BITS: u64 = u64::BITS as u64;

/// Words of the window of a session: one more than it spans, so that the newest is never full of
/// counters that are still to be told apart.
pub(super) const WORDS: usize = WINDOW.div_ceil(BITS) as usize + 1;

/// The counter was seen, or is too old to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed;

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("record repeated, or too old to tell")
    }
}

impl core::error::Error for Replayed {}

/// Which counters were seen, of the latest [`Self::SIZE`]. The bits never move: words are used in
/// turn, and one is cleared when the newest counter enters it.
#[derive(Clone, Debug)]
pub struct Window<const WORDS: usize> {
    words: [u64; WORDS],
    /// One more than the highest counter seen.
    next: u64,
}

impl<const WORDS: usize> Window<WORDS> {
    /// How many counters it tells apart.
    pub const SIZE: u64 = {
        assert!(WORDS >= 2, "one word is always being filled");
        (WORDS as u64 - 1) * BITS
    };

    /// Nothing seen yet.
    pub const EMPTY: Self = Self { words: [0; WORDS], next: 0 };

    /// Whether a record with this counter is worth opening. Nothing changes until
    /// [`Fresh::commit`], and none but this record can be checked before that.
    ///
    /// # Errors
    /// [`Replayed`].
    pub fn check(&mut self, counter: u64) -> Result<Fresh<'_, WORDS>, Replayed> {
        let is_old = counter < self.next && (self.next.saturating_sub(counter) > Self::SIZE || self.has(counter));
        if is_old { Err(Replayed) } else { Ok(Fresh { window: self, counter }) }
    }

    fn has(&self, counter: u64) -> bool {
        let (word, bit) = Self::place(counter);
        self.words.get(word).is_none_or(|word| word & bit != 0)
    }

    const fn place(counter: u64) -> (usize, u64) {
        ((counter / BITS % WORDS as u64) as usize, 1 << (counter % BITS))
    }

    fn mark(&mut self, counter: u64) {
        if counter >= self.next {
            let newest = self.next.saturating_sub(1) / BITS;
            // Words entered for the first time, or again; all of them after a long jump.
            let entered = (counter / BITS).saturating_sub(newest).min(WORDS as u64);
            for step in 1..=entered {
                let (word, _) = Self::place(newest.saturating_add(step).saturating_mul(BITS));
                if let Some(word) = self.words.get_mut(word) {
                    *word = 0;
                }
            }
            self.next = counter.saturating_add(1);
        }
        let (word, bit) = Self::place(counter);
        if let Some(word) = self.words.get_mut(word) {
            *word |= bit;
        }
    }
}

/// Proof that a counter was not seen before: of no effect until the record has proven to be the
/// peer's.
#[derive(Debug)]
#[must_use = "a record that was opened must not be opened again"]
pub struct Fresh<'w, const WORDS: usize> {
    window: &'w mut Window<WORDS>,
    counter: u64,
}

impl<const WORDS: usize> Fresh<'_, WORDS> {
    /// The tag is right: no other record with this counter will do.
    pub fn commit(self) {
        self.window.mark(self.counter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn see<const WORDS: usize>(window: &mut Window<WORDS>, counter: u64) -> bool {
        window.check(counter).map(Fresh::commit).is_ok()
    }

    #[test]
    fn a_session_tells_apart_as_many_as_the_protocol_says() {
        assert_eq!(Window::<WORDS>::SIZE, WINDOW);
    }

    #[test]
    fn each_counter_is_good_once() {
        let mut window = Window::<3>::EMPTY;
        for counter in [0, 1, 5, 3, 200, 199, 73] {
            assert!(see(&mut window, counter), "{counter}");
            assert!(!see(&mut window, counter), "{counter} again");
        }
    }

    #[test]
    fn the_window_reaches_back_by_its_size_and_no_further() {
        // At each place in a word: right after the newest came in, and with all words in use.
        for newest in 127..127 + 300 {
            let mut window = Window::<3>::EMPTY;
            assert!(see(&mut window, newest));
            assert!(see(&mut window, newest - 127), "{newest}");
            assert!(newest < 128 || !see(&mut window, newest - 128), "{newest}");
        }
    }

    #[test]
    fn a_forged_record_moves_nothing() {
        let mut window = Window::<3>::EMPTY;
        assert!(see(&mut window, 7));
        drop(window.check(1 << 40).unwrap());
        drop(window.check(8).unwrap());
        assert!(see(&mut window, 0) && see(&mut window, 8) && !see(&mut window, 7));
    }

    #[test]
    fn a_jump_clears_what_it_passes() {
        for jump in [64, 65, 128, 191, 192, 193, 1 << 20, u64::MAX - 400] {
            let mut window = Window::<3>::EMPTY;
            for counter in 0..200 {
                assert!(see(&mut window, counter));
            }
            assert!(see(&mut window, 199 + jump));
            for back in 1..128 {
                let counter = 199 + jump - back;
                assert_eq!(see(&mut window, counter), counter > 199, "{counter} after a jump by {jump}");
            }
        }
    }

    #[test]
    fn the_last_counter_of_all_is_good_once() {
        let mut window = Window::<3>::EMPTY;
        assert!(see(&mut window, u64::MAX - 1));
        assert!(!see(&mut window, u64::MAX - 1));
        assert!(see(&mut window, u64::MAX - 2));
    }
}
