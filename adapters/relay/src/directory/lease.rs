//! Whether a relay may go on as it is: it says that it lives, and the others count on it as long as its lease lasts. Times
//! are arguments.
//!
//! A directory that is lost is no reason to stop: hosts are still where they are. A relay that did not run for longer than
//! its lease is another matter. Others may serve its routes by now, so it takes nothing and serves on no promise until it has
//! looked; where it cannot look in time, it gives its routes up. The same goes for one that runs, but is not well.

use core::time::Duration;
use std::time::Instant;

use super::Standing;

/// What a relay has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Nothing.
    Nothing,
    /// Give up every route.
    GiveUp,
}

/// Why a relay has withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// It did not run; it has until then to prove what it owns.
    Stalled { until: Instant },
    /// Its probe of itself fails.
    Unwell,
    /// Another process goes by its name.
    Named,
}

/// A relay's lease.
#[derive(Debug)]
pub(super) struct Lease {
    ttl: Duration,
    looked: Instant,
    /// Whether the directory is there.
    joined: bool,
    withdrawn: Option<Why>,
    unwell_since: Option<Instant>,
}

impl Lease {
    /// A relay that has joined nothing yet, and has nothing that it could lose.
    pub(super) const fn new(ttl: Duration, now: Instant) -> Self {
        Self { ttl, looked: now, joined: false, withdrawn: None, unwell_since: None }
    }

    /// How it stands.
    pub(super) const fn standing(&self) -> Standing {
        match (self.withdrawn, self.joined) {
            (Some(_), _) => Standing::Withdrawn,
            (None, true) => Standing::Holding,
            (None, false) => Standing::Cut,
        }
    }

    /// Whether it may say to the others that it lives.
    pub(super) const fn may_renew(&self) -> bool {
        self.withdrawn.is_none()
    }

    /// Whether it may join: not while it is unwell.
    pub(super) const fn may_join(&self) -> bool {
        !matches!(self.withdrawn, Some(Why::Unwell))
    }

    /// Whether it may take the place of another process of its name.
    pub(super) const fn may_replace(&self) -> bool {
        !matches!(self.withdrawn, Some(Why::Named))
    }

    /// It has joined, and given up what it could not prove.
    pub(super) const fn joined(&mut self) {
        if self.may_join() {
            (self.joined, self.withdrawn) = (true, None);
        }
    }

    /// The directory is lost.
    pub(super) const fn lost(&mut self) {
        self.joined = false;
    }

    /// The directory had forgotten it: the lease was over.
    pub(super) fn forgotten(&mut self, now: Instant) {
        self.joined = false;
        self.withdrawn.get_or_insert(Why::Stalled { until: now + self.ttl });
    }

    /// Another process has joined by its name.
    pub(super) const fn named(&mut self) -> Order {
        let known = matches!(self.withdrawn, Some(Why::Named));
        (self.joined, self.withdrawn) = (false, Some(Why::Named));
        if known { Order::Nothing } else { Order::GiveUp }
    }

