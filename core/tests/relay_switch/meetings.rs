//! Hosts, devices and a switch between them: data, credit and ends.

use core::time::Duration;

use homing_core::hop::{self, Code, DEVICE_IDX, EARLY_CREDIT, Frame, Kind};
use homing_core::relay::{Config, Handled};

use crate::world::World;

#[test]
fn a_dial_opens_a_channel_that_carries_data_both_ways() {
    let mut world = World::new(Config::default());
    let host = world.host(1);
    world.pump();
    assert!(world.hosts[host].link.is_registered());
    let device = world.device(world.dial_to(1));
    world.pump();

    let channel = world.hosts[host].only_channel();
    assert_eq!(channel.kind, Kind::Dial { cap_id: [1; 8] });
    assert_eq!(world.devices[device].opened, Some(channel.id), "both know the channel by one name");
    assert!(world.device_sends(device, b"knock knock"));
    assert!(world.host_sends(host, channel.idx, b"who is there"));
    world.pump();
    assert_eq!(world.hosts[host].heard[&channel.idx], b"knock knock");
    assert_eq!(world.devices[device].heard, b"who is there");
    assert!(world.hosts[host].link.round_trip().is_some() && world.devices[device].link.round_trip().is_some());
    let counters = world.switch.counters();
    assert_eq!((counters.links, counters.hosts, counters.channels, counters.parked), (2, 1, 1, 0));
    assert_eq!((counters.bytes, counters.refused, counters.reserved), (23, 0, 2 * 65_536));
}

#[test]
fn early_data_reaches_a_host_before_it_accepts() {
    let mut world = World::new(Config::default());
    let host = world.host(1);
    world.hosts[host].accepts = false;
    world.pump();
    let device = world.device(world.dial_to(1));
    world.pump();
    assert!(!world.device_sends(device, &[0; EARLY_CREDIT as usize + 1]));
    assert!(world.device_sends(device, &[1; EARLY_CREDIT as usize]));
    world.pump();
    let idx = world.hosts[host].only_channel().idx;
    assert_eq!(world.hosts[host].heard[&idx].len(), EARLY_CREDIT as usize);
    assert_eq!(world.devices[device].link.credit(), 0, "the rest waits for ACCEPT");
    world.hosts[host].link.accept(idx);
    world.pump();
    assert_eq!(world.devices[device].link.credit(), 64 * 1024, "a window, for nothing is left unread");
}

#[test]
fn a_device_that_does_not_read_stops_its_host() {
    let mut world = World::new(Config::default());
    let host = world.host(1);
    world.pump();
    let (slow, other) = (world.device(world.dial_to(1)), world.device(world.dial_to(1)));
    world.pump();
    let (to_slow, to_other) = (world.channel_of(host, slow), world.channel_of(host, other));
    world.devices[slow].reads = false;
    let sent = world.host_floods(host, to_slow);
    assert_eq!(sent, 64 * 1024, "one window, and then nothing");
    assert!(world.host_sends(host, to_other, b"still here"), "others go on");
    world.pump();
    assert_eq!(world.devices[other].heard, b"still here");

    world.devices[slow].reads = true;
    let unread = core::mem::take(&mut world.devices[slow].unread);
    world.devices[slow].link.processed(world.now, unread);
    world.pump();
    assert!(world.hosts[host].link.credit(to_slow) >= 64 * 1024, "reading makes room");
}

#[test]
fn a_socket_that_does_not_drain_bounds_what_the_relay_holds() {
    let mut world = World::new(Config::default());
    let host = world.host(1);
    world.pump();
    // The device grants far more than the relay wants to hold.
    let device = world.device_with(world.dial_to(1), hop::Windows { initial: 1 << 20, max: 1 << 20 });
    world.pump();
    let idx = world.hosts[host].only_channel().idx;
    let id = world.devices[device].id;
    world.net.link(id).stalled = true;
    let sent = world.host_floods(host, idx);
    assert_eq!(sent, 64 * 1024);
    assert_eq!(world.net.link(id).held(), 64 * 1024);
    world.net.link(id).stalled = false;
    world.pump();
    assert_eq!(world.devices[device].heard.len(), 64 * 1024);
    assert!(world.hosts[host].link.credit(idx) >= 64 * 1024);
}

#[test]
fn windows_grow_while_they_are_the_limit_and_the_budget_lasts() {
    let flood = |budget: u64, windows: hop::Windows| {
        let mut world = World::new(Config { budget, ..Config::default() });
        world.delay = Duration::from_millis(20);
        world.host(1);
        world.pump();
        let device = world.device_with(world.dial_to(1), windows);
        world.pump();
        let idx = world.hosts[0].only_channel().idx;
        for _ in 0..200 {
            world.host_floods(0, idx);
        }
        assert!(world.devices[device].heard.len() > 1 << 20);
        let most = world.hosts[0].link.credit(idx);
        (most, world.switch.counters().reserved)
    };
    let large = hop::Windows { initial: 4 << 20, max: 4 << 20 };
    let (most, reserved) = flood(64 << 20, large);
    assert!(most > 8 * 65_536, "{most}: grown by doubling");
    assert!(reserved <= (2 << 20) + 65_536, "{reserved}");
    let (_, reserved) = flood(1 << 20, large);
    assert!(reserved <= (1 << 20) * 3 / 4, "{reserved}: a quarter is kept for others");
    let (most, _) = flood(64 << 20, hop::Windows { initial: 65_536, max: 65_536 });
    assert!(most <= 65_536, "{most}: never beyond what the receiver grants");
}

