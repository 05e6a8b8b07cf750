//! A record sent through the relay by itself: a host and a device of its own meet in the switch, as any others do.

use homing_core::Instant;
use homing_core::crypto::{Identity, Secret};
use homing_core::hop::{Capability, Code, DeviceLink, HostLink, MAX_CONTROL, Purpose, device, host, route_id};
use homing_core::relay::{Ask, ChannelSlot, Handled, LinkId, LinkSlot, Outbox, RouteSlot, Switch};
use rand_core::CryptoRng;

/// Nobody dials it.
const NAME: &str = "probe.invalid";
const RECORD: &[u8] = b"a record of the relay's own";

/// What the switch says to either end.
#[derive(Default)]
struct Ends {
    said: Vec<(Option<LinkId>, Vec<u8>)>,
    asked: bool,
}

impl Outbox for Ends {
    fn control(&mut self, link: LinkId, message: &[u8]) {
        self.said.push((Some(link), message.to_vec()));
    }

    fn hang_up(&mut self, _: LinkId, _: Code) {}

    fn ask(&mut self, _: LinkId, _: &Ask) {
        self.asked = true;
    }
}

impl Ends {
    /// What was said to a link since the last call.
    fn take(&mut self, link: LinkId) -> Vec<Vec<u8>> {
        let (own, rest) =
            core::mem::take(&mut self.said).into_iter().partition(|(to, _)| to.is_none_or(|to| to == link));
        self.said = rest;
        Vec::into_iter(own).map(|(_, message)| message).collect()
    }
}

/// Sends a record from a device to a host, and tells what keeps it from arriving.
pub(crate) fn probe(
    switch: &mut Switch<Vec<LinkSlot>, Vec<ChannelSlot>, Vec<RouteSlot>>,
    now: Instant,
    unix: u64,
    rng: &mut impl CryptoRng,
) -> Result<(), &'static str> {
    let mut ends = Ends::default();
    let full = |_| "no room for two more links";
    let host = switch.attach(now, NAME, rng, &mut ends).map_err(full)?;
    let device = switch.attach(now, NAME, rng, &mut ends).map_err(full);
    let sent = device.and_then(|device| {
        let sent = send(switch, now, unix, rng, &mut ends, (host, device));
        switch.detach(device, &mut ends);
        sent
    });
    switch.detach(host, &mut ends);
    sent
}

fn send(
    switch: &mut Switch<Vec<LinkSlot>, Vec<ChannelSlot>, Vec<RouteSlot>>,
    now: Instant,
    unix: u64,
    rng: &mut impl CryptoRng,
    ends: &mut Ends,
    (host, device): (LinkId, LinkId),
) -> Result<(), &'static str> {
    let (route, key) = (Identity::generate(rng), Secret::random(rng));
    let expiry = u32::try_from(unix).unwrap_or(u32::MAX).saturating_add(60);
    let route_id = route_id(route.public());
    let capability = Capability::mint(&key, &route_id, [0; 8], expiry, 0);
    let purpose = Purpose::Dial { route_id, capability };
    let too_long = |_| "its own name is too long";
    let mut at_host = HostLink::<1>::new(NAME, route, key, Secret::random(rng), None, now).map_err(too_long)?;
    let mut at_device = DeviceLink::new(NAME, purpose, now).map_err(too_long)?;
    let mut out = [0; MAX_CONTROL];
    // A few round trips: HELLO, REGISTER, OK; HELLO, DIAL, OPENED; INCOMING, ACCEPT.
    for _ in 0..8 {
        for message in ends.take(host) {
            match at_host.handle(now, &message) {
                Ok(Some(host::Event::Incoming { idx, .. })) => drop(at_host.accept(idx)),
                Ok(Some(host::Event::Closed { .. })) => return Err("a host was turned away"),
                Ok(_) => {}
                Err(_) => return Err("a host did not understand it"),
            }
        }
        while let Some(len) = at_host.poll_output(now, &mut out) {
            let message = out.get_mut(..len).unwrap_or_default();
            switch.handle(now, host, message, rng, ends).map_err(|_| "it did not understand a host")?;
        }
        if core::mem::take(&mut ends.asked) {
            switch.admit(now, host, rng, ends);
        }
        for message in ends.take(device) {
            match at_device.handle(now, &message) {
                Ok(Some(device::Event::Closed { .. })) => return Err("a device was turned away"),
                Ok(_) => {}
                Err(_) => return Err("a device did not understand it"),
            }
        }
        while let Some(len) = at_device.poll_output(now, &mut out) {
            let message = out.get_mut(..len).unwrap_or_default();
            switch.handle(now, device, message, rng, ends).map_err(|_| "it did not understand a device")?;
        }
        if at_device.is_open()
            && at_host.channels() == 1
            && let Some(header) = at_device.data_header(RECORD.len())
        {
            let mut message = [&header, RECORD].concat();
            let handled = switch.handle(now, device, &mut message, rng, ends);
            let Ok(Handled::Forward { to, .. }) = handled else { return Err("a record was not forwarded") };
            let arrived = matches!(at_host.handle(now, &message), Ok(Some(host::Event::Data { body: RECORD, .. })));
            return if to == host && arrived { Ok(()) } else { Err("a record went astray") };
        }
    }
    Err("a device did not find its host")
}
