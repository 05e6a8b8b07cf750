//! One world: relays, hosts and devices, what is planned and what goes wrong; and its run, from
//! the first dial until every stream has ended and left.

use homing_core::relay::Config;

use crate::device::Device;
use crate::dice::Dice;
use crate::faults::{self, Fault};
use crate::host::Host;
use crate::net::{Happening, Net, Node, SECOND};
use crate::people::{DEVICES, HOSTS};
use crate::plan::Plans;
use crate::relay::Relay;
use crate::wire::Side;

/// After the last fault and the last stream's beginning, everything has ended within that time.
const BOUND: u64 = 300 * SECOND;
/// Nothing that goes on takes so many events.
const EVENTS: u64 = 2_000_000;

pub(crate) struct World {
    pub(crate) net: Net,
    pub(crate) relays: Vec<Relay>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) devices: Vec<Device>,
    pub(crate) plans: Plans,
    pub(crate) faults: Vec<(u64, Fault)>,
    pub(crate) faults_left: usize,
}

/// What a world saw.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) hash: u64,
    pub(crate) events: u64,
    pub(crate) faults: u64,
    pub(crate) handshakes: u64,
    pub(crate) resumed: u64,
    pub(crate) streams: u64,
    pub(crate) whole: u64,
    pub(crate) lost: u64,
    /// Microseconds from the last fault or beginning to the last end.
    pub(crate) settled: u64,
    pub(crate) held: usize,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut net = Net::new(seed, Dice::new(seed));
        let devices = net.dice.between(1, DEVICES as u64) as usize;
        let relays = if net.dice.percent(40) { 2 } else { 1 };
        let mut plans = Plans::default();
        // Streams begin, and things go wrong, within that time.
        let span = net.dice.pick(&[SECOND, 5 * SECOND, 30 * SECOND]);
        for device in 0..devices {
            let latest = net.dice.wide(span);
            for _ in 0..net.dice.wide(16) + 1 {
                plans.add(&mut net.dice, device, latest);
            }
        }
        let faults = faults::draw(&mut net.dice, span);
        for (number, (at, _)) in faults.iter().enumerate() {
            net.at(*at, Happening::Fault(number));
        }
        // Room for two channels of each device at least, of which a quarter is not for growth.
        let least = devices as u64 * 2 * 2 * 65_536 * 4 / 3;
        let budget = net.dice.pick(&[least, 2 * least, 64 << 20]);
        let dials_per_minute = net.dice.pick(&[10, 255]);
        let max_window = net.dice.pick(&[65_536, 65_536, 2 << 20]);
        let config = Config { budget, dials_per_minute, max_window, ..Config::default() };
        let relays: Vec<_> = (0..relays).map(|number| Relay::new(number, config.clone(), &mut net)).collect();
        let hosts = (0..HOSTS.min(devices)).map(|number| Host::new(number, relays.len(), &mut net)).collect();
        let devices = (0..devices).map(|number| Device::new(number, relays.len(), &mut net)).collect();
        let faults_left = faults.len();
        Self { net, relays, hosts, devices, plans, faults, faults_left }
    }

    pub(crate) fn run(mut self) -> Summary {
        (0..self.hosts.len()).for_each(|n| self.hosts[n].turn(&mut self.net, &mut self.plans));
        (0..self.devices.len()).for_each(|n| self.devices[n].turn(&mut self.net, &mut self.plans));
        let begun = self.plans.list.iter().map(|plan| plan.opens).max().unwrap_or_default();
        let (mut last, mut events, mut ended) = (begun, 0, None);
        loop {
            if self.faults_left == 0 && self.plans.are_over() {
                let ended = *ended.get_or_insert(self.net.now);
                if self.is_empty() {
                    break;
                }
                assert!(self.net.now < ended + BOUND, "streams linger after their end:\n{}", self.left_over());
            }
            let happening = self.net.next(last.max(ended.unwrap_or_default()) + BOUND);
            let Some(happening) = happening else {
                panic!("{} s after the last fault, not over:\n{}", BOUND / SECOND, self.plans.unfinished())
            };
            if let Happening::Fault(_) | Happening::Restart(_) = happening {
                last = last.max(self.net.now);
            }
            self.net.trace.note(&[], format_args!("{happening:?}"));
            self.happens(happening);
            events += 1;
            assert!(events < EVENTS, "the world spins");
        }
        let settled = ended.unwrap_or_default().saturating_sub(last);
        self.sum(events, settled)
    }

    fn happens(&mut self, happening: Happening) {
        let (net, plans) = (&mut self.net, &mut self.plans);
        match happening {
            Happening::Arrival(wire, Side::Relay) => self.relays[net.wires[wire].relay].arrival(net, wire),
            Happening::Arrival(wire, Side::End) => match net.wires[wire].end {
                Node::Host(host) => self.hosts[host].arrival(net, plans, wire),
                Node::Device(device) => self.devices[device].arrival(net, plans, wire),
                Node::Relay(_) => panic!("no wire joins relays"),
            },
            Happening::Wake(Node::Relay(relay)) => self.relays[relay].turn(net),
            Happening::Wake(Node::Host(host)) => self.hosts[host].turn(net, plans),
            Happening::Wake(Node::Device(device)) => self.devices[device].turn(net, plans),
            Happening::Restart(relay) => {
                if !self.relays[relay].is_up() {
                    self.relays[relay].start(net);
                }
            }
            Happening::Fault(number) => {
                self.faults_left -= 1;
                self.suffer(number);
            }
        }
    }

    /// Whether no stream is left in any table.
    fn is_empty(&mut self) -> bool {
        let hosts = &mut self.hosts;
        self.devices
            .iter_mut()
            .enumerate()
            .all(|(number, device)| device.lingering() == 0 && hosts[device.paired.host_number].lingering(number) == 0)
    }

    /// The tables, for the report of a failure.
    fn left_over(&mut self) -> String {
        let devices = self.devices.iter_mut().map(|device| device.left_over()).collect::<String>();
        devices + &self.hosts.iter_mut().map(|host| host.left_over()).collect::<String>()
    }

    fn sum(self, events: u64, settled: u64) -> Summary {
        Summary {
            hash: self.net.trace.hash(),
            events,
            faults: self.faults.len() as u64,
            handshakes: self.devices.iter().map(|device| device.handshakes).sum(),
            resumed: self.devices.iter().map(|device| device.resumed).sum(),
            streams: self.plans.list.len() as u64,
            whole: self.plans.whole(),
            lost: self.plans.lost(),
            settled,
            held: self.relays.iter().map(|relay| relay.most_held).max().unwrap_or_default(),
        }
    }
}
