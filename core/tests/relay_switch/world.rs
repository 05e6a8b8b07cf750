//! A switch, its ends, and queues between them, on a simulated clock.

use core::time::Duration;
use std::collections::{HashMap, VecDeque};

use homing_core::Instant;
use homing_core::crypto::{Identity, Secret};
use homing_core::hop::{
    self, Capability, Code, DATA_HEADER_LEN, DeviceLink, Frame, HostLink, Kind, MAX_CONTROL, Purpose, Violation,
    WaitLink,
};
use homing_core::relay::{Ask, ChannelSlot, Config, Handled, LinkId, LinkSlot, Outbox, RouteSlot, Switch};
use homing_core::wire::Writer;

use crate::rng::TestRng;

pub(crate) const RELAY: &str = "relay.example.net";
/// First byte of a message that closes a channel.
const CLOSED: u8 = 0x8d;
pub(crate) const UNIX: u64 = 1_900_000_000;
pub(crate) const TOMORROW: u32 = UNIX as u32 + 86_400;

pub(crate) fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1000)
}

pub(crate) fn wide(n: u32) -> [u8; 32] {
    let mut bytes = [0x11; 32];
    bytes[..4].copy_from_slice(&n.to_le_bytes());
    bytes
}

pub(crate) fn dial(host: u8, k_cap: u8, cap_id: [u8; 8], expiry: u32) -> Purpose {
    dial_of(&Secret::new([host; 32]), k_cap, cap_id, expiry)
}

pub(crate) fn dial_of(host: &Secret<32>, k_cap: u8, cap_id: [u8; 8], expiry: u32) -> Purpose {
    let route_id = hop::route_id(Identity::from_secret(host).public());
    let capability = Capability::mint(&Secret::new([k_cap; 32]), &route_id, cap_id, expiry, 1);
    Purpose::Dial { route_id, capability }
}

pub(crate) fn pair(rendezvous: u8) -> Purpose {
    Purpose::Pair { rendezvous: Secret::new([rendezvous; 16]) }
}

pub(crate) struct World {
    pub(crate) switch: Switch<Vec<LinkSlot>, Vec<ChannelSlot>, Vec<RouteSlot>>,
    pub(crate) rng: TestRng,
    pub(crate) now: Instant,
    /// Time that each round of messages takes.
    pub(crate) delay: Duration,
    pub(crate) net: Net,
    pub(crate) hosts: Vec<Host>,
    pub(crate) devices: Vec<Device>,
    pub(crate) waiters: Vec<Waiter>,
}

pub(crate) struct Host {
    pub(crate) id: LinkId,
    pub(crate) link: HostLink<64>,
    pub(crate) accepts: bool,
    pub(crate) dead: bool,
    pub(crate) incoming: Vec<Incoming>,
    pub(crate) heard: HashMap<u32, Vec<u8>>,
    pub(crate) closed: Vec<(u32, Code)>,
}

#[derive(Clone, Copy)]
pub(crate) struct Incoming {
    pub(crate) idx: u32,
    pub(crate) id: [u8; 16],
    pub(crate) kind: Kind,
}

/// A host that waits to be woken.
pub(crate) struct Waiter {
    pub(crate) id: LinkId,
    pub(crate) link: WaitLink,
    pub(crate) knocks: Vec<Instant>,
    pub(crate) closed: Option<Code>,
}

pub(crate) struct Device {
    pub(crate) id: LinkId,
    pub(crate) link: DeviceLink,
    pub(crate) reads: bool,
    pub(crate) unread: usize,
    pub(crate) opened: Option<[u8; 16]>,
    pub(crate) heard: Vec<u8>,
    pub(crate) closed: Option<Code>,
}

/// The relay's queues, in order, and the caller's part in who comes in.
#[derive(Default)]
pub(crate) struct Net {
    queues: HashMap<LinkId, Queue>,
    /// Hosts that were asked about.
    pub(crate) asked: Vec<(LinkId, Ask)>,
    /// The channels that are open, by their ends.
    pub(crate) open: Vec<(LinkId, LinkId)>,
    /// How many may be; any number where there is none.
    pub(crate) room: Option<usize>,
}

