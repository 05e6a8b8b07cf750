//! Records and their keys. A session cannot be put somewhere: it is brought there, by records that do not matter.

use homing_core::Instant;
use homing_core::crypto::{Aead, Portable, Secret, expand, expand_into, hchacha};
use homing_core::handshake::Keys;
use homing_core::session::{Discard, EPOCH_RECORDS, EPOCH_TIME, Role, Session};
use homing_core::wire::{HEADER_LEN, Header, MAX_PLAINTEXT, MAX_RECORD, Params, RECORD_TYPE, TAG_LEN, padme};
use serde_json::json;

use super::input::Input;
use super::{Answer, Outputs, Refusal, frames, object};
use crate::hex;

/// The farthest epoch that a session is brought to.
const FARTHEST: u32 = 4096;
const OVERHEAD: u64 = Session::<Portable>::OVERHEAD as u64;

pub(super) fn padme_of(input: &Input<'_>) -> Answer {
    Ok(object(json!({ "padded": padme(input.number("len")?, MAX_PLAINTEXT) })))
}

pub(super) fn schedule(input: &Input<'_>) -> Answer {
    let secret = secret_at(input)?;
    let (key, prefix) = (expand(&secret, "key", b""), expand_into::<16>(&secret, "nonce", b""));
    let subkey = hchacha(&key, prefix.expose());
    Ok(object(json!({
        "secret": hex::encode(secret.expose()),
        "key": hex::encode(key.expose()),
        "nonce_prefix": hex::encode(prefix.expose()),
        "subkey": hex::encode(subkey.expose()),
    })))
}

fn secret_at(input: &Input<'_>) -> Result<Secret<32>, Refusal> {
    let mut secret = input.secret("secret")?;
    for _ in 0..input.number::<u32>("epoch")? {
        secret = expand(&secret, "next", b"");
    }
    Ok(secret)
}

/// Both ends of one direction.
struct Pair {
    from: Session,
    to: Session,
    now: Instant,
}

impl Pair {
    fn new(input: &Input<'_>, max_record: u16) -> Result<Self, Refusal> {
        let (from, to) = match input.text("direction")? {
            "d2h" => (Role::Device, Role::Host),
            _ => (Role::Host, Role::Device),
        };
        let secret = || input.secret::<32>("secret");
        let own = Params { max_record, ..Params::default() };
        let keys = Keys::from_secrets([secret()?, secret()?], own, own);
        Ok(Self {
            from: Session::new(from, &keys, Instant::ZERO),
            to: Session::new(to, &keys, Instant::ZERO),
            now: Instant::ZERO,
        })
    }

    /// Seals a record with `len` bytes inside, and opens it.
    fn pass(&mut self, len: usize) -> Result<(), Refusal> {
        let mut buf = vec![0; len + Session::<Portable>::OVERHEAD];
        let len = self.from.seal(self.now, &mut buf, len).map_err(|_| Refusal::Unsupported)?;
        self.to.open(self.now, &mut buf[..len]).map_err(|_| Refusal::Unsupported)?;
        Ok(())
    }

    /// To where the next record is of this epoch and counter: one record in each epoch before, the rest in this one.
    fn bring(&mut self, epoch: u32, counter: u64) -> Result<(), Refusal> {
        let sealed_in_it = counter.checked_sub(epoch.into()).ok_or(Refusal::Unsupported)?;
        if epoch > FARTHEST || sealed_in_it > EPOCH_RECORDS {
            return Err(Refusal::Unsupported);
        }
        for _ in 0..epoch {
            self.pass(0)?;
            self.now = self.now + EPOCH_TIME;
        }
        while self.from.next_sealed().counter < counter {
            self.pass(0)?;
        }
        Ok(())
    }
}

pub(super) fn seal(input: &Input<'_>) -> Answer {
    let (epoch, counter): (u32, u64) = (input.number("epoch")?, input.number("counter")?);
    let text = input.bytes("plaintext")?;
    let mut buf = [&[0; HEADER_LEN], &text[..], &[0; TAG_LEN]].concat();
    let sealed_in_it = counter.checked_sub(epoch.into());
    if sealed_in_it.is_none_or(|sealed| sealed >= EPOCH_RECORDS) {
        seal_by_hand(input, Header { epoch, counter }, &mut buf)?;
    } else {
        let mut pair = Pair::new(input, MAX_PLAINTEXT as u16)?;
        pair.bring(epoch, counter)?;
        let sealed = pair.from.seal(pair.now, &mut buf, text.len());
        sealed.map_err(|error| Refusal::Question(error.to_string()))?;
    }
    Ok(object(json!({ "record": hex::encode(&buf) })))
}

