//! Every frame, header and parameter block as the bytes that other implementations must write,
//! and the forms that must be refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use homing_core::wire::{
    Auth, AuthOk, Caveats, Close, Frame, HEADER_LEN, Header, MAX_RECORD, Malformed, PARAMS_LEN, PairAccept, PairFinish,
    Params, Reader, ResumeEntries, ResumeEntry, ResumeState, STREAM_HEADER_LEN, Scope, StreamId, Writer,
};
use support::unhex;

const TOKEN: [u8; 40] = [0x70; 40];
const CAPABILITY: [u8; 45] = [0xca; 45];

/// Bytes with what they mean.
type Layout<'a> = &'a [(&'a str, &'a str)];

fn bytes_of(layout: Layout<'_>) -> Vec<u8> {
    unhex(&layout.iter().map(|(hex, _)| *hex).collect::<String>())
}

fn parse(bytes: &[u8]) -> Result<Option<Frame<'_>>, Malformed> {
    Frame::parse(&mut Reader::new(bytes))
}

/// The frame has exactly these bytes; cut off anywhere it is none; in too little room it is not written at all.
fn pin(frame: &Frame<'_>, layout: Layout<'_>) {
    let expected = bytes_of(layout);
    let mut out = vec![0xee; expected.len() + 1];
    let mut w = Writer::new(&mut out);
    frame.emit(&mut w).unwrap();
    let len = w.len();
    assert_eq!(out[..len], expected, "{frame:?}");
    let mut r = Reader::new(&expected);
    assert_eq!(Frame::parse(&mut r), Ok(Some(*frame)));
    assert!(r.is_empty());
    for cut in 1..expected.len() {
        assert_eq!(parse(&expected[..cut]), Err(Malformed), "{frame:?} cut at {cut}");
    }
    for room in 0..expected.len() {
        let mut w = Writer::new(&mut out[..room]);
        assert!(frame.emit(&mut w).is_err(), "{frame:?} in {room} bytes");
        assert!(w.is_empty(), "{frame:?} was written in part");
    }
}

fn refused(layout: Layout<'_>) {
    assert_eq!(parse(&bytes_of(layout)), Err(Malformed), "{layout:?}");
}

#[test]
fn liveness_and_close_have_these_bytes() {
    let number = [("efcdab8967452301", "number, little-endian")];
    pin(&Frame::Ping(0x0123_4567_89ab_cdef), &[("01", "PING"), number[0]]);
    pin(&Frame::Pong(0x0123_4567_89ab_cdef), &[("02", "PONG"), number[0]]);
    let close = |scope, code, text| Frame::Close(Close { scope, code, text });
    pin(
        &close(Scope::Session, 0x0102, "bye"),
        &[("03", "CLOSE"), ("00", "session"), ("0201", "code"), ("03", "length"), ("627965", "text")],
    );
    pin(
        &close(Scope::Channel, 10, ""),
        &[("03", "CLOSE"), ("01", "channel"), ("0a00", "superseded"), ("00", "length")],
    );
}

#[test]
fn pairing_frames_have_these_bytes() {
    pin(
        &Frame::PairFinish(PairFinish { platform: 2, name: "Zoë" }),
        &[("10", "PAIR_FINISH"), ("02", "browser"), ("04", "length"), ("5a6fc3ab", "name, UTF-8")],
    );
    pin(&Frame::PairPending(60), &[("11", "PAIR_PENDING"), ("3c00", "seconds")]);
    let accept = PairAccept {
        device_id: &[1; 8],
        token: &TOKEN,
        route_id: &[0x40; 16],
        capability: &CAPABILITY,
        host_name: "nas",
    };
    pin(
        &Frame::PairAccept(accept),
        &[
            ("12", "PAIR_ACCEPT"),
            ("0101010101010101", "device id"),
            (&"70".repeat(40), "token"),
            (&"40".repeat(16), "route id"),
            (&"ca".repeat(45), "capability"),
            ("03", "length"),
            ("6e6173", "host name"),
        ],
    );
    pin(&Frame::PairAck, &[("13", "PAIR_ACK")]);
}