#[derive(Default)]
pub(crate) struct Queue {
    messages: VecDeque<Vec<u8>>,
    pub(crate) hung_up: Option<Code>,
    /// DATA waits, and CLOSED behind it.
    pub(crate) stalled: bool,
}

impl Host {
    pub(crate) fn only_channel(&self) -> Incoming {
        assert_eq!(self.incoming.len(), 1);
        self.incoming[0]
    }
}

impl Queue {
    pub(crate) fn held(&self) -> usize {
        let data = self.messages.iter().filter(|message| message[0] == hop::DATA);
        data.map(|message| message.len() - DATA_HEADER_LEN).sum()
    }
}

impl Net {
    pub(crate) fn link(&mut self, id: LinkId) -> &mut Queue {
        self.queues.entry(id).or_default()
    }
}

impl Outbox for Net {
    fn control(&mut self, link: LinkId, message: &[u8]) {
        let queue = self.link(link);
        assert_eq!(queue.hung_up, None, "nothing follows a hang-up");
        queue.messages.push_back(message.to_vec());
    }

    fn hang_up(&mut self, link: LinkId, reason: Code) {
        assert_eq!(self.link(link).hung_up.replace(reason), None, "hung up once");
    }

    fn ask(&mut self, link: LinkId, ask: &Ask) {
        self.asked.push((link, *ask));
    }

    fn open(&mut self, host: LinkId, device: LinkId) -> bool {
        let has_room = self.room.is_none_or(|room| self.open.len() < room);
        if has_room {
            self.open.push((host, device));
        }
        has_room
    }

    fn over(&mut self, host: LinkId, device: LinkId) {
        let at = self.open.iter().position(|ends| *ends == (host, device)).expect("what is over was open");
        self.open.swap_remove(at);
    }
}

impl World {
    pub(crate) fn new(config: Config) -> Self {
        Self::sized(config, 64, 64, 128)
    }

    pub(crate) fn sized(config: Config, links: usize, channels: usize, routes: usize) -> Self {
        let mut rng = TestRng(7);
        let links = core::iter::repeat_with(LinkSlot::default).take(links).collect();
        let channels = core::iter::repeat_with(ChannelSlot::default).take(channels).collect();
        let switch = Switch::new(config, links, channels, vec![RouteSlot::default(); routes], at(0), UNIX, &mut rng);
        let net = Net::default();
        Self {
            switch,
            rng,
            now: at(0),
            delay: Duration::ZERO,
            net,
            hosts: Vec::new(),
            devices: Vec::new(),
            waiters: Vec::new(),
        }
    }

    pub(crate) fn dial_to(&self, host: u8) -> Purpose {
        dial(host, 1, [1; 8], TOMORROW)
    }

    pub(crate) fn host(&mut self, secret: u8) -> usize {
        self.host_at(RELAY, secret)
    }

    pub(crate) fn host_at(&mut self, relay: &str, secret: u8) -> usize {
        self.new_host(relay, &Secret::new([secret; 32]), None)
    }

    pub(crate) fn host_with_key(&mut self, secret: u8, key: Option<&str>) -> usize {
        self.new_host(RELAY, &Secret::new([secret; 32]), key)
    }

    pub(crate) fn host_of(&mut self, secret: &Secret<32>) -> usize {
        self.new_host(RELAY, secret, None)
    }

    fn new_host(&mut self, relay: &str, secret: &Secret<32>, key: Option<&str>) -> usize {
        let route = Identity::from_secret(secret);
        let keys = [1, 2].map(|byte| Secret::new([byte; 32]));
        let [current, previous] = keys;
        let link = HostLink::new(relay, route, current, previous, key, self.now).unwrap();
        let id = self.switch.attach(self.now, RELAY, &mut self.rng, &mut self.net).unwrap();
        let (incoming, heard, closed) = (Vec::new(), HashMap::new(), Vec::new());
        self.hosts.push(Host { id, link, accepts: true, dead: false, incoming, heard, closed });
        self.hosts.len() - 1
    }

