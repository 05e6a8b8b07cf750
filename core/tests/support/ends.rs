//! Both ends of a handshake, and of a session after it.

use homing_core::Instant;
use homing_core::channel::{Channel, Config, token_hash};
use homing_core::crypto::{Identity, Psk, Secret};
use homing_core::handshake::{
    self, AwaitReply, Door, Error, Exports, Keys, Kind, Knock, Suite, Ticket, hear, host_mac1_key, start,
};
use homing_core::session::Session;
use homing_core::wire::{Frame, HEADER_LEN, Params, Writer};

use super::Seeded;

pub const TOKEN: [u8; 40] = [0x70; 40];
pub const CHANNEL: [u8; 16] = [0xc1; 16];
pub const ROUTE: [u8; 16] = [0x40; 16];

/// Everything that two ends of a handshake hold before it.
pub struct Ends {
    pub suite: Suite,
    pub pairs: bool,
    pub device: Identity,
    pub host: Identity,
    pub psk: Psk,
    pub ticket: Ticket,
    pub own: [Params; 2],
}

impl Ends {
    pub fn new(suite: Suite, pairs: bool) -> Self {
        Self::with_params(suite, pairs, [Params::default(); 2])
    }

    /// With what device and host accept.
    pub fn with_params(suite: Suite, pairs: bool, own: [Params; 2]) -> Self {
        Self {
            suite,
            pairs,
            device: Identity::from_secret(&Secret::new([0xd1; 32])),
            host: Identity::from_secret(&Secret::new([0xa0; 32])),
            psk: Psk::new([0x33; 32]),
            ticket: Ticket { hash: [0x44; 32], psk: Psk::new([0x55; 32]), mac1_key: Secret::new([0x66; 32]) },
            own,
        }
    }

    pub fn hello(&self) -> (Vec<u8>, AwaitReply) {
        let kind = if self.pairs {
            Kind::Pair { ticket: &self.ticket }
        } else {
            Kind::Connect { route: &ROUTE, psk: &self.psk }
        };
        let mut out = [0; handshake::HELLO_MAX];
        let rng = &mut Seeded::new(1);
        let (len, state) =
            start(self.suite, kind, &CHANNEL, &self.device, self.host.public(), self.own[0], rng, &mut out).unwrap();
        (out[..len].to_vec(), state)
    }

    pub fn hear(&self, hello: &mut [u8]) -> Result<Knock, Error> {
        let mac1_key = host_mac1_key(self.host.public());
        let door = Door { identity: &self.host, mac1_key: &mac1_key, route: &ROUTE, weakest: Suite::Classic };
        hear(door, [(self.suite, &self.ticket)], &CHANNEL, hello)
    }

    pub fn reply(&self, knock: Knock) -> (Vec<u8>, Keys, Exports) {
        let mut out = [0; handshake::REPLY_MAX];
        let rng = &mut Seeded::new(2);
        let (len, keys, exports) = match knock {
            Knock::Pair(knock) => knock.reply(self.own[1], rng, &mut out).unwrap(),
            Knock::Connect(knock) => knock.reply(&self.psk, self.own[1], rng, &mut out).unwrap(),
        };
        (out[..len].to_vec(), keys, exports)
    }

    /// The device's keys, then the host's.
    pub fn shake(&self) -> [Keys; 2] {
        let (mut hello, state) = self.hello();
        let (mut reply, host, exported) = self.reply(self.hear(&mut hello).unwrap());
        let (device, exports) = state.read(&mut reply).unwrap();
        assert_eq!(exports.hash, exported.hash);
        [device, host]
    }
}

/// Keys of a connection in the classic suite, device first.
pub fn keys(own: [Params; 2]) -> [Keys; 2] {
    Ends::with_params(Suite::Classic, false, own).shake()
}

/// Two channels after a connecting handshake, before their first records.
pub fn channels<const N: usize>(own: [Params; 2], config: &Config) -> [Channel<N>; 2] {
    let [device, host] = keys(own);
    [
        Channel::connect(&device, &TOKEN, config, Instant::ZERO),
        Channel::admit(&host, token_hash(&TOKEN), config, Instant::ZERO),
    ]
}

/// Seals frames as they are, whatever they say.
pub fn sealed(session: &mut Session, now: Instant, frames: &[Frame<'_>]) -> Vec<u8> {
    let mut buf = vec![0; 20_000];
    let mut w = Writer::new(&mut buf[HEADER_LEN..]);
    for frame in frames {
        frame.emit(&mut w).unwrap();
    }
    let len = w.len();
    let total = session.seal(now, &mut buf, len).unwrap();
    buf.truncate(total);
    buf
}
