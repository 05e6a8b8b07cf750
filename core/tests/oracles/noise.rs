//! Our handshake with snow at the other end: four protocol names, both roles.

use homing_core::crypto::{Identity, Psk, Secret, expand, extract, mac16};
use homing_core::handshake::{
    Door, Exports, HELLO_MAX, Keys, Kind, Knock, REPLY_MAX, Suite, Ticket, hear, host_mac1_key, start,
};
use homing_core::wire::{Params, Reader};
use rand_core::Rng;
use snow::params::{BaseChoice, CipherChoice, DHChoice, HashChoice, KemChoice, NoiseParams};
use snow::{Builder, HandshakeState};

use crate::post_quantum::Resolver;
use crate::rng::Seeded;

const RUNS: u64 = 50;
/// Type, suite, mode and a zero: in front of the Noise message.
const PREFIX_LEN: usize = 4;
const MAC1_LEN: usize = 16;

/// One handshake's inputs, all random.
struct Case {
    suite: Suite,
    pairs: bool,
    seed: u64,
    device: Identity,
    host: Identity,
    ticket: Ticket,
    channel: [u8; 16],
    route: [u8; 16],
    own: [Params; 2],
    rng: Seeded,
}

fn params(rng: &mut Seeded) -> Params {
    let session_window = 16 * 1024 + rng.next_u32() % (1 << 20);
    let params = Params {
        features: rng.next_u32() >> 8,
        max_record: 1024 + (rng.next_u32() % 15_361) as u16,
        max_streams: 1 + (rng.next_u32() % 4096) as u16,
        session_window,
        stream_window: 4096 + rng.next_u32() % (session_window - 4095),
    };
    assert!(params.is_valid());
    params
}

impl Case {
    fn new(suite: Suite, pairs: bool, seed: u64) -> Self {
        let mut rng = Seeded::new(seed);
        let ticket = Ticket {
            hash: *Secret::random(&mut rng).expose(),
            psk: Psk::random(&mut rng),
            mac1_key: Secret::random(&mut rng),
        };
        Self {
            suite,
            pairs,
            seed,
            device: Identity::generate(&mut rng),
            host: Identity::generate(&mut rng),
            ticket,
            channel: *Secret::random(&mut rng).expose(),
            route: *Secret::random(&mut rng).expose(),
            own: [params(&mut rng), params(&mut rng)],
            rng,
        }
    }

    /// Protocol 6.2, written out.
    fn prologue(&self) -> Vec<u8> {
        let mut bytes = b"homing-1 e2e\0\0\0\0".to_vec();
        bytes.extend([self.suite.to_byte(), self.mode(), 0, 0]);
        bytes.extend(self.channel);
        if self.pairs {
            bytes.extend(self.ticket.hash);
        } else {
            bytes.extend(self.route);
            bytes.extend([0; 16]);
        }
        assert_eq!(bytes.len(), 68);
        bytes
    }

    fn mode(&self) -> u8 {
        if self.pairs { 1 } else { 2 }
    }

    fn name(&self) -> NoiseParams {
        let (hfs, kem) = match self.suite {
            Suite::Classic => ("", ""),
            Suite::Hybrid => ("hfs+", "+MLKEM768"),
        };
        let psk = if self.pairs { "psk0" } else { "psk2" };
        NoiseParams::new(
            format!("Noise_IK{hfs}{psk}_25519{kem}_XChaChaPoly_BLAKE2s"),
            BaseChoice::Noise,
            format!("IK{hfs}{psk}").parse().unwrap(),
            DHChoice::Curve25519,
            // snow knows one KEM by name; the name that is hashed is ours, and so is the KEM.
            (self.suite == Suite::Hybrid).then_some(KemChoice::Kyber1024),
            CipherChoice::XChaChaPoly,
            HashChoice::Blake2s,
        )
    }

    fn snow(&self, initiates: bool) -> HandshakeState {
        let prologue = self.prologue();
        let me = if initiates { &self.device } else { &self.host }.secret();
        let builder = Builder::with_resolver(self.name(), Box::new(Resolver(self.seed ^ 0x5107)))
            .prologue(&prologue)
            .unwrap()
            .psk(if self.pairs { 0 } else { 2 }, self.ticket.psk.expose())
            .unwrap()
            .local_private_key(me.expose())
            .unwrap();
        if initiates {
            builder.remote_public_key(self.host.public().as_bytes()).unwrap().build_initiator().unwrap()
        } else {
            builder.build_responder().unwrap()
        }
    }

