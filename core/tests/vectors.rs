//! The handshake, the key schedule and the record layer against vectors of an independent
//! implementation (`testvectors/`), failing cases included.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use homing_core::Instant;
use homing_core::crypto::{Aead, Identity, Portable, Psk, Secret, expand, expand_into, hchacha};
use homing_core::handshake::{
    self, AwaitReply, CheckWords, Door, Error, Exports, Keys, Kind, Knock, Suite, Ticket, hear, host_mac1_key, start,
};
use homing_core::session::{Discard, Role, Session};
use homing_core::wire::{HEADER_LEN, Header, Params, Reader, TAG_LEN, padme};
use serde_json::Value;
use support::{Script, array, hex, vectors};

struct Case {
    json: Value,
    suite: Suite,
    device: Identity,
    host: Identity,
    psk: Psk,
    channel: [u8; 16],
    bound: [u8; 32],
    ticket: Ticket,
    own: [Params; 2],
}

impl Case {
    fn all() -> Vec<Self> {
        let file = vectors("handshake.json");
        let cases: Vec<_> = file["vectors"].as_array().unwrap().iter().cloned().map(Self::new).collect();
        assert_eq!(cases.len(), 4);
        cases
    }

    fn new(json: Value) -> Self {
        let prologue = hex(&json["prologue"]);
        let bound: [u8; 32] = prologue[36..].try_into().unwrap();
        Self {
            suite: Suite::from_byte(json["suite"].as_u64().unwrap() as u8).unwrap(),
            device: Identity::from_secret(&Secret::new(array(&json["init_static"]))),
            host: Identity::from_secret(&Secret::new(array(&json["resp_static"]))),
            psk: Psk::new(array(&json["psk"])),
            channel: array(&json["channel_id"]),
            bound,
            ticket: Ticket {
                hash: bound,
                psk: Psk::new(array(&json["psk"])),
                mac1_key: Secret::new(array(&json["mac1_key"])),
            },
            own: ["payload1", "payload2"].map(|name| Params::parse(&mut Reader::new(&hex(&json[name]))).unwrap()),
            json,
        }
    }

    fn pairs(&self) -> bool {
        self.json["mode"] == "pair"
    }

    fn route(&self) -> [u8; 16] {
        self.bound[..16].try_into().unwrap()
    }

    fn start(&self) -> (Vec<u8>, AwaitReply) {
        let mut rng = Script::new([&self.json["init_ephemeral"], &self.json["kem_keygen_seed"]]);
        let route = self.route();
        let kind = if self.pairs() {
            Kind::Pair { ticket: &self.ticket }
        } else {
            Kind::Connect { route: &route, psk: &self.psk }
        };
        let mut out = [0; handshake::HELLO_MAX];
        let (len, state) =
            start(self.suite, kind, &self.channel, &self.device, self.host.public(), self.own[0], &mut rng, &mut out)
                .unwrap();
        (out[..len].to_vec(), state)
    }

    fn hear(&self, hello: &mut [u8]) -> Result<Knock, Error> {
        let mac1_key = host_mac1_key(self.host.public());
        let door = Door { identity: &self.host, mac1_key: &mac1_key, route: &self.route(), weakest: Suite::Classic };
        hear(door, [(self.suite, &self.ticket)], &self.channel, hello)
    }

    fn reply(&self, knock: Knock) -> (Vec<u8>, Keys, Exports) {
        let mut rng = Script::new([&self.json["resp_ephemeral"], &self.json["kem_encaps_m"]]);
        let mut out = [0; handshake::REPLY_MAX];
        let (len, keys, exports) = match knock {
            Knock::Pair(knock) => knock.reply(self.own[1], &mut rng, &mut out).unwrap(),
            Knock::Connect(knock) => knock.reply(&self.psk, self.own[1], &mut rng, &mut out).unwrap(),
        };
        (out[..len].to_vec(), keys, exports)
    }

    /// Both ends' keys.
    fn complete(&self) -> [(Keys, Exports); 2] {
        let (mut hello, state) = self.start();
        let knock = self.hear(&mut hello).unwrap();
        let (mut reply, keys, exports) = self.reply(knock);
        [state.read(&mut reply).unwrap(), (keys, exports)]
    }
}

