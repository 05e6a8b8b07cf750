//! Where the links meet: the switch, and the outbox of each link.
//!
//! One lock guards the switch; it is held for one read's worth of messages and never across a wait.
//! An outbox has its own lock, taken inside the switch's or alone.

mod accounts;
mod cluster;
mod outlets;
mod waiting;

use core::sync::atomic::{AtomicU64, Ordering};
use core::task::Waker;
use core::time::Duration;
use core::{fmt, mem};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use getrandom::SysRng;
use homing_core::Instant;
use homing_core::hop::{Code, DATA_HEADER_LEN, Frame, MAX_CONTROL};
use homing_core::relay::{self, AttachError, ChannelSlot, Counters, Handled, LinkId, LinkSlot, RouteSlot, Switch};
use homing_core::wire::Writer;
use homing_driver::relay::events::LINK_ID_LEN;
use rand_core::UnwrapErr;
use tokio::sync::Notify;

use crate::account::{Admit, Everyone, Ledger, OneKey};
use crate::config::{Admission, RelayConfig};
use crate::directory::Directory;
use crate::outbox::{Form, Piece};
use crate::probe;
use crate::runtime::Runtime;

pub(crate) use outlets::Outlet;
use outlets::{First, Outlets, close_code};

/// The shortest time between two looks at the clock.
const TICK: Duration = Duration::from_millis(20);
/// The longest; the switch then learns the time of day.
const LONG_TICK: Duration = Duration::from_secs(60);

/// What a channel's window may grow to, in bytes. All of it may wait in front of what a person types: at 1 MB/s, half a
/// second.
const MAX_WINDOW: u32 = 512 << 10;
/// How long the answer of a probe is good.
const PROBE_LIFE: Duration = Duration::from_secs(1);

/// The secret name by which a host that waits speaks on its link.
pub(crate) type LinkName = [u8; LINK_ID_LEN];

/// One forwarded record, as an observer sees it: never its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Time since the relay started.
    pub at: Duration,
    /// Whether it went from the host to the device.
    pub from_host: bool,
    /// Its length in bytes.
    pub bytes: usize,
}

/// Called for each forwarded record, on the thread that forwards it: be quick.
pub type Tap = Arc<dyn Fn(Seen) + Send + Sync>;

/// Everything that links share.
pub(crate) struct Hub {
    state: Mutex<State>,
    started: std::time::Instant,
    records: AtomicU64,
    bytes: AtomicU64,
    tap: Option<Tap>,
    admit: Arc<dyn Admit>,
    /// Of a cluster.
    pub(crate) directory: Option<Arc<dyn Directory>>,
    /// A deadline may have come nearer.
    sooner: Notify,
}

struct State {
    switch: Links,
    outlets: Outlets,
    guests: cluster::Guests,
    /// The clock's reading that the timer sleeps until.
    armed: Option<Instant>,
    draining: bool,
    /// What the last probe found, and when.
    probed: Option<(Instant, Result<(), &'static str>)>,
}

type Links = Switch<Vec<LinkSlot>, Vec<ChannelSlot>, Vec<RouteSlot>>;

impl State {
    /// A new link behind this outlet; `None` where there is no room, or the relay is about to stop.
    fn enter(
        &mut self,
        outlet: &Arc<Outlet>,
        attach: impl FnOnce(&mut Links, &mut First<'_>) -> Result<LinkId, AttachError>,
    ) -> Option<LinkId> {
        if self.draining {
            return None;
        }
        // The first message is due at once, before anybody knows the id: it goes by itself.
        let id = attach(&mut self.switch, &mut First(outlet)).ok()?;
        self.outlets.insert(id, outlet.clone());
        Some(id)
    }
}

/// The close code of a link that ends because the relay stops.
pub(crate) const DRAINING: u16 = close_code(Code::Draining);

/// The switch's lock, held for what one read brought.
pub(crate) struct Turn<'a> {
    state: &'a mut State,
    now: Instant,
    records: u64,
    bytes: u64,
    seen: Option<&'a mut Vec<usize>>,
    pause: Duration,
}

impl Turn<'_> {
    /// Ends a link that may not be a host's.
    pub(crate) fn deny(&mut self, link: LinkId) {
        let State { switch, outlets, .. } = &mut *self.state;
        switch.deny(link, Code::Denied, outlets);
    }

