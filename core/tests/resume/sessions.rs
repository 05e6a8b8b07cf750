//! Which session goes on, which begins anew, and which is over.

use std::collections::BTreeMap;

use homing_core::channel::{Config, Error, Event, Output, Resumption, code, token_hash};
use homing_core::wire::{MAX_RECORD, Scope};

use crate::end::{End, Pipes};
use crate::world::World;
use crate::{Chan, FEW, TOKEN};

#[test]
fn streams_go_on_where_they_were() {
    let mut world = World::new(1, FEW);
    let (up, both) = (world.device.open(world.now).unwrap(), world.device.open(world.now).unwrap());
    world.device.write(up, 300_000, false);
    world.device.write(both, 10, true);
    for _ in 0..3 {
        world.exchange();
    }
    let down = world.host.open(world.now).unwrap();
    world.host.write(down, 200_000, true);
    world.host.write(both, 70_000, false);
    world.exchange();
    world.attach();
    world.device.write(up, 5, true);
    world.host.write(both, 1, true);
    world.settle();
    world.check_delivered();
    assert_eq!((world.device.resumed, world.host.resumed, world.device.lost), (1, 1, 0));
}

#[test]
fn a_host_that_forgot_the_session_begins_a_new_one() {
    let mut world = World::new(2, FEW);
    let id = world.device.open(world.now).unwrap();
    world.device.write(id, 1000, false);
    world.settle();
    world.cut();
    world.host = End::new(true);
    world.attach();
    world.settle();
    assert_eq!((world.device.lost, world.device.resumed), (1, 0));
    world.device.pipes.clear();
    let id = world.device.open(world.now).unwrap();
    world.device.write(id, 1000, true);
    world.settle();
    world.check_delivered();
}

#[test]
fn a_resume_without_the_secret_is_a_new_session() {
    let mut world = World::new(3, FEW);
    world.cut();
    let mut other = World::new(4, FEW);
    other.cut();
    // Another session's secret under this one's name.
    let foreign = other.host.kept.take().unwrap();
    let own = world.device.kept.as_ref().unwrap().resumption().session_id();
    assert_ne!(foreign.resumption().session_id(), own);
    let (near, far) = world.keys();
    let config = Config::default();
    let mut device = Chan::resume(&near, &TOKEN, world.device.kept.take().unwrap(), &config, world.now);
    let mut host = Chan::admit(&far, token_hash(&TOKEN), &config, world.now);
    let mut out = vec![0; MAX_RECORD];
    let mut none = Pipes(&mut BTreeMap::new(), false, &mut 0);
    let Output::Transmit { len } = device.poll_output(world.now, &mut none, &mut out).unwrap() else { panic!() };
    let mut events = host.handle_input(world.now, &mut out[..len]).unwrap();
    let Some(Ok(Event::ResumeRequested(request))) = events.next() else { panic!() };
    assert!(!request.is_proven_by(foreign.resumption()));
    assert!(events.adopt(foreign).is_err());
    assert_eq!(events.next(), Some(Ok(Event::Established)));
    assert_eq!(events.next(), None);
    drop(events);
    assert!(host.is_open());
}

#[test]
fn a_newer_attachment_takes_over_and_the_older_is_told() {
    let mut world = World::new(5, FEW);
    let id = world.device.open(world.now).unwrap();
    world.device.write(id, 50_000, false);
    world.exchange();
    // The device lost its link; the host has not noticed.
    world.device.lose();
    let mut old = world.host.channel.take().unwrap();
    old.close(Scope::Channel, code::SUPERSEDED, "");
    world.host.kept = old.detach();
    assert!(old.detach().is_none(), "a session has one place");
    let mut none = Pipes(&mut BTreeMap::new(), true, &mut 0);
    let told = old.poll_output(world.now, &mut none, &mut vec![0; MAX_RECORD]).unwrap();
    assert!(matches!(told, Output::Transmit { .. }) && old.is_over());
    world.to_host.clear();
    world.to_device.clear();
    world.attach();
    world.device.write(id, 0, true);
    world.settle();
    world.check_delivered();
}

#[test]
fn an_older_attachment_is_turned_away_and_the_session_stays() {
    let mut world = World::new(6, FEW);
    let (near, far) = world.keys();
    world.cut();
    let kept = world.device.kept.take().unwrap();
    let mut device = Chan::resume(&near, &TOKEN, kept, &Config::default(), world.now);
    let mut host = Chan::admit(&far, token_hash(&TOKEN), &Config::default(), world.now);
    let mut out = vec![0; MAX_RECORD];
    let mut none = Pipes(&mut BTreeMap::new(), false, &mut 0);
    let Output::Transmit { len } = device.poll_output(world.now, &mut none, &mut out).unwrap() else { panic!() };
    let mut events = host.handle_input(world.now, &mut out[..len]).unwrap();
    assert!(matches!(events.next(), Some(Ok(Event::ResumeRequested(_)))));
    events.refuse();
    assert_eq!(events.next(), None);
    drop(events);
    let Output::Transmit { len } = host.poll_output(world.now, &mut none, &mut out).unwrap() else { panic!() };
    let mut events = device.handle_input(world.now, &mut out[..len]).unwrap();
    let Some(Ok(Event::Closed(close))) = events.next() else { panic!() };
    assert_eq!((close.scope, close.code), (Scope::Channel, code::SUPERSEDED));
    drop(events);
    world.device.kept = device.detach();
    world.attach();
    world.settle();
    assert_eq!((world.device.resumed, world.host.resumed), (1, 1));
}

#[test]
fn a_session_that_was_closed_is_not_resumed() {
    let mut world = World::new(7, FEW);
    let channel = world.device.channel.as_mut().unwrap();
    assert!(channel.resumption().is_some());
    channel.close(Scope::Session, code::NORMAL, "");
    assert!(channel.resumption().is_none() && channel.detach().is_none());
    let mut record = world.device.poll(world.now).unwrap();
    let host = world.host.channel.as_mut().unwrap();
    assert!(host.handle_input(world.now, &mut record).unwrap().all(|event| event.is_ok()));
    assert!(host.detach().is_none());
}

#[test]
fn a_damaged_record_ends_the_channel_only() {
    let mut world = World::new(8, FEW);
    let id = world.device.open(world.now).unwrap();
    world.device.write(id, 1000, true);
    let mut record = world.device.poll(world.now).unwrap();
    let last = record.len() - 1;
    record[last] ^= 1;
    let host = world.host.channel.as_mut().unwrap();
    assert!(matches!(host.handle_input(world.now, &mut record).map(drop), Err(Error::Discard(_))));
    world.attach();
    world.settle();
    world.check_delivered();
    assert_eq!(world.host.resumed, 1);
}

#[test]
fn the_debug_of_what_is_kept_shows_no_secret() {
    let mut world = World::new(9, FEW);
    world.cut();
    let kept = world.device.kept.take().unwrap();
    let resumption: &Resumption = kept.resumption();
    assert_eq!(format!("{kept:?} {resumption:?}"), "Detached { streams: 0, .. } Resumption { .. }");
}
