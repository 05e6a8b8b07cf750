//! What devices are doing right now: counted against their limits, looked at again whenever a grant changes or ends,
//! and stopped where it is not granted any more.

use core::convert::Infallible;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Context;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::task::AtomicWaker;
use homing_driver::Clock as _;
use homing_local::clock::unix_now;
use homing_tokio::TokioClock;
use http::Method;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::guest::{Guest, GuestKey};
use super::lease::Lease;
use super::{Denied, Grant, Limited, Limiter, Rate, Wish};
use crate::registry::Device;
use crate::shared::Shared;

/// How often it is looked whether a grant has ended while something runs under it.
const LOOK: Duration = Duration::from_millis(500);

/// Limits of one device's guests that are counted at once.
const GUESTS_COUNTED: usize = 256;

/// What runs, over all devices.
#[derive(Default)]
pub(crate) struct Running {
    all: Mutex<All>,
    /// Rung when there may be something to look at.
    changed: Notify,
}

#[derive(Default)]
struct All {
    limiters: HashMap<String, Limiter>,
    /// Those of guests, by the caveats that they belong to.
    guests: HashMap<GuestKey, GuestLimiter>,
    streams: HashMap<u64, Stream>,
    counter: u64,
}

struct GuestLimiter {
    limiter: Limiter,
    device: String,
    /// When nobody is left to count, in Unix seconds.
    expires_at: u64,
}

/// A stream with something under way.
struct Stream {
    device: String,
    guest: Option<Arc<Guest>>,
    service: String,
    /// The request's method and path; none on a raw service.
    request: Option<(Method, String)>,
    end: Arc<End>,
}

impl Stream {
    fn may_go_on(&self, grant: Option<&Grant>, now: u64) -> bool {
        let wish = match &self.request {
            None => Wish::Raw,
            // What it began with was looked at then.
            Some((method, path)) => Wish::Http { method, path, method_overridden: false },
        };
        let granted = |grant: &Grant| grant.check(&self.service, wish, now).is_ok();
        grant.is_none_or(|grant| granted(grant) && !(grant.no_guests && self.guest.is_some()))
            && self.guest.as_ref().is_none_or(|guest| guest.grants().all(granted))
    }

    /// Whether a grant that it runs under will end.
    fn will_end(&self, grant: Option<&Grant>) -> bool {
        self.guest.is_some() || grant.is_some_and(|grant| grant.expires_at.is_some())
    }
}

/// Why something was not begun.
pub(super) enum Refused {
    Unknown,
    Denied(Denied),
    Limited(Limited, Option<Rate>),
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream's number.
    pub(super) fn number(&self) -> u64 {
        let mut all = self.lock();
        all.counter = all.counter.wrapping_add(1);
        all.counter
    }

    /// Begins something on a stream: a request, or raw bytes where it is none.
    pub(super) fn begin(
        &self,
        lease: &Lease,
        request: Option<(Method, String)>,
        method_overridden: bool,
    ) -> Result<(), Refused> {
        let mut all = self.lock();
        all.finish(lease.number);
        // Read under this lock: a grant that changes now finds what is begun here, or is the one that is read.
        let (grant, ended) = {
            let mut inner = lease.shared.lock();
            let device = inner.device(&lease.device).ok_or(Refused::Unknown)?;
            let ended = lease.guest.as_ref().is_some_and(|guest| device.has_ended(guest));
            (device.grant.clone().unwrap_or_default(), ended)
        };
        let wish = match &request {
            None => Wish::Raw,
            Some((method, path)) => Wish::Http { method, path, method_overridden },
        };
        if ended {
            return Err(Refused::Denied(Denied::Expired));
        }
        if grant.no_guests && lease.guest.is_some() {
            return Err(Refused::Denied(Denied::NotGranted));
        }
        let now = unix_now();
        for grant in core::iter::once(&grant).chain(lease.guest.iter().flat_map(|guest| guest.grants())) {
            grant.check(&lease.service, wish, now).map_err(Refused::Denied)?;
        }
        all.admit(lease, &grant).map_err(|(limited, rate)| Refused::Limited(limited, rate))?;
        let (device, guest) = (lease.device.clone(), lease.guest.clone());
        let (service, end) = (lease.service.clone(), lease.end.clone());
        let stream = Stream { device, guest, service, request, end };
        if stream.will_end(Some(&grant)) {
            self.changed.notify_one();
        }
        all.streams.insert(lease.number, stream);
        Ok(())
    }

    /// What was begun on a stream is over.
    pub(super) fn finish(&self, number: u64) {
        self.lock().finish(number);
    }

