//! The table that the formal models are generated from (`core/models/handshakes.json`) against the code: every byte of
//! both messages and everything derived from them follows from the table's names, tokens, prologue and labels.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use homing_core::crypto::{
    Identity, PROTO, Psk, PublicKey, Secret, expand, expand_into, extract, hash, mac16, seal_detached,
};
use homing_core::handshake::{
    Door, Exports, HELLO_MAX, Keys, Kind, Knock, REPLY_MAX, Suite, Ticket, hear, host_mac1_key, start,
};
use homing_core::wire::Params;
use ml_kem::{DecapsulationKey768, KeyExport};
use serde_json::Value;
use support::Seeded;

const SEEDS: u64 = 5;

fn table() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/handshakes.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn list_of(value: &Value) -> Vec<&Value> {
    value.as_array().unwrap().iter().collect()
}

fn list(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().unwrap().iter().map(text)
}

/// All secrets of both ends of one handshake: enough to foretell it.
struct Ends {
    suite: Suite,
    device: Identity,
    host: Identity,
    psk: Psk,
    ticket: Ticket,
    channel: [u8; 16],
    route: [u8; 16],
    own: [Params; 2],
    device_rng: u64,
    host_rng: u64,
}

impl Ends {
    fn new(suite: u8, seed: u64) -> Self {
        let mut rng = Seeded::new(seed);
        let mut secret = || Secret::<32>::random(&mut rng);
        let psk = secret();
        let ticket = Ticket { hash: *secret().expose(), psk: psk.duplicate(), mac1_key: secret() };
        Self {
            suite: Suite::from_byte(suite).unwrap(),
            device: Identity::from_secret(&secret()),
            host: Identity::from_secret(&secret()),
            psk,
            ticket,
            channel: *Secret::random(&mut rng).expose(),
            route: *Secret::random(&mut rng).expose(),
            own: [params(8), params(64)],
            device_rng: seed ^ 0xd,
            host_rng: seed ^ 0xa0,
        }
    }

    /// What the code says: both messages, and what each end holds afterwards.
    fn run(&self, pairs: bool) -> ([Vec<u8>; 2], [(Keys, Exports); 2]) {
        let kind = if pairs {
            Kind::Pair { ticket: &self.ticket }
        } else {
            Kind::Connect { route: &self.route, psk: &self.psk }
        };
        let mut hello = [0; HELLO_MAX];
        let rng = &mut Seeded::new(self.device_rng);
        let (len, state) =
            start(self.suite, kind, &self.channel, &self.device, self.host.public(), self.own[0], rng, &mut hello)
                .unwrap();
        let sent = hello[..len].to_vec();

        let mac1_key = host_mac1_key(self.host.public());
        let door = Door { identity: &self.host, mac1_key: &mac1_key, route: &self.route, weakest: self.suite };
        let knock = hear(door, [(self.suite, &self.ticket)], &self.channel, &mut hello[..len]).unwrap();
        let mut reply = [0; REPLY_MAX];
        let rng = &mut Seeded::new(self.host_rng);
        let (len, keys, exports) = match knock {
            Knock::Pair(knock) => knock.reply(self.own[1], rng, &mut reply).unwrap(),
            Knock::Connect(knock) => knock.reply(&self.psk, self.own[1], rng, &mut reply).unwrap(),
        };
        let answered = reply[..len].to_vec();
        let device = state.read(&mut reply[..len]).unwrap();
        ([sent, answered], [device, (keys, exports)])
    }
}

fn byte(value: &Value) -> u8 {
    value.as_u64().unwrap().try_into().unwrap()
}

fn params(max_streams: u16) -> Params {
    let params =
        Params { features: 0, max_record: 16384, max_streams, session_window: 128 << 10, stream_window: 64 << 10 };
    assert!(params.is_valid());
    params
}

/// Noise's symmetric state, written out once more.
struct Walk {
    h: [u8; 32],
    ck: [u8; 32],
    key: [u8; 32],
    nonce: u64,
    /// The message so far.
    wire: Vec<u8>,
}

