//! Both ends of a handshake, and what follows from it.

use core::convert::Infallible;

use homing_core::Instant;
use homing_core::channel::{Channel, Config, token_hash};
use homing_core::crypto::{Aead, Identity, Psk, Secret};
use homing_core::handshake::{self, Door, Keys, Kind, Knock, Suite, Ticket, hear, host_mac1_key, start};
use homing_core::session::{Datagrams, Role, Session};
use homing_core::wire::Params;
use rand_core::{TryCryptoRng, TryRng};

pub(crate) const TOKEN: [u8; 40] = [0x70; 40];
const CHANNEL: [u8; 16] = [0xc1; 16];
const ROUTE: [u8; 16] = [0x40; 16];

/// A generator that costs next to nothing, so that none of the system's is measured (splitmix64).
#[derive(Debug)]
pub struct Seeded(pub u64);

impl TryRng for Seeded {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.try_next_u64()? >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(z ^ (z >> 31))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for chunk in out.chunks_mut(8) {
            let word = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Seeded {}

/// Everything that two ends hold before a handshake.
#[derive(Debug)]
pub struct Ends {
    suite: Suite,
    pairs: bool,
    device: Identity,
    host: Identity,
    mac1_key: Secret<32>,
    psk: Psk,
    ticket: Ticket,
    own: Params,
    rng: Seeded,
}

impl Ends {
    /// Ends that pair, or that connect, with what both accept.
    #[must_use]
    pub fn new(suite: Suite, pairs: bool, own: Params) -> Self {
        let host = Identity::from_secret(&Secret::new([0xa0; 32]));
        Self {
            suite,
            pairs,
            device: Identity::from_secret(&Secret::new([0xd1; 32])),
            mac1_key: host_mac1_key(host.public()),
            host,
            psk: Psk::new([0x33; 32]),
            ticket: Ticket { hash: [0x44; 32], psk: Psk::new([0x55; 32]), mac1_key: Secret::new([0x66; 32]) },
            own,
            rng: Seeded(1),
        }
    }

    /// A whole handshake, both sides: the device's keys, then the host's.
    pub fn shake(&mut self) -> [Keys; 2] {
        let kind = if self.pairs {
            Kind::Pair { ticket: &self.ticket }
        } else {
            Kind::Connect { route: &ROUTE, psk: &self.psk }
        };
        let mut hello = [0; handshake::HELLO_MAX];
        let (len, state) =
            start(self.suite, kind, &CHANNEL, &self.device, self.host.public(), self.own, &mut self.rng, &mut hello)
                .unwrap();
        let door = Door { identity: &self.host, mac1_key: &self.mac1_key, route: &ROUTE, weakest: Suite::Classic };
        let knock = hear(door, [(self.suite, &self.ticket)], &CHANNEL, &mut hello[..len]).unwrap();
        let mut reply = [0; handshake::REPLY_MAX];
        let (len, host, exported) = match knock {
            Knock::Pair(knock) => knock.reply(self.own, &mut self.rng, &mut reply).unwrap(),
            Knock::Connect(knock) => knock.reply(&self.psk, self.own, &mut self.rng, &mut reply).unwrap(),
        };
        let (device, exports) = state.read(&mut reply[..len]).unwrap();
        assert_eq!(exports.hash, exported.hash);
        [device, host]
    }
}

/// The two ends of a session, device first.
#[must_use]
pub fn sessions<A: Aead>() -> [Session<A>; 2] {
    let [device, host] = Ends::new(Suite::Classic, false, Params::default()).shake();
    [Session::new(Role::Device, &device, Instant::ZERO), Session::new(Role::Host, &host, Instant::ZERO)]
}

/// The two ends of a session over datagrams, device first.
#[must_use]
pub fn datagram_sessions<A: Aead>() -> [Session<A, Datagrams<A>>; 2] {
    let [device, host] = Ends::new(Suite::Classic, false, Params::default()).shake();
    [Session::datagrams(Role::Device, &device, Instant::ZERO), Session::datagrams(Role::Host, &host, Instant::ZERO)]
}

/// The two ends of a channel before their first records, device first.
#[must_use]
pub fn channels<const N: usize, A: Aead>(own: Params, config: &Config) -> [Channel<N, A>; 2] {
    let [device, host] = Ends::new(Suite::Classic, false, own).shake();
    [
        Channel::connect(&device, &TOKEN, config, Instant::ZERO),
        Channel::admit(&host, token_hash(&TOKEN), config, Instant::ZERO),
    ]
}