    /// Ends what is not granted any more. Tells whether something runs under a grant that will end.
    pub(crate) fn look(&self, shared: &Shared, now: u64) -> bool {
        let mut all = self.lock();
        // Under this lock, as above.
        let mut inner = shared.lock();
        let mut ending = inner.end_guests(now);
        let devices: HashMap<_, _> = inner.state.devices.iter().map(|device| (device.id.as_str(), device)).collect();
        let known = |device: &str| devices.contains_key(device);
        all.limiters.retain(|device, limiter| known(device) || !limiter.is_idle());
        all.guests.retain(|_, guest| !guest.limiter.is_idle() || (known(&guest.device) && now < guest.expires_at));
        for stream in all.streams.values() {
            let has_ended = |device: &Device| stream.guest.as_ref().is_some_and(|guest| device.has_ended(guest));
            let device = devices.get(stream.device.as_str()).filter(|device| !has_ended(device));
            let grant = device.map(|device| device.grant.as_ref());
            if grant.is_some_and(|grant| stream.may_go_on(grant, now)) {
                ending |= stream.will_end(grant.flatten());
            } else {
                stream.end.set();
            }
        }
        ending
    }

    /// A guest has come, whose time will be over.
    pub(crate) fn watch_guest(&self) {
        self.changed.notify_one();
    }

    /// A grant was changed: what runs is looked at before this returns.
    pub(crate) fn changed(&self, shared: &Shared) {
        self.look(shared, unix_now());
        self.changed.notify_one();
    }
}

/// Ends streams whose grants end, for ever. Sleeps only while there are such.
pub(crate) async fn expire(shared: Arc<Shared>) -> Infallible {
    loop {
        shared.running.changed.notified().await;
        // Sleep first: requests may come by the thousand.
        sleep(LOOK).await;
        while shared.running.look(&shared, unix_now()) {
            sleep(LOOK).await;
        }
    }
}

/// Tells a stream that it is over.
#[derive(Default)]
pub(super) struct End {
    is_set: AtomicBool,
    pub(super) reader: AtomicWaker,
    pub(super) writer: AtomicWaker,
    pub(super) server: AtomicWaker,
}

impl End {
    fn set(&self) {
        self.is_set.store(true, Ordering::Release);
        for waker in [&self.reader, &self.writer, &self.server] {
            waker.wake();
        }
    }

    pub(super) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    /// The same; where it was not, `waker` hears of it.
    pub(super) fn poll(&self, waker: &AtomicWaker, cx: &Context<'_>) -> bool {
        waker.register(cx.waker());
        self.is_set()
    }
}

impl All {
    /// Counts something against every limit that it falls under, or against none.
    fn admit(&mut self, lease: &Lease, grant: &Grant) -> Result<(), (Limited, Option<Rate>)> {
        let now = TokioClock.now();
        let limiter = self.limiters.entry(lease.device.clone()).or_default();
        limiter.admit(grant, now).map_err(|limited| (limited, grant.rate))?;
        let Some(guest) = &lease.guest else { return Ok(()) };
        self.make_room(&lease.device);
        let mut admitted: Vec<GuestKey> = Vec::new();
        for (key, grant) in guest.limiting() {
            let counted = self.guests.entry(*key).or_insert_with(|| GuestLimiter {
                limiter: Limiter::default(),
                device: lease.device.clone(),
                expires_at: guest.expires_at,
            });
            counted.expires_at = counted.expires_at.max(guest.expires_at);
            if let Err(limited) = counted.limiter.admit(grant, now) {
                for key in admitted {
                    if let Some(counted) = self.guests.get_mut(&key) {
                        counted.limiter.give_back();
                    }
                }
                if let Some(limiter) = self.limiters.get_mut(&lease.device) {
                    limiter.give_back();
                }
                return Err((limited, grant.rate));
            }
            admitted.push(*key);
        }
        Ok(())
    }

    /// A device that makes very many guests forgets what those used that do nothing now; its own limits stay.
    fn make_room(&mut self, device: &str) {
        if self.guests.values().filter(|guest| guest.device == device).count() >= GUESTS_COUNTED {
            self.guests.retain(|_, guest| guest.device != device || !guest.limiter.is_idle());
        }
    }

    fn finish(&mut self, number: u64) {
        let Some(stream) = self.streams.remove(&number) else { return };
        if let Some(limiter) = self.limiters.get_mut(&stream.device) {
            limiter.done();
        }
        for (key, _) in stream.guest.iter().flat_map(|guest| guest.limiting()) {
            if let Some(counted) = self.guests.get_mut(key) {
                counted.limiter.done();
            }
        }
    }
}
