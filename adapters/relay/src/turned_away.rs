//! Connections that came to no link: counted by their reason, and told in the log.

use core::net::IpAddr;
use core::sync::atomic::{AtomicU64, Ordering};

/// Why a connection came to no link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The relay has as many links as it may have.
    NoRoom,
    /// Its address has as many as that may have.
    AddressLinks,
    /// Its address asks too fast.
    AddressRate,
    /// Too many connections are no link yet.
    Handshakes,
    /// Too many connections of its address are no link yet.
    AddressUnknown,
    /// A named proxy does not say whom it speaks for.
    ProxyHeader,
    /// TLS failed, or the connection broke off within.
    Tls,
    /// It did not say in time what it wants.
    Slow,
    /// It is a host's that shows no certificate, and has to.
    Certificate,
    /// What it said is no request, or none for a link as there are any.
    Request,
}

impl Why {
    const ALL: [Self; 10] = [
        Self::NoRoom,
        Self::AddressLinks,
        Self::AddressRate,
        Self::Handshakes,
        Self::AddressUnknown,
        Self::ProxyHeader,
        Self::Tls,
        Self::Slow,
        Self::Certificate,
        Self::Request,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::NoRoom => "no_room",
            Self::AddressLinks => "address_links",
            Self::AddressRate => "address_rate",
            Self::Handshakes => "handshakes",
            Self::AddressUnknown => "address_unknown",
            Self::ProxyHeader => "proxy_header",
            Self::Tls => "tls",
            Self::Slow => "slow",
            Self::Certificate => "certificate",
            Self::Request => "request",
        }
    }
}

/// What became of connections.
#[derive(Debug)]
pub(crate) struct Tally {
    accepted: AtomicU64,
    away: [AtomicU64; Why::ALL.len()],
    /// Whether the log may say whose connection it was.
    addresses: bool,
}

impl Tally {
    pub(crate) fn new(log_addresses: bool) -> Self {
        Self { accepted: AtomicU64::new(0), away: Default::default(), addresses: log_addresses }
    }

    /// A connection came.
    pub(crate) fn accept(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection is no link, and why. `client` is whom it is from, as far as anyone knows.
    pub(crate) fn turn_away(&self, why: Why, client: Option<IpAddr>) {
        if let Some(counter) = self.away.get(why as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let address = self.shown(client);
        tracing::info!(reason = why.name(), address, "turned a connection away");
    }

    /// A connection is a link now.
    pub(crate) fn take(&self, client: Option<IpAddr>) {
        tracing::debug!(address = self.shown(client), "took a connection for a link");
    }

    fn shown(&self, client: Option<IpAddr>) -> Option<tracing::field::DisplayValue<IpAddr>> {
        client.filter(|_| self.addresses).map(tracing::field::display)
    }

    /// Connections that came.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Each reason with how often it was one.
    pub(crate) fn turned_away(&self) -> Vec<(&'static str, u64)> {
        Why::ALL.iter().zip(&self.away).map(|(why, count)| (why.name(), count.load(Ordering::Relaxed))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_counter() {
        let tally = Tally::new(false);
        for (times, why) in Why::ALL.iter().enumerate() {
            (0..times).for_each(|_| tally.turn_away(*why, None));
        }
        let counts: Vec<_> = tally.turned_away().into_iter().map(|(_, count)| count).collect();
        assert_eq!(counts, (0..Why::ALL.len() as u64).collect::<Vec<_>>());
        let mut names: Vec<_> = Why::ALL.iter().map(|why| why.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Why::ALL.len());
    }
}
