//! A device and a host in one thread: a handshake, then a stream there and back, without a heap.
#![allow(clippy::unwrap_used, reason = "an example that cannot go on stops")]

use getrandom::{SysRng, rand_core::UnwrapErr};
use homing_core::channel::{Channel, Config, Event, Output, token_hash};
use homing_core::crypto::{Identity, Psk};
use homing_core::handshake::{Door, HELLO_MAX, Keys, Kind, Knock, REPLY_MAX, Suite, hear, host_mac1_key, start};
use homing_core::wire::{MAX_RECORD, Params, StreamId};
use homing_core::{Instant, mux};

type End = Channel<8>; // of at most eight streams

const DIRECT: [u8; 16] = [0; 16]; // no relay: neither a route nor a channel of its own
const TOKEN: [u8; 40] = [7; 40]; // agreed on when pairing, like both public keys and the pre-shared one

/// Two messages, and both ends have keys, here the device's first.
pub(crate) fn shake(suite: Suite) -> [Keys; 2] {
    let rng = &mut UnwrapErr(SysRng);
    let (device, host, psk) = (Identity::generate(rng), Identity::generate(rng), Psk::random(rng));
    let (own, mut hello, mut reply) = (Params { max_streams: 4, ..Params::default() }, [0; HELLO_MAX], [0; REPLY_MAX]);
    let kind = Kind::Connect { route: &DIRECT, psk: &psk };
    let (len, state) = start(suite, kind, &DIRECT, &device, host.public(), own, rng, &mut hello).unwrap();
    let mac1_key = host_mac1_key(host.public());
    let door = Door { identity: &host, mac1_key: &mac1_key, route: &DIRECT, weakest: suite };
    let Ok(Knock::Connect(knock)) = hear(door, [], &DIRECT, &mut hello[..len]) else { panic!("not a paired device") };
    assert_eq!(knock.peer(), device.public()); // look up who it is, then answer with its pre-shared key
    let (len, host_keys, _) = knock.reply(&psk, own, rng, &mut reply).unwrap();
    [state.read(&mut reply[..len]).unwrap().0, host_keys]
}

/// What an application has to say on its stream.
struct Says(&'static [u8]);

impl mux::Source for Says {
    fn read(&mut self, _: StreamId, _: u64, buf: &mut [u8]) -> mux::Taken {
        buf[..self.0.len()].copy_from_slice(self.0); // little enough for any credit
        mux::Taken { len: self.0.len(), more: false, fin: true }
    }
}

/// Takes a record of one end, if there is one, to the other: what arrives there on a stream.
fn carry<'r>(from: &mut End, says: &'static [u8], to: &mut End, record: &'r mut [u8]) -> Option<&'r [u8]> {
    let now = Instant::ZERO; // any clock that does not go back; here it stands still
    let Output::Transmit { len } = from.poll_output(now, &mut Says(says), record).unwrap() else { return None };
    let mut arrived = None;
    for event in to.handle_input(now, &mut record[..len]).unwrap() {
        if let Event::Stream(mux::Event::Data { id, data, .. }) = event.unwrap() {
            arrived = Some((id, data));
        }
    }
    let (id, data) = arrived?;
    to.streams().consumed(id, data.len(), now); // room for as many more
    to.streams().wants(id); // perhaps there is an answer
    Some(data)
}

/// The device says hello and the host answers; `tell` is told what they hear.
pub(crate) fn talk([device, host]: [Keys; 2], mut tell: impl FnMut(&str, &[u8])) {
    let (now, mut record) = (Instant::ZERO, [0; MAX_RECORD]);
    let mut device = Channel::connect(&device, &TOKEN, &Config::default(), now);
    let mut host = Channel::admit(&host, token_hash(&TOKEN), &Config::default(), now);
    let stream = device.open(now).unwrap();
    device.streams().wants(stream);
    loop {
        if let Some(text) = carry(&mut device, b"hello", &mut host, &mut record) {
            tell("host", text);
        }
        if let Some(text) = carry(&mut host, b"hello yourself", &mut device, &mut record) {
            return tell("device", text);
        }
    }
}

pub(crate) fn main() {
    talk(shake(Suite::Hybrid), |who, text| println!("{} hears: {}", who, text.escape_ascii()));
}
