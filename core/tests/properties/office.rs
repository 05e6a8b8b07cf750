//! The office of tickets, against a list.

use core::time::Duration;

use homing_core::Instant;
use homing_core::crypto::PublicKey;
use homing_core::handshake::Suite;
use homing_core::pairing::{
    Commit, Flags, MAX_HANDSHAKES, MAX_TICKETS, Office, Refused, TICKET_LIFE, Ticket, TicketId, TicketState,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::cases;
use super::support::Seeded;

#[derive(Clone, Debug)]
enum Desk {
    Issue(u64),
    Knock(usize, u8),
    Commit(u64, u8, bool),
    Cancel(u64),
    Pass(u64),
}

fn desk() -> impl Strategy<Value = Desk> {
    prop_oneof![
        3 => (1..400u64).prop_map(Desk::Issue),
        6 => (0..5usize, 0..3u8).prop_map(|(index, who)| Desk::Knock(index, who)),
        3 => (0..12u64, 0..3u8, any::<bool>()).prop_map(|(id, who, stored)| Desk::Commit(id, who, stored)),
        1 => (0..12u64).prop_map(Desk::Cancel),
        2 => (1..120u64).prop_map(Desk::Pass),
    ]
}

struct Slip {
    id: u64,
    expires: u64,
    knocks: u8,
    winner: Option<u8>,
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn an_office_does_what_a_list_would(steps in vec(desk(), 1..80)) {
        let host = PublicKey::from_bytes([9; 32]);
        let ticket = Ticket::issue(Suite::Classic, Flags::default(), 0, &host, "", &mut Seeded::new(0)).unwrap();
        let key = |who: u8| PublicKey::from_bytes([who; 32]);
        let (mut office, mut model, mut issued, mut time) = (Office::new(), Vec::<Slip>::new(), 0, 0u64);
        for step in steps {
            let now = Instant::ZERO + Duration::from_secs(time);
            match step {
                Desk::Issue(life) => {
                    model.retain(|slip| slip.expires > time);
                    if model.len() == MAX_TICKETS && let Some(used) = model.iter().position(|slip| slip.winner.is_some()) {
                        model.remove(used);
                    }
                    let expected = if model.len() == MAX_TICKETS { Err(Refused::TooMany) } else { Ok(TicketId(issued)) };
                    prop_assert_eq!(office.issue(&ticket, now, Duration::from_secs(life)), expected);
                    if expected.is_ok() {
                        let expires = time + life.min(TICKET_LIFE.as_secs());
                        model.push(Slip { id: issued, expires, knocks: 0, winner: None });
                        issued += 1;
                    }
                }
                Desk::Knock(index, who) => {
                    let expected = match model.get_mut(index).filter(|slip| slip.expires > time) {
                        None => Err(Refused::Gone),
                        Some(slip) if slip.winner.is_some_and(|winner| winner != who) => Err(Refused::Used),
                        Some(slip) if slip.knocks == MAX_HANDSHAKES => Err(Refused::Gone),
                        Some(slip) => {
                            slip.knocks += 1;
                            Ok(TicketId(slip.id))
                        }
                    };
                    let got = office.knock(index, &key(who), now);
                    prop_assert_eq!(got, expected);
                    if got == Err(Refused::Gone) && model.get(index).is_some_and(|slip| slip.expires > time) {
                        model.remove(index);
                    }
                }
                Desk::Commit(id, who, stored) => {
                    model.retain(|slip| slip.expires > time);
                    let slip = model.iter_mut().find(|slip| slip.id == id);
                    let expected = match &slip {
                        None => Err(Refused::Gone),
                        Some(slip) if slip.winner.is_some_and(|winner| winner != who) => Err(Refused::Used),
                        Some(slip) if slip.winner.is_some() => Ok(Commit::Again),
                        Some(_) => Ok(Commit::First),
                    };
                    prop_assert_eq!(office.commit(TicketId(id), &key(who), now), expected);
                    if expected.is_ok() && !stored {
                        office.roll_back(TicketId(id));
                    } else if expected == Ok(Commit::First) {
                        slip.unwrap().winner = Some(who);
                    }
                }
                Desk::Cancel(id) => {
                    office.cancel(TicketId(id));
                    model.retain(|slip| slip.id != id);
                }
                Desk::Pass(seconds) => time += seconds,
            }
            for slip in &model {
                let expected = slip.winner.map_or(TicketState::Active, |who| TicketState::Consumed(key(who)));
                prop_assert_eq!(office.state(TicketId(slip.id)), Some(expected));
            }
        }
    }
}
