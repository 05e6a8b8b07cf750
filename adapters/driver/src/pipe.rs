//! A stream's two byte queues, between the application and the loop. Bounded on both sides: what
//! is to be sent by [`SEND_MAX`], what was received by the credit that was granted for it.

use core::fmt;
use core::task::{Context, Poll, Waker};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use homing_core::mux::{Taken, reset};
use homing_core::wire::StreamId;

use crate::bell::Ring;

/// Bytes of a stream that may wait to be sent.
pub(crate) const SEND_MAX: usize = 64 * 1024;
/// Bytes that the application consumes before the loop hears of it: a quarter of the smallest window.
const REPORT: usize = 16 * 1024;
/// An empty queue larger than this gives its memory back.
const KEEP: usize = 128 * 1024;

/// Why a stream ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The peer gave it up, with a code of [`homing_core::mux::reset`] or of its own.
    #[error("{}", reset_text(*.0))]
    Reset(u16),
    /// The link to the peer broke.
    #[error("connection to the peer lost")]
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
    bell: Arc<dyn Ring>,
    conversation: u64,
}

#[derive(Default)]
struct State {
    id: Option<StreamId>,
    rung: bool,
    inbound: VecDeque<u8>,
    inbound_end: Option<Result<(), StreamError>>,
    reader: Option<Waker>,
    consumed: usize,
    outbound: VecDeque<u8>,
    finished: bool,
    finish_sent: bool,
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
        Arc::new(Self { state: Mutex::default(), bell, conversation })
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
        if state.finished {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let before = state.outbound.len();
        let mut room = SEND_MAX.saturating_sub(before);
        if room == 0 {
            park(&mut state.writer, cx);
            return Poll::Pending;
        }
        for buf in bufs {
            let len = room.min(buf.len());
            state.outbound.extend(&buf[..len]);
            room -= len;
        }
        let len = state.outbound.len() - before;
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
        if !state.finished {
            state.finished = true;
            self.want(state);
        }
        Ok(())
    }

    /// Takes back what was written, and the end, as far as they have not left.
    pub(crate) fn discard(&self) {
        let mut state = self.lock();
        state.outbound = VecDeque::new();
        state.finished = false;
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
        if news && !core::mem::replace(&mut state.rung, true) {
            drop(state);
            self.bell.ring(self.conversation, self.clone());
        }
    }

    // The loop's side.

    pub(crate) fn opened(&self, id: StreamId) {
        self.lock().id = Some(id);
    }

    pub(crate) fn news(&self) -> News {
        let mut state = self.lock();
        state.rung = false;
        // What was written and finished before the release still goes out.
        let pending = state.finished && !state.finish_sent && state.outbound_error.is_none();
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
        state.outbound = VecDeque::new();
        wake(state.writer.take(), state);
    }

    /// Moves bytes into a record.
    pub(crate) fn take(&self, buf: &mut [u8]) -> Taken {
        let mut state = self.lock();
        let len = take(&mut state.outbound, buf);
        let empty = state.outbound.is_empty();
        if empty && state.outbound.capacity() > KEEP {
            state.outbound = VecDeque::new();
        }
        let fin = empty && state.finished && !state.finish_sent;
        state.finish_sent |= fin;
        state.wants = !empty;
        let half_free = state.outbound.len() <= SEND_MAX / 2;
        let waker = if half_free { state.writer.take() } else { None };
        wake(waker, state);
        Taken { len, more: !empty, fin }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