#[test]
fn authentication_frames_have_these_bytes() {
    let (id, proof) = ([0x1d; 16], [0x9f; 16]);
    pin(
        &Frame::Auth(Auth { token: &TOKEN, resume: None }),
        &[("18", "AUTH"), ("00", "new"), (&"70".repeat(40), "token"), (&"00".repeat(32), "no session, no proof")],
    );
    pin(
        &Frame::Auth(Auth { token: &TOKEN, resume: Some((&id, &proof)) }),
        &[
            ("18", "AUTH"),
            ("01", "resume"),
            (&"70".repeat(40), "token"),
            (&"1d".repeat(16), "session id"),
            (&"9f".repeat(16), "proof"),
        ],
    );
    pin(&Frame::AuthOk(AuthOk { resumed: None }), &[("19", "AUTH_OK"), ("00", "new"), (&"00".repeat(16), "no proof")]);
    pin(
        &Frame::AuthOk(AuthOk { resumed: Some(&proof) }),
        &[("19", "AUTH_OK"), ("01", "resumed"), (&"9f".repeat(16), "proof")],
    );
    pin(&Frame::Token(&TOKEN), &[("1a", "TOKEN"), (&"70".repeat(40), "token")]);
    pin(&Frame::TokenAck, &[("1b", "TOKEN_ACK")]);
    pin(&Frame::Cap(&CAPABILITY), &[("1c", "CAP"), (&"ca".repeat(45), "capability")]);
    pin(&Frame::Rotate(&[1, 2, 3]), &[("1d", "ROTATE"), ("03", "length"), ("010203", "ticket")]);
    let caveats = Caveats::from_bytes(&[2, 1, 0, 0x61, 2, 0, 0x62, 0x63]).unwrap();
    pin(
        &Frame::Guest(caveats),
        &[("1e", "GUEST"), ("02", "caveats"), ("0100", "length"), ("61", "one"), ("0200", "length"), ("6263", "other")],
    );
}

#[test]
fn stream_frames_have_these_bytes() {
    let id = StreamId(0x0304);
    let header: Layout<'_> =
        &[("20", "STREAM"), ("01", "fin"), ("04030000", "id"), ("0807060504030201", "offset"), ("0300", "length")];
    assert_eq!(bytes_of(header).len(), STREAM_HEADER_LEN);
    let data = [("616263", "data")];
    pin(&Frame::Stream { id, offset: 0x0102_0304_0506_0708, fin: true, data: b"abc" }, &[header, &data].concat());
    pin(
        &Frame::Stream { id, offset: 0, fin: false, data: b"" },
        &[("20", "STREAM"), ("00", "no fin"), ("04030000", "id"), ("0000000000000000", "offset"), ("0000", "length")],
    );
    pin(
        &Frame::StreamCredit { id, received: 5, limit: 0x10000 },
        &[("21", "STREAM_CREDIT"), ("04030000", "id"), ("0500000000000000", "received"), ("0000010000000000", "limit")],
    );
    pin(&Frame::SessionCredit(0x20000), &[("22", "SESSION_CREDIT"), ("0000020000000000", "limit")]);
    pin(&Frame::StreamsCredit(257), &[("23", "STREAMS_CREDIT"), ("01010000", "streams")]);
    pin(
        &Frame::Reset { id, code: 7, size: 9 },
        &[("24", "RESET"), ("04030000", "id"), ("0700", "code"), ("0900000000000000", "final size")],
    );
    pin(&Frame::Stop { id, code: 7 }, &[("25", "STOP"), ("04030000", "id"), ("0700", "code")]);
    pin(&Frame::Datagram(b"hi"), &[("26", "DATAGRAM"), ("0200", "length"), ("6869", "data")]);
}

#[test]
fn the_resume_state_has_these_bytes() {
    let entry = ResumeEntry { id: StreamId(2), received: 3, limit: 4, flags: 1 };
    let mut room = [0; 64];
    let entries = ResumeEntries::emit_into(&[entry], &mut room).unwrap();
    assert_eq!(entries.iter().collect::<Vec<_>>(), [entry]);
    pin(
        &Frame::ResumeState(ResumeState { seen: 6, received: 7, limit: 8, more: true, entries }),
        &[
            ("28", "RESUME_STATE"),
            ("06000000", "streams of the peer seen"),
            ("0700000000000000", "session received"),
            ("0800000000000000", "session limit"),
            ("81", "one entry, more follow"),
            ("02000000", "id"),
            ("0300000000000000", "received"),
            ("0400000000000000", "limit"),
            ("01", "end received"),
        ],
    );
    assert!(ResumeEntries::emit_into(&[entry; 65], &mut [0; 2000]).is_err());
    assert!(ResumeEntries::emit_into(&[entry; 64], &mut [0; 2000]).is_ok());
}

