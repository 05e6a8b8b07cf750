//! Streams inside a session: credit, fair turns, half-close, reset (protocol 9). Payload stays
//! with the caller; nothing here knows of keys or records.

mod event;
mod flow;
mod pace;
mod stream;
mod table;

use core::time::Duration;

pub use event::{Event, Taken, Violation};
pub use flow::{RecvCredit, SendCredit};

use crate::session::Role;
use crate::time::Instant;
use crate::wire::{Frame, Params, STREAM_HEADER_LEN, StreamId, Writer};
use pace::Pace;
use stream::{Receiving, Sending, Stream};
use table::Table;

/// Reset and stop codes that the protocol gives a meaning; those from 256 on are the application's.
pub mod reset {
    /// The application let go of the stream.
    pub const CANCELLED: u16 = 0;
    /// The host exposes no service of this name.
    pub const UNKNOWN_SERVICE: u16 = 1;
    /// The service does not answer.
    pub const UNREACHABLE: u16 = 2;
    /// The device may not use the service.
    pub const NOT_ALLOWED: u16 = 3;
}

/// Streams that one side can open in the life of a session.
const MAX_IDS: u32 = 1 << 31;

/// Below this many bytes of room a record is closed rather than given a shred of a stream.
const SHRED: usize = 128;

/// The windows of streams and session grow up to these, in bytes. A stream's grows to at most half
/// of the session's, so that none uses up the credit of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowCaps {
    /// For one stream.
    pub stream: u32,
    /// For all streams together: what the endpoint may have to hold.
    pub session: u32,
}

impl Default for WindowCaps {
    fn default() -> Self {
        Self { stream: 4 << 20, session: 16 << 20 }
    }
}

/// Where the bytes to send come from: the caller's pipes.
pub trait Source {
    /// Moves bytes of a stream into `buf` and tells how many and what is left. The stream had
    /// [`Mux::wants`] called and is given as many bytes as its credit and the record allow.
    fn read(&mut self, id: StreamId, buf: &mut [u8]) -> Taken;
}

/// The streams of one session, at most `STREAMS` at once, of both openers together.
#[derive(Debug)]
pub struct Mux<const STREAMS: usize> {
    table: Table<STREAMS>,
    send: SendCredit,
    recv: RecvCredit,
    /// Bytes that a stream's window begins with and grows to, and the peer's first limit.
    stream_window: u32,
    stream_cap: u32,
    peer_stream_window: u32,
    /// Streams of the peer's at once.
    max_streams: u16,
    role: Role,
    opened: u32,
    announced: u32,
    open_limit: u32,
    peer_opened: u32,
    peer_limit: u32,
    peer_over: u32,
    turn: u16,
    /// Some stream may owe a control frame.
    control: bool,
    pace: Pace,
    /// In microseconds.
    round_trip: u32,
}

impl<const STREAMS: usize> Mux<STREAMS> {
    /// No streams yet. `own` is what this side announced, `peer` what the peer did; at most
    /// `STREAMS - own.max_streams` streams can be opened from this side at once.
    #[must_use]
    pub fn new(role: Role, own: Params, peer: Params, caps: WindowCaps, now: Instant) -> Self {
        let session_cap = caps.session.max(own.session_window);
        Self {
            table: Table::new(),
            send: SendCredit::new(peer.session_window.into()),
            recv: RecvCredit::new(own.session_window, session_cap, now),
            stream_window: own.stream_window,
            stream_cap: caps.stream.min(session_cap / 2).max(own.stream_window),
            peer_stream_window: peer.stream_window,
            max_streams: own.max_streams,
            role,
            opened: 0,
            announced: 0,
            open_limit: peer.max_streams.into(),
            peer_opened: 0,
            peer_limit: own.max_streams.into(),
            peer_over: 0,
            turn: 0,
            control: false,
            pace: Pace::new(now),
            round_trip: 50_000,
        }
    }

    /// Takes a measured round trip; windows grow by it.
    pub fn measured(&mut self, round_trip: Duration) {
        self.round_trip = u32::try_from(round_trip.as_micros()).unwrap_or(u32::MAX);
    }

    /// Opens a stream; none while the peer's limit or the table is used up.
    pub fn open(&mut self, now: Instant) -> Option<StreamId> {
        let own = STREAMS.saturating_sub(self.max_streams.into());
        if self.opened >= self.open_limit.min(MAX_IDS) || self.table.count_of(self.opener()) >= own {
            return None;
        }
        let id = Self::id_of(self.opened, self.opener());
        self.table.insert(self.stream(id, now))?;
        self.opened = self.opened.saturating_add(1);
        Some(id)
    }

