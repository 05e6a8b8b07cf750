//! What is sent, and what must come back: numbered by the chapters of the suite.

use homing_core::hop::MAX_MESSAGE;

use crate::raw::{close, frame, head};

/// Bytes that a client sends, and the frames that it hears, to the end.
pub struct Case {
    pub name: String,
    pub send: Vec<u8>,
    pub hear: Vec<(u8, Vec<u8>)>,
}

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// A case that ends with this code. Where that is the client's own goodbye, it is sent behind the rest.
fn ends(name: impl Into<String>, parts: &[Vec<u8>], heard: &[(u8, &[u8])], code: u16) -> Case {
    let mut hear: Vec<_> = heard.iter().map(|(first, payload)| (*first, payload.to_vec())).collect();
    hear.push((0x88, code.to_be_bytes().to_vec()));
    Case { name: name.into(), send: parts.concat(), hear }
}

/// A case in which nothing is wrong.
fn fine(name: impl Into<String>, parts: &[Vec<u8>], heard: &[(u8, &[u8])]) -> Case {
    ends(name, &[parts.concat(), close(1000, b"")], heard, 1000)
}

pub fn cases() -> Vec<Case> {
    let mut all = framing();
    all.extend(pings());
    all.extend(reserved());
    all.extend(fragments());
    all.extend(texts());
    all.extend(closes());
    all.extend(limits());
    all
}

fn framing() -> Vec<Case> {
    let mut all = Vec::new();
    for len in [0, 1, 7, 125, 126, 127, 128, 4096, 16_384, MAX_MESSAGE] {
        for (first, kind) in [(TEXT, "text"), (BINARY, "binary")] {
            let payload = vec![if first == TEXT { b'*' } else { 0xfe }; len];
            let name = format!("1 a {kind} message of {len} bytes");
            all.push(fine(name, &[frame(first, &payload)], &[(first, &payload)]));
        }
    }
    let masked = [&[BINARY, 0x85, 1, 2, 3, 4][..], &[b'h' ^ 1, b'e' ^ 2, b'l' ^ 3, b'l' ^ 4, b'o' ^ 1]].concat();
    all.push(fine("1 a mask that is not zero", &[masked], &[(BINARY, b"hello")]));
    all.push(ends("1 no mask", &[vec![BINARY, 1, 0]], &[], 1002));
    all.push(ends("1 two bytes of length for 125", &[vec![BINARY, 0xfe, 0, 125, 0, 0, 0, 0]], &[], 1002));
    let eight = vec![BINARY, 0xff, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0];
    all.push(ends("1 eight bytes of length for 65,535", &[eight], &[], 1002));
    all
}

