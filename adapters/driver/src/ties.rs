//! The pipes of a conversation, and the session that they are carried in from one link to the next.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use homing_core::channel::Detached;
use homing_core::mux::{Source, Taken};
use homing_core::wire::StreamId;

use crate::bell::Ring;
use crate::conversation::STREAMS;
use crate::pipe::Pipe;

/// Bytes that the pipes of a conversation hold at most for a peer that acknowledges nothing: far
/// more than an honest one leaves open.
const HELD_MAX: usize = 64 * 1024 * 1024;

/// The pipes of one session. Whoever drops them ends them: their streams are lost.
#[derive(Default)]
pub(crate) struct Ties {
    pub(crate) pipes: HashMap<StreamId, Arc<Pipe>>,
    /// Opened by the application before the peer's limit allowed it.
    pub(crate) waiting: VecDeque<Arc<Pipe>>,
    /// Bytes that were sent and not acknowledged.
    held: usize,
    /// Bytes wait though the peer granted credit for them: too many are held.
    stalled: bool,
}

impl Ties {
    pub(crate) fn bind(&self, conversation: u64, bell: &Arc<dyn Ring>) {
        for pipe in self.all() {
            pipe.bind(conversation, bell.clone());
        }
    }

    pub(crate) fn unbind(&self) {
        for pipe in self.all() {
            pipe.unbind();
        }
    }

    pub(crate) fn remove(&mut self, id: StreamId) {
        if let Some(pipe) = self.pipes.remove(&id) {
            self.held = self.held.saturating_sub(pipe.held());
        }
    }

    /// The peer has so much of a stream, and perhaps the end.
    pub(crate) fn acknowledged(&mut self, id: StreamId, received: u64, end: bool) {
        let Some(pipe) = self.pipes.get(&id) else { return };
        self.held = self.held.saturating_sub(pipe.acknowledged(received, end));
        if end && pipe.is_over() {
            self.remove(id);
        }
    }

    /// The pipes that waited for acknowledgements, where enough of them came.
    pub(crate) fn unstalled(&mut self) -> impl Iterator<Item = (StreamId, Arc<Pipe>)> {
        let go_on = self.stalled && self.held < HELD_MAX / 2;
        self.stalled &= !go_on;
        let pipes: Vec<_> =
            if go_on { self.pipes.iter().map(|(id, pipe)| (*id, pipe.clone())).collect() } else { Vec::new() };
        pipes.into_iter()
    }

    /// Ends the streams that the peer knows of; those that wait go on waiting.
    pub(crate) fn lose(&mut self) {
        for (_, pipe) in self.pipes.drain() {
            pipe.lose();
        }
        (self.held, self.stalled) = (0, false);
    }

    /// Ends all streams; what came before is not to be used.
    pub(crate) fn cut(&mut self) {
        for pipe in self.all() {
            pipe.discard_inbound();
        }
        self.end();
    }

    /// Ends all streams.
    pub(crate) fn end(&mut self) {
        self.lose();
        for pipe in self.waiting.drain(..) {
            pipe.lose();
        }
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.all().map(|pipe| pipe.bytes()).sum()
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Pipe>> {
        self.pipes.values().chain(&self.waiting)
    }
}

impl Drop for Ties {
    fn drop(&mut self) {
        self.end();
    }
}

/// The pipes as the source of what is sent.
pub(crate) struct Pipes<'a> {
    pub(crate) ties: &'a mut Ties,
    /// Those that have said everything: a release may have waited for it.
    pub(crate) ended: &'a mut Vec<Arc<Pipe>>,
}

impl Source for Pipes<'_> {
    fn read(&mut self, id: StreamId, offset: u64, buf: &mut [u8]) -> Taken {
        let Some(pipe) = self.ties.pipes.get(&id) else { return Taken::default() };
        let (taken, fresh) = pipe.read_at(offset, buf, HELD_MAX.saturating_sub(self.ties.held));
        self.ties.held = self.ties.held.saturating_add(fresh);
        self.ties.stalled |= taken.more && self.ties.held >= HELD_MAX;
        if taken.fin {
            self.ended.push(pipe.clone());
        }
        taken
    }
}

/// A session between two links: what the core keeps of it, and its pipes.
pub(crate) struct Carried {
    pub(crate) detached: Box<Detached<STREAMS>>,
    pub(crate) ties: Ties,
}

impl Carried {
    /// Ends all streams; what came before is not to be used.
    pub(crate) fn cut(mut self) {
        self.ties.cut();
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.ties.bytes().saturating_add(size_of::<Detached<STREAMS>>())
    }
}