#[test]
fn types_without_a_meaning_are_refused() {
    const KNOWN: [u8; 21] = [
        0x01, 0x02, 0x03, 0x10, 0x11, 0x12, 0x13, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x20, 0x21, 0x22, 0x23, 0x24,
        0x25, 0x26, 0x28,
    ];
    for kind in 1..=0xff {
        let mut bytes = [0; 512];
        bytes[0] = kind;
        assert_eq!(parse(&bytes).is_ok(), KNOWN.contains(&kind), "{kind:#04x}");
    }
}

#[test]
fn padding_is_zeros_to_the_end() {
    assert_eq!(parse(&[]), Ok(None));
    for len in 1..=40 {
        let mut bytes = vec![0; len];
        assert_eq!(parse(&bytes), Ok(None));
        for place in 1..len {
            bytes[place] = 1;
            assert_eq!(parse(&bytes), Err(Malformed), "byte {place} of {len}");
            bytes[place] = 0;
        }
    }
    let mut record = Reader::new(&[0x13, 0x1b, 0, 0, 0]);
    assert_eq!(Frame::parse(&mut record), Ok(Some(Frame::PairAck)));
    assert_eq!(Frame::parse(&mut record), Ok(Some(Frame::TokenAck)));
    assert_eq!(Frame::parse(&mut record), Ok(None));
    assert!(record.is_empty());
}

#[test]
fn values_out_of_bounds_are_refused() {
    let (zeros, text) = ("00".repeat(16), "61".repeat(65));
    refused(&[("03", "CLOSE"), ("02", "no such scope"), ("0000", "code"), ("00", "length")]);
    refused(&[("03", "CLOSE"), ("00", "session"), ("0000", "code"), ("41", "65 bytes"), (&text, "text")]);
    refused(&[("03", "CLOSE"), ("00", "session"), ("0000", "code"), ("01", "length"), ("ff", "not UTF-8")]);
    refused(&[("10", "PAIR_FINISH"), ("00", "platform"), ("41", "65 bytes"), (&text, "name")]);
    refused(&[("10", "PAIR_FINISH"), ("00", "platform"), ("02", "length"), ("c328", "not UTF-8")]);
    refused(&[
        ("12", "PAIR_ACCEPT"),
        (&"00".repeat(8 + 40 + 16 + 45), "ids, token, capability"),
        ("41", "65 bytes"),
        (&text, "name"),
    ]);
    refused(&[("18", "AUTH"), ("02", "no such kind"), (&"70".repeat(40), "token"), (&zeros, ""), (&zeros, "")]);
    refused(&[("18", "AUTH"), ("00", "new"), (&"70".repeat(40), "token"), (&zeros, ""), (&"01".repeat(16), "proof")]);
    refused(&[("18", "AUTH"), ("00", "new"), (&"70".repeat(40), "token"), (&"01".repeat(16), "id"), (&zeros, "")]);
    refused(&[("19", "AUTH_OK"), ("02", "no such kind"), (&zeros, "proof")]);
    refused(&[("19", "AUTH_OK"), ("00", "new"), (&"01".repeat(16), "proof all the same")]);
    let rest = ("000000000000000000000000", "id, offset");
    refused(&[("20", "STREAM"), ("02", "unknown flag"), rest, ("0000", "length")]);
    refused(&[("20", "STREAM"), ("00", "flags"), rest, ("0200", "length"), ("61", "one byte only")]);
    refused(&[("26", "DATAGRAM"), ("0200", "length"), ("61", "one byte only")]);
    refused(&[("1d", "ROTATE"), ("02", "length"), ("61", "one byte only")]);
    let numbers = "00".repeat(20);
    refused(&[("28", "RESUME_STATE"), (&numbers, "numbers"), ("41", "65 entries"), (&"00".repeat(65 * 21), "entries")]);
    let most = bytes_of(&[("28", "RESUME_STATE"), (&numbers, "numbers"), ("40", "64"), (&"00".repeat(64 * 21), "")]);
    assert!(parse(&most).is_ok());
}

