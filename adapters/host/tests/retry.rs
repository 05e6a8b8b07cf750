//! A host that a relay turns away: it comes back when the relay said, and whatever a hostile one says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use core::time::Duration;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use homing_host::{Host, HostConfig, HostHandle};
use homing_relay::account::{Admit, Answer, Applicant, Entitlement, Refusal};
use homing_relay::{Admission, Relay, RelayConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

/// Nothing in these tests takes so long.
const PATIENCE: Duration = Duration::from_secs(40);
const TOLD: Duration = Duration::from_secs(2);

/// When somebody came, each time.
type Visits = Arc<Mutex<Vec<Instant>>>;

/// Lets hosts in the second time.
struct Later(Visits);

impl Admit for Later {
    fn admit(&self, _: Applicant) -> Answer {
        let mut visits = self.0.lock().unwrap();
        visits.push(Instant::now());
        let answer = if visits.len() > 1 { Ok(Entitlement::default()) } else { Err(Refusal::BusyFor(TOLD)) };
        Box::pin(core::future::ready(answer))
    }
}

fn start(data: &std::path::Path, relay: &str, on_demand: bool) -> HostHandle {
    let config = HostConfig { on_demand, ..HostConfig::new(data, "host", relay.parse().unwrap()) };
    let host = Host::open(config).unwrap();
    let handle = host.handle();
    tokio::spawn(host.run(core::future::pending()));
    handle
}

async fn until<T>(what: &str, mut holds: impl FnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = holds() {
                return found;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what} took too long"))
}

/// How long the visitor stayed away.
async fn pause(visits: &Visits) -> Duration {
    until("the second visit", || match visits.lock().unwrap()[..] {
        [first, second, ..] => Some(second - first),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_host_that_its_relay_has_no_place_for_comes_back_when_told() {
    for on_demand in [false, true] {
        let visits = Visits::default();
        let admission = Admission::Ask(Arc::new(Later(visits.clone())));
        let relay = Relay::bind(RelayConfig::new(([127, 0, 0, 1], 0).into(), admission)).await.unwrap();
        let url = format!("ws://{}", relay.local_addr());
        tokio::spawn(relay.run(core::future::pending()));
        let data = tempfile::tempdir().unwrap();
        let host = start(data.path(), &url, on_demand);
        let pause = pause(&visits).await;
        assert!(pause >= TOLD, "on demand {on_demand}: back after {pause:?}");
        let state = if on_demand { "waiting" } else { "connected" };
        until("the host to be in", || (host.status()["links"][0]["state"] == state).then_some(())).await;
    }
}

/// What refuses every request with this `Retry-After`; its URL, and when requests came.
async fn full(retry_after: &'static str) -> (String, Visits) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (url, visits) = (format!("ws://{}", listener.local_addr().unwrap()), Visits::default());
    let seen = visits.clone();
    tokio::spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(tcp.read_u8().await.unwrap());
            }
            seen.lock().unwrap().push(Instant::now());
            let answer = format!(
                "HTTP/1.1 503 Service Unavailable\r\nRetry-After: {retry_after}\r\nConnection: close\r\n\
                 Content-Length: 0\r\n\r\n"
            );
            tcp.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, visits)
}

/// How long the host means to stay away.
async fn retries_in(host: &HostHandle) -> Duration {
    let millis = until("a refusal", || host.status()["links"][0]["retry_in_ms"].as_u64()).await;
    Duration::from_millis(millis)
}

#[tokio::test]
async fn a_full_relay_is_asked_again_when_it_said() {
    for on_demand in [false, true] {
        let (url, visits) = full("2").await;
        let data = tempfile::tempdir().unwrap();
        let _host = start(data.path(), &url, on_demand);
        let pause = pause(&visits).await;
        assert!(pause >= TOLD, "on demand {on_demand}: back after {pause:?}");
    }
}

#[tokio::test]
async fn nobody_is_silenced_for_good_and_nonsense_is_ignored() {
    for on_demand in [false, true] {
        let (url, _visits) = full("99999999999").await;
        let data = tempfile::tempdir().unwrap();
        let told = retries_in(&start(data.path(), &url, on_demand)).await;
        assert!((Duration::from_secs(240)..=Duration::from_secs(450)).contains(&told), "{told:?}");
        for nonsense in ["soon", "-300", "Fri, 31 Dec 2399 23:59:59 GMT"] {
            let (url, visits) = full(nonsense).await;
            let data = tempfile::tempdir().unwrap();
            let host = start(data.path(), &url, on_demand);
            assert!(retries_in(&host).await <= homing_core::backoff::LONGEST, "{nonsense}");
            // It comes as often as to a relay that is not there.
            pause(&visits).await;
        }
    }
}
