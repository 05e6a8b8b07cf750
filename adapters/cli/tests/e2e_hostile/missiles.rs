//! What is thrown at ports, each with its name.

use crate::mitm::frame;

/// A name, and the bytes.
pub(crate) type Missile = (String, Vec<u8>);

/// Bytes of no kind, the same each time.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2) + 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(step).collect()
}

pub(crate) const UPGRADE: &str = "GET /homing/1 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: homing.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// What is thrown at a port that may speak HTTP.
pub(crate) fn requests() -> Vec<Missile> {
    let tls_hello = [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &noise(500, 1)].concat();
    let many = "X-Header: value\r\n".repeat(5000);
    let get = |more: &str| format!("GET / HTTP/1.1\r\nHost: x\r\n{more}\r\n");
    let post = |more: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: x\r\n{more}\r\n{body}");
    let lines = [
        ("version 9.9", "GET / HTTP/9.9\r\n\r\n".to_owned()),
        ("a method alone", "GET\r\n\r\n".to_owned()),
        ("a path of 200 kB", format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(200_000))),
        ("5000 headers", get(&many)),
        ("a header of half a megabyte", get(&format!("X: {}\r\n", "b".repeat(500_000)))),
        ("a header that goes on in the next line", get("X: a\r\n b\r\n")),
        ("a space before the colon", get("X : a\r\n")),
        ("NUL in a header", get("X: a\0b\r\n")),
        ("two lengths", post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello")),
        ("a length with a sign", post("Content-Length: +5\r\n", "hello")),
        ("a length beyond 64 bits", post("Content-Length: 99999999999999999999\r\n", "hello")),
        ("a length and chunks", post("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "zz\r\n")),
        ("an encoding of no kind", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")),
        ("an endless chunk", post("Transfer-Encoding: chunked\r\n", "ffffffffffffffffff\r\n")),
        ("a target of no kind", "GET http://[::1 HTTP/1.1\r\nHost: \0\r\n\r\n".to_owned()),
        ("a CONNECT to nowhere", "CONNECT : HTTP/1.1\r\n\r\n".to_owned()),
        ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        ("another subprotocol", UPGRADE.replace("homing.1", "other.1")),
        ("version 8 of WebSocket", UPGRADE.replace("13", "8")),
    ];
    let mut all: Vec<_> = lines.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect();
    let bytes = [
        ("a TLS hello", tls_hello),
        ("a SOCKS greeting", b"\x05\x01\x00".to_vec()),
        ("zeros", vec![0; 100_000]),
        ("nothing", Vec::new()),
        ("empty lines", b"\r\n\r\n\r\n".to_vec()),
        ("line feeds", vec![b'\n'; 100_000]),
    ];
    all.extend(bytes.map(|(name, bytes)| (name.to_owned(), bytes)));
    all.extend((0..10).map(|seed| (format!("noise {seed}"), noise(20_000, seed))));
    all
}

/// What is thrown at the relay once it takes messages.
pub(crate) fn messages() -> Vec<Missile> {
    let binary = |bytes: &[u8]| frame(0x82, bytes, true);
    let named = [
        ("a text", frame(0x81, b"a text", true)),
        ("no mask", frame(0x82, b"without a mask", false)),
        ("reserved bits", frame(0xf2, b"reserved bits", true)),
        ("an empty message", binary(&[])),
        ("a REGISTER of one byte", binary(&[0x81])),
        ("a REGISTER of itself", binary(&[0x81; 182])),
        ("a DIAL of zeros", binary(&[&[0x85, 1, 0, 0, 0][..], &[0; 45]].concat())),
        ("half a DIAL_PAIR", binary(&[&[0x86, 1, 0, 0, 0][..], &[0; 15]].concat())),
        ("all the CREDIT there is", binary(&[0x8c, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff])),
        ("an ATTACH", binary(&[&[0x90, 0, 0, 0, 0][..], &[7; 32]].concat())),
        ("too long a first message", binary(&[9; 16_417])),
        ("2^63 bytes", vec![0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
        ("4 GiB", vec![0x82, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
        ("20,000 fragments", [frame(0x02, &[0x81], true), frame(0x00, b"", true).repeat(20_000)].concat()),
        ("5000 pings", frame(0x89, &[7; 125], true).repeat(5000)),
        ("a goodbye of one byte", frame(0x88, &[0xff], true)),
    ];
    let mut all: Vec<_> = named.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
    all.extend((0..20).map(|seed| (format!("a message of noise {seed}"), binary(&noise(100, 100 + seed)))));
    all.extend((0..20).map(|seed| (format!("frames of noise {seed}"), noise(5000, 200 + seed))));
    all
}
