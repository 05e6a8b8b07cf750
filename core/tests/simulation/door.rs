//! What a host does on a channel: knock, first message, reply, records, the end.

use homing_core::Instant;
use homing_core::channel::{Event, Output, PHASE_TIME, code, token_hash};
use homing_core::handshake::{self, ChannelId, Door, Knock, REPLY_MAX, Suite, Ticket, emit_failure, hear};
use homing_core::hop::{self, Code, DATA_HEADER_LEN, MAX_MESSAGE};
use homing_core::wire::{Params, Scope};

use crate::device::{LEAST_CREDIT, Nothing};
use crate::host::{Host, Leg, Place, Session};
use crate::net::Net;
use crate::people::{TOKEN, device_of, psk};
use crate::plan::Plans;
use crate::session::{Channel, Rest, Streams};
use crate::wire::Side;

/// One channel of a link.
pub(crate) struct Slot {
    pub(crate) idx: u32,
    channel_id: ChannelId,
    deadline: Instant,
    device: usize,
    /// What the device accepts.
    peer: Params,
    heard: u64,
    established: bool,
    /// The session that it carries.
    pub(crate) session: Option<[u8; 16]>,
    pub(crate) state: State,
}

pub(crate) enum State {
    AwaitHello,
    Reply(Vec<u8>, Box<Channel>),
    Talking(Box<Channel>),
    /// A last message, then the channel closes.
    Leaving(Vec<u8>),
}

impl Slot {
    pub(crate) fn next(&self) -> Option<Instant> {
        match &self.state {
            State::Reply(_, channel) | State::Talking(channel) => channel.poll_timeout(),
            State::AwaitHello | State::Leaving(_) => Some(self.deadline),
        }
    }
}

impl Host {
    pub(crate) fn knock(&mut self, net: &Net, leg: usize, idx: u32, channel_id: ChannelId) {
        let now = self.clock.read(net);
        let Some((_, link)) = &mut self.legs[leg].link else { return };
        if !self.turnstile.is_new(&channel_id) {
            link.refuse(idx, Code::Busy);
            return;
        }
        link.accept(idx);
        let deadline = now + PHASE_TIME;
        let (state, session) = (State::AwaitHello, None);
        self.legs[leg].slots.retain(|slot| slot.idx != idx);
        self.legs[leg].slots.push(Slot {
            idx,
            channel_id,
            deadline,
            device: usize::MAX,
            peer: Params::default(),
            heard: 0,
            established: false,
            session,
            state,
        });
    }

    pub(crate) fn hear_body(&mut self, net: &mut Net, plans: &mut Plans, leg: usize, idx: u32, body: &mut [u8]) {
        let Some(at) = self.legs[leg].slots.iter().position(|slot| slot.idx == idx) else { return };
        match &self.legs[leg].slots[at].state {
            State::AwaitHello => self.hello(net, plans, leg, at, body),
            State::Talking(_) => self.hear_record(net, plans, leg, at, body),
            State::Reply(..) => self.drop_slot(plans, leg, at, Code::Protocol), // the relay made it up
            State::Leaving(_) => {}
        }
    }

    fn hello(&mut self, net: &mut Net, plans: &mut Plans, leg: usize, at: usize, hello: &mut [u8]) {
        let now = self.clock.read(net);
        let talks = |slot: &crate::door::Slot| matches!(slot.state, State::Reply(..) | State::Talking(_));
        let slots = self.legs.iter().flat_map(|leg| &leg.slots);
        let half_open = slots.filter(|slot| talks(slot) && !slot.established).count();
        let slot = &mut self.legs[leg].slots[at];
        let route = hop::route_id(self.keys.route.public());
        let (identity, mac1_key) = (&self.keys.identity, &self.keys.mac1_key);
        let door = Door { identity, mac1_key, route: &route, weakest: Suite::Classic };
        let knock = match hear(door, core::iter::empty::<(Suite, &Ticket)>(), &slot.channel_id, hello) {
            Ok(Knock::Connect(knock)) => knock,
            Ok(Knock::Pair(_)) | Err(handshake::Error::Mac1) => {
                return self.drop_slot(plans, leg, at, Code::Refused);
            }
            Err(_) => return self.fail(leg, at, handshake::Failure::Rejected),
        };
        if let Err(failure) = self.turnstile.pass(now, half_open) {
            return self.fail(leg, at, failure);
        }
        self.heard += 1;
        slot.heard = self.heard;
        slot.device = device_of(knock.peer());
        let mut out = [0; REPLY_MAX];
        let (len, keys, _) = knock.reply(&psk(slot.device), self.habits.own, &mut net.dice, &mut out).unwrap();
        slot.peer = keys.peer;
        let channel = Channel::admit(&keys, token_hash(&TOKEN), &self.habits.config, now);
        slot.state = State::Reply(out[..len].to_vec(), Box::new(channel));
        let number = slot.heard;
        net.trace.note(&[8, number], format_args!("host {} hears device {} ({number})", self.number, slot.device));
    }

