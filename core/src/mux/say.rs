//! What there is to say: control frames first, then streams in fair turns.

use super::stream::{Sending, Stream};
use super::{MAX_IDS, Mux, Source};
use crate::wire::{Frame, STREAM_HEADER_LEN, StreamId, Writer};

/// Below this many bytes of room a record is closed rather than given a shred of a stream.
const SHRED: usize = 128;

impl<const STREAMS: usize> Mux<STREAMS> {
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
        // In quarters, yet never so that long-lived streams keep the peer from what it was promised.
        let is_due = owed >= u32::from(self.max_streams) / 4 || self.peer_opened >= self.peer_limit;
        (owed > 0 && is_due).then_some(target)
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
