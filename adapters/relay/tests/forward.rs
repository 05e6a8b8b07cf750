//! Hosts and devices through a relay: what goes in comes out, and nobody holds up another.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use homing_core::crypto::Secret;
use homing_core::hop::{Code, Purpose, operator_hash};
use homing_relay::{Admission, Relay, RelayConfig, RelayError, Seen, TlsFiles};
use homing_tokio::{ClientTls, DialError, dial, endpoint_config};
use support::{Device, Host, Running, Said, open, pattern, soon};

const RECORD: usize = 16_412;

#[tokio::test]
async fn data_goes_both_ways_unchanged() {
    let relay = Running::start(open()).await;
    let mut host = Host::register(&relay).await;
    let mut device = host.dial(&relay).await;
    let idx = host.accept().await;

    // Every length class of a frame, and enough that credit has to come back many times.
    let text = pattern(3 << 20);
    let lengths = [1, 100, 121, 126, 1000, 4096, RECORD, 65, RECORD, RECORD];
    let down = async {
        let (mut at, mut i) = (0, 0);
        while at < text.len() {
            let end = text.len().min(at + lengths[i % lengths.len()]);
            host.send(idx, &text[at..end]).await;
            (at, i) = (end, i + 1);
        }
    };
    let (received, ()) = tokio::join!(device.receive(text.len()), down);
    assert!(received == text, "down");

    let up = async {
        for part in text[..1 << 20].chunks(RECORD) {
            device.send(part).await;
        }
    };
    let heard = async {
        let mut all = Vec::new();
        while all.len() < 1 << 20 {
            if let Said::Data { body, .. } = host.next().await {
                all.extend(body);
            }
        }
        all
    };
    let (received, ()) = tokio::join!(heard, up);
    assert!(received == text[..1 << 20], "up");

    let status = relay.handle.status();
    assert_eq!((status.links, status.hosts, status.channels), (2, 1, 1));
    assert_eq!(status.forwarded_bytes, 4 << 20);
    drop(device);
    relay.until("the channel to end", |s| s.channels == 0 && s.links == 1).await;
    drop(host);
    relay.until("the host to go", |s| s.hosts == 0 && s.links == 0 && s.queued_bytes == 0).await;
}

