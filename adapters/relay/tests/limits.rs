//! A walk through the table of LIMITS.md: what is too much is refused with a code and a time to come back, and counted.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[path = "hostile/raw.rs"]
#[allow(dead_code, unreachable_pub, reason = "it can say more than is said here")]
mod raw;
mod support;

use core::time::Duration;
use std::sync::Arc;

use homing_core::hop::{Capability, Code, Purpose};
use homing_relay::account::{Admit, Answer, Applicant, Entitlement, HostLimits, Plan};
use homing_relay::{AddressLimits, Admission, RelayConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use raw::{Raw, UPGRADE, frame};
use support::{Device, Host, Running, Said, open, seed, soon};

/// Lets everybody in with the same.
struct All(Entitlement);

impl Admit for All {
    fn admit(&self, _: Applicant) -> Answer {
        Box::pin(core::future::ready(Ok(self.0.clone())))
    }
}

fn entitled(plan: Plan) -> Entitlement {
    Entitlement { account: "alice".into(), plan, ..Entitlement::default() }
}

async fn start(config: RelayConfig) -> Running {
    Running::start(RelayConfig { metrics: Some(([127, 0, 0, 1], 0).into()), ..config }).await
}

async fn start_as(entitlement: Entitlement) -> Running {
    start(RelayConfig { admission: Admission::Ask(Arc::new(All(entitlement))), ..open() }).await
}

/// The table promises this counter, and it stands at so much.
async fn counted(relay: &Running, family: &str, label: &str, value: &str, count: u64) {
    let row = format!("`{family}{{{value}}}`");
    let table = include_str!("../LIMITS.md");
    assert!(table.contains(&row) || table.contains(&format!("`{{{value}}}`")) || value == "host", "no {row}");
    let name = format!("{family}_total{{{label}=\"{value}\"}}");
    soon(&name, async {
        while relay.metric(&name).await < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(relay.metric(&name).await, count, "{name}");
}

/// The status of a request's answer, and how long it says to wait.
async fn refused(relay: &Running, request: &[u8]) -> (u16, Option<u64>) {
    let mut raw = Raw::connect(relay).await;
    raw.tcp.write_all(request).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("the answer", raw.tcp.read_u8()).await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let retry = head.lines().find_map(|line| line.strip_prefix("retry-after: ")).map(|retry| retry.parse().unwrap());
    (head.split(' ').nth(1).unwrap().parse().unwrap(), retry)
}

/// What a host hears that is turned away: the code, and after how long to come back.
async fn turned_away(host: &mut Host) -> (Code, u64) {
    loop {
        if let Said::Closed { idx: 0, code } = host.next().await {
            let (close, reason) = host.close_frame().await.unwrap();
            assert_eq!(close, 4000 + u16::from(code.to_byte()));
            return (code, reason.strip_prefix("retry-after=").map_or(0, |retry| retry.parse().unwrap()));
        }
    }
}

async fn register(relay: &Running) -> Result<Host, (Code, u64)> {
    register_as(relay, &seed()).await
}

async fn register_as(relay: &Running, seed: &[u8; 64]) -> Result<Host, (Code, u64)> {
    let mut host = Host::connect_as(relay, seed, None).await;
    match host.next().await {
        Said::Registered => Ok(host),
        Said::Closed { code, .. } => {
            let (_, reason) = host.close_frame().await.unwrap();
            Err((code, reason.strip_prefix("retry-after=").unwrap().parse().unwrap()))
        }
        other => panic!("{other:?}"),
    }
}

async fn dial(relay: &Running, host: &Host) -> Result<Device, (Code, u64)> {
    dial_with(relay, host, host.capability()).await
}

async fn dial_with(relay: &Running, host: &Host, capability: Capability) -> Result<Device, (Code, u64)> {
    let mut device = Device::connect(relay, Purpose::Dial { route_id: host.route, capability }).await;
    match device.next().await {
        Said::Opened => Ok(device),
        Said::Closed { idx: 1, code } => {
            let (close, reason) = support::close_frame(&mut device.socket).await.unwrap();
            assert_eq!(close, 4000 + u16::from(code.to_byte()));
            Err((code, reason.strip_prefix("retry-after=").unwrap().parse().unwrap()))
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn links_and_connections() {
    let relay = start(RelayConfig { max_links: 1, ..open() }).await;
    let _link = relay.dial().await.unwrap();
    assert_eq!(refused(&relay, UPGRADE.as_bytes()).await, (503, Some(30)));
    counted(&relay, "turned_away", "reason", "no_room", 1).await;

    let relay = start(RelayConfig { max_handshakes: 2, ..open() }).await;
    let (_silent, _unknown) = (Raw::connect(&relay).await, Raw::link(&relay).await);
    assert_eq!(refused(&relay, UPGRADE.as_bytes()).await, (503, Some(5)), "a link counts until it says who it is");
    counted(&relay, "turned_away", "reason", "handshakes", 1).await;

    let proxies = vec!["127.0.0.1/32".parse().unwrap()];
    let addresses = AddressLimits { links: 1, per_second: 1, burst: 3, unknown: 2, bytes_per_second: None };
    let relay = start(RelayConfig { proxies, proxy_protocol: true, addresses, ..open() }).await;
    let from = |address: u8| format!("PROXY TCP4 192.0.2.{address} 10.0.0.1 1 443\r\n{UPGRADE}").into_bytes();
    let mut first = Raw::connect(&relay).await;
    first.say(&from(1)).await;
    assert_eq!(first.status().await, Some(101));
    assert_eq!(refused(&relay, &from(1)).await, (429, Some(30)));
    counted(&relay, "turned_away", "reason", "address_links", 1).await;
    let mut second = Raw::connect(&relay).await;
    second.say(b"PROXY TCP4 192.0.2.1 10.0.0.1 1 443\r\n").await;
    soon("its place to be taken", async { while refused(&relay, &from(1)).await != (429, Some(5)) {} }).await;
    assert!(relay.metric("turned_away_total{reason=\"address_unknown\"}").await >= 1);
    for _ in 0..3 {
        let _ = refused(&relay, &from(2)).await;
    }
    soon("the rate", async {
        while relay.metric("turned_away_total{reason=\"address_rate\"}").await == 0 {
            let _ = refused(&relay, &from(2)).await;
        }
    })
    .await;

    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(9000));
    assert_eq!(refused(&relay, &[&from(3)[..38], long.as_bytes()].concat()).await.0, 431);
}

#[tokio::test]
async fn hosts_and_their_registrations() {
    let relay = start_as(entitled(Plan { hosts: Some(1), ..Plan::default() })).await;
    let _host = register(&relay).await.unwrap();
    assert_eq!(register(&relay).await.err(), Some((Code::Busy, 30)));
    counted(&relay, "refusals", "limit", "account_hosts", 1).await;

    let relay = start_as(entitled(Plan { registrations_per_minute: Some(2), ..Plan::default() })).await;
    let _hosts = (register(&relay).await.unwrap(), register(&relay).await.unwrap());
    let (code, retry) = register(&relay).await.err().unwrap();
    assert!(code == Code::Busy && (10..=30).contains(&retry), "{code} {retry}");
    counted(&relay, "refusals", "limit", "account_registrations", 1).await;

    let hosts = HostLimits { registrations_per_minute: Some(1), ..HostLimits::default() };
    let relay = start(RelayConfig { hosts, ..open() }).await;
    let own = seed();
    let first = register_as(&relay, &own).await.unwrap();
    let (code, retry) = register_as(&relay, &own).await.err().unwrap();
    assert!(code == Code::Busy && (30..=60).contains(&retry), "{code} {retry}");
    counted(&relay, "refusals", "limit", "host_registrations", 1).await;
    let _device = dial(&relay, &first).await.unwrap(); // it was not disturbed
    let _other = register(&relay).await.unwrap();

    // Registering takes longer than its key has left on a slow machine, so once more with a longer one then.
    for seconds in [1, 4, 16] {
        let until = Some(in_seconds(seconds));
        let relay = start_as(Entitlement { until, ..entitled(Plan::default()) }).await;
        let mut host = Host::connect_as(&relay, &seed(), None).await;
        if matches!(host.next().await, Said::Registered) {
            assert_eq!(turned_away(&mut host).await, (Code::Denied, 0));
            return counted(&relay, "refusals", "limit", "key", 1).await;
        }
    }
    panic!("never registered while its key was good");
}

#[tokio::test]
async fn devices_and_their_dials() {
    let relay = start_as(entitled(Plan { devices: Some(1), ..Plan::default() })).await;
    let host = register(&relay).await.unwrap();
    let _device = dial(&relay, &host).await.unwrap();
    assert_eq!(dial(&relay, &host).await.err(), Some((Code::Busy, 30)));
    counted(&relay, "refusals", "limit", "account_devices", 1).await;

    let hosts = HostLimits { devices: Some(1), dials_per_second: Some(1), ..HostLimits::default() };
    let relay = start(RelayConfig { hosts, ..open() }).await;
    let host = register(&relay).await.unwrap();
    let device = dial(&relay, &host).await.unwrap();
    assert_eq!(dial(&relay, &host).await.err(), Some((Code::Busy, 30)));
    counted(&relay, "refusals", "limit", "host_devices", 1).await;
    drop(device);
    let mut opened = 1;
    let refusal = loop {
        relay.until("no device", |status| status.channels == 0).await;
        match dial(&relay, &host).await {
            Ok(_) => opened += 1,
            Err(refusal) => break refusal,
        }
        assert!(opened < 100);
    };
    assert!(refusal.0 == Code::Busy && refusal.1 == 1 && opened >= 10, "{refusal:?} after {opened}");
    counted(&relay, "refusals", "limit", "host_dials", 1).await;

    let relay = start_as(entitled(Plan { dials_per_second: Some(1), ..Plan::default() })).await;
    let (one, other) = (register(&relay).await.unwrap(), register(&relay).await.unwrap());
    let mut devices = Vec::new();
    let refusal = loop {
        let host = if devices.len() % 2 == 0 { &one } else { &other };
        match dial(&relay, host).await {
            Ok(device) => devices.push(device),
            Err(refusal) => break refusal,
        }
        assert!(devices.len() < 100);
    };
    assert!(refusal.0 == Code::Busy && refusal.1 == 1 && devices.len() >= 10, "{refusal:?}");
    counted(&relay, "refusals", "limit", "account_dials", 1).await;

    // What holds for everybody.
    let relay = start(RelayConfig { queues: 256 << 10, ..open() }).await;
    let host = register(&relay).await.unwrap();
    let devices = [dial(&relay, &host).await.unwrap(), dial(&relay, &host).await.unwrap()];
    assert_eq!(dial(&relay, &host).await.err(), Some((Code::Busy, 30)), "all that may wait is promised");
    counted(&relay, "refusals", "limit", "relay", 1).await;
    drop(devices);
    relay.until("no device", |status| status.channels == 0).await;
    let capability = host.capability();
    for _ in 0..10 {
        drop(dial_with(&relay, &host, capability.duplicate()).await.unwrap());
        relay.until("no device", |status| status.channels == 0).await;
    }
    assert_eq!(dial_with(&relay, &host, capability).await.err(), Some((Code::Busy, 30)));
    counted(&relay, "refusals", "limit", "relay", 2).await;
}

#[tokio::test]
async fn bytes() {
    let slow = Some(16_384);
    let proxies = vec!["127.0.0.1/32".parse().unwrap()];
    let addresses = AddressLimits { bytes_per_second: slow, ..AddressLimits::USUAL };
    let by_address = RelayConfig { proxies, addresses, ..open() };
    let of_host = HostLimits { bytes_per_second: slow, ..HostLimits::default() };
    let plan = Plan { bytes_per_second: slow, ..Plan::default() };
    let by_account = RelayConfig { admission: Admission::Ask(Arc::new(All(entitled(plan)))), ..open() };
    for (whose, config) in [("host", RelayConfig { hosts: of_host, ..open() }), ("account", by_account)] {
        let relay = start(config).await;
        let mut host = register(&relay).await.unwrap();
        let mut device = host.dial(&relay).await;
        let idx = host.accept().await;
        let began = std::time::Instant::now();
        let heard = async { device.receive(32_000).await };
        let said = async {
            host.send(idx, &[7; 16_000]).await;
            host.send(idx, &[7; 16_000]).await;
        };
        drop(tokio::join!(heard, said));
        // A second's worth is free; the byte after that had to wait, and all of them came.
        host.send(idx, &[7; 1000]).await;
        device.receive(1000).await;
        assert!(began.elapsed() > Duration::from_millis(900), "{whose}: {:?}", began.elapsed());
        counted_at_least(&relay, whose).await;
    }
    // As a proxy in front tells it: whatever comes in counts, sense or not.
    let relay = start(by_address).await;
    let mut raw = Raw::connect(&relay).await;
    raw.say(UPGRADE.replace("\r\n\r\n", "\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n").as_bytes()).await;
    assert_eq!(raw.status().await, Some(101));
    raw.say(&frame(0x89, &[0; 125]).repeat(400)).await;
    counted_at_least(&relay, "address").await;

    let relay = start_as(Entitlement { bytes_left: Some(1000), ..entitled(Plan::default()) }).await;
    let mut host = register(&relay).await.unwrap();
    let _device = host.dial(&relay).await;
    let idx = host.accept().await;
    host.send(idx, &[7; 2000]).await;
    assert_eq!(turned_away(&mut host).await, (Code::Busy, 30));
    counted(&relay, "refusals", "limit", "account_month", 1).await;
}

async fn counted_at_least(relay: &Running, whose: &str) {
    soon("a pause", async {
        while relay.metric(&format!("delays_total{{rate_of=\"{whose}\"}}")).await == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_nobody_reads() {
    let relay = start(RelayConfig { stall: Duration::from_secs(600), ..open() }).await;
    let mut raw = Raw::link(&relay).await;
    let flood = frame(0x89, &[0; 125]).repeat(1000);
    soon("the link to be cut", async { while raw.tcp.write_all(&flood).await.is_ok() {} }).await;
    counted(&relay, "refusals", "limit", "control_queue", 1).await;
}

fn in_seconds(seconds: u64) -> u64 {
    let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    unix.as_secs() + seconds
}
