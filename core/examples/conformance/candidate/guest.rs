//! What a device passes on to guests.

use homing_core::channel;
use homing_core::crypto::PublicKey;
use homing_core::handshake::{GuestChain, GuestSeed, Suite};
use homing_core::pairing::{GUEST_MAX, GuestPass, parse_guest_link};
use homing_core::wire::CAVEATS_MAX;
use serde_json::json;

use super::input::Input;
use super::{Answer, Refusal, frames, object, tickets};
use crate::hex::encode;

pub(super) fn derive(input: &Input<'_>) -> Answer {
    let (root, device_id) = (input.secret("device_root")?, input.array("device_id")?);
    let suite = Suite::from_byte(input.number("suite")?).ok_or(Refusal::Error("unsupported"))?;
    let seed = GuestSeed::of(&root);
    let mut chain = GuestChain::of(&root);
    for caveat in input.all_bytes("caveats")? {
        chain = chain.narrowed(&caveat);
    }
    let token = chain.token(&device_id);
    Ok(object(json!({
        "seed": encode(seed.secret().expose()),
        "static_pub": encode(seed.identity().public().as_bytes()),
        "root": encode(seed.root().expose()),
        "psk": encode(seed.psk(suite).expose()),
        "chain": encode(chain.secret().expose()),
        "token": encode(token.expose()),
        "token_hash": encode(&channel::token_hash(token.expose())),
    })))
}

pub(super) fn parse(input: &Input<'_>) -> Answer {
    let mut buf = [0; GUEST_MAX];
    let pass = parse_guest_link(input.text("link")?, &mut buf).map_err(|error| tickets::refusal(&error))?;
    Ok(object(json!({
        "suite": pass.suite.to_byte(),
        "flags": if pass.plain { 4 } else { 0 },
        "expiry": pass.expiry,
        "host_pub": encode(pass.host.as_bytes()),
        "seed": encode(pass.seed.secret().expose()),
        "chain": encode(pass.chain.secret().expose()),
        "device_id": encode(&pass.device_id),
        "route_id": encode(&pass.route_id),
        "capability": encode(pass.capability.expose()),
        "host_name": pass.host_name,
        "relays": pass.relays.iter().map(|relay| relay.as_str()).collect::<Vec<_>>(),
        "caveats": pass.caveats.iter().map(encode).collect::<Vec<_>>(),
    })))
}

pub(super) fn emit(input: &Input<'_>) -> Answer {
    let relays = input.texts("relays")?.into_iter().map(TryInto::try_into).collect::<Result<_, _>>();
    let mut room = [0; 2 * CAVEATS_MAX];
    let pass = GuestPass {
        suite: Suite::from_byte(input.number("suite")?).ok_or(Refusal::Error("unsupported"))?,
        plain: input.number::<u8>("flags")? == 4,
        expiry: input.number("expiry")?,
        host: PublicKey::from_bytes(input.array("host_pub")?),
        seed: GuestSeed::from_secret(input.secret("seed")?),
        chain: GuestChain::from_secret(input.secret("chain")?),
        device_id: input.array("device_id")?,
        route_id: input.array("route_id")?,
        capability: input.secret("capability")?,
        host_name: input.text("host_name")?,
        relays: relays.map_err(|_| Refusal::Error("relay"))?,
        caveats: frames::caveats(&input.all_bytes("caveats")?, &mut room)?,
    };
    let mut link = String::new();
    pass.write_link(&mut link).map_err(|_| Refusal::Error("length"))?;
    Ok(object(json!({ "link": link })))
}
