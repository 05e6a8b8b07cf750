//! What the relays say.

use core::net::SocketAddr;
use core::time::Duration;

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use homing_core::crypto::PublicKey;
use homing_core::hop::{Code, Frame, Hello, Incoming, Kind, MAX_MESSAGE};
use homing_core::wire::Writer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::endpoints::Who;

/// How an endpoint should take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// There is no link.
    NoLink,
    /// There is none now.
    Full,
    /// The WebSocket is broken, or over.
    Wire,
    /// The relay broke the rules of the hop.
    Violation,
    /// It says nothing.
    Silent,
    /// It says goodbye, and all before that was borne.
    Hop(Code),
}

/// What a relay does with a connection.
pub struct Case {
    pub name: &'static str,
    /// What it says to the request, `{accept}` in it replaced.
    answer: Vec<u8>,
    /// What it says next.
    first: Vec<u8>,
    /// What it says once the endpoint has said something.
    then: Vec<u8>,
    /// What it says after all that once a second.
    drip: Vec<u8>,
    /// Whether it hangs up behind all that.
    leaves: bool,
    /// Whether only hosts, or only devices, are told.
    devices: Option<bool>,
    pub end: End,
}

impl Case {
    pub fn is_for(&self, who: Who) -> bool {
        self.devices.is_none_or(|devices| devices == who.is_device())
    }
}

/// Answers each connection by the script.
pub async fn start(case: &Case) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let Case { answer, first, then, drip, leaves, .. } = case;
    let (answer, first, then, drip, leaves) = (answer.clone(), first.clone(), then.clone(), drip.clone(), *leaves);
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        // Whoever hangs up has heard enough.
        let _ = play(tcp, &answer, [&first, &then, &drip], leaves).await;
    });
    address
}

async fn play(mut tcp: TcpStream, answer: &[u8], [first, then, drip]: [&[u8]; 3], leaves: bool) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let key = head
        .lines()
        .find_map(|line| line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case("sec-websocket-key")));
    let accept = derive_accept_key(key.unwrap().1.as_bytes());
    match core::str::from_utf8(answer) {
        Ok(text) => tcp.write_all(text.replace("{accept}", &accept).as_bytes()).await?,
        Err(_) => tcp.write_all(answer).await?,
    }
    tcp.write_all(first).await?;
    if !then.is_empty() {
        tcp.read_u8().await?;
        tcp.write_all(then).await?;
    }
    if leaves {
        return tcp.shutdown().await;
    }
    loop {
        sleep(Duration::from_secs(1)).await;
        tcp.write_all(drip).await?;
        // An empty drip says nothing: that the endpoint has gone is heard by reading.
        let mut bytes = [0; 4096];
        loop {
            match tcp.try_read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
    }
}

const UPGRADE: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Protocol: homing.1\r\nSec-WebSocket-Accept: {accept}\r\n\r\n";

/// The upgrade with one thing changed.
fn upgrade_with(from: &str, to: &str) -> Vec<u8> {
    assert!(UPGRADE.contains(from), "{from}");
    UPGRADE.replacen(from, to, 1).into_bytes()
}