    /// The application has bytes, or the end, to send on this stream.
    pub fn wants(&mut self, id: StreamId) {
        if let Some(stream) = self.table.find(id) {
            stream.wants = true;
        }
    }

    /// The application took bytes of this stream out of its pipe: the peer may send as many more.
    pub fn consumed(&mut self, id: StreamId, bytes: usize, now: Instant) {
        let round_trip = self.round_trip();
        let Some(stream) = self.table.find(id) else {
            return;
        };
        if stream.released {
            return; // what it held was counted when it was released
        }
        let bytes = (bytes as u64).min(stream.recv.held());
        stream.recv.consume(bytes, now, round_trip);
        let least = stream.recv.window().saturating_mul(2);
        self.control |= stream.owes_control();
        self.recv.consume(bytes, now, round_trip);
        // Or one stream with much to send would take all credit, and others wait a round trip.
        self.recv.widen(least);
    }

    /// Gives up sending on this stream.
    pub fn reset(&mut self, id: StreamId, code: u16) {
        if let Some(stream) = self.table.find(id)
            && stream.sending == Sending::Open
        {
            stream.sending = Sending::Reset(code);
            stream.wants = false;
            self.control = true;
        }
    }

    /// Asks the peer to send no more on this stream; what still comes is discarded.
    pub fn stop(&mut self, id: StreamId, code: u16) {
        if let Some(stream) = self.table.find(id)
            && stream.receiving == Receiving::Open
        {
            stream.stop = Some(code);
            self.control = true;
        }
    }

    /// The application lets go of the stream: what it has not sent is reset, what it has not read
    /// is discarded, both with `code`. A stream that ended both ways just leaves.
    pub fn release(&mut self, id: StreamId, code: u16, now: Instant) {
        self.reset(id, code);
        self.stop(id, code);
        let round_trip = self.round_trip();
        if let Some(stream) = self.table.find(id)
            && !stream.released
        {
            stream.released = true;
            let held = stream.recv.held();
            stream.recv.consume(held, now, round_trip);
            self.recv.consume(held, now, round_trip);
        }
        self.retire(id);
    }

