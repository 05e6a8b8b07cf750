//! A changed handshake message is refused.

use homing_core::handshake::Suite;
use proptest::prelude::*;

use super::cases;
use super::change::change;
use super::support::ends::Ends;

fn handshakes() -> impl Strategy<Value = Ends> {
    (any::<bool>(), any::<bool>())
        .prop_map(|(hybrid, pairs)| Ends::new(if hybrid { Suite::Hybrid } else { Suite::Classic }, pairs))
}

impl core::fmt::Debug for Ends {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?}, pairs: {}", self.suite, self.pairs)
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn changed_handshake_messages_are_refused(ends in handshakes(), change in change()) {
        let (mut hello, state) = ends.hello();
        let mut forged = hello.clone();
        change.apply(&mut forged);
        prop_assert!(ends.hear(&mut forged).is_err());
        let (mut reply, ..) = ends.reply(ends.hear(&mut hello).unwrap());
        change.apply(&mut reply);
        prop_assert!(state.read(&mut reply).is_err());
    }
}

/// Every single byte, where that is quick: the classic suite's messages.
#[test]
fn every_byte_of_a_handshake_counts() {
    for pairs in [false, true] {
        let ends = Ends::new(Suite::Classic, pairs);
        let (hello, _) = ends.hello();
        let (reply, ..) = ends.reply(ends.hear(&mut hello.clone()).unwrap());
        for place in 0..hello.len() {
            let mut forged = hello.clone();
            forged[place] ^= 0x80;
            assert!(ends.hear(&mut forged).is_err(), "hello {place}");
        }
        for place in 0..reply.len() {
            let mut forged = reply.clone();
            forged[place] ^= 0x80;
            assert!(ends.hello().1.read(&mut forged).is_err(), "reply {place}");
        }
        for len in 0..hello.len() {
            assert!(ends.hear(&mut hello[..len].to_vec()).is_err());
        }
        for len in 0..reply.len() {
            assert!(ends.hello().1.read(&mut reply[..len].to_vec()).is_err());
        }
    }
}
