//! Links bring the ticket or nothing.

use homing_core::crypto::PublicKey;
use homing_core::handshake::Suite;
use homing_core::pairing::{Flags, Ticket, parse_link};
use proptest::collection::vec;
use proptest::prelude::*;

use super::cases;
use super::support::Seeded;

fn tickets() -> impl Strategy<Value = Ticket> {
    let relay = prop_oneof![Just(String::new()), "[a-z0-9.-]{1,60}", "[a-z0-9-]{1,20}(\\.[a-z]{2,8}){1,3}:[0-9]{1,5}"];
    (any::<bool>(), 0..8u8, any::<u32>(), any::<[u8; 32]>(), relay, any::<u64>()).prop_map(
        |(hybrid, flags, expiry, host, relay, seed)| {
            let suite = if hybrid { Suite::Hybrid } else { Suite::Classic };
            let flags = Flags { confirm: flags & 1 != 0, in_band: flags & 2 != 0, plain: flags & 4 != 0 };
            Ticket::issue(suite, flags, expiry, &PublicKey::from_bytes(host), &relay, &mut Seeded::new(seed)).unwrap()
        },
    )
}

fn same_ticket(a: &Ticket, b: &Ticket) -> bool {
    (a.suite, a.flags, a.expiry, a.host, &a.relay) == (b.suite, b.flags, b.expiry, b.host, &b.relay)
        && a.secret.same(&b.secret)
        && a.secrets().handshake.hash == b.secrets().handshake.hash
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn links_bring_the_ticket(ticket in tickets(), place in any::<usize>(), letter in 0..32usize) {
        let (mut app, mut web) = (String::new(), String::new());
        ticket.write_link(&mut app).unwrap();
        ticket.write_web_link(&mut web).unwrap();
        let letters = app.strip_prefix("homing://pair/").unwrap().to_owned();
        for link in [app.to_lowercase(), format!("homing://pair?t={letters}"), web.to_lowercase(), app, web] {
            prop_assert!(same_ticket(&parse_link(&link).unwrap(), &ticket), "{}", link);
        }
        let mut forged = letters.into_bytes();
        let place = place % forged.len();
        let letter = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[letter];
        if forged[place] != letter {
            forged[place] = letter;
            let forged = String::from_utf8(forged).unwrap();
            prop_assert!(parse_link(&["homing://pair/", &forged].concat()).is_err(), "{}", forged);
        }
    }

    #[test]
    fn garbage_is_no_ticket(bytes in vec(any::<u8>(), 0..200), text in "\\PC{0,80}") {
        prop_assert!(Ticket::parse(&bytes).is_err());
        prop_assert!(parse_link(&text).is_err());
        prop_assert!(parse_link(&["homing://pair/", &text].concat()).is_err());
    }
}
