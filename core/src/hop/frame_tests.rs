//! Every outer frame as pinned bytes, and the codec's properties.

extern crate std;

use std::string::String;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| std::format!("{byte:02x}")).collect()
}

fn emit(idx: u32, frame: &Frame<'_>) -> Vec<u8> {
    let mut out = vec![0; MAX_MESSAGE];
    let mut w = Writer::new(&mut out);
    frame.emit(idx, &mut w).unwrap();
    let len = w.len();
    out.truncate(len);
    out
}

#[test]
fn every_frame_has_its_bytes() {
    let (n16, n8, n32) = ([0x16; 16], [0x08; 8], [0x32; 32]);
    let key = PublicKey::from_bytes([0xee; 32]);
    let (x16, x32, xee) = ("16".repeat(16), "32".repeat(32), "ee".repeat(32));
    let register = Register { route: key, mac: n16, current: &n32, previous: &[0x31; 32], operator_key: b"op" };
    let dial = Dial { route_id: n16, cap_id: n8, expiry: 0x0102_0304, class: 5, proof: [0x17; 16] };
    let cap = Kind::Dial { cap_id: n8 };
    let cases = [
        // type, idx 0, version 1, flags 0, nonce, ephemeral
        (
            0,
            Frame::Hello(Hello { version: 1, flags: 0, nonce: n32, ephemeral: key }),
            std::format!("80000000000100{x32}{xee}"),
        ),
        // route, mac, two keys, 2, "op"
        (0, Frame::Register(register), std::format!("8100000000{xee}{x16}{x32}{}026f70", "31".repeat(32))),
        (0, Frame::Ok { ttl: 75 }, "82000000004b000000".into()),
        (0, Frame::PairSlot { rv_hash: n16, ttl: 300 }, std::format!("8300000000{x16}2c01")),
        (0, Frame::CapDeny { cap_id: n8, until: 0x0102_0304 }, "8400000000080808080808080804030201".into()),
        (1, Frame::Dial(dial), std::format!("8501000000{x16}08080808080808080403020105{}", "17".repeat(16))),
        (1, Frame::DialPair { rendezvous: n16 }, std::format!("8601000000{x16}")),
        // channel id, kind 0, capability, credit
        (
            7,
            Frame::Incoming(Incoming { channel_id: n16, kind: cap, credit: 4096 }),
            std::format!("8707000000{x16}00080808080808080800100000"),
        ),
        (
            7,
            Frame::Incoming(Incoming { channel_id: n16, kind: Kind::Pair, credit: 4096 }),
            std::format!("8707000000{x16}01000000000000000000100000"),
        ),
        (7, Frame::Accept { credit: 61_440 }, "880700000000f00000".into()),
        (7, Frame::Refuse { code: Code::Busy }, "890700000003".into()),
        (1, Frame::Opened { channel_id: n16, credit: 4096 }, std::format!("8a01000000{x16}00100000")),
        (0x0403_0201, Frame::Data(b"abc"), "8b01020304616263".into()),
        (7, Frame::Credit { bytes: 16_384 }, "8c0700000000400000".into()),
        (7, Frame::Closed { code: Code::Gone }, "8d0700000007".into()),
        (0, Frame::Closed { code: Code::Draining }, "8d0000000009".into()),
        (0, Frame::Ping(0x0102), "8e000000000201000000000000".into()),
        (0, Frame::Pong(0x0102), "8f000000000201000000000000".into()),
        (0, Frame::Attach { channel_id: n16, mac: n16 }, std::format!("9000000000{x16}{x16}")),
        (0, Frame::Knock, "9100000000".into()),
    ];
    for (idx, frame, bytes) in cases {
        let message = emit(idx, &frame);
        assert_eq!(hex(&message), bytes, "{frame:?}");
        assert_eq!(Frame::parse(&message), Ok((idx, frame)));
        let is_data = matches!(frame, Frame::Data(_));
        assert!(is_data || message.len() <= MAX_CONTROL);

        // Nothing is missing and nothing follows. DATA alone has a body of any length.
        for len in 0..message.len() {
            assert_eq!(Frame::parse(&message[..len]).is_ok(), is_data && len > DATA_HEADER_LEN, "{frame:?} {len}");
        }
        let mut longer = message.clone();
        longer.push(0);
        assert_eq!(Frame::parse(&longer).is_ok(), is_data, "{frame:?}");

        // Each belongs to the link or to a channel.
        let mut moved = message.clone();
        moved[1..5].copy_from_slice(&if idx == 0 { 1u32 } else { 0 }.to_le_bytes());
        assert_eq!(Frame::parse(&moved).is_ok(), matches!(frame, Frame::Closed { .. }), "{frame:?}");

        // Written whole or not at all.
        let mut short = vec![0; message.len() - 1];
        let mut w = Writer::new(&mut short);
        assert_eq!(frame.emit(idx, &mut w), Err(NoSpace));
        assert!(w.is_empty());
    }
}

