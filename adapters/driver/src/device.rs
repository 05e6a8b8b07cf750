//! A device's end of a link: dial, handshake, one conversation.

use core::time::Duration;
use std::sync::Arc;

use async_tungstenite::WebSocketStream;
use futures_io::{AsyncRead, AsyncWrite};
use homing_core::Instant;
use homing_core::channel::{self, Channel, Config, PHASE_TIME, code};
use homing_core::crypto::{Identity, Psk, PublicKey, Secret};
use homing_core::handshake::{
    self, AwaitReply, CheckWords, Exports, HELLO_MAX, Keys, Kind, RouteId, Suite, parse_failure,
};
use homing_core::hop::{self, Code, DATA_HEADER_LEN, DeviceLink, Purpose};
use homing_core::wire::{CAPABILITY_LEN, Params, Scope, TOKEN_LEN};

use crate::bell::{Bell, Ring};
use crate::conversation::{Conversation, DEVICE_STREAMS, Notice, Paired, begin_anew};
use crate::drive::{Clock, Side, drive, leave_at};
use crate::ended::Ended;
use crate::kept::Found;
use crate::pipe::Pipe;
use crate::pulse::Pulse;
use crate::stream::Stream;
use crate::ties::{Carried, Ties};
use crate::{LEAST_CREDIT, random};

pub use crate::kept::Kept;

/// Why a device calls.
#[derive(Debug)]
pub enum Intent {
    /// To be paired, under this name.
    Pair {
        /// What the ticket gives.
        ticket: handshake::Ticket,
        /// What the relay is shown.
        rendezvous: Secret<16>,
        /// Kind of device, see [`homing_core::wire::PairFinish`].
        platform: u8,
        /// What its owner calls it.
        name: String,
    },
    /// To reach its host.
    Connect {
        /// The host's route at the relay.
        route: RouteId,
        /// Lets the relay admit the device.
        capability: hop::Capability,
        /// The pre-shared key of this pairing.
        psk: Psk,
        /// The bearer token.
        token: Secret<TOKEN_LEN>,
    },
}

/// One call of a device.
#[derive(Debug)]
pub struct Call {
    /// The relay's name, as it was dialled.
    pub relay: String,
    /// Primitives of the handshake, as pinned.
    pub suite: Suite,
    /// The device's key for this host.
    pub identity: Identity,
    /// The host's key, as pinned.
    pub host: PublicKey,
    /// What for.
    pub intent: Intent,
    /// How the channel behaves.
    pub config: Config,
}

/// What a device hears during a call. Storing what arrives may block; it is little and rare.
pub trait Caller {
    /// The host is authenticated and there: streams opened from now on reach it, and those of a
    /// session that was kept go on where the host still knows it.
    fn established(&mut self, opener: Opener);
    /// The host's operator is being asked; compare the check words.
    fn pending(&mut self, check: CheckWords, seconds: u16);
    /// Paired: store it, with the secret that all later calls rest on.
    ///
    /// # Errors
    /// A text that says why it could not be stored: the call ends, the host forgets the device.
    fn paired(&mut self, paired: Paired, device_root: Secret<32>) -> Result<(), String>;
    /// A fresh capability for the next call: store it.
    fn capability(&mut self, capability: &[u8; CAPABILITY_LEN]);
}

#[derive(Debug)]
pub(crate) enum Command {
    Open(Arc<Pipe>),
    Probe,
    Close,
}

/// Opens streams on a device's running call; cheap to clone.
#[derive(Clone, Debug)]
pub struct Opener {
    bell: Arc<Bell<Command>>,
    pulse: Pulse,
}

impl Opener {
    /// A stream to the host, to be written to at once. None where the call has ended.
    #[must_use]
    pub fn open(&self) -> Option<Stream> {
        let pipe = Pipe::new(0, self.bell.clone());
        self.bell.command(Command::Open(pipe.clone())).ok()?;
        Some(Stream::new(pipe))
    }

    /// The last measured round trip to the host, through the relay.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.pulse.read()
    }

    /// When that was measured, Unix seconds.
    #[must_use]
    pub fn round_trip_at(&self) -> Option<u64> {
        self.pulse.at()
    }

    /// Something outside may have cut the link: the call ends soon where the relay does not answer.
    pub fn probe(&self) {
        let _ = self.bell.command(Command::Probe);
    }

    /// Ends the call after telling the host.
    pub fn close(&self) {
        // Where it has ended there is nothing to close.
        let _ = self.bell.command(Command::Close);
    }
}

