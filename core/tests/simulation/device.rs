//! A device: dials, and carries its session from one attachment to the next. What it hears is in
//! `call`.

use homing_core::Instant;
use homing_core::backoff::Backoff;
use homing_core::channel::Output;
use homing_core::handshake::AwaitReply;
use homing_core::hop::{Code, DATA_HEADER_LEN, DeviceLink, MAX_CONTROL, MAX_MESSAGE, Purpose};

use crate::net::{Clock, Net, Node};
use crate::people::Paired;
use crate::plan::Plans;
use crate::relay::Relay;
use crate::session::{Channel, Habits, Rest, Streams};
use crate::wire::{Item, Side};

/// Bytes of credit that a record is worth sealing for.
pub(crate) const LEAST_CREDIT: usize = 2048;

pub(crate) struct Device {
    pub(crate) number: usize,
    pub(crate) paired: Paired,
    pub(crate) habits: Habits,
    relays: usize,
    pub(crate) relay: usize,
    pub(crate) clock: Clock,
    pub(crate) backoff: Backoff,
    /// When it dials next, where it has no link.
    dials: u64,
    pub(crate) attempt: Option<Attempt>,
    /// The session between two attachments, or one that is asked for.
    pub(crate) rest: Option<Rest>,
    /// The session that this device knows of.
    pub(crate) session: Option<([u8; 16], Streams)>,
    pub(crate) handshakes: u64,
    pub(crate) resumed: u64,
}

pub(crate) struct Attempt {
    wire: usize,
    pub(crate) link: DeviceLink,
    pub(crate) phase: Phase,
    pub(crate) deadline: Option<Instant>,
}

pub(crate) enum Phase {
    Dialling,
    Hello(Vec<u8>, Box<AwaitReply>),
    AwaitReply(Box<AwaitReply>),
    /// With the streams of a session that has not been confirmed.
    Talking(Box<Channel>, Option<Streams>),
}

impl Device {
    pub(crate) fn new(number: usize, relays: usize, net: &mut Net) -> Self {
        Self {
            number,
            paired: Paired::of(number),
            habits: Habits::random(&mut net.dice, net.caps),
            relays,
            relay: net.dice.index(relays),
            clock: Clock::default(),
            backoff: Backoff::new(),
            dials: net.dice.wide(2_000_000),
            attempt: None,
            rest: None,
            session: None,
            handshakes: 0,
            resumed: 0,
        }
    }

    pub(crate) fn wire(&self) -> Option<usize> {
        self.attempt.as_ref().map(|attempt| attempt.wire)
    }

    /// Streams in the table of the session, where it is attached.
    pub(crate) fn lingering(&mut self) -> usize {
        match &mut self.attempt {
            Some(Attempt { phase: Phase::Talking(channel, _), .. }) if channel.is_open() => channel.streams().len(),
            _ => usize::MAX,
        }
    }

    pub(crate) fn left_over(&mut self) -> String {
        match &mut self.attempt {
            Some(Attempt { phase: Phase::Talking(channel, _), .. }) => {
                format!("device {}: {:?}\n", self.number, channel.streams())
            }
            _ => format!("device {}: no channel, dials at {}\n", self.number, self.dials),
        }
    }

    /// The process dies and starts again after a while; it remembers its pairing only.
    pub(crate) fn crash(&mut self, net: &mut Net, plans: &mut Plans, down: u64) {
        if let Some((id, mut streams)) = self.session.take() {
            plans.excuse(id);
            streams.lose(plans);
        }
        self.rest = None;
        if let Some(attempt) = self.attempt.take() {
            let notice = late(net);
            net.vanish(attempt.wire, Side::End, notice);
        }
        self.dials = net.now + down;
        self.turn(net, plans);
    }

    /// Leaves its link as it is and dials anew, perhaps elsewhere: the relay hears of that late.
    pub(crate) fn leap(&mut self, net: &mut Net, plans: &mut Plans) {
        self.relay = net.dice.index(self.relays);
        self.lose_link(net, plans, true);
        self.dials = net.now;
        self.turn(net, plans);
    }

