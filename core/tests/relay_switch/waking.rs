//! Hosts that wait to be woken: who wakes them, how often, and what their devices notice.

use core::time::Duration;

use homing_core::crypto::Secret;
use homing_core::hop::{Code, Frame, Kind, Purpose, Violation, rv_hash};
use homing_core::relay::{AttachError, Config};

use crate::world::{TOMORROW, World, at, dial, pair};

#[test]
fn a_dial_wakes_its_host_and_opens_when_it_comes() {
    let mut world = World::new(Config::default());
    let waiter = world.waiter(1);
    world.pump();
    assert_eq!((world.switch.counters().waiting, world.switch.counters().hosts), (1, 0));
    world.advance(Duration::from_secs(3600));
    assert!(world.waiters[waiter].closed.is_none(), "silence ends nothing");

    let device = world.device(world.dial_to(1));
    world.pump();
    assert_eq!(world.waiters[waiter].knocks, [world.now]);
    assert_eq!((world.devices[device].opened, world.devices[device].closed), (None, None));
    assert_eq!(world.switch.counters().parked, 1);

    let host = world.host(1);
    world.pump();
    assert!(world.devices[device].opened.is_some());
    assert_eq!(world.hosts[host].only_channel().kind, Kind::Dial { cap_id: [1; 8] });
    assert!(world.waiters[waiter].closed.is_none(), "it goes on waiting");
    let counters = world.switch.counters();
    assert_eq!((counters.waiting, counters.hosts, counters.links), (1, 1, 3));

    // While it is there nobody has to knock.
    let second = world.device(world.dial_to(1));
    world.pump();
    assert!(world.devices[second].opened.is_some());
    assert_eq!(world.waiters[waiter].knocks.len(), 1);
}

#[test]
fn a_dial_that_was_there_first_knocks_when_its_host_begins_to_wait() {
    let mut world = World::new(Config::default());
    let device = world.device(world.dial_to(1));
    world.pump();
    let other = world.waiter(2);
    let waiter = world.waiter(1);
    world.pump();
    assert_eq!((world.waiters[other].knocks.len(), world.waiters[waiter].knocks.len()), (0, 1));
    world.host(1);
    world.pump();
    assert!(world.devices[device].opened.is_some());
}

#[test]
fn a_waiting_host_that_does_not_come_is_absent_to_everybody() {
    let answer = |waits: bool, forged: bool| {
        let mut world = World::new(Config::default());
        if waits {
            world.waiter(1);
            world.pump();
        }
        let mut purpose = world.dial_to(1);
        if let (true, Purpose::Dial { capability, .. }) = (forged, &mut purpose) {
            capability.key = Secret::new([0; 32]);
        }
        let device = world.device(purpose);
        world.pump();
        while world.devices[device].closed.is_none() {
            world.advance(Duration::from_millis(100));
            assert!(world.now < at(60_000), "no answer");
        }
        let knocks = world.waiters.iter().map(|waiter| waiter.knocks.len()).sum::<usize>();
        ((world.devices[device].closed, world.now), knocks)
    };
    let (absent, _) = answer(false, false);
    assert_eq!(absent, (Some(Code::NotReachable), at(25_000)));
    assert_eq!(answer(true, false), (absent, 1));
    assert_eq!(answer(true, true), (absent, 0), "a wrong proof wakes nobody");
}

#[test]
fn denied_and_hasty_capabilities_wake_nobody() {
    let mut world = World::new(Config::default());
    let waiter = world.waiter(1);
    world.waiters[waiter].link.deny([8; 8], TOMORROW).unwrap();
    world.pump();
    let denied = world.device(dial(1, 2, [8; 8], TOMORROW));
    world.pump();
    assert_eq!(world.devices[denied].closed, Some(Code::Denied));
    assert!(world.waiters[waiter].knocks.is_empty());

    for n in 0..11 {
        let device = world.device(world.dial_to(1));
        world.pump();
        assert_eq!(world.devices[device].closed, (n == 10).then_some(Code::Busy), "dial {n}");
        world.advance(Duration::from_secs(3));
    }
    assert_eq!(world.waiters[waiter].knocks.len(), 10);
}

