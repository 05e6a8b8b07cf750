//! A channel with its pipes: what hosts and devices share of a conversation.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use homing_core::Instant;
use homing_core::channel::{Channel, Event, Output};
use homing_core::mux::{self, Source, Taken};
use homing_core::wire::{CAPABILITY_LEN, MAX_RECORD, Scope, StreamId};

use crate::aead::Ring;
use crate::bell;
use crate::ended::{Ended, harmless};
use crate::pipe::{Pipe, StreamError};
use crate::stream::Stream;

/// Streams of both openers in one conversation.
pub(crate) const STREAMS: usize = 272;
/// Streams that a host lets one session of a device open at once; the rest are for its own.
pub const HOST_STREAMS: u16 = 256;
/// Streams that a device lets its host open at once.
pub const DEVICE_STREAMS: u16 = 16;

pub(crate) type Chan = Channel<STREAMS, Ring>;

/// What a record meant, as far as it is not about bytes of known streams.
#[derive(Debug)]
pub(crate) enum Notice {
    Established,
    Incoming(Stream),
    PairRequested { platform: u8, name: String },
    PairPending { seconds: u16 },
    Paired(Paired),
    PairAcknowledged,
    Capability([u8; CAPABILITY_LEN]),
    Closed { scope: Scope, code: u16, text: String },
}

/// What a host gave to a newly paired device.
pub struct Paired {
    /// What the host calls the device.
    pub device_id: [u8; 8],
    /// The bearer token: a secret.
    pub token: homing_core::crypto::Secret<40>,
    /// The host's route at the relay.
    pub route_id: [u8; 16],
    /// The first capability: a secret.
    pub capability: homing_core::crypto::Secret<CAPABILITY_LEN>,
    /// The host's name, with nothing in it that a terminal would obey.
    pub host_name: String,
}

impl core::fmt::Debug for Paired {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Paired").field("host_name", &self.host_name).finish_non_exhaustive()
    }
}

pub(crate) struct Conversation {
    key: u64,
    channel: Box<Chan>,
    pipes: HashMap<StreamId, Arc<Pipe>>,
    /// Opened by the application before the peer's limit allowed it.
    waiting: VecDeque<Arc<Pipe>>,
    bell: Arc<dyn bell::Ring>,
    scratch: Vec<u8>,
}

impl Conversation {
    pub(crate) fn new(key: u64, channel: Chan, bell: Arc<dyn bell::Ring>) -> Self {
        Self {
            key,
            channel: Box::new(channel),
            pipes: HashMap::new(),
            waiting: VecDeque::new(),
            bell,
            scratch: Vec::new(),
        }
    }

    pub(crate) const fn channel(&mut self) -> &mut Chan {
        &mut self.channel
    }

    pub(crate) fn channel_ref(&self) -> &Chan {
        &self.channel
    }

    /// A record came. Bytes go into their pipes, the rest into `notices`.
    pub(crate) fn handle(&mut self, now: Instant, record: &[u8], notices: &mut Vec<Notice>) -> Result<(), Ended> {
        if record.len() > MAX_RECORD {
            return Err(Ended::Channel(homing_core::channel::Error::Protocol));
        }
        self.scratch.clear();
        self.scratch.extend_from_slice(record);
        let mut may_open = false;
        let mut discarded = Vec::new();
        let mut stopped = Vec::new();
        for event in self.channel.handle_input(now, &mut self.scratch)? {
            match event? {
                Event::Stream(mux::Event::Opened { id, data, fin }) => {
                    let pipe = Pipe::new(self.key, self.bell.clone());
                    pipe.opened(id);
                    pipe.deliver(data, fin);
                    self.pipes.insert(id, pipe.clone());
                    notices.push(Notice::Incoming(Stream::new(pipe)));
                }
                Event::Stream(mux::Event::Data { id, data, fin }) => match self.pipes.get(&id) {
                    Some(pipe) => pipe.deliver(data, fin),
                    None => discarded.push((id, data.len())),
                },
                Event::Stream(mux::Event::Reset { id, code }) => {
                    if let Some(pipe) = self.pipes.get(&id) {
                        pipe.fail_inbound(StreamError::Reset(code));
                    }
                }
                Event::Stream(mux::Event::Stopped { id, code }) => {
                    if let Some(pipe) = self.pipes.get(&id) {
                        pipe.fail_outbound(StreamError::Reset(code));
                        stopped.push(pipe.clone());
                    }
                }
                Event::Stream(mux::Event::MayOpen) => may_open = true,
                Event::Stream(mux::Event::Acknowledged { .. } | mux::Event::Resumed) => {}
                Event::Established => notices.push(Notice::Established),
                // No session is kept yet: the host begins a new one.
                Event::ResumeRequested(_) | Event::Reattached => {}
                Event::PairRequested(finish) => {
                    notices.push(Notice::PairRequested { platform: finish.platform, name: harmless(finish.name) });
                }
                Event::PairPending(seconds) => notices.push(Notice::PairPending { seconds }),
                Event::Paired(accept) => notices.push(Notice::Paired(Paired {
                    device_id: *accept.device_id,
                    token: homing_core::crypto::Secret::new(*accept.token),
                    route_id: *accept.route_id,
                    capability: homing_core::crypto::Secret::new(*accept.capability),
                    host_name: harmless(accept.host_name),
                })),
                Event::PairAcknowledged => notices.push(Notice::PairAcknowledged),
                Event::Capability(capability) => notices.push(Notice::Capability(*capability)),
                Event::Closed(close) => {
                    notices.push(Notice::Closed { scope: close.scope, code: close.code, text: harmless(close.text) })
                }
            }
        }
        for (id, len) in discarded {
            self.channel.streams().consumed(id, len, now);
        }
        // A release that waited for the last bytes to leave has nothing more to wait for.
        for pipe in stopped {
            self.attend(now, &pipe);
        }
        if may_open {
            self.open_waiting(now);
        }
        Ok(())
    }

