//! When endpoints come back: never too late, never all at once.

use core::convert::Infallible;
use core::time::Duration;

use homing_core::Instant;
use homing_core::backoff::{Backoff, LONGEST, LONGEST_TOLD};
use proptest::prelude::*;
use rand_core::{TryCryptoRng, TryRng};

/// Numbers that look random, the same in each run (SplitMix64).
struct Dice(u64);

impl TryRng for Dice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.try_next_u64()? as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(mixed ^ (mixed >> 31))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for part in out.chunks_mut(8) {
            part.copy_from_slice(&self.try_next_u64()?.to_le_bytes()[..part.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Dice {}

/// What happens to an endpoint, and how long after what was before.
#[derive(Clone, Debug)]
enum Event {
    Proved,
    Failed,
    Told(Duration),
}

fn event() -> impl Strategy<Value = (Event, u64)> {
    let told = prop_oneof![
        Just(Duration::ZERO),
        (1..400_000_u64).prop_map(Duration::from_millis),
        any::<u64>().prop_map(Duration::from_secs),
    ];
    (prop_oneof![Just(Event::Proved), Just(Event::Failed), told.prop_map(Event::Told)], 0..60_000_000_u64)
}

proptest! {
    #![proptest_config(crate::cases(256))]

    #[test]
    fn an_endpoint_comes_back_whatever_it_was_told(seed: u64, events in prop::collection::vec(event(), 1..64)) {
        let (mut backoff, mut dice, mut now) = (Backoff::new(), Dice(seed), 0_u64);
        for (event, later) in events {
            now += later;
            let at = Instant::from_micros(now);
            match event {
                Event::Proved => backoff.proved(at),
                Event::Failed => prop_assert!(backoff.failed(at, &mut dice) <= LONGEST),
                Event::Told(told) => {
                    let delay = backoff.failed_until(at, told, &mut dice);
                    let bound = told.min(LONGEST_TOLD);
                    prop_assert!(delay >= bound, "{delay:?} of {told:?}");
                    prop_assert!(delay <= LONGEST.max(bound + bound / 2 + Duration::from_millis(1)), "{delay:?} of {told:?}");
                }
            }
        }
    }

    #[test]
    fn who_was_told_the_same_comes_at_another_time(seed: u64, seconds in 10..400_u64) {
        let told = Duration::from_secs(seconds).min(LONGEST_TOLD);
        let mut dice = Dice(seed);
        let mut delays: Vec<_> =
            (0..1000).map(|_| Backoff::new().failed_until(Instant::ZERO, told, &mut dice) - told).collect();
        delays.sort();
        let (first, last) = (delays[50], delays[950]);
        prop_assert!(first < told / 20 && last > told / 20 * 9, "{first:?} to {last:?}");
    }
}

/// How long after the end of an outage each of so many comes back, sorted.
fn back_after(outage: Duration, many: usize, dice: &mut Dice) -> Vec<Duration> {
    let mut back: Vec<_> = (0..many)
        .map(|_| {
            let mut backoff = Backoff::new();
            backoff.proved(Instant::ZERO);
            // It was up for a minute when the relay died.
            let mut away = Duration::ZERO;
            loop {
                away += backoff.failed(Instant::from_micros(60_000_000 + away.as_micros() as u64), dice);
                if away >= outage {
                    return away - outage;
                }
            }
        })
        .collect();
    back.sort();
    back
}

#[test]
fn nine_thousand_come_back_soon_and_never_all_at_once() {
    let mut dice = Dice(1);
    for seconds in [1, 2, 3, 5, 8, 13, 20, 30, 40, 60] {
        let back = back_after(Duration::from_secs(seconds), 9_000, &mut dice);
        let until = |at: Duration| back.partition_point(|other| *other < at);
        let busiest = back.iter().enumerate().map(|(at, first)| until(*first + Duration::from_secs(1)) - at).max();
        assert!(busiest.unwrap() <= 1_500, "{seconds} s: {busiest:?}");
        assert!(*back.last().unwrap() <= LONGEST, "{seconds} s: {:?}", back.last());
        if seconds <= 20 {
            assert!(back[4_500] < Duration::from_secs(4) && back[8_999] < Duration::from_secs(8), "{seconds} s");
        }
    }
    let short = back_after(Duration::from_millis(300), 9_000, &mut dice);
    assert!(short[8_999] < Duration::from_secs(1), "{:?}", short[8_999]);
}
