//! L3: how many connections a relay takes in a second, each as far as it is asked for.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

use crate::peer::{HostKeys, SMALL};
use crate::relay::{Plan, Relay, cpu};
use crate::sheet::{Aim, Sheet};
use crate::target::Target;
use crate::wire::Wire;

/// Connections under way at once.
const AT_ONCE: usize = 64;

/// How far a connection goes before it ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// As far as TLS, where there is any.
    Connected,
    /// Until it is a link.
    Upgraded,
    /// Until a host is registered.
    Registered,
}

pub(crate) async fn run(sheet: &mut Sheet, seconds: u64, rounds: usize) {
    for (figure, tls, depth, least) in [
        ("plain upgrades in a second", false, Depth::Upgraded, Some(6000.0)),
        ("hosts registered in a second, plain", false, Depth::Registered, None),
        ("full TLS handshakes in a second", true, Depth::Connected, Some(2000.0)),
        ("hosts registered in a second, TLS", true, Depth::Registered, None),
    ] {
        let relay = Relay::start(&Plan { tls, links: 4096, ..Plan::default() });
        let mut rates = Vec::new();
        for _ in 0..rounds {
            let before = cpu(relay.id());
            let (done, failed) = rate(&relay.target, depth, Duration::from_secs(seconds)).await;
            let spent = cpu(relay.id()) - before;
            rates.push((done / seconds as f64, failed, spent * 1e6 / done));
        }
        rates.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (rate, failed, cost) = rates[rates.len() / 2];
        let range = format!("{figure} ({:.0} to {:.0})", rates[0].0, rates[rates.len() - 1].0);
        sheet.tell("L3", &range, rate, "/s", least.map_or(Aim::Known, Aim::AtLeast));
        sheet.tell("L3", &format!("{figure}: the relay's CPU for each"), cost, "us", Aim::Known);
        sheet.hold("L3", &format!("{figure}: failed"), failed, "", Aim::AtMost(0.0));
    }
}

/// Connections that went as far as they were to in this time, and those that did not.
pub(crate) async fn rate(target: &Target, depth: Depth, time: Duration) -> (f64, f64) {
    let (done, failed) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let end = Instant::now() + time;
    let mut tasks = JoinSet::new();
    for number in 0..AT_ONCE {
        let (target, done, failed) = (target.clone(), done.clone(), failed.clone());
        tasks.spawn(async move {
            while Instant::now() < end {
                let came = match depth {
                    Depth::Connected => target.connect(number).await.is_ok(),
                    Depth::Upgraded => Wire::open(&target, number, SMALL).await.is_ok(),
                    // Another host each time: one may not register so often.
                    Depth::Registered => HostKeys::generate().register(&target, number, SMALL).await.is_ok(),
                };
                if came { &done } else { &failed }.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    while tasks.join_next().await.is_some() {}
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    (count(&done), count(&failed))
}