    pub(crate) fn turn(&mut self, net: &mut Net, plans: &mut Plans) {
        let now = self.clock.read(net);
        self.clock.rung(net);
        if self.attempt.is_none() && net.now >= self.dials {
            self.dial(net);
        }
        if self.check_times(now) {
            self.lose_link(net, plans, false);
        }
        // What leaves makes room for more.
        while {
            self.work(net.now, now, plans);
            self.flush(net, plans)
        } {}
        let mut next = self.attempt.as_ref().map_or_else(|| Some(self.at(net, self.dials)), Attempt::next);
        let streams = self.session.as_ref().and_then(|(_, streams)| streams.next(net.now, plans));
        next = [next, streams.map(|at| self.at(net, at))].into_iter().flatten().min();
        self.clock.arm(net, Node::Device(self.number), next);
    }

    /// What the own clock shows at a time.
    fn at(&self, net: &Net, time: u64) -> Instant {
        Instant::from_micros(self.clock.read(net).as_micros() + time.saturating_sub(net.now))
    }

    fn dial(&mut self, net: &mut Net) {
        let now = self.clock.read(net);
        let wire = net.connect(self.relay, Node::Device(self.number));
        net.send(wire, Side::End, Vec::new());
        let purpose = Purpose::Dial { route_id: self.paired.route_id(), capability: self.paired.capability() };
        let link = DeviceLink::new(Relay::name(self.relay), purpose, now).unwrap().with_windows(net.windows);
        net.trace.note(&[1, wire as u64], format_args!("device {} dials relay {} on {wire}", self.number, self.relay));
        self.attempt = Some(Attempt { wire, link, phase: Phase::Dialling, deadline: None });
    }

    /// Whether the link is to be given up.
    fn check_times(&mut self, now: Instant) -> bool {
        let Some(attempt) = &mut self.attempt else { return false };
        if attempt.link.poll_timeout().is_some_and(|at| now >= at) && attempt.link.handle_timeout(now).is_err() {
            return true;
        }
        if attempt.deadline.is_some_and(|at| now >= at) {
            return true;
        }
        match &mut attempt.phase {
            Phase::Talking(channel, _) if channel.poll_timeout().is_some_and(|at| now >= at) => {
                channel.handle_timeout(now).is_err()
            }
            _ => false,
        }
    }

    /// The application's side.
    fn work(&mut self, now: u64, clock: Instant, plans: &mut Plans) {
        let Some((_, streams)) = &mut self.session else { return };
        let mux = match (&mut self.attempt, &mut self.rest) {
            (_, Some(rest)) => rest.streams(),
            (Some(Attempt { phase: Phase::Talking(channel, _), .. }), None) => channel.streams(),
            _ => return,
        };
        streams.open_due(now, clock, mux, plans);
        streams.work(now, clock, mux, plans);
    }

    pub(crate) fn arrival(&mut self, net: &mut Net, plans: &mut Plans, wire: usize) {
        while self.wire() == Some(wire) {
            let Some(item) = net.receive(wire, Side::End) else { break };
            let Item::Message(message) = item else {
                self.lose_link(net, plans, false);
                break;
            };
            if !self.hear(net, plans, &message) {
                self.lose_link(net, plans, false);
            }
        }
        self.turn(net, plans);
    }

