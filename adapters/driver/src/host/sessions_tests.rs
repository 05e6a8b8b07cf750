//! Devices that come back, too late, too early, or to find that they may not.

use core::task::{Context, Poll, Waker};
use std::io::ErrorKind;
use std::rc::Rc;

use homing_core::channel::{Channel, Config, code, token_hash};
use homing_core::crypto::{Identity, Psk};
use homing_core::handshake::Keys;
use homing_core::wire::{MAX_RECORD, Scope};

use super::*;
use crate::bell::Bell;
use crate::conversation::tests::{TOKEN, handshake};
use crate::conversation::{Notice, begin_anew};
use crate::pipe::Pipe;
use crate::stream::Stream;

const KEEP: Duration = Duration::from_secs(600);

fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

/// A host and its devices.
struct World {
    sessions: Sessions,
}

/// What another handshake of the same two gives.
type MakeKeys = Rc<dyn Fn() -> (Keys, Keys)>;

/// One device, its link to the host, and the host's end of that.
struct Visit {
    keys: MakeKeys,
    key: DeviceKey,
    device: Conversation,
    host: Shared,
    attachment: Attachment,
    notices: Vec<Notice>,
    bell: Arc<Bell<()>>,
}

impl World {
    const fn new(sessions: Sessions) -> Self {
        Self { sessions }
    }

    fn visit(&self, key: u8) -> Visit {
        let rng = &mut crate::random();
        let (device, host, psk) = (Identity::generate(rng), Identity::generate(rng), Psk::random(rng));
        let keys = Rc::new(move || handshake(&device, &host, &psk));
        self.attach(keys, [key; 32], None, self.sessions.next_epoch())
    }

    fn attach(&self, keys: MakeKeys, key: DeviceKey, kept: Option<Carried>, epoch: u64) -> Visit {
        let (device_keys, host_keys) = keys();
        let (config, bell) = (Config::default(), Bell::<()>::new());
        let device = match kept {
            Some(Carried { detached, ties }) => {
                let channel = Channel::resume(&device_keys, &TOKEN, *detached, &config, at(0));
                Conversation::resumed(0, channel, ties, bell.clone())
            }
            None => Conversation::new(0, Channel::connect(&device_keys, &TOKEN, &config, at(0)), bell.clone()),
        };
        let channel = Channel::admit(&host_keys, token_hash(&TOKEN), &config, at(0));
        let host = Arc::new(Mutex::new(Conversation::new(0, channel, Bell::<()>::new())));
        let attachment = Attachment::new(key, epoch);
        let mut visit = Visit { keys, key, device, host, attachment, notices: Vec::new(), bell };
        visit.talk(&self.sessions);
        visit
    }

    /// The device lost its link, which the host has not noticed, and comes back.
    fn come_back(&self, visit: &mut Visit, epoch: u64) -> Visit {
        let kept = visit.device.detach();
        assert!(kept.is_some());
        self.attach(visit.keys.clone(), visit.key, kept, epoch)
    }

    /// The host notices that the link is gone.
    fn lose(&self, visit: &Visit, now: Instant) {
        self.sessions.leave(&visit.host, now);
    }
}

impl Visit {
    /// Carries records until nobody has any.
    fn talk(&mut self, sessions: &Sessions) {
        let (mut out, mut busy) = (vec![0; MAX_RECORD], true);
        while core::mem::take(&mut busy) {
            let mut rung = Vec::new();
            self.bell.answer(Waker::noop(), &mut rung);
            for pipe in rung.into_iter().filter_map(|(_, pipe)| pipe) {
                self.device.attend(at(0), &pipe);
            }
            while let Ok(Some(len)) = self.device.poll_output(at(0), &mut out) {
                let mut find = |request: &ResumeRequest, _: Option<&DeviceKey>| {
                    sessions.claim(request, &self.attachment, &self.host)
                };
                let mut notices = Vec::new();
                let _ = lock(&self.host).handle(at(0), &out[..len], &mut notices, &mut find);
                if notices.iter().any(|notice| matches!(notice, Notice::Established)) {
                    sessions.enter(&self.attachment, &self.host);
                }
                self.notices.append(&mut notices);
                busy = true;
            }
            busy |= self.hear();
        }
    }

