//! The task behind a tunnel: call after call to one host, and what happens in between.

use core::pin::pin;
use core::time::Duration;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use homing_core::backoff::Backoff;
use homing_core::hop::Code;
use homing_driver::device::Kept;
use homing_driver::{Clock as _, Ended};
use homing_tokio::{ClientTls, RelayUrl, Surroundings, TokioClock};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::error::DeviceError;
use crate::idle;
use crate::lane::{Ending, Finish, Lane, profile};
use crate::news;
use crate::profile::Profiles;
use crate::race::{Next, Race};
use crate::random;
use crate::retry::{Cause, Verdict, blames_capability, blames_keys, is_expiry, judge, phrase};
use crate::status::RelayState;
use crate::tunnel::{CLOSE_TIMEOUT, Phase, Shared};

/// The longest pause where the next attempt should come soon.
const SOON: Duration = Duration::from_secs(1);
/// How long to wait with nothing to dial.
const SLOW: Duration = Duration::from_secs(30);
/// A call that lasted so long was no part of a storm.
const HEALTHY: Duration = Duration::from_secs(10);

/// Keeps a call to one host alive.
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    data: PathBuf,
    tls: Arc<ClientTls>,
    /// By relay: one that fails is no reason to wait with another.
    backoffs: HashMap<String, Backoff>,
    /// By relay: how many of its cluster did not have the host.
    skips: HashMap<String, u8>,
    /// Which of the profile's ways to take next.
    way: usize,
    /// The relay to begin with.
    last_good: Option<RelayUrl>,
    /// One that is about to go: the last to try.
    leaving: Option<RelayUrl>,
    /// The session between two calls.
    kept: Kept,
    surroundings: Surroundings,
    changes: watch::Sender<u64>,
}

/// Ends the session that is kept when its time is over.
async fn expire(kept: &Kept) {
    while let Some(at) = kept.deadline() {
        TokioClock.sleep_until(at).await;
        kept.expire(TokioClock.now());
    }
}

/// What the end of an attempt means.
struct Outcome {
    verdict: Verdict,
    why: String,
    pause: Duration,
}

/// Why an attempt failed.
type Failure = (Verdict, String);

impl Keeper {
    pub(crate) fn new(shared: Arc<Shared>, data: &Path, tls: Arc<ClientTls>, keep: Duration) -> Self {
        Self {
            shared,
            data: data.to_path_buf(),
            tls,
            backoffs: HashMap::new(),
            skips: HashMap::new(),
            way: 0,
            last_good: None,
            leaving: None,
            kept: Kept::new(keep),
            surroundings: Surroundings::watch(),
            changes: watch::Sender::new(0),
        }
    }

    /// Keeps calling until told to stop, or until no call can succeed.
    pub(crate) async fn keep(mut self) {
        let shared = self.shared.clone();
        let mut news = pin!(news::follow(shared.clone(), self.data.clone()));
        let mut idle = pin!(idle::watch(shared.clone()));
        let mut running = pin!(self.run());
        let why = tokio::select! {
            why = &mut running => why,
            never = &mut news => match never {},
            never = &mut idle => match never {},
            () = shared.stop.notified() => {
                if let Some(opener) = shared.opener() {
                    opener.close();
                    // The goodbye leaves, or the relay notices that the socket does.
                    let _ = timeout(CLOSE_TIMEOUT, running).await;
                }
                None
            }
        };
        shared.enter(Phase::Over, why);
    }

    /// One call after the other; returns where no other can succeed.
    async fn run(&mut self) -> Option<String> {
        let (mut begin, mut before) = (Instant::now(), None);
        loop {
            self.shared.wanted().await;
            match self.race(begin, before).await {
                Ok(Outcome { verdict, why, pause }) => (begin, before) = (Instant::now() + pause, Some((verdict, why))),
                // It was laid to rest.
                Err(None) if self.shared.opener().is_none() => {
                    let relays = self.relays();
                    self.shared.show_relays(&relays);
                    (begin, before) = (Instant::now(), None);
                }
                Err(why) => return why,
            }
        }
    }

