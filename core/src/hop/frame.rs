//! The outer frames (protocol 12.1): `u8 type || u32 idx || body`, one per message.

use core::fmt;

use super::auth::{CapId, ChannelId, RouteId, RvHash};
use super::code::Code;
use super::limits::MAX_NAME;
use crate::crypto::{Mac, PublicKey};
use crate::wire::{MAX_RECORD, Malformed, NoSpace, Reader, Writer};

/// Bytes before the body of every frame.
pub const DATA_HEADER_LEN: usize = 5;
/// The longest message, in bytes.
pub const MAX_MESSAGE: usize = DATA_HEADER_LEN + MAX_RECORD;
/// The longest message that is not DATA, in bytes: a REGISTER.
pub const MAX_CONTROL: usize = DATA_HEADER_LEN + 32 + 16 + 32 + 32 + 1 + MAX_NAME;

/// First byte of a DATA message.
pub const DATA: u8 = 0x8b;

const HELLO: u8 = 0x80;
const REGISTER: u8 = 0x81;
const OK: u8 = 0x82;
const PAIR_SLOT: u8 = 0x83;
const CAP_DENY: u8 = 0x84;
const DIAL: u8 = 0x85;
const DIAL_PAIR: u8 = 0x86;
const INCOMING: u8 = 0x87;
const ACCEPT: u8 = 0x88;
const REFUSE: u8 = 0x89;
const OPENED: u8 = 0x8a;
const CREDIT: u8 = 0x8c;
const CLOSED: u8 = 0x8d;
const PING: u8 = 0x8e;
const PONG: u8 = 0x8f;
const ATTACH: u8 = 0x90;
const KNOCK: u8 = 0x91;

/// What a message says. Its `idx` numbers a channel on the link; 0 is the link itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Relay, first: the challenge.
    Hello(Hello),
    /// Host: be reachable under a route.
    Register(Register<'a>),
    /// Relay: registered, as long as it hears something every `ttl` seconds.
    Ok {
        /// Seconds of silence after which the relay forgets the host.
        ttl: u32,
    },
    /// Host: let devices in that know a rendezvous value.
    PairSlot {
        /// Hash of the rendezvous value.
        rv_hash: RvHash,
        /// Seconds; 0 deletes the slot.
        ttl: u16,
    },
    /// Host: let a capability no longer dial.
    CapDeny {
        /// The capability.
        cap_id: CapId,
        /// Unix time in seconds until which the relay remembers it.
        until: u32,
    },
    /// Device: open a channel to a host.
    Dial(Dial),
    /// Device: open a channel to a host that waits with a ticket.
    DialPair {
        /// The rendezvous value of the ticket.
        rendezvous: [u8; 16],
    },
    /// Relay to host: a device is at the door.
    Incoming(Incoming),
    /// Host: take the channel.
    Accept {
        /// Bytes of DATA that it takes on top of the early credit.
        credit: u32,
    },
    /// Host: do not take the channel.
    Refuse {
        /// Why.
        code: Code,
    },
    /// Relay to device: the host knows that you are there.
    Opened {
        /// The channel's name, part of the handshake's transcript.
        channel_id: ChannelId,
        /// Bytes of DATA that may be sent at once.
        credit: u32,
    },
    /// One message of the end-to-end protocol, 1 to [`MAX_RECORD`] bytes.
    Data(&'a [u8]),
    /// So many more bytes of DATA may be sent.
    Credit {
        /// So many more, at least 1.
        bytes: u32,
    },
    /// A channel is over; with `idx` 0 the link is.
    Closed {
        /// Why.
        code: Code,
    },
    /// Are you there?
    Ping(u64),
    /// Yes, with the number of the PING.
    Pong(u64),
    /// Host, on a second connection: this one carries that channel (dial-in).
    Attach {
        /// The channel.
        channel_id: ChannelId,
        /// Proof of the route key.
        mac: Mac,
    },
    /// Relay to a host that waits on demand: a device with a good capability is at the door.
    Knock,
}

/// The relay's challenge.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// Version of the outer frames.
    pub version: u8,
    /// Features; none are defined.
    pub flags: u8,
    /// Fresh random bytes that proofs are bound to.
    pub nonce: [u8; 32],
    /// Fresh key that a host's proof is made with.
    pub ephemeral: PublicKey,
}

/// A host's registration.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Register<'a> {
    /// The route's public key.
    pub route: PublicKey,
    /// Proof of its secret half.
    pub mac: Mac,
    /// Key that capabilities are minted with.
    pub current: &'a [u8; 32],
    /// The key before that.
    pub previous: &'a [u8; 32],
    /// Key that buys quota on this relay, up to 64 bytes; empty where there is none.
    pub operator_key: &'a [u8],
}

