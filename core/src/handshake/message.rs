//! The layout of the handshake's messages and its prologue (protocol 6.1 to 6.3).

use super::error::{Error, Failure};
use crate::crypto::{Mac, PROTO, Psk, PublicKey, Secret, Transcript, hash, mac16};
use crate::wire::{Malformed, NoSpace, PARAMS_LEN, Reader, TAG_LEN, Writer};

/// A channel's name, given by the relay; all zero on a direct transport.
pub type ChannelId = [u8; 16];
/// A host's name at a relay; all zero on a direct transport.
pub type RouteId = [u8; 16];

const HELLO: u8 = 0x01;
const REPLY: u8 = 0x02;
const FAILURE: u8 = 0x03;
const FAILURE_LEN: usize = 6;

pub(super) const PREFIX_LEN: usize = 4;
pub(super) const KEY_LEN: usize = 32;
pub(super) const MAC1_LEN: usize = 16;
pub(super) const KEM_KEY_LEN: usize = 1184;
pub(super) const KEM_TEXT_LEN: usize = 1088;
pub(super) const SEALED_KEY_LEN: usize = KEY_LEN + TAG_LEN;
pub(super) const SEALED_PARAMS_LEN: usize = PARAMS_LEN + TAG_LEN;

/// The longest first message, in bytes.
pub const HELLO_MAX: usize = Suite::Hybrid.hello_len();
/// The longest second message.
pub const REPLY_MAX: usize = Suite::Hybrid.reply_len();

/// Which primitives a handshake uses. Never negotiated: the ticket says it, and the device's
/// record after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suite {
    /// X25519 alone.
    Classic,
    /// X25519 and ML-KEM-768: safe as long as either is.
    Hybrid,
}

impl Suite {
    /// The suite's number on the wire.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Classic => 1,
            Self::Hybrid => 2,
        }
    }

    /// The suite of a number.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Classic),
            2 => Some(Self::Hybrid),
            _ => None,
        }
    }

    /// Bytes of the first message.
    #[must_use]
    pub const fn hello_len(self) -> usize {
        let kem = match self {
            Self::Classic => 0,
            Self::Hybrid => KEM_KEY_LEN + TAG_LEN,
        };
        PREFIX_LEN + KEY_LEN + kem + SEALED_KEY_LEN + SEALED_PARAMS_LEN + MAC1_LEN
    }

    /// Bytes of the second message.
    #[must_use]
    pub const fn reply_len(self) -> usize {
        let kem = match self {
            Self::Classic => 0,
            Self::Hybrid => KEM_TEXT_LEN + TAG_LEN,
        };
        PREFIX_LEN + KEY_LEN + kem + SEALED_PARAMS_LEN
    }
}

/// What a handshake is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A device that holds a ticket becomes known to the host.
    Pair,
    /// A known device comes back.
    Connect,
}

impl Mode {
    pub(super) const fn to_byte(self) -> u8 {
        match self {
            Self::Pair => 1,
            Self::Connect => 2,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Pair),
            2 => Some(Self::Connect),
            _ => None,
        }
    }
}

/// What both ends derive from a pairing ticket (protocol 5.1).
#[derive(Debug)]
pub struct Ticket {
    /// Hash of the ticket's bytes: binds every one of them to the handshake.
    pub hash: [u8; 32],
    /// The handshake's pre-shared key.
    pub psk: Psk,
    /// Key of the first message's outer MAC.
    pub mac1_key: Secret<32>,
}

/// What an initiator wants, with what it needs for it.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'a> {
    /// To be paired.
    Pair {
        /// The ticket's secrets.
        ticket: &'a Ticket,
    },
    /// To be let in again.
    Connect {
        /// The host's route; zero on a direct transport.
        route: &'a RouteId,
        /// The pre-shared key of this pairing.
        psk: &'a Psk,
    },
}

/// Key of the outer MAC for connecting: it tells only that the sender knows the host's public key.
#[must_use]
pub fn host_mac1_key(host: &PublicKey) -> Secret<32> {
    Secret::new(hash(&[PROTO, b" mac1", host.as_bytes()]))
}

pub(super) fn mac1(key: &Secret<32>, hello: &[u8], channel: &ChannelId) -> Mac {
    mac16(key.expose(), &[hello, channel])
}