#[test]
fn one_knock_serves_dials_that_come_together() {
    let mut world = World::new(Config::default());
    let waiter = world.waiter(1);
    world.pump();
    let dials = [10u8, 11, 12].map(|n| world.device(dial(1, 1, [n; 8], TOMORROW)));
    world.pump();
    assert_eq!(world.waiters[waiter].knocks.len(), 1);
    let host = world.host(1);
    world.pump();
    assert!(dials.iter().all(|device| world.devices[*device].opened.is_some()));

    // It came, and has left: the next dial knocks, however soon.
    world.switch.detach(world.hosts[host].id, &mut world.net);
    world.hosts[host].dead = true;
    world.device(dial(1, 1, [13; 8], TOMORROW));
    world.pump();
    assert_eq!(world.waiters[waiter].knocks.len(), 2);
    // It does not come: not again at once.
    world.device(dial(1, 1, [14; 8], TOMORROW));
    world.pump();
    assert_eq!(world.waiters[waiter].knocks.len(), 2);
    world.advance(Duration::from_secs(2));
    world.device(dial(1, 1, [15; 8], TOMORROW));
    world.pump();
    assert_eq!(world.waiters[waiter].knocks.len(), 3);
}

#[test]
fn waiting_and_attached_leave_each_other_in_peace() {
    let mut world = World::new(Config::default());
    let host = world.host(1);
    world.pump();
    let first = world.waiter(1);
    world.pump();
    let second = world.waiter(1);
    world.pump();
    assert_eq!(world.waiters[first].closed, Some(Code::Superseded));
    assert_eq!((world.waiters[second].closed, world.hosts[host].closed.is_empty()), (None, true));
    let again = world.host(1);
    world.pump();
    assert_eq!(world.hosts[host].closed, [(0, Code::Superseded)]);
    assert_eq!(world.waiters[second].closed, None);
    let counters = world.switch.counters();
    assert_eq!((counters.waiting, counters.hosts, counters.links), (1, 1, 2));

    // Each goes by itself.
    world.switch.detach(world.waiters[second].id, &mut world.net);
    let device = world.device(world.dial_to(1));
    world.pump();
    assert!(world.devices[device].opened.is_some());
    world.switch.detach(world.hosts[again].id, &mut world.net);
    assert_eq!((world.switch.counters().waiting, world.switch.counters().hosts), (0, 0));
}

#[test]
fn only_waiting_is_done_on_a_waiting_link() {
    let frames: [(u32, Frame<'_>); 6] = [
        (0, Frame::PairSlot { rv_hash: rv_hash(&[5; 16]), ttl: 60 }),
        (7, Frame::Accept { credit: 1 }),
        (7, Frame::Data(b"x")),
        (7, Frame::Credit { bytes: 1 }),
        (7, Frame::Closed { code: Code::Normal }),
        (0, Frame::Knock),
    ];
    for (idx, frame) in frames {
        let mut world = World::new(Config::default());
        let waiter = world.waiter(1);
        world.pump();
        let link = world.waiters[waiter].id;
        assert_eq!(world.raw(link, idx, &frame), Err(Violation::Unexpected), "{frame:?}");
        assert_eq!(world.net.link(link).hung_up, Some(Code::Protocol), "{frame:?}");
        assert_eq!((world.switch.counters().waiting, world.switch.counters().links), (0, 0));
    }
    // Nor do devices come on one.
    let mut world = World::new(Config::default());
    let link = world.waiter(1);
    let link = world.waiters[link].id;
    assert_eq!(world.raw(link, 1, &Frame::DialPair { rendezvous: [1; 16] }), Err(Violation::Unexpected));
    // A pairing wakes nobody: the host that shows a ticket is awake.
    let waiter = world.waiter(1);
    world.device(pair(5));
    world.pump();
    assert!(world.waiters[waiter].knocks.is_empty());
}

#[test]
fn waiting_takes_a_place_among_the_links_and_must_be_claimed_in_time() {
    let mut world = World::sized(Config::default(), 2, 2, 8);
    let first = world.waiter(1);
    world.pump();
    // It never says who it is.
    let mute = world.switch.attach_waiting(world.now, "relay.example.net", &mut world.rng, &mut world.net).unwrap();
    let full = world.switch.attach_waiting(world.now, "relay.example.net", &mut world.rng, &mut world.net);
    assert_eq!(full, Err(AttachError::Full));
    world.advance(Duration::from_secs(10));
    assert_eq!(world.net.link(mute).hung_up, Some(Code::Timeout));
    assert_eq!(world.waiters[first].closed, None);
    world.waiter(2);
    world.pump();
    assert_eq!(world.switch.counters().waiting, 2);
}
