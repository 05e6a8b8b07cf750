//! Tickets against the vectors of an independent implementation, and their single use, expiry
//! and limits as a host sees them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use core::time::Duration;

use homing_core::Instant;
use homing_core::channel::token_hash;
use homing_core::crypto::{Identity, PROTO, PublicKey, Secret, extract, same};
use homing_core::handshake::Suite;
use homing_core::hop::rv_hash;
use homing_core::pairing::{
    BODY_MAX, CHECK_LEN, Commit, Flags, LinkError, MAX_HANDSHAKES, MAX_TICKETS, Office, Refused, TICKET_LIFE, Ticket,
    TicketError, TicketState, parse_link,
};
use homing_core::wire::Writer;
use serde_json::Value;
use support::{Seeded, array, hex, vectors};

const ANNA: PublicKey = PublicKey::from_bytes([1; 32]);
const BERT: PublicKey = PublicKey::from_bytes([2; 32]);

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

fn ticket(seed: u64) -> Ticket {
    let host = *Identity::from_secret(&Secret::new([9; 32])).public();
    Ticket::issue(Suite::Hybrid, Flags::default(), 0, &host, "relay.example.net", &mut Seeded::new(seed)).unwrap()
}

fn emitted(ticket: &Ticket) -> Vec<u8> {
    let mut out = [0; BODY_MAX + CHECK_LEN];
    let mut w = Writer::new(&mut out);
    ticket.emit(&mut w).unwrap();
    let len = w.len();
    out[..len].to_vec()
}

fn cases() -> Vec<Value> {
    let cases = vectors("ticket.json")["vectors"].as_array().unwrap().clone();
    assert_eq!(cases.len(), 3);
    cases
}

/// The ticket of a vector, made from its fields and not from its bytes.
fn made(case: &Value) -> Ticket {
    let flags = case["flags"].as_u64().unwrap();
    assert!(flags < 4);
    Ticket {
        suite: Suite::from_byte(case["suite"].as_u64().unwrap() as u8).unwrap(),
        flags: Flags { confirm: flags & 1 != 0, in_band: flags & 2 != 0, plain: false },
        expiry: case["expiry"].as_u64().unwrap() as u32,
        secret: Secret::new(array(&case["secret"])),
        host: PublicKey::from_bytes(array(&case["host_pub"])),
        relay: case["relay"].as_str().unwrap().try_into().unwrap(),
    }
}

#[test]
fn tickets_have_the_bytes_and_links_of_the_reference() {
    for case in cases() {
        let ticket = made(&case);
        let expected = [hex(&case["body"]), hex(&case["check"])].concat();
        assert_eq!(emitted(&ticket), expected);
        let mut link = String::new();
        ticket.write_link(&mut link).unwrap();
        assert_eq!(link, case["uri"].as_str().unwrap());
        for parsed in [Ticket::parse(&expected).unwrap(), parse_link(&link).unwrap()] {
            assert_eq!(parsed.suite, ticket.suite);
            assert_eq!(parsed.flags, ticket.flags);
            assert_eq!(parsed.expiry, ticket.expiry);
            assert!(parsed.secret.same(&ticket.secret));
            assert_eq!(parsed.host, ticket.host);
            assert_eq!(parsed.relay, ticket.relay);
        }
    }
}

#[test]
fn ticket_secrets_are_those_of_the_reference() {
    for case in cases() {
        let secrets = made(&case).secrets();
        assert_eq!(secrets.handshake.hash, array::<32>(&case["hash"]));
        assert_eq!(secrets.handshake.psk.expose(), &array(&case["psk"]));
        assert_eq!(secrets.handshake.mac1_key.expose(), &array(&case["mac1_key"]));
        assert_eq!(secrets.rendezvous, array::<16>(&case["rendezvous"]));
        assert_eq!(rv_hash(&secrets.rendezvous), array::<16>(&case["rv_hash"]));
        let prk = extract(b"homing-1 ticket", &[&hex(&case["secret"])]);
        assert_eq!(prk.expose(), &array(&case["prk"]));
    }
    assert_eq!(PROTO, b"homing-1");
}

/// The pairing handshakes were made with tickets of the same kind.
#[test]
fn tickets_of_the_handshake_vectors_bind_their_prologue() {
    let mut seen = 0;
    for case in vectors("handshake.json")["vectors"].as_array().unwrap() {
        let Some(uri) = case["ticket_uri"].as_str() else { continue };
        let secrets = parse_link(uri).unwrap().secrets();
        assert_eq!(secrets.handshake.hash[..], hex(&case["prologue"])[36..]);
        assert_eq!(secrets.handshake.psk.expose(), &array(&case["psk"]));
        assert_eq!(secrets.handshake.mac1_key.expose(), &array(&case["mac1_key"]));
        seen += 1;
    }
    assert_eq!(seen, 2);
}

