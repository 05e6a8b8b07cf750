//! What waits to leave on one link: control messages first, then the channels in turns.
//!
//! Its size is bounded: data by the credit that the switch granted for it and keeps reserved until it
//! has left, control messages by [`MAX_CONTROL`]. Everything is kept as it goes to
//! the socket, so that a small message costs a few bytes and not an allocation.

use core::task::Waker;
use core::time::Duration;
use std::collections::{HashMap, VecDeque};

use homing_core::hop::MAX_MESSAGE;
use homing_core::relay::Ask;
use homing_driver::relay::events;

use crate::frame::{self, MAX_HEADER};

/// Bytes of control messages that may wait; a peer that lets more pile up loses its link.
const MAX_CONTROL: usize = 64 * 1024;
/// The close code of a link that lets control messages pile up.
pub(crate) const OVERFLOW: u16 = 1008;
/// Small messages of one channel share a piece up to this size, in bytes.
const PIECE: usize = 4096;

/// Buffers of long messages, to be used again: the allocator would give their pages back to the
/// system and fetch them anew, once per record.
#[derive(Debug, Default)]
pub(crate) struct Pool(Vec<Vec<u8>>);

impl Pool {
    /// Bytes of every buffer.
    const SIZE: usize = MAX_HEADER + MAX_MESSAGE;
    /// Shorter messages get a buffer of their own length, so that memory stays close to what waits.
    const WORTH: usize = Self::SIZE / 4 * 3;
    /// Buffers kept: one megabyte.
    const KEPT: usize = 64;

    /// An empty buffer for so many bytes.
    fn buffer(&mut self, need: usize) -> Vec<u8> {
        if need < Self::WORTH {
            return Vec::with_capacity(need);
        }
        self.0.pop().unwrap_or_else(|| Vec::with_capacity(need.max(Self::SIZE)))
    }

    /// Takes back what has left.
    pub(crate) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.0.len() < Self::KEPT && buffer.capacity() >= Self::SIZE {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}

/// Bytes that leave in one go, all of one channel.
#[derive(Debug)]
pub(crate) struct Piece {
    /// WebSocket frames.
    pub(crate) bytes: Vec<u8>,
    /// The channel on this link that its data belongs to.
    pub(crate) channel: u32,
    /// Bytes that the switch is told about once the piece has left; 0 for control messages.
    pub(crate) charged: usize,
}

/// How a link ends, from the relay's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Not at all.
    Open,
    /// What waits leaves, then a close frame with this code.
    Wanted(u16),
    /// The close frame is on its way.
    Said,
}

/// How a link's messages look on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// Frames of a WebSocket.
    #[default]
    WebSocket,
    /// Events of a stream, to a host that waits.
    Events,
}

/// The queue of one link.
#[derive(Debug)]
pub(crate) struct Outbox {
    form: Form,
    control: Vec<u8>,
    /// What waits on each channel.
    channels: HashMap<u32, VecDeque<Piece>>,
    /// Channels with pieces, in the order of their turns.
    turns: VecDeque<u32>,
    /// Bytes that wait on all channels.
    queued: usize,
    ending: Ending,
    /// Seconds after which the peer may come back, once the link has ended.
    retry: Option<u64>,
    /// Who writes, while there is nothing to write.
    waker: Option<Waker>,
    /// The question whether its host may come in, until the link's task has put it.
    ask: Option<Ask>,
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new(Form::WebSocket)
    }
}

impl Outbox {
    pub(crate) fn new(form: Form) -> Self {
        Self {
            form,
            control: Vec::new(),
            channels: HashMap::new(),
            turns: VecDeque::new(),
            queued: 0,
            ending: Ending::Open,
            retry: None,
            waker: None,
            ask: None,
        }
    }

    pub(crate) const fn form(&self) -> Form {
        self.form
    }

    /// Leaves the question whether the link's host may come in. Returns whom to wake.
    pub(crate) const fn ask(&mut self, ask: Ask) -> Option<Waker> {
        self.ask = Some(ask);
        self.waker.take()
    }

    /// The question, once.
    pub(crate) const fn take_ask(&mut self) -> Option<Ask> {
        self.ask.take()
    }

    /// Whether there is a question.
    pub(crate) const fn has_ask(&self) -> bool {
        self.ask.is_some()
    }

    /// Queues a message of the switch. Returns whom to wake.
    pub(crate) fn push_control(&mut self, message: &[u8]) -> Option<Waker> {
        match self.form {
            Form::WebSocket => self.push_urgent(|control| frame::emit_message(message, control)),
            Form::Events => self.push_urgent(|control| events::emit_frame(message, control)),
        }
    }