    /// Dials the host's relays until one leads to a call, and carries that to its end, which it gives; as an error, why
    /// there is no use in another race. `before` is what ended the call before.
    async fn race(&mut self, begin: Instant, before: Option<Failure>) -> Result<Outcome, Option<String>> {
        let relays = self.relays();
        self.shared.show_relays(&relays);
        let mut race = Race::new(relays.len(), begin);
        // What is known of each relay; at first that the call before has ended.
        let mut failures: Vec<Option<Failure>> = relays.iter().map(|_| before.clone()).collect();
        let mut lanes = FuturesUnordered::new();
        let finish = Arc::new(Finish::default());
        loop {
            let until = match race.poll(Instant::now()) {
                _ if finish.is_crossed() => None,
                Next::Wait(until) => until,
                Next::Start(number) => {
                    let Some(relay) = relays.get(number) else { continue };
                    self.shared.enter(Phase::Connecting, None);
                    self.shared.show_relay(relay, RelayState::Dialling, None);
                    lanes.push(self.lane(number, relay, &finish).run());
                    continue;
                }
            };
            if lanes.is_empty() {
                self.rest(&failures, until.unwrap_or_else(|| Instant::now() + SLOW));
            }
            tokio::select! {
                Some(ending) = lanes.next() => {
                    let Some(relay) = relays.get(ending.lane) else { continue };
                    if finish.is_crossed() && ending.proved.is_none() {
                        self.shared.show_relay(relay, RelayState::Idle, None);
                        continue;
                    }
                    let outcome = self.weigh(&ending, relay)?;
                    if ending.proved.is_some() {
                        return Ok(outcome);
                    }
                    self.shared.show_relay(relay, RelayState::Failed, Some(outcome.why.clone()));
                    race.failed(ending.lane, Instant::now(), outcome.pause, outcome.verdict == Verdict::AskedFor);
                    if let Some(slot) = failures.get_mut(ending.lane) {
                        *slot = Some((outcome.verdict, outcome.why));
                    }
                }
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
                () = self.shared.asked_for.notified() => race.hurry(),
                () = expire(&self.kept), if self.kept.is_some() => {}
                change = self.surroundings.changed() => {
                    tracing::debug!(?change, "connections may be dead");
                    self.backoffs.clear();
                    self.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
                    race.wake(Instant::now());
                }
            }
        }
    }

    /// The host's relays, the one that served last first, and one that said it would leave last. A profile that cannot
    /// be read has the relays that it had: the attempt tells what is wrong.
    fn relays(&mut self) -> Vec<RelayUrl> {
        let known = Profiles::read(&self.data).and_then(|profiles| profile(&self.shared, &profiles)?.relays());
        let mut relays =
            known.unwrap_or_else(|_| self.shared.host.relays.iter().filter_map(|relay| relay.parse().ok()).collect());
        relays.sort_by_key(|relay| match Some(relay) {
            relay if relay == self.leaving.as_ref() => 2,
            relay if relay == self.last_good.as_ref() => 0,
            _ => 1,
        });
        self.leaving = None;
        relays
    }

    fn lane(&self, number: usize, relay: &RelayUrl, finish: &Arc<Finish>) -> Lane {
        Lane {
            number,
            relay: relay.clone(),
            shared: self.shared.clone(),
            data: self.data.clone(),
            tls: self.tls.clone(),
            finish: finish.clone(),
            changes: self.changes.subscribe(),
            skip: u8::try_from(number).unwrap_or(0).saturating_add(*self.skips.get(&relay.to_string()).unwrap_or(&0))
                % 4,
            way: self.way,
            kept: self.kept.clone(),
        }
    }