#[test]
fn the_token_hash_is_that_of_the_reference() {
    let file = vectors("relay_token_keystore.json");
    assert_eq!(token_hash(&array(&file["token"])), array::<32>(&file["token_hash"]));
}

#[test]
fn damaged_tickets_say_what_is_wrong() {
    let whole = emitted(&ticket(1));
    for cut in 0..whole.len() {
        assert_eq!(Ticket::parse(&whole[..cut]).unwrap_err(), TicketError::Length, "cut at {cut}");
    }
    assert_eq!(Ticket::parse(&[&whole[..], &[0]].concat()).unwrap_err(), TicketError::Length);
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        // A changed length of the relay's name makes the whole look cut off.
        let expected = if place == 55 { TicketError::Length } else { TicketError::Check };
        assert_eq!(Ticket::parse(&bytes).unwrap_err(), expected, "byte {place}");
    }
}

/// A ticket whose check is right although its contents are not.
fn forged(change: impl FnOnce(&mut Vec<u8>)) -> TicketError {
    let mut body = emitted(&ticket(1));
    body.truncate(body.len() - CHECK_LEN);
    change(&mut body);
    let check = homing_core::crypto::hash(&[PROTO, b" ticket check", &body]);
    Ticket::parse(&[&body[..], &check[..CHECK_LEN]].concat()).unwrap_err()
}

#[test]
fn impossible_tickets_are_refused_whatever_their_check() {
    assert_eq!(forged(|b| b[0] = 2), TicketError::Version);
    assert_eq!(forged(|b| b[1] = 0), TicketError::Unsupported);
    assert_eq!(forged(|b| b[1] = 3), TicketError::Unsupported);
    assert_eq!(forged(|b| b[2] = 8), TicketError::Unsupported);
    assert_eq!(forged(|b| b[55] = 200), TicketError::Relay);
    assert_eq!(forged(|b| b[56] = b'R'), TicketError::Relay);
    assert_eq!(forged(|b| b[56] = b'/'), TicketError::Relay);
    assert_eq!(forged(|b| b[56] = b'@'), TicketError::Relay);
    assert_eq!(forged(|b| b[56] = 0xff), TicketError::Relay);
    assert_eq!(forged(|b| b.push(0)), TicketError::Length);
    assert_eq!(forged(|b| b.truncate(10)), TicketError::Length);
    assert_eq!(forged(|b| b.clear()), TicketError::Length);
    let long = |b: &mut Vec<u8>| {
        b.truncate(55);
        b.push(65);
        b.extend([b'a'; 65]);
    };
    assert_eq!(forged(long), TicketError::Relay);
}

#[test]
fn links_come_in_several_forms() {
    let ticket = ticket(3);
    let (mut app, mut web, mut letters) = (String::new(), String::new(), String::new());
    ticket.write_link(&mut app).unwrap();
    ticket.write_web_link(&mut web).unwrap();
    ticket.write_letters(&mut letters).unwrap();
    assert_eq!(app, format!("homing://pair/{letters}"));
    assert_eq!(web, format!("https://relay.example.net/pair#{letters}"));
    let lower = letters.to_lowercase();
    let good = [
        app.to_lowercase(),
        app.to_uppercase(),
        web.to_lowercase(),
        format!("  {app}\r\n"),
        format!("homing://pair?t={letters}"),
        format!("homing://pair?t={lower}"),
        format!("http://127.0.0.1:8080/pair#{lower}"),
        app,
        web,
    ];
    for link in good {
        assert!(parse_link(&link).unwrap().secret.same(&ticket.secret), "{link}");
    }
    let bad = [
        String::new(),
        letters.clone(),
        format!("homing:/pair/{letters}"),
        format!("homing://pare/{letters}"),
        format!("https://relay.example.net/pair?{letters}"),
        format!("https://relay.example.net/other#{letters}"),
        format!("ftp://relay.example.net/pair#{letters}"),
        format!("homing://pair/{}", "A".repeat(600)),
        "homing://pair\u{e9}".into(),
    ];
    for link in bad {
        assert_eq!(parse_link(&link).unwrap_err(), LinkError::Form, "{link}");
    }
    for garbage in ["1", "!", " ", "é", "="] {
        assert_eq!(parse_link(&format!("homing://pair/{letters}{garbage}A")).unwrap_err(), LinkError::Letters);
    }
    assert_eq!(parse_link("homing://pair/").unwrap_err(), LinkError::Ticket(TicketError::Length));
    for cut in 0..letters.len() {
        let cut = format!("homing://pair/{}", &letters[..cut]);
        assert_eq!(parse_link(&cut).unwrap_err(), LinkError::Ticket(TicketError::Length), "{cut}");
    }
}

