//! Requests that are no request, and upgrades that a proxy and a relay might understand differently.

use crate::raw::{Raw, UPGRADE, upgrade_with};
use crate::stage::Stage;
use crate::support::{Running, open};
use homing_relay::RelayConfig;

/// A name, what is sent, and the statuses of the answers: none where the relay just hangs up.
pub type Case = (&'static str, Vec<u8>, &'static [u16]);

fn get(path: &str, more: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n").into_bytes()
}

fn post(more: &str, body: &str) -> Vec<u8> {
    let link = "Authorization: Bearer AAAAAAAAAAAAAAAAAAAAAA\r\n";
    format!("POST /homing/1/events HTTP/1.1\r\nHost: localhost\r\n{link}{more}\r\n{body}").into_bytes()
}

pub fn cases() -> Vec<Case> {
    let mut all = heads();
    all.extend(bodies());
    all.extend(upgrades());
    all
}

fn heads() -> Vec<Case> {
    vec![
        ("a page that is not there", get("/", ""), &[404]),
        ("a path with steps up", get("/homing/1/../1", ""), &[404]),
        ("a path in other letters", get("/homing%2f1", ""), &[404]),
        ("a header of 9000 bytes", get("/", &format!("X: {}\r\n", "a".repeat(9000))), &[431]),
        ("a header of a megabyte", get("/", &format!("X: {}\r\n", "a".repeat(1 << 20))), &[431]),
        ("a hundred and one headers", get("/", &"X: a\r\n".repeat(101)), &[431]),
        ("a path of 9000 bytes", get(&format!("/{}", "a".repeat(9000)), ""), &[431]),
        ("a header that goes on in the next line", get("/", "X: a\r\n b\r\n"), &[400]),
        ("a space before the colon", get("/", "X : a\r\n"), &[400]),
        ("a header without a name", get("/", ": a\r\n"), &[400]),
        ("a header without a colon", get("/", "X\r\n"), &[400]),
        ("NUL in a header", get("/", "X: a\0b\r\n"), &[400]),
        ("a carriage return in a header", get("/", "X: a\rb\r\n"), &[400]),
        ("a space in the path", get("/a b", ""), &[400]),
        ("a method of no letters", b"\x01 / HTTP/1.1\r\n\r\n".to_vec(), &[400]),
        ("no version", b"GET /\r\n\r\n".to_vec(), &[400]),
        ("version 9.9", b"GET / HTTP/9.9\r\n\r\n".to_vec(), &[400]),
        ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[]),
        ("a TLS hello on a plain port", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\r\n\r\n".to_vec(), &[400]),
        ("a SOCKS greeting", b"\x05\x01\x00\r\n\r\n".to_vec(), &[400]),
        ("a hundred kilobytes of zeros", vec![0; 100_000], &[400]),
        ("a CONNECT to elsewhere", b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n".to_vec(), &[405]),
        ("OPTIONS of everything", b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), &[405]),
        ("two requests in one go", [get("/healthz", ""), get("/version", "")].concat(), &[200, 200]),
        ("line feeds alone, as ends of lines", b"GET /healthz HTTP/1.1\nHost: localhost\n\n".to_vec(), &[200]),
    ]
}

fn bodies() -> Vec<Case> {
    vec![
        ("two lengths", post("Content-Length: 1\r\nContent-Length: 2\r\n", "ab"), &[400]),
        ("a length with a sign", post("Content-Length: +2\r\n", "ab"), &[400]),
        ("a length that is no number", post("Content-Length: two\r\n", "ab"), &[400]),
        ("a length beyond 64 bits", post("Content-Length: 99999999999999999999\r\n", "ab"), &[400]),
        ("an encoding that nobody knows", post("Transfer-Encoding: chunked, rot13\r\n", "0\r\n\r\n"), &[400]),
        // Nobody reads it; the connection ends behind the answer.
        ("an endless chunk", post("Transfer-Encoding: chunked\r\n", "ffffffffffffffff\r\n"), &[404]),
        ("a body to a link that is not there", post("Content-Length: 2\r\n", "ab"), &[404]),
        ("a body that is announced and asked about", post("Content-Length: 2\r\nExpect: 100-continue\r\n", ""), &[404]),
        ("a name of a link that is none", get("/homing/1/events", "Authorization: Bearer ../x\r\n"), &[406]),
    ]
}

