//! A host's end of a link: many channels, each with a device.

mod channels;
mod gate;
mod registry;
mod session;
mod sessions;
mod slot;

use core::sync::atomic::{AtomicUsize, Ordering};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use async_tungstenite::WebSocketStream;
use futures_io::{AsyncRead, AsyncWrite};
use homing_core::Instant;
use homing_core::channel::Config;
use homing_core::handshake::Turnstile;
use homing_core::hop::{self, Code, HostLink};

use crate::bell::Bell;
use crate::conversation::Notice;
use crate::drive::{Clock, Side, drive, leave_at};
use crate::ended::Ended;
use crate::pipe::Pipe;
use crate::pulse::Pulse;

pub use gate::{Doorstep, Gate, Known, PairRequest, Registration, Welcome};
pub use registry::{DeviceId, DeviceRecord, HostKeys, InviteError, Registry};
pub(crate) use session::Command;
pub use session::{Registrar, Session};
pub use sessions::{DeviceKey, Sessions};

use sessions::lock;
use slot::{Slot, State};

/// Channels on one link.
pub const CHANNELS: usize = 64;

/// Serves a relay's link until it ends. The sessions of its channels outlive it, as the
/// registration's [`Sessions`] say.
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
        clock,
        sessions: registration.sessions,
        bell: bell.clone(),
        channels: HashMap::new(),
        ready: VecDeque::new(),
        turnstile: Turnstile::new(now),
        incarnation: 0,
        next_timeout: None,
        notices: Vec::new(),
        ended: None,
        leave_at: None,
        pulse: Pulse::default(),
        count: Arc::default(),
    };
    drive(socket, clock, &bell, &mut host).await
}

struct Host<'a, G: Gate, C: Clock> {
    link: HostLink<CHANNELS>,
    config: Config,
    gate: &'a mut G,
    clock: &'a C,
    sessions: Arc<Sessions>,
    bell: Arc<Bell<Command>>,
    channels: HashMap<u32, Slot<G::Visitor>>,
    ready: VecDeque<u32>,
    turnstile: Turnstile,
    incarnation: u32,
    next_timeout: Option<Instant>,
    notices: Vec<Notice>,
    ended: Option<Ended>,
    /// The relay is about to go: when to leave it.
    leave_at: Option<Instant>,
    pulse: Pulse,
    /// How many channels there are, for those outside.
    count: Arc<AtomicUsize>,
}

/// The link may also end because nobody awaits it any more: its visitors are gone all the same.
impl<G: Gate, C: Clock> Drop for Host<'_, G, C> {
    fn drop(&mut self) {
        self.bell.close();
        let now = self.clock.now();
        for (_, slot) in core::mem::take(&mut self.channels) {
            self.farewell(now, slot);
        }
    }
}

impl<G: Gate, C: Clock> Side for Host<'_, G, C> {
    type Command = Command;

    fn handle(&mut self, now: Instant, message: &[u8]) -> Result<(), Ended> {
        let Some(event) = self.link.handle(now, message)? else {
            self.pulse.write(self.link.round_trip());
            return Ok(());
        };
        match event {
            hop::host::Event::Registered { .. } => {
                let (bell, pulse, channels) = (self.bell.clone(), self.pulse.clone(), self.count.clone());
                let link = Registrar { bell, pulse, channels };
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
                    self.farewell(now, slot);
                }
            }
            hop::host::Event::CreditArrived { idx } => self.queue(idx),
            hop::host::Event::Draining => {
                self.leave_at.get_or_insert_with(|| leave_at(now));
            }
        }
        Ok(())
    }

    fn attend(&mut self, now: Instant, conversation: u64, pipe: Option<&Arc<Pipe>>) {
        let Some((idx, slot)) = self.by_key(conversation) else { return };
        if let State::Talking(talk) = &mut slot.state {
            if let Some(pipe) = pipe {
                lock(&talk.conversation).attend(now, pipe);
            }
            self.queue(idx);
        }
    }

    fn command(&mut self, now: Instant, command: Command) -> Result<(), Ended> {
        match command {
            Command::Close { key, code } => {
                let Some((idx, slot)) = self.by_key(key) else { return Ok(()) };
                if let State::Talking(talk) = &mut slot.state {
                    // Its streams end with it, whether or not the device hears of it.
                    lock(&talk.conversation).sever(code);
                    self.queue(idx);
                } else {
                    self.drop_channel(now, idx, Code::Refused);
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
                    let _ = lock(&talk.conversation).channel().pend_pairing(seconds, now);
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
            Command::Probe => self.link.probe(now),
            Command::Rest if self.channels.is_empty() => self.ended = Some(Ended::Asked),
            Command::Rest => {}
            Command::Leave => self.ended = Some(Ended::Asked),
        }
        Ok(())
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Ended> {
        self.link.handle_timeout(now).map_err(Ended::Silent)?;
        if self.leave_at.is_some_and(|at| now >= at) {
            return Err(Ended::Hop(Code::Draining));
        }
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
                        if let Err(error) = lock(&talk.conversation).channel().handle_timeout(now) {
                            tracing::debug!(%error, "channel ended");
                        }
                        self.queue(idx);
                    }
                    State::AwaitHello | State::Leaving(..) => self.drop_channel(now, idx, Code::Timeout),
                }
            }
            self.note_timeout(idx);
        }
        Ok(())
    }

    fn poll_timeout(&self) -> Option<Instant> {
        [self.link.poll_timeout(), self.next_timeout, self.leave_at].into_iter().flatten().min()
    }

    fn poll_message(&mut self, now: Instant, out: &mut [u8]) -> Result<Option<usize>, Ended> {
        self.count.store(self.channels.len(), Ordering::Relaxed);
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
