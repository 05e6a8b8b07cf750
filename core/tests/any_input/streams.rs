//! Two honest ends of streams doing what often makes sense.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::bodies::Steps;
use crate::bodies::joined::{Step, Two, check};

fn step() -> impl Strategy<Value = (bool, Step)> {
    let step = prop_oneof![
        4 => Just(Step::Open),
        8 => (0..8u8, 0..300u16, prop::bool::weighted(0.2)).prop_map(|(n, len, end)| Step::Write(n, len, end)),
        8 => (0..8u8, 0..300u16).prop_map(|(n, len)| Step::Read(n, len)),
        1 => (0..8u8).prop_map(Step::Reset),
        1 => (0..8u8).prop_map(Step::Stop),
        2 => (0..8u8).prop_map(Step::Release),
        10 => (0..500u16).prop_map(Step::Poll),
        10 => Just(Step::Deliver),
        2 => (0..200u8).prop_map(Step::Pass),
    ];
    (any::<bool>(), step)
}

fn step_or_cut() -> impl Strategy<Value = (bool, Step)> {
    prop_oneof![20 => step(), 1 => Just((false, Step::Cut))]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn streams_deliver_exactly_what_was_sent(steps in vec(step(), 1..300)) {
        check(&Steps(steps));
    }

    #[test]
    fn streams_deliver_exactly_what_was_sent_over_links_that_break(steps in vec(step_or_cut(), 1..300)) {
        check(&Steps(steps));
    }
}

/// The model would be content with silence; this is not.
#[test]
fn the_model_moves_bytes_at_all() {
    let mut two = Two::new();
    for host in [false, true] {
        two.apply(host, &Step::Open);
        for _ in 0..10 {
            two.apply(host, &Step::Write(0, 999, false));
        }
        two.apply(host, &Step::Write(0, 10, true));
    }
    two.settle(true);
    two.apply(false, &Step::Cut);
    two.settle(true);
    two.check_delivery();
    assert_eq!(two.achieved(), (2, 2 * 10_000));
}
