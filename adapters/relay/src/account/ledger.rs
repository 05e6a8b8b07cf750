//! What accounts use now, and whether they may: counts, no clocks and no sockets.

use core::time::Duration;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use homing_core::Instant;
use homing_core::relay::LinkId;

use super::admit::{Applicant, Entitlement};
use super::plan::HostLimits;
use super::tenant::Tenant;
use crate::limits::{Limit, Turned};

/// The accounts that have hosts now.
#[derive(Default)]
pub(crate) struct Ledger {
    /// By the number in `seats`.
    tenants: Vec<Option<Tenant>>,
    numbers: HashMap<Arc<str>, usize>,
    /// Of links, by their slots.
    seats: Vec<Option<Seat>>,
    /// What a host may use where its plan does not say.
    usual: HostLimits,
    now: Instant,
    /// Pauses for the rates of hosts, and of accounts.
    delayed: [u64; 2],
}

/// Whose link it is.
struct Seat {
    link: LinkId,
    tenant: usize,
    /// The host's.
    route: homing_core::hop::RouteId,
    /// Where it is the host's link.
    host: Option<Box<HostSeat>>,
}

/// What holds for a host's link.
struct HostSeat {
    applicant: Applicant,
    /// When it is cut off, in Unix seconds.
    until: Option<u64>,
    /// When to ask about it again.
    review: Option<Instant>,
}

impl Ledger {
    /// One where hosts may use so much each, unless their plans say otherwise.
    pub(crate) fn new(usual: HostLimits) -> Self {
        Self { usual, ..Self::default() }
    }

    /// Sets the time of all that follows.
    pub(crate) const fn set_now(&mut self, now: Instant) {
        self.now = now;
    }

    /// Takes a host in.
    pub(crate) fn admit(
        &mut self,
        link: LinkId,
        applicant: &Applicant,
        entitlement: Entitlement,
        unix: u64,
    ) -> Result<(), Turned> {
        let Entitlement { account, plan, until, bytes_left, good_for } = entitlement;
        if until.is_some_and(|until| until <= unix) {
            return Err(Turned::denied());
        }
        let (number, now) = (self.number_of(&account), self.now);
        let Some(Some(tenant)) = self.tenants.get_mut(number) else {
            return Err(Turned::busy(Limit::Relay, Turned::USUAL));
        };
        tenant.set_plan(plan, &self.usual, bytes_left);
        if let Err(turned) = tenant.register(applicant.route_id, now) {
            self.tidy(number);
            return Err(turned);
        }
        let review = good_for.map(|good_for| now + good_for);
        let host = Some(Box::new(HostSeat { applicant: *applicant, until, review }));
        self.sit(Seat { link, tenant: number, route: applicant.route_id, host });
        Ok(())
    }

    /// A host that is in was asked about again, and may stay.
    pub(crate) fn renew(&mut self, link: LinkId, entitlement: Entitlement, unix: u64) -> Result<(), Turned> {
        let Some(seat) = self.seats.get_mut(link.slot()).and_then(Option::as_mut).filter(|seat| seat.link == link)
        else {
            return Ok(());
        };
        let (Some(Some(tenant)), Some(host)) = (self.tenants.get_mut(seat.tenant), &mut seat.host) else {
            return Ok(());
        };
        let Entitlement { account, plan, until, bytes_left, good_for } = entitlement;
        if until.is_some_and(|until| until <= unix) {
            return Err(Turned::denied());
        }
        if tenant.name != account {
            // It belongs to another one now, and comes back as that one's.
            return Err(Turned::busy(Limit::Key, Duration::from_secs(1)));
        }
        host.until = until;
        host.review = good_for.map(|good_for| self.now + good_for);
        tenant.set_plan(plan, &self.usual, bytes_left);
        tenant.check_hosts()
    }

    /// A link is gone.
    pub(crate) fn leave(&mut self, link: LinkId) {
        let Some(seat) = self.seats.get_mut(link.slot()).and_then(|seat| seat.take_if(|seat| seat.link == link)) else {
            return;
        };
        if seat.host.is_some()
            && let Some(Some(tenant)) = self.tenants.get_mut(seat.tenant)
        {
            tenant.deregister(seat.route);
        }
        self.tidy(seat.tenant);
    }

    /// A device is to be joined with a host.
    pub(crate) fn open(&mut self, host: LinkId, device: LinkId) -> Result<(), Turned> {
        let Some((tenant, route)) = self.seat(host).map(|seat| (seat.tenant, seat.route)) else { return Ok(()) };
        let Some(Some(known)) = self.tenants.get_mut(tenant) else { return Ok(()) };
        known.open(route, self.now)?;
        self.sit(Seat { link: device, tenant, route, host: None });
        Ok(())
    }