#[test]
fn names_are_cut_at_a_letter() {
    let name = "é".repeat(40); // 80 bytes
    let mut out = [0; 128];
    let mut w = Writer::new(&mut out);
    Frame::PairFinish(PairFinish { platform: 0, name: &name }).emit(&mut w).unwrap();
    let expected = "é".repeat(32);
    assert_eq!(parse(&out), Ok(Some(Frame::PairFinish(PairFinish { platform: 0, name: &expected }))));
    // An odd byte in front moves the cut off the letter's edge.
    let name = format!("a{name}");
    let mut w = Writer::new(&mut out);
    Frame::PairFinish(PairFinish { platform: 0, name: &name }).emit(&mut w).unwrap();
    let len = w.len();
    let expected = format!("a{}", "é".repeat(31));
    assert_eq!(parse(&out[..len]), Ok(Some(Frame::PairFinish(PairFinish { platform: 0, name: &expected }))));
}

#[test]
fn a_record_header_has_these_bytes() {
    let header = Header { epoch: 0x01_0203, counter: 0x0405_0607_0809_0a0b };
    let expected = bytes_of(&[("10", "record"), ("030201", "epoch"), ("0b0a090807060504", "counter")]);
    assert_eq!(header.to_bytes()[..], expected);
    let mut out = [0; HEADER_LEN];
    header.emit(&mut Writer::new(&mut out)).unwrap();
    assert_eq!(out[..], expected);
    assert_eq!(Header::parse(&mut Reader::new(&expected)), Ok(header));
    for cut in 0..HEADER_LEN {
        assert_eq!(Header::parse(&mut Reader::new(&expected[..cut])), Err(Malformed));
    }
    out[0] = 0x11;
    assert_eq!(Header::parse(&mut Reader::new(&out)), Err(Malformed));
    assert_eq!(MAX_RECORD, 12 + 16_384 + 16);
}

#[test]
fn params_have_these_bytes() {
    let params = Params {
        features: 0x01_0203,
        max_record: 16_384,
        max_streams: 0x0102,
        session_window: 0x0010_0000,
        stream_window: 0x0001_0000,
    };
    let expected = bytes_of(&[
        ("01", "minor"),
        ("030201", "features"),
        ("0040", "max_record"),
        ("0201", "max_streams"),
        ("00001000", "session_window"),
        ("00000100", "stream_window"),
    ]);
    assert_eq!(expected.len(), PARAMS_LEN);
    assert_eq!(params.to_bytes()[..], expected);
    assert_eq!(Params::parse(&mut Reader::new(&expected)), Ok(params));
    for cut in 0..PARAMS_LEN {
        assert_eq!(Params::parse(&mut Reader::new(&expected[..cut])), Err(Malformed));
    }
    let mut later = expected.clone();
    later[0] = 2;
    assert_eq!(Params::parse(&mut Reader::new(&later)), Ok(params), "a later minor version");
    later[0] = 0;
    assert_eq!(Params::parse(&mut Reader::new(&later)), Err(Malformed), "an impossible one");
}

#[test]
fn params_out_of_bounds_are_refused() {
    let check = |change: fn(&mut Params, u32), good: [u32; 2], bad: [u32; 2]| {
        for (value, expected) in good.into_iter().map(|v| (v, true)).chain(bad.into_iter().map(|v| (v, false))) {
            let mut params = Params { session_window: 16 << 20, stream_window: 4096, ..Params::default() };
            change(&mut params, value);
            assert_eq!(params.is_valid(), expected, "{params:?}");
            assert_eq!(Params::parse(&mut Reader::new(&params.to_bytes())).is_ok(), expected, "{params:?}");
        }
    };
    check(|p, v| p.max_record = v as u16, [1024, 16_384], [1023, 16_385]);
    check(|p, v| p.max_streams = v as u16, [1, 4096], [0, 4097]);
    check(|p, v| p.session_window = v, [16 << 10, 16 << 20], [(16 << 10) - 1, (16 << 20) + 1]);
    check(|p, v| p.stream_window = v, [4 << 10, 16 << 20], [(4 << 10) - 1, (16 << 20) + 1]);
    check(
        |p, v| {
            p.session_window = 32 << 10;
            p.stream_window = v;
        },
        [4 << 10, 32 << 10],
        [(32 << 10) + 1, u32::MAX],
    );
    assert!(Params::default().is_valid());
}
