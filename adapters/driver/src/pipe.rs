//! A stream's two byte queues, between the application and the loop. What waits to be sent is
//! bounded by `SEND_MAX`, what was received by the credit that was granted for it. A pipe outlives
//! the link that carries it: between two links it has no loop to ring for, and news wait.

use core::fmt;
use core::task::{Context, Poll, Waker};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use homing_core::mux::{Taken, reset};
use homing_core::wire::StreamId;

use crate::bell::Ring;
use crate::outbound::{KEEP, Outbound};

/// Bytes that the application consumes before the loop hears of it: a quarter of the smallest window.
const REPORT: usize = 16 * 1024;

/// Why a stream ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The peer gave it up, with a code of [`homing_core::mux::reset`] or of its own.
    #[error("{}", reset_text(*.0))]
    Reset(u16),
    /// The connection to the peer was lost and did not come back in time, or came back to a host
    /// that knows nothing of the stream.
    #[error("connection to the peer lost for too long, or the host was restarted")]
    Lost,
}

fn reset_text(code: u16) -> &'static str {
    match code {
        reset::CANCELLED => "cancelled by the peer",
        reset::UNKNOWN_SERVICE => "the host exposes no service of this name",
        reset::UNREACHABLE => "the service does not answer",
        reset::NOT_ALLOWED => "this device may not use the service",
        _ => "refused by the peer",
    }
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> Self {
        let kind = match error {
            StreamError::Reset(_) => io::ErrorKind::ConnectionReset,
            StreamError::Lost => io::ErrorKind::ConnectionAborted,
        };
        Self::new(kind, error)
    }
}

/// What the loop learns when a pipe has rung.
#[derive(Clone, Copy, Debug)]
pub(crate) struct News {
    pub(crate) id: Option<StreamId>,
    pub(crate) consumed: usize,
    pub(crate) wants: bool,
    /// The application let go of it: with nothing left to send, and this code.
    pub(crate) released: Option<u16>,
}

#[derive(Debug)]
pub(crate) struct Pipe {
    state: Mutex<State>,
    /// Dropped with it.
    _held: Option<Arc<()>>,
}

/// The loop that carries a pipe, and the conversation there.
#[derive(Clone)]
struct Place {
    bell: Arc<dyn Ring>,
    conversation: u64,
}

#[derive(Default)]
struct State {
    place: Option<Place>,
    id: Option<StreamId>,
    rung: bool,
    inbound: VecDeque<u8>,
    inbound_end: Option<Result<(), StreamError>>,
    reader: Option<Waker>,
    consumed: usize,
    outbound: Outbound,
    /// The peer has all of it, and the end.
    outbound_over: bool,
    outbound_error: Option<StreamError>,
    writer: Option<Waker>,
    wants: bool,
    released: Option<u16>,
}

