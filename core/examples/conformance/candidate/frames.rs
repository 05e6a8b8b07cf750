//! Frames inside records, as the fields that the vectors name.

use homing_core::wire::{
    Auth, AuthOk, CAVEATS_MAX, Caveats, Close, Frame, MAX_RECORD, PairAccept, PairFinish, Reader, ResumeEntries,
    ResumeEntry, ResumeState, Scope, StreamId, Writer,
};
use serde_json::{Value, json};

use super::input::Input;
use super::{Answer, Refusal, object};
use crate::hex::encode;

const MALFORMED: Refusal = Refusal::Error("malformed");

pub(super) fn parse(input: &Input<'_>) -> Answer {
    let bytes = input.bytes("bytes")?;
    let mut r = Reader::new(&bytes);
    let frame = Frame::parse(&mut r).ok().flatten().filter(|_| r.is_empty()).ok_or(MALFORMED)?;
    let (name, fields) = fields(&frame);
    Ok(object(json!({ "type": name, "fields": fields })))
}

/// The frames of a plaintext, each as its bytes.
pub(super) fn split(plaintext: &[u8]) -> Answer {
    let mut r = Reader::new(plaintext);
    let mut frames = Vec::new();
    loop {
        let before = r.rest();
        if Frame::parse(&mut r).map_err(|_| MALFORMED)?.is_none() {
            return Ok(object(json!({ "frames": frames })));
        }
        let len = before.len().saturating_sub(r.rest().len());
        frames.push(encode(before.get(..len).unwrap_or_default()));
    }
}

pub(super) fn emit(input: &Input<'_>) -> Answer {
    let mut out = vec![0; MAX_RECORD];
    let mut w = Writer::new(&mut out);
    write(input.text("type")?, &input.inside("fields")?, &mut w)?;
    let len = w.len();
    Ok(object(json!({ "bytes": encode(out.get(..len).unwrap_or_default()) })))
}

fn fields(frame: &Frame<'_>) -> (&'static str, Value) {
    match *frame {
        Frame::Ping(number) => ("PING", json!({ "number": number.to_string() })),
        Frame::Pong(number) => ("PONG", json!({ "number": number.to_string() })),
        Frame::Close(Close { scope, code, text }) => {
            ("CLOSE", json!({ "scope": u8::from(scope == Scope::Channel), "code": code, "text": text }))
        }
        Frame::PairFinish(PairFinish { platform, name }) => {
            ("PAIR_FINISH", json!({ "platform": platform, "name": name }))
        }
        Frame::PairPending(seconds) => ("PAIR_PENDING", json!({ "seconds": seconds })),
        Frame::PairAccept(PairAccept { device_id, token, route_id, capability, host_name }) => (
            "PAIR_ACCEPT",
            json!({
                "device_id": encode(device_id),
                "token": encode(token),
                "route_id": encode(route_id),
                "capability": encode(capability),
                "host_name": host_name,
            }),
        ),
        Frame::PairAck => ("PAIR_ACK", json!({})),
        Frame::Auth(Auth { token, resume }) => {
            let (id, proof) = resume.unwrap_or((&[0; 16], &[0; 16]));
            let kind = u8::from(resume.is_some());
            let (id, proof) = (encode(id), encode(proof));
            ("AUTH", json!({ "kind": kind, "token": encode(token), "session_id": id, "proof": proof }))
        }
        Frame::AuthOk(AuthOk { resumed }) => {
            let proof = encode(resumed.unwrap_or(&[0; 16]));
            ("AUTH_OK", json!({ "kind": u8::from(resumed.is_some()), "proof": proof }))
        }
        Frame::Token(token) => ("TOKEN", json!({ "token": encode(token) })),
        Frame::TokenAck => ("TOKEN_ACK", json!({})),
        Frame::Cap(capability) => ("CAP", json!({ "capability": encode(capability) })),
        Frame::Rotate(ticket) => ("ROTATE", json!({ "ticket": encode(ticket) })),
        Frame::Guest(caveats) => ("GUEST", json!({ "caveats": caveats.iter().map(encode).collect::<Vec<_>>() })),
        Frame::Stream { id, offset, fin, data } => {
            ("STREAM", json!({ "fin": fin, "id": id.0, "offset": offset.to_string(), "data": encode(data) }))
        }
        Frame::StreamCredit { id, received, limit } => {
            ("STREAM_CREDIT", json!({ "id": id.0, "received": received.to_string(), "limit": limit.to_string() }))
        }
        Frame::SessionCredit(limit) => ("SESSION_CREDIT", json!({ "limit": limit.to_string() })),
        Frame::StreamsCredit(streams) => ("STREAMS_CREDIT", json!({ "streams": streams })),
        Frame::Reset { id, code, size } => ("RESET", json!({ "id": id.0, "code": code, "size": size.to_string() })),
        Frame::Stop { id, code } => ("STOP", json!({ "id": id.0, "code": code })),
        Frame::Datagram(data) => ("DATAGRAM", json!({ "data": encode(data) })),
        Frame::ResumeState(ref state) => ("RESUME_STATE", resume_fields(state)),
    }
}

