//! What a device keeps of a session while no call carries it.

use core::fmt;
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use homing_core::Instant;

use crate::bell::Ring;
use crate::ties::Carried;

/// A device's session between two calls to the same host: its streams rest, and go on where a call
/// is given it in time. Cheap to clone; the streams end with the last clone.
///
/// Several calls may be given the same one and race: one of them has the session, and another that
/// reaches the host waits until that one has answered or failed.
#[derive(Clone, Default)]
pub struct Kept(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    carried: Option<Carried>,
    keep: Duration,
    since: Option<Instant>,
    /// The call that has the session, by its number.
    holder: Option<u64>,
    calls: u64,
    /// Calls that wait for what becomes of it.
    waiting: Vec<Arc<dyn Ring>>,
}

/// What a call finds that has reached its host.
pub(crate) enum Found {
    /// A session to go on with.
    Session(Carried),
    /// Another call has it, and may give it back.
    Taken,
    /// Nothing: a new session begins.
    Nothing,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("session", &self.is_some()).finish_non_exhaustive()
    }
}

impl Kept {
    /// Nothing yet. A session is kept for this long after its call was lost.
    #[must_use]
    pub fn new(keep: Duration) -> Self {
        Self(Arc::new(Mutex::new(Inner { keep, ..Inner::default() })))
    }

    /// Whether there is a session that no call carries.
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.lock().carried.is_some()
    }

    /// Bytes that its streams hold in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lock().carried.as_ref().map_or(0, Carried::bytes)
    }

    /// When it is to be given up, unless a call takes it before.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.lock().deadline()
    }

    /// Ends its streams where its time is over.
    pub fn expire(&self, now: Instant) {
        let mut inner = self.lock();
        let gone = if inner.deadline().is_some_and(|at| now >= at) { inner.carried.take() } else { None };
        drop(inner);
        drop(gone); // outside the lock: it wakes those who hold the streams
    }

    /// Ends its streams.
    pub fn end(&self) {
        let gone = self.lock().carried.take();
        drop(gone);
    }

    /// A number for a call.
    pub(crate) fn join(&self) -> u64 {
        let mut inner = self.lock();
        inner.calls = inner.calls.wrapping_add(1);
        inner.calls
    }

    /// What there is for a call; where another one has it, `bell` is nudged at each change.
    pub(crate) fn take(&self, call: u64, bell: &Arc<dyn Ring>) -> Found {
        let mut inner = self.lock();
        if inner.holder.is_some() {
            inner.waiting.push(bell.clone());
            return Found::Taken;
        }
        let Some(carried) = inner.carried.take() else { return Found::Nothing };
        inner.holder = Some(call);
        Found::Session(carried)
    }

    /// The host has answered a call. The first one to say so has what is kept from now on.
    pub(crate) fn settled(&self, call: u64) {
        let mut inner = self.lock();
        if *inner.holder.get_or_insert(call) == call {
            inner.since = None;
        }
    }

    /// A call is over, and gives back what it had.
    pub(crate) fn put(&self, call: u64, carried: Option<Carried>, now: Instant) {
        let mut inner = self.lock();
        if inner.holder != Some(call) {
            return; // another call was first: what this one has, nobody asked for
        }
        inner.holder = None;
        inner.carried = carried;
        inner.since.get_or_insert(now);
        let waiting = core::mem::take(&mut inner.waiting);
        drop(inner);
        for bell in waiting {
            bell.nudge(0);
        }
        self.expire(now);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn deadline(&self) -> Option<Instant> {
        self.since.filter(|_| self.carried.is_some()).map(|since| since + self.keep)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

    use core::task::Waker;

    use super::*;
    use crate::bell::Bell;
    use crate::conversation::tests::carried;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn was_nudged(bell: &Bell<()>) -> bool {
        let mut rung = Vec::new();
        bell.answer(Waker::noop(), &mut rung);
        !rung.is_empty()
    }

    #[test]
    fn of_several_calls_one_has_the_session_and_the_others_wait() {
        let kept = Kept::new(Duration::from_secs(10));
        let bells = [Bell::<()>::new(), Bell::<()>::new()];
        let [first, second]: [Arc<dyn Ring>; 2] = [bells[0].clone(), bells[1].clone()];
        let (one, other) = (kept.join(), kept.join());
        assert!(matches!(kept.take(one, &first), Found::Nothing));
        assert!(matches!(kept.take(other, &second), Found::Nothing), "no session yet, and no host that answered");
        kept.settled(one);
        kept.settled(other);
        // The other one was late: what it has, nobody asked for.
        kept.put(other, Some(carried()), at(1));
        assert!(!kept.is_some());
        kept.put(one, Some(carried()), at(2));
        assert!(kept.is_some() && kept.bytes() > 0);

        let (one, other) = (kept.join(), kept.join());
        let Found::Session(session) = kept.take(one, &first) else { panic!("nothing was kept") };
        assert!(matches!(kept.take(other, &second), Found::Taken));
        assert!(!was_nudged(&bells[1]));
        kept.put(one, Some(session), at(5));
        assert!(was_nudged(&bells[1]));
        assert!(matches!(kept.take(other, &second), Found::Session(_)));
    }

    #[test]
    fn a_session_is_kept_from_its_loss_on_whatever_was_tried_since() {
        let kept = Kept::new(Duration::from_secs(10));
        let bell: Arc<dyn Ring> = Bell::<()>::new();
        let call = kept.join();
        kept.settled(call);
        kept.put(call, Some(carried()), at(100));
        assert_eq!(kept.deadline(), Some(at(110)));
        let call = kept.join();
        let Found::Session(session) = kept.take(call, &bell) else { panic!("nothing was kept") };
        assert_eq!(kept.deadline(), None);
        kept.put(call, Some(session), at(105));
        assert_eq!(kept.deadline(), Some(at(110)));
        kept.expire(at(109));
        assert!(kept.is_some());
        kept.expire(at(110));
        assert!(!kept.is_some());

        // Once the host has answered, the time begins anew.
        let call = kept.join();
        kept.settled(call);
        kept.put(call, Some(carried()), at(200));
        assert_eq!(kept.deadline(), Some(at(210)));
    }
}
