//! What is inside a record: a sequence of frames, then padding (protocol 9.1).

use super::caveats::Caveats;
use super::control::{Auth, AuthOk, CAPABILITY_LEN, Close, PairAccept, PairFinish, TOKEN_LEN};
use super::cursor::{Malformed, NoSpace, Reader, Writer};

/// Bytes of a stream frame before its data.
pub const STREAM_HEADER_LEN: usize = 16;
/// The most entries in one [`ResumeState`].
pub const RESUME_ENTRIES: usize = 64;

/// The name of a stream. Bit 0 tells who opened it: 0 the device, 1 the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u32);

/// One stream's numbers after a reattachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResumeEntry {
    /// Which stream.
    pub id: StreamId,
    /// Bytes received on it.
    pub received: u64,
    /// The limit granted for it.
    pub limit: u64,
    /// Bit 0: its end was received.
    pub flags: u8,
}

/// Bytes of an entry.
pub(crate) const ENTRY_LEN: usize = 21;
/// Bytes of a state without its entries.
pub(crate) const STATE_HEADER_LEN: usize = 22;
/// Of the count of entries: another state follows.
const MORE: u8 = 0x80;

/// What an endpoint has of the peer's streams, after a reattachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResumeState<'a> {
    /// How many streams of the peer's were seen.
    pub seen: u32,
    /// Bytes received over all streams.
    pub received: u64,
    /// The limit granted over all streams.
    pub limit: u64,
    /// Another state follows, with more streams.
    pub more: bool,
    /// One entry per live stream.
    pub entries: ResumeEntries<'a>,
}

/// Entries of a [`ResumeState`], still in their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResumeEntries<'a>(&'a [u8]);

impl<'a> ResumeEntries<'a> {
    /// Writes `entries` into `out`, at most [`RESUME_ENTRIES`] of them, 21 bytes each.
    ///
    /// # Errors
    /// [`NoSpace`].
    pub fn emit_into(entries: &[ResumeEntry], out: &'a mut [u8]) -> Result<Self, NoSpace> {
        if entries.len() > RESUME_ENTRIES {
            return Err(NoSpace);
        }
        let mut w = Writer::new(out);
        for entry in entries {
            w.u32(entry.id.0)?;
            w.u64(entry.received)?;
            w.u64(entry.limit)?;
            w.u8(entry.flags)?;
        }
        let len = w.len();
        Ok(Self(out.get(..len).unwrap_or_default()))
    }

