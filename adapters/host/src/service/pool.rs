//! The connections to one HTTP service: how many there may be, and those that wait for their next request.

use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::ServiceError;
use super::connect::{Remote, Transport, connect};
use super::options::Options;

/// How long a request waits for a connection where all are in use.
const WAIT: Duration = Duration::from_secs(2);
const MAX_BUFFER: usize = 64 * 1024;
const MAX_HEADERS: usize = 200;

/// A connection to the service. Nothing moves on it unless `connection` is polled.
pub(super) struct Upstream {
    pub(super) sender: SendRequest<Incoming>,
    connection: Connection<TokioIo<Transport>, Incoming>,
    over: bool,
    /// Whether it has served a request before.
    pub(super) used: bool,
    /// Held while it is in use.
    room: Option<OwnedSemaphorePermit>,
}

impl Upstream {
    async fn open(service: &Remote) -> Result<Self, ServiceError> {
        let io = TokioIo::new(connect(service).await?);
        let (sender, connection) =
            http1::Builder::new().max_buf_size(MAX_BUFFER).max_headers(MAX_HEADERS).handshake(io).await?;
        Ok(Self { sender, connection, over: false, used: false, room: None })
    }

    /// Moves bytes. A connection that is over may still hold an upgraded socket.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) -> Result<(), hyper::Error> {
        if !self.over {
            match Pin::new(&mut self.connection).poll(cx) {
                Poll::Pending => {}
                Poll::Ready(end) => {
                    self.over = true;
                    return end;
                }
            }
        }
        Ok(())
    }

    /// Whether another request may be sent.
    pub(super) fn is_idle(&self) -> bool {
        !self.over && self.sender.is_ready()
    }

    /// Whether no other request will ever be sent.
    pub(super) const fn is_over(&self) -> bool {
        self.over
    }

    /// The socket after 101, and what was already read of what follows; it still counts as a connection while the third
    /// is held.
    pub(super) async fn into_socket(
        mut self,
    ) -> Result<(Transport, Bytes, Option<OwnedSemaphorePermit>), ServiceError> {
        poll_fn(|cx| {
            let driven = self.drive(cx);
            if driven.is_err() || self.over { Poll::Ready(driven) } else { Poll::Pending }
        })
        .await?;
        let parts = self.connection.into_parts();
        Ok((parts.io.into_inner(), parts.read_buf, self.room))
    }

    /// Whether the other side has kept an idle connection open, as far as this machine knows.
    fn is_alive(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.drive(&mut cx).is_ok() && self.is_idle()
    }
}

/// The connections.
pub(super) struct Pool {
    /// How many more may be in use. A connection is opened only while none is idle, so all of them together are never more.
    room: Arc<Semaphore>,
    idle: Mutex<Idle>,
    max_idle: usize,
    idle_time: Duration,
}

/// Those that are idle, oldest first.
#[derive(Default)]
struct Idle {
    waiting: Vec<(Upstream, Instant)>,
    reaping: bool,
}

impl core::fmt::Debug for Pool {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let idle = self.lock().waiting.len();
        f.debug_struct("Pool").field("idle", &idle).field("room", &self.room.available_permits()).finish()
    }
}

impl Pool {
    pub(super) fn new(options: &Options) -> Arc<Self> {
        let most = options.max_connections.min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            room: Arc::new(Semaphore::new(most)),
            idle: Mutex::default(),
            max_idle: options.idle_connections,
            idle_time: options.idle_time,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The idle connection used last, or a new one. Waits for a moment where all are in use, first come, first served.
    pub(super) async fn take(&self, service: &Remote) -> Result<Upstream, ServiceError> {
        let Ok(Ok(room)) = tokio::time::timeout(WAIT, self.room.clone().acquire_owned()).await else {
            return Err(ServiceError::Busy { service: service.exposed.name.clone() });
        };
        let mut upstream = loop {
            let idle = self.lock().waiting.pop(); // in a statement of its own: the lock ends here
            let Some((mut upstream, since)) = idle else { break Upstream::open(service).await? };
            if since.elapsed() < self.idle_time && upstream.is_alive() {
                break upstream;
            }
        };
        upstream.room = Some(room);
        Ok(upstream)
    }

    /// Keeps a connection whose exchange is over.
    pub(super) fn put(self: &Arc<Self>, mut upstream: Upstream) {
        upstream.used = true;
        // Given back when the connection is among the idle ones: whoever waits for it finds it there.
        let _room = upstream.room.take();
        let mut idle = self.lock();
        if idle.waiting.len() >= self.max_idle {
            return;
        }
        idle.waiting.push((upstream, Instant::now()));
        if !core::mem::replace(&mut idle.reaping, true) {
            tokio::spawn(reap(Arc::downgrade(self), self.idle_time));
        }
    }

    /// Closes what has been idle for too long; says when to come again.
    fn close_stale(&self) -> Option<Instant> {
        let mut idle = self.lock();
        let fresh = idle.waiting.partition_point(|(_, since)| since.elapsed() >= self.idle_time);
        idle.waiting.drain(..fresh);
        let next = idle.waiting.first().map(|(_, since)| *since + self.idle_time);
        idle.reaping = next.is_some();
        next
    }
}

/// Lives while connections are idle: one task per busy spell of a service, none per request.
async fn reap(pool: Weak<Pool>, idle_time: Duration) {
    let mut next = Instant::now() + idle_time;
    loop {
        tokio::time::sleep_until(next).await;
        match pool.upgrade().and_then(|pool| pool.close_stale()) {
            Some(then) => next = then,
            None => return,
        }
    }
}
