//! How applications call a link's loop: news of streams, and commands.

use core::task::Waker;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::pipe::Pipe;

/// What an application tells the loop. `C` are the commands of this kind of link.
#[derive(Debug)]
pub(crate) struct Bell<C> {
    inner: Mutex<Inner<C>>,
}

#[derive(Debug)]
struct Inner<C> {
    pipes: Vec<(u64, Arc<Pipe>)>,
    commands: VecDeque<C>,
    waker: Option<Waker>,
    closed: bool,
}

/// Anything that a pipe can ring: the commands of the link do not matter to it.
pub(crate) trait Ring: Send + Sync + core::fmt::Debug {
    fn ring(&self, conversation: u64, pipe: Arc<Pipe>);
}

impl<C> Bell<C> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner { pipes: Vec::new(), commands: VecDeque::new(), waker: None, closed: false }),
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
    pub(crate) fn answer(&self, waker: &Waker, pipes: &mut Vec<(u64, Arc<Pipe>)>) -> VecDeque<C> {
        let mut inner = self.lock();
        pipes.append(&mut inner.pipes);
        if inner.waker.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            inner.waker = Some(waker.clone());
        }
        core::mem::take(&mut inner.commands)
    }

    /// The loop has ended: nobody will answer. Returns what was not answered.
    pub(crate) fn close(&self) -> VecDeque<C> {
        let mut inner = self.lock();
        inner.closed = true;
        inner.pipes.clear();
        core::mem::take(&mut inner.commands)
    }

    fn lock(&self) -> MutexGuard<'_, Inner<C>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Send + core::fmt::Debug> Ring for Bell<C> {
    fn ring(&self, conversation: u64, pipe: Arc<Pipe>) {
        let mut inner = self.lock();
        if inner.closed {
            return;
        }
        inner.pipes.push((conversation, pipe));
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