    fn fail(&mut self, leg: usize, at: usize, failure: handshake::Failure) {
        let mut out = [0; 8];
        let len = emit_failure(failure, 1000, &mut out).unwrap();
        self.legs[leg].slots[at].state = State::Leaving(out[..len].to_vec());
    }

    fn hear_record(&mut self, net: &mut Net, plans: &mut Plans, leg: usize, at: usize, record: &mut [u8]) {
        let now = self.clock.read(net);
        // Out of the table, so that another slot may be asked for the session.
        let mut slot = self.legs[leg].slots.remove(at);
        let State::Talking(channel) = &mut slot.state else { return };
        let mut fresh = None;
        let Ok(mut events) = channel.handle_input(now, record) else {
            self.legs[leg].slots.insert(at, slot);
            return self.drop_slot(plans, leg, at, Code::Normal);
        };
        while let Some(event) = events.next() {
            match event.unwrap_or_else(|error| panic!("the device is blamed: {error}")) {
                Event::Established => fresh = Some(Streams::new(slot.device, false, self.habits, slot.peer)),
                Event::ResumeRequested(request) => {
                    let known = |session: &Session| request.is_proven_by(&session.known_by);
                    let Some(session) = self.sessions.iter().position(known) else { continue };
                    let session = &mut self.sessions[session];
                    assert_eq!(session.device, slot.device, "another device's session");
                    if slot.heard < session.heard {
                        net.trace.note(&[9], format_args!("host {} refuses an older attachment", self.number));
                        events.refuse();
                        continue;
                    }
                    session.heard = slot.heard;
                    let rest = match core::mem::replace(&mut session.place, Place::Slot(leg, slot.idx)) {
                        Place::Rest(rest) => *rest,
                        Place::Slot(leg, idx) => take_over(&mut self.legs[leg], idx),
                    };
                    slot.session = Some(*session.known_by.session_id());
                    events.adopt(rest).expect("a proven owner");
                }
                Event::Reattached => slot.established = true,
                Event::Stream(event) => {
                    let streams = fresh.as_mut().or_else(|| streams_of(&mut self.sessions, slot.session));
                    streams.expect("a session of a slot").hear(event, plans);
                }
                Event::Closed(close) => {
                    net.trace.note(&[10], format_args!("host {} closed: {close:?}", self.number));
                }
                event => panic!("unexpected {event:?}"),
            }
        }
        drop(events);
        let is_late = self.sessions.iter().any(|other| other.device == slot.device && other.heard > slot.heard);
        if let Some(mut streams) = fresh.take_if(|_| is_late) {
            // The device has long begun another one.
            streams.lose(plans);
            channel.close(Scope::Session, code::SUPERSEDED, "");
        }
        if let Some(streams) = fresh {
            let known_by = channel.resumption().expect("an established session");
            slot.established = true;
            slot.session = Some(*known_by.session_id());
            let (device, heard, place) = (slot.device, slot.heard, Place::Slot(leg, slot.idx));
            self.begin(plans, Session { device, known_by, heard, streams, place });
        }
        if let Some(streams) = streams_of(&mut self.sessions, slot.session) {
            streams.after(channel.streams(), plans);
        }
        self.legs[leg].slots.insert(at, slot);
    }

    /// A device began a session: the one that it had is over.
    fn begin(&mut self, plans: &mut Plans, session: Session) {
        if let Some(old) = self.sessions.iter().position(|old| old.device == session.device) {
            let mut old = self.sessions.remove(old);
            plans.check_lost(old.known_by.session_id());
            old.streams.lose(plans);
            if let Place::Slot(leg, idx) = old.place
                && let Some(slot) = self.legs[leg].slots.iter_mut().find(|slot| slot.idx == idx)
            {
                slot.session = None;
                if let State::Talking(channel) = &mut slot.state {
                    channel.close(Scope::Session, code::SUPERSEDED, "");
                }
            }
        }
        self.sessions.push(session);
    }

