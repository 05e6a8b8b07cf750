//! A host's end of a link: many channels, each with a device.

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use async_tungstenite::WebSocketStream;
use futures_io::{AsyncRead, AsyncWrite};
use homing_core::Instant;
use homing_core::channel::{Channel, Config, PHASE_TIME};
use homing_core::crypto::{Identity, Psk, Secret};
use homing_core::handshake::{
    self, ChannelId, CheckWords, ConnectKnock, Failure, HELLO_MAX, Knock, PairKnock, REPLY_MAX, Turnstile, emit_failure,
};
use homing_core::hop::{self, CapId, Code, DATA_HEADER_LEN, HostLink, RvHash};
use homing_core::wire::{PairAccept, Params, Scope, TOKEN_LEN};

use zeroize::Zeroizing;

use crate::bell::Bell;
use crate::conversation::{Conversation, HOST_STREAMS, Notice};
use crate::drive::{Clock, Side, drive};
use crate::ended::Ended;
use crate::pipe::Pipe;
use crate::pulse::Pulse;
use crate::stream::Stream;
use crate::{LEAST_CREDIT, random};

/// Channels on one link.
pub const CHANNELS: usize = 64;

/// What a host needs to be reached through a relay.
pub struct Registration {
    /// The relay's name, as it was dialled.
    pub relay: String,
    /// The key whose hash is the route.
    pub route: Identity,
    /// The key that capabilities are minted with.
    pub capability_key: Secret<32>,
    /// The one before it, still honoured.
    pub previous_capability_key: Secret<32>,
    /// The relay operator's key, where it asks for one.
    pub operator_key: Option<Zeroizing<String>>,
    /// How channels behave.
    pub config: Config,
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("relay", &self.relay).finish_non_exhaustive()
    }
}

/// What a known device is let in with.
#[derive(Debug)]
pub struct Known {
    /// The pre-shared key of its pairing.
    pub psk: Psk,
    /// Hash of its bearer token.
    pub token_hash: [u8; 32],
}

/// A device that holds a ticket and asks to be taken in.
#[derive(Debug)]
pub struct PairRequest {
    /// Kind of device, see [`homing_core::wire::PairFinish`].
    pub platform: u8,
    /// What its owner calls it, with nothing in it that a terminal would obey.
    pub name: String,
    /// What both ends show.
    pub check: CheckWords,
    /// The secret that later calls rest on.
    pub device_root: Secret<32>,
}

/// What the host gives to a device that it takes in.
pub struct Welcome {
    /// What the host calls the device.
    pub device_id: [u8; 8],
    /// Its bearer token.
    pub token: Secret<TOKEN_LEN>,
    /// The host's route.
    pub route_id: [u8; 16],
    /// Its first capability.
    pub capability: hop::Capability,
    /// The host's name.
    pub host_name: String,
}

impl fmt::Debug for Welcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Welcome").field("device_id", &self.device_id).finish_non_exhaustive()
    }
}

/// The host's decisions. Called from the loop: they must not block for long.
pub trait Gate {
    /// The host's record of the device at the other end of a channel.
    type Visitor;

    /// The relay has confirmed the route.
    fn registered(&mut self, link: Registrar);
    /// Reads a first message with the host's key and its live tickets.
    ///
    /// # Errors
    /// Those of [`handshake::hear`].
    fn hear(&mut self, now: Instant, channel: &ChannelId, hello: &mut [u8]) -> Result<Knock, handshake::Error>;
    /// Looks a device up that says it is known; none refuses it.
    fn recognise(&mut self, knock: &ConnectKnock) -> Option<(Known, Self::Visitor)>;
    /// Counts a handshake under a ticket; none refuses it.
    fn pairing(&mut self, now: Instant, knock: &PairKnock) -> Option<Self::Visitor>;
    /// The device proved who it is. Returns a capability for its next call, or the close code
    /// that it is refused with, after all.
    ///
    /// # Errors
    /// A code of [`homing_core::channel::code`].
    fn established(&mut self, visitor: &mut Self::Visitor, session: Session) -> Result<Option<hop::Capability>, u16>;
    /// A device asks to be taken in: answer through the session.
    fn pair_requested(&mut self, visitor: &mut Self::Visitor, request: PairRequest, session: Session);
    /// The device opened a stream.
    fn incoming(&mut self, visitor: &mut Self::Visitor, stream: Stream);
    /// The channel is over.
    fn ended(&mut self, visitor: Self::Visitor);
}

