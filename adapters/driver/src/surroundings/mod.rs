//! Notices that connections may have died without a word: the machine's network changed, or the
//! machine slept. Where the system tells nothing of its network, sleep alone is noticed. Waiting is
//! the runtime's.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod netlink;
mod silence;
mod wake;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub use netlink::Subscription;
pub use silence::Silence;

use core::net::IpAddr;
use core::time::Duration;
use std::net::UdpSocket;
use std::time::Instant;

use wake::SleepWatch;

/// A change of network is many events: wait for so long, that most have come.
const SETTLE: Duration = Duration::from_millis(150);
/// The shortest time between two notices: somebody may be adding and removing interfaces all day.
const APART: Duration = Duration::from_secs(1);
/// How often to look whether the machine slept.
const LOOK: Duration = Duration::from_secs(5);

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// An interface, an address or a route came or went.
    Network,
    /// The machine, or this process, stood still for a while.
    Woke,
}

/// When to tell of a change: the runtime says what it heard and what time it is, and waits.
#[derive(Debug)]
pub struct Watch {
    sleep: SleepWatch,
    look_at: Instant,
    pace: Pace,
}

impl Default for Watch {
    fn default() -> Self {
        Self { sleep: SleepWatch::new(LOOK), look_at: Instant::now() + LOOK, pace: Pace::default() }
    }
}

impl Watch {
    /// The system told of its network.
    pub fn heard(&mut self, now: Instant) {
        self.pace.event(now);
    }

    /// A change, where it is time to tell of one.
    pub fn poll(&mut self, now: Instant) -> Option<Change> {
        if self.pace.take(now) {
            return Some(Change::Network);
        }
        if now >= self.look_at {
            self.look_at = now + LOOK;
            return self.sleep.slept().then_some(Change::Woke);
        }
        None
    }

    /// When to poll again, unless something is heard before.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        self.pace.due().map_or(self.look_at, |due| due.min(self.look_at))
    }
}

/// Whether this machine still has an address: a connection from one that is gone is dead.
#[must_use]
pub fn is_local(address: IpAddr) -> bool {
    match UdpSocket::bind((address, 0)) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::AddrNotAvailable,
    }
}

/// Turns a burst of events into one notice, and many bursts into few.
#[derive(Debug, Default)]
struct Pace {
    due: Option<Instant>,
    last: Option<Instant>,
}

impl Pace {
    /// What comes between the first event and the notice is part of it; what comes later makes another one.
    fn event(&mut self, now: Instant) {
        let earliest = self.last.map_or(now, |last| last + APART);
        self.due.get_or_insert(earliest.max(now + SETTLE));
    }

    const fn due(&self) -> Option<Instant> {
        self.due
    }

    fn take(&mut self, now: Instant) -> bool {
        let is_due = self.due.is_some_and(|due| now >= due);
        if is_due {
            self.due = None;
            self.last = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_burst_is_one_notice_and_bursts_are_a_second_apart() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pace = Pace::default();
        assert!(!pace.take(at(0)));
        for ms in [0, 20, 140] {
            pace.event(at(ms));
            assert!(!pace.take(at(ms)));
        }
        assert_eq!(pace.due(), Some(at(150)));
        assert!(pace.take(at(150)) && !pace.take(at(150)));
        pace.event(at(200));
        assert_eq!(pace.due(), Some(at(1150)));
        assert!(pace.take(at(1150)));
        pace.event(at(9000));
        assert_eq!(pace.due(), Some(at(9150)));
    }

    #[test]
    fn addresses_of_this_machine_are_told_from_others() {
        assert!(is_local(Ipv4Addr::LOCALHOST.into()));
        // Set apart for examples: nobody has it.
        assert!(!is_local(Ipv4Addr::new(192, 0, 2, 77).into()));
    }
}
