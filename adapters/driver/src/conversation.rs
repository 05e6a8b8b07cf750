//! A channel with its pipes: what hosts and devices share of a conversation.

use std::sync::Arc;

use homing_core::Instant;
use homing_core::channel::{self, Channel, Event, Output, ResumeRequest, code};
use homing_core::mux;
use homing_core::wire::{CAPABILITY_LEN, Caveats, MAX_RECORD, Scope};

use crate::aead::Ring;
use crate::bell;
use crate::ended::{Ended, harmless};
use crate::host::Doorstep;
use crate::pipe::{Pipe, StreamError};
use crate::stream::Stream;
use crate::ties::{Carried, Pipes, Ties};

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
    /// The peer is there, with a new session or with the streams of the one before.
    Established,
    Incoming(Stream),
    PairRequested {
        platform: u8,
        name: String,
    },
    PairPending {
        seconds: u16,
    },
    Paired(Paired),
    PairAcknowledged,
    Capability([u8; CAPABILITY_LEN]),
    Closed {
        scope: Scope,
        code: u16,
        text: String,
    },
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

/// What a host answers a device that asks for its session.
pub(crate) enum Answer {
    /// Here it is.
    Adopt(Carried),
    /// A newer attachment has it.
    Refuse,
    /// It is not known: a new one begins.
    Begin,
}

/// Where nothing is kept nothing is found.
pub(crate) fn begin_anew(_: &ResumeRequest, _: Option<&[u8; 32]>) -> Answer {
    Answer::Begin
}

/// What a guest said of itself, and proved by the token of this hash.
#[derive(Clone)]
pub(crate) struct Introduction {
    pub(crate) token_hash: [u8; 32],
    /// As [`homing_core::wire::Caveats`] reads them.
    pub(crate) caveats: Vec<u8>,
}

/// The part that a guest plays at either end.
enum Guest {
    /// Device: to be said first.
    Unsaid(Vec<u8>),
    /// Host: what it will be weighed with.
    Expected(Doorstep),
    /// Host: it was.
    Introduced(Introduction),
}

pub(crate) struct Conversation {
    key: u64,
    channel: Box<Chan>,
    ties: Ties,
    bell: Arc<dyn bell::Ring>,
    scratch: Vec<u8>,
    /// Streams rest until the peer has said what it knows of them.
    resuming: bool,
    /// The session was taken away.
    detached: bool,
    guest: Option<Box<Guest>>,
}

impl Conversation {
    pub(crate) fn new(key: u64, channel: Chan, bell: Arc<dyn bell::Ring>) -> Self {
        Self {
            key,
            channel: Box::new(channel),
            ties: Ties::default(),
            bell,
            scratch: Vec::new(),
            resuming: false,
            detached: false,
            guest: None,
        }
    }

    /// A channel that asks for the session of these pipes.
    pub(crate) fn resumed(key: u64, channel: Chan, ties: Ties, bell: Arc<dyn bell::Ring>) -> Self {
        ties.bind(key, &bell);
        Self { ties, resuming: true, ..Self::new(key, channel, bell) }
    }

    /// A guest's end: these caveats are said first.
    pub(crate) fn introducing(self, caveats: Option<Vec<u8>>) -> Self {
        Self { guest: caveats.map(|caveats| Box::new(Guest::Unsaid(caveats))), ..self }
    }

    /// The host's end of a conversation with a guest.
    pub(crate) fn expecting(self, guest: Option<Doorstep>) -> Self {
        Self { guest: guest.map(|guest| Box::new(Guest::Expected(guest))), ..self }
    }

    /// What a guest at the other end said of itself.
    pub(crate) fn introduction(&self) -> Option<Introduction> {
        match self.guest.as_deref() {
            Some(Guest::Introduced(introduction)) => Some(introduction.clone()),
            _ => None,
        }
    }

