//! A call under way, from the first message to the last notice.

use std::sync::Arc;

use homing_core::Instant;
use homing_core::channel::{Channel, Config, PHASE_TIME};
use homing_core::crypto::{Identity, Psk, PublicKey, Secret};
use homing_core::handshake::{
    self, AwaitReply, CheckWords, Exports, HELLO_MAX, Keys, Kind, RouteId, Suite, parse_failure,
};
use homing_core::hop::{self, DeviceLink, Purpose};
use homing_core::wire::{Params, TOKEN_LEN};

use super::opener::{Command, Opener};
use super::{Caller, Intent};
use crate::bell::{Bell, Ring};
use crate::conversation::{Conversation, DEVICE_STREAMS, Notice, begin_anew};
use crate::drive::Clock;
use crate::ended::Ended;
use crate::kept::{Found, Kept};
use crate::pulse::Pulse;
use crate::random;
use crate::ties::{Carried, Ties};

/// What the handshake and the channel need of an intent, once the link has its part.
pub(super) enum Want {
    Pair { ticket: handshake::Ticket, platform: u8, name: String },
    Connect { route: RouteId, psk: Psk, token: Secret<TOKEN_LEN>, guest: Option<Vec<u8>> },
}

pub(super) fn split(intent: Intent) -> (Purpose, Want) {
    match intent {
        Intent::Pair { ticket, rendezvous, platform, name } => {
            (Purpose::Pair { rendezvous }, Want::Pair { ticket, platform, name })
        }
        Intent::Connect { route, capability, psk, token, guest } => {
            (Purpose::Dial { route_id: route, capability }, Want::Connect { route, psk, token, guest })
        }
    }
}

pub(super) enum Phase {
    Dialling,
    /// The hello waits to be sent.
    Hello(Vec<u8>, Box<AwaitReply>),
    AwaitReply(Box<AwaitReply>),
    /// The host answered; another call has the session, and may give it back.
    Answered(Box<(Keys, Exports)>),
    Talking(Conversation, CheckWords, Option<Secret<32>>),
}

pub(super) struct Device<'a, T, C: Clock> {
    pub(super) link: DeviceLink,
    pub(super) suite: Suite,
    pub(super) identity: Identity,
    pub(super) host: PublicKey,
    pub(super) kind: Want,
    pub(super) config: Config,
    pub(super) phase: Phase,
    pub(super) caller: &'a mut T,
    pub(super) clock: &'a C,
    pub(super) kept: &'a Kept,
    /// Of this call, among those that are given the same session.
    pub(super) number: u64,
    pub(super) bell: Arc<Bell<Command>>,
    pub(super) notices: Vec<Notice>,
    pub(super) ended: Option<Ended>,
    /// The relay's credit is used up.
    pub(super) blocked: bool,
    /// By when the host must have answered the handshake.
    pub(super) deadline: Option<Instant>,
    /// The relay is about to go: when to leave it.
    pub(super) leave_at: Option<Instant>,
    pub(super) pulse: Pulse,
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
    pub(super) fn begin(&mut self, now: Instant, channel_id: [u8; 16]) -> Result<(), Ended> {
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

    pub(super) fn handle_body(&mut self, now: Instant, body: &[u8]) -> Result<(), Ended> {
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
    pub(super) fn talk(&mut self, now: Instant) {
        let Phase::Answered(answer) = &self.phase else { return };
        let (keys, exports) = &**answer;
        let (config, bell): (_, Arc<dyn Ring>) = (&self.config, self.bell.clone());
        let (conversation, root) = match &self.kind {
            Want::Pair { platform, name, .. } => {
                let channel = Channel::pair(keys, *platform, name, config, now);
                (Conversation::new(0, channel, bell), Some(exports.device_root.duplicate()))
            }
            Want::Connect { token, guest, .. } => match self.kept.take(self.number, &bell) {
                Found::Session(Carried { detached, ties }) => {
                    let channel = Channel::resume(keys, token.expose(), *detached, config, now);
                    (Conversation::resumed(0, channel, ties, bell).introducing(guest.clone()), None)
                }
                Found::Nothing => {
                    let channel = Channel::connect(keys, token.expose(), config, now);
                    (Conversation::new(0, channel, bell).introducing(guest.clone()), None)
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
    pub(super) fn end(&mut self, result: Result<(), Ended>) -> Result<(), Ended> {
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
