//! What one address may take, from outside: requests as a proxy in front passes them on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use homing_relay::{AddressLimits, RelayConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use support::{Running, open, soon};

fn behind_a_proxy(links: u32, per_second: u32, burst: u32) -> RelayConfig {
    let addresses = AddressLimits { links, per_second, burst, ..AddressLimits::USUAL };
    RelayConfig { addresses, proxies: vec!["127.0.0.0/8".parse().unwrap()], ..open() }
}

/// Asks for a link on behalf of an address; the head of the answer, and the link.
async fn ask(relay: &Running, forwarded: &str) -> (String, TcpStream) {
    let mut tcp = TcpStream::connect(relay.address()).await.unwrap();
    let request = format!(
        "GET /homing/1 HTTP/1.1\r\nHost: localhost\r\n{forwarded}Connection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: homing.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("the answer", tcp.read_u8()).await.unwrap());
    }
    (String::from_utf8(head).unwrap().to_ascii_lowercase(), tcp)
}

fn status(head: &str) -> &str {
    head.split(' ').nth(1).unwrap()
}

#[tokio::test]
async fn an_address_has_so_many_links_and_others_have_their_own() {
    let relay = Running::start(behind_a_proxy(2, 1000, 1000)).await;
    let one = "X-Forwarded-For: 6.6.6.6, 192.0.2.1\r\n";
    let (first, link) = ask(&relay, one).await;
    let (second, _link) = ask(&relay, "X-Forwarded-For: 7.7.7.7, 192.0.2.1\r\n").await;
    assert_eq!((status(&first), status(&second)), ("101", "101"));
    let (third, _) = ask(&relay, one).await;
    assert_eq!(status(&third), "429", "{third}");
    assert!(third.contains("retry-after: 30"), "{third}");
    let (other, _link) = ask(&relay, "X-Forwarded-For: 2001:db8::1\r\n").await;
    assert_eq!(status(&other), "101");
    let (neighbour, _neighbour) = ask(&relay, "X-Forwarded-For: 2001:db8::2\r\n").await;
    assert_eq!(status(&neighbour), "101");
    let (third, _) = ask(&relay, "X-Forwarded-For: 2001:db8::3\r\n").await;
    assert_eq!(status(&third), "429", "a network of IPv6 is one address");
    drop(link);
    soon("the place to be free", async {
        while status(&ask(&relay, one).await.0) != "101" {
            tokio::time::sleep(core::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_address_that_asks_too_fast_hears_when_to_come_back() {
    let relay = Running::start(behind_a_proxy(1000, 1, 2)).await;
    let one = "X-Forwarded-For: 192.0.2.1\r\n";
    let heads = [ask(&relay, one).await.0, ask(&relay, one).await.0, ask(&relay, one).await.0];
    assert_eq!(heads.each_ref().map(|head| status(head)), ["101", "101", "429"]);
    assert!(heads[2].contains("retry-after: 1\r\n"), "{}", heads[2]);
    assert_eq!(status(&ask(&relay, "X-Forwarded-For: 192.0.2.2\r\n").await.0), "101");
}

#[tokio::test]
async fn nobody_is_believed_who_is_no_named_proxy() {
    let config = RelayConfig { proxies: Vec::new(), ..behind_a_proxy(1, 1, 1) };
    let relay = Running::start(config).await;
    let mut links = Vec::new();
    for _ in 0..4 {
        let (head, link) = ask(&relay, "X-Forwarded-For: 192.0.2.1\r\n").await;
        assert_eq!(status(&head), "101", "this machine itself is not counted");
        links.push(link);
    }
}