    /// We are the device, snow is the host.
    fn start(mut self) {
        let kind = if self.pairs {
            Kind::Pair { ticket: &self.ticket }
        } else {
            Kind::Connect { route: &self.route, psk: &self.ticket.psk }
        };
        let mut hello = [0; HELLO_MAX];
        let (len, state) = start(
            self.suite,
            kind,
            &self.channel,
            &self.device,
            self.host.public(),
            self.own[0],
            &mut self.rng,
            &mut hello,
        )
        .unwrap();

        let mut snow = self.snow(false);
        let mut heard = [0; 64];
        let n = snow.read_message(&hello[PREFIX_LEN..len - MAC1_LEN], &mut heard).unwrap();
        assert_eq!(heard[..n], self.own[0].to_bytes());
        assert_eq!(snow.get_remote_static(), Some(&self.device.public().as_bytes()[..]));

        let mut reply = vec![2, self.suite.to_byte(), self.mode(), 0];
        reply.resize(REPLY_MAX, 0);
        let n = snow.write_message(&self.own[1].to_bytes(), &mut reply[PREFIX_LEN..]).unwrap();
        let (keys, exports) = state.read(&mut reply[..PREFIX_LEN + n]).unwrap();
        assert_eq!((keys.own, keys.peer), (self.own[0], self.own[1]));
        compare(snow, &keys, &exports);
    }

    /// We are the host, snow is the device.
    fn hear(mut self) {
        let mut snow = self.snow(true);
        let mut hello = vec![1, self.suite.to_byte(), self.mode(), 0];
        hello.resize(HELLO_MAX, 0);
        let n = snow.write_message(&self.own[0].to_bytes(), &mut hello[PREFIX_LEN..]).unwrap();
        hello.truncate(PREFIX_LEN + n);
        let host_key = host_mac1_key(self.host.public());
        let key = if self.pairs { &self.ticket.mac1_key } else { &host_key };
        let mac = mac16(key.expose(), &[&hello, &self.channel]);
        hello.extend(mac);

        let door = Door { identity: &self.host, mac1_key: &host_key, route: &self.route, weakest: self.suite };
        let knock = hear(door, [(self.suite, &self.ticket)], &self.channel, &mut hello).unwrap();
        let mut reply = [0; REPLY_MAX];
        let (len, keys, exports) = match knock {
            Knock::Pair(knock) => {
                assert!(self.pairs && knock.peer() == self.device.public());
                knock.reply(self.own[1], &mut self.rng, &mut reply).unwrap()
            }
            Knock::Connect(knock) => {
                assert!(!self.pairs && knock.peer() == self.device.public());
                knock.reply(&self.ticket.psk, self.own[1], &mut self.rng, &mut reply).unwrap()
            }
        };
        let mut heard = [0; 64];
        let n = snow.read_message(&reply[PREFIX_LEN..len], &mut heard).unwrap();
        assert_eq!(Params::parse(&mut Reader::new(&heard[..n])), Ok(self.own[1]));
        assert_eq!((keys.own, keys.peer), (self.own[1], self.own[0]));
        compare(snow, &keys, &exports);
    }
}

/// The transcript's hash, and the session's first keys from snow's split (protocol 7).
fn compare(mut snow: HandshakeState, keys: &Keys, exports: &Exports) {
    assert!(snow.is_handshake_finished());
    assert_eq!(snow.get_handshake_hash(), exports.hash);
    let (k1, k2) = snow.dangerously_get_raw_split();
    let master = extract(&exports.hash, &[&k1, &k2]);
    let [to_host, to_device] = keys.secrets();
    assert!(to_host.same(&expand(&master, "d2h", b"")));
    assert!(to_device.same(&expand(&master, "h2d", b"")));
}

fn all_roles(suite: Suite, pairs: bool) {
    for seed in 0..RUNS {
        Case::new(suite, pairs, seed).start();
        Case::new(suite, pairs, seed).hear();
    }
}

#[test]
fn pair_with_snow() {
    all_roles(Suite::Classic, true);
}

#[test]
fn connect_with_snow() {
    all_roles(Suite::Classic, false);
}

#[test]
fn pair_with_snow_and_the_kem() {
    all_roles(Suite::Hybrid, true);
}

#[test]
fn connect_with_snow_and_the_kem() {
    all_roles(Suite::Hybrid, false);
}