    /// A host is to be woken.
    pub(crate) fn knock(&mut self, host: LinkId) -> Result<(), Turned> {
        let Some((tenant, route)) = self.seat(host).map(|seat| (seat.tenant, seat.route)) else { return Ok(()) };
        let Some(Some(tenant)) = self.tenants.get_mut(tenant) else { return Ok(()) };
        tenant.knock(route, self.now)
    }

    /// A device and a host that were joined are not any more.
    pub(crate) fn over(&mut self, device: LinkId) {
        let Some(seat) = self.seat(device).filter(|seat| seat.host.is_none()) else { return };
        let (number, route) = (seat.tenant, seat.route);
        if let Some(Some(tenant)) = self.tenants.get_mut(number) {
            tenant.close(route);
        }
        self.leave(device);
    }

    /// Bytes of a link were forwarded. Returns how long to wait before more are read from it.
    pub(crate) fn charge(&mut self, link: LinkId, bytes: u64) -> Duration {
        let Some((number, route)) = self.seat(link).map(|seat| (seat.tenant, seat.route)) else {
            return Duration::ZERO;
        };
        let Some(Some(tenant)) = self.tenants.get_mut(number) else { return Duration::ZERO };
        let pauses = tenant.charge(route, bytes, self.now);
        for (count, pause) in self.delayed.iter_mut().zip(pauses) {
            *count += u64::from(!pause.is_zero());
        }
        pauses.into_iter().max().unwrap_or_default()
    }

    /// Pauses so far, for the rates of hosts and of accounts.
    pub(crate) const fn delayed(&self) -> [u64; 2] {
        self.delayed
    }

    /// The hosts that are to be cut off by now, and why.
    pub(crate) fn due(&self, unix: u64) -> Vec<(LinkId, Turned)> {
        let hosts = self.seats.iter().flatten().filter_map(|seat| Some((seat, seat.host.as_ref()?)));
        let cut = hosts.filter_map(|(seat, host)| {
            let used_up = || self.tenants.get(seat.tenant).and_then(Option::as_ref).is_some_and(Tenant::has_used_up);
            let turned = if host.until.is_some_and(|until| until <= unix) {
                Turned::denied()
            } else if used_up() {
                Turned::busy(Limit::AccountMonth, Turned::USUAL)
            } else {
                return None;
            };
            Some((seat.link, turned))
        });
        cut.collect()
    }

    /// The hosts to ask about again by now. Each is told once, until it is renewed.
    pub(crate) fn reviews(&mut self) -> Vec<(LinkId, Applicant)> {
        let now = self.now;
        let hosts = self.seats.iter_mut().flatten().filter_map(|seat| Some((seat.link, seat.host.as_mut()?)));
        let due = hosts
            .filter_map(|(link, host)| host.review.take_if(|review| *review <= now).map(|_| (link, host.applicant)));
        due.collect()
    }

    /// Whether there is anything to look after.
    pub(crate) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The links of an account's hosts.
    pub(crate) fn hosts_of(&self, account: &str) -> Vec<LinkId> {
        let Some(number) = self.numbers.get(account) else { return Vec::new() };
        let seats = self.seats.iter().flatten().filter(|seat| seat.tenant == *number && seat.host.is_some());
        seats.map(|seat| seat.link).collect()
    }

    /// What was used since the last call.
    pub(crate) fn bill(&mut self) -> BTreeMap<Arc<str>, u64> {
        let mut used = BTreeMap::new();
        for number in 0..self.tenants.len() {
            if let Some(Some(tenant)) = self.tenants.get_mut(number) {
                let bytes = tenant.bill(self.now);
                if bytes > 0 {
                    used.insert(tenant.name.clone(), bytes);
                }
            }
            self.tidy(number);
        }
        used
    }

    fn seat(&self, link: LinkId) -> Option<&Seat> {
        self.seats.get(link.slot())?.as_ref().filter(|seat| seat.link == link)
    }

    fn sit(&mut self, seat: Seat) {
        let slot = seat.link.slot();
        if self.seats.len() <= slot {
            self.seats.resize_with(slot + 1, || None);
        }
        if let Some(place) = self.seats.get_mut(slot) {
            *place = Some(seat);
        }
    }

    fn number_of(&mut self, account: &Arc<str>) -> usize {
        if let Some(number) = self.numbers.get(account) {
            return *number;
        }
        let tenant = Tenant::new(account.clone());
        let number = self.tenants.iter().position(Option::is_none).unwrap_or(self.tenants.len());
        match self.tenants.get_mut(number) {
            Some(place) => *place = Some(tenant),
            None => self.tenants.push(Some(tenant)),
        }
        self.numbers.insert(account.clone(), number);
        number
    }

    /// Forgets an account that has nothing here any more.
    fn tidy(&mut self, number: usize) {
        let Some(place) = self.tenants.get_mut(number) else { return };
        if let Some(tenant) = place.take_if(|tenant| tenant.is_done(self.now)) {
            self.numbers.remove(&tenant.name);
        }
    }
}
