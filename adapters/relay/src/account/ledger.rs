//! What accounts use now, and whether they may: counts, no clocks and no sockets.

use core::time::Duration;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use homing_core::Instant;
use homing_core::hop::{Code, RouteId};
use homing_core::relay::LinkId;

use super::admit::Entitlement;
use super::plan::Plan;

/// How far an account may run ahead of its rate.
const BURST: Duration = Duration::from_secs(1);
/// The longest that a link is not read: its pings wait meanwhile, and both ends miss them after some more.
const LONGEST: Duration = Duration::from_secs(20);

/// The accounts that have hosts now.
#[derive(Default)]
pub(crate) struct Ledger {
    /// By the number in `seats`.
    tenants: Vec<Option<Tenant>>,
    numbers: HashMap<Arc<str>, usize>,
    /// Of links, by their slots.
    seats: Vec<Option<Seat>>,
}

struct Tenant {
    name: Arc<str>,
    plan: Plan,
    /// How many links each has: a host may wait on one and be attached by another, or come back before its old link was
    /// missed.
    hosts: HashMap<RouteId, u32>,
    /// Channels.
    devices: u32,
    /// When all that was forwarded would have been, at the account's rate.
    paid_until: Instant,
    bytes_left: Option<u64>,
    /// Bytes that were not charged yet.
    unbilled: u64,
}

/// Whose link it is.
struct Seat {
    link: LinkId,
    tenant: usize,
    /// Of a host: its route, and when it is cut off, in Unix seconds.
    host: Option<(RouteId, Option<u64>)>,
}

impl Ledger {
    /// Takes a host in.
    pub(crate) fn admit(
        &mut self,
        link: LinkId,
        route: RouteId,
        entitlement: Entitlement,
        unix: u64,
    ) -> Result<(), Code> {
        let Entitlement { account, plan, until, bytes_left } = entitlement;
        if until.is_some_and(|until| until <= unix) {
            return Err(Code::Denied);
        }
        let number = self.number_of(&account);
        let Some(Some(tenant)) = self.tenants.get_mut(number) else { return Err(Code::Busy) };
        tenant.plan = plan;
        tenant.bytes_left = bytes_left.map(|left| left.saturating_sub(tenant.unbilled));
        let others = tenant.hosts.keys().filter(|known| **known != route).count();
        let is_full = tenant.plan.hosts.is_some_and(|most| others >= most as usize);
        if is_full || tenant.bytes_left == Some(0) {
            self.tidy(number);
            return Err(Code::Busy);
        }
        *tenant.hosts.entry(route).or_default() += 1;
        self.sit(Seat { link, tenant: number, host: Some((route, until)) });
        Ok(())
    }

    /// A link is gone.
    pub(crate) fn leave(&mut self, link: LinkId) {
        let Some(seat) = self.seats.get_mut(link.slot()).and_then(|seat| seat.take_if(|seat| seat.link == link)) else {
            return;
        };
        let Some(Some(tenant)) = self.tenants.get_mut(seat.tenant) else { return };
        if let Some((route, _)) = seat.host
            && let Some(links) = tenant.hosts.get_mut(&route)
        {
            *links = links.saturating_sub(1);
            if *links == 0 {
                tenant.hosts.remove(&route);
            }
        }
        self.tidy(seat.tenant);
    }

    /// A device is to be joined with a host; false where the account has enough.
    pub(crate) fn open(&mut self, host: LinkId, device: LinkId) -> bool {
        let Some(number) = self.seat(host).map(|seat| seat.tenant) else { return true };
        let Some(Some(tenant)) = self.tenants.get_mut(number) else { return true };
        if tenant.plan.devices.is_some_and(|most| tenant.devices >= most) || tenant.bytes_left == Some(0) {
            return false;
        }
        tenant.devices += 1;
        self.sit(Seat { link: device, tenant: number, host: None });
        true
    }

    /// A device and a host that were joined are not any more.
    pub(crate) fn over(&mut self, device: LinkId) {
        let Some(number) = self.seat(device).filter(|seat| seat.host.is_none()).map(|seat| seat.tenant) else { return };
        if let Some(Some(tenant)) = self.tenants.get_mut(number) {
            tenant.devices = tenant.devices.saturating_sub(1);
        }
        self.leave(device);
    }

    /// Bytes of a link were forwarded. Returns how long to wait before more are read from it.
    pub(crate) fn charge(&mut self, link: LinkId, bytes: u64, now: Instant) -> Duration {
        let Some(number) = self.seat(link).map(|seat| seat.tenant) else { return Duration::ZERO };
        let Some(Some(tenant)) = self.tenants.get_mut(number) else { return Duration::ZERO };
        tenant.unbilled = tenant.unbilled.saturating_add(bytes);
        tenant.bytes_left = tenant.bytes_left.map(|left| left.saturating_sub(bytes));
        let Some(rate) = tenant.plan.bytes_per_second else { return Duration::ZERO };
        let takes = Duration::from_micros(bytes.saturating_mul(1_000_000) / rate.max(1));
        tenant.paid_until = (tenant.paid_until.max(now) + takes).min(now + BURST + LONGEST);
        tenant.paid_until.since(now).saturating_sub(BURST)
    }

    /// The hosts that are to be cut off by now, and why.
    pub(crate) fn due(&self, unix: u64) -> Vec<(LinkId, Code)> {
        let hosts = self.seats.iter().flatten().filter_map(|seat| seat.host.map(|(_, until)| (seat, until)));
        let cut = hosts.filter_map(|(seat, until)| {
            let used_up =
                || matches!(self.tenants.get(seat.tenant), Some(Some(tenant)) if tenant.bytes_left == Some(0));
            let code = if until.is_some_and(|until| until <= unix) {
                Code::Denied
            } else if used_up() {
                Code::Busy
            } else {
                return None;
            };
            Some((seat.link, code))
        });
        cut.collect()
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
            if let Some(Some(tenant)) = self.tenants.get_mut(number)
                && tenant.unbilled > 0
            {
                used.insert(tenant.name.clone(), core::mem::take(&mut tenant.unbilled));
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
        let tenant = Tenant {
            name: account.clone(),
            plan: Plan::default(),
            hosts: HashMap::new(),
            devices: 0,
            paid_until: Instant::ZERO,
            bytes_left: None,
            unbilled: 0,
        };
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
        let is_done = |tenant: &mut Tenant| tenant.hosts.is_empty() && tenant.devices == 0 && tenant.unbilled == 0;
        if let Some(tenant) = place.take_if(is_done) {
            self.numbers.remove(&tenant.name);
        }
    }
}
