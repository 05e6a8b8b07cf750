//! Writes the first inputs of the fuzz targets into `seeds/`, from the files in `testvectors/`.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use homing_core::crypto::hash;
use homing_core::hop::{Code, Frame as Hop, Hello, Incoming, Kind};
use homing_core::wire::{HEADER_LEN, Params, Writer};
use homing_fuzz::bodies::Bytes;
use serde_json::Value;

fn main() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let vectors = |name: &str| -> Value {
        let text = fs::read(root.join("../testvectors").join(name)).expect("a file of vectors");
        serde_json::from_slice(&text).expect("JSON")
    };
    let (handshake, ticket, relay) =
        (vectors("handshake.json"), vectors("ticket.json"), vectors("relay_token_keystore.json"));
    let mut seeds = Seeds::default();
    for vector in list(&handshake["vectors"]) {
        seeds.handshake(vector);
        seeds.records(vector);
    }
    let frames = vectors("frames.json");
    for frame in list(&frames["vectors"]) {
        seeds.add("wire", [hex(&frame["bytes"])].into_iter().filter(|bytes| bytes.len() < 1024));
    }
    for text in list(&frames["plaintexts"]) {
        seeds.text(&hex(&text["plaintext"]));
    }
    for link in list(&vectors("links.json")["vectors"]) {
        seeds.add("ticket", [link["link"].as_str().expect("a link")]);
    }
    for message in list(&vectors("hop.json")["vectors"]) {
        seeds.message(&hex(&message["bytes"]));
    }
    for vector in list(&ticket["vectors"]) {
        let body = [hex(&vector["body"]), hex(&vector["check"])].concat();
        let link = vector["uri"].as_str().expect("a link").as_bytes();
        seeds.add("ticket", [&body[..], link]);
        seeds.add("ticket", [&hex(&vector["body"])[..], link.strip_prefix(b"homing://pair/").unwrap_or_default()]);
    }
    seeds.add("keystore", [raw(0, 3, &hex(&relay["keystore"]))]);
    seeds.relay(&relay);
    seeds.joined();
    seeds.add("wire", [Params::default().to_bytes()]);
    for (target, input) in &seeds.0 {
        let name: String = hash(&[input])[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let folder = root.join("seeds").join(target);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join(name), input).expect("a file");
    }
    println!("{} seeds", seeds.0.len());
}

