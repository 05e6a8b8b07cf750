//! The task behind a tunnel: call after call to one host, and what happens in between.

use core::pin::pin;
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use homing_core::backoff::Backoff;
use homing_core::channel::Config;
use homing_core::crypto::Secret;
use homing_core::handshake::CheckWords;
use homing_core::wire::{CAPABILITY_LEN, TOKEN_LEN};
use homing_driver::device::{Call, Caller, Intent, Opener, call};
use homing_driver::{Clock as _, Ended, Paired};
use homing_tokio::{ClientTls, RelayUrl, TokioClock, dial, endpoint_config};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::error::DeviceError;
use crate::profile::{HostProfile, Profiles, vault};
use crate::random;
use crate::retry::{Cause, SleepWatch, Verdict, blames_capability, judge, phrase};
use crate::service;
use crate::tunnel::{CLOSE_TIMEOUT, Phase, Shared};

/// The longest pause where the next attempt should come soon.
const SOON: Duration = Duration::from_secs(1);
/// The shortest pause, however often somebody asks for the host.
const ASKED_FOR: Duration = Duration::from_secs(1);
/// How often to look whether the machine slept.
const LOOK: Duration = Duration::from_secs(5);
/// How long a host may take to show that the call survived a sleep.
const PROBE: Duration = Duration::from_secs(5);

/// Keeps a call to one host alive.
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    data: PathBuf,
    tls: Arc<ClientTls>,
    backoff: Backoff,
    /// Show the capability before the newest.
    previous: bool,
}

/// What an attempt was made with, as far as its end is judged by it.
#[derive(Default)]
struct Used {
    token: Option<Secret<TOKEN_LEN>>,
    has_previous: bool,
    proved: Option<homing_core::Instant>,
}

impl Keeper {
    pub(crate) fn new(shared: Arc<Shared>, data: &Path, tls: Arc<ClientTls>) -> Self {
        Self { shared, data: data.to_path_buf(), tls, backoff: Backoff::new(), previous: false }
    }

    /// Keeps calling until told to stop, or until no call can succeed.
    pub(crate) async fn keep(mut self) {
        let shared = self.shared.clone();
        let mut running = pin!(self.run());
        let why = tokio::select! {
            why = &mut running => why,
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

    async fn run(&mut self) -> Option<String> {
        loop {
            self.shared.enter(Phase::Connecting, None);
            let started = Instant::now();
            let mut used = Used::default();
            let cause = self.attempt(&mut used).await;
            if let Some(at) = used.proved {
                self.backoff.proved(at);
                self.previous = false;
            }
            if matches!(cause, Cause::Slept) {
                self.backoff = Backoff::new();
            }
            let jittered = self.backoff.failed(TokioClock.now(), &mut random());
            let other = used.has_previous && !self.previous;
            let mut verdict = judge(&cause, started.elapsed(), other);
            if verdict == Verdict::Over && self.paired_again(&used) {
                verdict = Verdict::Soon;
            }
            if used.proved.is_none() && blames_capability(&cause) {
                self.previous = other;
            }
            let why = phrase(&cause);
            let (delay, asked_for) = match verdict {
                Verdict::Over if matches!(cause, Cause::Ended(Ended::Asked)) => return None,
                Verdict::Over => {
                    tracing::error!(host = self.shared.host.name, error = why, "tunnel ended");
                    return Some(why);
                }
                Verdict::Refused(least) => (jittered.max(least), false),
                Verdict::OtherCapability | Verdict::Soon => (jittered.min(SOON), false),
                Verdict::Again(least) => (jittered.max(least), false),
                Verdict::AskedFor => (jittered, true),
            };
            let until = Instant::now() + delay;
            if matches!(verdict, Verdict::Refused(_)) {
                tracing::error!(host = self.shared.host.name, error = why, retry = ?delay, "refused");
                self.shared.enter(Phase::Refused(until), Some(why));
            } else {
                tracing::warn!(host = self.shared.host.name, error = why, retry = ?delay, "not connected");
                self.shared.enter(Phase::Waiting(until), Some(why));
            }
            self.wait(until, asked_for).await;
        }
    }

    /// One call, until it ends.
    async fn attempt(&self, used: &mut Used) -> Cause {
        let (relay, capability, with) = match self.prepare(used) {
            Ok(prepared) => prepared,
            Err(error) => return Cause::Profile(error),
        };
        let mut listener = Listener { shared: &self.shared, data: &self.data, capability, proved: None };
        let socket = match dial(&relay, &self.tls, endpoint_config()).await {
            Ok(socket) => socket,
            Err(error) => return error.into(),
        };
        let cause = tokio::select! {
            ended = call(socket, &TokioClock, with, &mut listener) => ended.into(),
            () = self.sleep_cut_it() => Cause::Slept,
        };
        used.proved = listener.proved;
        cause
    }

    /// What to call with, read anew: other processes change it.
    fn prepare(&self, used: &mut Used) -> Result<(RelayUrl, Secret<CAPABILITY_LEN>, Call), DeviceError> {
        let profiles = Profiles::read(&self.data)?;
        let profile = self.profile(&profiles)?;
        let (relay, suite) = (profile.relay()?, profile.suite()?);
        used.has_previous = profile.has_previous();
        used.token = Some(profile.token().duplicate());
        let capability = profile.capability(self.previous);
        let shown = capability.to_bytes();
        let call = Call {
            relay: relay.authority().into(),
            suite,
            identity: profile.identity(),
            host: profile.host_key(),
            intent: Intent::Connect {
                route: profile.route(),
                capability,
                psk: profile.psk(suite),
                token: profile.token().duplicate(),
            },
            config: Config::default(),
        };
        Ok((relay, shown, call))
    }

    fn profile<'p>(&self, profiles: &'p Profiles) -> Result<&'p HostProfile, DeviceError> {
        let host = &self.shared.host;
        profiles.by_id(&host.id).ok_or_else(|| DeviceError::UnknownHost { host: host.name.clone() })
    }