#[derive(Debug)]
pub(crate) enum Command {
    Close { key: u64, code: u16 },
    Welcome(u64, Box<Welcome>),
    Pend(u64, u16),
    Slot(RvHash, u16),
    Deny(CapId, u32),
    Leave,
}

/// Tells the relay what changes while the link runs.
#[derive(Clone, Debug)]
pub struct Registrar {
    bell: Arc<Bell<Command>>,
    pulse: Pulse,
}

impl Registrar {
    /// Lets devices pair through the slot of this hash, for so many seconds; 0 ends that.
    pub fn set_pair_slot(&self, rv_hash: RvHash, ttl: u16) {
        // Where the link has ended, the next one is told at its start.
        let _ = self.bell.command(Command::Slot(rv_hash, ttl));
    }

    /// Asks the relay to turn a capability away until then, in Unix seconds.
    pub fn deny(&self, capability: CapId, until: u32) {
        let _ = self.bell.command(Command::Deny(capability, until));
    }

    /// The last measured round trip to the relay.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.pulse.read()
    }

    /// Ends the link.
    pub fn leave(&self) {
        let _ = self.bell.command(Command::Leave);
    }
}

/// One device's channel, to be answered or ended from outside the loop.
#[derive(Clone, Debug)]
pub struct Session {
    key: u64,
    cut: Arc<AtomicBool>,
    bell: Arc<Bell<Command>>,
}

impl Session {
    /// Ends the channel with a code of [`homing_core::channel::code`]. When this returns, nothing
    /// more that the device sends is opened.
    pub fn close(&self, code: u16) {
        self.cut.store(true, Ordering::SeqCst);
        let _ = self.bell.command(Command::Close { key: self.key, code });
    }

    /// Takes the device in, after its record is on disk.
    pub fn welcome(&self, welcome: Welcome) {
        let _ = self.bell.command(Command::Welcome(self.key, Box::new(welcome)));
    }

    /// Tells the device that the operator is being asked, for so many seconds at most.
    pub fn pend(&self, seconds: u16) {
        let _ = self.bell.command(Command::Pend(self.key, seconds));
    }
}

/// Serves a relay's link until it ends.
pub async fn serve<S, C, G>(socket: WebSocketStream<S>, clock: &C, registration: Registration, gate: &mut G) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: Clock,
    G: Gate,
{
    let bell = Bell::new();
    let now = clock.now();
    let Ok(link) = HostLink::new(
        &registration.relay,
        registration.route,
        registration.capability_key,
        registration.previous_capability_key,
        registration.operator_key.as_ref().map(|key| key.as_str()),
        now,
    ) else {
        return Ended::Hop(Code::Protocol);
    };
    let mut host = Host {
        link,
        config: registration.config,
        gate,
        bell: bell.clone(),
        channels: HashMap::new(),
        ready: VecDeque::new(),
        turnstile: Turnstile::new(now),
        incarnation: 0,
        next_timeout: None,
        notices: Vec::new(),
        ended: None,
        pulse: Pulse::default(),
    };
    drive(socket, clock, &bell, &mut host).await
}

/// The far end of a channel.
struct Slot<V> {
    key: u64,
    channel_id: ChannelId,
    cut: Arc<AtomicBool>,
    visitor: Option<V>,
    /// By when the first message must have come, or the last one have gone.
    deadline: Instant,
    state: State,
    /// Stands in the queue of those that may have something to say.
    queued: bool,
}

enum State {
    AwaitHello,
    /// The reply waits to be sent.
    Reply(Vec<u8>, Box<Talk>),
    Talking(Box<Talk>),
    /// A last message waits to be sent, then the channel closes with this code.
    Leaving(Vec<u8>, Code),
}

