//! Who comes in, what is turned away, and when.

use core::time::Duration;

use homing_core::crypto::Secret;
use homing_core::hop::{self, Code, Frame, Kind, Purpose, Violation};
use homing_core::relay::{AttachError, Config, Handled};

use crate::world::{RELAY, TOMORROW, UNIX, World, at, dial, dial_of, pair, wide};

#[test]
fn a_dial_waits_for_its_host() {
    let mut world = World::new(Config::default());
    let device = world.device(world.dial_to(1));
    world.pump();
    assert_eq!(world.switch.counters().parked, 1);
    world.advance(Duration::from_secs(24));
    assert_eq!(world.devices[device].closed, None);
    let host = world.host(1);
    world.pump();
    assert!(world.devices[device].opened.is_some(), "opens as soon as the host is there");
    assert_eq!(world.hosts[host].incoming.len(), 1);
    assert_eq!(world.switch.counters().parked, 0);
    world.advance(Duration::from_secs(24));
    assert_eq!(world.devices[device].closed, None);
}

#[test]
fn absent_unknown_and_forged_look_alike() {
    let answer = |registered: bool, forged: bool, relay: &str| {
        let mut world = World::new(Config::default());
        if registered {
            world.host(1);
            world.pump();
        }
        let mut purpose = world.dial_to(1);
        if let (true, Purpose::Dial { capability, .. }) = (forged, &mut purpose) {
            capability.key = Secret::new([0; 32]);
        }
        let device = world.device_at(relay, purpose, hop::Windows::default());
        world.pump();
        while world.devices[device].closed.is_none() {
            world.advance(Duration::from_millis(100));
            assert!(world.now < at(60_000), "no answer");
        }
        assert_eq!(world.devices[device].opened, None);
        (world.devices[device].closed, world.now)
    };
    let absent = answer(false, false, RELAY);
    assert_eq!(absent.0, Some(Code::NotReachable));
    assert_eq!(absent.1, at(25_000));
    assert_eq!(answer(false, true, RELAY), absent);
    assert_eq!(answer(true, true, RELAY), absent, "a wrong proof");
    assert_eq!(answer(true, false, "evil.example.net"), absent, "a proof for another relay");
}

#[test]
fn capabilities_end_are_denied_and_are_counted() {
    let mut world = World::new(Config::default());
    let host = world.host(1);
    world.pump();
    // Of the key before, too.
    let previous = world.device(dial(1, 2, [8; 8], TOMORROW));
    let expired = world.device(dial(1, 1, [7; 8], UNIX as u32));
    let foreign = world.device(dial(1, 9, [6; 8], TOMORROW));
    world.pump();
    assert!(world.devices[previous].opened.is_some());
    assert_eq!(world.devices[expired].closed, Some(Code::Denied));
    assert_eq!((world.devices[foreign].opened, world.devices[foreign].closed), (None, None));

    world.hosts[host].link.deny([8; 8], TOMORROW).unwrap();
    world.pump();
    let denied = world.device(dial(1, 2, [8; 8], TOMORROW));
    world.pump();
    assert_eq!(world.devices[denied].closed, Some(Code::Denied));

    for _ in 0..10 {
        let device = world.device(world.dial_to(1));
        world.pump();
        assert!(world.devices[device].opened.is_some());
        world.devices[device].link.close(Code::Normal);
        world.pump();
    }
    let eleventh = world.device(world.dial_to(1));
    world.pump();
    assert_eq!(world.devices[eleventh].closed, Some(Code::Busy));
    world.advance(Duration::from_secs(60));
    let later = world.device(world.dial_to(1));
    world.pump();
    assert!(world.devices[later].opened.is_some());
}

#[test]
fn a_pairing_slot_lets_a_few_in_for_a_while() {
    let mut world = World::new(Config::default());
    let host = world.host(1);
    let early = world.device(pair(5));
    world.pump();
    assert_eq!(world.devices[early].opened, None);
    world.hosts[host].link.set_pair_slot(hop::rv_hash(&[5; 16]), 300).unwrap();
    world.pump();
    assert!(world.devices[early].opened.is_some(), "a parked pairing opens with its slot");
    assert_eq!(world.hosts[host].only_channel().kind, Kind::Pair);

    // Another host cannot take the slot over.
    let thief = world.host(2);
    world.hosts[thief].link.set_pair_slot(hop::rv_hash(&[5; 16]), 300).unwrap();
    world.pump();
    for _ in 0..15 {
        let device = world.device(pair(5));
        world.pump();
        assert!(world.devices[device].opened.is_some());
    }
    assert_eq!((world.hosts[host].incoming.len(), world.hosts[thief].incoming.len()), (16, 0));
    let used_up = world.device(pair(5));
    world.pump();
    assert_eq!(world.devices[used_up].closed, Some(Code::PairSlot));

    world.hosts[host].link.set_pair_slot(hop::rv_hash(&[6; 16]), 30).unwrap();
    world.hosts[host].link.set_pair_slot(hop::rv_hash(&[7; 16]), 30).unwrap();
    world.pump();
    world.hosts[host].link.set_pair_slot(hop::rv_hash(&[6; 16]), 0).unwrap();
    world.advance(Duration::from_secs(30));
    let (deleted, expired) = (world.device(pair(6)), world.device(pair(7)));
    world.pump();
    assert_eq!((world.devices[deleted].closed, world.devices[expired].closed), (None, None));
    world.advance(Duration::from_secs(25));
    assert_eq!(world.devices[deleted].closed, Some(Code::PairSlot));
    assert_eq!(world.devices[expired].closed, Some(Code::PairSlot));
}