#[test]
fn of_two_devices_with_one_ticket_one_wins() {
    for first in [ANNA, BERT] {
        let second = if first == ANNA { BERT } else { ANNA };
        let mut office = Office::new();
        let id = office.issue(&ticket(1), at(0), TICKET_LIFE).unwrap();
        // Both complete their handshakes before either commits.
        assert_eq!(office.knock(0, &ANNA, at(1)), Ok(id));
        assert_eq!(office.knock(0, &BERT, at(1)), Ok(id));
        assert_eq!(office.commit(id, &first, at(2)), Ok(Commit::First));
        assert_eq!(office.commit(id, &second, at(2)), Err(Refused::Used));
        assert_eq!(office.knock(0, &second, at(3)), Err(Refused::Used));
        assert_eq!(office.state(id), Some(TicketState::Consumed(first)));
    }
}

#[test]
fn the_winner_may_finish_again_until_expiry() {
    let mut office = Office::new();
    let id = office.issue(&ticket(1), at(0), TICKET_LIFE).unwrap();
    assert_eq!(office.commit(id, &ANNA, at(1)), Ok(Commit::First));
    assert_eq!(office.knock(0, &ANNA, at(2)), Ok(id));
    assert_eq!(office.commit(id, &ANNA, at(2)), Ok(Commit::Again));
    // Storing the replacement fails: the ticket must not be free again.
    office.roll_back(id);
    assert_eq!(office.state(id), Some(TicketState::Consumed(ANNA)));
    assert_eq!(office.commit(id, &ANNA, at(299)), Ok(Commit::Again));
    assert_eq!(office.knock(0, &ANNA, at(300)), Err(Refused::Gone));
    assert_eq!(office.commit(id, &ANNA, at(300)), Err(Refused::Gone));
}

#[test]
fn a_failed_first_commit_frees_the_ticket() {
    let mut office = Office::new();
    let id = office.issue(&ticket(1), at(0), TICKET_LIFE).unwrap();
    assert_eq!(office.commit(id, &ANNA, at(1)), Ok(Commit::First));
    office.roll_back(id);
    assert_eq!(office.state(id), Some(TicketState::Active));
    assert_eq!(office.commit(id, &BERT, at(1)), Ok(Commit::First));
}

#[test]
fn tickets_expire_by_the_monotonic_clock() {
    let mut office = Office::new();
    let long = office.issue(&ticket(1), at(10), Duration::MAX).unwrap();
    let short = office.issue(&ticket(2), at(10), Duration::from_secs(60)).unwrap();
    assert_eq!(office.poll_timeout(), Some(at(70)));
    assert_eq!(office.slots(at(10)).map(|(_, left)| left).collect::<Vec<_>>(), [300, 60]);
    assert_eq!(office.live(at(69)).count(), 2);
    assert_eq!(office.live(at(70)).count(), 1);
    assert_eq!(office.state(short), None);
    assert_eq!(office.commit(short, &ANNA, at(70)), Err(Refused::Gone));
    assert_eq!(office.commit(long, &ANNA, at(309)), Ok(Commit::First));
    assert_eq!(office.live(at(310)).count(), 0);
    assert_eq!(office.poll_timeout(), None);
}

#[test]
fn an_index_stays_true_when_another_ticket_expires() {
    let mut office = Office::new();
    office.issue(&ticket(1), at(0), Duration::from_secs(60)).unwrap();
    let second = office.issue(&ticket(2), at(0), TICKET_LIFE).unwrap();
    assert_eq!(office.live(at(59)).count(), 2);
    // The first expires between the message and the decision.
    assert_eq!(office.knock(0, &ANNA, at(60)), Err(Refused::Gone));
    assert_eq!(office.knock(1, &ANNA, at(60)), Ok(second));
    assert_eq!(office.knock(2, &ANNA, at(60)), Err(Refused::Gone));
}

#[test]
fn a_ticket_survives_16_handshakes() {
    let mut office = Office::new();
    let id = office.issue(&ticket(1), at(0), TICKET_LIFE).unwrap();
    for _ in 0..MAX_HANDSHAKES {
        assert_eq!(office.knock(0, &BERT, at(1)), Ok(id));
    }
    assert_eq!(MAX_HANDSHAKES, 16);
    assert_eq!(office.state(id), Some(TicketState::Active));
    assert_eq!(office.knock(0, &ANNA, at(1)), Err(Refused::Gone));
    assert_eq!(office.state(id), None);
    assert_eq!(office.commit(id, &ANNA, at(1)), Err(Refused::Gone));
}

