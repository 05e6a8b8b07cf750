//! Relays that lie: whatever one says, hosts and devices end the link with a reason, soon, and never more than that.
//!
//! Each case is a server that answers one connection by a script. Both endpoints of both runtimes meet it, with the
//! settings that they have in the program. All cases run at once: some last until the endpoint loses patience.
#![allow(unreachable_pub, clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[path = "hostile_relays/endpoints.rs"]
mod endpoints;
#[path = "hostile_relays/scripts.rs"]
mod scripts;

use core::time::Duration;

use futures_util::future::join_all;
use homing_driver::relay::DialError;
use homing_relay::{Admission, Relay, RelayConfig};
use tokio::time::timeout;

use endpoints::{Met, Who, meet};
use scripts::{Case, End, cases, start};

/// What an endpoint gives up within: 10 s for each thing that a relay owes it, and a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn fits(met: &Met, end: End) -> bool {
    match met {
        Met::NoLink(DialError::Full { .. }) => end == End::Full,
        Met::NoLink(error) => end == End::NoLink && !error.to_string().is_empty(),
        Met::Ended(ended) => {
            use homing_driver::Ended as E;
            match ended {
                E::Wire(_) => end == End::Wire,
                E::Violation(_) => end == End::Violation,
                E::Silent(_) => end == End::Silent,
                E::Hop(code) => end == End::Hop(*code),
                _ => false,
            }
        }
    }
}

async fn lie(case: &Case, who: Who) -> Option<String> {
    let address = start(case).await;
    let met = timeout(PATIENCE, meet(address, who)).await;
    match met {
        Ok(met) if fits(&met, case.end) => None,
        Ok(met) => Some(format!("{} to {who:?}: {met:?} instead of {:?}", case.name, case.end)),
        Err(_) => Some(format!("{} to {who:?}: it still waits", case.name)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_relay_keeps_or_breaks_an_endpoint() {
    let cases = cases();
    let names: std::collections::HashSet<_> = cases.iter().map(|case| case.name).collect();
    assert!(names.len() == cases.len() && names.len() >= 60, "{}", names.len());
    let meetings = cases
        .iter()
        .flat_map(|case| Who::ALL.into_iter().filter(|who| case.is_for(*who)).map(move |who| lie(case, who)));
    let wrong: Vec<_> = join_all(meetings).await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{wrong:#?}");

    // An honest relay is met by the same means, and keeps them.
    let relay = Relay::bind(RelayConfig::new(([127, 0, 0, 1], 0).into(), Admission::Open)).await.unwrap();
    let (address, handle) = (relay.local_addr(), relay.handle());
    tokio::spawn(relay.run(core::future::pending()));
    for who in Who::ALL.into_iter().filter(|who| !who.is_device()) {
        let meeting = tokio::spawn(meet(address, who));
        timeout(PATIENCE, async {
            while handle.status().hosts == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap();
        meeting.abort();
        timeout(PATIENCE, async {
            while handle.status().hosts > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap();
    }
}
