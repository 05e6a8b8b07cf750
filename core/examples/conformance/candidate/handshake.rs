//! Both ends of a handshake, with the randomness that the question gives.

use core::convert::Infallible;

use homing_core::crypto::{Identity, PublicKey, Secret, same};
use homing_core::handshake::{
    self, AwaitReply, Door, Error, Exports, Keys, Kind, Knock, Suite, Ticket, hear, host_mac1_key,
};
use homing_core::wire::{Params, Reader};
use rand_core::{TryCryptoRng, TryRng};
use serde_json::json;

use super::input::Input;
use super::{Answer, Outputs, Refusal, object};
use crate::hex;

/// "Randomness" that was written down beforehand, then zeros.
struct Script(std::vec::IntoIter<u8>);

impl Script {
    fn new(input: &Input<'_>, names: [&str; 2]) -> Result<Self, Refusal> {
        let mut bytes = Vec::new();
        for name in names {
            if !input.value(name)?.is_null() {
                bytes.extend(input.bytes(name)?);
            }
        }
        Ok(Self(bytes.into_iter()))
    }
}

impl TryRng for Script {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        out.fill_with(|| self.0.next().unwrap_or_default());
        Ok(())
    }
}

impl TryCryptoRng for Script {}

/// What both ends of the question hold.
struct Setup {
    suite: Suite,
    pairs: bool,
    channel: [u8; 16],
    ticket: Ticket,
    own: Params,
}

impl Setup {
    fn new(input: &Input<'_>) -> Result<Self, Refusal> {
        let own = Params::parse(&mut Reader::new(&input.bytes("payload")?));
        Ok(Self {
            suite: Suite::from_byte(input.number("suite")?).ok_or(Refusal::Unsupported)?,
            pairs: input.text("mode")? == "pair",
            channel: input.array("channel_id")?,
            ticket: Ticket {
                hash: input.array("bound")?,
                psk: input.secret("psk")?,
                mac1_key: input.secret("mac1_key")?,
            },
            own: own.map_err(|_| Refusal::Question("the payload is out of bounds".into()))?,
        })
    }

    fn route(&self) -> [u8; 16] {
        self.ticket.hash.first_chunk().copied().unwrap_or_default()
    }

    fn start(&self, input: &Input<'_>) -> Result<(Vec<u8>, AwaitReply), Refusal> {
        let mut rng = Script::new(input, ["init_ephemeral", "kem_keygen_seed"])?;
        let (me, host) = (input.secret("init_static")?, PublicKey::from_bytes(input.array("resp_public")?));
        let me = Identity::from_secret(&me);
        let route = self.route();
        let kind = if self.pairs {
            Kind::Pair { ticket: &self.ticket }
        } else {
            Kind::Connect { route: &route, psk: &self.ticket.psk }
        };
        let mut out = vec![0; handshake::HELLO_MAX];
        let started = handshake::start(self.suite, kind, &self.channel, &me, &host, self.own, &mut rng, &mut out);
        let (len, state) = started.map_err(refusal)?;
        out.truncate(len);
        Ok((out, state))
    }
}

const fn refusal(error: Error) -> Refusal {
    Refusal::Error(match error {
        Error::Type => "type",
        Error::Length => "length",
        Error::Suite => "suite",
        Error::Reserved => "reserved",
        Error::Mac1 => "mac1",
        Error::Forged => "decrypt",
        Error::WeakKey => "non-contributory dh",
        Error::KemKey => "kem key",
        Error::NoSpace => "no space",
    })
}

fn shared(setup: &Setup, keys: &Keys, exports: &Exports) -> Outputs {
    let [d2h, h2d] = keys.secrets();
    let mut outputs = object(json!({
        "handshake_hash": hex::encode(&exports.hash),
        "secret_d2h": hex::encode(d2h.expose()),
        "secret_h2d": hex::encode(h2d.expose()),
        "resume": hex::encode(exports.resume_secret.expose()),
        "bind": hex::encode(exports.binding.expose()),
        "session_id": hex::encode(&exports.session_id),
        "sas": exports.check.to_string(),
        "sas_emoji": exports.check.symbols(),
        "peer_payload": hex::encode(&keys.peer.to_bytes()),
    }));
    if setup.pairs {
        outputs.insert("device_root".into(), hex::encode(exports.device_root.expose()).into());
    }
    outputs
}

pub(super) fn start(input: &Input<'_>) -> Answer {
    let (hs1, _) = Setup::new(input)?.start(input)?;
    Ok(object(json!({ "hs1": hex::encode(&hs1) })))
}

pub(super) fn finish(input: &Input<'_>) -> Answer {
    let setup = Setup::new(input)?;
    let (_, state) = setup.start(input)?;
    let (keys, exports) = state.read(&mut input.bytes("hs2")?).map_err(refusal)?;
    Ok(shared(&setup, &keys, &exports))
}

pub(super) fn answer(input: &Input<'_>) -> Answer {
    let setup = Setup::new(input)?;
    let host = Identity::from_secret(&input.secret("resp_static")?);
    let mut rng = Script::new(input, ["resp_ephemeral", "kem_encaps_m"])?;
    let mac1_key = host_mac1_key(host.public());
    let door = Door { identity: &host, mac1_key: &mac1_key, route: &setup.route(), weakest: Suite::Classic };
    let mut hs1 = input.bytes("hs1")?;
    let knock = hear(door, [(setup.suite, &setup.ticket)], &setup.channel, &mut hs1).map_err(refusal)?;
    let mut out = vec![0; handshake::REPLY_MAX];
    let replied = match knock {
        Knock::Pair(knock) => knock.reply(setup.own, &mut rng, &mut out),
        Knock::Connect(knock) => knock.reply(&setup.ticket.psk, setup.own, &mut rng, &mut out),
    };
    let (len, keys, exports) = replied.map_err(refusal)?;
    out.truncate(len);
    let mut outputs = shared(&setup, &keys, &exports);
    outputs.insert("hs2".into(), hex::encode(&out).into());
    Ok(outputs)
}

pub(super) fn psk(input: &Input<'_>) -> Answer {
    let suite = Suite::from_byte(input.number("suite")?).ok_or(Refusal::Unsupported)?;
    let psk = Exports::psk(&input.secret("device_root")?, suite);
    Ok(object(json!({ "psk": hex::encode(psk.expose()) })))
}

pub(super) fn mac1_key(input: &Input<'_>) -> Answer {
    let key: Secret<32> = host_mac1_key(&PublicKey::from_bytes(input.array("host_pub")?));
    Ok(object(json!({ "mac1_key": hex::encode(key.expose()) })))
}

fn resume_proof(input: &Input<'_>) -> Result<[u8; 16], Refusal> {
    let from_device = input.text("from")? == "device";
    Ok(Exports::resume_proof(&input.secret("resume_secret")?, from_device, &input.array("handshake_hash")?))
}

pub(super) fn resume_prove(input: &Input<'_>) -> Answer {
    Ok(object(json!({ "proof": hex::encode(&resume_proof(input)?) })))
}

pub(super) fn resume_check(input: &Input<'_>) -> Answer {
    if !same(&resume_proof(input)?, &input.array::<16>("proof")?) {
        return Err(Refusal::Error("proof"));
    }
    Ok(object(json!({ "ok": true })))
}
