//! The relay's switch under random events that often make sense, and under garbage.

use proptest::prelude::*;

use crate::bodies::relay::{Run, Step, check};
use crate::bodies::{Bytes, Steps};

fn any_step() -> impl Strategy<Value = Step<'static>> {
    use Step::*;
    let (n, host, flag) = (0u8..8, 0u8..2, any::<bool>());
    let size = prop_oneof![1u16..5000, Just(16_000u16)];
    let credit = prop_oneof![1u32..200_000, Just(u32::MAX)];
    prop_oneof![
        4 => Just(Attach),
        1 => Just(AttachWaiting),
        4 => (n.clone(), host.clone(), prop::bool::weighted(0.8))
            .prop_map(|(link, host, honest)| Register { link, host, honest }),
        6 => (n.clone(), host.clone(), prop::bool::weighted(0.8))
            .prop_map(|(link, host, honest)| Dial { link, host, honest }),
        1 => (n.clone(), host.clone(), 0u16..60).prop_map(|(link, slot, ttl)| PairSlot { link, slot, ttl }),
        1 => (n.clone(), host).prop_map(|(link, slot)| DialPair { link, slot }),
        5 => (n.clone(), 0u32..200_000).prop_map(|(channel, credit)| Accept { channel, credit }),
        1 => n.clone().prop_map(|channel| Refuse { channel }),
        1 => n.clone().prop_map(|link| Deny { link }),
        20 => (n.clone(), flag, size.clone()).prop_map(|(channel, up, len)| Data { channel, up, len }),
        1 => (n.clone(), any::<u32>(), size.clone()).prop_map(|(link, idx, len)| Strange { link, idx, len }),
        6 => (n.clone(), flag, credit).prop_map(|(channel, up, bytes)| Credit { channel, up, bytes }),
        1 => (n.clone(), flag).prop_map(|(channel, up)| Close { channel, up }),
        12 => (n.clone(), flag, size).prop_map(|(channel, up, bytes)| Sent { channel, up, bytes: u32::from(bytes) * 3 }),
        1 => n.prop_map(|link| Detach { link }),
        3 => prop_oneof![0u16..50, 0u16..12_000].prop_map(|millis| Wait { millis }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn data_stays_in_its_pair_and_within_its_credit(steps in proptest::collection::vec(any_step(), 1..150)) {
        check(Steps(steps));
    }

    #[test]
    fn garbage_never_panics(messages in proptest::collection::vec((0u8..3, 0x7fu8..0x93, proptest::collection::vec(any::<u8>(), 0..200)), 0..50)) {
        let mut run = Run::new();
        for (link, kind, message) in messages {
            run.step(Step::Attach);
            run.step(Step::Garbage { link, message: Bytes(&[&[kind], &message[..]].concat()) });
        }
        run.end();
    }
}

#[test]
fn the_model_sees_hosts_that_are_woken() {
    let mut run = Run::new();
    run.step(Step::AttachWaiting);
    run.step(Step::Register { link: 0, host: 1, honest: true });
    for (dials, honest) in [(0, false), (1, true), (1, true)] {
        run.step(Step::Attach);
        run.step(Step::Dial { link: dials + 1, host: 1, honest });
    }
    assert_eq!(run.knocks(), 1);
    run.end();
}