// What passes through is nobody's business.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Pipe {
    pub(crate) fn new(conversation: u64, bell: Arc<dyn Ring>) -> Arc<Self> {
        Self::holding(conversation, bell, None)
    }

    pub(crate) fn holding(conversation: u64, bell: Arc<dyn Ring>, held: Option<Arc<()>>) -> Arc<Self> {
        let state = State { place: Some(Place { bell, conversation }), ..State::default() };
        Arc::new(Self { state: Mutex::new(state), _held: held })
    }

    // The application's side.

    pub(crate) fn poll_read(self: &Arc<Self>, cx: &Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        if state.inbound.is_empty() {
            return match state.inbound_end {
                Some(Ok(())) => Poll::Ready(Ok(0)),
                Some(Err(error)) => Poll::Ready(Err(error.into())),
                None => {
                    park(&mut state.reader, cx);
                    Poll::Pending
                }
            };
        }
        let len = take(&mut state.inbound, buf);
        if state.inbound.is_empty() && state.inbound.capacity() > KEEP {
            state.inbound = VecDeque::new();
        }
        state.consumed += len;
        let report = state.consumed >= REPORT;
        self.ring_if(state, report);
        Poll::Ready(Ok(len))
    }

    pub(crate) fn poll_write(self: &Arc<Self>, cx: &Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        if let Some(error) = state.outbound_error {
            return Poll::Ready(Err(error.into()));
        }
        if state.outbound.is_finished() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if state.outbound.room() == 0 {
            park(&mut state.writer, cx);
            return Poll::Pending;
        }
        let len = state.outbound.write(bufs);
        if len > 0 {
            self.want(state);
        }
        Poll::Ready(Ok(len))
    }

    pub(crate) fn finish(self: &Arc<Self>) -> io::Result<()> {
        let mut state = self.lock();
        if let Some(error) = state.outbound_error {
            return Err(error.into());
        }
        if state.outbound.finish() {
            self.want(state);
        }
        Ok(())
    }

    /// Takes back what was written, and the end, as far as they have not left.
    pub(crate) fn discard(&self) {
        self.lock().outbound.discard();
    }

    pub(crate) fn release(self: &Arc<Self>, code: u16) {
        let mut state = self.lock();
        if state.released.is_none() {
            state.released = Some(code);
            state.inbound = VecDeque::new();
            state.reader = None;
            state.writer = None;
            self.ring_if(state, true);
        }
    }

    fn want(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let news = !state.wants;
        state.wants = true;
        self.ring_if(state, news);
    }

    fn ring_if(self: &Arc<Self>, mut state: MutexGuard<'_, State>, news: bool) {
        if news
            && !state.rung
            && let Some(place) = state.place.clone()
        {
            state.rung = true;
            drop(state);
            place.bell.ring(place.conversation, self.clone());
        }
    }

    // The loop's side.

    pub(crate) fn opened(&self, id: StreamId) {
        self.lock().id = Some(id);
    }

    /// Another loop carries it from now on, which looks at it at once.
    pub(crate) fn bind(&self, conversation: u64, bell: Arc<dyn Ring>) {
        let mut state = self.lock();
        state.place = Some(Place { bell, conversation });
        state.rung = false;
    }

    /// No loop carries it for now.
    pub(crate) fn unbind(&self) {
        let mut state = self.lock();
        state.place = None;
        state.rung = false;
    }

    /// Its stream ended with its session. The next session gives the id again: this pipe has no say in that stream, and
    /// nobody to tell anything.
    pub(crate) fn lose(&self) {
        self.unbind();
        self.lock().id = None;
        self.fail_inbound(StreamError::Lost);
        self.fail_outbound(StreamError::Lost);
    }

    pub(crate) fn news(&self) -> News {
        let mut state = self.lock();
        state.rung = false;
        // What was written and finished before the release still goes out.
        let pending = state.outbound.is_finished() && !state.outbound.is_finish_sent() && !state.is_outbound_void();
        News {
            id: state.id,
            consumed: core::mem::take(&mut state.consumed),
            wants: state.wants,
            released: state.released.filter(|_| !pending),
        }
    }

    /// Bytes came from the peer.
    pub(crate) fn deliver(&self, data: &[u8], fin: bool) {
        let mut state = self.lock();
        if state.released.is_some() {
            state.consumed += data.len();
            return;
        }
        state.inbound.extend(data);
        if fin {
            state.inbound_end = Some(Ok(()));
        }
        if !data.is_empty() || fin {
            wake(state.reader.take(), state);
        }
    }

    /// The peer, or the link, ended what was to be received. Bytes that arrived can still be read
    /// where the link broke; after a reset they are of no use.
    pub(crate) fn fail_inbound(&self, error: StreamError) {
        let mut state = self.lock();
        if state.inbound_end.is_none() {
            state.inbound_end = Some(Err(error));
            if matches!(error, StreamError::Reset(_)) {
                state.inbound = VecDeque::new();
            }
        }
        wake(state.reader.take(), state);
    }

    /// Drops what has arrived and was not read; its end must not look like one then.
    pub(crate) fn discard_inbound(&self) {
        let mut state = self.lock();
        if !state.inbound.is_empty() {
            state.inbound = VecDeque::new();
            state.inbound_end = Some(Err(StreamError::Lost));
        }
    }

    /// Nobody takes what is to be sent any more.
    pub(crate) fn fail_outbound(&self, error: StreamError) {
        let mut state = self.lock();
        state.outbound_error.get_or_insert(error);
        state.outbound.clear();
        wake(state.writer.take(), state);
    }

    /// Copies bytes into a record, from this offset of the stream on; of those that were never
    /// sent `allowance` at most. Returns how many of them were.
    pub(crate) fn read_at(&self, offset: u64, buf: &mut [u8], allowance: usize) -> (Taken, usize) {
        let mut state = self.lock();
        let (taken, fresh) = state.outbound.read(offset, buf, allowance);
        state.wants = taken.more;
        let waker = if state.outbound.is_half_free() { state.writer.take() } else { None };
        wake(waker, state);
        (taken, fresh)
    }

    /// The peer has so many bytes of the stream, and perhaps the end. Returns how many bytes need
    /// not be held for it any more.
    pub(crate) fn acknowledged(&self, offset: u64, end: bool) -> usize {
        let mut state = self.lock();
        let freed = state.outbound.acknowledge(offset);
        state.outbound_over |= end;
        freed
    }

    /// The link was lost, and another one goes on from what was acknowledged.
    pub(crate) fn rewind(&self) {
        let mut state = self.lock();
        state.outbound.rewind();
        state.wants = !state.is_outbound_void();
    }

    /// Whether neither the application nor the peer will ask for it again.
    pub(crate) fn is_over(&self) -> bool {
        let state = self.lock();
        state.released.is_some() && (state.is_outbound_void() || !state.outbound.is_finished())
    }

    /// Whether bytes, or the end, wait to be sent.
    pub(crate) fn wants(&self) -> bool {
        self.lock().wants
    }

    /// Bytes that were sent and not acknowledged.
    pub(crate) fn held(&self) -> usize {
        self.lock().outbound.held()
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        let state = self.lock();
        state.inbound.len().saturating_add(state.outbound.len())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Nothing of what was written will be asked for any more.
    const fn is_outbound_void(&self) -> bool {
        self.outbound_over || self.outbound_error.is_some()
    }
}

/// Wakes outside the lock, so that whoever wakes does not run into it.
fn wake(waker: Option<Waker>, state: MutexGuard<'_, State>) {
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn park(slot: &mut Option<Waker>, cx: &Context<'_>) {
    if slot.as_ref().is_none_or(|known| !known.will_wake(cx.waker())) {
        *slot = Some(cx.waker().clone());
    }
}

/// Moves bytes from the front of a queue into a buffer.
fn take(queue: &mut VecDeque<u8>, buf: &mut [u8]) -> usize {
    let len = queue.len().min(buf.len());
    let (front, back) = queue.as_slices();
    let first = front.len().min(len);
    buf[..first].copy_from_slice(&front[..first]);
    buf[first..len].copy_from_slice(&back[..len - first]);
    queue.drain(..len);
    len
}