#[derive(Default)]
struct Seeds(BTreeSet<(&'static str, Vec<u8>)>);

impl Seeds {
    fn add<T: AsRef<[u8]>>(&mut self, target: &'static str, inputs: impl IntoIterator<Item = T>) {
        self.0.extend(inputs.into_iter().map(|input| (target, input.as_ref().to_vec())));
    }

    /// Both messages of a handshake, and the broken ones, as raw bytes for whoever reads them.
    fn handshake(&mut self, vector: &Value) {
        let (hybrid, pairs) = (vector["suite"] == 2, vector["mode"] == "pair");
        let to = |at: u8, message: &Value| {
            let flags = [u8::from(hybrid), u8::from(pairs), at];
            [&flags[..], &raw(0, 4, &hex(message))].concat()
        };
        self.add("handshake", [to(0, &vector["hs1"]), to(0x80, &vector["hs1"]), to(0x40, &vector["hs2"])]);
        for invalid in list(&vector["invalid"]) {
            let at = if invalid["input"] == "hs1" { 0 } else { 0x40 };
            self.add("handshake", [to(at, &invalid["bytes"])]);
        }
    }

    /// Records, and what is in them.
    fn records(&mut self, vector: &Value) {
        for record in list(&vector["records"]) {
            let (text, record) = (hex(&record["plaintext"]), hex(&record["record"]));
            if record.len() < 1024 {
                self.text(&text);
                self.add("wire", [&record[..HEADER_LEN]]);
                self.add("session", [Steps::default().step(6, 8, &[1], Some(&record)).after(&[])]);
            }
        }
    }

    /// Two ends that open, write, talk, lose their link and go on.
    fn joined(&mut self) {
        for first in [0, 1] {
            let mut steps = Steps::default();
            for host in [first, 1 - first] {
                let mut step = |number, fields: &[u8]| {
                    steps.0.push(host);
                    steps.step(number, 10, fields, None);
                };
                step(0, &[]);
                step(1, &[0, 200, 0, 1]);
                step(6, &[0, 1]);
                step(7, &[]);
                step(9, &[]);
                step(6, &[0, 1]);
                step(7, &[]);
                step(5, &[0]);
            }
            self.add("mux", [steps.after(&choice(1, 2))]);
        }
    }

    /// The text of a record, to be parsed, sealed and heard.
    fn text(&mut self, text: &[u8]) {
        self.add("wire", [text]);
        for host in [0, 1] {
            let mut steps = Steps::default();
            steps.step(0, 8, &[host, 1], Some(text)).step(2, 8, &[1 - host], None);
            steps.step(0, 8, &[host, 0], Some(text)).step(4, 8, &[1 - host, 9, 0, 1], None);
            self.add("session", [steps.after(&[])]);
        }
        for start in 0..6 {
            let mut steps = Steps::default();
            steps.step(1, 11, &[], Some(text)).step(4, 11, &[], None).step(10, 11, &[1], None);
            steps.step(1, 11, &[], Some(text)).step(4, 11, &[], None);
            self.add("channel", [steps.after(&choice(start, 6))]);
        }
        let mut steps = Steps::default();
        steps.step(0, 6, &[], Some(text)).step(2, 6, &[0, 0], None).step(4, 6, &[0x58, 2], None);
        steps.step(0, 6, &[], Some(text)).step(2, 6, &[0, 0], None).step(2, 6, &[1, 0], None);
        self.add("datagrams", [steps.after(&[])]);
    }

    /// A message of the hop, at a host, at a device that dials, and at a relay after it was joined.
    fn message(&mut self, message: &[u8]) {
        if message.len() < 1024 {
            for at_device in [0, 1] {
                let flags = [at_device, 0];
                self.add("hop", [Steps::default().step(0, STEPS_OF_A_LINK, &[], Some(message)).after(&flags)]);
            }
            for link in [0, 1] {
                self.add("relay", [Steps::default().step(14, STEPS_OF_A_RELAY, &[link], Some(message)).after(&[])]);
            }
        }
    }

    /// What a relay says in turn: at a host, at a device and at the relay.
    fn relay(&mut self, vector: &Value) {
        let array = |name: &str| -> [u8; 32] { hex(&vector[name]).try_into().expect("32 bytes") };
        let id: [u8; 16] = hex(&vector["channel_id"]).try_into().expect("16 bytes");
        let ephemeral = homing_core::crypto::PublicKey::from_bytes(array("relay_eph_pub"));
        let hello = message(0, &Hop::Hello(Hello { version: 1, flags: 0, nonce: array("nonce"), ephemeral }));
        let dialled = Kind::Dial { cap_id: hex(&vector["cap_id"]).try_into().expect("8 bytes") };
        let credit = 65_536;
        let at_host = [
            hello.clone(),
            message(0, &Hop::Ok { ttl: 60 }),
            message(7, &Hop::Incoming(Incoming { channel_id: id, kind: dialled, credit })),
            message(7, &Hop::Data(&[1; 40])),
            message(7, &Hop::Credit { bytes: 1000 }),
            message(0, &Hop::Ping(5)),
            message(7, &Hop::Closed { code: Code::Normal }),
        ];
        let at_device = [
            hello,
            message(1, &Hop::Opened { channel_id: id, credit }),
            message(1, &Hop::Data(&[2; 40])),
            message(1, &Hop::Credit { bytes: 1000 }),
            message(0, &Hop::Ping(5)),
            message(1, &Hop::Closed { code: Code::Gone }),
        ];
        for (flags, messages) in [([0, 0], &at_host[..]), ([1, 0], &at_device), ([1, 1], &at_device)] {
            for heard in 1..=messages.len() {
                let mut steps = Steps::default();
                for message in &messages[..heard] {
                    steps.step(0, STEPS_OF_A_LINK, &[], Some(message));
                }
                self.add("hop", [steps.after(&flags)]);
            }
        }
    }
}

const STEPS_OF_A_LINK: u64 = 20;
const STEPS_OF_A_RELAY: u64 = 18;

/// Steps as they are read: the variant, its small fields, and the bytes that it ends with.
#[derive(Default)]
struct Steps(Vec<u8>);

impl Steps {
    /// The variant `number` of `of`.
    fn step(&mut self, number: u64, of: u64, fields: &[u8], bytes: Option<&[u8]>) -> &mut Self {
        self.0.extend(choice(number, of));
        self.0.extend(fields);
        self.0.extend(bytes.map(|bytes| Bytes(bytes).to_input()).unwrap_or_default());
        self
    }

    fn after(&self, front: &[u8]) -> Vec<u8> {
        [front, &self.0].concat()
    }
}

/// How `arbitrary` reads which variant of an enum it is.
fn choice(number: u64, of: u64) -> [u8; 4] {
    u32::try_from((number << 32).div_ceil(of)).expect("one of them").to_le_bytes()
}

/// A variant that takes all bytes that are left.
fn raw(number: u64, of: u64, bytes: &[u8]) -> Vec<u8> {
    [&choice(number, of)[..], bytes].concat()
}

fn message(idx: u32, frame: &Hop<'_>) -> Vec<u8> {
    let mut out = [0; 512];
    let mut w = Writer::new(&mut out);
    frame.emit(idx, &mut w).expect("a short message");
    let len = w.len();
    out[..len].to_vec()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("hex");
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("hex")).collect()
}