    /// Takes the session away, to be carried on by another link. None where there is none, or
    /// where it ended with its channel.
    pub(crate) fn detach(&mut self) -> Option<Carried> {
        if self.detached {
            return None;
        }
        let detached = Box::new(self.channel.detach()?);
        self.detached = true;
        self.ties.unbind();
        Some(Carried { detached, ties: core::mem::take(&mut self.ties) })
    }

    /// Takes the session away for another channel of the same device. This one says so and ends.
    pub(crate) fn supersede(&mut self) -> Option<Carried> {
        self.channel.close(Scope::Channel, code::SUPERSEDED, "");
        let carried = self.detach();
        self.bell.nudge(self.key);
        carried
    }

    /// Ends the session from outside its loop: nothing more that the peer sends is opened.
    pub(crate) fn sever(&mut self, code: u16) {
        self.channel.close(Scope::Session, code, "");
        self.cut();
        self.bell.nudge(self.key);
    }

    pub(crate) const fn channel(&mut self) -> &mut Chan {
        &mut self.channel
    }

    pub(crate) fn channel_ref(&self) -> &Chan {
        &self.channel
    }

    /// A record came. Bytes go into their pipes, the rest into `notices`; a device that wants its
    /// session back gets what `resume` answers, which is given the hash of a guest's token, too.
    pub(crate) fn handle(
        &mut self,
        now: Instant,
        record: &[u8],
        notices: &mut Vec<Notice>,
        resume: &mut dyn FnMut(&ResumeRequest, Option<&[u8; 32]>) -> Answer,
    ) -> Result<(), Ended> {
        if record.len() > MAX_RECORD {
            return Err(Ended::Channel(homing_core::channel::Error::Protocol));
        }
        self.scratch.clear();
        self.scratch.extend_from_slice(record);
        let (mut may_open, mut resumed) = (false, false);
        let mut discarded = Vec::new();
        let mut stopped = Vec::new();
        let (ties, guest) = (&mut self.ties, &mut self.guest);
        let mut events = self.channel.handle_input(now, &mut self.scratch)?;
        while let Some(event) = events.next() {
            match event? {
                Event::Stream(mux::Event::Opened { id, data, fin }) => {
                    let pipe = Pipe::new(self.key, self.bell.clone());
                    pipe.opened(id);
                    pipe.deliver(data, fin);
                    ties.pipes.insert(id, pipe.clone());
                    notices.push(Notice::Incoming(Stream::new(pipe)));
                }
                Event::Stream(mux::Event::Data { id, data, fin }) => match ties.pipes.get(&id) {
                    Some(pipe) => pipe.deliver(data, fin),
                    None => discarded.push((id, data.len())),
                },
                Event::Stream(mux::Event::Reset { id, code }) => {
                    if let Some(pipe) = ties.pipes.get(&id) {
                        pipe.fail_inbound(StreamError::Reset(code));
                    }
                }
                Event::Stream(mux::Event::Stopped { id, code }) => {
                    if let Some(pipe) = ties.pipes.get(&id) {
                        pipe.fail_outbound(StreamError::Reset(code));
                        stopped.push(pipe.clone());
                    }
                }
                Event::Stream(mux::Event::Acknowledged { id, received, end }) => ties.acknowledged(id, received, end),
                Event::Stream(mux::Event::MayOpen) => may_open = true,
                Event::Stream(mux::Event::Resumed) => resumed = true,
                Event::Introduced(caveats) => {
                    if let Some(Guest::Expected(doorstep)) = guest.as_deref() {
                        let introduction = doorstep.weigh(caveats);
                        events.expect_token(introduction.token_hash);
                        *guest = Some(Box::new(Guest::Introduced(introduction)));
                    }
                }
                Event::ResumeRequested(request) => match resume(&request, token_hash(guest.as_deref())) {
                    Answer::Adopt(Carried { detached, ties: carried }) => {
                        if events.adopt(*detached).is_ok() {
                            carried.bind(self.key, &self.bell);
                            *ties = carried;
                            self.resuming = true;
                        }
                    }
                    Answer::Refuse => events.refuse(),
                    Answer::Begin => {}
                },
                Event::Reattached => notices.push(Notice::Established),
                Event::Established => {
                    if core::mem::take(&mut self.resuming) {
                        // The host does not know the session that was asked for.
                        ties.lose();
                    }
                    may_open = true;
                    notices.push(Notice::Established);
                }
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
        drop(events);
        if resumed {
            self.go_on(now);
        }
        for (id, len) in discarded {
            self.channel.streams().consumed(id, len, now);
        }
        // A release that waited for the last bytes to leave has nothing more to wait for.
        for pipe in stopped {
            self.attend(now, &pipe);
        }
        for (id, pipe) in self.ties.unstalled() {
            if pipe.wants() {
                self.channel.streams().wants(id);
            }
        }
        if may_open || resumed {
            self.open_waiting(now);
        }
        Ok(())
    }

    /// The application opened a stream.
    pub(crate) fn open(&mut self, now: Instant, pipe: Arc<Pipe>) {
        self.ties.waiting.push_back(pipe);
        self.open_waiting(now);
    }

    /// A pipe has news.
    pub(crate) fn attend(&mut self, now: Instant, pipe: &Arc<Pipe>) {
        // Of a pipe that was taken away another loop hears, and of one that rests later.
        if self.detached || self.resuming {
            return;
        }
        let news = pipe.news();
        let Some(id) = news.id else {
            if news.released.is_some() {
                self.ties.waiting.retain(|waiting| !Arc::ptr_eq(waiting, pipe));
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
            // One that was finished stays, to be sent again if need be, until the peer has it all.
            if pipe.is_over() {
                self.ties.remove(id);
            }
            self.open_waiting(now);
        }
    }

    /// Seals the next record into `out`.
    pub(crate) fn poll_output(&mut self, now: Instant, out: &mut [u8]) -> Result<Option<usize>, Ended> {
        if let Some(Guest::Unsaid(caveats)) = self.guest.as_deref()
            && let Ok(caveats) = Caveats::from_bytes(caveats)
        {
            match self.channel.introduce(caveats, now, out) {
                Ok(len) => {
                    self.guest = None;
                    return Ok(Some(len));
                }
                Err(channel::Error::NoSpace) => return Ok(None), // until the relay gives more credit
                Err(_) => self.guest = None,                     // it is over before it began
            }
        }
        let mut ended = Vec::new();
        let output = self.channel.poll_output(now, &mut Pipes { ties: &mut self.ties, ended: &mut ended }, out)?;
        for pipe in ended {
            self.attend(now, &pipe);
        }
        match output {
            Output::Transmit { len } => Ok(Some(len)),
            Output::Wait { .. } => Ok(None),
        }
    }

    /// Every stream hears that this side ended the session; what came before is not to be used.
    pub(crate) fn cut(&mut self) {
        self.ties.cut();
    }

    /// Streams go on from where the peer is.
    fn go_on(&mut self, now: Instant) {
        self.resuming = false;
        let pipes: Vec<_> = self.ties.pipes.iter().map(|(id, pipe)| (*id, pipe.clone())).collect();
        for (id, pipe) in pipes {
            match self.channel.streams().acknowledged(id) {
                Some(received) => self.ties.acknowledged(id, received, false),
                None => self.ties.acknowledged(id, u64::MAX, true),
            }
            pipe.rewind();
            self.attend(now, &pipe);
        }
    }

    fn open_waiting(&mut self, now: Instant) {
        while !self.resuming
            && let Some(pipe) = self.ties.waiting.pop_front()
        {
            let Some(id) = self.channel.open(now) else {
                self.ties.waiting.push_front(pipe);
                return;
            };
            pipe.opened(id);
            self.ties.pipes.insert(id, pipe.clone());
            self.attend(now, &pipe);
        }
    }
}

fn token_hash(guest: Option<&Guest>) -> Option<&[u8; 32]> {
    match guest {
        Some(Guest::Introduced(introduction)) => Some(&introduction.token_hash),
        _ => None,
    }
}

#[cfg(test)]
#[path = "conversation_tests.rs"]
pub(crate) mod tests;