/// Counters that a session does not reach, or not in this epoch: the same steps by hand.
fn seal_by_hand(input: &Input<'_>, header: Header, buf: &mut [u8]) -> Result<(), Refusal> {
    let secret = secret_at(input)?;
    let prefix = expand_into::<16>(&secret, "nonce", b"");
    let aead = Portable::new(&hchacha(&expand(&secret, "key", b""), prefix.expose()));
    let split = buf.split_first_chunk_mut::<HEADER_LEN>();
    let parts = split.and_then(|(head, rest)| Some((head, rest.split_last_chunk_mut::<TAG_LEN>()?)));
    let (head, (text, tag)) = parts.ok_or(Refusal::Unsupported)?;
    *head = header.to_bytes();
    *tag = aead.seal(header.counter, head, text);
    Ok(())
}

pub(super) fn open(input: &Input<'_>) -> Answer {
    let (plaintext, next) = opened(input)?;
    Ok(object(json!({
        "plaintext": hex::encode(&plaintext),
        "next_epoch": next.epoch,
        "next_counter": next.counter.to_string(),
    })))
}

pub(super) fn read(input: &Input<'_>) -> Answer {
    frames::split(&opened(input)?.0)
}

fn opened(input: &Input<'_>) -> Result<(Vec<u8>, Header), Refusal> {
    let mut pair = Pair::new(input, input.number("max_record")?)?;
    let expected = Header { epoch: input.number("epoch")?, counter: input.number("counter")? };
    pair.bring(expected.epoch, expected.counter)?;
    if pair.to.next_opened() != expected {
        return Err(Refusal::Unsupported);
    }
    let mut record = input.bytes("record")?;
    let starts = record.first() == Some(&RECORD_TYPE);
    let plaintext = pair.to.open(pair.now, &mut record).map(<[u8]>::to_vec);
    let plaintext = plaintext.map_err(|discard| {
        Refusal::Error(match discard {
            Discard::Malformed if starts => "length",
            Discard::Malformed => "type",
            Discard::Order => "order",
            Discard::Epoch => "epoch",
            Discard::Forged => "decrypt",
            Discard::Replayed | Discard::Worn => "of datagrams only",
        })
    })?;
    Ok((plaintext, pair.to.next_opened()))
}

/// Seals as many records and bytes in an epoch as the question says, and looks at the next one.
pub(super) fn next(input: &Input<'_>) -> Answer {
    let (epoch, first, counter): (u32, u64, u64) =
        (input.number("epoch")?, input.number("first")?, input.number("counter")?);
    let (bytes, age): (u64, u64) = (input.number("bytes")?, input.number("age")?);
    if epoch > FARTHEST || (epoch > 0 && counter == first) {
        return Err(Refusal::Unsupported);
    }
    let keys = Keys::from_secrets([Secret::new([1; 32]), Secret::new([2; 32])], Params::default(), Params::default());
    let mut from = Session::<Portable>::new(Role::Device, &keys, Instant::ZERO);
    let (mut now, mut buf) = (Instant::ZERO, vec![0; MAX_RECORD]);
    let mut seal = |now, len: u64| {
        let len = usize::try_from(len).ok().filter(|len| *len <= MAX_PLAINTEXT).ok_or(Refusal::Unsupported)?;
        from.seal(now, &mut buf, len).map_err(|_| Refusal::Error("exhausted"))?;
        let head = buf.first_chunk::<HEADER_LEN>().ok_or(Refusal::Unsupported)?;
        Header::parse(&mut homing_core::wire::Reader::new(head)).map_err(|_| Refusal::Unsupported)
    };
    let mut before = first;
    for left in (1..=u64::from(epoch)).rev() {
        for _ in 0..before.div_ceil(left) {
            seal(now, 0)?;
        }
        before -= before.div_ceil(left);
        now = now + EPOCH_TIME;
    }
    let mut left = bytes;
    for sealed in first..counter {
        let len = left.div_ceil(counter - sealed);
        let header = seal(now, len.saturating_sub(OVERHEAD))?;
        if header != (Header { epoch, counter: sealed }) {
            return Err(Refusal::Question("the keys changed before that".into()));
        }
        left -= len;
    }
    let after = seal(now + core::time::Duration::from_secs(age), 0)?;
    let mut outputs = Outputs::new();
    outputs.insert("next_epoch".into(), after.epoch.into());
    outputs.insert("next_counter".into(), after.counter.to_string().into());
    Ok(outputs)
}