pub(super) fn transcript(
    suite: Suite,
    mode: Mode,
    channel: &ChannelId,
    bound_to: &[u8; 32],
    host: &PublicKey,
) -> Transcript {
    let name = match (suite, mode) {
        (Suite::Classic, Mode::Pair) => "Noise_IKpsk0_25519_XChaChaPoly_BLAKE2s",
        (Suite::Classic, Mode::Connect) => "Noise_IKpsk2_25519_XChaChaPoly_BLAKE2s",
        (Suite::Hybrid, Mode::Pair) => "Noise_IKhfs+psk0_25519+MLKEM768_XChaChaPoly_BLAKE2s",
        (Suite::Hybrid, Mode::Connect) => "Noise_IKhfs+psk2_25519+MLKEM768_XChaChaPoly_BLAKE2s",
    };
    let mut prologue = [0; 68];
    let mut w = Writer::new(&mut prologue);
    let whole = w
        .bytes(PROTO)
        .and_then(|()| w.bytes(b" e2e\0\0\0\0"))
        .and_then(|()| w.bytes(&[suite.to_byte(), mode.to_byte(), 0, 0]))
        .and_then(|()| w.bytes(channel))
        .and_then(|()| w.bytes(bound_to));
    debug_assert_eq!(whole, Ok(()), "the prologue has 68 bytes");
    Transcript::new(name, &prologue, host.as_bytes())
}

/// `route || 0^16`: what a connecting handshake is bound to.
pub(super) fn bound_to_route(route: &RouteId) -> [u8; 32] {
    let mut bound = [0; 32];
    if let Some(head) = bound.first_chunk_mut::<16>() {
        *head = *route;
    }
    bound
}

pub(super) fn emit_hello_prefix(suite: Suite, mode: Mode, w: &mut Writer<'_>) -> Result<(), NoSpace> {
    w.bytes(&[HELLO, suite.to_byte(), mode.to_byte(), 0])
}

pub(super) fn emit_reply_prefix(suite: Suite, mode: Mode, w: &mut Writer<'_>) -> Result<(), NoSpace> {
    w.bytes(&[REPLY, suite.to_byte(), mode.to_byte(), 0])
}

/// Type, suite, mode, reserved byte and exact length of a first message.
pub(super) fn parse_hello_prefix(message: &[u8]) -> Result<(Suite, Mode), Error> {
    let mut r = Reader::new(message);
    if r.u8()? != HELLO {
        return Err(Error::Type);
    }
    let suite = Suite::from_byte(r.u8()?).ok_or(Error::Suite)?;
    let mode = Mode::from_byte(r.u8()?).ok_or(Error::Type)?;
    if r.u8()? != 0 {
        return Err(Error::Reserved);
    }
    if message.len() != suite.hello_len() {
        return Err(Error::Length);
    }
    Ok((suite, mode))
}

pub(super) fn check_reply_prefix(message: &[u8], suite: Suite, mode: Mode) -> Result<(), Error> {
    let mut r = Reader::new(message);
    if r.u8()? != REPLY {
        return Err(Error::Type);
    }
    if r.u8()? != suite.to_byte() {
        return Err(Error::Suite);
    }
    if r.u8()? != mode.to_byte() {
        return Err(Error::Type);
    }
    if r.u8()? != 0 {
        return Err(Error::Reserved);
    }
    if message.len() != suite.reply_len() {
        return Err(Error::Length);
    }
    Ok(())
}

/// Writes the plaintext, unauthenticated hint that no answer will come (protocol 6.3).
///
/// # Errors
/// [`NoSpace`].
pub fn emit_failure(failure: Failure, retry_ms: u32, out: &mut [u8]) -> Result<usize, NoSpace> {
    let mut w = Writer::new(out);
    let code = match failure {
        Failure::Busy => 1,
        Failure::Suite => 2,
        Failure::Rejected => 3,
    };
    w.bytes(&[FAILURE, code])?;
    w.u32(retry_ms)?;
    Ok(w.len())
}

/// The hint in `message`, if it is one: what failed, and milliseconds until a retry makes sense.
/// Good for a text and a timer; it must change nothing else.
///
/// # Errors
/// [`Malformed`] where it starts like one and is not.
pub fn parse_failure(message: &[u8]) -> Result<Option<(Failure, u32)>, Malformed> {
    let mut r = Reader::new(message);
    if r.u8()? != FAILURE {
        return Ok(None);
    }
    if message.len() != FAILURE_LEN {
        return Err(Malformed);
    }
    let failure = match r.u8()? {
        1 => Failure::Busy,
        2 => Failure::Suite,
        3 => Failure::Rejected,
        _ => return Err(Malformed),
    };
    Ok(Some((failure, r.u32()?)))
}