    /// Whether the relay is about to stop: who has not said yet what it wants gets nothing.
    pub(crate) const fn is_draining(&self) -> bool {
        self.state.draining
    }

    /// Handles a message of a link, and forwards it where it is DATA. False where it broke the rules, and the link is
    /// over.
    pub(crate) fn handle(&mut self, link: LinkId, message: &mut [u8]) -> bool {
        let State { switch, outlets, .. } = &mut *self.state;
        match switch.handle(self.now, link, message, &mut UnwrapErr(SysRng), outlets) {
            Ok(Handled::Done) => {}
            Ok(Handled::Forward { to, idx }) => {
                let len = message.len().saturating_sub(DATA_HEADER_LEN);
                outlets.push(to, |outbox, pool| outbox.push_data(idx, message, len, pool));
                self.records += 1;
                self.bytes += len as u64;
                self.pause = self.pause.max(outlets.ledger.charge(link, len as u64));
                if let Some(seen) = &mut self.seen {
                    seen.push(len);
                }
            }
            Err(violation) => {
                tracing::debug!(%violation, "link hung up");
                return false;
            }
        }
        true
    }
}

impl Hub {
    pub(crate) fn new(config: &RelayConfig) -> Self {
        let policy =
            relay::Config { ask: true, max_window: MAX_WINDOW, budget: config.queues, ..relay::Config::default() };
        let links = config.max_links;
        let switch = Switch::new(
            policy,
            slots(links),
            // Every channel has a device's link of its own.
            slots(links),
            slots(links.saturating_mul(2)),
            Instant::ZERO,
            unix_now(),
            &mut UnwrapErr(SysRng),
        );
        let outlets = Outlets { ledger: Ledger::new(config.hosts.clone()), ..Outlets::default() };
        Self {
            state: Mutex::new(State {
                switch,
                outlets,
                guests: Default::default(),
                armed: None,
                draining: false,
                probed: None,
            }),
            started: std::time::Instant::now(),
            records: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            tap: config.tap.clone(),
            admit: match &config.admission {
                Admission::Open | Admission::OpenToEveryone => Arc::new(Everyone),
                Admission::Key(hash) => Arc::new(OneKey(*hash)),
                Admission::Ask(admit) => admit.clone(),
            },
            directory: config.directory.clone(),
            sooner: Notify::new(),
        }
    }

    /// A new link; `None` where there is no room, or the relay is about to stop.
    pub(crate) fn attach(&self, name: &str) -> Option<(LinkId, Arc<Outlet>)> {
        let outlet = Arc::new(Outlet::new(Form::WebSocket));
        let id = self.with(|state, now| {
            state.enter(&outlet, |switch, first| switch.attach(now, name, &mut UnwrapErr(SysRng), first))
        })?;
        Some((id, outlet))
    }

    /// Ends a link on the switch's side; does nothing where it is gone.
    pub(crate) fn detach(&self, link: LinkId) {
        let left = self.with(|state, _| {
            state.outlets.remove(link);
            state.switch.detach(link, &mut state.outlets);
            state.outlets.ledger.leave(link); // what was open on it has been counted off
            state.guests.leave(link)
        });
        self.give_back(left);
    }

