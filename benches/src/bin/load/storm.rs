//! R1: a relay is killed and started again: how soon are its hosts back, and how evenly do they come?

use core::time::Duration;
use std::time::Instant;

use rustix::process::Signal;
use tokio::time::sleep;

use crate::crowd::{Crowd, Manner};
use crate::peer::SMALL;
use crate::relay::{Plan, Relay};
use crate::sheet::{Aim, Sheet};

/// Links that are older than this count as healthy; everybody is, before the relay is killed.
const HEALTHY: Duration = Duration::from_secs(11);
const AWAY: Duration = Duration::from_secs(5);

pub(crate) async fn run(sheet: &mut Sheet, hosts: usize) {
    let mut relay = Relay::start(&Plan { links: hosts + 64, ..Plan::default() });
    let crowd = Crowd::start(&relay.target, hosts, Manner { room: SMALL, echo: false, returns: true }).await;
    sleep(HEALTHY).await;
    crowd.fate.arrivals.lock().unwrap().clear();
    relay.signal(Signal::KILL);
    relay.wait();
    sleep(AWAY).await;
    relay.restart();
    let started = Instant::now();
    crowd.until_up(hosts as u64).await;
    let arrivals = crowd.fate.arrivals.lock().unwrap().clone();
    let mut back: Vec<f64> = arrivals.iter().map(|at| at.saturating_duration_since(started).as_secs_f64()).collect();
    back.sort_by(f64::total_cmp);
    let at = |part: f64| back[((back.len() - 1) as f64 * part) as usize];
    let peak = (0..back.len()).map(|first| back[first..].iter().take_while(|at| **at < back[first] + 1.0).count());
    let peak = peak.max().unwrap_or(0) as f64;
    let mean = back.len() as f64 / at(1.0).max(1.0);
    let name = |figure: &str| format!("{hosts} hosts, relay away for 5 s: {figure}");
    sheet.hold("R1", &name("p99 back after"), at(0.99), "s", Aim::AtMost(30.0));
    sheet.tell("R1", &name("p50 back after"), at(0.5), "s", Aim::Known);
    sheet.tell("R1", &name("all back after"), at(1.0), "s", Aim::Known);
    sheet.tell("R1", &name("registered in the busiest second"), peak, "/s", Aim::AtMost(1500.0));
    sheet.tell("R1", &name("busiest second over mean"), peak / mean, "", Aim::Known);
    let again = (back.len() - hosts) as f64;
    sheet.hold("R1", &name("lost once more while they came"), again, "", Aim::AtMost(0.0));
}