struct Talk {
    conversation: Conversation,
    check: CheckWords,
    device_root: Option<Secret<32>>,
    /// Waits for the relay's credit.
    welcome: Option<Box<Welcome>>,
    established: bool,
}

impl Talk {
    /// Seals what the device is taken in with.
    fn welcome(&mut self, welcome: &Welcome, now: Instant, out: &mut [u8]) -> Option<usize> {
        let capability = welcome.capability.to_bytes();
        let accept = PairAccept {
            device_id: &welcome.device_id,
            token: welcome.token.expose(),
            route_id: &welcome.route_id,
            capability: capability.expose(),
            host_name: &welcome.host_name,
        };
        self.conversation
            .channel()
            .accept_pairing(&accept, now, out)
            .inspect_err(|error| tracing::debug!(%error, "the device left before it was taken in"))
            .ok()
    }
}

struct Host<'a, G: Gate> {
    link: HostLink<CHANNELS>,
    config: Config,
    gate: &'a mut G,
    bell: Arc<Bell<Command>>,
    channels: HashMap<u32, Slot<G::Visitor>>,
    ready: VecDeque<u32>,
    turnstile: Turnstile,
    incarnation: u32,
    next_timeout: Option<Instant>,
    notices: Vec<Notice>,
    ended: Option<Ended>,
    pulse: Pulse,
}

