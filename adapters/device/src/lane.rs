//! One attempt to reach a host through one relay, and the call that comes of it.

use core::net::IpAddr;
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use homing_core::channel::Config;
use homing_core::crypto::{PublicKey, Secret};
use homing_core::handshake::{CheckWords, RouteId};
use homing_core::wire::{CAPABILITY_LEN, TOKEN_LEN};
use homing_driver::device::{Call, Caller, Intent, Kept, Opener, call_again};
use homing_driver::{Clock as _, Paired};
use homing_local::clock::unix_now;
use homing_tokio::{ClientTls, DialError, RelayUrl, Seek, Socket, TokioClock, endpoint_config, is_local, seek};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::error::DeviceError;
use crate::profile::{HostProfile, Profiles, vault};
use crate::retry::Cause;
use crate::service;
use crate::status::RelayState;
use crate::tunnel::{Phase, Shared};

/// Which attempt of a race reached the host first.
#[derive(Debug, Default)]
pub(crate) struct Finish {
    winner: OnceLock<usize>,
    crossed: Notify,
}

impl Finish {
    /// Whether this lane is the first; it stays the first however often it asks.
    fn cross(&self, lane: usize) -> bool {
        let first = *self.winner.get_or_init(|| lane) == lane;
        self.crossed.notify_waiters();
        first
    }

    /// Whether the race is over.
    pub(crate) fn is_crossed(&self) -> bool {
        self.winner.get().is_some()
    }

    /// Waits until another lane was first.
    async fn outrun(&self, lane: usize) {
        loop {
            let crossed = self.crossed.notified();
            if self.winner.get().is_some_and(|winner| *winner != lane) {
                return;
            }
            crossed.await;
        }
    }
}

/// What an attempt needs.
pub(crate) struct Lane {
    /// Its number in the race.
    pub(crate) number: usize,
    pub(crate) relay: RelayUrl,
    pub(crate) shared: Arc<Shared>,
    pub(crate) data: PathBuf,
    pub(crate) tls: Arc<ClientTls>,
    pub(crate) finish: Arc<Finish>,
    /// Changes whenever the network did, or the machine slept.
    pub(crate) changes: watch::Receiver<u64>,
    /// How many relays of a cluster to pass over to begin with.
    pub(crate) skip: u8,
    /// Which of the profile's ways to take.
    pub(crate) way: usize,
    /// The session to go on with, for the lane that reaches the host.
    pub(crate) kept: Kept,
}

/// How an attempt ended.
pub(crate) struct Ending {
    pub(crate) lane: usize,
    pub(crate) cause: Cause,
    pub(crate) lasted: Duration,
    /// When the host answered; none where it did not.
    pub(crate) proved: Option<homing_core::Instant>,
    /// The token that was shown; none where the profile could not be read.
    pub(crate) token: Option<Secret<TOKEN_LEN>>,
    /// Whether there is a further way to try.
    pub(crate) other_way: bool,
    /// Whether there is one by the keys that the host had before.
    pub(crate) other_keys: bool,
}

/// What a call is made with.
struct Prepared {
    call: Call,
    capability: Secret<CAPABILITY_LEN>,
    route: RouteId,
    /// Set where the host has moved and is to answer by its keys of now.
    settles: bool,
}

impl Lane {
    /// Dials and calls, until the call ends or another lane is faster.
    pub(crate) async fn run(mut self) -> Ending {
        let started = Instant::now();
        let mut ending = Ending {
            lane: self.number,
            cause: Cause::Outrun,
            lasted: Duration::ZERO,
            proved: None,
            token: None,
            other_way: false,
            other_keys: false,
        };
        let (finish, number) = (self.finish.clone(), self.number);
        tokio::select! {
            cause = self.attempt(&mut ending) => ending.cause = cause,
            () = finish.outrun(number) => {}
        }
        ending.lasted = started.elapsed();
        ending
    }

    async fn attempt(&mut self, ending: &mut Ending) -> Cause {
        // Before the profile is read: what it tells from then on is news.
        let mut moves = self.shared.moves.subscribe();
        let Prepared { mut call, capability, route, settles } = match self.prepare(ending) {
            Ok(prepared) => prepared,
            Err(error) => return Cause::Profile(error),
        };
        let socket = match self.dial(Seek { skip: self.skip, ..Seek::device(&route) }).await {
            Ok((socket, node)) => {
                call.relay = node.authority().into();
                socket
            }
            Err(error) => return error.into(),
        };
        let from = socket.get_ref().get_ref().local_address();
        let kept = self.kept.clone();
        let host = call.host;
        let mut listener = Listener { lane: self, capability, host, route, settles, proved: &mut ending.proved };
        tokio::select! {
            ended = call_again(socket, &TokioClock, call, &kept, &mut listener) => ended.into(),
            () = cut(self.changes.clone(), from, &self.shared) => Cause::Moved,
            Ok(()) = moves.changed() => Cause::Followed,
        }
    }

    /// What to call with, read anew: other processes change it.
    fn prepare(&self, ending: &mut Ending) -> Result<Prepared, DeviceError> {
        let profiles = Profiles::read(&self.data)?;
        let profile = profile(&self.shared, &profiles)?;
        let suite = profile.suite()?;
        if profile.is_over() {
            return Err(DeviceError::GuestExpired);
        }
        let mut ways = profile.ways(unix_now()).into_iter().skip(self.way).peekable();
        // One that is gone meanwhile: the best.
        let Some(way) = ways.next().or_else(|| profile.ways(unix_now()).into_iter().next()) else {
            return Err(DeviceError::failed("there is no way to the host"));
        };
        ending.other_way = ways.peek().is_some();
        ending.other_keys = ways.any(|way| way.former);
        ending.token = Some(profile.token().duplicate());
        let capability = way.capability.to_bytes();
        let call = Call {
            relay: self.relay.authority().into(),
            suite,
            identity: profile.identity(),
            host: way.host,
            intent: Intent::Connect {
                route: way.route,
                capability: way.capability,
                psk: profile.psk(suite),
                token: profile.token().duplicate(),
                guest: profile.caveats().map(<[u8]>::to_vec),
            },
            config: Config::default(),
        };
        Ok(Prepared { call, capability, route: way.route, settles: profile.has_moved() && !way.former })
    }