/// The bytes of a server's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..126 => bytes.push(len as u8),
        len => {
            bytes.push(126);
            bytes.extend((len as u16).to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
    bytes
}

/// An outer frame as a binary message.
fn word(idx: u32, word: &Frame<'_>) -> Vec<u8> {
    let mut bytes = vec![0; MAX_MESSAGE];
    let mut writer = Writer::new(&mut bytes);
    word.emit(idx, &mut writer).unwrap();
    let len = writer.len();
    frame(0x82, &bytes[..len])
}

fn hello() -> Vec<u8> {
    greeting(1, [9; 32])
}

fn greeting(version: u8, ephemeral: [u8; 32]) -> Vec<u8> {
    let ephemeral = PublicKey::from_bytes(ephemeral);
    word(0, &Frame::Hello(Hello { version, flags: 0, nonce: [7; 32], ephemeral }))
}

fn gone() -> Vec<u8> {
    word(0, &Frame::Closed { code: Code::Gone })
}

fn case(name: &'static str, answer: impl Into<Vec<u8>>, end: End) -> Case {
    let (first, then, drip) = Default::default();
    Case { name, answer: answer.into(), first, then, drip, leaves: false, devices: None, end }
}

/// Behind a proper upgrade.
fn says(name: &'static str, first: impl Into<Vec<u8>>, end: End) -> Case {
    Case { first: first.into(), ..case(name, UPGRADE, end) }
}

/// Behind a proper challenge, once it was answered.
fn answers(name: &'static str, devices: Option<bool>, then: Vec<Vec<u8>>, end: End) -> Case {
    Case { first: hello(), then: then.concat(), devices, ..case(name, UPGRADE, end) }
}

pub fn cases() -> Vec<Case> {
    let mut all = no_links();
    all.extend(frames());
    all.extend(greetings());
    all.extend(to_devices());
    all.extend(to_hosts());
    all
}

fn no_links() -> Vec<Case> {
    let status = |line: &str, more: &str| format!("HTTP/1.1 {line}\r\n{more}Content-Length: 0\r\n\r\n");
    vec![
        Case { leaves: true, ..case("it hangs up", "", End::NoLink) },
        Case { leaves: true, ..case("it hangs up in its answer", &UPGRADE[..60], End::NoLink) },
        case("it says nothing", "", End::NoLink),
        Case { drip: b"H".to_vec(), ..case("a letter a second", "", End::NoLink) },
        Case { drip: b"X: y\r\n".to_vec(), ..case("a header a second", "HTTP/1.1 101 x\r\n", End::NoLink) },
        case("a page", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", End::NoLink),
        case("elsewhere", status("302 Found", "Location: http://127.0.0.1:1/\r\n"), End::NoLink),
        case("a password", status("401 Unauthorized", "WWW-Authenticate: Basic\r\n"), End::NoLink),
        case("too many requests", status("429 Too Many Requests", "Retry-After: 99999999999\r\n"), End::Full),
        case("an error", status("500 Oops", ""), End::NoLink),
        case("no room", status("503 Full", "Retry-After: -1\r\n"), End::Full),
        case("a status of four digits", status("1011 x", ""), End::NoLink),
        case("HTTP/1.0", upgrade_with("HTTP/1.1", "HTTP/1.0"), End::NoLink),
        case("no Upgrade", upgrade_with("Upgrade: websocket\r\n", ""), End::NoLink),
        case("an upgrade to h2c", upgrade_with("Upgrade: websocket", "Upgrade: h2c"), End::NoLink),
        case("no Connection", upgrade_with("Connection: upgrade\r\n", ""), End::NoLink),
        case("no proof", upgrade_with("Sec-WebSocket-Accept: {accept}\r\n", ""), End::NoLink),
        case("the proof of another key", upgrade_with("{accept}", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), End::NoLink),
        case("no subprotocol", upgrade_with("Sec-WebSocket-Protocol: homing.1\r\n", ""), End::NoLink),
        case("another subprotocol", upgrade_with("homing.1", "homing.2"), End::NoLink),
        case(
            "compression that nobody asked for",
            upgrade_with("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
            End::NoLink,
        ),
        case("what is no HTTP", "SSH-2.0-OpenSSH_10.0\r\n\r\n", End::NoLink),
        case("a TLS alert", b"\x15\x03\x01\x00\x02\x02\x46\r\n\r\n".to_vec(), End::NoLink),
        case("zeros", vec![0; 1 << 20], End::NoLink),
        case("a header of a megabyte", [&b"HTTP/1.1 101 x\r\nX: "[..], &[b'y'; 1 << 20]].concat(), End::NoLink),
        case("100,000 headers", [&b"HTTP/1.1 101 x\r\n"[..], &b"X: y\r\n".repeat(100_000)].concat(), End::NoLink),
    ]
}

fn frames() -> Vec<Case> {
    let lengths = |second: u8, len: u64| [&[0x82, second][..], &len.to_be_bytes()].concat();
    vec![
        Case { leaves: true, ..says("it hangs up behind the upgrade", "", End::Wire) },
        Case { leaves: true, ..says("half a frame", &hello()[..20], End::Wire) },
        says("nothing behind the upgrade", "", End::Silent),
        Case { drip: frame(0x89, b"?"), ..says("nothing but pings", "", End::Silent) },
        Case { drip: frame(0x8a, b"?"), ..says("nothing but pongs", "", End::Silent) },
        Case { drip: vec![0x80], ..says("a byte of the challenge a second", &hello()[..2], End::Silent) },
        says("a goodbye", frame(0x88, &[3, 232]), End::Wire),
        says("a goodbye of one byte", frame(0x88, &[3]), End::Wire),
        says("a goodbye with code 1005", frame(0x88, &[3, 237]), End::Wire),
        says("a goodbye whose reason is no UTF-8", frame(0x88, &[3, 232, 0xff]), End::Wire),
        says("a text", frame(0x81, b"hello"), End::Wire),
        says("a text that is no UTF-8", frame(0x81, b"\xff"), End::Wire),
        says("a mask", [&[0x82, 0x80 | 5, 0, 0, 0, 0][..], b"hello"].concat(), End::Wire),
        says("compression", frame(0xc2, b"x"), End::Wire),
        says("opcode 3", frame(0x83, b"x"), End::Wire),
        says("opcode 15", frame(0x8f, b"x"), End::Wire),
        says("a ping of 126 bytes", frame(0x89, &[0; 126]), End::Wire),
        says("a ping in fragments", frame(0x09, b"x"), End::Wire),
        says("a continuation of nothing", frame(0x80, b"x"), End::Wire),
        says("a message in a message", [frame(0x02, b"x"), frame(0x82, b"y")].concat(), End::Wire),
        says("a message longer than any", frame(0x82, &[0x80; MAX_MESSAGE + 1]), End::Wire),
        says("a message of 4 GiB", lengths(127, 1 << 32), End::Wire),
        says("a message of 2^63 - 1 bytes", lengths(127, i64::MAX as u64), End::Wire),
        says("a message of 2^64 - 1 bytes", lengths(127, u64::MAX), End::Wire),
        says("131,000 fragments of a byte", [frame(0x02, b"x"), frame(0x00, b"x").repeat(131_000)].concat(), End::Wire),
        says(
            "131,000 fragments of nothing",
            [frame(0x02, b""), frame(0x00, b"").repeat(131_000)].concat(),
            End::Silent,
        ),
        says("100,000 pings", frame(0x89, &[7; 100]).repeat(100_000), End::Silent),
    ]
}

fn greetings() -> Vec<Case> {
    let cut = |by: usize| frame(0x82, &hello()[2..hello().len() - by]);
    let mut all = vec![
        says("an empty message", frame(0x82, b""), End::Violation),
        says("a kind that is none", frame(0x82, &[0x7f, 0, 0, 0, 0]), End::Violation),
        says("noise", frame(0x82, &[0xa5; 300]), End::Violation),
        says("a challenge of version 2", greeting(2, [9; 32]), End::Violation),
        says("a challenge cut short", cut(1), End::Violation),
        says("a challenge with a byte behind", frame(0x82, &[&hello()[2..], &[0]].concat()), End::Violation),
        says("OK before the challenge", word(0, &Frame::Ok { ttl: 1 }), End::Violation),
        says("a KNOCK before the challenge", word(0, &Frame::Knock), End::Violation),
        says("DATA before the challenge", word(1, &Frame::Data(b"x")), End::Violation),
        says("CREDIT before the challenge", word(1, &Frame::Credit { bytes: 1 }), End::Violation),
        says("OPENED before the challenge", opened(1), End::Violation),
        says("INCOMING before the challenge", incoming(1), End::Violation),
        says("a PONG before all", word(0, &Frame::Pong(1)), End::Violation),
        says("a CLOSED with code 12", frame(0x82, &[0x8d, 0, 0, 0, 0, 12]), End::Violation),
        says("two challenges", [hello(), hello()].concat(), End::Violation),
        answers("a second challenge", None, vec![hello()], End::Violation),
        answers("its own PING, and then a goodbye", None, vec![word(0, &Frame::Ping(1)).repeat(10_000), gone()], {
            End::Hop(Code::Gone)
        }),
    ];
    // A host alone makes use of the key.
    all.push(Case { devices: Some(false), ..says("a challenge of low order", greeting(1, [0; 32]), End::Violation) });
    all.push(Case { devices: Some(false), ..says("a challenge, and nothing more", hello(), End::Silent) });
    for (code, name) in [
        (Code::Normal, "it closes"),
        (Code::NotReachable, "it knows no host"),
        (Code::Busy, "it has enough"),
        (Code::Denied, "it denies"),
        (Code::Protocol, "it does not understand"),
        (Code::Superseded, "it knows another"),
        (Code::Timeout, "it has waited too long"),
    ] {
        all.push(says(name, word(0, &Frame::Closed { code }), End::Hop(code)));
    }
    all
}

fn opened(idx: u32) -> Vec<u8> {
    word(idx, &Frame::Opened { channel_id: [1; 16], credit: 4096 })
}

fn incoming(idx: u32) -> Vec<u8> {
    word(idx, &Frame::Incoming(Incoming { channel_id: [1; 16], kind: Kind::Pair, credit: 4096 }))
}

fn to_devices() -> Vec<Case> {
    let device = |name, then, end| answers(name, Some(true), then, end);
    let credit = |bytes| word(1, &Frame::Credit { bytes });
    vec![
        device("OK to a device", vec![word(0, &Frame::Ok { ttl: 1 })], End::Violation),
        device("INCOMING to a device", vec![incoming(1)], End::Violation),
        device("a KNOCK to a device", vec![word(0, &Frame::Knock)], End::Violation),
        device("DATA before OPENED", vec![word(1, &Frame::Data(b"x"))], End::Violation),
        device("CREDIT before OPENED", vec![credit(1)], End::Violation),
        device("OPENED on channel 2", vec![opened(2)], End::Violation),
        device("OPENED twice", vec![opened(1), opened(1)], End::Violation),
        device("DATA on channel 2", vec![opened(1), word(2, &Frame::Data(b"x"))], End::Violation),
        device("all the CREDIT there is", vec![opened(1), credit(u32::MAX).repeat(1000), gone()], End::Hop(Code::Gone)),
    ]
}

fn to_hosts() -> Vec<Case> {
    let host = |name, mut then: Vec<Vec<u8>>, end| {
        then.insert(0, word(0, &Frame::Ok { ttl: 75 }));
        answers(name, Some(false), then, end)
    };
    let late = |frame: &Frame<'_>| word(0x0bad_f00d, frame);
    let borne = End::Hop(Code::Gone);
    vec![
        host("OK twice", vec![word(0, &Frame::Ok { ttl: 1 })], End::Violation),
        host("OPENED to a host", vec![opened(1)], End::Violation),
        host("ACCEPT to a host", vec![word(1, &Frame::Accept { credit: 1 })], End::Violation),
        host(
            "INCOMING on channel 0",
            vec![frame(0x82, &{
                let mut message = incoming(1)[2..].to_vec();
                message[1] = 0;
                message
            })],
            End::Violation,
        ),
        host("DATA of a channel that is not there", vec![late(&Frame::Data(b"x")).repeat(1000), gone()], borne),
        host("CREDIT for one", vec![late(&Frame::Credit { bytes: 1 }), gone()], borne),
        host("the end of one", vec![late(&Frame::Closed { code: Code::Gone }), gone()], borne),
        host("a thousand devices at once", vec![(1..1000).flat_map(incoming).collect(), gone()], borne),
        host("a device that says noise", vec![incoming(1), word(1, &Frame::Data(&[0xa5; 4000])), gone()], borne),
        host(
            "more DATA than was allowed",
            vec![incoming(1), word(1, &Frame::Data(&[0; 16_000])).repeat(50), gone()],
            borne,
        ),
        host(
            "all the CREDIT there is, for a host",
            vec![incoming(1), word(1, &Frame::Credit { bytes: u32::MAX }).repeat(1000), gone()],
            borne,
        ),
    ]
}