#[tokio::test]
async fn the_last_data_arrives_before_the_end() {
    let relay = Running::start(open()).await;
    let mut host = Host::register(&relay).await;
    let mut device = host.dial(&relay).await;
    let idx = host.accept().await;
    let text = pattern(60_000);
    for part in text.chunks(15_000) {
        host.send(idx, part).await;
    }
    host.link.close(idx, Code::Normal);
    host.say().await;
    assert!(device.receive(text.len()).await == text);
    assert_eq!(device.next().await, Said::Closed { idx: 1, code: Code::Normal });
    assert!(matches!(device.next().await, Said::HungUp(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_never_reads_holds_up_nobody() {
    let relay = Running::start(open()).await;
    let mut host = Host::register(&relay).await;
    let frozen = host.dial(&relay).await;
    let frozen_idx = host.accept().await;
    let mut lively = host.dial(&relay).await;
    let lively_idx = host.accept().await;

    // Fill the frozen device's way until its credit stays out, while the other one gets its bytes.
    let text = pattern(8 << 20);
    let mut stuffed = 0;
    let down = async {
        for part in text.chunks(RECORD) {
            while host.try_send(frozen_idx, part).await {
                stuffed += part.len();
            }
            host.send(lively_idx, part).await;
        }
    };
    let (received, ()) = tokio::join!(lively.receive(text.len()), down);
    assert!(received == text);
    // The kernel's socket buffers took some, the relay at most one window.
    let status = relay.handle.status();
    assert!(status.queued_bytes <= (2 << 20) + 65_536, "{status:?} with {stuffed} bytes on their way");
    assert!(stuffed > 0 && status.channels == 2);
    drop(frozen);
    relay.until("its bytes to be freed", |s| s.queued_bytes == 0 && s.channels == 1).await;
}

#[tokio::test]
async fn records_are_seen_by_size_only() {
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let tap = seen.clone();
    let config = RelayConfig { tap: Some(Arc::new(move |s| tap.lock().unwrap().push(s))), ..open() };
    let relay = Running::start(config).await;
    let mut host = Host::register(&relay).await;
    let mut device = host.dial(&relay).await;
    let idx = host.accept().await;
    device.send(&[1; 700]).await;
    while !matches!(host.next().await, Said::Data { .. }) {}
    host.send(idx, &[2; 300]).await;
    device.receive(300).await;
    let seen: Vec<_> = seen.lock().unwrap().iter().map(|s| (s.from_host, s.bytes)).collect();
    assert_eq!(seen, [(false, 700), (true, 300)]);
}

#[tokio::test]
async fn the_operator_key_admits_hosts() {
    let admission = Admission::Key(operator_hash(b"correct horse"));
    let relay = Running::start(RelayConfig { admission, ..open() }).await;
    for key in [None, Some("battery staple")] {
        let mut host = Host::connect(&relay, key).await;
        assert_eq!(host.next().await, Said::Closed { idx: 0, code: Code::Denied }, "{key:?}");
    }
    assert_eq!(relay.handle.status().hosts, 0);
    let mut host = Host::connect(&relay, Some("correct horse")).await;
    assert_eq!(host.next().await, Said::Registered);
    host.dial(&relay).await;
}

#[tokio::test]
async fn tls_is_served_from_files() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = TlsFiles { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
    std::fs::write(&files.cert, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let roots = files.cert.clone();
    let mut relay = Running::start(RelayConfig { tls: Some(files), ..open() }).await;
    relay.tls = ClientTls::trusting(roots);

    let mut host = Host::register(&relay).await;
    let mut device = host.dial(&relay).await;
    let idx = host.accept().await;
    let text = pattern(1 << 20);
    let down = async {
        for part in text.chunks(RECORD) {
            host.send(idx, part).await;
        }
    };
    let (received, ()) = tokio::join!(device.receive(text.len()), down);
    assert!(received == text);
    relay.handle.reload_tls().unwrap();
}

#[tokio::test]
async fn a_relay_without_room_says_so() {
    let relay = Running::start(RelayConfig { max_links: 1, ..open() }).await;
    let first = relay.dial().await.unwrap();
    assert!(matches!(relay.dial().await, Err(DialError::Full { .. })));
    drop(first);
    relay.until("the place to be free", |s| s.links == 0).await;
    soon("a new link", async { while relay.dial().await.is_err() {} }).await;
}

#[tokio::test]
async fn where_the_queues_have_no_room_for_a_channel_its_device_hears_that_they_are_busy() {
    let relay = Running::start(RelayConfig { queues: 128 << 10, ..open() }).await;
    let mut host = Host::register(&relay).await;
    let device = host.dial(&relay).await;
    host.accept().await;
    let purpose = Purpose::Dial { route_id: host.route, capability: host.capability() };
    let mut second = Device::connect(&relay, purpose).await;
    assert_eq!(second.next().await, Said::Closed { idx: 1, code: Code::Busy });
    drop(device);
    relay.until("the channel to be over", |s| s.channels == 0).await;
    host.dial(&relay).await;
}

#[tokio::test]
async fn a_relay_that_is_dropped_ends_its_links() {
    let relay = Relay::bind(open()).await.unwrap();
    let url = format!("ws://{}", relay.local_addr()).parse().unwrap();
    let running = tokio::spawn(relay.run(core::future::pending()));
    let mut socket = dial(&url, &ClientTls::system(), endpoint_config()).await.unwrap();
    running.abort();
    let ends = async { while let Some(Ok(_)) = socket.next().await {} };
    soon("the link to end", ends).await;
    assert!(matches!(dial(&url, &ClientTls::system(), endpoint_config()).await, Err(DialError::Unreachable { .. })));
}

#[tokio::test]
async fn a_wrong_proof_opens_nothing() {
    let relay = Running::start(open()).await;
    let host = Host::register(&relay).await;
    let mut capability = host.capability();
    capability.key = Secret::new([7; 32]);
    let purpose = Purpose::Dial { route_id: host.route, capability };
    let mut device = Device::connect(&relay, purpose).await;
    device.say().await;
    relay.until("both links", |s| s.links == 2).await;
    assert_eq!(relay.handle.status().channels, 0);
}

#[tokio::test]
async fn an_open_relay_stays_on_this_machine() {
    let config = RelayConfig { listen: ([0, 0, 0, 0], 0).into(), ..open() };
    assert!(matches!(Relay::bind(config.clone()).await, Err(RelayError::OpenToAll { .. })));
    let admission = Admission::Key(operator_hash(b"key"));
    assert!(Relay::bind(RelayConfig { admission, ..config }).await.is_ok());
}