    /// Applies a frame of the peer.
    ///
    /// # Errors
    /// [`Violation`]: the peer broke the protocol, the session is over.
    pub fn handle<'b>(&mut self, now: Instant, frame: Frame<'b>) -> Result<Option<Event<'b>>, Violation> {
        match frame {
            Frame::Stream { id, offset, fin, data } => self.handle_stream(now, id, offset, fin, data),
            Frame::StreamCredit { id, limit, .. } => {
                let Some(stream) = self.known(now, id)? else {
                    return Ok(None);
                };
                let listens = stream.sending == Sending::Open && !stream.released;
                if !stream.send.raise(limit) {
                    self.pace.spend(now)?;
                    return Ok(None);
                }
                Ok(listens.then_some(Event::Writable(id)))
            }
            Frame::SessionCredit(limit) => {
                if !self.send.raise(limit) {
                    self.pace.spend(now)?;
                }
                Ok(None)
            }
            Frame::StreamsCredit(streams) => {
                if streams <= self.open_limit {
                    self.pace.spend(now)?;
                    return Ok(None);
                }
                self.open_limit = streams;
                Ok(Some(Event::MayOpen))
            }
            Frame::Reset { id, code, size } => self.handle_reset(now, id, code, size),
            Frame::Stop { id, code } => {
                self.pace.spend(now)?;
                let Some(stream) = self.known(now, id)? else {
                    return Ok(None);
                };
                if stream.sending != Sending::Open {
                    return Ok(None);
                }
                stream.sending = Sending::Reset(code);
                stream.wants = false;
                let released = stream.released;
                self.control = true;
                Ok((!released).then_some(Event::Stopped { id, code }))
            }
            _ => Err(Violation::Unexpected),
        }
    }

    /// Counts a control frame of the peer's that is not about streams.
    ///
    /// # Errors
    /// [`Violation::Flood`].
    pub(crate) fn count_control(&mut self, now: Instant) -> Result<(), Violation> {
        self.pace.spend(now)
    }

    /// Writes what there is to say: control frames first, then streams in fair turns, one frame
    /// each, until `w` is full or nobody has anything.
    pub fn poll(&mut self, source: &mut impl Source, w: &mut Writer<'_>) {
        self.poll_control(w);
        while w.room() >= SHRED.max(STREAM_HEADER_LEN.saturating_add(1)) {
            let Some(place) = self.next_turn() else {
                return;
            };
            self.write_turn(place, source, w);
            let id = self.table.at(place).map(|stream| stream.id);
            let retired = id.is_some_and(|id| self.retire(id)); // another stream has come into its place
            let next = if retired { place } else { place.saturating_add(1) };
            self.turn = u16::try_from(next).unwrap_or(0); // never beyond, so long is no table
        }
    }

    /// Whether [`poll`](Self::poll) would write something.
    #[must_use]
    pub fn has_output(&self) -> bool {
        self.announced < self.opened
            || self.recv.due_within_cap().is_some()
            || self.streams_credit().is_some()
            || self.next_turn().is_some()
            || (self.control && self.table.iter().any(Stream::owes_control))
    }

    /// Streams in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.iter().count()
    }

    /// Whether no stream is in the table.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn handle_stream<'b>(
        &mut self,
        now: Instant,
        id: StreamId,
        offset: u64,
        fin: bool,
        data: &'b [u8],
    ) -> Result<Option<Event<'b>>, Violation> {
        let len = data.len() as u64;
        self.recv.check(len)?;
        let opened = self.open_by_peer(now, id)?;
        let round_trip = self.round_trip();
        let unheard = self.is_own(id) && id.0 >> 1 >= self.announced;
        let stream = self.table.find(id).filter(|_| !unheard).ok_or(Violation::StreamState)?;
        if stream.receiving != Receiving::Open {
            return Err(Violation::StreamState);
        }
        if offset != stream.recv.received() {
            return Err(Violation::Offset);
        }
        stream.recv.check(len)?;
        stream.recv.receive(len);
        self.recv.receive(len);
        if fin {
            stream.receiving = Receiving::Done;
            stream.stop = None;
        }
        if len == 0 && !fin && !opened {
            self.pace.spend(now)?;
        }
        if stream.released {
            stream.recv.consume(len, now, round_trip);
            self.recv.consume(len, now, round_trip);
            self.retire(id);
            return Ok(None);
        }
        Ok(Some(if opened { Event::Opened { id, data, fin } } else { Event::Data { id, data, fin } }))
    }

    fn handle_reset<'b>(
        &mut self,
        now: Instant,
        id: StreamId,
        code: u16,
        size: u64,
    ) -> Result<Option<Event<'b>>, Violation> {
        self.pace.spend(now)?;
        let opened = self.open_by_peer(now, id)?;
        let round_trip = self.round_trip();
        let Some(stream) = self.known(now, id)? else {
            return Ok(None);
        };
        if stream.receiving != Receiving::Open {
            return Ok(None);
        }
        let missing = size.checked_sub(stream.recv.received()).ok_or(Violation::FinalSize)?;
        stream.recv.check(missing)?;
        stream.recv.receive(missing);
        stream.receiving = Receiving::Done;
        stream.stop = None;
        let unread = if stream.released { missing } else { stream.recv.held() };
        stream.recv.consume(unread, now, round_trip);
        let released = stream.released;
        self.recv.check(missing)?;
        self.recv.receive(missing);
        self.recv.consume(unread, now, round_trip);
        if opened {
            // Opened only to be given up: nobody needs to hear of it.
            self.release(id, code, now);
            return Ok(None);
        }
        self.retire(id);
        Ok((!released).then_some(Event::Reset { id, code }))
    }

    /// Takes a stream of the peer into the table, if `id` is the next one.
    fn open_by_peer(&mut self, now: Instant, id: StreamId) -> Result<bool, Violation> {
        if self.is_own(id) || id != Self::id_of(self.peer_opened, self.opener() ^ 1) {
            return Ok(false);
        }
        if self.peer_opened >= self.peer_limit {
            return Err(Violation::StreamLimit);
        }
        self.table.insert(self.stream(id, now)).ok_or(Violation::StreamLimit)?;
        self.peer_opened = self.peer_opened.saturating_add(1);
        Ok(true)
    }

    /// The stream of a control frame: none where it is over, an error where it never was.
    fn known(&mut self, now: Instant, id: StreamId) -> Result<Option<&mut Stream>, Violation> {
        let count = if self.is_own(id) { self.announced } else { self.peer_opened };
        if id.0 >> 1 >= count {
            return Err(Violation::StreamState);
        }
        if self.table.find(id).is_none() {
            self.pace.spend(now)?;
        }
        Ok(self.table.find(id))
    }

    fn poll_control(&mut self, w: &mut Writer<'_>) {
        while self.announced < self.opened {
            let id = Self::id_of(self.announced, self.opener());
            if (Frame::Stream { id, offset: 0, fin: false, data: &[] }).emit(w).is_err() {
                return;
            }
            self.announced = self.announced.saturating_add(1);
        }
        if let Some(limit) = self.recv.due_within_cap()
            && Frame::SessionCredit(limit).emit(w).is_ok()
        {
            self.recv.announce(limit);
        }
        if let Some(streams) = self.streams_credit()
            && Frame::StreamsCredit(streams).emit(w).is_ok()
        {
            self.peer_limit = streams;
        }
        if !core::mem::take(&mut self.control) {
            return;
        }
        let mut place = 0;
        while let Some(stream) = self.table.at(place) {
            if !stream.owes_control() {
                place = place.saturating_add(1);
                continue;
            }
            let id = stream.id;
            if let Some(code) = stream.stop
                && (Frame::Stop { id, code }).emit(w).is_ok()
            {
                stream.stop = None;
            }
            if let Sending::Reset(code) = stream.sending
                && (Frame::Reset { id, code, size: stream.send.sent() }).emit(w).is_ok()
            {
                stream.sending = Sending::Done;
            }
            if let Some(limit) = stream.credit_due()
                && (Frame::StreamCredit { id, received: stream.recv.received(), limit }).emit(w).is_ok()
            {
                stream.recv.announce(limit);
            }
            self.control |= stream.owes_control(); // the record is full: the rest goes into the next
            if stream.is_over() {
                self.retire(id); // and another one takes its place
            } else {
                place = place.saturating_add(1);
            }
        }
    }

    /// One stream's turn: a single frame.
    fn write_turn(&mut self, place: usize, source: &mut impl Source, w: &mut Writer<'_>) {
        let session = self.send.available();
        let Some(stream) = self.table.at(place) else {
            return;
        };
        let before = w.len();
        let room = w.room().saturating_sub(STREAM_HEADER_LEN) as u64;
        let most = room.min(stream.send.available()).min(session).min(u16::MAX.into());
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let (id, offset) = (stream.id, stream.send.sent());
        let taken = match w.spare().get_mut(STREAM_HEADER_LEN..).and_then(|spare| spare.get_mut(..most)) {
            Some(buf) => source.read(id, buf),
            None => return,
        };
        let len = taken.len.min(most);
        // A source that promises more and gives nothing must ask again, or this would not end.
        stream.wants = taken.more && !taken.fin && len > 0;
        if len == 0 && !taken.fin {
            return;
        }
        let header = emit_stream_header(id, offset, taken.fin, len, w);
        if header.and_then(|()| w.advance(len)).is_err() {
            w.truncate(before);
            return;
        }
        stream.send.spend(len as u64);
        self.send.spend(len as u64);
        if taken.fin {
            stream.sending = Sending::Done;
        }
    }

    /// The place in the table of the next stream in turn.
    fn next_turn(&self) -> Option<usize> {
        let session = self.send.available();
        self.table.next_from(self.turn.into(), |stream| {
            stream.is_ready(session) && (!self.is_own(stream.id) || stream.id.0 >> 1 < self.announced)
        })
    }

    /// How many streams the peer may have opened in total, where a quarter of its limit or more
    /// has been given back.
    fn streams_credit(&self) -> Option<u32> {
        let target = self.peer_over.saturating_add(self.max_streams.into()).min(MAX_IDS);
        let owed = target.saturating_sub(self.peer_limit);
        (owed > 0 && owed >= u32::from(self.max_streams) / 4).then_some(target)
    }

    /// Takes a stream out of the table if it is over, and tells whether it was.
    fn retire(&mut self, id: StreamId) -> bool {
        let over = self.table.find(id).is_some_and(|stream| stream.is_over());
        if over {
            self.table.remove(id);
            if !self.is_own(id) {
                self.peer_over = self.peer_over.saturating_add(1);
            }
        }
        over
    }

    fn stream(&self, id: StreamId, now: Instant) -> Stream {
        let send = SendCredit::new(self.peer_stream_window.into());
        Stream::new(id, send, RecvCredit::new(self.stream_window, self.stream_cap, now))
    }

    /// Low bit of the ids that this side opens.
    const fn opener(&self) -> u32 {
        match self.role {
            Role::Device => 0,
            Role::Host => 1,
        }
    }

    const fn is_own(&self, id: StreamId) -> bool {
        id.0 & 1 == self.opener()
    }

    const fn round_trip(&self) -> Duration {
        Duration::from_micros(self.round_trip as u64)
    }

    const fn id_of(number: u32, opener: u32) -> StreamId {
        StreamId((number << 1) | opener)
    }
}

fn emit_stream_header(
    id: StreamId,
    offset: u64,
    fin: bool,
    len: usize,
    w: &mut Writer<'_>,
) -> Result<(), crate::wire::NoSpace> {
    w.u8(0x20)?;
    w.u8(u8::from(fin))?;
    w.u32(id.0)?;
    w.u64(offset)?;
    w.u16(u16::try_from(len).unwrap_or(u16::MAX))
}
