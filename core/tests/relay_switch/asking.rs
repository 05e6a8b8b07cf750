//! A caller that decides which hosts come in, and how many channels they may have.

use core::time::Duration;

use homing_core::crypto::{Identity, Secret};
use homing_core::hop::{self, Code};
use homing_core::relay::Config;

use crate::world::{World, wide};

fn world() -> World {
    World::new(Config { ask: true, ..Config::default() })
}

#[test]
fn a_host_waits_for_the_answer_and_then_is_reachable() {
    let mut world = world();
    let device = world.device(world.dial_to(1));
    let host = world.host_with_key(1, Some("hk_of_alice"));
    world.pump();
    let [(id, ask)] = world.net.asked[..] else { panic!("asked once") };
    assert_eq!(id, world.hosts[host].id);
    assert_eq!(ask.key_hash, hop::operator_hash(b"hk_of_alice"));
    assert_eq!(ask.route_id, hop::route_id(Identity::from_secret(&Secret::new([1; 32])).public()));
    assert!(!world.hosts[host].link.is_registered());
    assert_eq!((world.switch.counters().hosts, world.devices[device].opened), (0, None));

    world.switch.admit(world.now, id, &mut world.rng, &mut world.net);
    world.pump();
    assert!(world.hosts[host].link.is_registered());
    assert!(world.devices[device].opened.is_some(), "the parked dial opens with the answer");
    // A second answer changes nothing.
    world.switch.admit(world.now, id, &mut world.rng, &mut world.net);
    world.pump();
    assert_eq!((world.switch.counters().hosts, world.switch.counters().channels), (1, 1));
}

#[test]
fn a_host_that_is_turned_away_hears_why_and_replaces_nobody() {
    let mut world = world();
    let first = world.host(1);
    world.pump();
    world.switch.admit(world.now, world.hosts[first].id, &mut world.rng, &mut world.net);
    world.pump();
    let second = world.host(1);
    world.pump();
    assert_eq!(world.hosts[first].closed, [], "nobody is replaced before the answer");
    world.switch.deny(world.hosts[second].id, Code::Denied, &mut world.net);
    world.pump();
    assert_eq!(world.hosts[second].closed, [(0, Code::Denied)]);
    assert_eq!(world.net.link(world.hosts[second].id).hung_up, Some(Code::Denied));
    assert!(world.hosts[first].link.is_registered() && world.hosts[first].closed.is_empty());
    let counters = world.switch.counters();
    assert_eq!((counters.hosts, counters.links, counters.refused), (1, 1, 1));
    // Too late for any other answer.
    world.switch.admit(world.now, world.hosts[second].id, &mut world.rng, &mut world.net);
    assert_eq!(world.switch.counters().hosts, 1);
}

#[test]
fn an_answer_that_does_not_come_is_a_refusal() {
    let mut world = world();
    let host = world.host(1);
    world.pump();
    assert_eq!(world.net.asked.len(), 1);
    let id = world.hosts[host].id;
    world.advance(Duration::from_secs(10));
    assert_eq!(world.net.link(id).hung_up, Some(Code::Timeout));
    world.switch.admit(world.now, id, &mut world.rng, &mut world.net);
    let counters = world.switch.counters();
    assert_eq!((counters.hosts, counters.links), (0, 0));
}

#[test]
fn a_host_that_is_full_to_the_brim_finds_its_place_again() {
    // Room for the index of two hosts only.
    let mut world = World::sized(Config { ask: true, ..Config::default() }, 8, 8, 2);
    let hosts = [8, 16, 24].map(|n| world.host_of(&Secret::new(wide(n))));
    world.pump();
    for host in hosts {
        world.switch.admit(world.now, world.hosts[host].id, &mut world.rng, &mut world.net);
    }
    world.pump();
    assert_eq!(world.hosts[hosts[2]].closed, [(0, Code::Busy)]);
    assert_eq!((world.switch.counters().hosts, world.switch.counters().links), (2, 2));
}

#[test]
fn channels_are_counted_from_their_opening_to_their_end() {
    let mut world = world();
    let host = world.host(1);
    world.pump();
    world.switch.admit(world.now, world.hosts[host].id, &mut world.rng, &mut world.net);
    world.net.room = Some(2);
    let devices = [0; 3].map(|_| {
        let device = world.device(world.dial_to(1));
        world.pump();
        device
    });
    assert_eq!(world.devices[devices[2]].closed, Some(Code::Busy));
    assert_eq!(world.net.open.len(), 2);
    world.devices[devices[0]].link.close(Code::Normal);
    world.pump();
    assert_eq!(world.net.open, [(world.hosts[host].id, world.devices[devices[1]].id)]);
    let next = world.device(world.dial_to(1));
    world.pump();
    assert!(world.devices[next].opened.is_some());
    // A live host that is cut off takes its channels along.
    world.switch.deny(world.hosts[host].id, Code::Denied, &mut world.net);
    world.pump();
    assert_eq!(world.net.open, []);
    assert_eq!(world.devices[next].closed, Some(Code::Gone));
    assert_eq!(world.hosts[host].closed.last(), Some(&(0, Code::Denied)));
}

#[test]
fn a_channel_that_finds_no_place_is_not_counted() {
    let mut world = World::sized(Config { ask: true, ..Config::default() }, 8, 0, 8);
    let host = world.host(1);
    world.pump();
    world.switch.admit(world.now, world.hosts[host].id, &mut world.rng, &mut world.net);
    let device = world.device(world.dial_to(1));
    world.pump();
    assert_eq!((world.devices[device].closed, world.net.open.len()), (Some(Code::Busy), 0));
}