#[test]
fn there_are_4_tickets_at_most_and_used_ones_make_way() {
    let mut office = Office::new();
    let ids: Vec<_> = (0..4).map(|i| office.issue(&ticket(i), at(0), TICKET_LIFE).unwrap()).collect();
    assert_eq!(MAX_TICKETS, 4);
    assert_eq!(office.issue(&ticket(5), at(1), TICKET_LIFE), Err(Refused::TooMany));
    office.commit(ids[2], &ANNA, at(1)).unwrap();
    let fifth = office.issue(&ticket(5), at(1), TICKET_LIFE).unwrap();
    assert!(!ids.contains(&fifth));
    assert_eq!(office.state(ids[2]), None);
    assert_eq!(office.issue(&ticket(6), at(1), TICKET_LIFE), Err(Refused::TooMany));
    office.cancel(ids[0]);
    assert_eq!(office.commit(ids[0], &ANNA, at(1)), Err(Refused::Gone));
    office.issue(&ticket(6), at(1), TICKET_LIFE).unwrap();
    assert_eq!(office.issue(&ticket(7), at(300), TICKET_LIFE).map(|_| ()), Ok(()), "the old ones have expired");
}

#[test]
fn the_office_shows_what_was_issued() {
    let mut office = Office::new();
    let plain = ticket(1);
    let mut confirmed = ticket(2);
    confirmed.flags.confirm = true;
    let ids = [&plain, &confirmed].map(|t| office.issue(t, at(0), TICKET_LIFE).unwrap());
    assert_eq!(ids.map(|id| office.confirms(id)), [false, true]);
    let secrets = [plain.secrets(), confirmed.secrets()];
    let slots: Vec<_> = office.slots(at(0)).map(|(hash, _)| hash).collect();
    assert_eq!(slots, secrets.each_ref().map(|s| rv_hash(&s.rendezvous)));
    for ((suite, live), secrets) in office.live(at(0)).zip(&secrets) {
        assert_eq!(suite, Suite::Hybrid);
        assert!(same(&live.hash, &secrets.handshake.hash) && live.psk.same(&secrets.handshake.psk));
    }
}

#[test]
fn the_longest_name_of_a_relay_fits_a_link() {
    let relay = format!("{}.example", "a".repeat(56));
    assert_eq!(relay.len(), 64);
    let host = *Identity::from_secret(&Secret::new([9; 32])).public();
    let issue = |relay: &str| Ticket::issue(Suite::Hybrid, Flags::default(), 0, &host, relay, &mut Seeded::new(1));
    let ticket = issue(&relay).unwrap();
    assert_eq!(emitted(&ticket).len(), BODY_MAX + CHECK_LEN);
    assert_eq!(BODY_MAX, 120);
    let mut link = String::new();
    ticket.write_link(&mut link).unwrap();
    assert!(parse_link(&link).unwrap().secret.same(&ticket.secret));
}

#[test]
fn a_link_has_no_letter_too_many() {
    // 60 bytes are 96 letters, without a bit to spare.
    let host = *Identity::from_secret(&Secret::new([9; 32])).public();
    let short = Ticket::issue(Suite::Hybrid, Flags::default(), 0, &host, "", &mut Seeded::new(1)).unwrap();
    let mut link = String::new();
    short.write_link(&mut link).unwrap();
    assert_eq!(parse_link(&format!("{link}A")).unwrap_err(), LinkError::Ticket(TicketError::Length));
    // Bits that belong to no byte are zero, or there would be several links for one ticket.
    let longer = Ticket::issue(Suite::Hybrid, Flags::default(), 0, &host, "relay", &mut Seeded::new(1)).unwrap();
    for relay in ["a", "ab", "abc", "abcd"] {
        let ticket = Ticket { relay: relay.try_into().unwrap(), ..Ticket::parse(&emitted(&longer)).unwrap() };
        let mut link = String::new();
        ticket.write_link(&mut link).unwrap();
        let last = link.pop().unwrap();
        let next = char::from_u32(u32::from(last) + 1).unwrap();
        assert_eq!(
            parse_link(&format!("{link}{next}")).unwrap_err(),
            LinkError::Ticket(TicketError::Length),
            "{relay}"
        );
    }
}

#[test]
fn a_link_is_looked_at_up_to_512_bytes() {
    let mut letters = String::new();
    ticket(1).write_letters(&mut letters).unwrap();
    let link = |len: usize| {
        let rest = format!("/pair#{letters}");
        format!("https://{}{rest}", "a".repeat(len - "https://".len() - rest.len()))
    };
    assert!(parse_link(&link(512)).is_ok());
    assert_eq!(parse_link(&link(513)).unwrap_err(), LinkError::Form);
}

#[test]
fn an_index_names_the_ticket_at_it() {
    let mut office = Office::new();
    let ids = [1, 2].map(|seed| office.issue(&ticket(seed), at(0), TICKET_LIFE).unwrap());
    assert_eq!([0, 1, 2].map(|index| office.id_at(index)), [Some(ids[0]), Some(ids[1]), None]);
}
