//! What one address may take: links at once, and how fast it may ask for them. An address is a whole /64 with IPv6, since
//! whoever has one of those has all of them.

use core::net::{IpAddr, Ipv6Addr};
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Addresses that are remembered at once. Where there are more, new ones are bounded by the relay's own limits only.
const MAX_ADDRESSES: usize = 65_536;
/// How far bytes may run ahead of their rate.
const BURST: Duration = Duration::from_secs(1);
/// The longest that a link is not read: its pings wait meanwhile.
const LONGEST: Duration = Duration::from_secs(20);

/// What one address may take. Loopback addresses, and proxies that are named, are not counted: behind them is everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressLimits {
    /// Links at once.
    pub links: u32,
    /// Links asked for in a second, in the long run.
    pub per_second: u32,
    /// Links asked for at once, after a pause.
    pub burst: u32,
    /// Connections at once that have not become links, or whose links have not said who they are.
    pub unknown: u32,
    /// Bytes of records in a second that are taken from its links together, in the long run; any number where there is none.
    pub bytes_per_second: Option<u64>,
}

impl AddressLimits {
    /// What one address may take where nobody says otherwise.
    pub const USUAL: Self = Self { links: 512, per_second: 20, burst: 200, unknown: 128, bytes_per_second: None };
}

impl Default for AddressLimits {
    fn default() -> Self {
        Self::USUAL
    }
}

/// Why an address gets no link now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooMuch {
    /// It has as many as it may have.
    Links,
    /// It asks too fast: there is room again after this.
    Rate(Duration),
}

/// The addresses that have links or asked for some a moment ago.
#[derive(Debug)]
pub(crate) struct Addresses {
    limits: AddressLimits,
    known: Mutex<HashMap<Ipv6Addr, Known>>,
    /// Pauses for the rates of addresses.
    delayed: AtomicU64,
}

#[derive(Debug)]
struct Known {
    links: u32,
    unknown: u32,
    /// When all that it asked for would have been due at its rate.
    paid_until: Instant,
    /// The same for the bytes that it sent.
    bytes_until: Instant,
}

impl Known {
    fn is_done(&self, now: Instant) -> bool {
        self.links == 0 && self.unknown == 0 && self.paid_until.max(self.bytes_until) <= now
    }
}

/// A link's place among those of its address, until dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    addresses: Arc<Addresses>,
    address: Ipv6Addr,
}

/// The place of a connection that nobody knows yet, until dropped.
#[derive(Debug)]
pub(crate) struct Unknown {
    addresses: Arc<Addresses>,
    address: Ipv6Addr,
}

impl Addresses {
    pub(crate) fn new(limits: AddressLimits) -> Arc<Self> {
        Arc::new(Self { limits, known: Mutex::default(), delayed: AtomicU64::new(0) })
    }

    /// A place for a connection of this address that has not said what it is; none where it is not counted, an error where
    /// there are enough of them.
    pub(crate) fn arrive(self: &Arc<Self>, address: IpAddr, now: Instant) -> Result<Option<Unknown>, TooMuch> {
        let mut known = self.lock();
        let Some((address, entry)) = entry(&mut known, address, now) else { return Ok(None) };
        if entry.unknown >= self.limits.unknown {
            return Err(TooMuch::Links);
        }
        entry.unknown += 1;
        drop(known);
        Ok(Some(Unknown { addresses: self.clone(), address }))
    }