    /// A host that waits to be woken, with the same keys as one of the same secret that is attached.
    pub(crate) fn waiter(&mut self, secret: u8) -> usize {
        let route = Identity::from_secret(&Secret::new([secret; 32]));
        let [current, previous] = [1, 2].map(|byte| Secret::new([byte; 32]));
        let link = WaitLink::new(RELAY, route, current, previous, None, self.now).unwrap();
        let id = self.switch.attach_waiting(self.now, RELAY, &mut self.rng, &mut self.net).unwrap();
        self.waiters.push(Waiter { id, link, knocks: Vec::new(), closed: None });
        self.waiters.len() - 1
    }

    pub(crate) fn device(&mut self, purpose: Purpose) -> usize {
        self.device_with(purpose, hop::Windows::default())
    }

    pub(crate) fn device_with(&mut self, purpose: Purpose, windows: hop::Windows) -> usize {
        self.device_at(RELAY, purpose, windows)
    }

    pub(crate) fn device_at(&mut self, relay: &str, purpose: Purpose, windows: hop::Windows) -> usize {
        let link = DeviceLink::new(relay, purpose, self.now).unwrap().with_windows(windows);
        let id = self.switch.attach(self.now, RELAY, &mut self.rng, &mut self.net).unwrap();
        self.devices.push(Device { id, link, reads: true, unread: 0, opened: None, heard: Vec::new(), closed: None });
        self.devices.len() - 1
    }

    /// The number at the host of a device's channel.
    pub(crate) fn channel_of(&self, host: usize, device: usize) -> u32 {
        let id = self.devices[device].opened.unwrap();
        self.hosts[host].incoming.iter().find(|incoming| incoming.id == id).unwrap().idx
    }

    pub(crate) fn host_sends(&mut self, host: usize, idx: u32, body: &[u8]) -> bool {
        let Some(header) = self.hosts[host].link.data_header(idx, body.len()) else { return false };
        self.pass(self.hosts[host].id, [&header, body].concat()).unwrap();
        true
    }

    pub(crate) fn device_sends(&mut self, device: usize, body: &[u8]) -> bool {
        let Some(header) = self.devices[device].link.data_header(body.len()) else { return false };
        self.pass(self.devices[device].id, [&header, body].concat()).unwrap();
        true
    }

    /// Sends on a channel until nothing moves any more, or a lot has.
    pub(crate) fn host_floods(&mut self, host: usize, idx: u32) -> usize {
        let mut sent = 0;
        loop {
            let len = self.hosts[host].link.credit(idx).min(16_384);
            if len == 0 || sent > 1 << 20 {
                return sent;
            }
            assert!(self.host_sends(host, idx, &vec![0; len]));
            sent += len;
            if self.hosts[host].link.credit(idx) == 0 {
                self.pump();
            }
        }
    }

    pub(crate) fn raw(&mut self, link: LinkId, idx: u32, frame: &Frame<'_>) -> Result<Handled, Violation> {
        let mut out = vec![0; hop::MAX_MESSAGE];
        let mut w = Writer::new(&mut out);
        frame.emit(idx, &mut w).unwrap();
        let len = w.len();
        out.truncate(len);
        self.pass(link, out)
    }

    fn pass(&mut self, link: LinkId, mut message: Vec<u8>) -> Result<Handled, Violation> {
        let handled = self.switch.handle(self.now, link, &mut message, &mut self.rng, &mut self.net)?;
        if let Handled::Forward { to, .. } = handled {
            self.net.link(to).messages.push_back(message);
        }
        Ok(handled)
    }