/// Runs a call over a WebSocket that the relay has accepted, until it ends. Its streams end with it.
pub async fn call<S, C>(socket: WebSocketStream<S>, clock: &C, call: Call, caller: &mut impl Caller) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: Clock,
{
    call_again(socket, clock, call, &Kept::default(), caller).await
}

/// Runs a call as [`call`] does, one of several to the same host: it goes on with the session that
/// was kept, if there is one, and leaves its own there where it can be resumed. That holds for a
/// call that is dropped, too.
pub async fn call_again<S, C>(
    socket: WebSocketStream<S>,
    clock: &C,
    call: Call,
    kept: &Kept,
    caller: &mut impl Caller,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: Clock,
{
    let bell = Bell::new();
    let now = clock.now();
    let (purpose, kind) = split(call.intent);
    let Ok(link) = DeviceLink::new(&call.relay, purpose, now) else { return Ended::Hop(Code::Protocol) };
    let mut device = Device {
        link,
        suite: call.suite,
        identity: call.identity,
        host: call.host,
        kind,
        config: call.config,
        phase: Phase::Dialling,
        caller,
        clock,
        number: kept.join(),
        kept,
        bell: bell.clone(),
        notices: Vec::new(),
        ended: None,
        blocked: false,
        deadline: None,
        leave_at: None,
        pulse: Pulse::default(),
    };
    drive(socket, clock, &bell, &mut device).await
}

/// What the handshake and the channel need of an intent, once the link has its part.
enum Want {
    Pair { ticket: handshake::Ticket, platform: u8, name: String },
    Connect { route: RouteId, psk: Psk, token: Secret<TOKEN_LEN> },
}

fn split(intent: Intent) -> (Purpose, Want) {
    match intent {
        Intent::Pair { ticket, rendezvous, platform, name } => {
            (Purpose::Pair { rendezvous }, Want::Pair { ticket, platform, name })
        }
        Intent::Connect { route, capability, psk, token } => {
            (Purpose::Dial { route_id: route, capability }, Want::Connect { route, psk, token })
        }
    }
}

enum Phase {
    Dialling,
    /// The hello waits to be sent.
    Hello(Vec<u8>, Box<AwaitReply>),
    AwaitReply(Box<AwaitReply>),
    /// The host answered; another call has the session, and may give it back.
    Answered(Box<(Keys, Exports)>),
    Talking(Conversation, CheckWords, Option<Secret<32>>),
}

struct Device<'a, T, C: Clock> {
    link: DeviceLink,
    suite: Suite,
    identity: Identity,
    host: PublicKey,
    kind: Want,
    config: Config,
    phase: Phase,
    caller: &'a mut T,
    clock: &'a C,
    kept: &'a Kept,
    /// Of this call, among those that are given the same session.
    number: u64,
    bell: Arc<Bell<Command>>,
    notices: Vec<Notice>,
    ended: Option<Ended>,
    /// The relay's credit is used up.
    blocked: bool,
    /// By when the host must have answered the handshake.
    deadline: Option<Instant>,
    /// The relay is about to go: when to leave it.
    leave_at: Option<Instant>,
    pulse: Pulse,
}

/// The call may also end because nobody awaits it any more: no stream is opened from then on, and
/// a session that can be resumed is kept.
impl<T, C: Clock> Drop for Device<'_, T, C> {
    fn drop(&mut self) {
        let opened = self.bell.close().into_iter().filter_map(|command| match command {
            Command::Open(pipe) => Some(pipe),
            Command::Close | Command::Probe => None,
        });
        let mut late = Ties::default();
        late.waiting.extend(opened);
        late.unbind();
        let mut carried = match &mut self.phase {
            Phase::Talking(conversation, ..) => conversation.detach(),
            _ => None,
        };
        if let Some(carried) = &mut carried {
            carried.ties.waiting.append(&mut late.waiting);
        }
        self.kept.put(self.number, carried, self.clock.now());
    }
}