#[test]
fn handshake_messages_are_those_of_the_reference() {
    for case in Case::all() {
        let (mut hello, state) = case.start();
        assert_eq!(hello, hex(&case.json["hs1"]));
        let knock = case.hear(&mut hello).unwrap();
        let peer = match &knock {
            Knock::Pair(knock) => *knock.peer(),
            Knock::Connect(knock) => *knock.peer(),
        };
        assert_eq!(&peer, case.device.public());
        let (mut reply, ..) = case.reply(knock);
        assert_eq!(reply, hex(&case.json["hs2"]));
        state.read(&mut reply).unwrap();
    }
}

#[test]
fn both_ends_export_what_the_reference_does() {
    for case in Case::all() {
        for (keys, exports) in case.complete() {
            let expected = &case.json["exports"];
            assert_eq!(exports.hash, array::<32>(&case.json["handshake_hash"]));
            assert_eq!(exports.resume_secret.expose(), &array(&expected["resume"]));
            assert_eq!(exports.binding.expose(), &array(&expected["bind"]));
            assert_eq!(exports.session_id, array::<16>(&expected["session id"]));
            if case.pairs() {
                assert_eq!(exports.device_root.expose(), &array(&expected["device root"]));
            } else {
                let root = Secret::new(array(&case.json["device_root"]));
                assert!(Exports::psk(&root, case.suite).same(&case.psk));
                assert_eq!(host_mac1_key(case.host.public()).expose(), &array(&case.json["mac1_key"]));
            }
            check_words(&case.json, exports.check);
            let first = |d: &str| {
                let all = case.json["key_schedule"].as_array().unwrap();
                array::<32>(&all.iter().find(|e| e["direction"] == d && e["epoch"] == 0).unwrap()["secret"])
            };
            assert_eq!(keys.secrets().map(|s| *s.expose()), [first("d2h"), first("h2d")]);
        }
    }
}