fn pings() -> Vec<Case> {
    let long = [0xfe; 125];
    vec![
        fine("2 an empty ping", &[frame(PING, b"")], &[(PONG, b"")]),
        fine("2 a ping with words", &[frame(PING, b"Hello, world!")], &[(PONG, b"Hello, world!")]),
        fine(
            "2 a ping that is no text",
            &[frame(PING, b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff")],
            &[(PONG, b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff")],
        ),
        fine("2 the longest ping", &[frame(PING, &long)], &[(PONG, &long)]),
        ends("2 a longer ping", &[frame(PING, &[0xfe; 126])], &[], 1002),
        fine("2 a pong that nobody asked for", &[frame(PONG, b"x"), frame(PING, b"y")], &[(PONG, b"y")]),
        fine("2 ten pings", &vec![frame(PING, b"x"); 10], &[(PONG, &b"x"[..]); 10]),
        ends("2 a longer pong", &[frame(PONG, &[0; 126])], &[], 1002),
    ]
}

fn reserved() -> Vec<Case> {
    let mut all = Vec::new();
    for bits in 1..8_u8 {
        let name = format!("3 reserved bits {bits:03b}");
        let parts = [frame(TEXT, b"ok"), frame(TEXT | (bits << 4), b"x"), frame(TEXT, b"late")];
        all.push(ends(name, &parts, &[(TEXT, b"ok")], 1002));
    }
    all.push(ends("3 reserved bits of a ping", &[frame(PING | 0x50, b"x")], &[], 1002));
    all.push(ends("3 reserved bits of a goodbye", &[frame(0xf8, &[3, 232])], &[], 1002));
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        let parts = [frame(TEXT, b"ok"), frame(0x80 | opcode, b"x"), frame(PING, b"late")];
        all.push(ends(format!("4 opcode {opcode}"), &parts, &[(TEXT, b"ok")], 1002));
    }
    all
}

fn fragments() -> Vec<Case> {
    let (first, next, last) = (frame(0x01, b"frag"), frame(0x00, b"men"), frame(0x80, b"ts"));
    let whole: (u8, &[u8]) = (TEXT, b"fragments");
    let ping = || frame(PING, b"?");
    let pong: (u8, &[u8]) = (PONG, b"?");
    let of = |parts: &[&Vec<u8>]| parts.iter().map(|part| (*part).clone()).collect::<Vec<_>>();
    vec![
        ends("5 a ping in two fragments", &[frame(0x09, b"a"), frame(0x80, b"b")], &[], 1002),
        ends("5 a pong in two fragments", &[frame(0x0a, b"a"), frame(0x80, b"b")], &[], 1002),
        fine("5 three fragments", &of(&[&first, &next, &last]), &[whole]),
        fine("5 pings between fragments", &of(&[&first, &ping(), &next, &ping(), &last]), &[pong, pong, whole]),
        fine(
            "5 a binary message in fragments",
            &[frame(0x02, b"\xfe"), frame(0x80, b"\xff")],
            &[(BINARY, b"\xfe\xff")],
        ),
        fine("5 fragments of nothing", &[frame(0x01, b""), frame(0x00, b""), frame(0x80, b"")], &[(TEXT, b"")]),
        fine(
            "5 nothing in the middle",
            &[frame(0x01, b""), frame(0x00, b"middle"), frame(0x80, b"")],
            &[(TEXT, b"middle")],
        ),
        fine("5 one message after another", &of(&[&first, &next, &last, &first, &next, &last]), &[whole, whole]),
        ends("5 a continuation of nothing, the last", &of(&[&last]), &[], 1002),
        ends("5 a continuation of nothing", &of(&[&next, &last]), &[], 1002),
        ends(
            "5 a continuation behind a whole message",
            &[frame(TEXT, b"ok"), frame(0x80, b"x")],
            &[(TEXT, b"ok")],
            1002,
        ),
        ends("5 a message in a message", &[frame(0x01, b"a"), frame(TEXT, b"b")], &[], 1002),
        ends("5 a message in another's fragments", &[frame(0x01, b"a"), frame(0x02, b"b")], &[], 1002),
        ends("5 reserved bits of a continuation", &[frame(0x01, b"a"), frame(0xc0, b"b")], &[], 1002),
        ends("5 a goodbye between fragments", &[frame(0x01, b"a"), close(1000, b""), frame(0x80, b"b")], &[], 1000),
    ]
}

fn texts() -> Vec<Case> {
    let mut all = Vec::new();
    let greek = "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}".as_bytes();
    all.push(fine("6 words of many letters", &[frame(TEXT, greek)], &[(TEXT, greek)]));
    let letters: Vec<_> = greek.iter().map(|byte| frame(0x00, &[*byte])).collect();
    all.push(fine(
        "6 the same in fragments of a byte",
        &[frame(0x01, b""), letters.concat(), frame(0x80, b"")],
        &[(TEXT, greek)],
    ));
    for good in [
        "\0",
        "\u{7f}",
        "\u{80}",
        "\u{7ff}",
        "\u{800}",
        "\u{ffff}",
        "\u{10000}",
        "\u{10ffff}",
        "\u{fffe}",
        "\u{d7ff}",
        "\u{e000}",
    ] {
        let name = format!("6 {}", good.escape_unicode());
        all.push(fine(name, &[frame(TEXT, good.as_bytes())], &[(TEXT, good.as_bytes())]));
    }
    for bad in [
        &b"\xce\xba\xed\xa0\x80edited"[..],
        b"\x80",
        b"\xbf",
        b"\xc2",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xe1\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xfe",
        b"\xff",
    ] {
        all.push(ends(format!("6 {bad:02x?}, which is none"), &[frame(TEXT, bad)], &[], 1007));
        let in_two = [frame(0x01, &bad[..bad.len() / 2]), frame(0x80, &bad[bad.len() / 2..])];
        all.push(ends(format!("6 {bad:02x?}, in two fragments"), &in_two, &[], 1007));
        all.push(fine(format!("6 {bad:02x?}, as binary"), &[frame(BINARY, bad)], &[(BINARY, bad)]));
    }
    all
}

fn closes() -> Vec<Case> {
    let mut all = vec![
        ends("7 a goodbye", &[close(1000, b"")], &[], 1000),
        ends("7 a goodbye without a code", &[frame(0x88, b"")], &[], 1000),
        ends("7 a goodbye of one byte", &[frame(0x88, b"\x03")], &[], 1002),
        ends("7 a goodbye with a reason", &[close(1000, b"Hello, world!")], &[], 1000),
        ends("7 the longest reason", &[close(1000, &[b'*'; 123])], &[], 1000),
        ends("7 a longer reason", &[close(1000, &[b'*'; 124])], &[], 1002),
        ends("7 a reason that is no text", &[close(1000, b"\xce\xba\xed\xa0\x80")], &[], 1007),
        ends("7 words behind the goodbye", &[close(1000, b""), frame(TEXT, b"late")], &[], 1000),
        ends("7 a ping behind the goodbye", &[close(1000, b""), frame(PING, b"late")], &[], 1000),
        ends("7 two goodbyes", &[close(1001, b""), close(1000, b"")], &[], 1001),
        ends("7 a goodbye in fragments", &[frame(0x08, &[3, 232])], &[], 1002),
    ];
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        all.push(ends(format!("7 code {code}"), &[close(code, b"")], &[], code));
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        all.push(ends(format!("7 code {code}, which nobody sends"), &[close(code, b"")], &[], 1002));
    }
    all
}

fn limits() -> Vec<Case> {
    let most = vec![0xfe; MAX_MESSAGE];
    let in_pieces = |size: usize| {
        let mut parts = vec![frame(0x02, b"")];
        parts.extend(most.chunks(size).map(|piece| frame(0x00, piece)));
        parts
    };
    let mut all = vec![
        ends("9 a byte more than there may be", &[head(BINARY, MAX_MESSAGE as u64 + 1)], &[], 1009),
        ends("9 4 GiB", &[head(BINARY, 1 << 32)], &[], 1009),
        ends("9 2^63 - 1 bytes", &[head(TEXT, i64::MAX as u64)], &[], 1009),
        ends("9 2^63 bytes", &[vec![BINARY, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]], &[], 1002),
        fine(
            "9 131,000 empty fragments",
            &[frame(0x02, b"x"), frame(0x00, b"").repeat(131_000), frame(0x80, b"y")],
            &[(BINARY, b"xy")],
        ),
    ];
    for size in [1, 64, 1024, 4096] {
        let name = format!("9 the longest message in fragments of {size}");
        all.push(fine(name, &[in_pieces(size).concat(), frame(0x80, b"")], &[(BINARY, &most)]));
        let name = format!("9 a byte more in fragments of {size}");
        all.push(ends(name, &[in_pieces(size).concat(), frame(0x80, b"x")], &[], 1009));
    }
    all
}