#[test]
fn a_sender_beyond_its_credit_loses_its_channel() {
    let mut world = World::new(Config::default());
    let host = world.host(1);
    world.pump();
    let device = world.device(world.dial_to(1));
    let bystander = world.device(world.dial_to(1));
    world.pump();
    world.raw(world.devices[device].id, DEVICE_IDX, &Frame::Data(&[0; 16_000])).unwrap();
    for _ in 0..4 {
        world.raw(world.devices[device].id, DEVICE_IDX, &Frame::Data(&[0; 16_000])).unwrap();
    }
    world.pump();
    assert_eq!(world.devices[device].closed, Some(Code::FlowControl));
    assert_eq!(world.hosts[host].closed.iter().filter(|closed| closed.1 == Code::FlowControl).count(), 1);
    assert_eq!(world.devices[bystander].closed, None);
    assert_eq!(world.switch.counters().channels, 1);
}

#[test]
fn a_far_end_that_goes_is_told() {
    let mut world = World::new(Config::default());
    let host = world.host(1);
    world.pump();
    let (one, two) = (world.device(world.dial_to(1)), world.device(world.dial_to(1)));
    world.pump();
    let (first, second) = (world.channel_of(host, one), world.channel_of(host, two));

    world.switch.detach(world.devices[one].id, &mut world.net);
    world.pump();
    assert_eq!(world.hosts[host].closed, [(first, Code::Gone)]);
    assert!(world.host_sends(host, second, b"unharmed"));

    // A close with a code of its own.
    world.hosts[host].link.close(second, Code::Refused);
    world.pump();
    assert_eq!(world.devices[two].closed, Some(Code::Refused));
    assert_eq!(world.devices[two].heard, b"unharmed", "DATA before the close arrives before it");

    let three = world.device(world.dial_to(1));
    world.pump();
    world.switch.detach(world.hosts[host].id, &mut world.net);
    world.pump();
    assert_eq!(world.devices[three].closed, Some(Code::Gone));
    let counters = world.switch.counters();
    assert_eq!((counters.links, counters.hosts, counters.channels, counters.reserved), (0, 0, 0, 0));
}

#[test]
fn a_device_closes_its_channel() {
    let mut world = World::new(Config::default());
    let host = world.host(1);
    world.pump();
    let device = world.device(world.dial_to(1));
    world.pump();
    let idx = world.hosts[host].only_channel().idx;
    assert!(world.device_sends(device, b"bye"));
    world.devices[device].link.close(Code::Normal);
    world.pump();
    assert_eq!(world.hosts[host].heard[&idx], b"bye");
    assert_eq!(world.hosts[host].closed, [(idx, Code::Normal)]);
    assert_eq!(world.net.link(world.devices[device].id).hung_up, Some(Code::Normal));
    assert_eq!(world.switch.counters().links, 1);
}

#[test]
fn a_late_message_of_a_closed_channel_does_the_next_one_no_harm() {
    // One slot for channels: the next has the place of the last, and another number.
    let mut world = World::sized(Config::default(), 8, 1, 8);
    let host = world.host(1);
    world.pump();
    let before = world.device(world.dial_to(1));
    world.pump();
    let old = world.channel_of(host, before);
    world.devices[before].link.close(Code::Normal);
    world.pump();
    let device = world.device(world.dial_to(1));
    world.pump();
    let new = world.channel_of(host, device);
    assert_ne!(old, new);
    let id = world.hosts[host].id;
    let reserved = world.switch.counters();
    for late in [Frame::Data(b"late"), Frame::Credit { bytes: 1 << 20 }, Frame::Closed { code: Code::Gone }] {
        assert_eq!(world.raw(id, old, &late), Ok(Handled::Done));
    }
    assert!(world.device_sends(device, &[0; 4096]));
    world.net.link(id).stalled = true;
    for _ in 0..100 {
        world.switch.sent(world.now, id, old, 65_536, &mut world.net);
    }
    let sent: usize = core::iter::repeat_with(|| usize::from(world.device_sends(device, &[0; 4096]))).take(99).sum();
    assert_eq!((sent + 1) * 4096, 65_536, "one window and no more");
    assert_eq!(world.switch.counters().reserved, reserved.reserved);
    world.net.link(id).stalled = false;
    world.pump();
    assert_eq!(world.hosts[host].heard[&new].len(), 65_536);
    assert_eq!(world.devices[device].closed, None);
}