fn resume_fields(state: &ResumeState<'_>) -> Value {
    let entry = |entry: ResumeEntry| {
        json!({
            "id": entry.id.0,
            "received": entry.received.to_string(),
            "limit": entry.limit.to_string(),
            "flags": entry.flags,
        })
    };
    json!({
        "seen": state.seen,
        "received": state.received.to_string(),
        "limit": state.limit.to_string(),
        "more": state.more,
        "entries": state.entries.iter().map(entry).collect::<Vec<_>>(),
    })
}

fn write(name: &str, fields: &Input<'_>, w: &mut Writer<'_>) -> Result<(), Refusal> {
    let id = || fields.number("id").map(StreamId);
    let bytes = |name: &str| fields.bytes(name);
    let mut write = |frame: &Frame<'_>| frame.emit(w).map_err(|_| Refusal::Error("no space"));
    match name {
        "PING" => write(&Frame::Ping(fields.number("number")?)),
        "PONG" => write(&Frame::Pong(fields.number("number")?)),
        "CLOSE" => {
            let scope = if fields.number::<u8>("scope")? == 1 { Scope::Channel } else { Scope::Session };
            write(&Frame::Close(Close { scope, code: fields.number("code")?, text: fields.text("text")? }))
        }
        "PAIR_FINISH" => {
            let (platform, name) = (fields.number("platform")?, fields.text("name")?);
            write(&Frame::PairFinish(PairFinish { platform, name }))
        }
        "PAIR_PENDING" => write(&Frame::PairPending(fields.number("seconds")?)),
        "PAIR_ACCEPT" => write(&Frame::PairAccept(PairAccept {
            device_id: &fields.array("device_id")?,
            token: &fields.array("token")?,
            route_id: &fields.array("route_id")?,
            capability: &fields.array("capability")?,
            host_name: fields.text("host_name")?,
        })),
        "PAIR_ACK" => write(&Frame::PairAck),
        "AUTH" => {
            let (token, id, proof) = (fields.array("token")?, fields.array("session_id")?, fields.array("proof")?);
            let resume = (fields.number::<u8>("kind")? == 1).then_some((&id, &proof));
            write(&Frame::Auth(Auth { token: &token, resume }))
        }
        "AUTH_OK" => {
            let proof = fields.array("proof")?;
            write(&Frame::AuthOk(AuthOk { resumed: (fields.number::<u8>("kind")? == 1).then_some(&proof) }))
        }
        "TOKEN" => write(&Frame::Token(&fields.array("token")?)),
        "TOKEN_ACK" => write(&Frame::TokenAck),
        "CAP" => write(&Frame::Cap(&fields.array("capability")?)),
        "ROTATE" => write(&Frame::Rotate(&bytes("ticket")?)),
        "GUEST" => write(&Frame::Guest(caveats(&fields.all_bytes("caveats")?, &mut [0; 2 * CAVEATS_MAX])?)),
        "STREAM" => {
            let (fin, offset, data) = (fields.is("fin")?, fields.number("offset")?, bytes("data")?);
            write(&Frame::Stream { id: id()?, offset, fin, data: &data })
        }
        "STREAM_CREDIT" => {
            let (received, limit) = (fields.number("received")?, fields.number("limit")?);
            write(&Frame::StreamCredit { id: id()?, received, limit })
        }
        "SESSION_CREDIT" => write(&Frame::SessionCredit(fields.number("limit")?)),
        "STREAMS_CREDIT" => write(&Frame::StreamsCredit(fields.number("streams")?)),
        "RESET" => write(&Frame::Reset { id: id()?, code: fields.number("code")?, size: fields.number("size")? }),
        "STOP" => write(&Frame::Stop { id: id()?, code: fields.number("code")? }),
        "DATAGRAM" => write(&Frame::Datagram(&bytes("data")?)),
        "RESUME_STATE" => {
            let mut out = [0; MAX_RECORD];
            write(&Frame::ResumeState(resume_state(fields, &mut out)?))
        }
        _ => Err(Refusal::Unsupported),
    }
}

/// Caveats one behind the other in `out`, of which two halves are used in turn.
pub(super) fn caveats<'a>(list: &[Vec<u8>], out: &'a mut [u8; 2 * CAVEATS_MAX]) -> Result<Caveats<'a>, Refusal> {
    let whole = out.len();
    let (mut to, mut from) = out.split_at_mut(whole / 2);
    let mut len = 0;
    for caveat in list {
        core::mem::swap(&mut to, &mut from);
        let older = Caveats::from_bytes(from.get(..len).unwrap_or_default()).ok();
        len = Caveats::add(older, caveat, to).map_err(|_| Refusal::Error("no space"))?.as_bytes().len();
    }
    let made: &'a [u8] = to;
    Caveats::from_bytes(made.get(..len).unwrap_or_default()).map_err(|_| MALFORMED)
}

fn resume_state<'a>(fields: &Input<'_>, out: &'a mut [u8]) -> Result<ResumeState<'a>, Refusal> {
    let mut entries = Vec::new();
    for entry in fields.list("entries")? {
        entries.push(ResumeEntry {
            id: StreamId(entry.number("id")?),
            received: entry.number("received")?,
            limit: entry.number("limit")?,
            flags: entry.number("flags")?,
        });
    }
    Ok(ResumeState {
        seen: fields.number("seen")?,
        received: fields.number("received")?,
        limit: fields.number("limit")?,
        more: fields.is("more")?,
        entries: ResumeEntries::emit_into(&entries, out).map_err(|_| Refusal::Error("no space"))?,
    })
}