    /// Queues bytes as they are, of a link of events. Returns whom to wake.
    pub(crate) fn push_event(&mut self, event: &[u8]) -> Option<Waker> {
        debug_assert_eq!(self.form, Form::Events);
        self.push_urgent(|control| control.extend_from_slice(event))
    }

    /// Queues the answer to a WebSocket ping. Returns whom to wake.
    pub(crate) fn push_pong(&mut self, payload: &[u8]) -> Option<Waker> {
        self.push_urgent(|control| frame::emit_pong(payload, control))
    }

    /// Says that the relay is there, to a host that waits. Returns whom to wake.
    pub(crate) fn beat(&mut self) -> Option<Waker> {
        if self.form != Form::Events {
            return None;
        }
        self.push_event(events::BEAT)
    }

    fn push_urgent(&mut self, emit: impl FnOnce(&mut Vec<u8>)) -> Option<Waker> {
        if self.ending != Ending::Open {
            return None;
        }
        if self.control.len() >= MAX_CONTROL {
            self.drop_data();
            return self.end(OVERFLOW);
        }
        emit(&mut self.control);
        self.waker.take()
    }

    /// Queues a message behind the channel's data: what says that no more follows must not overtake.
    pub(crate) fn push_last(&mut self, channel: u32, message: &[u8], pool: &mut Pool) -> Option<Waker> {
        if !self.channels.contains_key(&channel) {
            return self.push_control(message);
        }
        self.push_data(channel, message, 0, pool)
    }

    /// Queues a message of a channel; `charged` is reported once it has left. Returns whom to wake.
    pub(crate) fn push_data(&mut self, channel: u32, message: &[u8], charged: usize, pool: &mut Pool) -> Option<Waker> {
        if self.ending != Ending::Open {
            return None;
        }
        let turns = &mut self.turns;
        let pieces = self.channels.entry(channel).or_insert_with(|| {
            turns.push_back(channel);
            VecDeque::new()
        });
        let need = MAX_HEADER + message.len();
        if pieces.back().is_none_or(|last| last.bytes.len() + need > PIECE) {
            pieces.push_back(Piece { bytes: pool.buffer(need), channel, charged: 0 });
        }
        let piece = pieces.back_mut()?;
        let before = piece.bytes.len();
        frame::emit_message(message, &mut piece.bytes);
        piece.charged += charged;
        self.queued += piece.bytes.len() - before;
        self.waker.take()
    }

    /// Moves what is next into `out`, up to about `room` bytes.
    pub(crate) fn take(&mut self, out: &mut VecDeque<Piece>, mut room: usize) {
        if !self.control.is_empty() {
            let bytes = core::mem::take(&mut self.control);
            room = room.saturating_sub(bytes.len());
            out.push_back(Piece { bytes, channel: 0, charged: 0 });
        }
        while room > 0 {
            let Some(channel) = self.turns.pop_front() else { break };
            let Some(pieces) = self.channels.get_mut(&channel) else { continue };
            if let Some(piece) = pieces.pop_front() {
                let len = piece.bytes.len();
                room = room.saturating_sub(len);
                self.queued -= len;
                out.push_back(piece);
            }
            if pieces.is_empty() {
                self.channels.remove(&channel);
            } else {
                self.turns.push_back(channel);
            }
        }
        if let (true, Ending::Wanted(code)) = (self.turns.is_empty(), self.ending) {
            let mut bytes = Vec::new();
            match (self.form, self.retry) {
                (Form::WebSocket, None) => frame::emit_close(code, &mut bytes),
                (Form::WebSocket, Some(retry)) => {
                    frame::emit_close_saying(code, &format!("retry-after={retry}"), &mut bytes);
                }
                // A stream of events just ends.
                (Form::Events, None) => {}
                (Form::Events, Some(retry)) => bytes.extend_from_slice(format!("retry: {retry}000\n\n").as_bytes()),
            }
            if !bytes.is_empty() {
                out.push_back(Piece { bytes, channel: 0, charged: 0 });
            }
            self.ending = Ending::Said;
        }
    }

    /// Gives back memory that an idle link does not need.
    pub(crate) fn shrink(&mut self) {
        if self.channels.is_empty() {
            self.channels = HashMap::new();
            self.turns = VecDeque::new();
        }
    }

    /// Ends the link after what waits. Returns whom to wake.
    pub(crate) fn end(&mut self, code: u16) -> Option<Waker> {
        self.end_until(code, None)
    }

    /// The same, and says when the peer may come back.
    pub(crate) fn end_until(&mut self, code: u16, retry: Option<Duration>) -> Option<Waker> {
        if self.ending == Ending::Open {
            self.ending = Ending::Wanted(code);
            // Rounded up: who comes then finds room.
            self.retry = retry.map(|retry| retry.as_secs().saturating_add(u64::from(retry.subsec_nanos() > 0)));
        }
        self.waker.take()
    }

