//! Frames between endpoints and relay, and the proofs in them.

use super::{File, Made, outputs_of, yes};

const REGISTERED: [&str; 5] = ["relay_ephemeral_secret", "relay", "nonce", "route_pub", "mac"];
const DIALLED: [&str; 9] =
    ["k_cap", "k_cap_previous", "route_id", "cap_id", "expiry", "class", "relay", "nonce", "proof"];

pub(super) fn cases(file: &File) -> Made {
    let mut cases = Vec::new();
    for vector in file.list("vectors")? {
        cases.push(vector.case("hop.parse", &["bytes"], &["type", "idx", "fields"])?);
        cases.push(vector.case("hop.emit", &["type", "idx", "fields"], &["bytes"])?);
    }
    for vector in file.list("invalid")? {
        cases.push(vector.refused("hop.parse", &["bytes"])?);
    }
    for vector in file.list("register")? {
        let host = ["route_secret", "relay_ephemeral", "relay", "nonce"];
        cases.push(vector.case("relay.register", &host, &["route_pub", "route_id", "mac"])?);
        let host = ["route_secret", "relay_ephemeral", "nonce", "channel_id"];
        cases.push(vector.case("relay.attach", &host, &["mac=attach_mac"])?);
        cases.push(vector.case("relay.check_register", &REGISTERED, &["route_id"])?);
    }
    for vector in file.list("register_invalid")? {
        cases.push(vector.refused("relay.check_register", &REGISTERED)?);
    }
    for vector in file.list("register_refused")? {
        cases.push(vector.refused("relay.register", &["route_secret", "relay_ephemeral", "relay", "nonce"])?);
    }
    for vector in file.list("dial")? {
        let minted = ["k_cap=minted_with", "route_id", "cap_id", "expiry", "class"];
        cases.push(vector.case("relay.capability", &minted, &["capability"])?);
        cases.push(vector.case("relay.dial", &["capability", "relay", "nonce"], &["proof"])?);
        cases.push(vector.ask("relay.check_dial", vector.pick(&DIALLED)?, yes()));
    }
    for vector in file.list("dial_invalid")? {
        cases.push(vector.refused("relay.check_dial", &DIALLED)?);
    }
    for vector in file.list("rendezvous")? {
        cases.push(vector.case("relay.rendezvous", &["rendezvous"], &["rv_hash"])?);
    }
    for vector in file.list("directory")? {
        cases.push(vector.case("relay.directory", &["route_id"], &["blinded"])?);
    }
    for vector in file.list("operator")? {
        cases.push(vector.case("relay.operator", &["operator_key"], &["operator_hash"])?);
    }
    Ok(cases)
}

pub(super) fn token_cases(file: &File) -> Made {
    let all = file.whole();
    let host = ["route_secret=route_sk", "relay_ephemeral=relay_eph_pub", "nonce"];
    let mut capability = all.pick(&["route_id", "cap_id", "expiry=cap_expiry", "class=cap_class"])?;
    capability.extend(all.pick(&["k_cap"])?);
    let expiry = all.value("cap_expiry")?.as_u64().and_then(|expiry| u32::try_from(expiry).ok());
    let class = all.value("cap_class")?.as_u64().and_then(|class| u8::try_from(class).ok());
    let (expiry, class) = expiry.zip(class).ok_or("expiry or class is out of range")?;
    let end = crate::hex::encode(&[&expiry.to_le_bytes()[..], &[class]].concat());
    let whole = format!("{}{end}{}", all.text("cap_id")?, all.text("cap_key")?);
    let minted = serde_json::Map::from_iter([("capability".to_owned(), whole.clone().into())]);
    let mut dial = all.pick(&["relay", "nonce"])?;
    dial.insert("capability".into(), whole.into());
    Ok(vec![
        all.case("relay.register", &[&host[..], &["relay"]].concat(), &["route_pub", "route_id", "mac=register_mac"])?,
        all.case("relay.attach", &[&host[..], &["channel_id"]].concat(), &["mac=attach_mac"])?,
        all.ask("relay.capability", capability, outputs_of(minted)),
        all.ask("relay.dial", dial, outputs_of(all.pick(&["proof=cap_proof"])?)),
        all.case("token.hash", &["token"], &["token_hash"])?,
    ])
}