impl<T: Caller, C: Clock> Device<'_, T, C> {
    fn begin(&mut self, now: Instant, channel_id: [u8; 16]) -> Result<(), Ended> {
        self.deadline = Some(now + PHASE_TIME);
        let kind = match &self.kind {
            Want::Pair { ticket, .. } => Kind::Pair { ticket },
            Want::Connect { route, psk, .. } => Kind::Connect { route, psk },
        };
        let mut out = [0; HELLO_MAX];
        let own = Params { max_streams: DEVICE_STREAMS, ..Params::default() };
        let (len, state) =
            handshake::start(self.suite, kind, &channel_id, &self.identity, &self.host, own, &mut random(), &mut out)
                .map_err(Ended::Handshake)?;
        self.phase = Phase::Hello(out[..len].to_vec(), Box::new(state));
        Ok(())
    }

    fn handle_body(&mut self, now: Instant, body: &[u8]) -> Result<(), Ended> {
        match core::mem::replace(&mut self.phase, Phase::Dialling) {
            Phase::AwaitReply(state) => {
                if let Ok(Some((failure, retry_ms))) = parse_failure(body) {
                    return Err(Ended::Failure(failure, retry_ms));
                }
                let mut reply = body.to_vec();
                let (keys, exports) = state.read(&mut reply).map_err(Ended::Handshake)?;
                self.phase = Phase::Answered(Box::new((keys, exports)));
                self.talk(now);
                Ok(())
            }
            Phase::Talking(mut conversation, check, root) => {
                let heard = conversation.handle(now, body, &mut self.notices, &mut begin_anew);
                self.pulse.write(conversation.channel_ref().round_trip());
                self.phase = Phase::Talking(conversation, check, root);
                // What was said before an error was said.
                let noticed = self.notice(now);
                heard.and(noticed)
            }
            Phase::Dialling | Phase::Hello(..) | Phase::Answered(..) => {
                Err(Ended::Violation(hop::Violation::Unexpected))
            }
        }
    }

    /// The handshake is done: begins to talk, unless another call has the session.
    fn talk(&mut self, now: Instant) {
        let Phase::Answered(answer) = &self.phase else { return };
        let (keys, exports) = &**answer;
        let (config, bell): (_, Arc<dyn Ring>) = (&self.config, self.bell.clone());
        let (conversation, root) = match &self.kind {
            Want::Pair { platform, name, .. } => {
                let channel = Channel::pair(keys, *platform, name, config, now);
                (Conversation::new(0, channel, bell), Some(exports.device_root.duplicate()))
            }
            Want::Connect { token, .. } => match self.kept.take(self.number, &bell) {
                Found::Session(Carried { detached, ties }) => {
                    let channel = Channel::resume(keys, token.expose(), *detached, config, now);
                    (Conversation::resumed(0, channel, ties, bell), None)
                }
                Found::Nothing => {
                    let channel = Channel::connect(keys, token.expose(), config, now);
                    (Conversation::new(0, channel, bell), None)
                }
                Found::Taken => return,
            },
        };
        self.deadline = None;
        self.phase = Phase::Talking(conversation, exports.check, root);
    }

    fn notice(&mut self, now: Instant) -> Result<(), Ended> {
        for notice in core::mem::take(&mut self.notices) {
            let Phase::Talking(conversation, check, root) = &mut self.phase else { return Ok(()) };
            match notice {
                Notice::Established => {
                    self.kept.settled(self.number);
                    self.caller.established(Opener { bell: self.bell.clone(), pulse: self.pulse.clone() })
                }
                Notice::PairPending { seconds } => self.caller.pending(*check, seconds),
                Notice::Paired(paired) => {
                    let Some(root) = root.take() else { continue };
                    self.caller.paired(paired, root).map_err(Ended::Storage)?;
                    conversation.channel().acknowledge_pairing(now)?;
                    self.caller.established(Opener { bell: self.bell.clone(), pulse: self.pulse.clone() });
                }
                Notice::Capability(capability) => self.caller.capability(&capability),
                Notice::Closed { scope, code, text } => return Err(Ended::Closed { scope, code, text }),
                // Streams that a host opens have no meaning yet: dropping one refuses it.
                Notice::Incoming(stream) => stream.abort(homing_core::mux::reset::NOT_ALLOWED),
                Notice::PairRequested { .. } | Notice::PairAcknowledged => {}
            }
        }
        Ok(())
    }

    /// Notes why the link ends; what the channel has to say about it still goes out.
    fn end(&mut self, result: Result<(), Ended>) -> Result<(), Ended> {
        if let Err(ended) = result {
            if matches!(self.phase, Phase::Talking(..)) {
                self.ended.get_or_insert(ended);
            } else {
                return Err(ended);
            }
        }
        Ok(())
    }
}

