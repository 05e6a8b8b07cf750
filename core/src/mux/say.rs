//! What there is to say: control frames first, then streams in fair turns.

use super::stream::{Receiving, Sending, Stop, Stream};
use super::{ACKS_WAITING, MAX_IDS, Mux, Source};
use crate::wire::{Frame, STREAM_HEADER_LEN, StreamId, Writer};

/// Below this many bytes of room a record is closed rather than given a shred of a stream.
const SHRED: usize = 128;

impl<const STREAMS: usize> Mux<STREAMS> {
    /// Writes what there is to say: control frames first, then streams in fair turns, one frame
    /// each, until `w` is full or nobody has anything. Acknowledgements of ends ride along, or
    /// wait a little for something to ride on.
    pub fn poll(&mut self, source: &mut impl Source, w: &mut Writer<'_>) {
        self.say_state(w);
        if self.reattachment.is_saying() || self.reattachment.is_hearing() {
            return;
        }
        self.poll_control(w);
        if self.owes_acks() {
            self.acknowledge_ends(w);
        }
        self.poll_streams(source, w);
        if self.acks > 0 && !w.is_empty() {
            self.acknowledge_ends(w);
        }
    }

    fn poll_streams(&mut self, source: &mut impl Source, w: &mut Writer<'_>) {
        while w.room() >= SHRED.max(STREAM_HEADER_LEN.saturating_add(1)) {
            let Some(place) = self.next_turn() else {
                return;
            };
            self.write_turn(place, source, w);
            self.turn = u16::try_from(place.saturating_add(1)).unwrap_or(0); // never beyond, so long is no table
        }
    }

    /// Whether [`poll`](Self::poll) would write something that does not wait for company.
    #[must_use]
    pub fn has_output(&self) -> bool {
        if self.reattachment.is_saying() || self.reattachment.is_hearing() {
            return self.reattachment.is_saying();
        }
        self.announced < self.opened
            || self.owes_acks()
            || self.session_credit_due().is_some()
            || self.repeat_streams_credit
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
        if let Some(limit) = self.session_credit_due()
            && Frame::SessionCredit(limit).emit(w).is_ok()
        {
            self.recv.announce(limit);
        }
        let repeat = self.repeat_streams_credit.then_some(self.peer_limit);
        if let Some(streams) = self.streams_credit().or(repeat)
            && Frame::StreamsCredit(streams).emit(w).is_ok()
        {
            self.peer_limit = streams;
            self.repeat_streams_credit = false;
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
            if let Stop::Owed(code) = stream.stop
                && (Frame::Stop { id, code }).emit(w).is_ok()
            {
                stream.stop = Stop::Told(code);
            }
            if let Sending::Reset(code) = stream.sending
                && (Frame::Reset { id, code, size: stream.send.sent() }).emit(w).is_ok()
            {
                stream.sending = Sending::ResetTold(code);
            }
            if let Some(limit) = stream.credit_due()
                && (Frame::StreamCredit { id, received: stream.recv.received(), limit }).emit(w).is_ok()
            {
                stream.recv.announce(limit);
                stream.told = stream.recv.received();
                stream.nudged = false;
            }
            self.control |= stream.owes_control(); // the record is full: the rest goes into the next
            place = place.saturating_add(1);
        }
    }

    /// Tells the peer which ends have come.
    fn acknowledge_ends(&mut self, w: &mut Writer<'_>) {
        let (mut place, mut left) = (0, 0_u16);
        while let Some(stream) = self.table.at(place) {
            let (id, received) = (stream.id, stream.recv.received());
            if stream.receiving == Receiving::Ended {
                if (Frame::StreamCredit { id, received, limit: 0 }).emit(w).is_ok() {
                    stream.receiving = Receiving::Done;
                } else {
                    left = left.saturating_add(1); // into the next record
                }
            }
            if !stream.is_over() || !self.retire(id) {
                place = place.saturating_add(1); // else another one has taken its place
            }
        }
        self.acks = left;
        self.ack_by = None;
    }

    /// Whether acknowledgements of ends go without company.
    fn owes_acks(&self) -> bool {
        self.acks > 0 && (self.ack_by.is_none() || self.acks >= ACKS_WAITING)
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
            Some(buf) => source.read(id, offset, buf),
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
            stream.sending = Sending::Finished;
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
