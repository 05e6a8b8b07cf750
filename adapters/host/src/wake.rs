//! When a host on demand has a link: as soon as somebody needs it, and a little longer.

use core::time::Duration;

use homing_core::Instant;
use homing_core::hop::PARK_TIME;

/// The decision, as a function of what happens and of time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wake {
    linger: Duration,
    /// Until when to be awake.
    until: Option<Instant>,
    /// Whether a link was there when it was last looked at.
    linked: bool,
}

impl Wake {
    /// Asleep; `linger` is how long a link stays that nobody uses.
    pub(crate) const fn new(linger: Duration) -> Self {
        // Less would be over before it began.
        const LEAST: Duration = Duration::from_millis(200);
        let linger = if linger.as_nanos() < LEAST.as_nanos() { LEAST } else { linger };
        Self { linger, until: None, linked: false }
    }

    /// A device is at the door. It waits there no longer than this, whether or not a link can be had.
    pub(crate) fn knocked(&mut self, now: Instant) {
        self.extend(now + PARK_TIME);
    }

    /// What there is: whether a link is registered, and whether somebody uses it or may come to at any moment.
    pub(crate) fn look(&mut self, now: Instant, linked: bool, needed: bool) {
        if linked && !self.linked && self.until.is_some() {
            // Whoever knocked comes in now, or does not come.
            self.until = Some(now + self.linger);
        }
        self.linked = linked;
        if needed {
            self.extend(now + self.linger);
        }
    }

    /// Whether to have a link, or to try to.
    pub(crate) fn poll(&mut self, now: Instant) -> bool {
        self.until = self.until.filter(|until| now < *until);
        self.until.is_some()
    }

    /// When to look again; never while it sleeps without a link.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        const LEAST: Duration = Duration::from_millis(20);
        const MOST: Duration = Duration::from_secs(1);
        let step = now + (self.linger / 10).clamp(LEAST, MOST);
        match self.until {
            Some(until) => Some(until.min(step)),
            // It is about to leave, unless somebody came at the last moment.
            None if self.linked => Some(step),
            None => None,
        }
    }

    fn extend(&mut self, until: Instant) {
        self.until = Some(self.until.map_or(until, |known| known.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn it_sleeps_without_a_timer_until_a_knock() {
        let mut wake = Wake::new(LINGER);
        assert!(!wake.poll(at(0)));
        wake.look(at(3), false, false);
        assert!(!wake.poll(at(3)));
        assert_eq!(wake.poll_timeout(at(3)), None);
        wake.knocked(at(5));
        assert!(wake.poll(at(5)));
        assert_eq!(wake.poll_timeout(at(5)), Some(at(6)));
    }

    #[test]
    fn it_tries_for_as_long_as_the_device_waits_and_no_longer() {
        let mut wake = Wake::new(LINGER);
        wake.knocked(at(0));
        assert!(wake.poll(at(24)));
        assert!(!wake.poll(at(25)));
        assert_eq!(wake.poll_timeout(at(25)), None);
        wake.knocked(at(30));
        wake.knocked(at(40));
        assert!(wake.poll(at(64)) && !wake.poll(at(65)));
    }

    #[test]
    fn a_link_that_nobody_uses_is_left() {
        let mut wake = Wake::new(LINGER);
        wake.knocked(at(0));
        wake.look(at(1), true, false);
        assert!(wake.poll(at(10)));
        assert!(!wake.poll(at(11)), "whoever knocked has not come");
        // Until the link has ended, somebody may have come after all.
        assert_eq!(wake.poll_timeout(at(11)), Some(at(12)));
        wake.look(at(12), true, true);
        assert!(wake.poll(at(12)));
        wake.look(at(13), false, false);
        assert!(!wake.poll(at(30)));
        assert_eq!(wake.poll_timeout(at(30)), None);
    }

    #[test]
    fn it_wakes_even_where_it_is_not_to_linger() {
        let mut wake = Wake::new(Duration::ZERO);
        wake.look(at(0), false, true);
        assert!(wake.poll(at(0)));
        assert!(!wake.poll(at(1)));
    }

    #[test]
    fn whoever_uses_it_keeps_it() {
        let mut wake = Wake::new(LINGER);
        wake.knocked(at(0));
        wake.look(at(1), true, true);
        for second in 2..100 {
            wake.look(at(second), true, true);
            assert!(wake.poll(at(second)));
        }
        for second in 100..109 {
            wake.look(at(second), true, false);
            assert!(wake.poll(at(second)));
        }
        wake.look(at(109), true, false);
        assert!(!wake.poll(at(109)));
        // A ticket needs no knock.
        wake.look(at(200), false, true);
        assert!(wake.poll(at(200)));
    }
}