    /// Dials, and once more where the network changes meanwhile: the first attempt may have begun on the old one.
    async fn dial(&mut self, sought: Seek) -> Result<(Socket, RelayUrl), DialError> {
        tokio::select! {
            dialled = seek(&self.relay, &self.tls, endpoint_config(), sought) => return dialled,
            Ok(()) = self.changes.changed() => {}
        }
        seek(&self.relay, &self.tls, endpoint_config(), sought).await
    }
}

/// The profile that a tunnel calls with.
pub(crate) fn profile<'p>(shared: &Shared, profiles: &'p Profiles) -> Result<&'p HostProfile, DeviceError> {
    let host = &shared.host;
    profiles.by_id(&host.id).ok_or_else(|| DeviceError::UnknownHost { host: host.name.clone() })
}

/// Completes when the address that a call comes from is gone. At every other change the relay is asked, and the call ends
/// by itself where no answer comes: silence alone takes long for somebody who has just opened a lid.
async fn cut(mut changes: watch::Receiver<u64>, from: Option<IpAddr>, shared: &Shared) {
    while changes.changed().await.is_ok() {
        if from.is_some_and(|address| !is_local(address)) {
            return;
        }
        if let Some(opener) = shared.opener() {
            opener.probe();
        }
    }
    core::future::pending().await
}

/// Hears what happens during a call.
struct Listener<'a> {
    lane: &'a Lane,
    /// The one that this call was made with.
    capability: Secret<CAPABILITY_LEN>,
    host: PublicKey,
    route: RouteId,
    /// Whether the host has answered by its keys of now, once it has.
    settles: bool,
    proved: &'a mut Option<homing_core::Instant>,
}

impl Caller for Listener<'_> {
    fn established(&mut self, opener: Opener) {
        let Lane { shared, relay, .. } = self.lane;
        if !self.lane.finish.cross(self.lane.number) {
            return opener.close();
        }
        *self.proved = Some(TokioClock.now());
        tracing::info!(host = shared.host.name, relay = relay.authority(), "connected");
        shared.enter(Phase::Connected(opener.clone()), None);
        shared.show_relay(relay, RelayState::InUse, None);
        if self.settles {
            self.store(|profiles, id, host, route| profiles.settle(id, host, route));
        }
        tokio::spawn(learn_relays(shared.clone(), self.lane.data.clone(), opener));
    }

    fn pending(&mut self, _: CheckWords, _: u16) {}

    fn paired(&mut self, _: Paired, _: Secret<32>) -> Result<(), String> {
        Err("this device did not ask to be paired".into())
    }

    fn capability(&mut self, fresh: &[u8; CAPABILITY_LEN]) {
        let (used, fresh) = (self.capability.duplicate(), Secret::new(*fresh));
        self.store(move |profiles, id, _, route| profiles.renew(id, route, &used, fresh.expose()));
    }
}

impl Listener<'_> {
    /// Changes what is kept of the host, known by this key and reached by this route. Apart, since the disk may take
    /// longer than the first requests.
    fn store(&self, change: impl FnOnce(&mut Profiles, &str, &PublicKey, &RouteId) + Send + 'static) {
        let (data, id) = (self.lane.data.clone(), self.lane.shared.host.id.clone());
        let (host, route) = (self.host, self.route);
        tokio::task::spawn_blocking(move || {
            let stored =
                vault(&data).and_then(|mut vault| vault.update(|profiles| change(profiles, &id, &host, &route)));
            if let Err(error) = stored {
                // What is known still works.
                tracing::warn!(%error, "what the host gave could not be stored");
            }
        });
    }
}

/// Asks the host where else it can be reached, and when to let it sleep, and notes it.
async fn learn_relays(shared: Arc<Shared>, data: PathBuf, opener: Opener) {
    let Some(stream) = opener.open() else { return };
    // A call that has ended will not say.
    let Ok(offer) = service::ask(stream.into()).await else { return };
    shared.rest_after.send_replace(offer.rest_after.map(Duration::from_secs));
    let id = shared.host.id.clone();
    let stored = tokio::task::spawn_blocking(move || note_relays(&data, &id, &offer.relays)).await;
    if let Ok(Err(error)) = stored {
        tracing::warn!(%error, "the host's relays could not be stored");
    }
}

/// Writes only where there is something new: several processes use the file.
fn note_relays(data: &Path, id: &str, told: &[String]) -> Result<(), DeviceError> {
    if Profiles::read(data)?.learn_relays(id, told) {
        vault(data)?.update(|profiles| profiles.learn_relays(id, told))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn one_lane_is_first_and_the_others_hear_of_it() {
        let finish = Arc::new(Finish::default());
        let waiting = tokio::spawn({
            let finish = finish.clone();
            async move { finish.outrun(0).await }
        });
        tokio::task::yield_now().await;
        assert!(finish.cross(1) && finish.cross(1) && !finish.cross(0));
        timeout(Duration::from_secs(5), waiting).await.expect("told").unwrap();
        timeout(Duration::from_secs(5), finish.outrun(2)).await.expect("told later");
        assert!(timeout(Duration::from_millis(20), finish.outrun(1)).await.is_err(), "the winner goes on");
    }
}