/// A device's dial, with its capability proven but not shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Dial {
    /// Where to.
    pub route_id: RouteId,
    /// Which capability.
    pub cap_id: CapId,
    /// Its expiry, Unix seconds.
    pub expiry: u32,
    /// Its class.
    pub class: u8,
    /// Proof of its key.
    pub proof: Mac,
}

/// The relay's announcement of a channel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Incoming {
    /// The channel's name, part of the handshake's transcript.
    pub channel_id: ChannelId,
    /// By what right.
    pub kind: Kind,
    /// Bytes of DATA that may be sent once the channel is accepted.
    pub credit: u32,
}

/// By what right a device is at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It proved a capability.
    Dial {
        /// Which one.
        cap_id: CapId,
    },
    /// It knows the rendezvous value of a pairing slot.
    Pair,
}

impl<'a> Frame<'a> {
    /// Reads a whole message.
    ///
    /// # Errors
    /// [`Malformed`] where type, channel number, length or a field is out of bounds.
    pub fn parse(message: &'a [u8]) -> Result<(u32, Self), Malformed> {
        let mut r = Reader::new(message);
        let (kind, idx) = (r.u8()?, r.u32()?);
        if kind == DATA {
            let body = r.rest();
            let fits = idx != 0 && (1..=MAX_RECORD).contains(&body.len());
            return if fits { Ok((idx, Self::Data(body))) } else { Err(Malformed) };
        }
        let frame = Self::parse_body(kind, &mut r)?;
        let place = match frame.place() {
            Place::Link => idx == 0,
            Place::Channel => idx != 0,
            Place::Either => true,
        };
        if place && r.is_empty() { Ok((idx, frame)) } else { Err(Malformed) }
    }

    /// Writes a whole message, or nothing.
    ///
    /// # Errors
    /// [`NoSpace`], also where a field is longer than its bound.
    pub fn emit(&self, idx: u32, w: &mut Writer<'_>) -> Result<(), NoSpace> {
        let start = w.len();
        let written = self.emit_all(idx, w);
        if written.is_err() {
            w.truncate(start);
        }
        written
    }

    fn parse_body(kind: u8, r: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(match kind {
            HELLO => Self::Hello(Hello {
                version: r.u8()?,
                flags: r.u8()?,
                nonce: *r.array()?,
                ephemeral: PublicKey::from_bytes(*r.array()?),
            }),
            REGISTER => Self::Register(Register {
                route: PublicKey::from_bytes(*r.array()?),
                mac: *r.array()?,
                current: r.array()?,
                previous: r.array()?,
                operator_key: {
                    let len = usize::from(r.u8()?);
                    if len > MAX_NAME {
                        return Err(Malformed);
                    }
                    r.bytes(len)?
                },
            }),
            OK => Self::Ok { ttl: r.u32()? },
            PAIR_SLOT => Self::PairSlot { rv_hash: *r.array()?, ttl: r.u16()? },
            CAP_DENY => Self::CapDeny { cap_id: *r.array()?, until: r.u32()? },
            DIAL => Self::Dial(Dial {
                route_id: *r.array()?,
                cap_id: *r.array()?,
                expiry: r.u32()?,
                class: r.u8()?,
                proof: *r.array()?,
            }),
            DIAL_PAIR => Self::DialPair { rendezvous: *r.array()? },
            INCOMING => {
                let channel_id = *r.array()?;
                let (kind, cap_id) = (r.u8()?, *r.array::<8>()?);
                let kind = match kind {
                    0 => Kind::Dial { cap_id },
                    1 if cap_id == [0; 8] => Kind::Pair,
                    _ => return Err(Malformed),
                };
                Self::Incoming(Incoming { channel_id, kind, credit: r.u32()? })
            }
            ACCEPT => Self::Accept { credit: r.u32()? },
            REFUSE => Self::Refuse { code: Code::parse(r.u8()?)? },
            OPENED => Self::Opened { channel_id: *r.array()?, credit: r.u32()? },
            CREDIT => match r.u32()? {
                0 => return Err(Malformed),
                bytes => Self::Credit { bytes },
            },
            CLOSED => Self::Closed { code: Code::parse(r.u8()?)? },
            PING => Self::Ping(r.u64()?),
            PONG => Self::Pong(r.u64()?),
            ATTACH => Self::Attach { channel_id: *r.array()?, mac: *r.array()? },
            KNOCK => Self::Knock,
            _ => return Err(Malformed),
        })
    }

