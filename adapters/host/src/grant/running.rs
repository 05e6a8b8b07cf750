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

use super::lease::Lease;
use super::{Denied, Grant, Limited, Limiter, Rate, Wish};
use crate::shared::Shared;

/// How often it is looked whether a grant has ended while something runs under it.
const LOOK: Duration = Duration::from_millis(500);

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
    streams: HashMap<u64, Stream>,
    counter: u64,
}

/// A stream with something under way.
struct Stream {
    device: String,
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
        grant.is_none_or(|grant| grant.check(&self.service, wish, now).is_ok())
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
        let grant = lease.shared.lock().device(&lease.device).map(|device| device.grant.clone());
        let grant = grant.ok_or(Refused::Unknown)?.unwrap_or_default();
        let wish = match &request {
            None => Wish::Raw,
            Some((method, path)) => Wish::Http { method, path, method_overridden },
        };
        grant.check(&lease.service, wish, unix_now()).map_err(Refused::Denied)?;
        let limiter = all.limiters.entry(lease.device.clone()).or_default();
        limiter.admit(&grant, TokioClock.now()).map_err(|limited| Refused::Limited(limited, grant.rate))?;
        let (device, service, end) = (lease.device.clone(), lease.service.clone(), lease.end.clone());
        all.streams.insert(lease.number, Stream { device, service, request, end });
        if grant.expires_at.is_some() {
            self.changed.notify_one();
        }
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
        let grants: HashMap<_, _> = {
            let inner = shared.lock();
            inner.state.devices.iter().map(|device| (device.id.clone(), device.grant.clone())).collect()
        };
        all.limiters.retain(|device, limiter| grants.contains_key(device) || !limiter.is_idle());
        let mut ending = false;
        for stream in all.streams.values() {
            let grant = grants.get(&stream.device);
            if grant.is_some_and(|grant| stream.may_go_on(grant.as_ref(), now)) {
                ending |= grant.and_then(Option::as_ref).is_some_and(|grant| grant.expires_at.is_some());
            } else {
                stream.end.set();
            }
        }
        ending
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
    fn finish(&mut self, number: u64) {
        if let Some(stream) = self.streams.remove(&number)
            && let Some(limiter) = self.limiters.get_mut(&stream.device)
        {
            limiter.done();
        }
    }
}