#[test]
fn fields_out_of_bounds_are_malformed() {
    let mut longest = vec![0; MAX_MESSAGE + 1];
    longest[..DATA_HEADER_LEN].copy_from_slice(&data_header(1));
    assert_eq!(Frame::parse(&longest), Err(Malformed));
    longest.pop();
    assert!(matches!(Frame::parse(&longest), Ok((1, Frame::Data(body))) if body.len() == MAX_RECORD));

    for message in [
        &[0x7f, 0, 0, 0, 0][..],
        &[0x92, 0, 0, 0, 0],
        // no credit, an unknown code
        &[0x8c, 7, 0, 0, 0, 0, 0, 0, 0],
        &[0x8d, 7, 0, 0, 0, 12],
        &[0x89, 7, 0, 0, 0, 255],
    ] {
        assert_eq!(Frame::parse(message), Err(Malformed), "{message:02x?}");
    }

    let mut incoming = emit(7, &Frame::Incoming(Incoming { channel_id: [0; 16], kind: Kind::Pair, credit: 0 }));
    incoming[21] = 2;
    assert_eq!(Frame::parse(&incoming), Err(Malformed), "an unknown kind");
    incoming[21] = 1;
    incoming[22] = 1;
    assert_eq!(Frame::parse(&incoming), Err(Malformed), "a pairing with a capability");

    let long = [b'x'; MAX_NAME + 1];
    let zero = [0; 32];
    let register = Register {
        route: PublicKey::from_bytes(zero),
        mac: [0; 16],
        current: &zero,
        previous: &zero,
        operator_key: &long,
    };
    let mut out = [0; MAX_MESSAGE];
    assert_eq!(Frame::Register(register).emit(0, &mut Writer::new(&mut out)), Err(NoSpace));
    let shorter = Register { operator_key: &long[..MAX_NAME], ..register };
    let mut message = emit(0, &Frame::Register(shorter));
    assert_eq!(message.len(), MAX_CONTROL);
    message.push(b'x');
    message[MAX_CONTROL - 1 - MAX_NAME] = MAX_NAME as u8 + 1;
    assert_eq!(Frame::parse(&message), Err(Malformed), "an operator key of 65 bytes");
}

#[test]
fn debug_shows_no_secret() {
    let zero = [0x99; 32];
    let register = Register {
        route: PublicKey::from_bytes([1; 32]),
        mac: [0x99; 16],
        current: &zero,
        previous: &zero,
        operator_key: b"secret",
    };
    for frame in [Frame::Register(register), Frame::DialPair { rendezvous: [0x99; 16] }, Frame::Data(&[0x99; 4])] {
        let shown = std::format!("{frame:?} {register:?}");
        assert!(!shown.contains("99") && !shown.contains("153") && !shown.contains("secret"), "{shown}");
    }
}

/// A message of any type whose body has the right length for some of them.
fn any_message() -> impl Strategy<Value = Vec<u8>> {
    (0x7fu8..0x93, prop_oneof![Just(0u32), any::<u32>()], proptest::collection::vec(any::<u8>(), 0..200)).prop_map(
        |(kind, idx, body)| {
            let mut message = vec![kind];
            message.extend(idx.to_le_bytes());
            message.extend(body);
            message
        },
    )
}

/// The same, cut to a length at which its type parses, if there is one.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    any_message().prop_filter_map("parses at no length", |mut message| {
        if !matches!(message[0], 0x85..=0x8d) {
            message[1..5].fill(0);
        }
        (DATA_HEADER_LEN..=message.len()).find(|len| Frame::parse(&message[..*len]).is_ok()).map(|len| {
            message.truncate(len);
            message
        })
    })
}

proptest! {
    #[test]
    fn what_parses_is_emitted_alike(message in any_frame()) {
        let (idx, frame) = Frame::parse(&message).unwrap();
        prop_assert_eq!(emit(idx, &frame), message);
    }

    #[test]
    fn garbage_never_panics(message in any_message()) {
        if let Ok((idx, frame)) = Frame::parse(&message) {
            prop_assert_eq!(emit(idx, &frame), message);
        }
    }
}