    /// Whether this device was paired anew since, so that a final no does not concern it any more.
    fn paired_again(&self, used: &Used) -> bool {
        let Some(token) = &used.token else { return false };
        let profiles = Profiles::read(&self.data);
        profiles.is_ok_and(|profiles| self.profile(&profiles).is_ok_and(|profile| !profile.token().same(token)))
    }

    /// Waits for the next attempt; less where somebody asks for the host, or the machine slept.
    async fn wait(&self, until: Instant, asked_for: bool) {
        let earliest = until.min(Instant::now() + ASKED_FOR);
        let mut watch = SleepWatch::new();
        loop {
            tokio::select! {
                () = sleep_until(until.min(Instant::now() + LOOK)) => {
                    if Instant::now() >= until || watch.slept() {
                        return;
                    }
                }
                () = self.shared.asked_for.notified(), if asked_for => {
                    sleep_until(earliest).await;
                    return;
                }
            }
        }
    }

    /// Completes when the machine slept and the call did not survive it. The call itself would
    /// notice after two missed round trips, which is long for somebody who has just opened a lid.
    async fn sleep_cut_it(&self) {
        let mut watch = SleepWatch::new();
        loop {
            sleep(LOOK).await;
            if !watch.slept() {
                continue;
            }
            let Some(stream) = self.shared.opener().and_then(|opener| opener.open()) else { return };
            if timeout(PROBE, service::list(stream.into())).await.is_err() {
                return;
            }
        }
    }
}

/// Hears what happens during a call.
struct Listener<'a> {
    shared: &'a Shared,
    data: &'a Path,
    /// The one that this call was made with.
    capability: Secret<CAPABILITY_LEN>,
    proved: Option<homing_core::Instant>,
}

impl Caller for Listener<'_> {
    fn established(&mut self, opener: Opener) {
        self.proved = Some(TokioClock.now());
        tracing::info!(host = self.shared.host.name, "connected");
        self.shared.enter(Phase::Connected(opener), None);
    }

    fn pending(&mut self, _: CheckWords, _: u16) {}

    fn paired(&mut self, _: Paired, _: Secret<32>) -> Result<(), String> {
        Err("this device did not ask to be paired".into())
    }

    fn capability(&mut self, fresh: &[u8; CAPABILITY_LEN]) {
        let (data, id) = (self.data.to_path_buf(), self.shared.host.id.clone());
        let (used, fresh) = (self.capability.duplicate(), Secret::new(*fresh));
        // Apart, since the disk may take longer than the first requests.
        tokio::task::spawn_blocking(move || {
            let stored =
                vault(&data).and_then(|mut vault| vault.update(|profiles| profiles.renew(&id, &used, fresh.expose())));
            if let Err(error) = stored {
                // The one in use still works.
                tracing::warn!(%error, "a fresh capability could not be stored");
            }
        });
    }
}
