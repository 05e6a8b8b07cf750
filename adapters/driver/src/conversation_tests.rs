//! Two conversations joined by nothing but their records.

use core::task::{Context, Poll, Waker};
use std::io::ErrorKind;

use homing_core::channel::{Config, token_hash};
use homing_core::crypto::{Identity, Psk};
use homing_core::handshake::{Door, HELLO_MAX, Kind, Knock, REPLY_MAX, Suite, hear, host_mac1_key, start};
use homing_core::mux::reset;
use homing_core::wire::Params;

use super::*;
use crate::bell::Bell;

const NOW: Instant = Instant::ZERO;
/// More than a stream's first window and what its pipe holds.
const MUCH: usize = 256 * 1024;

#[test]
fn a_finished_stream_that_the_peer_wants_no_more_of_is_over() {
    let mut ends = Ends::new();
    let (reader, mut writer) = ends.stream();
    write(&mut writer, MUCH);
    ends.settle();
    write(&mut writer, MUCH);
    writer.finish().unwrap();
    drop(writer);
    ends.settle();
    assert_eq!(ends.streams(), [1, 1], "what was finished waits for credit");
    drop(reader);
    ends.settle();
    assert_eq!(ends.streams(), [0, 0]);
}

#[test]
fn an_abort_does_not_wait_for_what_was_finished() {
    let mut ends = Ends::new();
    let (mut near, mut far) = ends.stream();
    write(&mut near, MUCH);
    ends.settle();
    write(&mut near, MUCH);
    near.finish().unwrap();
    near.abort(reset::CANCELLED);
    ends.settle();
    let mut buf = vec![0; MUCH];
    let read = far.poll_read(&mut Context::from_waker(Waker::noop()), &mut buf);
    assert!(matches!(read, Poll::Ready(Err(error)) if error.kind() == ErrorKind::ConnectionReset));
    assert_eq!(ends.streams(), [0, 1]);
}

struct End {
    conversation: Conversation,
    bell: Arc<Bell<()>>,
    notices: Vec<Notice>,
}

/// Device, then host.
struct Ends([End; 2]);

impl Ends {
    fn new() -> Self {
        let rng = &mut crate::random();
        let (device, host, psk) = (Identity::generate(rng), Identity::generate(rng), Psk::random(rng));
        let own = Params { max_streams: DEVICE_STREAMS, ..Params::default() };
        let (direct, config) = ([0; 16], Config::default());
        let (mut hello, mut reply) = ([0; HELLO_MAX], [0; REPLY_MAX]);
        let kind = Kind::Connect { route: &direct, psk: &psk };
        let (len, wait) = start(Suite::Classic, kind, &direct, &device, host.public(), own, rng, &mut hello).unwrap();
        let mac1_key = host_mac1_key(host.public());
        let door = Door { identity: &host, mac1_key: &mac1_key, route: &direct, weakest: Suite::Classic };
        let Ok(Knock::Connect(knock)) = hear(door, [], &direct, &mut hello[..len]) else { panic!("no knock") };
        let own = Params { max_streams: HOST_STREAMS, ..Params::default() };
        let (len, host_keys, _) = knock.reply(&psk, own, rng, &mut reply).unwrap();
        let (device_keys, _) = wait.read(&mut reply[..len]).unwrap();
        let token = [7; 40];
        let end = |channel| {
            let bell = Bell::<()>::new();
            End { conversation: Conversation::new(0, channel, bell.clone()), bell, notices: Vec::new() }
        };
        let mut ends = Self([
            end(Channel::connect(&device_keys, &token, &config, NOW)),
            end(Channel::admit(&host_keys, token_hash(&token), &config, NOW)),
        ]);
        ends.settle();
        ends
    }

    /// Carries records until nobody has any.
    fn settle(&mut self) {
        let mut out = vec![0; MAX_RECORD];
        let mut busy = true;
        while busy {
            busy = false;
            for near in 0..2 {
                self.0[near].attend();
                while let Some(len) = self.0[near].conversation.poll_output(NOW, &mut out).unwrap() {
                    let far = &mut self.0[1 - near];
                    far.conversation.handle(NOW, &out[..len], &mut far.notices).unwrap();
                    busy = true;
                }
            }
        }
    }

    /// A stream of the device's, and its other end at the host.
    fn stream(&mut self) -> (Stream, Stream) {
        let device = &mut self.0[0];
        let pipe = Pipe::new(0, device.bell.clone());
        device.conversation.open(NOW, pipe.clone());
        self.settle();
        let incoming = self.0[1].notices.drain(..).find_map(|notice| match notice {
            Notice::Incoming(stream) => Some(stream),
            _ => None,
        });
        (Stream::new(pipe), incoming.unwrap())
    }

    fn streams(&mut self) -> [usize; 2] {
        self.0.each_mut().map(|end| {
            assert_eq!(end.conversation.pipes.len(), end.conversation.channel().streams().len());
            end.conversation.pipes.len()
        })
    }
}

impl End {
    fn attend(&mut self) {
        let mut pipes = Vec::new();
        self.bell.answer(Waker::noop(), &mut pipes);
        for (_, pipe) in pipes {
            self.conversation.attend(NOW, &pipe);
        }
    }
}

/// Writes as much as the stream takes, at most `len` bytes.
fn write(stream: &mut Stream, len: usize) {
    let _ = stream.poll_write(&mut Context::from_waker(Waker::noop()), &vec![0; len]);
}
