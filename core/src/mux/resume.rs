//! What both ends have, said and heard after a reattachment (protocol 10.3): each goes on from
//! where the other one is.

use super::stream::{END, Receiving, Sending};
use super::{Event, Mux, Violation};
use crate::wire::{
    ENTRY_LEN, Frame, RESUME_ENTRIES, ResumeEntries, ResumeEntry, ResumeState, STATE_HEADER_LEN, StreamId, Writer,
};

/// Where a reattachment stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reattachment {
    /// The place of the stream that the peer is told of next; none when all was said.
    say: Option<u16>,
    /// The peer's state is awaited.
    hear: bool,
}

impl Reattachment {
    /// Whether own state is still to be said: until then no stream leaves its place.
    pub(super) const fn is_saying(self) -> bool {
        self.say.is_some()
    }

    /// Whether streams rest until the peer has said its state.
    pub(super) const fn is_hearing(self) -> bool {
        self.hear
    }
}

impl<const STREAMS: usize> Mux<STREAMS> {
    /// A new attachment carries the session: nothing but states is said and heard until both
    /// sides have said theirs.
    pub fn reattach(&mut self) {
        self.reattachment = Reattachment { say: Some(0), hear: true };
        self.table.each(|stream| stream.listed = false);
    }

    /// Bytes of a stream that the peer has; none where the stream is no more: the peer has all.
    #[must_use]
    pub fn acknowledged(&mut self, id: StreamId) -> Option<u64> {
        let stream = self.table.find(id)?;
        (stream.sending != Sending::Done).then_some(stream.acknowledged)
    }

    /// Writes own state, as much as fits.
    pub(super) fn say_state(&mut self, w: &mut Writer<'_>) {
        while let Some(place) = self.reattachment.say {
            let Some(room) = w.room().checked_sub(STATE_HEADER_LEN.saturating_add(1)) else {
                return;
            };
            let most = (room / ENTRY_LEN).min(RESUME_ENTRIES);
            let rest = self.table.iter().skip(place.into()).count();
            let count = rest.min(most);
            if count == 0 && rest > 0 {
                return; // into the next record
            }
            let mut bytes = [0; RESUME_ENTRIES * ENTRY_LEN];
            let mut entries = heapless::Vec::<ResumeEntry, RESUME_ENTRIES>::new();
            entries.extend(self.table.iter().skip(place.into()).take(count).map(|stream| stream.entry()));
            let Ok(entries) = ResumeEntries::emit_into(&entries, &mut bytes) else {
                return;
            };
            let more = count < rest;
            let state = ResumeState {
                seen: self.peer_opened,
                received: self.recv.received(),
                limit: self.recv.limit(),
                more,
                entries,
            };
            if Frame::ResumeState(state).emit(w).is_err() {
                return;
            }
            if !more {
                return self.end_saying();
            }
            self.reattachment.say = u16::try_from(usize::from(place).saturating_add(count)).ok();
        }
    }

    /// Own state was said: it told the peer all that was owed, and streams may leave again.
    fn end_saying(&mut self) {
        self.reattachment.say = None;
        self.acks = 0;
        self.ack_by = None;
        self.table.each(|stream| {
            stream.told = stream.recv.received();
            stream.nudged = false;
            if stream.receiving == Receiving::Ended {
                stream.receiving = Receiving::Done;
            }
        });
        self.retire_all();
    }

    /// Takes all streams out of the table that are over.
    fn retire_all(&mut self) {
        let mut place = 0;
        while let Some(stream) = self.table.at(place) {
            let id = stream.id;
            if !self.retire(id) {
                place = place.saturating_add(1);
            }
        }
    }

    /// The peer said its state, or a part of it.
    pub(super) fn handle_state<'b>(&mut self, state: ResumeState<'_>) -> Result<Option<Event<'b>>, Violation> {
        if !self.reattachment.hear || state.seen > self.announced {
            return Err(Violation::Unexpected);
        }
        for entry in state.entries.iter() {
            self.handle_entry(entry, state.seen)?;
        }
        if state.more {
            return Ok(None);
        }
        self.handle_unlisted(state.seen)?;
        self.announced = state.seen;
        if self.send.sent() != state.received {
            return Err(Violation::Acknowledgement);
        }
        self.send.raise(state.limit);
        self.reattachment.hear = false;
        self.repeat_streams_credit = true;
        self.control = true;
        self.retire_all(); // what the peer turns out to have to its end
        Ok(Some(Event::Resumed))
    }

    fn handle_entry(&mut self, entry: ResumeEntry, seen: u32) -> Result<(), Violation> {
        if self.is_own(entry.id) && entry.id.0 >> 1 >= seen {
            return Err(Violation::StreamState);
        }
        // Not in the table: the peer opened it and it was not seen here yet, or it is complete
        // here and the peer has not heard so; each says so in its own state.
        if let Some(stream) = self.table.find(entry.id) {
            let lost = stream.rewind(entry.received, entry.flags & END != 0)?;
            stream.send.raise(entry.limit);
            self.send.refund(lost);
        }
        Ok(())
    }

    /// What the peer did not list was never seen there, or is complete.
    fn handle_unlisted(&mut self, seen: u32) -> Result<(), Violation> {
        let (opener, mut unseen, mut refund, mut result) = (self.opener(), 0_u32, 0_u64, Ok(()));
        self.table.each(|stream| {
            if stream.listed {
                return;
            }
            let rewound = if stream.is_of(opener) && stream.id.0 >> 1 >= seen {
                unseen = unseen.saturating_add(1);
                stream.rewind(0, false)
            } else if stream.receiving == Receiving::Open {
                Err(Violation::StreamState)
            } else {
                let sent = stream.send.sent();
                stream.rewind(sent, true)
            };
            match rewound {
                Ok(lost) => refund = refund.saturating_add(lost),
                Err(violation) => result = Err(violation),
            }
        });
        result?;
        self.send.refund(refund);
        // Those that the peer has not seen are opened anew, without a gap.
        if unseen == self.opened.saturating_sub(seen) { Ok(()) } else { Err(Violation::StreamState) }
    }
}
