//! What the peer says: frames applied to streams and credit.

use super::stream::{Receiving, Sending, Stream};
use super::{Event, Mux, Violation};
use crate::time::Instant;
use crate::wire::{Frame, StreamId};

impl<const STREAMS: usize> Mux<STREAMS> {
    /// Applies a frame of the peer.
    ///
    /// # Errors
    /// [`Violation`]: the peer broke the protocol, the session is over.
    pub fn handle<'b>(&mut self, now: Instant, frame: Frame<'b>) -> Result<Option<Event<'b>>, Violation> {
        match frame {
            Frame::ResumeState(state) => self.handle_state(state),
            _ if self.reattachment.is_hearing() => Err(Violation::Unexpected),
            Frame::Stream { id, offset, fin, data } => self.handle_stream(now, id, offset, fin, data),
            Frame::StreamCredit { id, received, limit } => self.handle_credit(now, id, received, limit),
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
                let Some(stream) = self.known(now, id)? else {
                    return Ok(None);
                };
                if stream.sending != Sending::Open {
                    self.pace.spend(now)?;
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

    fn handle_credit<'b>(
        &mut self,
        now: Instant,
        id: StreamId,
        received: u64,
        limit: u64,
    ) -> Result<Option<Event<'b>>, Violation> {
        let Some(stream) = self.known(now, id)? else {
            return Ok(None);
        };
        // A limit of zero grants nothing: it says that the end has come.
        let (end, before) = (limit == 0, (stream.acknowledged, stream.sending));
        stream.acknowledge(received, end)?;
        let is_news = stream.send.raise(limit) || before != (stream.acknowledged, stream.sending);
        if end {
            self.retire(id);
        }
        if !is_news {
            self.pace.spend(now)?;
            return Ok(None);
        }
        Ok(Some(Event::Acknowledged { id, received, end }))
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
            stream.end_receiving();
        }
        self.control |= stream.owes_control();
        let released = stream.released;
        if released {
            stream.recv.consume(len, now, round_trip);
            self.recv.consume(len, now, round_trip);
        }
        if fin {
            self.owe_ack(now);
        }
        if len == 0 && !fin && !opened {
            self.pace.spend(now)?;
        }
        if released {
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
        let opened = self.open_by_peer(now, id)?;
        let round_trip = self.round_trip();
        // One that this side let go of is the answer to its STOP; others make work and cost nothing.
        let answers = self.known(now, id)?.is_some_and(|stream| stream.released);
        if !answers {
            self.pace.spend(now)?;
        }
        let Some(stream) = self.known(now, id)? else {
            return Ok(None);
        };
        if stream.receiving != Receiving::Open {
            return Ok(None);
        }
        let missing = size.checked_sub(stream.recv.received()).ok_or(Violation::FinalSize)?;
        stream.recv.check(missing)?;
        stream.recv.receive(missing);
        stream.end_receiving();
        let unread = if stream.released { missing } else { stream.recv.held() };
        stream.recv.consume(unread, now, round_trip);
        let released = stream.released;
        self.recv.check(missing)?;
        self.recv.receive(missing);
        self.recv.consume(unread, now, round_trip);
        self.owe_ack(now);
        if opened {
            // Opened only to be given up: nobody needs to hear of it.
            self.release(id, code, now);
            return Ok(None);
        }
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
}