    /// Looks at the clock; more often than the lease lasts.
    pub(super) fn tick(&mut self, now: Instant, is_well: bool) -> Order {
        let gap = now.saturating_duration_since(self.looked);
        self.looked = now;
        if gap > self.ttl && self.withdrawn.is_none() {
            self.withdrawn = Some(Why::Stalled { until: now + self.ttl });
        }
        if is_well {
            self.unwell_since = None;
            if matches!(self.withdrawn, Some(Why::Unwell)) {
                // It owns nothing any more, so it may begin anew.
                (self.joined, self.withdrawn) = (false, None);
            }
        } else {
            let since = *self.unwell_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= self.ttl && !matches!(self.withdrawn, Some(Why::Unwell)) {
                self.withdrawn = Some(Why::Unwell);
                return Order::GiveUp;
            }
        }
        match self.withdrawn {
            Some(Why::Stalled { until }) if now >= until => {
                // The same: as if it had been started now.
                (self.joined, self.withdrawn) = (false, None);
                Order::GiveUp
            }
            _ => Order::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TTL: Duration = Duration::from_secs(10);
    const SECOND: Duration = Duration::from_secs(1);

    fn held() -> (Lease, Instant) {
        let now = Instant::now();
        let mut lease = Lease::new(TTL, now);
        assert_eq!(lease.standing(), Standing::Cut);
        lease.joined();
        assert_eq!(lease.standing(), Standing::Holding);
        (lease, now)
    }

    #[test]
    fn losing_the_directory_costs_nothing() {
        let (mut lease, mut now) = held();
        lease.lost();
        for _ in 0..1000 {
            now += SECOND;
            assert_eq!(lease.tick(now, true), Order::Nothing);
            assert_eq!(lease.standing(), Standing::Cut);
        }
        lease.joined();
        assert_eq!(lease.standing(), Standing::Holding);
    }

    #[test]
    fn a_relay_that_did_not_run_withdraws_until_it_has_looked() {
        let (mut lease, now) = held();
        let woken = now + TTL + SECOND;
        assert_eq!(lease.tick(woken, true), Order::Nothing);
        assert_eq!(lease.standing(), Standing::Withdrawn);
        assert!(!lease.may_renew() && lease.may_join());
        lease.joined();
        assert_eq!(lease.standing(), Standing::Holding);
        assert_eq!(lease.tick(woken + SECOND, true), Order::Nothing);
    }

    #[test]
    fn where_it_cannot_look_in_time_it_gives_up_and_begins_anew() {
        let (mut lease, now) = held();
        lease.lost();
        let mut at = now + 3 * TTL;
        assert_eq!(lease.tick(at, true), Order::Nothing);
        let mut given_up = 0;
        for _ in 0..30 {
            at += SECOND;
            given_up += u32::from(lease.tick(at, true) == Order::GiveUp);
        }
        assert_eq!((given_up, lease.standing()), (1, Standing::Cut));
    }

    #[test]
    fn a_relay_that_is_not_well_gives_up_once_and_comes_back_well() {
        let (mut lease, now) = held();
        assert_eq!(lease.tick(now + SECOND, false), Order::Nothing);
        assert_eq!(lease.tick(now + 2 * SECOND, true), Order::Nothing, "for a moment only");
        assert_eq!(lease.standing(), Standing::Holding);
        let mut given_up = 0;
        for second in 3..30 {
            given_up += u32::from(lease.tick(now + second * SECOND, false) == Order::GiveUp);
        }
        assert_eq!((given_up, lease.standing(), lease.may_join()), (1, Standing::Withdrawn, false));
        lease.joined();
        assert_eq!(lease.standing(), Standing::Withdrawn, "not while it is unwell");
        assert_eq!(lease.tick(now + 30 * SECOND, true), Order::Nothing);
        assert_eq!(lease.standing(), Standing::Cut);
    }

    #[test]
    fn of_two_processes_with_one_name_the_older_one_leaves() {
        let (mut lease, now) = held();
        assert_eq!(lease.named(), Order::GiveUp);
        assert!(!lease.may_replace());
        assert_eq!(lease.tick(now + SECOND, true), Order::Nothing);
        assert_eq!(lease.standing(), Standing::Withdrawn);
        lease.joined();
        assert_eq!(lease.standing(), Standing::Holding, "once the name is free");
    }

    proptest! {
        /// After a gap longer than the lease nothing is held unless it was looked at again.
        #[test]
        fn no_gap_goes_unnoticed(steps in proptest::collection::vec((0..25_u64, any::<bool>(), 0..4_u8), 1..60)) {
            let mut now = Instant::now();
            let mut lease = Lease::new(TTL, now);
            let mut must_look = false;
            for (gap, is_well, what) in steps {
                now += Duration::from_secs(gap);
                // One that is unwell has given everything up, and takes nothing.
                must_look |= gap > TTL.as_secs() && lease.may_join();
                let order = lease.tick(now, is_well);
                if order == Order::GiveUp {
                    must_look = false;
                }
                prop_assert!(!must_look || lease.standing() == Standing::Withdrawn);
                match what {
                    0 => lease.lost(),
                    1 if lease.may_join() => {
                        lease.joined();
                        must_look = false;
                    }
                    2 => lease.forgotten(now),
                    _ => {}
                }
            }
        }
    }
}
