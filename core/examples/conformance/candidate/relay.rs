//! What hosts and devices prove to a relay, and how it checks that.

use homing_core::crypto::{Identity, PublicKey, Shared, same};
use homing_core::hop::{Capability, attach_mac, blinded_route, operator_hash, register_mac, route_id, rv_hash};
use serde_json::json;

use super::input::Input;
use super::{Answer, Refusal, object};
use crate::hex;

fn agree(me: &Identity, peer: &PublicKey) -> Result<Shared, Refusal> {
    me.agree(peer).map_err(|_| Refusal::Error("non-contributory dh"))
}

pub(super) fn register(input: &Input<'_>) -> Answer {
    let route = Identity::from_secret(&input.secret("route_secret")?);
    let ephemeral = PublicKey::from_bytes(input.array("relay_ephemeral")?);
    let shared = agree(&route, &ephemeral)?;
    let mac = register_mac(&shared, input.text("relay")?, &input.array("nonce")?, &ephemeral, route.public());
    Ok(object(json!({
        "route_pub": hex::encode(route.public().as_bytes()),
        "route_id": hex::encode(&route_id(route.public())),
        "mac": hex::encode(&mac),
    })))
}

pub(super) fn attach(input: &Input<'_>) -> Answer {
    let route = Identity::from_secret(&input.secret("route_secret")?);
    let shared = agree(&route, &PublicKey::from_bytes(input.array("relay_ephemeral")?))?;
    let mac = attach_mac(&shared, &input.array("nonce")?, &input.array("channel_id")?);
    Ok(object(json!({ "mac": hex::encode(&mac) })))
}

pub(super) fn check_register(input: &Input<'_>) -> Answer {
    let ephemeral = Identity::from_secret(&input.secret("relay_ephemeral_secret")?);
    let route = PublicKey::from_bytes(input.array("route_pub")?);
    let shared = agree(&ephemeral, &route)?;
    let mac = register_mac(&shared, input.text("relay")?, &input.array("nonce")?, ephemeral.public(), &route);
    if !same(&mac, &input.array::<16>("mac")?) {
        return Err(Refusal::Error("mac"));
    }
    Ok(object(json!({ "route_id": hex::encode(&route_id(&route)) })))
}

fn mint(input: &Input<'_>, k_cap: &str) -> Result<Capability, Refusal> {
    let (route_id, id) = (input.array("route_id")?, input.array("cap_id")?);
    let (expiry, class) = (input.number("expiry")?, input.number("class")?);
    Ok(Capability::mint(&input.secret(k_cap)?, &route_id, id, expiry, class))
}

pub(super) fn capability(input: &Input<'_>) -> Answer {
    Ok(object(json!({ "capability": hex::encode(mint(input, "k_cap")?.to_bytes().expose()) })))
}

pub(super) fn dial(input: &Input<'_>) -> Answer {
    let capability = Capability::from_bytes(&input.array("capability")?);
    let proof = capability.dial_proof(input.text("relay")?, &input.array("nonce")?);
    Ok(object(json!({ "proof": hex::encode(&proof) })))
}

pub(super) fn check_dial(input: &Input<'_>) -> Answer {
    let (relay, nonce, proof) = (input.text("relay")?, input.array("nonce")?, input.array::<16>("proof")?);
    for k_cap in ["k_cap", "k_cap_previous"] {
        if same(&mint(input, k_cap)?.dial_proof(relay, &nonce), &proof) {
            return Ok(object(json!({ "ok": true })));
        }
    }
    Err(Refusal::Error("proof"))
}

pub(super) fn rendezvous(input: &Input<'_>) -> Answer {
    Ok(object(json!({ "rv_hash": hex::encode(&rv_hash(&input.array("rendezvous")?)) })))
}

pub(super) fn directory(input: &Input<'_>) -> Answer {
    Ok(object(json!({ "blinded": hex::encode(&blinded_route(&input.array("route_id")?)) })))
}

pub(super) fn operator(input: &Input<'_>) -> Answer {
    Ok(object(json!({ "operator_hash": hex::encode(&operator_hash(&input.bytes("operator_key")?)) })))
}
