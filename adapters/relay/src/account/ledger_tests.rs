//! Accounts without sockets: links are those of a switch of their own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use core::time::Duration;

use homing_core::Instant;
use homing_core::hop::Code;
use homing_core::relay::{ChannelSlot, Config, LinkId, LinkSlot, Outbox, RouteSlot, Switch};
use rand_core::UnwrapErr;

use super::*;

const NOW: u64 = 1_790_000_000;

struct Nowhere;

impl Outbox for Nowhere {
    fn control(&mut self, _: LinkId, _: &[u8]) {}
    fn hang_up(&mut self, _: LinkId, _: Code) {}
}

/// So many links.
fn links<const N: usize>() -> [LinkId; N] {
    let mut rng = UnwrapErr(getrandom::SysRng);
    let slots = core::iter::repeat_with(LinkSlot::default).take(N).collect::<Vec<_>>();
    let (channels, routes) = (Vec::<ChannelSlot>::new(), Vec::<RouteSlot>::new());
    let mut switch = Switch::new(Config::default(), slots, channels, routes, Instant::ZERO, NOW, &mut rng);
    core::array::from_fn(|_| switch.attach(Instant::ZERO, "relay", &mut rng, &mut Nowhere).unwrap())
}

fn entitled(account: &str, plan: Plan) -> Entitlement {
    Entitlement { account: account.into(), plan, until: None, bytes_left: None }
}

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1000)
}

#[test]
fn hosts_are_counted_by_their_routes() {
    let [a, b, c, again] = links();
    let mut ledger = Ledger::default();
    let plan = Plan { hosts: Some(2), ..Plan::default() };
    let admit =
        |ledger: &mut Ledger, link, route: u8| ledger.admit(link, [route; 16], entitled("alice", plan.clone()), NOW);
    assert_eq!(admit(&mut ledger, a, 1), Ok(()));
    assert_eq!(admit(&mut ledger, b, 2), Ok(()));
    assert_eq!(admit(&mut ledger, c, 3), Err(Code::Busy));
    // A host that comes back before its old link was missed takes its own place.
    assert_eq!(admit(&mut ledger, again, 1), Ok(()));
    ledger.leave(a);
    assert_eq!(admit(&mut ledger, c, 3), Err(Code::Busy), "the late end of the old link frees nothing");
    ledger.leave(again);
    assert_eq!(admit(&mut ledger, c, 3), Ok(()));
    assert_eq!(ledger.hosts_of("alice").len(), 2);
    assert_eq!(ledger.hosts_of("bob"), []);
}

#[test]
fn devices_are_counted_over_all_hosts_and_accounts_apart() {
    let [a, b, other, d1, d2, d3] = links();
    let mut ledger = Ledger::default();
    let plan = Plan { devices: Some(1), ..Plan::default() };
    for (link, account) in [(a, "alice"), (b, "alice"), (other, "bob")] {
        ledger.admit(link, [link.slot() as u8; 16], entitled(account, plan.clone()), NOW).unwrap();
    }
    assert!(ledger.open(a, d1));
    assert!(!ledger.open(b, d2), "the same account");
    assert!(ledger.open(other, d3), "another one");
    ledger.over(d2); // was never open
    assert!(!ledger.open(b, d2));
    ledger.over(d1);
    assert!(ledger.open(b, d2));
}

#[test]
fn a_rate_is_kept_by_pauses_over_all_links() {
    let [host, device] = links();
    let mut ledger = Ledger::default();
    let plan = Plan { bytes_per_second: Some(1000), ..Plan::default() };
    ledger.admit(host, [1; 16], entitled("alice", plan), NOW).unwrap();
    assert!(ledger.open(host, device));
    assert_eq!(ledger.charge(host, 1000, at(0)), Duration::ZERO, "a second's worth is free to begin with");
    assert_eq!(ledger.charge(device, 500, at(0)), Duration::from_millis(500));
    assert_eq!(ledger.charge(host, 500, at(1000)), Duration::ZERO, "half of it was waited for");
    assert_eq!(
        ledger.charge(host, 1_000_000, at(1000)),
        Duration::from_secs(20),
        "never so long that the link is missed"
    );
    // What nobody used is not saved up.
    assert_eq!(ledger.charge(host, 3000, at(100_000)), Duration::from_secs(2));
    assert_eq!(ledger.bill().into_iter().collect::<Vec<_>>(), [("alice".into(), 1_005_000)]);
    assert!(ledger.bill().is_empty());
}

#[test]
fn time_and_bytes_end_and_the_hosts_with_them() {
    let [a, b, device] = links();
    let mut ledger = Ledger::default();
    let until = Entitlement { until: Some(NOW + 10), ..entitled("alice", Plan::default()) };
    ledger.admit(a, [1; 16], until.clone(), NOW).unwrap();
    let bytes = Entitlement { bytes_left: Some(100), ..entitled("bob", Plan::default()) };
    ledger.admit(b, [2; 16], bytes, NOW).unwrap();
    assert_eq!(ledger.due(NOW + 9), []);
    assert_eq!(ledger.due(NOW + 10), [(a, Code::Denied)]);
    assert_eq!(ledger.admit(a, [1; 16], until, NOW + 10), Err(Code::Denied));
    let _ = ledger.charge(b, 100, at(0));
    assert_eq!(ledger.due(NOW), [(b, Code::Busy)]);
    assert!(!ledger.open(b, device));
    for link in [a, b] {
        ledger.leave(link);
    }
    assert!(!ledger.is_empty(), "bob's bytes are not written down yet");
    ledger.bill();
    assert!(ledger.is_empty());
}

#[test]
fn who_has_no_account_is_not_counted() {
    let [host, device] = links();
    let mut ledger = Ledger::default();
    assert!(ledger.open(host, device));
    assert_eq!(ledger.charge(host, u64::MAX, at(0)), Duration::ZERO);
    ledger.over(device);
    ledger.leave(host);
    assert!(ledger.is_empty() && ledger.bill().is_empty());
}