    /// The entries in order.
    pub fn iter(&self) -> impl Iterator<Item = ResumeEntry> + use<'a> {
        self.0.chunks_exact(ENTRY_LEN).filter_map(|bytes| {
            let mut r = Reader::new(bytes);
            Some(ResumeEntry {
                id: StreamId(r.u32().ok()?),
                received: r.u64().ok()?,
                limit: r.u64().ok()?,
                flags: r.u8().ok()?,
            })
        })
    }
}

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Asks for a [`Frame::Pong`] with the same number.
    Ping(u64),
    /// Answers a [`Frame::Ping`].
    Pong(u64),
    /// The end of a session or channel.
    Close(Close<'a>),
    /// First frame of a pairing device.
    PairFinish(PairFinish<'a>),
    /// The host's operator is being asked; seconds until the answer is no.
    PairPending(u16),
    /// The device is paired.
    PairAccept(PairAccept<'a>),
    /// The device has stored what [`Frame::PairAccept`] brought.
    PairAck,
    /// First frame of a connecting device.
    Auth(Auth<'a>),
    /// The host's answer to it.
    AuthOk(AuthOk<'a>),
    /// A new bearer token.
    Token(&'a [u8; TOKEN_LEN]),
    /// The device has stored the new token.
    TokenAck,
    /// A fresh capability for the relay.
    Cap(&'a [u8; CAPABILITY_LEN]),
    /// An in-band ticket: pair again with it (protocol 10.5).
    Rotate(&'a [u8]),
    /// Directly before [`Frame::Auth`]: a guest says what limits it.
    Guest(Caveats<'a>),
    /// Bytes of a stream.
    Stream {
        /// Which stream.
        id: StreamId,
        /// Bytes of the stream before these.
        offset: u64,
        /// Nothing follows on this stream.
        fin: bool,
        /// The bytes.
        data: &'a [u8],
    },
    /// Bytes received so far and the new limit of a stream.
    StreamCredit {
        /// Which stream.
        id: StreamId,
        /// Bytes received, which need not be kept for repetition.
        received: u64,
        /// Bytes that may be sent in total.
        limit: u64,
    },
    /// Bytes that may be sent in total over all streams.
    SessionCredit(u64),
    /// Streams that the peer may have opened in total.
    StreamsCredit(u32),
    /// The sender of a stream gives up.
    Reset {
        /// Which stream.
        id: StreamId,
        /// Why: of [`mux::reset`](crate::mux::reset), or the application's own from 256 on.
        code: u16,
        /// Bytes that were ever sent on it.
        size: u64,
    },
    /// The receiver of a stream wants no more.
    Stop {
        /// Which stream.
        id: StreamId,
        /// Why: of [`mux::reset`](crate::mux::reset), or the application's own from 256 on.
        code: u16,
    },
    /// A message outside all streams; only on unordered transports.
    Datagram(&'a [u8]),
    /// What the sender has of the receiver's streams.
    ResumeState(ResumeState<'a>),
}

impl<'a> Frame<'a> {
    /// The next frame of a record's plaintext; none at its end or where padding starts.
    ///
    /// # Errors
    /// [`Malformed`] for unknown types, values out of bounds, frames that are cut off, and
    /// padding that is not zero.
    pub fn parse(r: &mut Reader<'a>) -> Result<Option<Self>, Malformed> {
        if r.is_empty() {
            return Ok(None);
        }
        let frame = match r.u8()? {
            0x00 => {
                let rest = r.bytes(r.rest().len())?;
                return if is_zero(rest) { Ok(None) } else { Err(Malformed) };
            }
            0x01 => Self::Ping(r.u64()?),
            0x02 => Self::Pong(r.u64()?),
            0x03 => Self::Close(Close::parse(r)?),
            0x10 => Self::PairFinish(PairFinish::parse(r)?),
            0x11 => Self::PairPending(r.u16()?),
            0x12 => Self::PairAccept(PairAccept::parse(r)?),
            0x13 => Self::PairAck,
            0x18 => Self::Auth(Auth::parse(r)?),
            0x19 => Self::AuthOk(AuthOk::parse(r)?),
            0x1a => Self::Token(r.array()?),
            0x1b => Self::TokenAck,
            0x1c => Self::Cap(r.array()?),
            0x1d => {
                let len = r.u8()?;
                Self::Rotate(r.bytes(len.into())?)
            }
            0x1e => Self::Guest(Caveats::parse(r)?),
            0x20 => {
                let fin = match r.u8()? {
                    flags @ 0..=1 => flags == 1,
                    _ => return Err(Malformed),
                };
                let id = StreamId(r.u32()?);
                let offset = r.u64()?;
                let len = r.u16()?;
                Self::Stream { id, offset, fin, data: r.bytes(len.into())? }
            }
            0x21 => Self::StreamCredit { id: StreamId(r.u32()?), received: r.u64()?, limit: r.u64()? },
            0x22 => Self::SessionCredit(r.u64()?),
            0x23 => Self::StreamsCredit(r.u32()?),
            0x24 => Self::Reset { id: StreamId(r.u32()?), code: r.u16()?, size: r.u64()? },
            0x25 => Self::Stop { id: StreamId(r.u32()?), code: r.u16()? },
            0x26 => {
                let len = r.u16()?;
                Self::Datagram(r.bytes(len.into())?)
            }
            0x28 => {
                let (seen, received, limit) = (r.u32()?, r.u64()?, r.u64()?);
                let count = r.u8()?;
                let (count, more) = (usize::from(count & !MORE), count & MORE != 0);
                if count > RESUME_ENTRIES {
                    return Err(Malformed);
                }
                let entries = ResumeEntries(r.bytes(count.saturating_mul(ENTRY_LEN))?);
                Self::ResumeState(ResumeState { seen, received, limit, more, entries })
            }
            _ => return Err(Malformed),
        };
        Ok(Some(frame))
    }

    /// Writes the frame, whole or not at all.
    ///
    /// # Errors
    /// [`NoSpace`], also for data longer than its length field can say.
    pub fn emit(&self, w: &mut Writer<'_>) -> Result<(), NoSpace> {
        let before = w.len();
        self.emit_parts(w).inspect_err(|_| w.truncate(before))
    }

    fn emit_parts(&self, w: &mut Writer<'_>) -> Result<(), NoSpace> {
        w.u8(self.kind())?;
        match *self {
            Self::Ping(number) | Self::Pong(number) | Self::SessionCredit(number) => w.u64(number),
            Self::Close(ref close) => close.emit(w),
            Self::PairFinish(ref finish) => finish.emit(w),
            Self::PairPending(seconds) => w.u16(seconds),
            Self::PairAccept(ref accept) => accept.emit(w),
            Self::PairAck | Self::TokenAck => Ok(()),
            Self::Auth(ref auth) => auth.emit(w),
            Self::AuthOk(ref ok) => ok.emit(w),
            Self::Token(token) => w.bytes(token),
            Self::Cap(capability) => w.bytes(capability),
            Self::Rotate(ticket) => {
                w.u8(u8::try_from(ticket.len()).map_err(|_| NoSpace)?)?;
                w.bytes(ticket)
            }
            Self::Guest(ref caveats) => caveats.emit(w),
            Self::Stream { id, offset, fin, data } => {
                w.u8(u8::from(fin))?;
                w.u32(id.0)?;
                w.u64(offset)?;
                w.u16(u16::try_from(data.len()).map_err(|_| NoSpace)?)?;
                w.bytes(data)
            }
            Self::StreamCredit { id, received, limit } => {
                w.u32(id.0)?;
                w.u64(received)?;
                w.u64(limit)
            }
            Self::StreamsCredit(streams) => w.u32(streams),
            Self::Reset { id, code, size } => {
                w.u32(id.0)?;
                w.u16(code)?;
                w.u64(size)
            }
            Self::Stop { id, code } => {
                w.u32(id.0)?;
                w.u16(code)
            }
            Self::Datagram(data) => {
                w.u16(u16::try_from(data.len()).map_err(|_| NoSpace)?)?;
                w.bytes(data)
            }
            Self::ResumeState(ref state) => {
                w.u32(state.seen)?;
                w.u64(state.received)?;
                w.u64(state.limit)?;
                let count = u8::try_from(state.entries.0.len() / ENTRY_LEN).map_err(|_| NoSpace)?;
                w.u8(count | if state.more { MORE } else { 0 })?;
                w.bytes(state.entries.0)
            }
        }
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Ping(_) => 0x01,
            Self::Pong(_) => 0x02,
            Self::Close(_) => 0x03,
            Self::PairFinish(_) => 0x10,
            Self::PairPending(_) => 0x11,
            Self::PairAccept(_) => 0x12,
            Self::PairAck => 0x13,
            Self::Auth(_) => 0x18,
            Self::AuthOk(_) => 0x19,
            Self::Token(_) => 0x1a,
            Self::TokenAck => 0x1b,
            Self::Cap(_) => 0x1c,
            Self::Rotate(_) => 0x1d,
            Self::Guest(_) => 0x1e,
            Self::Stream { .. } => 0x20,
            Self::StreamCredit { .. } => 0x21,
            Self::SessionCredit(_) => 0x22,
            Self::StreamsCredit(_) => 0x23,
            Self::Reset { .. } => 0x24,
            Self::Stop { .. } => 0x25,
            Self::Datagram(_) => 0x26,
            Self::ResumeState(_) => 0x28,
        }
    }
}

/// Whether all bytes are zero, eight at a time.
fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    words.iter().all(|word| *word == [0; 8]) && rest.iter().all(|byte| *byte == 0)
}