impl<G: Gate> Host<'_, G> {
    fn knock(&mut self, now: Instant, idx: u32, channel_id: ChannelId) {
        if self.channels.len() >= CHANNELS || !self.turnstile.is_new(&channel_id) {
            self.link.refuse(idx, Code::Busy);
            return;
        }
        self.incarnation = self.incarnation.wrapping_add(1);
        self.link.accept(idx);
        let slot = Slot {
            key: (u64::from(self.incarnation) << 32) | u64::from(idx),
            channel_id,
            cut: Arc::default(),
            visitor: None,
            deadline: now + PHASE_TIME,
            state: State::AwaitHello,
            queued: false,
        };
        if let Some(old) = self.channels.insert(idx, slot) {
            self.farewell(old);
        }
        self.note_timeout(idx);
    }

    /// The first message of a channel, checked in the order of protocol 6.4.
    fn hello(&mut self, now: Instant, idx: u32, body: &[u8]) {
        let half_open = self.channels.values().filter(|slot| slot.is_half_open()).count();
        let Some(slot) = self.channels.get_mut(&idx) else { return };
        if body.len() > HELLO_MAX {
            return self.drop_channel(idx, Code::Protocol);
        }
        let mut hello = body.to_vec();
        let knock = match self.gate.hear(now, &slot.channel_id, &mut hello) {
            Ok(knock) => knock,
            // Silence for those who were never given the host's key or a ticket.
            Err(handshake::Error::Mac1) => return self.drop_channel(idx, Code::Refused),
            Err(handshake::Error::Suite) => return self.fail(idx, Failure::Suite, 0),
            Err(_) => return self.fail(idx, Failure::Rejected, 0),
        };
        if let Err(failure) = self.turnstile.pass(now, half_open) {
            return self.fail(idx, failure, 1000);
        }
        let own = Params { max_streams: HOST_STREAMS, ..Params::default() };
        let mut out = [0; REPLY_MAX];
        let answered = match knock {
            Knock::Connect(knock) => self.gate.recognise(&knock).map(|(known, visitor)| {
                let reply = knock.reply(&known.psk, own, &mut random(), &mut out);
                reply.map(|(len, keys, exports)| {
                    let channel = Channel::admit(&keys, known.token_hash, &self.config, now);
                    (len, channel, exports.check, None, visitor)
                })
            }),
            Knock::Pair(knock) => self.gate.pairing(now, &knock).map(|visitor| {
                let reply = knock.reply(own, &mut random(), &mut out);
                reply.map(|(len, keys, exports)| {
                    let channel = Channel::invite(&keys, &self.config, now);
                    (len, channel, exports.check, Some(exports.device_root), visitor)
                })
            }),
        };
        let Some(Ok((len, channel, check, device_root, visitor))) = answered else {
            return self.fail(idx, Failure::Rejected, 0);
        };
        let conversation = Conversation::new(slot.key, channel, self.bell.clone());
        let talk = Talk { conversation, check, device_root, welcome: None, established: false };
        slot.visitor = Some(visitor);
        slot.state = State::Reply(out.get(..len).unwrap_or_default().to_vec(), Box::new(talk));
        self.queue(idx);
    }

    fn talk(&mut self, now: Instant, idx: u32, body: &[u8]) {
        let mut notices = core::mem::take(&mut self.notices);
        let Some(slot) = self.channels.get_mut(&idx) else { return };
        // A revoked device's records are not opened, whatever else waits in the queues.
        let heard = match &mut slot.state {
            State::Talking(talk) if !slot.cut.load(Ordering::SeqCst) => {
                talk.conversation.handle(now, body, &mut notices)
            }
            State::Talking(_) | State::Leaving(..) => Ok(()),
            State::AwaitHello | State::Reply(..) => Err(Ended::Violation(hop::Violation::Unexpected)),
        };
        for notice in notices.drain(..) {
            self.notice(idx, notice);
        }
        self.notices = notices;
        if let Err(ended) = heard {
            tracing::debug!(%ended, "channel failed");
        }
        self.queue(idx);
    }

    fn notice(&mut self, idx: u32, notice: Notice) {
        let Some(slot) = self.channels.get_mut(&idx) else { return };
        let session = Session { key: slot.key, cut: slot.cut.clone(), bell: self.bell.clone() };
        let State::Talking(talk) = &mut slot.state else { return };
        let Some(visitor) = &mut slot.visitor else { return };
        match notice {
            Notice::Established | Notice::PairAcknowledged => {
                talk.established = true;
                match self.gate.established(visitor, session) {
                    Ok(Some(capability)) => {
                        // Misses only where the outbox is full, which it is not at the beginning.
                        let _ = talk.conversation.channel().offer_capability(capability.to_bytes().expose());
                    }
                    Ok(None) => {}
                    Err(code) => {
                        slot.cut.store(true, Ordering::SeqCst);
                        talk.conversation.channel().close(Scope::Session, code, "");
                        talk.conversation.cut();
                    }
                }
            }
            Notice::PairRequested { platform, name } => {
                if let Some(device_root) = talk.device_root.take() {
                    let request = PairRequest { platform, name, check: talk.check, device_root };
                    self.gate.pair_requested(visitor, request, session);
                }
            }
            // Streams that came along with a token which was refused after all go nowhere.
            Notice::Incoming(_) if slot.cut.load(Ordering::SeqCst) => {}
            Notice::Incoming(stream) => self.gate.incoming(visitor, stream),
            Notice::Closed { .. } | Notice::PairPending { .. } | Notice::Paired(_) | Notice::Capability(_) => {}
        }
    }

    /// Tells the device that it is not answered, then closes.
    fn fail(&mut self, idx: u32, failure: Failure, retry_ms: u32) {
        let mut out = [0; 8];
        let len = emit_failure(failure, retry_ms, &mut out).unwrap_or(0);
        if let Some(slot) = self.channels.get_mut(&idx) {
            slot.state = State::Leaving(out.get(..len).unwrap_or_default().to_vec(), Code::Refused);
        }
        self.queue(idx);
    }

    fn drop_channel(&mut self, idx: u32, code: Code) {
        self.link.close(idx, code);
        if let Some(slot) = self.channels.remove(&idx) {
            self.farewell(slot);
        }
    }

    fn farewell(&mut self, slot: Slot<G::Visitor>) {
        if let Some(visitor) = slot.visitor {
            self.gate.ended(visitor);
        }
    }

    /// The channel may have something to say.
    fn queue(&mut self, idx: u32) {
        if let Some(slot) = self.channels.get_mut(&idx)
            && !core::mem::replace(&mut slot.queued, true)
        {
            self.ready.push_back(idx);
        }
        self.note_timeout(idx);
    }

    fn note_timeout(&mut self, idx: u32) {
        if let Some(at) = self.channels.get(&idx).and_then(Slot::poll_timeout) {
            self.next_timeout = Some(self.next_timeout.map_or(at, |known| known.min(at)));
        }
    }

    /// One channel's next message.
    fn poll_channel(&mut self, now: Instant, idx: u32, out: &mut [u8]) -> Option<usize> {
        let credit = self.link.credit(idx);
        let slot = self.channels.get_mut(&idx)?;
        match &mut slot.state {
            State::AwaitHello => None,
            State::Reply(message, _) | State::Leaving(message, _) => {
                let len = message.len();
                let room = out.get_mut(..DATA_HEADER_LEN.saturating_add(len))?;
                let header = self.link.data_header(idx, len)?;
                room[..DATA_HEADER_LEN].copy_from_slice(&header);
                room[DATA_HEADER_LEN..].copy_from_slice(message);
                match core::mem::replace(&mut slot.state, State::AwaitHello) {
                    State::Reply(_, talk) => slot.state = State::Talking(talk),
                    State::Leaving(_, code) => self.drop_channel(idx, code),
                    State::AwaitHello | State::Talking(_) => {}
                }
                Some(DATA_HEADER_LEN.saturating_add(len))
            }
            State::Talking(talk) => {
                if credit < LEAST_CREDIT {
                    return None;
                }
                let end = out.len().min(DATA_HEADER_LEN.saturating_add(credit));
                let room = out.get_mut(DATA_HEADER_LEN..end)?;
                let welcomed = talk.welcome.take().and_then(|welcome| talk.welcome(&welcome, now, room));
                let Some(len) = welcomed.or_else(|| talk.conversation.poll_output(now, room).ok().flatten()) else {
                    if talk.conversation.channel_ref().is_over() {
                        self.drop_channel(idx, Code::Normal);
                    }
                    return None;
                };
                let header = self.link.data_header(idx, len)?;
                out.get_mut(..DATA_HEADER_LEN)?.copy_from_slice(&header);
                Some(DATA_HEADER_LEN.saturating_add(len))
            }
        }
    }

    fn by_key(&mut self, key: u64) -> Option<(u32, &mut Slot<G::Visitor>)> {
        let [a, b, c, d, ..] = key.to_le_bytes();
        let idx = u32::from_le_bytes([a, b, c, d]);
        self.channels.get_mut(&idx).filter(|slot| slot.key == key).map(|slot| (idx, slot))
    }
}

