//! Pairing tickets and bearer tokens.

use homing_core::channel;
use homing_core::crypto::PublicKey;
use homing_core::handshake::Suite;
use homing_core::pairing::{BODY_MAX, CHECK_LEN, Flags, LinkError, Ticket, TicketError, parse_link};
use homing_core::wire::Writer;
use serde_json::json;

use super::input::Input;
use super::{Answer, Refusal, object};
use crate::hex;

pub(super) const fn refusal(error: &LinkError) -> Refusal {
    Refusal::Error(match error {
        LinkError::Form => "form",
        LinkError::Letters => "letters",
        LinkError::Ticket(TicketError::Length) => "length",
        LinkError::Ticket(TicketError::Check) => "check",
        LinkError::Ticket(TicketError::Version) => "version",
        LinkError::Ticket(TicketError::Unsupported) => "unsupported",
        LinkError::Ticket(TicketError::Relay) => "relay",
    })
}

pub(super) fn parse(input: &Input<'_>) -> Answer {
    let ticket = parse_link(input.text("link")?).map_err(|error| refusal(&error))?;
    let Flags { confirm, in_band, plain } = ticket.flags;
    let secrets = ticket.secrets();
    Ok(object(json!({
        "suite": ticket.suite.to_byte(),
        "flags": u8::from(confirm) | u8::from(in_band) << 1 | u8::from(plain) << 2,
        "expiry": ticket.expiry,
        "secret": hex::encode(ticket.secret.expose()),
        "host_pub": hex::encode(ticket.host.as_bytes()),
        "relay": ticket.relay.as_str(),
        "hash": hex::encode(&secrets.handshake.hash),
        "psk": hex::encode(secrets.handshake.psk.expose()),
        "mac1_key": hex::encode(secrets.handshake.mac1_key.expose()),
        "rendezvous": hex::encode(&secrets.rendezvous),
    })))
}

pub(super) fn emit(input: &Input<'_>) -> Answer {
    let flags: u8 = input.number("flags")?;
    let ticket = Ticket {
        suite: Suite::from_byte(input.number("suite")?).ok_or(Refusal::Error("unsupported"))?,
        flags: Flags { confirm: flags & 1 != 0, in_band: flags & 2 != 0, plain: flags & 4 != 0 },
        expiry: input.number("expiry")?,
        secret: input.secret("secret")?,
        host: PublicKey::from_bytes(input.array("host_pub")?),
        relay: input.text("relay")?.try_into().map_err(|_| Refusal::Error("relay"))?,
    };
    let mut out = [0; BODY_MAX + CHECK_LEN];
    let mut w = Writer::new(&mut out);
    ticket.emit(&mut w).map_err(|_| Refusal::Error("length"))?;
    let len = w.len();
    let (body, check) =
        out.get(..len).and_then(|out| out.split_last_chunk::<CHECK_LEN>()).ok_or(Refusal::Unsupported)?;
    let mut link = String::new();
    ticket.write_link(&mut link).map_err(|_| Refusal::Error("length"))?;
    Ok(object(json!({ "body": hex::encode(body), "check": hex::encode(check), "link": link })))
}

pub(super) fn token_hash(input: &Input<'_>) -> Answer {
    Ok(object(json!({ "token_hash": hex::encode(&channel::token_hash(&input.array("token")?)) })))
}
