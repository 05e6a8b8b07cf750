//! Hosts that wait on a stream of events, and are woken.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use core::time::Duration;

use homing_core::hop::wait::Event as Woken;
use homing_core::hop::{Capability, Code, MAX_CONTROL, Purpose, WaitLink, route_id};
use homing_driver::relay::events::{Event, EventReader};
use homing_relay::account::HostLimits;
use homing_relay::{Admission, RelayConfig};
use support::{Device, Host, Running, Said, in_an_hour, keys, now, open, seed, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends a request and gives all that comes back, where that ends.
async fn ask(relay: &Running, request: &[u8]) -> (u16, Vec<u8>) {
    let mut tcp = TcpStream::connect(relay.address()).await.unwrap();
    tcp.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    soon("an answer", tcp.read_to_end(&mut answer)).await.unwrap();
    (String::from_utf8_lossy(&answer[9..12]).parse().unwrap(), answer)
}

async fn post(relay: &Running, link: &str, body: &[u8]) -> u16 {
    let head = format!(
        "POST /homing/1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {link}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    ask(relay, &[head.as_bytes(), body].concat()).await.0
}

/// A host's stream of events.
struct Waiter {
    link: WaitLink,
    tcp: TcpStream,
    reader: EventReader,
    unread: Vec<u8>,
    /// Its secret name.
    name: String,
    route: [u8; 16],
}

impl Waiter {
    async fn connect(relay: &Running, seed: &[u8; 64]) -> Self {
        let mut tcp = TcpStream::connect(relay.address()).await.unwrap();
        let (host, port) = (relay.url.host(), relay.url.port());
        let request =
            format!("GET /homing/1/events HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: text/event-stream\r\n\r\n");
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(soon("the stream", tcp.read_u8()).await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&head));
        let (identity, k_cap) = keys(seed);
        let route = route_id(identity.public());
        let link = WaitLink::new(relay.url.authority(), identity, k_cap.duplicate(), k_cap, None, now()).unwrap();
        let reader = EventReader::default();
        let mut waiter = Self { link, tcp, reader, unread: Vec::new(), name: String::new(), route };
        let Some(Event::Link(name)) = waiter.event().await else { panic!("the link's name comes first") };
        waiter.name = name.into();
        waiter
    }

    async fn register(relay: &Running, seed: &[u8; 64]) -> Self {
        let mut waiter = Self::connect(relay, seed).await;
        assert_eq!(waiter.next(relay).await, Some(Woken::Registered));
        waiter
    }

    /// The next event; none where the stream is over.
    async fn event(&mut self) -> Option<Event> {
        loop {
            let mut unread = &self.unread[..];
            let event = self.reader.read(&mut unread).unwrap();
            self.unread = unread.to_vec();
            if event.is_some() {
                return event;
            }
            let mut bytes = [0; 4096];
            let len = soon("an event", self.tcp.read(&mut bytes)).await.unwrap();
            if len == 0 {
                return None;
            }
            self.unread.extend_from_slice(&bytes[..len]);
        }
    }

    async fn next(&mut self, relay: &Running) -> Option<Woken> {
        loop {
            let mut out = [0; MAX_CONTROL];
            while let Some(len) = self.link.poll_output(&mut out) {
                assert_eq!(post(relay, &self.name, &out[..len]).await, 204);
            }
            let Event::Frame(frame) = self.event().await? else { panic!("one name") };
            if let Some(woken) = self.link.handle(now(), &frame).unwrap() {
                return Some(woken);
            }
        }
    }
}

/// A dial that is not answered yet.
async fn dial(relay: &Running, seed: &[u8; 64], id: [u8; 8]) -> Device {
    let (identity, k_cap) = keys(seed);
    let route_id = route_id(identity.public());
    let capability = Capability::mint(&k_cap, &route_id, id, in_an_hour(), 0);
    Device::connect(relay, Purpose::Dial { route_id, capability }).await
}

/// A host waits, is woken, serves, leaves, and is woken again.
async fn wake(relay: &Running) {
    let seed = seed();
    let mut waiter = Waiter::register(relay, &seed).await;
    relay.until("one that waits", |s| (s.waiting, s.hosts, s.links) == (1, 0, 1)).await;
    for round in 0..2 {
        let mut device = dial(relay, &seed, [round; 8]).await;
        let opened = async {
            assert_eq!(device.next().await, Said::Opened);
            device.send(b"hello").await;
        };
        let woken = async {
            assert_eq!(waiter.next(relay).await, Some(Woken::Knock));
            let mut host = Host::connect_as(relay, &seed, None).await;
            assert_eq!(host.next().await, Said::Registered);
            let idx = host.accept().await;
            let data = loop {
                match host.next().await {
                    Said::Credit => {}
                    said => break said,
                }
            };
            assert_eq!(data, Said::Data { idx, body: b"hello".to_vec() });
            host
        };
        let (host, ()) = tokio::join!(woken, opened);
        drop((host, device));
        relay.until("nothing but the one that waits", |s| (s.waiting, s.hosts, s.links) == (1, 0, 1)).await;
    }
    drop(waiter);
    relay.until("nobody", |s| s.links == 0).await;
}

#[tokio::test]
async fn a_waiting_host_is_woken_as_often_as_it_takes() {
    wake(&Running::start(open()).await).await;
}

#[cfg(feature = "smol")]
#[tokio::test]
async fn a_waiting_host_is_woken_on_smol_too() {
    wake(&Running::start_on_smol(open()).await).await;
}

#[tokio::test]
async fn who_is_denied_wakes_nobody() {
    let relay = Running::start(open()).await;
    let seed = seed();
    let mut waiter = Waiter::register(&relay, &seed).await;
    waiter.link.deny([7; 8], u32::MAX).unwrap();
    let mut out = [0; MAX_CONTROL];
    let len = waiter.link.poll_output(&mut out).unwrap();
    assert_eq!(post(&relay, &waiter.name, &out[..len]).await, 204);
    let mut device = dial(&relay, &seed, [7; 8]).await;
    assert_eq!(device.next().await, Said::Closed { idx: 1, code: Code::Denied });
    let mut good = dial(&relay, &seed, [9; 8]).await;
    good.say().await;
    let knock = async {
        tokio::select! {
            said = good.next() => panic!("{said:?}"),
            woken = waiter.next(&relay) => woken,
        }
    };
    assert_eq!(knock.await, Some(Woken::Knock));
    assert_eq!(relay.handle.status().refused, 1);
}

#[tokio::test]
async fn a_host_is_woken_and_waits_anew_so_often_and_no_more() {
    let limits = HostLimits { knocks_per_minute: Some(1), registrations_per_minute: Some(1), ..HostLimits::default() };
    let metrics = Some(([127, 0, 0, 1], 0).into());
    let relay = Running::start(RelayConfig { hosts: limits, metrics, ..open() }).await;
    let seed = seed();
    let mut waiter = Waiter::register(&relay, &seed).await;
    let mut first = dial(&relay, &seed, [0; 8]).await;
    let answer = async { tokio::time::timeout(Duration::from_millis(100), first.next()).await };
    assert!(answer.await.is_err(), "it waits for its host");
    assert_eq!(waiter.next(&relay).await, Some(Woken::Knock));
    // For two seconds that knock is meant for others, too; then another one is too much.
    let refused = soon("a dial to be refused", async {
        for id in 1_u8.. {
            let mut device = dial(&relay, &seed, [id; 8]).await;
            if let Ok(said) = tokio::time::timeout(Duration::from_millis(100), device.next()).await {
                return (said, support::close_frame(&mut device.socket).await.unwrap());
            }
        }
        unreachable!()
    });
    let (said, (code, reason)) = refused.await;
    assert_eq!((said, code), (Said::Closed { idx: 1, code: Code::Busy }, 4003));
    assert!(reason.starts_with("retry-after="), "{reason}");
    assert_eq!(relay.metric("refusals_total{limit=\"host_knocks\"}").await, 1);

    let mut again = Waiter::connect(&relay, &seed).await;
    assert_eq!(again.next(&relay).await, Some(Woken::Closed { code: Code::Busy }));
    let mut rest = core::mem::take(&mut again.unread);
    soon("the end", again.tcp.read_to_end(&mut rest)).await.unwrap();
    let rest = String::from_utf8(rest).unwrap();
    assert!(rest.starts_with("retry: ") && rest.ends_with("000\n\n"), "{rest:?}");
    assert_eq!(relay.handle.status().waiting, 1, "the one that waits goes on");
}

#[tokio::test]
async fn what_is_posted_must_make_sense_and_have_a_name() {
    let relay = Running::start(open()).await;
    let seed = seed();
    let waiter = Waiter::register(&relay, &seed).await;
    let ping = [0x8e, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    for name in ["", "AAAAAAAAAAAAAAAAAAAAAA", "../../x", &waiter.name[1..]] {
        assert_eq!(post(&relay, name, &ping).await, 404, "{name}");
    }
    let request =
        b"POST /homing/1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(ask(&relay, request).await.0, 404);
    let in_url = format!("POST /homing/1/events?{} HTTP/1.0\r\nHost: localhost\r\n\r\n", waiter.name);
    assert_eq!(ask(&relay, in_url.as_bytes()).await.0, 404);
    assert_eq!(post(&relay, &waiter.name, &[0x8e; 513]).await, 400);
    assert_eq!(relay.handle.status().waiting, 1, "nothing of that has ended it");
    assert_eq!(post(&relay, &waiter.name, &ping).await, 204);
    assert_eq!(relay.handle.status().waiting, 1);

    for (what, body) in [("garbage", &b"?"[..]), ("nothing", b""), ("DATA", b"\x8b\x01\0\0\0x")] {
        let mut waiter = Waiter::register(&relay, &seed).await;
        assert_eq!(post(&relay, &waiter.name, body).await, 400, "{what}");
        let ended = waiter.next(&relay).await;
        assert_eq!(ended, Some(Woken::Closed { code: Code::Protocol }), "{what}");
        assert_eq!(waiter.event().await, None, "{what}: the stream ends");
        assert_eq!(post(&relay, &waiter.name, &ping).await, 404, "{what}");
    }
    drop(waiter);
    relay.until("every link to be gone", |s| s.links == 0 && s.queued_bytes == 0).await;
}

#[tokio::test]
async fn the_newest_of_a_host_waits() {
    let relay = Running::start(open()).await;
    let seed = seed();
    let mut first = Waiter::register(&relay, &seed).await;
    let second = Waiter::register(&relay, &seed).await;
    assert_ne!(first.name, second.name);
    assert_eq!(first.next(&relay).await, Some(Woken::Closed { code: Code::Superseded }));
    assert_eq!(first.event().await, None);
    relay.until("one to wait", |s| s.waiting == 1 && s.links == 1).await;
    assert_eq!(first.route, second.route);
}

#[tokio::test]
async fn waiting_takes_a_place_and_an_operator_key() {
    let key = homing_core::hop::operator_hash(b"sesame");
    let config = RelayConfig { max_links: 1, admission: Admission::Key(key), ..open() };
    let relay = Running::start(config).await;
    let mut waiter = Waiter::connect(&relay, &seed()).await;
    let get =
        b"GET /homing/1/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n";
    let (status, answer) = ask(&relay, get).await;
    assert_eq!(status, 503);
    assert!(String::from_utf8_lossy(&answer).to_lowercase().contains("retry-after: 30"));
    // Without the key it is no host, and the place is free again.
    assert_eq!(waiter.next(&relay).await, Some(Woken::Closed { code: Code::Denied }));
    relay.until("the place to be free", |s| s.links == 0).await;
    soon("room", async {
        while ask(&relay, b"GET /homing/1/events HTTP/1.1\r\nHost: l\r\nConnection: close\r\n\r\n").await.0 == 503 {}
    })
    .await;
}

#[tokio::test]
async fn a_relay_that_drains_says_so_and_takes_no_more() {
    let mut relay = Running::start(RelayConfig { drain: Duration::from_secs(600), ..open() }).await;
    let mut waiter = Waiter::register(&relay, &seed()).await;
    relay.ask_to_stop();
    assert_eq!(waiter.next(&relay).await, Some(Woken::Draining));
    drop(waiter);
    soon("the relay to end", relay.ended()).await;
}

#[tokio::test]
async fn a_relay_that_stops_ends_the_stream() {
    let mut relay = Running::start(RelayConfig { drain: Duration::from_millis(100), ..open() }).await;
    let mut waiter = Waiter::register(&relay, &seed()).await;
    relay.ask_to_stop();
    assert_eq!(waiter.next(&relay).await, Some(Woken::Draining));
    assert_eq!(waiter.event().await, None);
    soon("the relay to end", relay.ended()).await;
}

#[tokio::test]
async fn a_host_that_waits_hears_of_the_relay_every_25_seconds() {
    let relay = Running::start(open()).await;
    let mut waiter = Waiter::register(&relay, &seed()).await;
    // From here on timers run as soon as nothing else does.
    tokio::time::pause();
    let since = tokio::time::Instant::now();
    let mut beats = [0; 30];
    waiter.tcp.read_exact(&mut beats).await.unwrap();
    assert_eq!(&beats, &b":\n\n".repeat(10)[..]);
    let took = since.elapsed().as_secs();
    assert!((225..=276).contains(&took), "{took} s");
    assert_eq!(relay.handle.status().waiting, 1);
}