    /// A place for a link of this address; none where it is not counted.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, now: Instant) -> Result<Option<Seat>, TooMuch> {
        let mut known = self.lock();
        let Some((address, entry)) = entry(&mut known, address, now) else { return Ok(None) };
        let takes = Duration::from_secs(1) / self.limits.per_second.max(1);
        let paid_until = entry.paid_until.max(now) + takes;
        let ahead = paid_until.duration_since(now);
        let allowed = takes * self.limits.burst.max(1);
        if ahead > allowed {
            return Err(TooMuch::Rate(ahead.saturating_sub(allowed)));
        }
        entry.paid_until = paid_until;
        if entry.links >= self.limits.links {
            return Err(TooMuch::Links);
        }
        entry.links += 1;
        drop(known);
        Ok(Some(Seat { addresses: self.clone(), address }))
    }

    /// Pauses in reading, for the rates of addresses.
    pub(crate) fn delayed(&self) -> u64 {
        self.delayed.load(Ordering::Relaxed)
    }

    fn release(&self, address: Ipv6Addr, release: impl FnOnce(&mut Known)) {
        let mut known = self.lock();
        let Some(entry) = known.get_mut(&address) else { return };
        release(entry);
        if entry.is_done(Instant::now()) {
            known.remove(&address);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Ipv6Addr, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is kept of an address; none where it is not counted.
fn entry(known: &mut HashMap<Ipv6Addr, Known>, address: IpAddr, now: Instant) -> Option<(Ipv6Addr, &mut Known)> {
    if address.to_canonical().is_loopback() {
        return None;
    }
    let address = prefix(address);
    if known.len() >= MAX_ADDRESSES && !known.contains_key(&address) {
        known.retain(|_, known| !known.is_done(now));
        if known.len() >= MAX_ADDRESSES {
            return None;
        }
    }
    let new = Known { links: 0, unknown: 0, paid_until: now, bytes_until: now };
    Some((address, known.entry(address).or_insert(new)))
}

impl Seat {
    /// Counts bytes of the link. Returns how long to wait before more are read from it.
    pub(crate) fn charge(&self, bytes: u64, now: Instant) -> Duration {
        let Some(rate) = self.addresses.limits.bytes_per_second else { return Duration::ZERO };
        let mut known = self.addresses.lock();
        let Some(entry) = known.get_mut(&self.address) else { return Duration::ZERO };
        let takes = Duration::from_micros(bytes.saturating_mul(1_000_000) / rate.max(1));
        entry.bytes_until = (entry.bytes_until.max(now) + takes).min(now + BURST + LONGEST);
        let pause = entry.bytes_until.duration_since(now).saturating_sub(BURST);
        if !pause.is_zero() {
            self.addresses.delayed.fetch_add(1, Ordering::Relaxed);
        }
        pause
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.addresses.release(self.address, |entry| entry.links = entry.links.saturating_sub(1));
    }
}

impl Drop for Unknown {
    fn drop(&mut self) {
        self.addresses.release(self.address, |entry| entry.unknown = entry.unknown.saturating_sub(1));
    }
}

/// What is counted together.
fn prefix(address: IpAddr) -> Ipv6Addr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(links: u32, per_second: u32, burst: u32) -> Arc<Addresses> {
        Addresses::new(AddressLimits { links, per_second, burst, ..AddressLimits::USUAL })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn links_of_one_address_are_counted_until_they_go() {
        let (addresses, now) = (addresses(2, 1000, 1000), Instant::now());
        let first = addresses.enter(ip("192.0.2.1"), now).unwrap();
        let _second = addresses.enter(ip("::ffff:192.0.2.1"), now).unwrap();
        assert_eq!(addresses.enter(ip("192.0.2.1"), now).unwrap_err(), TooMuch::Links);
        let _other = addresses.enter(ip("192.0.2.2"), now).unwrap();
        drop(first);
        assert!(addresses.enter(ip("192.0.2.1"), now).unwrap().is_some());
    }

    #[test]
    fn those_whom_nobody_knows_are_counted_apart_until_somebody_does() {
        let limits = AddressLimits { unknown: 2, ..AddressLimits::USUAL };
        let (addresses, now) = (Addresses::new(limits), Instant::now());
        let [first, _second] = [(); 2].map(|()| addresses.arrive(ip("2001:db8::1"), now).unwrap().unwrap());
        assert_eq!(addresses.arrive(ip("2001:db8::2"), now).unwrap_err(), TooMuch::Links);
        assert!(
            addresses.arrive(ip("2001:db8:0:1::1"), now).is_ok() && addresses.enter(ip("2001:db8::1"), now).is_ok()
        );
        drop(first);
        assert!(addresses.arrive(ip("2001:db8::2"), now).unwrap().is_some());
        assert!(addresses.arrive(ip("127.0.0.1"), now).unwrap().is_none());
    }

    #[test]
    fn bytes_of_an_address_are_kept_by_pauses_over_all_its_links() {
        let limits = AddressLimits { bytes_per_second: Some(1000), ..AddressLimits::USUAL };
        let (addresses, now) = (Addresses::new(limits), Instant::now());
        let enter = |text: &str| addresses.enter(ip(text), now).unwrap().unwrap();
        let (one, same, other) = (enter("192.0.2.1"), enter("192.0.2.1"), enter("192.0.2.2"));
        assert_eq!(one.charge(1000, now), Duration::ZERO, "a second's worth is free to begin with");
        assert_eq!(same.charge(500, now), Duration::from_millis(500));
        assert_eq!((other.charge(1000, now), addresses.delayed()), (Duration::ZERO, 1));
        assert_eq!(one.charge(1_000_000, now), LONGEST, "never so long that the link is missed");
        let free = Addresses::new(AddressLimits::USUAL);
        assert_eq!(free.enter(ip("192.0.2.1"), now).unwrap().unwrap().charge(u64::MAX, now), Duration::ZERO);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let (addresses, now) = (addresses(1, 1000, 1000), Instant::now());
        let _first = addresses.enter(ip("2001:db8:1:2::1"), now).unwrap();
        assert_eq!(addresses.enter(ip("2001:db8:1:2:ffff::9"), now).unwrap_err(), TooMuch::Links);
        assert!(addresses.enter(ip("2001:db8:1:3::1"), now).is_ok());
    }

    #[test]
    fn who_asks_too_fast_hears_when_to_come_back() {
        let (addresses, now) = (addresses(1000, 10, 3), Instant::now());
        let enter = |after: u64| addresses.enter(ip("192.0.2.1"), now + Duration::from_millis(after)).map(drop);
        assert_eq!([enter(0), enter(0), enter(0)], [Ok(()); 3]);
        assert_eq!(enter(0), Err(TooMuch::Rate(Duration::from_millis(100))));
        assert_eq!(enter(40), Err(TooMuch::Rate(Duration::from_millis(60))), "what was refused costs nothing");
        assert_eq!([enter(100), enter(10_000), enter(10_000), enter(10_000)], [Ok(()); 4]);
        assert!(enter(10_000).is_err(), "no more is saved up than the burst");
    }

    #[test]
    fn this_machine_is_not_counted_and_the_table_is_bounded() {
        let (addresses, now) = (addresses(0, 1, 1), Instant::now());
        for text in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(addresses.enter(ip(text), now).unwrap().is_none());
        }
        for n in 0..MAX_ADDRESSES as u32 + 10 {
            let _ = addresses.enter(IpAddr::V4((0x0a00_0000 + n).into()), now);
        }
        assert_eq!(addresses.lock().len(), MAX_ADDRESSES);
        let later = now + Duration::from_secs(10);
        assert_eq!(addresses.enter(ip("192.0.2.1"), later).unwrap_err(), TooMuch::Links);
        assert_eq!(addresses.lock().len(), 1, "those that are of no use any more make room");
    }
}
