//! A ticket's bytes and what is derived from them (protocol 5.1).

use core::fmt;

use rand_core::CryptoRng;

use super::relay_name::RelayName;
use crate::crypto::{PROTO, PublicKey, Secret, expand, expand_into, extract, hash, same};
use crate::handshake::{self, Suite};
use crate::wire::{Malformed, NoSpace, Reader, Writer};

/// The longest relay name in a ticket, in bytes.
pub const RELAY_MAX: usize = 64;
/// The longest ticket without its check, in bytes.
pub const BODY_MAX: usize = 56 + RELAY_MAX;
/// Bytes of the check behind the body.
pub const CHECK_LEN: usize = 4;

const VERSION: u8 = 1;

/// What a ticket says besides names and keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// The host's operator confirms the device, by check words that both ends show.
    pub confirm: bool,
    /// The ticket came over an authenticated channel and was never shown (protocol 10.5).
    pub in_band: bool,
    /// The relay speaks `ws://`, without TLS. Devices take this for loopback names only.
    pub plain: bool,
}

impl Flags {
    const fn to_byte(self) -> u8 {
        self.confirm as u8 | (self.in_band as u8) << 1 | (self.plain as u8) << 2
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        if byte > 7 {
            return None;
        }
        Some(Self { confirm: byte & 1 != 0, in_band: byte & 2 != 0, plain: byte & 4 != 0 })
    }
}

/// Why bytes are no ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketError {
    /// Cut off, or with bytes too many.
    Length,
    /// The check does not fit: mistyped or damaged.
    Check,
    /// Made by a later version.
    Version,
    /// An unknown suite or flag.
    Unsupported,
    /// A relay name that is no lower-case `host[:port]`.
    Relay,
}

impl fmt::Display for TicketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "the link is incomplete: copy it whole",
            Self::Check => "the link is damaged or mistyped: copy it again",
            Self::Version => "the link was made by a newer version: update this program",
            Self::Unsupported => "the link asks for something this version does not know: update this program",
            Self::Relay => "the link names no valid relay",
        })
    }
}

impl core::error::Error for TicketError {}

impl From<Malformed> for TicketError {
    fn from(_: Malformed) -> Self {
        Self::Length
    }
}

/// A pairing ticket.
#[derive(Debug)]
pub struct Ticket {
    /// Which primitives pairing and all later connections use.
    pub suite: Suite,
    /// What else it says.
    pub flags: Flags,
    /// When it expires, in Unix seconds: a hint to the device, the host decides.
    pub expiry: u32,
    /// The one-time secret.
    pub secret: Secret<16>,
    /// The host's long-term key.
    pub host: PublicKey,
    /// The relay's name; empty for the device's default relay.
    pub relay: RelayName,
}

/// What both ends derive from a ticket.
#[derive(Debug)]
pub struct Secrets {
    /// For the handshake.
    pub handshake: handshake::Ticket,
    /// What the device shows to the relay.
    pub rendezvous: [u8; 16],
}

impl Ticket {
    /// A fresh ticket.
    ///
    /// # Errors
    /// [`TicketError::Relay`] where the relay's name is too long or malformed.
    pub fn issue(
        suite: Suite,
        flags: Flags,
        expiry: u32,
        host: &PublicKey,
        relay: &str,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Self, TicketError> {
        let relay = RelayName::try_from(relay)?;
        Ok(Self { suite, flags, expiry, secret: Secret::random(rng), host: *host, relay })
    }

    /// Reads body and check.
    ///
    /// # Errors
    /// [`TicketError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TicketError> {
        let (body, check) = bytes.split_last_chunk::<CHECK_LEN>().ok_or(TicketError::Length)?;
        let mut r = Reader::new(body);
        let version = r.u8()?;
        if !same(&check_of(body), check) {
            // A truncated ticket fails its check too; say the more helpful thing.
            let whole = body.get(55).is_some_and(|n| body.len() == 56usize.saturating_add((*n).into()));
            return Err(if whole { TicketError::Check } else { TicketError::Length });
        }
        if version != VERSION {
            return Err(TicketError::Version);
        }
        let suite = Suite::from_byte(r.u8()?).ok_or(TicketError::Unsupported)?;
        let flags = Flags::from_byte(r.u8()?).ok_or(TicketError::Unsupported)?;
        let expiry = r.u32()?;
        let secret = Secret::new(*r.array()?);
        let host = PublicKey::from_bytes(*r.array()?);
        let relay = RelayName::try_from(r.text(RELAY_MAX).map_err(|_| TicketError::Relay)?)?;
        if !r.is_empty() {
            return Err(TicketError::Length);
        }
        Ok(Self { suite, flags, expiry, secret, host, relay })
    }

    /// Writes body and check.
    ///
    /// # Errors
    /// [`NoSpace`].
    pub fn emit(&self, w: &mut Writer<'_>) -> Result<(), NoSpace> {
        let mut body = [0; BODY_MAX];
        let body = self.body(&mut body)?;
        w.bytes(body)?;
        w.bytes(&check_of(body))
    }

    /// The secrets that both ends derive.
    #[must_use]
    pub fn secrets(&self) -> Secrets {
        let mut body = [0; BODY_MAX];
        // A ticket's parts always fit: the relay's name is bounded by its type.
        let hash = self.body(&mut body).map_or([0; 32], |body| hash(&[PROTO, b" ticket", body]));
        let prk = extract(b"homing-1 ticket", &[self.secret.expose()]);
        Secrets {
            handshake: handshake::Ticket { hash, psk: expand(&prk, "psk", b""), mac1_key: expand(&prk, "mac1", b"") },
            rendezvous: *expand_into(&prk, "rendezvous", b"").expose(),
        }
    }

    fn body<'b>(&self, out: &'b mut [u8; BODY_MAX]) -> Result<&'b [u8], NoSpace> {
        let mut w = Writer::new(out);
        w.bytes(&[VERSION, self.suite.to_byte(), self.flags.to_byte()])?;
        w.u32(self.expiry)?;
        w.bytes(self.secret.expose())?;
        w.bytes(self.host.as_bytes())?;
        w.text(&self.relay)?;
        let len = w.len();
        Ok(out.get(..len).unwrap_or_default())
    }
}

fn check_of(body: &[u8]) -> [u8; CHECK_LEN] {
    let [a, b, c, d, ..] = hash(&[PROTO, b" ticket check", body]);
    [a, b, c, d]
}