    /// The device hears what the host says, if anything.
    fn hear(&mut self) -> bool {
        let mut out = vec![0; MAX_RECORD];
        let mut busy = false;
        while let Ok(Some(len)) = { lock(&self.host).poll_output(at(0), &mut out) } {
            let _ = self.device.handle(at(0), &out[..len], &mut self.notices, &mut begin_anew);
            busy = true;
        }
        busy
    }

    fn stream(&mut self, sessions: &Sessions) -> (Stream, Stream) {
        let pipe = Pipe::new(0, self.bell.clone());
        self.device.open(at(0), pipe.clone());
        let mut stream = Stream::new(pipe);
        let written = stream.poll_write(&mut Context::from_waker(Waker::noop()), &[7; 1000]);
        assert!(matches!(written, Poll::Ready(Ok(1000))));
        self.talk(sessions);
        let incoming = self.notices.drain(..).find_map(|notice| match notice {
            Notice::Incoming(stream) => Some(stream),
            _ => None,
        });
        (stream, incoming.unwrap())
    }

    fn heard_close(&self) -> Option<(Scope, u16)> {
        self.notices.iter().find_map(|notice| match notice {
            Notice::Closed { scope, code, .. } => Some((*scope, *code)),
            _ => None,
        })
    }
}

/// What a read finds: bytes, nothing yet, or how the stream ended.
fn read(stream: &mut Stream) -> Option<Result<usize, ErrorKind>> {
    match stream.poll_read(&mut Context::from_waker(Waker::noop()), &mut [0; 4096]) {
        Poll::Ready(found) => Some(found.map_err(|error| error.kind())),
        Poll::Pending => None,
    }
}

const LOST: Option<Result<usize, ErrorKind>> = Some(Err(ErrorKind::ConnectionAborted));

#[test]
fn a_device_takes_its_session_over_from_a_link_that_seems_to_live() {
    let world = World::new(Sessions::new(KEEP));
    let mut first = world.visit(1);
    let (mut near, mut far) = first.stream(&world.sessions);
    assert_eq!(read(&mut far), Some(Ok(1000)));
    let epoch = world.sessions.next_epoch();
    let mut second = world.come_back(&mut first, epoch);
    assert_eq!((world.sessions.detached(), read(&mut far)), (0, None));
    near.finish().unwrap();
    second.talk(&world.sessions);
    assert_eq!(read(&mut far), Some(Ok(0)), "the end came through the second one");
    // The first one says its goodbye, and is not the session's any more.
    let mut out = vec![0; MAX_RECORD];
    assert!(lock(&first.host).poll_output(at(0), &mut out).unwrap().is_some());
    assert!(lock(&first.host).channel_ref().is_over());
    world.lose(&first, at(1));
    assert_eq!(world.sessions.detached(), 0);
    world.lose(&second, at(1));
    assert_eq!(world.sessions.detached(), 1);
}

#[test]
fn an_attachment_that_began_before_the_present_one_is_refused() {
    let world = World::new(Sessions::new(KEEP));
    let late = world.sessions.next_epoch();
    let mut first = world.visit(1);
    let (_near, mut far) = first.stream(&world.sessions);
    assert_eq!(read(&mut far), Some(Ok(1000)));
    let mut second = world.come_back(&mut first, late);
    assert_eq!(second.heard_close(), Some((Scope::Channel, code::SUPERSEDED)));
    assert!(second.device.detach().is_some(), "the device still has its session");
    assert_eq!(read(&mut far), None);
    world.lose(&first, at(1));
    assert_eq!((world.sessions.detached(), read(&mut far)), (1, None), "and so has the host");
}