    /// Drops the data that waits: the peer is at fault or gone.
    pub(crate) fn drop_data(&mut self) {
        self.channels.clear();
        self.turns.clear();
        self.queued = 0;
    }

    pub(crate) const fn ending(&self) -> Ending {
        self.ending
    }

    /// Bytes that wait, control and data.
    pub(crate) const fn queued(&self) -> usize {
        self.queued + self.control.len()
    }

    pub(crate) fn set_waker(&mut self, waker: Option<Waker>) {
        self.waker = waker;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(outbox: &mut Outbox, room: usize) -> Vec<(u32, usize)> {
        let mut out = VecDeque::new();
        outbox.take(&mut out, room);
        out.iter().map(|p| (p.channel, p.charged)).collect()
    }

    #[test]
    fn control_goes_first_and_channels_take_turns() {
        let mut outbox = Outbox::default();
        let large = [0; PIECE];
        for channel in [1, 1, 1, 2, 3] {
            outbox.push_data(channel, &large, PIECE, &mut Pool::default());
        }
        outbox.push_control(b"credit");
        let order: Vec<_> = taken(&mut outbox, usize::MAX).iter().map(|(c, _)| *c).collect();
        assert_eq!(order, [0, 1, 2, 3, 1, 1]);
        assert_eq!(outbox.queued(), 0);
    }

    #[test]
    fn a_host_that_waits_and_reads_nothing_loses_its_link_without_a_close_frame() {
        let mut outbox = Outbox::new(Form::Events);
        for _ in 0..10_000 {
            outbox.push_control(&[0x8f, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
            outbox.beat();
        }
        assert_eq!(outbox.ending(), Ending::Wanted(OVERFLOW));
        assert!(outbox.queued() <= MAX_CONTROL + 64);
        let mut out = VecDeque::new();
        outbox.take(&mut out, usize::MAX);
        let [piece] = out.make_contiguous() else { panic!("what waited, and no more") };
        assert!(piece.bytes.starts_with(b"event: frame\ndata: jwAAAAABAAAAAAAAAA\n\n:\n\n"));
        assert!(piece.bytes.ends_with(b"\n\n"));
        assert_eq!(outbox.ending(), Ending::Said);
    }

    #[test]
    fn small_messages_share_a_piece() {
        let mut outbox = Outbox::default();
        for _ in 0..100 {
            outbox.push_data(7, &[0; 20], 15, &mut Pool::default());
        }
        assert_eq!(taken(&mut outbox, usize::MAX), [(7, 1500)]);
    }

    #[test]
    fn closed_does_not_overtake_data() {
        let mut outbox = Outbox::default();
        outbox.push_data(1, &[0; PIECE], 9, &mut Pool::default());
        outbox.push_last(1, b"closed", &mut Pool::default());
        outbox.push_last(2, b"closed", &mut Pool::default());
        assert_eq!(taken(&mut outbox, usize::MAX), [(0, 0), (1, 9), (1, 0)]);
    }

    #[test]
    fn a_piece_at_a_time_when_there_is_little_room() {
        let mut outbox = Outbox::default();
        outbox.push_data(1, &[0; PIECE], 1, &mut Pool::default());
        outbox.push_data(2, &[0; PIECE], 2, &mut Pool::default());
        assert_eq!(taken(&mut outbox, 1), [(1, 1)]);
        assert_eq!(taken(&mut outbox, 1), [(2, 2)]);
        assert_eq!(taken(&mut outbox, 1), []);
    }

    #[test]
    fn a_peer_that_reads_no_control_messages_loses_its_link() {
        let mut outbox = Outbox::default();
        for _ in 0..10_000 {
            outbox.push_control(&[0; 20]);
        }
        assert_eq!(outbox.ending(), Ending::Wanted(OVERFLOW));
        assert!(outbox.queued() <= MAX_CONTROL + 32);
        taken(&mut outbox, usize::MAX);
        outbox.push_data(1, b"late", 1, &mut Pool::default());
        outbox.push_control(b"late");
        assert_eq!((outbox.ending(), outbox.queued()), (Ending::Said, 0));
    }

    #[test]
    fn what_waits_leaves_before_the_goodbye() {
        let mut outbox = Outbox::default();
        outbox.push_data(1, &[0; PIECE], 9, &mut Pool::default());
        outbox.push_last(1, b"closed", &mut Pool::default());
        outbox.end(1000);
        assert_eq!(taken(&mut outbox, 1), [(1, 9)]);
        assert_eq!(outbox.ending(), Ending::Wanted(1000));
        assert_eq!(taken(&mut outbox, usize::MAX), [(1, 0), (0, 0)]);
        assert_eq!(outbox.ending(), Ending::Said);
        assert_eq!(taken(&mut outbox, usize::MAX), []);
    }
}
