//! What one account uses now, and each of its hosts.

use core::time::Duration;
use std::collections::HashMap;
use std::sync::Arc;

use homing_core::Instant;
use homing_core::hop::RouteId;

use super::pace::{Pace, Rate};
use super::plan::{HostLimits, Plan};
use crate::limits::{Limit, Turned};

/// An account that has hosts, or had some a moment ago.
pub(super) struct Tenant {
    pub(super) name: Arc<str>,
    plan: Plan,
    hosts: HashMap<RouteId, Host>,
    /// How many of them are here.
    present: u32,
    /// Channels.
    devices: u32,
    dials: Pace,
    knocks: Pace,
    registrations: Pace,
    bytes: Pace,
    bytes_left: Option<u64>,
    /// Bytes that were not charged yet.
    unbilled: u64,
}

/// What a host uses.
struct Host {
    /// A host may wait on one link and be attached by another, or come back before its old link was missed.
    links: u32,
    /// Channels.
    devices: u32,
    dials: Pace,
    knocks: Pace,
    registrations: Pace,
    bytes: Pace,
}

const HOST: Host = Host {
    links: 0,
    devices: 0,
    dials: Pace::FRESH,
    knocks: Pace::FRESH,
    registrations: Pace::FRESH,
    bytes: Pace::FRESH,
};

impl Host {
    fn is_done(&self, now: Instant) -> bool {
        let paces = [self.dials, self.knocks, self.registrations];
        self.links == 0 && self.devices == 0 && paces.into_iter().all(|pace| pace.is_rested(now))
    }
}

impl Tenant {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            plan: Plan::default(),
            hosts: HashMap::new(),
            present: 0,
            devices: 0,
            dials: Pace::FRESH,
            knocks: Pace::FRESH,
            registrations: Pace::FRESH,
            bytes: Pace::FRESH,
            bytes_left: None,
            unbilled: 0,
        }
    }

    pub(super) fn set_plan(&mut self, plan: Plan, usual: &HostLimits, bytes_left: Option<u64>) {
        let host = plan.host.or(usual);
        self.plan = Plan { host, ..plan };
        self.bytes_left = bytes_left.map(|left| left.saturating_sub(self.unbilled));
    }

    pub(super) fn register(&mut self, route: RouteId, now: Instant) -> Result<(), Turned> {
        let Plan { hosts, registrations_per_minute, host: limits, .. } = &self.plan;
        let host = self.hosts.entry(route).or_insert(HOST);
        let others = self.present.saturating_sub(u32::from(host.links > 0));
        if hosts.is_some_and(|most| others >= most) {
            return Err(Turned::busy(Limit::AccountHosts, Turned::USUAL));
        }
        if self.bytes_left == Some(0) {
            return Err(Turned::busy(Limit::AccountMonth, Turned::USUAL));
        }
        both(
            now,
            (&mut self.registrations, registrations_per_minute.map(Rate::per_minute), Limit::AccountRegistrations),
            (&mut host.registrations, limits.registrations_per_minute.map(Rate::per_minute), Limit::HostRegistrations),
        )?;
        self.present += u32::from(host.links == 0);
        host.links += 1;
        Ok(())
    }

    pub(super) fn deregister(&mut self, route: RouteId) {
        let Some(host) = self.hosts.get_mut(&route) else { return };
        host.links = host.links.saturating_sub(1);
        self.present = self.present.saturating_sub(u32::from(host.links == 0));
    }

    /// Whether there are no more hosts than its plan, which may be another one now, has.
    pub(super) fn check_hosts(&self) -> Result<(), Turned> {
        let too_many = self.plan.hosts.is_some_and(|most| self.present > most);
        if too_many { Err(Turned::busy(Limit::AccountHosts, Turned::USUAL)) } else { Ok(()) }
    }

    pub(super) fn open(&mut self, route: RouteId, now: Instant) -> Result<(), Turned> {
        let Plan { devices, dials_per_second, host: limits, .. } = &self.plan;
        let host = self.hosts.entry(route).or_insert(HOST);
        if devices.is_some_and(|most| self.devices >= most) {
            return Err(Turned::busy(Limit::AccountDevices, Turned::USUAL));
        }
        if limits.devices.is_some_and(|most| host.devices >= most) {
            return Err(Turned::busy(Limit::HostDevices, Turned::USUAL));
        }
        if self.bytes_left == Some(0) {
            return Err(Turned::busy(Limit::AccountMonth, Turned::USUAL));
        }
        both(
            now,
            (&mut self.dials, dials_per_second.map(Rate::per_second), Limit::AccountDials),
            (&mut host.dials, limits.dials_per_second.map(Rate::per_second), Limit::HostDials),
        )?;
        self.devices += 1;
        host.devices += 1;
        Ok(())
    }

    pub(super) fn close(&mut self, route: RouteId) {
        self.devices = self.devices.saturating_sub(1);
        if let Some(host) = self.hosts.get_mut(&route) {
            host.devices = host.devices.saturating_sub(1);
        }
    }

    pub(super) fn knock(&mut self, route: RouteId, now: Instant) -> Result<(), Turned> {
        let Plan { knocks_per_minute, host: limits, .. } = &self.plan;
        let host = self.hosts.entry(route).or_insert(HOST);
        both(
            now,
            (&mut self.knocks, knocks_per_minute.map(Rate::per_minute), Limit::AccountKnocks),
            (&mut host.knocks, limits.knocks_per_minute.map(Rate::per_minute), Limit::HostKnocks),
        )
    }

    /// Counts bytes. Returns how long its host, and how long the account has to wait for more.
    pub(super) fn charge(&mut self, route: RouteId, bytes: u64, now: Instant) -> [Duration; 2] {
        self.unbilled = self.unbilled.saturating_add(bytes);
        self.bytes_left = self.bytes_left.map(|left| left.saturating_sub(bytes));
        let of_host = self.plan.host.bytes_per_second.and_then(|rate| {
            let host = self.hosts.get_mut(&route)?;
            Some(host.bytes.charge(now, bytes, rate))
        });
        let of_account = self.plan.bytes_per_second.map(|rate| self.bytes.charge(now, bytes, rate));
        [of_host, of_account].map(Option::unwrap_or_default)
    }

    pub(super) fn has_used_up(&self) -> bool {
        self.bytes_left == Some(0)
    }

    /// What was used since the last call.
    pub(super) fn bill(&mut self, now: Instant) -> u64 {
        self.hosts.retain(|_, host| !host.is_done(now));
        core::mem::take(&mut self.unbilled)
    }

    /// Whether nothing of it is left to know.
    pub(super) fn is_done(&self, now: Instant) -> bool {
        let paces = [self.dials, self.knocks, self.registrations];
        let is_idle = self.present == 0 && self.devices == 0 && self.unbilled == 0;
        is_idle
            && paces.into_iter().all(|pace| pace.is_rested(now))
            && self.hosts.values().all(|host| host.is_done(now))
    }
}

type Kept<'a> = (&'a mut Pace, Option<Rate>, Limit);

/// Counts one for two rates, or for neither.
fn both(now: Instant, one: Kept<'_>, other: Kept<'_>) -> Result<(), Turned> {
    for (pace, rate, limit) in [&one, &other] {
        let wait = pace.wait(now, *rate);
        if !wait.is_zero() {
            return Err(Turned::busy(*limit, wait));
        }
    }
    for (pace, rate, _) in [one, other] {
        pace.take(now, rate);
    }
    Ok(())
}