#[test]
fn a_device_that_was_paired_anew_does_not_get_its_old_session() {
    let world = World::new(Sessions::new(KEEP));
    let mut first = world.visit(1);
    let (mut near, mut far) = first.stream(&world.sessions);
    world.lose(&first, at(1));
    first.key = [2; 32];
    let epoch = world.sessions.next_epoch();
    let second = world.come_back(&mut first, epoch);
    assert!(second.heard_close().is_none());
    assert_eq!(read(&mut near), LOST);
    assert_eq!((read(&mut far), world.sessions.detached()), (Some(Ok(1000)), 1));
}

#[test]
fn a_session_is_kept_for_its_time_and_no_longer() {
    let world = World::new(Sessions::new(KEEP));
    let mut visit = world.visit(1);
    let (mut near, mut far) = visit.stream(&world.sessions);
    world.lose(&visit, at(100));
    assert_eq!(world.sessions.deadline(), Some(at(700)));
    world.sessions.expire(at(699));
    assert_eq!((read(&mut far), read(&mut far)), (Some(Ok(1000)), None));
    world.sessions.expire(at(700));
    assert_eq!((read(&mut far), world.sessions.detached()), (LOST, 0));
    // The device hears of it when it comes back, to a new session.
    let epoch = world.sessions.next_epoch();
    let mut second = world.come_back(&mut visit, epoch);
    assert_eq!(read(&mut near), LOST);
    let (_near, mut far) = second.stream(&world.sessions);
    assert_eq!(read(&mut far), Some(Ok(1000)));
}

#[test]
fn the_oldest_sessions_make_room_for_others() {
    let one = size_of::<homing_core::channel::Detached<{ crate::conversation::STREAMS }>>() + 2000;
    let budget = 3 * one;
    let world = World::new(Sessions::with_budget(KEEP, budget));
    let mut far = Vec::new();
    for number in 0..10 {
        let mut visit = world.visit(number);
        far.push(visit.stream(&world.sessions).1);
        world.lose(&visit, at(number.into()));
    }
    let lost = far.iter_mut().map(|far| (read(far), read(far)).1 == LOST).collect::<Vec<_>>();
    assert_eq!(lost, [true, true, true, true, true, true, true, false, false, false]);
    assert_eq!(world.sessions.detached(), 3);

    let world = World::new(Sessions::new(KEEP));
    let visits: Vec<_> = (0..10).map(|_| world.visit(1)).collect();
    for (visit, second) in visits.iter().zip(0..) {
        world.lose(visit, at(second));
    }
    assert_eq!(world.sessions.detached(), KEPT_OF_DEVICE);
}

#[test]
fn a_revoked_device_has_no_session_anywhere() {
    let world = World::new(Sessions::new(KEEP));
    let (mut away, mut here, mut other) = (world.visit(1), world.visit(1), world.visit(2));
    let mut far = [&mut away, &mut here, &mut other].map(|visit| visit.stream(&world.sessions).1);
    world.lose(&away, at(1));
    world.sessions.revoke(&[1; 32], code::REVOKED);
    let [away_far, here_far, other_far] = &mut far;
    // What had arrived is not read any more.
    assert_eq!((read(away_far), read(here_far), read(other_far)), (LOST, LOST, Some(Ok(1000))));
    here.hear();
    assert_eq!(here.heard_close(), Some((Scope::Session, code::REVOKED)));
    world.lose(&here, at(2));
    world.lose(&other, at(2));
    assert_eq!(world.sessions.detached(), 1);
    let epoch = world.sessions.next_epoch();
    world.come_back(&mut away, epoch);
    world.sessions.close_all(code::SHUTDOWN);
    assert_eq!((world.sessions.detached(), read(other_far)), (0, LOST));
}

#[test]
fn a_session_that_ended_is_not_kept() {
    let world = World::new(Sessions::new(KEEP));
    let mut visit = world.visit(1);
    let (_near, mut far) = visit.stream(&world.sessions);
    visit.device.channel().close(Scope::Session, code::NORMAL, "");
    visit.talk(&world.sessions);
    world.lose(&visit, at(1));
    assert_eq!(world.sessions.detached(), 0);
    drop(visit);
    assert_eq!((read(&mut far), read(&mut far)), (Some(Ok(1000)), LOST));
}