fn upgrades() -> Vec<Case> {
    let version = "Sec-WebSocket-Version: 13\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let host = "Host: localhost\r\n";
    let with = |more: &str| upgrade_with("\r\n\r\n", &format!("\r\n{more}\r\n\r\n"));
    let extension = "Sec-WebSocket-Extensions: permessage-deflate";
    vec![
        ("an upgrade by POST", upgrade_with("GET", "POST"), &[405]),
        ("an upgrade in HTTP/1.0", upgrade_with("HTTP/1.1", "HTTP/1.0"), &[400]),
        ("an upgrade to h2c", upgrade_with("Upgrade: websocket", "Upgrade: h2c"), &[426]),
        ("an upgrade that the connection does not name", upgrade_with("Connection: Upgrade", "Connection: x"), &[426]),
        ("no version of WebSocket", upgrade_with(version, ""), &[426]),
        ("version 12 of WebSocket", upgrade_with("Version: 13", "Version: 12"), &[426]),
        ("two versions of WebSocket", upgrade_with(version, &version.repeat(2)), &[426]),
        ("no key", upgrade_with(key, ""), &[400]),
        ("two keys", upgrade_with(key, &key.repeat(2)), &[400]),
        ("a short key", upgrade_with("dGhl", ""), &[400]),
        ("a key that is no base64", upgrade_with("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZ@=="), &[400]),
        ("no subprotocol", upgrade_with("Sec-WebSocket-Protocol: homing.1\r\n", ""), &[400]),
        ("another subprotocol", upgrade_with("homing.1", "homing.2"), &[400]),
        ("no Host", upgrade_with(host, ""), &[400]),
        ("two Hosts", upgrade_with(host, "Host: localhost\r\nHost: example.org\r\n"), &[400]),
        ("a Host of 65 bytes", upgrade_with("localhost", &"h".repeat(65)), &[400]),
        ("a Host of other letters", upgrade_with("localhost", "l\u{f6}calhost"), &[400]),
        ("a target elsewhere", upgrade_with("/homing/1", "http://example.org/homing/1"), &[400]),
        ("the target in full", upgrade_with("/homing/1", "http://localhost/homing/1"), &[101]),
        ("an upgrade with a body", with("Content-Length: 4"), &[400]),
        ("an upgrade in chunks", with("Transfer-Encoding: chunked"), &[400]),
        ("an upgrade with both", with("Transfer-Encoding: chunked\r\nContent-Length: 4"), &[400]),
        ("compression is offered, and not taken", with(extension), &[101]),
        // There are no cookies here: a link is worth what its proofs are, whatever page has opened it.
        ("a page of elsewhere", with("Origin: https://evil.example"), &[101]),
        ("an upgrade behind a request", [get("/healthz", ""), UPGRADE.into()].concat(), &[200, 101]),
    ]
}

/// To a relay that knows its names.
pub fn named() -> Vec<Case> {
    let to = |host: &str| upgrade_with("localhost", host);
    vec![
        ("another Host", to("other.test"), &[421]),
        ("the Host with a dot behind", to("relay.test."), &[421]),
        ("the Host at another port", to("relay.test:81"), &[421]),
        ("the address as Host", to("127.0.0.1"), &[421]),
        ("the Host with somebody at it", to("relay.test@other.test"), &[421]),
        ("the Host in a list", to("relay.test, other.test"), &[421]),
        ("the right Host", to("Relay.Test:80"), &[101]),
    ]
}

async fn answered(relay: &Running, (name, request, expected): &Case) {
    eprintln!("{name}");
    let mut raw = Raw::connect(relay).await;
    raw.say(request).await;
    let mut answers = Vec::new();
    while answers.len() < expected.len().max(1)
        && let Some(status) = raw.status().await
    {
        answers.push(status);
    }
    assert_eq!(answers, *expected, "{name}");
}

#[tokio::test]
async fn every_request_has_its_answer() {
    for mut stage in Stage::on_each().await {
        for case in cases() {
            answered(&stage.relay, &case).await;
            stage.is_well(case.0).await;
        }
    }
}

#[tokio::test]
async fn a_relay_answers_to_its_own_names() {
    let relay = Running::start(RelayConfig { names: vec!["relay.test".into()], ..open() }).await;
    for case in named() {
        answered(&relay, &case).await;
        relay.until(case.0, |s| s.links == 0).await;
    }
}
