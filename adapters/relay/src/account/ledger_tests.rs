//! Accounts without sockets: links are those of a switch of their own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use core::time::Duration;

use homing_core::Instant;
use homing_core::hop::Code;
use homing_core::relay::{ChannelSlot, Config, LinkId, LinkSlot, Outbox, RouteSlot, Switch};
use rand_core::UnwrapErr;

use super::*;
use crate::limits::{Limit, Turned};

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
    Entitlement { account: account.into(), plan, ..Entitlement::default() }
}

fn host(route: u8) -> Applicant {
    Applicant { route_id: [route; 16], key_hash: [0; 32], address: None }
}

fn busy(answer: Result<(), Turned>) -> Limit {
    let turned = answer.unwrap_err();
    assert!(turned.code == Code::Busy && turned.retry.is_some(), "{turned:?}");
    turned.limit
}

fn charge(ledger: &mut Ledger, link: LinkId, bytes: u64, millis: u64) -> Duration {
    ledger.set_now(at(millis));
    ledger.charge(link, bytes)
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
        |ledger: &mut Ledger, link, route: u8| ledger.admit(link, &host(route), entitled("alice", plan.clone()), NOW);
    assert_eq!(admit(&mut ledger, a, 1), Ok(()));
    assert_eq!(admit(&mut ledger, b, 2), Ok(()));
    assert_eq!(busy(admit(&mut ledger, c, 3)), Limit::AccountHosts);
    // A host that comes back before its old link was missed takes its own place.
    assert_eq!(admit(&mut ledger, again, 1), Ok(()));
    ledger.leave(a);
    assert_eq!(busy(admit(&mut ledger, c, 3)), Limit::AccountHosts, "the late end of the old link frees nothing");
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
        ledger.admit(link, &host(link.slot() as u8), entitled(account, plan.clone()), NOW).unwrap();
    }
    ledger.open(a, d1).unwrap();
    assert_eq!(busy(ledger.open(b, d2)), Limit::AccountDevices, "the same account");
    ledger.open(other, d3).unwrap();
    ledger.over(d2); // was never open
    assert_eq!(busy(ledger.open(b, d2)), Limit::AccountDevices);
    ledger.over(d1);
    ledger.open(b, d2).unwrap();
}

#[test]
fn a_rate_is_kept_by_pauses_over_all_links() {
    let [link, device] = links();
    let mut ledger = Ledger::default();
    let plan = Plan { bytes_per_second: Some(1000), ..Plan::default() };
    ledger.admit(link, &host(1), entitled("alice", plan), NOW).unwrap();
    ledger.open(link, device).unwrap();
    assert_eq!(charge(&mut ledger, link, 1000, 0), Duration::ZERO, "a second's worth is free to begin with");
    assert_eq!(charge(&mut ledger, device, 500, 0), Duration::from_millis(500));
    assert_eq!(charge(&mut ledger, link, 500, 1000), Duration::ZERO, "half of it was waited for");
    assert_eq!(
        charge(&mut ledger, link, 1_000_000, 1000),
        Duration::from_secs(20),
        "never so long that the link is missed"
    );
    // What nobody used is not saved up.
    assert_eq!(charge(&mut ledger, link, 3000, 100_000), Duration::from_secs(2));
    assert_eq!(ledger.bill().into_iter().collect::<Vec<_>>(), [("alice".into(), 1_005_000)]);
    assert!(ledger.bill().is_empty());
}

#[test]
fn time_and_bytes_end_and_the_hosts_with_them() {
    let [a, b, device] = links();
    let mut ledger = Ledger::default();
    let until = Entitlement { until: Some(NOW + 10), ..entitled("alice", Plan::default()) };
    ledger.admit(a, &host(1), until.clone(), NOW).unwrap();
    let bytes = Entitlement { bytes_left: Some(100), ..entitled("bob", Plan::default()) };
    ledger.admit(b, &host(2), bytes, NOW).unwrap();
    assert_eq!(ledger.due(NOW + 9), []);
    assert_eq!(ledger.due(NOW + 10), [(a, Turned::denied())]);
    assert_eq!(ledger.admit(a, &host(1), until, NOW + 10), Err(Turned::denied()));
    let _ = charge(&mut ledger, b, 100, 0);
    assert_eq!(
        ledger.due(NOW).iter().map(|(link, cut)| (*link, cut.limit)).collect::<Vec<_>>(),
        [(b, Limit::AccountMonth)]
    );
    assert_eq!(busy(ledger.open(b, device)), Limit::AccountMonth);
    for link in [a, b] {
        ledger.leave(link);
    }
    assert!(!ledger.is_empty(), "bob's bytes are not written down yet");
    ledger.bill();
    assert!(ledger.is_empty());
}

