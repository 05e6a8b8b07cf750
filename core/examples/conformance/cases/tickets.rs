//! Pairing tickets: as links, as bytes, and what follows from them.

use super::{File, Made};

const FIELDS: [&str; 6] = ["suite", "flags", "expiry", "secret", "host_pub", "relay"];
const DERIVED: [&str; 10] =
    ["suite", "flags", "expiry", "secret", "host_pub", "relay", "hash", "psk", "mac1_key", "rendezvous"];

pub(super) fn cases(file: &File) -> Made {
    let mut cases = Vec::new();
    for vector in file.list("vectors")? {
        cases.push(vector.case("ticket.emit", &FIELDS, &["body", "check", "link=uri"])?);
        cases.push(vector.case("ticket.parse", &["link=uri"], &DERIVED)?);
        cases.push(vector.case("relay.rendezvous", &["rendezvous"], &["rv_hash"])?);
    }
    Ok(cases)
}

pub(super) fn link_cases(file: &File) -> Made {
    let mut cases = Vec::new();
    for vector in file.list("vectors")? {
        cases.push(vector.case("ticket.parse", &["link"], &DERIVED)?);
        cases.push(vector.case("ticket.emit", &FIELDS, &["body"])?);
    }
    for vector in file.list("invalid")? {
        cases.push(vector.refused("ticket.parse", &["link"])?);
    }
    Ok(cases)
}
