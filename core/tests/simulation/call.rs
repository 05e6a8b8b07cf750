//! What a device hears on its link: the relay, the handshake's reply, records.

use homing_core::Instant;
use homing_core::channel::{Event, PHASE_TIME};
use homing_core::handshake::{self, HELLO_MAX, Kind, Suite, parse_failure};
use homing_core::hop;

use crate::device::{Attempt, Device, Phase};
use crate::net::Net;
use crate::people::TOKEN;
use crate::plan::Plans;
use crate::session::{Channel, Streams};

impl Device {
    /// Takes a message of the relay; false where the link is over.
    pub(crate) fn hear(&mut self, net: &mut Net, plans: &mut Plans, message: &[u8]) -> bool {
        let now = self.clock.read(net);
        let Some(attempt) = &mut self.attempt else { return true };
        match attempt.link.handle(now, message).expect("the relay keeps to the protocol") {
            Some(hop::device::Event::Opened { channel_id }) => {
                let kind = Kind::Connect { route: &self.paired.route_id(), psk: &self.paired.psk() };
                let (host, own) = (self.paired.host.public(), self.habits.own);
                let mut out = [0; HELLO_MAX];
                let (device, dice) = (&self.paired.device, &mut net.dice);
                let (len, state) =
                    handshake::start(Suite::Classic, kind, &channel_id, device, host, own, dice, &mut out).unwrap();
                attempt.phase = Phase::Hello(out[..len].to_vec(), Box::new(state));
                attempt.deadline = Some(now + PHASE_TIME);
                self.handshakes += 1;
                true
            }
            Some(hop::device::Event::Data { body }) => {
                let len = body.len();
                let goes_on = self.hear_body(net, plans, now, body);
                if let Some(attempt) = &mut self.attempt {
                    attempt.link.processed(now, len);
                }
                goes_on
            }
            Some(hop::device::Event::Closed { code }) => {
                net.trace.note(&[2, code as u64], format_args!("device {} hears {code:?}", self.number));
                false
            }
            Some(hop::device::Event::Draining) => {
                self.leap(net, plans);
                true
            }
            Some(hop::device::Event::CreditArrived) | None => true,
        }
    }

    fn hear_body(&mut self, net: &mut Net, plans: &mut Plans, now: Instant, body: &[u8]) -> bool {
        let Some(attempt) = &mut self.attempt else { return true };
        match core::mem::replace(&mut attempt.phase, Phase::Dialling) {
            Phase::AwaitReply(state) => {
                if parse_failure(body).is_ok_and(|failure| failure.is_some()) {
                    return false;
                }
                let Ok((keys, _)) = state.read(&mut body.to_vec()) else { return false };
                attempt.deadline = None;
                let config = &self.habits.config;
                let channel = match self.rest.take() {
                    Some(rest) => Channel::resume(&keys, &TOKEN, rest, config, now),
                    None => Channel::connect(&keys, &TOKEN, config, now),
                };
                let fresh = Streams::new(self.number, true, self.habits, keys.peer);
                let fresh = Some(fresh); // until the host says which session goes on
                attempt.phase = Phase::Talking(Box::new(channel), fresh);
                true
            }
            Phase::Talking(channel, fresh) => {
                attempt.phase = Phase::Talking(channel, fresh);
                self.hear_record(net, plans, now, &mut body.to_vec())
            }
            // A message that the relay repeated or brought too early.
            Phase::Dialling | Phase::Hello(..) => false,
        }
    }

    fn hear_record(&mut self, net: &mut Net, plans: &mut Plans, now: Instant, record: &mut [u8]) -> bool {
        let Some(Attempt { phase: Phase::Talking(channel, fresh), .. }) = &mut self.attempt else { return true };
        let (mut goes_on, mut established) = (true, false);
        let Ok(events) = channel.handle_input(now, record) else { return false };
        for event in events {
            match event.unwrap_or_else(|error| panic!("the host is blamed: {error}")) {
                Event::Established => {
                    if let Some((id, mut streams)) = self.session.take() {
                        plans.check_lost(&id);
                        streams.lose(plans);
                    }
                    self.session = fresh.take().map(|streams| ([0; 16], streams));
                    established = true;
                }
                Event::Reattached => {
                    *fresh = None;
                    self.resumed += 1;
                }
                Event::Stream(event) => self.session.as_mut().unwrap().1.hear(event, plans),
                Event::Closed(close) => {
                    net.trace.note(&[3], format_args!("device {} closed: {close:?}", self.number));
                    goes_on = false;
                }
                Event::Capability(_) => {}
                event => panic!("unexpected {event:?}"),
            }
        }
        if let Some((id, streams)) = &mut self.session {
            if established {
                *id = *channel.resumption().expect("an established session").session_id();
                plans.confirm(*id);
            }
            streams.after(channel.streams(), plans);
        }
        if channel.round_trip().is_some() {
            self.backoff.proved(now);
        }
        goes_on && !channel.is_over()
    }
}