    fn emit_all(&self, idx: u32, w: &mut Writer<'_>) -> Result<(), NoSpace> {
        w.u8(self.kind())?;
        w.u32(idx)?;
        match self {
            Self::Hello(hello) => {
                w.u8(hello.version)?;
                w.u8(hello.flags)?;
                w.bytes(&hello.nonce)?;
                w.bytes(hello.ephemeral.as_bytes())
            }
            Self::Register(register) => {
                if register.operator_key.len() > MAX_NAME {
                    return Err(NoSpace);
                }
                w.bytes(register.route.as_bytes())?;
                w.bytes(&register.mac)?;
                w.bytes(register.current)?;
                w.bytes(register.previous)?;
                w.u8(u8::try_from(register.operator_key.len()).map_err(|_| NoSpace)?)?;
                w.bytes(register.operator_key)
            }
            Self::Ok { ttl: value } | Self::Accept { credit: value } | Self::Credit { bytes: value } => w.u32(*value),
            Self::PairSlot { rv_hash, ttl } => {
                w.bytes(rv_hash)?;
                w.u16(*ttl)
            }
            Self::CapDeny { cap_id, until } => {
                w.bytes(cap_id)?;
                w.u32(*until)
            }
            Self::Dial(dial) => {
                w.bytes(&dial.route_id)?;
                w.bytes(&dial.cap_id)?;
                w.u32(dial.expiry)?;
                w.u8(dial.class)?;
                w.bytes(&dial.proof)
            }
            Self::DialPair { rendezvous } => w.bytes(rendezvous),
            Self::Incoming(incoming) => {
                let (kind, cap_id) = match incoming.kind {
                    Kind::Dial { cap_id } => (0, cap_id),
                    Kind::Pair => (1, [0; 8]),
                };
                w.bytes(&incoming.channel_id)?;
                w.u8(kind)?;
                w.bytes(&cap_id)?;
                w.u32(incoming.credit)
            }
            Self::Refuse { code } | Self::Closed { code } => w.u8(code.to_byte()),
            Self::Opened { channel_id, credit } => {
                w.bytes(channel_id)?;
                w.u32(*credit)
            }
            Self::Data(body) if body.len() > MAX_RECORD => Err(NoSpace),
            Self::Data(body) => w.bytes(body),
            Self::Ping(number) | Self::Pong(number) => w.u64(*number),
            Self::Attach { channel_id, mac } => {
                w.bytes(channel_id)?;
                w.bytes(mac)
            }
            Self::Knock => Ok(()),
        }
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => HELLO,
            Self::Register(_) => REGISTER,
            Self::Ok { .. } => OK,
            Self::PairSlot { .. } => PAIR_SLOT,
            Self::CapDeny { .. } => CAP_DENY,
            Self::Dial(_) => DIAL,
            Self::DialPair { .. } => DIAL_PAIR,
            Self::Incoming(_) => INCOMING,
            Self::Accept { .. } => ACCEPT,
            Self::Refuse { .. } => REFUSE,
            Self::Opened { .. } => OPENED,
            Self::Data(_) => DATA,
            Self::Credit { .. } => CREDIT,
            Self::Closed { .. } => CLOSED,
            Self::Ping(_) => PING,
            Self::Pong(_) => PONG,
            Self::Attach { .. } => ATTACH,
            Self::Knock => KNOCK,
        }
    }

    const fn place(&self) -> Place {
        match self {
            Self::Hello(_)
            | Self::Register(_)
            | Self::Ok { .. }
            | Self::PairSlot { .. }
            | Self::CapDeny { .. }
            | Self::Ping(_)
            | Self::Pong(_)
            | Self::Attach { .. }
            | Self::Knock => Place::Link,
            Self::Closed { .. } => Place::Either,
            _ => Place::Channel,
        }
    }
}

/// What a frame's `idx` may be.
enum Place {
    Link,
    Channel,
    Either,
}

/// The first bytes of a DATA message on channel `idx`; the body follows them.
#[must_use]
pub const fn data_header(idx: u32) -> [u8; DATA_HEADER_LEN] {
    let [a, b, c, d] = idx.to_le_bytes();
    [DATA, a, b, c, d]
}

// Frames carry keys and rendezvous values: only their type is shown.
impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(body) => write!(f, "Data({} bytes)", body.len()),
            Self::Credit { bytes } => write!(f, "Credit({bytes})"),
            Self::Closed { code } => write!(f, "Closed({code:?})"),
            _ => write!(f, "Frame({:02x})", self.kind()),
        }
    }
}

impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hello(version {})", self.version)
    }
}

impl fmt::Debug for Register<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Register({:?}, ..)", self.route)
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dial(..)")
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incoming({:?}, credit {})", self.kind, self.credit)
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