impl Walk {
    fn new(name: &str) -> Self {
        assert!(name.len() > 32, "Noise pads names up to 32 bytes, and hashes longer ones");
        let h = hash(&[name.as_bytes()]);
        Self { h, ck: h, key: [0; 32], nonce: 0, wire: Vec::new() }
    }

    fn mix_hash(&mut self, data: &[u8]) {
        self.h = hash(&[&self.h, data]);
    }

    fn mix_key(&mut self, ikm: &[u8]) {
        let [ck, key, _] = self.hkdf(ikm);
        (self.ck, self.key, self.nonce) = (ck, key, 0);
    }

    /// The three outputs of Noise's HKDF.
    fn hkdf(&self, ikm: &[u8]) -> [[u8; 32]; 3] {
        let prk = *extract(&self.ck, &[ikm]).expose();
        let first = *extract(&prk, &[&[1]]).expose();
        let second = *extract(&prk, &[&first, &[2]]).expose();
        [first, second, *extract(&prk, &[&second, &[3]]).expose()]
    }

    fn seal(&mut self, data: &[u8]) {
        let mut nonce = [0; 24];
        nonce[16..].copy_from_slice(&self.nonce.to_le_bytes());
        let mut sealed = data.to_vec();
        let tag = seal_detached(&Secret::new(self.key), &nonce, &self.h, &mut sealed);
        sealed.extend(tag);
        self.nonce += 1;
        self.mix_hash(&sealed);
        self.wire.extend(sealed);
    }
}

fn prologue(table: &Value, row: &Value, ends: &Ends) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in list(&table["prologue"]).chain(list(&row["bound"])) {
        match part {
            "proto" => bytes.extend(text(&table["proto"]).as_bytes()),
            "suite" => bytes.push(byte(&row["suite"])),
            "mode" => bytes.push(byte(&row["mode"])),
            "channel" => bytes.extend(ends.channel),
            "ticket hash" => bytes.extend(ends.ticket.hash),
            "route" => bytes.extend(ends.route),
            zeros if zeros.starts_with("0^") => bytes.resize(bytes.len() + zeros[2..].parse::<usize>().unwrap(), 0),
            label => bytes.extend(label.as_bytes()),
        }
    }
    bytes
}

/// The key of the outer MAC of message 1.
fn mac1_key(table: &Value, row: &Value, ends: &Ends) -> Secret<32> {
    match text(&row["mac1"]) {
        "ticket" => ends.ticket.mac1_key.duplicate(),
        "host" => {
            let label = text(&table["labels"]["mac1"]).as_bytes();
            Secret::new(hash(&[text(&table["proto"]).as_bytes(), label, ends.host.public().as_bytes()]))
        }
        key => panic!("no such key: {key}"),
    }
}

