//! How applications call a link's loop: news of streams, and commands.

use core::task::Waker;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::pipe::Pipe;

/// A conversation with news: of one of its pipes, or of its own.
pub(crate) type Rung = (u64, Option<Arc<Pipe>>);

/// What an application tells the loop. `C` are the commands of this kind of link.
#[derive(Debug)]
pub(crate) struct Bell<C> {
    inner: Mutex<Inner<C>>,
}

#[derive(Debug)]
struct Inner<C> {
    rung: Vec<Rung>,
    commands: VecDeque<C>,
    waker: Option<Waker>,
    closed: bool,
}

/// Anything that a pipe can ring: the commands of the link do not matter to it.
pub(crate) trait Ring: Send + Sync + core::fmt::Debug {
    /// A pipe has news.
    fn ring(&self, conversation: u64, pipe: Arc<Pipe>);
    /// The conversation itself has: something was done to it from outside its loop.
    fn nudge(&self, conversation: u64);
}

impl<C> Bell<C> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner { rung: Vec::new(), commands: VecDeque::new(), waker: None, closed: false }),
        })
    }

    /// Leaves a command; gives it back where the loop has ended.
    pub(crate) fn command(&self, command: C) -> Result<(), C> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(command);
        }
        inner.commands.push_back(command);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// The loop answers: takes all news, and leaves its waker for the next.
    pub(crate) fn answer(&self, waker: &Waker, rung: &mut Vec<Rung>) -> VecDeque<C> {
        let mut inner = self.lock();
        rung.append(&mut inner.rung);
        if inner.waker.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            inner.waker = Some(waker.clone());
        }
        core::mem::take(&mut inner.commands)
    }

    /// The loop has ended: nobody will answer. Returns what was not answered.
    pub(crate) fn close(&self) -> VecDeque<C> {
        let mut inner = self.lock();
        inner.closed = true;
        inner.rung.clear();
        core::mem::take(&mut inner.commands)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn tell(&self, rung: Rung) {
        let mut inner = self.lock();
        if inner.closed {
            return;
        }
        inner.rung.push(rung);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<C>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Send + core::fmt::Debug> Ring for Bell<C> {
    fn ring(&self, conversation: u64, pipe: Arc<Pipe>) {
        self.tell((conversation, Some(pipe)));
    }

    fn nudge(&self, conversation: u64) {
        self.tell((conversation, None));
    }
}