    /// Lets time pass and everyone do what falls due, at its time.
    pub(crate) fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.pump();
            let hosts = self.hosts.iter().filter(|host| !host.dead).filter_map(|host| host.link.poll_timeout());
            let devices = self.devices.iter().filter_map(|device| device.link.poll_timeout());
            let next = hosts.chain(devices).chain(self.switch.poll_timeout()).min().filter(|next| *next <= end);
            let Some(next) = next else { break };
            assert!(next > self.now, "nothing spins");
            self.now = next;
            self.switch.handle_timeout(self.now, &mut self.net);
            for host in self.hosts.iter_mut().filter(|host| !host.dead) {
                let _ = host.link.handle_timeout(self.now);
            }
            for device in &mut self.devices {
                let _ = device.link.handle_timeout(self.now);
            }
        }
        self.now = end;
    }

    /// Carries messages until there are none.
    pub(crate) fn pump(&mut self) {
        while self.pump_ends() | self.pump_queues() {
            self.now = self.now + self.delay;
        }
    }

    fn pump_ends(&mut self) -> bool {
        let (mut out, mut said) = ([0; MAX_CONTROL], Vec::new());
        for host in self.hosts.iter_mut().filter(|host| !host.dead) {
            while let Some(len) = host.link.poll_output(self.now, &mut out) {
                said.push((host.id, out[..len].to_vec()));
            }
        }
        for device in &mut self.devices {
            while let Some(len) = device.link.poll_output(self.now, &mut out) {
                said.push((device.id, out[..len].to_vec()));
            }
        }
        for waiter in &mut self.waiters {
            while let Some(len) = waiter.link.poll_output(&mut out) {
                said.push((waiter.id, out[..len].to_vec()));
            }
        }
        let any = !said.is_empty();
        for (link, message) in said {
            self.pass(link, message).unwrap();
        }
        any
    }

    fn pump_queues(&mut self) -> bool {
        let mut any = false;
        for at in 0..self.hosts.len() {
            while let Some(message) = self.leaves(self.hosts[at].id) {
                any = true;
                if !self.hosts[at].dead {
                    self.host_hears(at, &message);
                }
            }
        }
        for at in 0..self.waiters.len() {
            while let Some(message) = self.leaves(self.waiters[at].id) {
                any = true;
                let waiter = &mut self.waiters[at];
                match waiter.link.handle(self.now, &message).unwrap() {
                    Some(hop::wait::Event::Knock) => waiter.knocks.push(self.now),
                    Some(hop::wait::Event::Closed { code }) => waiter.closed = Some(code),
                    Some(hop::wait::Event::Registered | hop::wait::Event::Draining) | None => {}
                }
            }
        }
        for at in 0..self.devices.len() {
            while let Some(message) = self.leaves(self.devices[at].id) {
                any = true;
                self.device_hears(at, &message);
            }
        }
        any
    }

    fn leaves(&mut self, link: LinkId) -> Option<Vec<u8>> {
        let queue = self.net.link(link);
        let waits = |message: &Vec<u8>| queue.stalled && matches!(message[0], hop::DATA | CLOSED);
        let next = queue.messages.iter().position(|message| !waits(message))?;
        let message = queue.messages.remove(next)?;
        if let Ok((idx, Frame::Data(body))) = Frame::parse(&message) {
            self.switch.sent(self.now, link, idx, body.len(), &mut self.net);
        }
        Some(message)
    }

    fn host_hears(&mut self, at: usize, message: &[u8]) {
        use hop::host::Event;
        let host = &mut self.hosts[at];
        match host.link.handle(self.now, message).unwrap() {
            Some(Event::Incoming { idx, channel_id, kind }) => {
                host.incoming.push(Incoming { idx, id: channel_id, kind });
                if host.accepts {
                    assert!(host.link.accept(idx));
                }
            }
            Some(Event::Data { idx, body }) => {
                host.heard.entry(idx).or_default().extend_from_slice(body);
                host.link.processed(self.now, idx, body.len());
            }
            Some(Event::Closed { idx, code }) => host.closed.push((idx, code)),
            Some(Event::Registered { .. } | Event::CreditArrived { .. } | Event::Draining) | None => {}
        }
    }

    fn device_hears(&mut self, at: usize, message: &[u8]) {
        use hop::device::Event;
        let device = &mut self.devices[at];
        match device.link.handle(self.now, message).unwrap() {
            Some(Event::Opened { channel_id }) => device.opened = Some(channel_id),
            Some(Event::Data { body }) => {
                device.heard.extend_from_slice(body);
                if device.reads {
                    device.link.processed(self.now, body.len());
                } else {
                    device.unread += body.len();
                }
            }
            Some(Event::Closed { code }) => device.closed = Some(code),
            Some(Event::CreditArrived | Event::Draining) | None => {}
        }
    }
}