    /// The link is over; the session goes on with the next one.
    fn lose_link(&mut self, net: &mut Net, plans: &mut Plans, silently: bool) {
        let now = self.clock.read(net);
        let Some(mut attempt) = self.attempt.take() else { return };
        if let Phase::Talking(mut channel, fresh) = attempt.phase {
            // What it has to say about its end.
            let mut out = vec![0; MAX_MESSAGE];
            if channel.is_over()
                && !silently
                && attempt.link.credit() >= LEAST_CREDIT
                && let Ok(Output::Transmit { len }) =
                    channel.poll_output(now, &mut Nothing, &mut out[DATA_HEADER_LEN..][..LEAST_CREDIT])
                && let Some(header) = attempt.link.data_header(len)
            {
                out[..DATA_HEADER_LEN].copy_from_slice(&header);
                net.send(attempt.wire, Side::End, out[..DATA_HEADER_LEN + len].to_vec());
            }
            self.rest = channel.detach();
            if fresh.is_some() && self.session.is_none() {
                self.rest = None; // nobody has begun to use it
            } else if self.rest.is_none()
                && let Some((id, mut streams)) = self.session.take()
            {
                plans.check_lost(&id);
                streams.lose(plans);
            }
        }
        if silently {
            let notice = late(net);
            net.vanish(attempt.wire, Side::End, notice);
        } else {
            attempt.link.close(Code::Normal);
            let mut out = [0; MAX_CONTROL];
            while let Some(len) = attempt.link.poll_output(now, &mut out) {
                net.send(attempt.wire, Side::End, out[..len].to_vec());
            }
            net.hang_up(attempt.wire, Side::End);
        }
        let wait = self.backoff.failed(now, &mut net.dice);
        self.dials = net.now + wait.as_micros() as u64;
        if net.dice.percent(30) {
            self.relay = net.dice.index(self.relays);
        }
        net.trace.note(
            &[4, self.dials],
            format_args!("device {} lost {}; dials at {}", self.number, attempt.wire, self.dials),
        );
    }

    /// Says what there is to say, as far as the wire takes it, and tells whether there was anything.
    fn flush(&mut self, net: &mut Net, plans: &mut Plans) -> bool {
        let now = self.clock.read(net);
        let mut any = false;
        let mut out = vec![0; MAX_MESSAGE];
        while let Some(attempt) = &mut self.attempt
            && net.has_room(attempt.wire, Side::End)
        {
            if let Some(len) = attempt.link.poll_output(now, &mut out) {
                net.send(attempt.wire, Side::End, out[..len].to_vec());
                any = true;
                continue;
            }
            let credit = attempt.link.credit();
            let wire = attempt.wire;
            let len = match core::mem::replace(&mut attempt.phase, Phase::Dialling) {
                Phase::Hello(hello, state) if credit >= hello.len() => {
                    attempt.phase = Phase::AwaitReply(state);
                    out[DATA_HEADER_LEN..][..hello.len()].copy_from_slice(&hello);
                    Some(hello.len())
                }
                Phase::Talking(mut channel, mut fresh) if credit >= LEAST_CREDIT => {
                    let room = &mut out[DATA_HEADER_LEN..MAX_MESSAGE.min(DATA_HEADER_LEN + credit)];
                    let streams = self.session.as_mut().map(|(_, streams)| streams).or(fresh.as_mut());
                    let polled = channel.poll_output(now, streams.unwrap(), room);
                    attempt.phase = Phase::Talking(channel, fresh);
                    match polled {
                        Ok(Output::Transmit { len }) => Some(len),
                        Ok(Output::Wait { .. }) => None,
                        Err(_) => {
                            self.lose_link(net, plans, false);
                            return any;
                        }
                    }
                }
                phase => {
                    attempt.phase = phase;
                    None
                }
            };
            let Some(len) = len else { return any };
            any = true;
            let header = attempt.link.data_header(len).unwrap();
            out[..DATA_HEADER_LEN].copy_from_slice(&header);
            net.send(wire, Side::End, out[..DATA_HEADER_LEN + len].to_vec());
        }
        any
    }
}

impl Attempt {
    fn next(&self) -> Option<Instant> {
        let channel = match &self.phase {
            Phase::Talking(channel, _) => channel.poll_timeout(),
            _ => None,
        };
        [self.link.poll_timeout(), self.deadline, channel].into_iter().flatten().min()
    }
}

/// When, or whether, the other side of a wire hears of its end.
fn late(net: &mut Net) -> Option<u64> {
    let notice = net.dice.wide(30_000_000);
    net.dice.percent(85).then_some(notice)
}

/// Streams say nothing in a record that ends the channel.
pub(crate) struct Nothing;

impl homing_core::mux::Source for Nothing {
    fn read(&mut self, _: homing_core::wire::StreamId, _: u64, _: &mut [u8]) -> homing_core::mux::Taken {
        panic!("a closing channel asks for bytes")
    }
}
