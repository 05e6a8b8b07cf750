//! Pairing links and guests' links as people paste them: whatever is taken says the same when written again.

use homing_core::crypto::hash;
use homing_core::pairing::{
    BODY_MAX, CHECK_LEN, GUEST_MAX, GuestPass, Ticket, is_guest_link, parse_guest_link, parse_link,
};
use homing_core::wire::Writer;

pub fn check(data: &[u8]) {
    if let Ok(ticket) = Ticket::parse(data) {
        assert_eq!(emitted(&ticket), data);
        again(&ticket);
    }
    // With a check that fits, so that what is behind it is reached.
    if data.len() <= BODY_MAX {
        let check = hash(&[b"homing-1 ticket check", data]);
        let whole = [data, &check[..CHECK_LEN]].concat();
        if let Ok(ticket) = Ticket::parse(&whole) {
            assert_eq!(emitted(&ticket), whole);
            again(&ticket);
        }
    }
    guest(data);
    let check = hash(&[b"homing-1 guest check", data]);
    guest(&[data, &check[..CHECK_LEN]].concat());
    if let Ok(text) = core::str::from_utf8(data) {
        for link in [text.to_owned(), format!("homing://guest/{text}"), format!("https://relay/guest#{text}")] {
            if let Ok(pass) = parse_guest_link(&link, &mut [0; GUEST_MAX]) {
                assert!(is_guest_link(&link));
                guest(&guest_bytes(&pass));
            }
        }
        for link in [text.to_owned(), format!("homing://pair/{text}"), format!("homing://pair?t={text}")] {
            if let Ok(ticket) = parse_link(&link) {
                again(&ticket);
            }
        }
    }
}

fn emitted(ticket: &Ticket) -> Vec<u8> {
    let mut out = [0; BODY_MAX + CHECK_LEN];
    let mut w = Writer::new(&mut out);
    ticket.emit(&mut w).expect("a ticket fits");
    let len = w.len();
    out[..len].to_vec()
}

fn again(ticket: &Ticket) {
    let (mut app, mut web) = (String::new(), String::new());
    ticket.write_link(&mut app).expect("a string takes it");
    ticket.write_web_link(&mut web).expect("a string takes it");
    for link in [app, web] {
        assert_eq!(emitted(&parse_link(&link).expect("its own link")), emitted(ticket));
    }
}

fn guest(bytes: &[u8]) {
    let Ok(pass) = GuestPass::parse(bytes) else { return };
    assert_eq!(guest_bytes(&pass), bytes);
    assert!(!pass.relays.is_empty() && pass.caveats.iter().all(|caveat| !caveat.is_empty()));
    let (mut app, mut web) = (String::new(), String::new());
    pass.write_link(&mut app).expect("a string takes it");
    pass.write_web_link(&mut web).expect("a string takes it");
    for link in [app, web] {
        assert!(is_guest_link(&link) && parse_link(&link).is_err());
        let mut buf = [0; GUEST_MAX];
        assert_eq!(guest_bytes(&parse_guest_link(&link, &mut buf).expect("its own link")), bytes);
    }
}

fn guest_bytes(pass: &GuestPass<'_>) -> Vec<u8> {
    let mut out = [0; GUEST_MAX];
    let mut w = Writer::new(&mut out);
    pass.emit(&mut w).expect("a pass fits");
    let len = w.len();
    out[..len].to_vec()
}