impl<T: Caller, C: Clock> Side for Device<'_, T, C> {
    type Command = Command;

    fn handle(&mut self, now: Instant, message: &[u8]) -> Result<(), Ended> {
        if self.ended.is_some() {
            return Ok(());
        }
        let Some(event) = self.link.handle(now, message)? else { return Ok(()) };
        match event {
            hop::device::Event::Opened { channel_id } => self.begin(now, channel_id),
            hop::device::Event::Data { body } => {
                let len = body.len();
                let result = self.handle_body(now, body);
                self.link.processed(now, len);
                self.end(result)
            }
            hop::device::Event::Closed { code } => Err(Ended::Hop(code)),
            hop::device::Event::CreditArrived => {
                self.blocked = false;
                Ok(())
            }
            hop::device::Event::Draining => {
                self.leave_at.get_or_insert_with(|| leave_at(now));
                Ok(())
            }
        }
    }

    fn attend(&mut self, now: Instant, _: u64, pipe: Option<&Arc<Pipe>>) {
        match (&mut self.phase, pipe) {
            (Phase::Talking(conversation, ..), Some(pipe)) => conversation.attend(now, pipe),
            (_, None) => self.talk(now),
            (_, Some(_)) => {}
        }
    }

    fn command(&mut self, now: Instant, command: Command) -> Result<(), Ended> {
        match (&mut self.phase, command) {
            (Phase::Talking(conversation, ..), Command::Open(pipe)) => conversation.open(now, pipe),
            (Phase::Talking(conversation, ..), Command::Close) => {
                conversation.channel().close(Scope::Session, code::NORMAL, "");
                self.ended.get_or_insert(Ended::Asked);
            }
            (_, Command::Probe) => self.link.probe(now),
            (_, Command::Close) => return Err(Ended::Asked),
            // Openers are handed out once the conversation runs.
            (_, Command::Open(pipe)) => pipe.fail_inbound(crate::StreamError::Lost),
        }
        Ok(())
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Ended> {
        self.link.handle_timeout(now).map_err(Ended::Silent)?;
        if self.deadline.is_some_and(|at| now >= at) {
            return Err(Ended::Channel(channel::Error::Timeout));
        }
        if self.leave_at.is_some_and(|at| now >= at) {
            return Err(Ended::Hop(Code::Draining));
        }
        self.kept.expire(now);
        if let Phase::Talking(conversation, ..) = &mut self.phase
            && conversation.channel().poll_timeout().is_some_and(|at| now >= at)
        {
            let result = conversation.channel().handle_timeout(now).map_err(Ended::from);
            return self.end(result);
        }
        Ok(())
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let channel = match &self.phase {
            Phase::Talking(conversation, ..) => conversation.channel_ref().poll_timeout(),
            _ => None,
        };
        [self.link.poll_timeout(), self.deadline, self.leave_at, self.kept.deadline(), channel]
            .into_iter()
            .flatten()
            .min()
    }

    fn poll_message(&mut self, now: Instant, out: &mut [u8]) -> Result<Option<usize>, Ended> {
        if let Some(len) = self.link.poll_output(now, out) {
            return Ok(Some(len));
        }
        let credit = self.link.credit();
        if let Phase::Hello(hello, _) = &self.phase {
            let len = hello.len();
            let (Some(header), Some(room)) =
                (self.link.data_header(len), out.get_mut(..DATA_HEADER_LEN.saturating_add(len)))
            else {
                return Ok(None);
            };
            room[..DATA_HEADER_LEN].copy_from_slice(&header);
            room[DATA_HEADER_LEN..].copy_from_slice(hello);
            if let Phase::Hello(_, state) = core::mem::replace(&mut self.phase, Phase::Dialling) {
                self.phase = Phase::AwaitReply(state);
            }
            return Ok(Some(DATA_HEADER_LEN.saturating_add(len)));
        }
        let Phase::Talking(conversation, ..) = &mut self.phase else { return Ok(None) };
        if self.blocked || credit < LEAST_CREDIT {
            self.blocked = true;
            return Ok(None);
        }
        let end = out.len().min(DATA_HEADER_LEN.saturating_add(credit));
        let Some(len) = conversation.poll_output(now, &mut out[DATA_HEADER_LEN..end])? else { return Ok(None) };
        let header = self.link.data_header(len).ok_or(Ended::Hop(Code::FlowControl))?;
        out[..DATA_HEADER_LEN].copy_from_slice(&header);
        Ok(Some(DATA_HEADER_LEN.saturating_add(len)))
    }

    fn over(&mut self) -> Option<Ended> {
        self.ended.take()
    }
}