    /// The application opened a stream.
    pub(crate) fn open(&mut self, now: Instant, pipe: Arc<Pipe>) {
        self.waiting.push_back(pipe);
        self.open_waiting(now);
    }

    /// A pipe has news.
    pub(crate) fn attend(&mut self, now: Instant, pipe: &Arc<Pipe>) {
        let news = pipe.news();
        let Some(id) = news.id else {
            if news.released.is_some() {
                self.waiting.retain(|waiting| !Arc::ptr_eq(waiting, pipe));
            }
            return;
        };
        let streams = self.channel.streams();
        if news.consumed > 0 {
            streams.consumed(id, news.consumed, now);
        }
        if news.wants {
            streams.wants(id);
        }
        if let Some(code) = news.released {
            streams.release(id, code, now);
            self.pipes.remove(&id);
            self.open_waiting(now);
        }
    }

    /// Seals the next record into `out`.
    pub(crate) fn poll_output(&mut self, now: Instant, out: &mut [u8]) -> Result<Option<usize>, Ended> {
        let mut ended = Vec::new();
        let output = self.channel.poll_output(now, &mut Pipes { pipes: &self.pipes, ended: &mut ended }, out)?;
        for pipe in ended {
            self.attend(now, &pipe);
        }
        match output {
            Output::Transmit { len } => Ok(Some(len)),
            Output::Wait { .. } => Ok(None),
        }
    }

    /// The link is gone: every stream hears of it, nothing more is said.
    pub(crate) fn end(&mut self) {
        self.fail_all(false);
        self.channel.abandon();
    }

    /// Every stream hears that this side ended the session; what came before is not to be used.
    pub(crate) fn cut(&mut self) {
        self.fail_all(true);
    }

    fn fail_all(&mut self, discard: bool) {
        for pipe in self.pipes.drain().map(|(_, pipe)| pipe).chain(self.waiting.drain(..)) {
            if discard {
                pipe.discard_inbound();
            }
            pipe.fail_inbound(StreamError::Lost);
            pipe.fail_outbound(StreamError::Lost);
        }
    }

    fn open_waiting(&mut self, now: Instant) {
        while let Some(pipe) = self.waiting.pop_front() {
            let Some(id) = self.channel.open(now) else {
                self.waiting.push_front(pipe);
                return;
            };
            pipe.opened(id);
            self.pipes.insert(id, pipe.clone());
            self.attend(now, &pipe);
        }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.end();
    }
}

/// The pipes as the source of what is sent.
struct Pipes<'a> {
    pipes: &'a HashMap<StreamId, Arc<Pipe>>,
    /// Those that have said everything: a release may have waited for it.
    ended: &'a mut Vec<Arc<Pipe>>,
}

impl Source for Pipes<'_> {
    fn read(&mut self, id: StreamId, _: u64, buf: &mut [u8]) -> Taken {
        let Some(pipe) = self.pipes.get(&id) else { return Taken::default() };
        let taken = pipe.take(buf);
        if taken.fin {
            self.ended.push(pipe.clone());
        }
        taken
    }
}

#[cfg(test)]
#[path = "conversation_tests.rs"]
mod tests;
