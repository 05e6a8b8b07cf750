//! Cuts at any record, in any order.

use homing_core::wire::Params;
use proptest::prelude::*;

use crate::FEW;
use crate::end::End;
use crate::world::World;

#[derive(Clone, Debug)]
enum Step {
    Open {
        host: bool,
    },
    Write {
        host: bool,
        n: usize,
        bytes: u64,
        end: bool,
    },
    Read {
        host: bool,
        n: usize,
    },
    Release {
        host: bool,
        n: usize,
    },
    Exchange(u8),
    /// Bytes leave and never arrive.
    Drop {
        to_host: bool,
    },
    Cut,
    Attach,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let n = 0..64usize;
    let step = prop_oneof![
        2 => any::<bool>().prop_map(|host| Step::Open { host }),
        4 => (any::<bool>(), n.clone(), 0..40_000u64, prop::bool::weighted(0.3))
            .prop_map(|(host, n, bytes, end)| Step::Write { host, n, bytes, end }),
        2 => (any::<bool>(), n.clone()).prop_map(|(host, n)| Step::Read { host, n }),
        1 => (any::<bool>(), n).prop_map(|(host, n)| Step::Release { host, n }),
        6 => (1..4u8).prop_map(Step::Exchange),
        1 => any::<bool>().prop_map(|to_host| Step::Drop { to_host }),
        1 => Just(Step::Cut),
        2 => Just(Step::Attach),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_cut_delivery_is_exact(seed in any::<u64>(), small in any::<bool>(), steps in steps()) {
        let params = if small {
            Params { max_streams: 8, max_record: 1024, session_window: 16 << 10, stream_window: 4 << 10, features: 0 }
        } else {
            FEW
        };
        let mut world = World::new(seed, params);
        for step in steps {
            let now = world.now;
            let pick = |end: &End, n: usize| {
                let ids: Vec<u32> = end.pipes.iter().filter(|(_, pipe)| !pipe.released).map(|(id, _)| *id).collect();
                (!ids.is_empty()).then(|| ids[n % ids.len()])
            };
            match step {
                Step::Open { host } => {
                    let end = if host { &mut world.host } else { &mut world.device };
                    end.open(now);
                }
                Step::Write { host, n, bytes, end: fin } => {
                    let end = if host { &mut world.host } else { &mut world.device };
                    if let Some(id) = pick(end, n) {
                        end.write(id, bytes, fin);
                    }
                }
                Step::Read { host, n } => {
                    let end = if host { &mut world.host } else { &mut world.device };
                    if let Some(id) = pick(end, n) {
                        end.read(id, now);
                    }
                }
                Step::Release { host, n } => {
                    let end = if host { &mut world.host } else { &mut world.device };
                    if let Some(id) = pick(end, n) {
                        end.release(id, 300, now);
                    }
                }
                Step::Exchange(times) => {
                    for _ in 0..times {
                        world.exchange();
                    }
                }
                Step::Drop { to_host } => {
                    // What is lost on an ordered transport takes the rest with it.
                    let end = if to_host { &mut world.device } else { &mut world.host };
                    if end.poll(now).is_some() {
                        world.cut();
                    }
                }
                Step::Cut => world.cut(),
                Step::Attach => world.attach(),
            }
        }
        if world.device.channel.is_none() {
            world.attach();
        }
        world.settle();
        world.check_delivered();
        prop_assert_eq!(world.device.lost, 0);
        // All that was given up or ended both ways has left both tables.
        for end in [&mut world.device, &mut world.host] {
            let ids: Vec<u32> = end.pipes.keys().copied().collect();
            for id in ids {
                end.release(id, 0, world.now);
            }
        }
        world.settle();
        for end in [&mut world.device, &mut world.host] {
            prop_assert_eq!(end.channel.as_mut().unwrap().streams().len(), 0);
        }
    }
}