#[test]
fn a_host_that_registers_again_takes_over() {
    let mut world = World::new(Config::default());
    let old = world.host(1);
    world.hosts[old].link.set_pair_slot(hop::rv_hash(&[5; 16]), 300).unwrap();
    world.pump();
    let device = world.device(world.dial_to(1));
    world.pump();
    let new = world.host(1);
    world.pump();
    assert_eq!(world.hosts[old].closed, [(0, Code::Superseded)]);
    assert_eq!(world.net.link(world.hosts[old].id).hung_up, Some(Code::Superseded));
    assert_eq!(world.devices[device].closed, Some(Code::Superseded));
    assert!(world.hosts[new].link.is_registered());

    // A late event of the old link does the new one no harm.
    world.switch.detach(world.hosts[old].id, &mut world.net);
    let again = world.device(world.dial_to(1));
    let slot = world.device(pair(5));
    world.pump();
    assert!(world.devices[again].opened.is_some());
    assert_eq!(world.devices[slot].opened, None, "the slot went with its link");
    assert_eq!(world.hosts[new].incoming.len(), 1);
}

#[test]
fn a_wrong_register_proof_changes_nothing() {
    let mut world = World::new(Config::default());
    let host = world.host(1);
    world.pump();
    let (liar, relayed) = (world.host_at("other.example.net", 1), world.host_at("elsewhere", 2));
    world.pump();
    for denied in [liar, relayed] {
        assert_eq!(world.hosts[denied].closed, [(0, Code::Denied)]);
        assert_eq!(world.net.link(world.hosts[denied].id).hung_up, Some(Code::Denied));
    }
    assert!(world.hosts[host].closed.is_empty());
    let counters = world.switch.counters();
    assert_eq!((counters.hosts, counters.links, counters.refused), (1, 1, 2));
}

#[test]
fn an_operator_may_ask_for_a_key() {
    let operator = Some(hop::operator_hash(b"open sesame"));
    let mut world = World::new(Config { operator, ..Config::default() });
    let (with, without) = (world.host_with_key(1, Some("open sesame")), world.host_with_key(2, Some("open")));
    let none = world.host(3);
    world.pump();
    assert!(world.hosts[with].link.is_registered());
    assert_eq!(world.hosts[without].closed, [(0, Code::Denied)]);
    assert_eq!(world.hosts[none].closed, [(0, Code::Denied)]);
}

// Limits and times.

#[test]
fn a_channel_nobody_answers_for_ends() {
    let mut world = World::new(Config::default());
    let host = world.host(1);
    world.hosts[host].accepts = false;
    world.pump();
    let (silent, refused) = (world.device(world.dial_to(1)), world.device(world.dial_to(1)));
    world.pump();
    let idx = world.channel_of(host, refused);
    world.hosts[host].link.refuse(idx, Code::Busy);
    world.pump();
    assert_eq!(world.devices[refused].closed, Some(Code::Busy));
    world.advance(Duration::from_millis(9_900));
    assert_eq!(world.devices[silent].closed, None);
    world.advance(Duration::from_millis(100));
    assert_eq!(world.devices[silent].closed, Some(Code::Timeout));
    assert_eq!(world.hosts[host].closed.len(), 1);
}

#[test]
fn links_that_say_nothing_are_cut() {
    let mut world = World::new(Config::default());
    let host = world.host(1);
    world.pump();
    let silent = world.switch.attach(world.now, RELAY, &mut world.rng, &mut world.net).unwrap();
    world.raw(silent, 0, &Frame::Ping(1)).unwrap();
    assert_eq!(world.switch.poll_timeout(), Some(at(10_000)));
    world.advance(Duration::from_secs(10));
    assert_eq!(world.net.link(silent).hung_up, Some(Code::Timeout), "a PING is no introduction");

    // A host that pings stays, one that does not goes.
    world.advance(Duration::from_secs(600));
    assert!(world.hosts[host].link.is_registered() && world.hosts[host].closed.is_empty());
    world.hosts[host].dead = true;
    let heard = world.now;
    while world.switch.counters().links > 0 {
        world.advance(Duration::from_millis(500));
    }
    let silence = world.now.since(heard);
    assert!(silence >= Duration::from_secs(60) && silence <= Duration::from_secs(77), "{silence:?}");
    assert_eq!(world.switch.poll_timeout(), None);
}