#[test]
fn who_has_no_account_is_not_counted() {
    let [link, device] = links();
    let mut ledger = Ledger::default();
    ledger.open(link, device).unwrap();
    assert_eq!(charge(&mut ledger, link, u64::MAX, 0), Duration::ZERO);
    ledger.over(device);
    ledger.leave(link);
    assert!(ledger.is_empty() && ledger.bill().is_empty());
}

#[test]
fn rates_of_hosts_and_accounts_are_kept_and_tell_when_to_come_back() {
    let [a, b, c, d1, d2, d3] = links();
    let limits = HostLimits { dials_per_second: Some(1), registrations_per_minute: Some(2), ..HostLimits::default() };
    let mut ledger = Ledger::new(limits);
    let plan = Plan { knocks_per_minute: Some(1), registrations_per_minute: Some(3), ..Plan::default() };
    let admit =
        |ledger: &mut Ledger, link, route| ledger.admit(link, &host(route), entitled("alice", plan.clone()), NOW);
    ledger.set_now(at(1_000_000));
    admit(&mut ledger, a, 1).unwrap();
    ledger.leave(a);
    admit(&mut ledger, a, 1).unwrap();
    ledger.leave(a);
    let again = admit(&mut ledger, a, 1).unwrap_err();
    assert_eq!((again.limit, again.retry), (Limit::HostRegistrations, Some(Duration::from_secs(30))));
    admit(&mut ledger, b, 2).unwrap();
    assert_eq!(busy(admit(&mut ledger, c, 3)), Limit::AccountRegistrations);
    assert_eq!((ledger.knock(b), busy(ledger.knock(b))), (Ok(()), Limit::AccountKnocks));
    for _ in 0..10 {
        ledger.open(b, d1).unwrap();
        ledger.over(d1);
    }
    assert_eq!(busy(ledger.open(b, d2)), Limit::HostDials);
    ledger.set_now(at(1_030_000));
    ledger.open(b, d2).unwrap();
    admit(&mut ledger, a, 1).unwrap();
    // A plan's word about its hosts goes before the relay's.
    let host_plan = HostLimits { devices: Some(1), dials_per_second: Some(1000), ..HostLimits::default() };
    let plan = Plan { host: host_plan, ..Plan::default() };
    ledger.admit(c, &host(3), entitled("bob", plan), NOW).unwrap();
    ledger.open(c, d3).unwrap();
    assert_eq!(busy(ledger.open(c, d1)), Limit::HostDevices);
    // All of it is forgotten once it does not matter any more.
    for link in [d2, d3] {
        ledger.over(link);
    }
    for link in [a, b, c] {
        ledger.leave(link);
    }
    ledger.bill();
    assert!(!ledger.is_empty());
    ledger.set_now(at(2_000_000));
    ledger.bill();
    assert!(ledger.is_empty());
}

#[test]
fn a_host_is_asked_about_again_once_and_in_time() {
    let [a] = links();
    let mut ledger = Ledger::default();
    let good_for =
        |seconds| Entitlement { good_for: Some(Duration::from_secs(seconds)), ..entitled("alice", Plan::default()) };
    ledger.admit(a, &host(1), good_for(1), NOW).unwrap();
    assert_eq!(ledger.reviews(), []);
    ledger.set_now(at(1000));
    assert_eq!(ledger.reviews(), [(a, host(1))]);
    assert_eq!(ledger.reviews(), []);
    ledger.renew(a, good_for(5), NOW).unwrap();
    ledger.set_now(at(6000));
    assert_eq!(ledger.reviews().len(), 1);
    let fewer = Plan { hosts: Some(0), ..Plan::default() };
    assert_eq!(busy(ledger.renew(a, entitled("alice", fewer), NOW)), Limit::AccountHosts);
    assert_eq!(busy(ledger.renew(a, entitled("bob", Plan::default()), NOW)), Limit::Key);
    assert!(ledger.renew(a, Entitlement { until: Some(NOW), ..good_for(1) }, NOW).is_err());
    ledger.leave(a);
    assert_eq!(ledger.renew(a, good_for(1), NOW), Ok(()), "it has gone");
}
