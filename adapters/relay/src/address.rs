//! What one address may take: links at once, and how fast it may ask for them. An address is a whole /64 with IPv6, since
//! whoever has one of those has all of them.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Addresses that are remembered at once. Where there are more, new ones are bounded by the relay's own limits only.
const MAX_ADDRESSES: usize = 65_536;

/// What one address may take. Loopback addresses, and proxies that are named, are not counted: behind them is everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressLimits {
    /// Links at once.
    pub links: u32,
    /// Links asked for in a second, in the long run.
    pub per_second: u32,
    /// Links asked for at once, after a pause.
    pub burst: u32,
}

impl Default for AddressLimits {
    fn default() -> Self {
        Self { links: 512, per_second: 20, burst: 200 }
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
}

#[derive(Debug)]
struct Known {
    links: u32,
    /// When all that it asked for would have been due at its rate.
    paid_until: Instant,
}

/// A link's place among those of its address, until dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    addresses: Arc<Addresses>,
    address: Ipv6Addr,
}

impl Addresses {
    pub(crate) fn new(limits: AddressLimits) -> Arc<Self> {
        Arc::new(Self { limits, known: Mutex::default() })
    }

    /// A place for a link of this address; none where it is not counted.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, now: Instant) -> Result<Option<Seat>, TooMuch> {
        if address.to_canonical().is_loopback() {
            return Ok(None);
        }
        let address = prefix(address);
        let mut known = self.lock();
        if known.len() >= MAX_ADDRESSES && !known.contains_key(&address) {
            known.retain(|_, known| known.links > 0 || known.paid_until > now);
            if known.len() >= MAX_ADDRESSES {
                return Ok(None);
            }
        }
        let entry = known.entry(address).or_insert(Known { links: 0, paid_until: now });
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

    fn lock(&self) -> MutexGuard<'_, HashMap<Ipv6Addr, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut known = self.addresses.lock();
        let Some(entry) = known.get_mut(&self.address) else { return };
        entry.links = entry.links.saturating_sub(1);
        if entry.links == 0 && entry.paid_until <= Instant::now() {
            known.remove(&self.address);
        }
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
        Addresses::new(AddressLimits { links, per_second, burst })
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
