//! What a device passes on to guests.

use super::{File, Made};

const GIVEN: [&str; 4] = ["device_root", "device_id", "caveats", "suite"];
const DERIVED: [&str; 7] = ["seed", "static_pub", "root", "psk", "chain", "token", "token_hash"];
const FIELDS: [&str; 12] = [
    "suite",
    "flags",
    "expiry",
    "host_pub",
    "seed",
    "chain",
    "device_id",
    "route_id",
    "capability",
    "host_name",
    "relays",
    "caveats",
];

pub(super) fn cases(file: &File) -> Made {
    let mut cases = Vec::new();
    for vector in file.list("chains")? {
        cases.push(vector.case("guest.derive", &GIVEN, &DERIVED)?);
    }
    for vector in file.list("vectors")? {
        cases.push(vector.case("guest.parse", &["link"], &FIELDS)?);
        if vector.text("link")?.starts_with("homing://guest/") {
            cases.push(vector.case("guest.emit", &FIELDS, &["link"])?);
        }
    }
    for vector in file.list("invalid")? {
        cases.push(vector.refused("guest.parse", &["link"])?);
    }
    Ok(cases)
}
