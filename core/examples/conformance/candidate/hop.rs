//! Frames between endpoints and relay, as the fields that the vectors name.

use homing_core::crypto::PublicKey;
use homing_core::hop::{Code, Dial, Frame, Hello, Incoming, Kind, MAX_MESSAGE, Register};
use homing_core::wire::Writer;
use serde_json::{Value, json};

use super::input::Input;
use super::{Answer, Refusal, object};
use crate::hex::encode;

pub(super) fn parse(input: &Input<'_>) -> Answer {
    let bytes = input.bytes("bytes")?;
    let (idx, frame) = Frame::parse(&bytes).map_err(|_| Refusal::Error("malformed"))?;
    let (name, fields) = fields(&frame);
    Ok(object(json!({ "type": name, "idx": idx, "fields": fields })))
}

pub(super) fn emit(input: &Input<'_>) -> Answer {
    let mut out = vec![0; MAX_MESSAGE];
    let mut w = Writer::new(&mut out);
    write(input.text("type")?, input.number("idx")?, &input.inside("fields")?, &mut w)?;
    let len = w.len();
    Ok(object(json!({ "bytes": encode(out.get(..len).unwrap_or_default()) })))
}

fn fields(frame: &Frame<'_>) -> (&'static str, Value) {
    match frame {
        Frame::Hello(Hello { version, flags, nonce, ephemeral }) => {
            let (nonce, ephemeral) = (encode(nonce), encode(ephemeral.as_bytes()));
            ("HELLO", json!({ "version": version, "flags": flags, "nonce": nonce, "ephemeral": ephemeral }))
        }
        Frame::Register(Register { route, mac, current, previous, operator_key }) => (
            "REGISTER",
            json!({
                "route_pub": encode(route.as_bytes()),
                "mac": encode(mac),
                "k_cap": encode(*current),
                "k_cap_previous": encode(*previous),
                "operator_key": encode(operator_key),
            }),
        ),
        Frame::Ok { ttl } => ("OK", json!({ "ttl": ttl })),
        Frame::PairSlot { rv_hash, ttl } => ("PAIR_SLOT", json!({ "rv_hash": encode(rv_hash), "ttl": ttl })),
        Frame::CapDeny { cap_id, until } => ("CAP_DENY", json!({ "cap_id": encode(cap_id), "until": until })),
        Frame::Dial(Dial { route_id, cap_id, expiry, class, proof }) => (
            "DIAL",
            json!({
                "route_id": encode(route_id),
                "cap_id": encode(cap_id),
                "expiry": expiry,
                "class": class,
                "proof": encode(proof),
            }),
        ),
        Frame::DialPair { rendezvous } => ("DIAL_PAIR", json!({ "rendezvous": encode(rendezvous) })),
        Frame::Incoming(Incoming { channel_id, kind, credit }) => {
            let (kind, cap_id) = match kind {
                Kind::Dial { cap_id } => (0, *cap_id),
                Kind::Pair => (1, [0; 8]),
            };
            let (channel_id, cap_id) = (encode(channel_id), encode(&cap_id));
            ("INCOMING", json!({ "channel_id": channel_id, "kind": kind, "cap_id": cap_id, "credit": credit }))
        }
        Frame::Accept { credit } => ("ACCEPT", json!({ "credit": credit })),
        Frame::Refuse { code } => ("REFUSE", json!({ "code": code.to_byte() })),
        Frame::Opened { channel_id, credit } => {
            ("OPENED", json!({ "channel_id": encode(channel_id), "credit": credit }))
        }
        Frame::Data(data) => ("DATA", json!({ "data": encode(data) })),
        Frame::Credit { bytes } => ("CREDIT", json!({ "credit": bytes })),
        Frame::Closed { code } => ("CLOSED", json!({ "code": code.to_byte() })),
        Frame::Ping(number) => ("PING", json!({ "number": number.to_string() })),
        Frame::Pong(number) => ("PONG", json!({ "number": number.to_string() })),
        Frame::Attach { channel_id, mac } => {
            ("ATTACH", json!({ "channel_id": encode(channel_id), "mac": encode(mac) }))
        }
        Frame::Knock => ("KNOCK", json!({})),
    }
}

fn write(name: &str, idx: u32, fields: &Input<'_>, w: &mut Writer<'_>) -> Result<(), Refusal> {
    let code = || Code::parse(fields.number("code")?).map_err(|_| Refusal::Error("malformed"));
    let mut write = |frame: &Frame<'_>| frame.emit(idx, w).map_err(|_| Refusal::Error("no space"));
    match name {
        "HELLO" => write(&Frame::Hello(Hello {
            version: fields.number("version")?,
            flags: fields.number("flags")?,
            nonce: fields.array("nonce")?,
            ephemeral: PublicKey::from_bytes(fields.array("ephemeral")?),
        })),
        "REGISTER" => write(&Frame::Register(Register {
            route: PublicKey::from_bytes(fields.array("route_pub")?),
            mac: fields.array("mac")?,
            current: &fields.array("k_cap")?,
            previous: &fields.array("k_cap_previous")?,
            operator_key: &fields.bytes("operator_key")?,
        })),
        "OK" => write(&Frame::Ok { ttl: fields.number("ttl")? }),
        "PAIR_SLOT" => write(&Frame::PairSlot { rv_hash: fields.array("rv_hash")?, ttl: fields.number("ttl")? }),
        "CAP_DENY" => write(&Frame::CapDeny { cap_id: fields.array("cap_id")?, until: fields.number("until")? }),
        "DIAL" => write(&Frame::Dial(Dial {
            route_id: fields.array("route_id")?,
            cap_id: fields.array("cap_id")?,
            expiry: fields.number("expiry")?,
            class: fields.number("class")?,
            proof: fields.array("proof")?,
        })),
        "DIAL_PAIR" => write(&Frame::DialPair { rendezvous: fields.array("rendezvous")? }),
        "INCOMING" => {
            let kind = match fields.number::<u8>("kind")? {
                0 => Kind::Dial { cap_id: fields.array("cap_id")? },
                _ => Kind::Pair,
            };
            let (channel_id, credit) = (fields.array("channel_id")?, fields.number("credit")?);
            write(&Frame::Incoming(Incoming { channel_id, kind, credit }))
        }
        "ACCEPT" => write(&Frame::Accept { credit: fields.number("credit")? }),
        "REFUSE" => write(&Frame::Refuse { code: code()? }),
        "OPENED" => write(&Frame::Opened { channel_id: fields.array("channel_id")?, credit: fields.number("credit")? }),
        "DATA" => write(&Frame::Data(&fields.bytes("data")?)),
        "CREDIT" => write(&Frame::Credit { bytes: fields.number("credit")? }),
        "CLOSED" => write(&Frame::Closed { code: code()? }),
        "PING" => write(&Frame::Ping(fields.number("number")?)),
        "PONG" => write(&Frame::Pong(fields.number("number")?)),
        "ATTACH" => write(&Frame::Attach { channel_id: fields.array("channel_id")?, mac: fields.array("mac")? }),
        "KNOCK" => write(&Frame::Knock),
        _ => Err(Refusal::Unsupported),
    }
}
