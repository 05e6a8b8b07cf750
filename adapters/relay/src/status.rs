//! What a relay tells about itself: counts, never names.

use core::net::SocketAddr;
use core::time::Duration;

/// A relay's counts at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The address that it listens on.
    pub listen: SocketAddr,
    /// Whether it does TLS itself.
    pub tls: bool,
    /// Time since it started.
    pub uptime: Duration,
    /// Whether it was told to stop, and waits for its links to move away.
    pub draining: bool,
    /// Links, of hosts and devices.
    pub links: u32,
    /// Hosts that devices can reach.
    pub hosts: u32,
    /// Hosts that wait to be woken; those that are awake count above, too.
    pub waiting: u32,
    /// Channels between devices and hosts.
    pub channels: u32,
    /// Dials that wait for their host.
    pub parked: u32,
    /// Registrations and dials turned away so far.
    pub refused: u64,
    /// Records forwarded so far.
    pub forwarded_records: u64,
    /// Bytes of records forwarded so far.
    pub forwarded_bytes: u64,
    /// Bytes of all windows, which may wait at most.
    pub reserved_bytes: u64,
    /// Bytes that wait to be sent on all links.
    pub queued_bytes: usize,
}