fn check_words(json: &Value, check: CheckWords) {
    assert_eq!(check.to_string(), json["sas"].as_str().unwrap());
    let symbols: Vec<_> = json["sas_emoji"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect();
    assert_eq!(check.symbols().map(u64::from).to_vec(), symbols);
}

#[test]
fn the_key_schedule_is_that_of_the_reference() {
    for case in Case::all() {
        let [(keys, _), _] = case.complete();
        for (direction, first) in ["d2h", "h2d"].into_iter().zip(keys.secrets()) {
            let mut secret = first.duplicate();
            let all = case.json["key_schedule"].as_array().unwrap();
            let epochs: Vec<_> = all.iter().filter(|e| e["direction"] == direction).collect();
            assert_eq!(epochs.len(), 3);
            for epoch in epochs {
                assert_eq!(secret.expose(), &array(&epoch["secret"]));
                assert_eq!(expand(&secret, "key", b"").expose(), &array(&epoch["key"]));
                assert_eq!(expand_into::<16>(&secret, "nonce", b"").expose(), &array(&epoch["nonce_prefix"]));
                secret = expand(&secret, "next", b"");
            }
        }
    }
}

#[test]
fn records_are_those_of_the_reference() {
    for case in Case::all() {
        let [(device, _), (host, _)] = case.complete();
        let mut device = Session::<Portable>::new(Role::Device, &device, Instant::ZERO);
        let mut host = Session::<Portable>::new(Role::Host, &host, Instant::ZERO);
        let (mut by_session, mut by_hand) = (0, 0);
        for record in case.json["records"].as_array().unwrap() {
            let epoch = record["epoch"].as_u64().unwrap() as u32;
            let counter: u64 = record["counter"].as_str().unwrap().parse().unwrap();
            let (text, expected) = (hex(&record["plaintext"]), hex(&record["record"]));
            let mut buf = [&[0; HEADER_LEN], &text[..], &[0; TAG_LEN]].concat();
            let d2h = record["direction"] == "d2h";
            let (from, to) = if d2h { (&mut device, &mut host) } else { (&mut host, &mut device) };
            if (Header { epoch, counter }) == from.next_sealed() {
                let len = from.seal(Instant::ZERO, &mut buf, text.len()).unwrap();
                assert_eq!(buf[..len], expected);
                assert_eq!(to.open(Instant::ZERO, &mut buf).unwrap(), text);
                by_session += 1;
            } else {
                // Counters that a session never has in this epoch: the same steps by hand.
                let of = |e: &&Value| e["direction"] == record["direction"] && e["epoch"] == record["epoch"];
                let keys = case.json["key_schedule"].as_array().unwrap().iter().find(of).unwrap();
                let subkey = hchacha(&Secret::new(array(&keys["key"])), &array(&keys["nonce_prefix"]));
                let aead = Portable::new(&subkey);
                let header = Header { epoch, counter }.to_bytes();
                buf[..HEADER_LEN].copy_from_slice(&header);
                let tag = aead.seal(counter, &header, &mut buf[HEADER_LEN..HEADER_LEN + text.len()]);
                buf[HEADER_LEN + text.len()..].copy_from_slice(&tag);
                assert_eq!(buf, expected);
                aead.open(counter, &header, &mut buf[HEADER_LEN..]).unwrap();
                assert_eq!(buf[HEADER_LEN..HEADER_LEN + text.len()], text);
                by_hand += 1;
            }
        }
        assert_eq!((by_session, by_hand), (3, 3));
    }
}

#[test]
fn failing_cases_fail_as_the_reference_says() {
    let mut seen = 0;
    for case in Case::all() {
        for invalid in case.json["invalid"].as_array().unwrap() {
            let mut bytes = hex(&invalid["bytes"]);
            let error = invalid["error"].as_str().unwrap();
            let input = invalid["input"].as_str().unwrap();
            let got = match input {
                "hs1" => handshake_error(case.hear(&mut bytes).unwrap_err()),
                "hs2" => handshake_error(case.start().1.read(&mut bytes).unwrap_err()),
                "record d2h expecting epoch 0 counter 0" => {
                    let [_, (keys, _)] = case.complete();
                    let mut host = Session::<Portable>::new(Role::Host, &keys, Instant::ZERO);
                    match host.open(Instant::ZERO, &mut bytes).unwrap_err() {
                        Discard::Malformed => "type",
                        Discard::Order => "order",
                        Discard::Epoch => "epoch",
                        Discard::Forged => "decrypt",
                        Discard::Replayed | Discard::Worn => "of datagrams only",
                    }
                }
                other => panic!("unknown input {other}"),
            };
            assert_eq!(got, error, "{input} {}", invalid["bytes"]);
            seen += 1;
        }
    }
    assert_eq!(seen, 68);
}

fn handshake_error(error: Error) -> &'static str {
    match error {
        Error::Type => "type",
        Error::Length => "length",
        Error::Suite => "suite",
        Error::Reserved => "reserved",
        Error::Mac1 => "mac1",
        Error::Forged => "decrypt",
        Error::WeakKey => "non-contributory dh",
        Error::KemKey => "kem key",
        Error::NoSpace => "no space",
    }
}

#[test]
fn padding_lengths_are_those_of_the_reference() {
    for case in vectors("padme.json")["vectors"].as_array().unwrap() {
        let len = case["len"].as_u64().unwrap() as usize;
        assert_eq!(padme(len, 16_384) as u64, case["padded"].as_u64().unwrap(), "{len}");
    }
}

#[test]
fn another_hosts_key_cannot_read_the_hello() {
    for case in Case::all() {
        let (mut hello, _) = case.start();
        let other = Identity::from_secret(&Secret::new([7; 32]));
        let mac1_key = host_mac1_key(other.public());
        let door = Door { identity: &other, mac1_key: &mac1_key, route: &case.route(), weakest: Suite::Classic };
        let heard = hear(door, [(case.suite, &case.ticket)], &case.channel, &mut hello);
        let expected = if case.pairs() { Error::Forged } else { Error::Mac1 };
        assert_eq!(heard.unwrap_err(), expected);
    }
}