/// What the table says: both messages, the last hash, and M of protocol 7.
fn foretell(table: &Value, row: &Value, ends: &Ends) -> ([Vec<u8>; 2], [u8; 32], Secret<32>) {
    let mut walk = Walk::new(text(&row["noise"]));
    walk.mix_hash(&prologue(table, row, ends));
    walk.mix_hash(ends.host.public().as_bytes());

    let mut rngs = [Seeded::new(ends.device_rng), Seeded::new(ends.host_rng)];
    let (mut ephemerals, mut kem) = (Vec::<Identity>::new(), None);
    let dh = |device: &Identity, host: &PublicKey| *device.agree(host).unwrap().expose();
    let messages: [&Value; 2] = list_of(&row["tokens"]).try_into().unwrap();
    let types: [&Value; 2] = list_of(&table["types"]).try_into().unwrap();
    let messages = [0, 1].map(|writer| {
        walk.wire = vec![byte(types[writer]), byte(&row["suite"]), byte(&row["mode"]), 0];
        for token in list(messages[writer]) {
            match token {
                "psk" => {
                    let [ck, middle, key] = walk.hkdf(ends.psk.expose());
                    walk.mix_hash(&middle);
                    (walk.ck, walk.key, walk.nonce) = (ck, key, 0);
                }
                "e" => {
                    let e = Identity::generate(&mut rngs[writer]);
                    walk.wire.extend(e.public().as_bytes());
                    walk.mix_hash(e.public().as_bytes());
                    walk.mix_key(e.public().as_bytes());
                    ephemerals.push(e);
                }
                "es" => walk.mix_key(&dh(&ephemerals[0], ends.host.public())),
                "ss" => walk.mix_key(&dh(&ends.device, ends.host.public())),
                "ee" => walk.mix_key(&dh(&ephemerals[0], ephemerals[1].public())),
                "se" => walk.mix_key(&dh(&ends.device, ephemerals[1].public())),
                "s" => walk.seal(ends.device.public().as_bytes()),
                "e1" => {
                    let seed = Secret::<64>::random(&mut rngs[writer]);
                    let key = DecapsulationKey768::from_seed((*seed.expose()).into()).encapsulation_key().clone();
                    walk.seal(&key.to_bytes());
                    kem = Some(key);
                }
                "ekem1" => {
                    let coins = Secret::<32>::random(&mut rngs[writer]);
                    let (sent, shared) = kem.as_ref().unwrap().encapsulate_deterministic(&(*coins.expose()).into());
                    walk.seal(&sent);
                    walk.mix_key(&shared);
                }
                "params" => walk.seal(&ends.own[writer].to_bytes()),
                token => panic!("no such token: {token}"),
            }
        }
        if writer == 0 {
            let mac = mac16(mac1_key(table, row, ends).expose(), &[&walk.wire, &ends.channel]);
            walk.wire.extend(mac);
        }
        core::mem::take(&mut walk.wire)
    });
    let [k1, k2, _] = walk.hkdf(&[]);
    let master = extract(&walk.h, &[&k1, &k2]);
    (messages, walk.h, master)
}

/// Whether what one end holds is what the labels make of M.
fn check_schedule(labels: &Value, suite: Suite, master: &Secret<32>, keys: &Keys, exports: &Exports) {
    let all: BTreeMap<&str, &str> = labels.as_object().unwrap().iter().map(|(k, v)| (k.as_str(), text(v))).collect();
    let [device_to_host, host_to_device] = keys.secrets();
    for (name, label) in all {
        let made = expand(master, label, b"");
        match name {
            "device_to_host" => assert!(made.same(device_to_host)),
            "host_to_device" => assert!(made.same(host_to_device)),
            "device_root" => assert!(made.same(&exports.device_root)),
            "resume_secret" => assert!(made.same(&exports.resume_secret)),
            "binding" => assert!(made.same(&exports.binding)),
            "session_id" => assert_eq!(expand_into::<16>(master, label, b"").expose(), &exports.session_id),
            "check" => {
                let symbols = exports.check.symbols();
                let value = u64::from_le_bytes(*expand_into(master, label, b"").expose());
                assert_eq!(symbols, [0, 6, 12, 18, 24].map(|shift| (value >> shift & 63) as u8));
            }
            "psk" => {
                let root = &exports.device_root;
                assert!(expand(root, label, &[suite.to_byte()]).same(&Exports::psk(root, suite)));
            }
            "mac1" => {} // In message 1.
            name => panic!("nothing of the code has the label of {name}"),
        }
    }
}

#[test]
fn the_table_foretells_every_byte() {
    let table = table();
    assert_eq!(text(&table["proto"]).as_bytes(), PROTO);
    let mut seen = BTreeSet::new();
    for row in list_of(&table["handshakes"]) {
        let (suite, mode) = (byte(&row["suite"]), byte(&row["mode"]));
        assert!(seen.insert((suite, mode)), "two rows for one handshake");
        for seed in 0..SEEDS {
            let ends = Ends::new(suite, seed);
            let (messages, held) = ends.run(mode == 1);
            let (foretold, hash, master) = foretell(&table, row, &ends);
            assert_eq!(messages, foretold, "{}", row["name"]);
            for (keys, exports) in &held {
                assert_eq!(exports.hash, hash);
                check_schedule(&table["labels"], ends.suite, &master, keys, exports);
            }
        }
    }
    assert_eq!(seen, BTreeSet::from([(1, 1), (1, 2), (2, 1), (2, 2)]));
}