    pub(crate) fn check_slots(&mut self, net: &Net, plans: &mut Plans, leg: usize) {
        let now = self.clock.read(net);
        for at in (0..self.legs[leg].slots.len()).rev() {
            let slot = &mut self.legs[leg].slots[at];
            if slot.next().is_none_or(|due| now < due) {
                continue;
            }
            match &mut slot.state {
                // What it has to say about that is flushed.
                State::Reply(_, channel) | State::Talking(channel) => drop(channel.handle_timeout(now)),
                State::AwaitHello | State::Leaving(_) => self.drop_slot(plans, leg, at, Code::Timeout),
            }
        }
    }

    fn drop_slot(&mut self, plans: &mut Plans, leg: usize, at: usize, code: Code) {
        let slot = self.legs[leg].slots.remove(at);
        if let Some((_, link)) = &mut self.legs[leg].link {
            link.close(slot.idx, code);
        }
        self.forget(plans, slot);
    }

    /// Lets the next slot of a link say something, and tells whether it did.
    pub(crate) fn flush_slot(&mut self, net: &mut Net, plans: &mut Plans, leg: usize) -> bool {
        let now = self.clock.read(net);
        let Leg { link: Some((wire, link)), slots, turn, .. } = &mut self.legs[leg] else { return false };
        if slots.is_empty() {
            return false;
        }
        *turn = (*turn + 1) % slots.len();
        let (at, wire) = (*turn, *wire);
        let slot = &mut slots[at];
        let (idx, credit) = (slot.idx, link.credit(slot.idx));
        let mut out = vec![0; MAX_MESSAGE];
        let mut over = None;
        let len = match core::mem::replace(&mut slot.state, State::AwaitHello) {
            State::Reply(_, channel) if channel.is_over() => {
                over = Some(Code::Timeout);
                None
            }
            State::Reply(reply, channel) if credit >= reply.len() => {
                slot.state = State::Talking(channel);
                out[DATA_HEADER_LEN..][..reply.len()].copy_from_slice(&reply);
                Some(reply.len())
            }
            State::Leaving(message) if credit >= message.len() => {
                out[DATA_HEADER_LEN..][..message.len()].copy_from_slice(&message);
                over = Some(Code::Refused);
                Some(message.len())
            }
            State::Talking(mut channel) => {
                let room = &mut out[DATA_HEADER_LEN..MAX_MESSAGE.min(DATA_HEADER_LEN + credit)];
                let polled = match streams_of(&mut self.sessions, slot.session) {
                    _ if credit < LEAST_CREDIT => Ok(Output::Wait { until: None }),
                    Some(streams) => channel.poll_output(now, streams, room),
                    None => channel.poll_output(now, &mut Nothing, room),
                };
                if !matches!(polled, Ok(Output::Transmit { .. })) && channel.is_over() {
                    over = Some(Code::Normal);
                }
                slot.state = State::Talking(channel);
                if let Ok(Output::Transmit { len }) = polled { Some(len) } else { None }
            }
            state => {
                slot.state = state;
                None
            }
        };
        if let Some(len) = len {
            out[..DATA_HEADER_LEN].copy_from_slice(&link.data_header(idx, len).unwrap());
            net.send(wire, Side::End, out[..DATA_HEADER_LEN + len].to_vec());
        }
        if let Some(code) = over {
            self.drop_slot(plans, leg, at, code);
        }
        len.is_some() || over.is_some()
    }
}

fn streams_of(sessions: &mut [Session], id: Option<[u8; 16]>) -> Option<&mut Streams> {
    let id = id?;
    sessions.iter_mut().find(|session| *session.known_by.session_id() == id).map(|session| &mut session.streams)
}

/// Takes a session out of the slot that carried it: the device is told that it has moved.
fn take_over(leg: &mut Leg, idx: u32) -> Rest {
    let slot = leg.slots.iter_mut().find(|slot| slot.idx == idx).expect("the slot of a session");
    slot.session = None;
    let State::Talking(channel) = &mut slot.state else { panic!("a session without a channel") };
    channel.close(Scope::Channel, code::SUPERSEDED, "");
    channel.detach().expect("a session that can go on")
}
