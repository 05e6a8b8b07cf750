//! What goes wrong, and when: drawn before a world begins, aimed when it happens.

use crate::dice::Dice;
use crate::net::{Happening, MILLI, Node, SECOND};
use crate::wire::{Harm, Side};
use crate::world::World;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// A wire breaks; and again, that many times, while its ends try to come back.
    Cut(u64),
    /// Every wire breaks at once.
    CutAll,
    /// Nothing arrives on a wire for a while, in one direction or both.
    Stall(u64),
    /// The relay changes what it carries.
    Harm(Harm),
    CrashRelay(u64),
    CrashHost(u64),
    CrashDevice(u64),
    Drain,
    /// A device dials anew and leaves its old link to be missed.
    Leap,
    /// All devices do so at once, some more than once.
    Storm,
    /// A host takes a link down.
    Leave,
    /// A clock jumps ahead: its machine slept.
    Jump(u64),
}

impl Fault {
    fn random(dice: &mut Dice) -> Self {
        let down = dice.wide(10 * SECOND);
        let time = dice.wide(60 * SECOND);
        match dice.between(0, 99) {
            0..=34 => Self::Cut(dice.wide(4)),
            35..=37 => Self::CutAll,
            38..=49 => Self::Stall(time),
            50..=61 => Self::Harm(dice.pick(&[Harm::Flip, Harm::Lose, Harm::Repeat])),
            62..=67 => Self::CrashRelay(down),
            68..=71 => Self::CrashHost(down),
            72..=75 => Self::CrashDevice(down),
            76..=78 => Self::Drain,
            79..=87 => Self::Leap,
            88..=89 => Self::Storm,
            90..=92 => Self::Leave,
            _ => Self::Jump(dice.wide(3600 * SECOND)),
        }
    }
}

/// The faults of a world with their times.
pub(crate) fn draw(dice: &mut Dice, span: u64) -> Vec<(u64, Fault)> {
    let count = dice.wide(20);
    (0..count).map(|_| (dice.sometime(span), Fault::random(dice))).collect()
}

impl World {
    pub(crate) fn suffer(&mut self, number: usize) {
        let fault = self.faults[number].1;
        self.net.trace.note(&[20, number as u64], format_args!("fault: {fault:?}"));
        match fault {
            Fault::Cut(again) => {
                if let Some(wire) = self.any_wire() {
                    self.cut(wire);
                }
                if again > 0 {
                    self.faults.push((self.net.now, Fault::Cut(again - 1)));
                    let delay = self.net.dice.wide(SECOND);
                    self.net.after(delay, Happening::Fault(self.faults.len() - 1));
                    self.faults_left += 1;
                }
            }
            Fault::CutAll => (0..self.net.wires.len()).for_each(|wire| self.cut(wire)),
            Fault::Stall(time) => {
                if let Some(wire) = self.any_wire() {
                    let sides = self.net.dice.pick(&[&[Side::End, Side::Relay][..], &[Side::End], &[Side::Relay]]);
                    sides.iter().for_each(|side| self.net.stall(wire, *side, time));
                }
            }
            Fault::Harm(harm) => {
                for _ in 0..8 {
                    let side = self.net.dice.pick(&[Side::End, Side::Relay]);
                    if self.any_wire().is_some_and(|wire| self.net.harm(wire, side, harm)) {
                        break;
                    }
                }
            }
            Fault::CrashRelay(down) => {
                let relay = self.net.dice.index(self.relays.len());
                self.relays[relay].crash(&mut self.net);
                self.net.after(down, Happening::Restart(relay));
            }
            Fault::CrashHost(down) => {
                let host = self.net.dice.index(self.hosts.len());
                // Devices may know sessions that the host has not heard of again.
                self.hosts[host].crash(&mut self.net, &mut self.plans, down);
            }
            Fault::CrashDevice(down) => {
                let device = self.net.dice.index(self.devices.len());
                self.devices[device].crash(&mut self.net, &mut self.plans, down);
            }
            Fault::Drain => {
                let relay = self.net.dice.index(self.relays.len());
                self.relays[relay].drain(&mut self.net);
            }
            Fault::Leap => {
                let device = self.net.dice.index(self.devices.len());
                self.devices[device].leap(&mut self.net, &mut self.plans);
            }
            Fault::Storm => {
                for device in &mut self.devices {
                    for _ in 0..self.net.dice.between(1, 3) {
                        device.leap(&mut self.net, &mut self.plans);
                    }
                }
            }
            Fault::Leave => {
                let host = self.net.dice.index(self.hosts.len());
                let leg = self.net.dice.index(self.relays.len());
                self.hosts[host].leave(&mut self.net, &mut self.plans, leg);
            }
            Fault::Jump(by) => self.jump(by),
        }
    }

    fn cut(&mut self, wire: usize) {
        if self.net.is_live(wire) {
            let notices = [0, 1].map(|_| {
                let notice = self.net.dice.wide(5 * SECOND) + MILLI;
                self.net.dice.percent(90).then_some(notice)
            });
            self.net.cut(wire, notices);
        }
    }

    /// A wire that somebody uses.
    fn any_wire(&mut self) -> Option<usize> {
        let devices = self.devices.iter().filter_map(|device| device.wire());
        let wires: Vec<usize> = self.hosts.iter().flat_map(|host| host.wires()).chain(devices).collect();
        if wires.is_empty() { None } else { Some(self.net.dice.pick(&wires)) }
    }

    fn jump(&mut self, by: u64) {
        let nodes = self.relays.len() + self.hosts.len() + self.devices.len();
        let node = self.net.dice.index(nodes);
        if let Some(relay) = self.relays.get_mut(node) {
            relay.clock.jump(by);
            self.net.after(0, Happening::Wake(Node::Relay(node)));
            return;
        }
        let node = node - self.relays.len();
        if let Some(host) = self.hosts.get_mut(node) {
            host.clock.jump(by);
            self.net.after(0, Happening::Wake(Node::Host(node)));
            return;
        }
        let node = node - self.hosts.len();
        self.devices[node].clock.jump(by);
        self.net.after(0, Happening::Wake(Node::Device(node)));
    }
}
