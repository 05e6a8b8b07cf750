//! Which relay to dial, and when: the one that served last begins, the others follow a moment later, and each that failed
//! comes again after a pause of its own. Whoever reaches the host first has won. Only decisions are here: time is told,
//! dialling is done elsewhere.

use core::time::Duration;

use tokio::time::Instant;

/// How long a relay may keep the next one waiting. One that fails keeps it no longer.
pub(crate) const HEAD_START: Duration = Duration::from_millis(250);
/// The shortest pause of a relay, however often somebody asks for the host.
const ASKED_FOR: Duration = Duration::from_secs(1);

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Dial this relay.
    Start(usize),
    /// Wait for an attempt to end; this long at most.
    Wait(Option<Instant>),
}

/// One relay's part in the race.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    /// Not dialled yet.
    Fresh,
    /// An attempt is under way.
    Running,
    /// The attempt failed.
    Resting {
        since: Instant,
        until: Instant,
        /// Whether it may come earlier where somebody asks for the host.
        eager: bool,
    },
}

/// The relays of one host, in the order in which they begin.
#[derive(Debug)]
pub(crate) struct Race {
    lanes: Vec<Lane>,
    /// When the next fresh lane may begin.
    begin: Instant,
}

impl Race {
    /// A race of so many relays, the first of which begins at `begin`.
    pub(crate) fn new(count: usize, begin: Instant) -> Self {
        Self { lanes: vec![Lane::Fresh; count], begin }
    }

    /// What to do now.
    pub(crate) fn poll(&mut self, now: Instant) -> Next {
        let rested = |lane: &Lane| matches!(lane, Lane::Resting { until, .. } if now >= *until);
        let fresh = self.lanes.iter().position(|lane| *lane == Lane::Fresh);
        let next = match fresh {
            Some(lane) if now >= self.begin => {
                self.begin = now + HEAD_START;
                Some(lane)
            }
            _ => self.lanes.iter().position(rested),
        };
        if let Some(lane) = next
            && let Some(state) = self.lanes.get_mut(lane)
        {
            *state = Lane::Running;
            return Next::Start(lane);
        }
        Next::Wait(self.next_start())
    }

    /// An attempt failed; the relay rests, and the next one need not wait for it.
    pub(crate) fn failed(&mut self, lane: usize, now: Instant, pause: Duration, eager: bool) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            *lane = Lane::Resting { since: now, until: now + pause, eager };
        }
        self.begin = self.begin.min(now);
    }

    /// Somebody asks for the host: who failed for want of a relay, not of a host, tries again soon.
    pub(crate) fn hurry(&mut self) {
        for lane in &mut self.lanes {
            if let Lane::Resting { since, until, eager: true } = lane {
                *until = (*until).min(*since + ASKED_FOR);
            }
        }
    }

    /// What failed before may work now: nobody rests any longer.
    pub(crate) fn wake(&mut self, now: Instant) {
        for lane in &mut self.lanes {
            if let Lane::Resting { until, .. } = lane {
                *until = (*until).min(now);
            }
        }
        self.begin = self.begin.min(now);
    }

    fn next_start(&self) -> Option<Instant> {
        let starts = self.lanes.iter().filter_map(|lane| match lane {
            Lane::Fresh => Some(self.begin),
            Lane::Running => None,
            Lane::Resting { until, .. } => Some(*until),
        });
        starts.min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Starts what may be started at `now`, and tells what that was.
    fn started(race: &mut Race, now: Instant) -> Vec<usize> {
        let mut all = Vec::new();
        while let Next::Start(lane) = race.poll(now) {
            all.push(lane);
            assert!(all.len() <= 8, "each once");
        }
        all
    }

    #[test]
    fn relays_begin_one_after_the_other() {
        let now = Instant::now();
        let mut race = Race::new(3, now);
        assert_eq!(started(&mut race, now), [0]);
        assert_eq!(race.poll(now), Next::Wait(Some(now + HEAD_START)));
        assert!(started(&mut race, now + HEAD_START / 2).is_empty());
        assert_eq!(started(&mut race, now + HEAD_START), [1]);
        assert_eq!(started(&mut race, now + 2 * HEAD_START), [2]);
        assert_eq!(race.poll(now + SECOND), Next::Wait(None), "all are under way");
    }

    #[test]
    fn a_race_may_begin_later() {
        let now = Instant::now();
        let mut race = Race::new(2, now + SECOND);
        assert_eq!(race.poll(now), Next::Wait(Some(now + SECOND)));
        assert_eq!(started(&mut race, now + SECOND), [0]);
    }

    #[test]
    fn a_relay_that_fails_lets_the_next_one_begin_at_once() {
        let now = Instant::now();
        let mut race = Race::new(2, now);
        assert_eq!(started(&mut race, now), [0]);
        let failed = now + Duration::from_millis(10);
        race.failed(0, failed, SECOND, false);
        assert_eq!(started(&mut race, failed), [1]);
        // The second one waits at its relay for a host that is not there: the first one comes again.
        assert_eq!(race.poll(failed), Next::Wait(Some(failed + SECOND)));
        assert_eq!(started(&mut race, failed + SECOND), [0]);
    }

    #[test]
    fn each_rests_for_its_own_time() {
        let now = Instant::now();
        let mut race = Race::new(2, now);
        assert_eq!(started(&mut race, now), [0]);
        race.failed(0, now, 5 * SECOND, false);
        assert_eq!(started(&mut race, now), [1]);
        race.failed(1, now, SECOND, false);
        assert_eq!(race.poll(now), Next::Wait(Some(now + SECOND)), "nobody runs");
        assert_eq!(started(&mut race, now + SECOND), [1]);
        race.failed(1, now + SECOND, 9 * SECOND, false);
        assert_eq!(started(&mut race, now + 5 * SECOND), [0]);
    }

    #[test]
    fn who_asks_for_the_host_shortens_the_pause_of_those_that_found_no_relay() {
        let now = Instant::now();
        let mut race = Race::new(2, now);
        assert_eq!(started(&mut race, now), [0]);
        race.failed(0, now, 30 * SECOND, true);
        assert_eq!(started(&mut race, now), [1]);
        race.failed(1, now, 30 * SECOND, false);
        race.hurry();
        assert_eq!(race.poll(now), Next::Wait(Some(now + ASKED_FOR)));
        assert_eq!(started(&mut race, now + ASKED_FOR), [0]);
        assert!(started(&mut race, now + 29 * SECOND).is_empty());
    }

    #[test]
    fn a_change_of_network_ends_every_pause() {
        let now = Instant::now();
        let mut race = Race::new(3, now);
        assert_eq!(started(&mut race, now), [0]);
        race.failed(0, now, 30 * SECOND, false);
        assert_eq!(started(&mut race, now), [1]);
        race.failed(1, now, 30 * SECOND, true);
        assert_eq!(started(&mut race, now), [2]);
        race.wake(now + SECOND);
        assert_eq!(started(&mut race, now + SECOND), [0, 1], "the third is under way");
        let mut later = Race::new(1, now + 30 * SECOND);
        later.wake(now);
        assert_eq!(started(&mut later, now), [0]);
    }

    #[test]
    fn one_relay_is_a_race_too_and_none_is_not() {
        let now = Instant::now();
        let mut race = Race::new(1, now);
        assert_eq!(started(&mut race, now), [0]);
        race.failed(0, now, SECOND, false);
        assert_eq!(race.poll(now), Next::Wait(Some(now + SECOND)));
        assert_eq!(started(&mut race, now + SECOND), [0]);
        assert_eq!(Race::new(0, now).poll(now), Next::Wait(None));
    }
}