    /// Handles what one read of a link brought. Also returns how long its account has to wait before more is read.
    pub(crate) fn turn<R>(&self, from_host: bool, f: impl FnOnce(&mut Turn<'_>) -> R) -> (R, Duration) {
        let mut seen = Vec::new();
        let (result, records, bytes, pause) = self.with(|state, now| {
            let seen = self.tap.as_ref().map(|_| &mut seen);
            let mut turn = Turn { state, now, records: 0, bytes: 0, seen, pause: Duration::ZERO };
            let result = f(&mut turn);
            let Turn { records, bytes, pause, .. } = turn;
            (result, records, bytes, pause)
        });
        if records > 0 {
            self.records.fetch_add(records, Ordering::Relaxed);
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        if let Some(tap) = &self.tap {
            let at = self.started.elapsed();
            seen.into_iter().for_each(|bytes| tap(Seen { at, from_host, bytes }));
        }
        (result, pause)
    }

    /// These pieces have left on a link.
    pub(crate) fn sent(&self, link: LinkId, sent: Vec<Piece>) {
        self.with(|state, now| {
            for Piece { bytes, channel, charged } in sent {
                state.outlets.pool.recycle(bytes);
                state.switch.sent(now, link, channel, charged, &mut state.outlets);
            }
        });
    }

    /// Tells every link that the relay is about to stop, and takes no more.
    pub(crate) fn drain(&self) {
        let mut notice = [0; MAX_CONTROL];
        let mut w = Writer::new(&mut notice);
        let emitted = Frame::Closed { code: Code::Draining }.emit(0, &mut w);
        debug_assert!(emitted.is_ok(), "six bytes");
        let len = w.len();
        let notice = notice.get(..len).unwrap_or_default();
        self.with(|state, _| {
            if core::mem::replace(&mut state.draining, true) {
                return;
            }
            let Outlets { slots, wakes, .. } = &mut state.outlets;
            for (_, outlet) in slots.iter().flatten() {
                wakes.extend(outlet.lock().push_control(notice));
            }
        });
    }

    /// Ends every link, after telling those that were not told.
    pub(crate) fn stop(&self) {
        self.drain();
        self.with(|state, _| {
            let Outlets { slots, wakes, .. } = &mut state.outlets;
            for (_, outlet) in slots.iter().flatten() {
                wakes.extend(outlet.lock().end(DRAINING));
            }
        });
    }

    /// Whether the relay is about to stop.
    pub(crate) fn is_draining(&self) -> bool {
        self.with(|state, _| state.draining)
    }

    /// Rings the switch's alarms, and lets waiting hosts hear of the relay, for ever.
    pub(crate) async fn keep_time<R: Runtime>(&self) {
        tokio::join!(self.ring::<R>(), self.beat::<R>());
    }

    async fn ring<R: Runtime>(&self) {
        loop {
            let next = self.with(|state, now| {
                let State { switch, outlets, armed, .. } = state;
                switch.set_clock(now, unix_now());
                switch.handle_timeout(now, outlets);
                *armed = switch.poll_timeout();
                armed.map(|at| at.since(now))
            });
            tokio::select! {
                () = R::sleep(next.unwrap_or(LONG_TICK).clamp(TICK, LONG_TICK)) => {}
                () = self.sooner.notified() => {}
            }
        }
    }

    pub(crate) fn counters(&self) -> Counters {
        self.with(|state, _| state.switch.counters())
    }

    /// Records and their bytes, forwarded so far.
    pub(crate) fn forwarded(&self) -> (u64, u64) {
        (self.records.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Bytes that wait in all outboxes.
    pub(crate) fn queued(&self) -> usize {
        self.with(|state, _| state.outlets.slots.iter().flatten().map(|(_, o)| o.lock().queued()).sum())
    }

    /// Links that the relay ended, and why.
    pub(crate) fn ended(&self) -> Vec<(Code, u64)> {
        self.with(|state, _| Code::ALL.into_iter().zip(state.outlets.ended).collect())
    }

    /// Whether new links come in and a record passes; what was found is good for a second.
    pub(crate) fn ready(&self) -> Result<(), &'static str> {
        let unix = unix_now();
        self.with(|state, now| {
            if state.draining {
                return Err("it is about to stop");
            }
            if let Some((at, found)) = state.probed
                && now.since(at) < PROBE_LIFE
            {
                return found;
            }
            let found = probe::probe(&mut state.switch, now, unix, &mut UnwrapErr(SysRng));
            state.probed = Some((now, found));
            found
        })
    }

    /// Time since the relay started.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    fn with<R>(&self, f: impl FnOnce(&mut State, Instant) -> R) -> R {
        let now = self.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.outlets.ledger.set_now(now);
        let result = f(&mut state, now);
        let wakes = mem::take(&mut state.outlets.wakes);
        let next = state.switch.poll_timeout();
        let is_sooner = next.is_some_and(|next| state.armed.is_none_or(|armed| next < armed));
        if is_sooner {
            state.armed = next;
        }
        drop(state);
        if is_sooner {
            self.sooner.notify_one();
        }
        wakes.into_iter().for_each(Waker::wake);
        result
    }

    fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}

// It holds the routes' keys.
impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("uptime", &self.uptime()).finish_non_exhaustive()
    }
}

fn slots<T: Default>(count: usize) -> Vec<T> {
    core::iter::repeat_with(T::default).take(count).collect()
}

/// Seconds since 1970; 0 where the clock stands before that.
fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
