//! Streams inside a session: credit, fair turns, half-close, reset (protocol 9). Payload stays
//! with the caller; nothing here knows of keys or records.

mod event;
mod flow;
mod hear;
mod pace;
mod resume;
mod say;
mod stream;
mod table;
mod windows;

use core::time::Duration;

pub use event::{Event, Taken, Violation};
pub use flow::{RecvCredit, SendCredit};
pub use windows::WindowCaps;

use crate::session::Role;
use crate::time::Instant;
use crate::wire::{Params, StreamId};
use pace::Pace;
use resume::Reattachment;
use stream::{Receiving, Sending, Stop, Stream};
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

/// How long the acknowledgement of an end waits for a record to ride on.
const ACK_DELAY: Duration = Duration::from_millis(25);
/// So many of them do not wait.
const ACKS_WAITING: u16 = 32;
/// Streams that one side can open in the life of a session.
const MAX_IDS: u32 = 1 << 31;

/// Where the bytes to send come from: the caller's pipes.
///
/// What was read stays with the pipe until the peer acknowledges it, for it may be asked for again.
/// How much that is, the peer's credit bounds, and the peer chooses its credit: one that grants much
/// and acknowledges nothing would have a pipe keep gigabytes. So a pipe bounds what it keeps by
/// itself, for all streams together, and gives fewer bytes, with [`Taken::more`] still set, where
/// that is used up; [`Event::Acknowledged`] makes room, and [`Mux::wants`] lets it be asked again.
pub trait Source {
    /// Copies bytes of a stream into `buf`, from this offset of the stream on, and tells how many
    /// and what is left. The stream had [`Mux::wants`] called and is given as many bytes as its
    /// credit and the record allow. After a loss the same bytes, and the same end, are asked for
    /// again from what the peer has; those below what it acknowledged never are.
    fn read(&mut self, id: StreamId, offset: u64, buf: &mut [u8]) -> Taken;
}

/// The streams of one session, at most `STREAMS` at once, of both openers together.
#[derive(Debug)]
pub struct Mux<const STREAMS: usize> {
    table: Table<STREAMS>,
    send: SendCredit,
    recv: RecvCredit,
    /// Bytes that a stream's window begins with, and the peer's first limit.
    stream_window: u32,
    peer_stream_window: u32,
    caps: WindowCaps,
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
    /// The number of streams that the peer may open is to be said again.
    repeat_streams_credit: bool,
    reattachment: Reattachment,
    /// Ends that were received and not acknowledged, and until when that waits for company.
    acks: u16,
    ack_by: Option<Instant>,
    pace: Pace,
    /// In microseconds.
    round_trip: u32,
}

impl<const STREAMS: usize> Mux<STREAMS> {
    /// No streams yet. `own` is what this side announced, `peer` what the peer did; at most
    /// `STREAMS - own.max_streams` streams can be opened from this side at once.
    #[must_use]
    pub fn new(role: Role, own: Params, peer: Params, caps: WindowCaps, now: Instant) -> Self {
        let caps = caps.within(&own);
        Self {
            table: Table::new(),
            send: SendCredit::new(peer.session_window.into()),
            recv: RecvCredit::new(own.session_window, own.session_window.max(caps.session / 2), now),
            stream_window: own.stream_window,
            peer_stream_window: peer.stream_window,
            caps,
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
            repeat_streams_credit: false,
            reattachment: Reattachment::default(),
            acks: 0,
            ack_by: None,
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
        let (bytes, before) = ((bytes as u64).min(stream.recv.held()), stream.recv.window());
        stream.recv.consume(bytes, now, round_trip);
        let window = stream.recv.window();
        self.control |= stream.owes_control();
        self.recv.consume(bytes, now, round_trip);
        // Or one stream with much to send would take all credit, and others wait a round trip.
        self.recv.widen(window.saturating_mul(2));
        if window != before {
            self.divide();
        }
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
            && stream.stop == Stop::None
        {
            stream.stop = Stop::Owed(code);
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

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.ack_by
    }

    /// Time has passed: acknowledgements that waited for company go without.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.ack_by.take_if(|at| now >= *at);
    }

    /// The end of what a stream receives came: the peer is told with the next record, or soon.
    fn owe_ack(&mut self, now: Instant) {
        if self.acks == 0 {
            self.ack_by = Some(now + ACK_DELAY);
        }
        self.acks = self.acks.saturating_add(1);
    }

    /// The peer is told what has arrived on every stream, little as it may be.
    pub(crate) fn nudge(&mut self) {
        self.table.each(|stream| stream.nudged = stream.recv.received() > stream.told);
        self.control = true;
    }

    /// Takes a stream out of the table if it is over, and tells whether it was.
    fn retire(&mut self, id: StreamId) -> bool {
        if self.reattachment.is_saying() {
            return false; // the peer would miss the one that comes into its place
        }
        let Some(stream) = self.table.find(id).filter(|stream| stream.is_over()) else {
            return false;
        };
        let had_grown = stream.recv.window() > self.stream_window;
        self.table.remove(id);
        if !self.is_own(id) {
            self.peer_over = self.peer_over.saturating_add(1);
        }
        if had_grown {
            self.divide();
        }
        true
    }

    fn stream(&self, id: StreamId, now: Instant) -> Stream {
        let send = SendCredit::new(self.peer_stream_window.into());
        Stream::new(id, send, RecvCredit::new(self.stream_window, self.share(), now))
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
