//! What waits in the relay when its channel ends: it stays in the budget until it has left.

use homing_core::hop::{Code, DEVICE_IDX, Frame};
use homing_core::relay::{Config, Handled};

use crate::world::World;

const WINDOW: usize = 65_536;

impl World {
    fn reserved(&self) -> usize {
        self.switch.counters().reserved as usize
    }

    /// A device with a channel, whose host has a window of its bytes still to get.
    fn stuffed_host(&mut self, host: usize) -> usize {
        let id = self.hosts[host].id;
        self.net.link(id).stalled = true;
        let device = self.device(self.dial_to(1));
        self.pump();
        while self.device_sends(device, &[0; 4096]) {}
        self.pump();
        device
    }

    /// A device that does not drain, with a window of its host's bytes still to get.
    fn stuffed_device(&mut self, host: usize) -> (usize, u32) {
        let device = self.device(self.dial_to(1));
        self.pump();
        let idx = self.channel_of(host, device);
        let id = self.devices[device].id;
        self.net.link(id).stalled = true;
        assert_eq!(self.host_floods(host, idx), WINDOW);
        (device, idx)
    }
}

#[test]
fn what_waits_for_a_host_stays_reserved_after_its_device_has_gone() {
    let mut world = World::new(Config::default());
    let host = world.host(1);
    world.pump();
    let device = world.stuffed_host(host);
    let (host_id, device_id) = (world.hosts[host].id, world.devices[device].id);
    let held = world.net.link(host_id).held();
    assert_eq!((held, world.reserved()), (WINDOW, 2 * WINDOW));

    world.switch.detach(device_id, &mut world.net);
    assert_eq!((world.switch.counters().channels, world.reserved()), (0, held));
    world.net.link(host_id).stalled = false;
    world.pump();
    assert_eq!(world.net.link(host_id).held(), 0);
    assert_eq!((world.reserved(), world.hosts[host].closed.len()), (0, 1));
}

#[test]
fn what_waits_for_a_device_stays_reserved_after_it_was_hung_up() {
    for socket_goes in [false, true] {
        let mut world = World::sized(Config::default(), 2, 4, 8);
        let host = world.host(1);
        world.pump();
        let (device, idx) = world.stuffed_device(host);
        let id = world.devices[device].id;
        world.hosts[host].link.close(idx, Code::Normal);
        world.pump();
        assert_eq!(world.net.link(id).hung_up, Some(Code::Normal));
        let counters = world.switch.counters();
        assert_eq!((counters.links, counters.channels, world.reserved()), (1, 0, WINDOW));

        // It keeps its place, and has nothing to say.
        assert_eq!(world.raw(id, DEVICE_IDX, &Frame::Data(b"late")), Ok(Handled::Done));
        assert!(world.switch.attach(world.now, "relay", &mut world.rng, &mut world.net).is_err());
        if socket_goes {
            world.switch.detach(id, &mut world.net);
        } else {
            world.net.link(id).stalled = false;
            world.pump();
            assert_eq!(world.devices[device].heard.len(), WINDOW);
        }
        assert_eq!(world.reserved(), 0);
        let next = world.switch.attach(world.now, "relay", &mut world.rng, &mut world.net).unwrap();
        assert_eq!(next.slot(), id.slot());
        // Late news of the link that was there before are nobody's.
        world.switch.sent(world.now, id, DEVICE_IDX, WINDOW, &mut world.net);
        world.switch.detach(id, &mut world.net);
        assert_eq!(world.switch.counters().links, 2);
    }
}

#[test]
fn what_waits_for_a_host_stays_reserved_after_the_host_has_come_back() {
    let mut world = World::new(Config::default());
    let old = world.host(1);
    world.pump();
    world.stuffed_host(old);
    let id = world.hosts[old].id;
    world.hosts[old].dead = true;
    let new = world.host(1);
    world.pump();
    assert_eq!(world.net.link(id).hung_up, Some(Code::Superseded));
    assert!(world.hosts[new].link.is_registered());
    assert_eq!((world.switch.counters().links, world.switch.counters().hosts, world.reserved()), (1, 1, WINDOW));
    // Its socket is gone before the rest has left.
    world.switch.sent(world.now, id, 1, WINDOW - 1, &mut world.net);
    assert_eq!(world.reserved(), 1);
    world.switch.detach(id, &mut world.net);
    assert_eq!(world.reserved(), 0);
}

#[test]
fn a_host_that_does_not_drain_gets_no_channels_without_end() {
    let budget = 1 << 20;
    let mut world = World::new(Config { budget, channels_per_host: 3, ..Config::default() });
    let host = world.host(1);
    world.pump();
    let id = world.hosts[host].id;
    for round in 1..=3 {
        let device = world.stuffed_host(host);
        world.switch.detach(world.devices[device].id, &mut world.net);
        assert_eq!(world.reserved(), world.net.link(id).held());
        assert_eq!(world.reserved(), round * WINDOW);
    }
    let refused = world.device(world.dial_to(1));
    world.pump();
    assert_eq!(world.devices[refused].closed, Some(Code::Busy));
    world.net.link(id).stalled = false;
    world.pump();
    assert_eq!(world.reserved(), 0);
    let device = world.device(world.dial_to(1));
    world.pump();
    assert!(world.devices[device].opened.is_some());
}