#[test]
fn tables_have_an_end_and_slots_a_next_life() {
    let mut world = World::sized(Config { channels_per_host: 1, ..Config::default() }, 3, 4, 1);
    let host = world.host(1);
    world.pump();
    let one = world.device(world.dial_to(1));
    let two = world.device(world.dial_to(1));
    world.pump();
    assert_eq!((world.devices[one].closed, world.devices[two].closed), (None, Some(Code::Busy)), "channels per host");
    let second = world.host(2);
    world.pump();
    assert_eq!(world.hosts[second].closed, [(0, Code::Busy)], "room for one route");
    let third = world.switch.attach(world.now, RELAY, &mut world.rng, &mut world.net).unwrap();
    let fourth = world.switch.attach(world.now, RELAY, &mut world.rng, &mut world.net);
    assert_eq!(fourth, Err(AttachError::Full));
    let name = "x".repeat(65);
    assert_eq!(world.switch.attach(world.now, &name, &mut world.rng, &mut world.net), Err(AttachError::Name));

    world.switch.detach(third, &mut world.net);
    let reborn = world.switch.attach(world.now, RELAY, &mut world.rng, &mut world.net).unwrap();
    assert_eq!(reborn.slot(), third.slot());
    assert_ne!(reborn, third);
    world.switch.detach(third, &mut world.net);
    world.raw(reborn, 0, &Frame::Ping(3)).unwrap();
    assert_eq!(world.switch.counters().links, 3);
    assert!(world.hosts[host].closed.is_empty());
}

#[test]
fn the_oldest_dial_makes_room_for_one_too_many() {
    let mut world = World::new(Config { parked: 2, ..Config::default() });
    let dials = [0, 1, 2].map(|_| {
        let device = world.device(world.dial_to(1));
        world.pump();
        device
    });
    assert_eq!(dials.map(|d| world.devices[d].closed), [Some(Code::NotReachable), None, None]);
    world.host(1);
    world.pump();
    assert_eq!(dials.map(|d| world.devices[d].opened.is_some()), [false, true, true]);
}

#[test]
fn the_budget_is_a_limit_and_comes_back() {
    let mut world = World::new(Config { budget: 3 * 65_536, ..Config::default() });
    world.host(1);
    world.pump();
    let (one, two) = (world.device(world.dial_to(1)), world.device(world.dial_to(1)));
    world.pump();
    assert_eq!((world.devices[one].closed, world.devices[two].closed), (None, Some(Code::Busy)));
    world.devices[one].link.close(Code::Normal);
    world.pump();
    assert_eq!(world.switch.counters().reserved, 0);
    let three = world.device(world.dial_to(1));
    world.pump();
    assert!(world.devices[three].opened.is_some());
}

#[test]
fn a_violation_ends_the_link_and_tells_its_peers() {
    let mut world = World::new(Config::default());
    let host = world.host(1);
    world.pump();
    let device = world.device(world.dial_to(1));
    world.pump();
    let id = world.devices[device].id;
    assert_eq!(world.raw(id, 2, &Frame::Data(b"x")), Err(Violation::Unexpected), "no such number");
    assert_eq!(world.raw(id, 1, &Frame::Data(b"x")), Ok(Handled::Done), "forgotten already");
    world.pump();
    assert_eq!(world.net.link(id).hung_up, Some(Code::Protocol));
    assert_eq!(world.hosts[host].closed.last().map(|closed| closed.1), Some(Code::Gone));

    let unnamed = world.switch.attach(world.now, RELAY, &mut world.rng, &mut world.net).unwrap();
    assert_eq!(world.raw(unnamed, 1, &Frame::Data(b"x")), Err(Violation::Unexpected));
    let host = world.hosts[host].id;
    assert_eq!(world.raw(host, 12_345, &Frame::Data(b"x")), Ok(Handled::Done), "a channel that was");
    assert_eq!(world.raw(host, 0, &Frame::Ok { ttl: 1 }), Err(Violation::Unexpected));
}

#[test]
fn ten_thousand_hosts_are_found() {
    const HOSTS: u32 = 10_000;
    let mut world = World::sized(Config::default(), HOSTS as usize + 1, 4, 2 * HOSTS as usize);
    // Proofs are dear in a debug build: a third of the work is enough to find a bad index.
    let step = if cfg!(debug_assertions) { 20 } else { 1 };
    for n in (0..HOSTS).step_by(step) {
        let secret = Secret::new(wide(n));
        world.host_of(&secret);
    }
    world.pump();
    assert_eq!(world.switch.counters().hosts, HOSTS / step as u32);
    let last = HOSTS - step as u32;
    let device = world.device(dial_of(&Secret::new(wide(last)), 1, [1; 8], TOMORROW));
    world.pump();
    assert!(world.devices[device].opened.is_some());
}
