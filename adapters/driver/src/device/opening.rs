//! Waits for a call to reach its host.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Opener;

/// A future that is ready once the host is there: what opens streams on the call, or none where the
/// call has ended before.
pub struct Opening(Arc<Mutex<State>>);

/// The call's end of it.
pub(super) struct Teller(Arc<Mutex<State>>);

enum State {
    Waiting(Option<Waker>),
    There(Opener),
    Over,
}

pub(super) fn new() -> (Teller, Opening) {
    let state = Arc::new(Mutex::new(State::Waiting(None)));
    (Teller(state.clone()), Opening(state))
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Teller {
    pub(super) fn tell(&self, opener: Opener) {
        self.set(State::There(opener));
    }

    fn set(&self, state: State) {
        let before = core::mem::replace(&mut *lock(&self.0), state);
        if let State::Waiting(Some(waker)) = before {
            waker.wake();
        }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        let waiting = matches!(*lock(&self.0), State::Waiting(_));
        if waiting {
            self.set(State::Over);
        }
    }
}

impl Future for Opening {
    type Output = Option<Opener>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Opener>> {
        match &mut *lock(&self.0) {
            State::There(opener) => Poll::Ready(Some(opener.clone())),
            State::Over => Poll::Ready(None),
            State::Waiting(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_there = matches!(*lock(&self.0), State::There(_));
        f.debug_struct("Opening").field("is_there", &is_there).finish_non_exhaustive()
    }
}
