//! Credit, against sums.

use core::time::Duration;

use homing_core::Instant;
use homing_core::mux::{RecvCredit, SendCredit, Violation};
use proptest::collection::vec;
use proptest::prelude::*;

use super::cases;

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn send_credit_is_a_limit_minus_a_sum(start in 0..1000u64, steps in vec((any::<bool>(), 0..2000u64), 0..50)) {
        let (mut credit, mut sent, mut limit) = (SendCredit::new(start), 0, start);
        for (raise, number) in steps {
            if raise {
                prop_assert_eq!(credit.raise(number), number > limit);
                limit = limit.max(number);
            } else {
                let bytes = number.min(limit - sent);
                credit.spend(bytes);
                sent += bytes;
            }
            prop_assert_eq!((credit.sent(), credit.available()), (sent, limit - sent));
        }
    }

    #[test]
    fn receive_credit_is_sums_too(window in 4..1000u32, more in 0..4000u32, session in any::<bool>(),
                                  steps in vec((0..4u8, 0..2000u64), 0..80)) {
        let most = window + more;
        let mut credit = RecvCredit::new(window, most, Instant::ZERO);
        let (window, cap) = (u64::from(window), u64::from(window + more));
        let (mut received, mut consumed, mut limit, mut now) = (0, 0, window, Instant::ZERO);
        for (kind, number) in steps {
            match kind {
                0 => {
                    let fits = received + number <= limit;
                    prop_assert_eq!(credit.check(number), if fits { Ok(()) } else { Err(Violation::FlowControl) });
                    if fits {
                        credit.receive(number);
                        received += number;
                    }
                }
                1 => {
                    credit.consume(number, now, Duration::from_millis(50));
                    consumed = received.min(consumed + number);
                }
                2 => now = now + Duration::from_millis(number),
                _ => {
                    let due = if session { credit.due_within(most) } else { credit.due_on_consumption() };
                    if let Some(due) = due {
                        prop_assert!(due > limit && due <= consumed + cap, "{} above {} + {}", due, consumed, cap);
                        credit.announce(due);
                        limit = due;
                    } else if session {
                        // Nothing due means that the peer is not stuck, or that this side holds all it may.
                        prop_assert!(limit > received || received + window > consumed + cap);
                    } else {
                        prop_assert!(limit > received || received > consumed);
                    }
                }
            }
            prop_assert_eq!((credit.received(), credit.limit(), credit.held()), (received, limit, received - consumed));
        }
    }
}