    /// What the end of an attempt means for the next one; as an error, that there is none.
    fn weigh(&mut self, ending: &Ending, relay: &RelayUrl) -> Result<Outcome, Option<String>> {
        if ending.proved.is_some() {
            self.way = 0;
            self.last_good = Some(relay.clone());
        }
        let mut verdict = judge(&ending.cause, ending.lasted, ending.other_way);
        let blames_keys = ending.proved.is_none() && ending.other_keys && blames_keys(&ending.cause);
        if blames_keys {
            verdict = Verdict::Soon;
        }
        if verdict == Verdict::Over && self.paired_again(ending) {
            verdict = Verdict::Soon;
        }
        if blames_keys || (ending.proved.is_none() && blames_capability(&ending.cause)) {
            self.way = if ending.other_way { self.way.saturating_add(1) } else { 0 };
        }
        if matches!(ending.cause, Cause::Ended(Ended::Hop(Code::NotReachable))) {
            // Of a cluster, another relay may have the host.
            let skips = self.skips.entry(relay.to_string()).or_default();
            *skips = skips.wrapping_add(1);
        }
        let is_leaving = matches!(ending.cause, Cause::Ended(Ended::Hop(Code::Draining)));
        if is_leaving {
            self.leaving = Some(relay.clone());
        }
        let why = phrase(&ending.cause);
        let backoff = self.backoffs.entry(relay.to_string()).or_default();
        if let Some(at) = ending.proved {
            backoff.proved(at);
        }
        if matches!(ending.cause, Cause::Moved | Cause::Followed) {
            *backoff = Backoff::new();
        }
        let told = if let Verdict::Again(told) = verdict { told } else { Duration::ZERO };
        let jittered = backoff.failed_until(TokioClock.now(), told, &mut random());
        let pause = match verdict {
            Verdict::Over if matches!(ending.cause, Cause::Ended(Ended::Asked)) => return Err(None),
            Verdict::Over => {
                let expired = is_expiry(&ending.cause);
                self.shared.view.send_modify(|view| view.expired = expired);
                tracing::error!(host = self.shared.host.name, error = why, "tunnel ended");
                return Err(Some(why));
            }
            // The network is another one, and changes of it come slowly enough.
            _ if matches!(ending.cause, Cause::Moved | Cause::Followed) => Duration::ZERO,
            // It was left at a random time already; the others come first.
            _ if is_leaving && ending.lasted >= HEALTHY => Duration::ZERO,
            Verdict::Refused(least) => jittered.max(least),
            Verdict::OtherCapability | Verdict::Soon => jittered.min(SOON),
            Verdict::Again(_) | Verdict::AskedFor => jittered,
        };
        let (host, relay) = (&self.shared.host.name, relay.authority());
        tracing::warn!(host, relay, error = why, retry = ?pause, "not connected");
        Ok(Outcome { verdict, why, pause })
    }

    /// Shows that nothing is under way. It is a refusal where every relay leads to one: what one says in the host's
    /// stead, another may not.
    fn rest(&self, failures: &[Option<Failure>], until: Instant) {
        let mut known = failures.iter().flatten();
        let hopeful = known.clone().find(|(verdict, _)| !matches!(verdict, Verdict::Refused(_)));
        match (hopeful, known.next()) {
            (Some((_, why)), _) => self.shared.enter(Phase::Waiting(until), Some(why.clone())),
            (None, Some((_, why))) => {
                tracing::error!(host = self.shared.host.name, error = why, "refused");
                self.shared.enter(Phase::Refused(until), Some(why.clone()));
            }
            (None, None) => self.shared.enter(Phase::Waiting(until), None),
        }
    }

    /// Whether this device was paired anew since, so that a final no does not concern it any more.
    fn paired_again(&self, ending: &Ending) -> bool {
        let Some(token) = &ending.token else { return false };
        let known = |profiles: Profiles| -> Result<bool, DeviceError> {
            Ok(!profile(&self.shared, &profiles)?.token().same(token))
        };
        Profiles::read(&self.data).and_then(known).unwrap_or(false)
    }
}