/// The link may also end because nobody awaits it any more: its visitors are gone all the same.
impl<G: Gate> Drop for Host<'_, G> {
    fn drop(&mut self) {
        self.bell.close();
        for (_, slot) in core::mem::take(&mut self.channels) {
            self.farewell(slot);
        }
    }
}

impl<V> Slot<V> {
    fn is_half_open(&self) -> bool {
        match &self.state {
            State::AwaitHello | State::Leaving(..) => false,
            State::Reply(..) => true,
            State::Talking(talk) => !talk.established,
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Reply(_, talk) | State::Talking(talk) => talk.conversation.channel_ref().poll_timeout(),
            State::AwaitHello | State::Leaving(..) => Some(self.deadline),
        }
    }
}

impl<G: Gate> Side for Host<'_, G> {
    type Command = Command;

    fn handle(&mut self, now: Instant, message: &[u8]) -> Result<(), Ended> {
        let Some(event) = self.link.handle(now, message)? else {
            self.pulse.write(self.link.round_trip());
            return Ok(());
        };
        match event {
            hop::host::Event::Registered { .. } => {
                let link = Registrar { bell: self.bell.clone(), pulse: self.pulse.clone() };
                self.gate.registered(link);
            }
            hop::host::Event::Incoming { idx, channel_id, .. } => self.knock(now, idx, channel_id),
            hop::host::Event::Data { idx, body } => {
                let len = body.len();
                match self.channels.get(&idx).map(|slot| &slot.state) {
                    Some(State::AwaitHello) => self.hello(now, idx, body),
                    Some(_) => self.talk(now, idx, body),
                    None => {}
                }
                self.link.processed(now, idx, len);
            }
            hop::host::Event::Closed { idx: 0, code } => return Err(Ended::Hop(code)),
            hop::host::Event::Closed { idx, .. } => {
                if let Some(slot) = self.channels.remove(&idx) {
                    self.farewell(slot);
                }
            }
            hop::host::Event::CreditArrived { idx } => self.queue(idx),
            hop::host::Event::Draining => {}
        }
        Ok(())
    }

    fn attend(&mut self, now: Instant, conversation: u64, pipe: &Arc<Pipe>) {
        let Some((idx, slot)) = self.by_key(conversation) else { return };
        if let State::Talking(talk) = &mut slot.state {
            talk.conversation.attend(now, pipe);
            self.queue(idx);
        }
    }

    fn command(&mut self, now: Instant, command: Command) -> Result<(), Ended> {
        match command {
            Command::Close { key, code } => {
                let Some((idx, slot)) = self.by_key(key) else { return Ok(()) };
                if let State::Talking(talk) = &mut slot.state {
                    talk.conversation.channel().close(Scope::Session, code, "");
                    // Its streams end with it, whether or not the device hears of it.
                    talk.conversation.cut();
                    self.queue(idx);
                } else {
                    self.drop_channel(idx, Code::Refused);
                }
            }
            Command::Welcome(key, welcome) => {
                let Some((idx, slot)) = self.by_key(key) else { return Ok(()) };
                if let State::Talking(talk) = &mut slot.state {
                    talk.welcome = Some(welcome);
                    self.queue(idx);
                }
            }
            Command::Pend(key, seconds) => {
                let Some((idx, slot)) = self.by_key(key) else { return Ok(()) };
                if let State::Talking(talk) = &mut slot.state {
                    let _ = talk.conversation.channel().pend_pairing(seconds, now);
                    self.queue(idx);
                }
            }
            Command::Slot(rv_hash, ttl) => {
                if self.link.set_pair_slot(rv_hash, ttl).is_err() {
                    tracing::warn!("too many pairing slots wait for the relay");
                }
            }
            Command::Deny(capability, until) => {
                // The host itself refuses what it revoked; the relay only spares it the knock.
                let _ = self.link.deny(capability, until);
            }
            Command::Leave => self.ended = Some(Ended::Asked),
        }
        Ok(())
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Ended> {
        self.link.handle_timeout(now).map_err(Ended::Silent)?;
        if self.next_timeout.is_none_or(|at| now < at) {
            return Ok(());
        }
        self.next_timeout = None;
        let due: Vec<u32> = self.channels.keys().copied().collect();
        for idx in due {
            let Some(slot) = self.channels.get_mut(&idx) else { continue };
            if slot.poll_timeout().is_some_and(|at| now >= at) {
                match &mut slot.state {
                    State::Reply(_, talk) | State::Talking(talk) => {
                        if let Err(error) = talk.conversation.channel().handle_timeout(now) {
                            tracing::debug!(%error, "channel ended");
                        }
                        self.queue(idx);
                    }
                    State::AwaitHello | State::Leaving(..) => self.drop_channel(idx, Code::Timeout),
                }
            }
            self.note_timeout(idx);
        }
        Ok(())
    }

    fn poll_timeout(&self) -> Option<Instant> {
        [self.link.poll_timeout(), self.next_timeout].into_iter().flatten().min()
    }

    fn poll_message(&mut self, now: Instant, out: &mut [u8]) -> Result<Option<usize>, Ended> {
        if let Some(len) = self.link.poll_output(now, out) {
            return Ok(Some(len));
        }
        while let Some(idx) = self.ready.pop_front() {
            if let Some(slot) = self.channels.get_mut(&idx) {
                slot.queued = false;
            }
            if let Some(len) = self.poll_channel(now, idx, out) {
                self.queue(idx); // at the end: the others have their turn first
                return Ok(Some(len));
            }
            self.note_timeout(idx);
        }
        // Closing a channel may have left a control message.
        Ok(self.link.poll_output(now, out))
    }

    fn over(&mut self) -> Option<Ended> {
        self.ended.take()
    }
}
