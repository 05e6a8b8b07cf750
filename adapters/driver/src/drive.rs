//! The loop, once for hosts and devices: hear, attend, say, wait. It reads while it writes, so
//! that two full links never block each other.

use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use async_tungstenite::WebSocketStream;
use futures_io::{AsyncRead, AsyncWrite};
use homing_core::Instant;
use homing_core::hop::{Code, MAX_MESSAGE};

use crate::bell::{Bell, Rung};
use crate::ended::Ended;
use crate::jitter;
use crate::pipe::Pipe;
use crate::wire::{Wire, WireError};

/// What a runtime brings: a clock and a way to wait for it.
pub trait Clock {
    /// Waits for an instant.
    type Sleep: Future<Output = ()>;

    /// The time now, on a clock that never goes back.
    fn now(&self) -> Instant;

    /// A future that is ready at `at`.
    fn sleep_until(&self, at: Instant) -> Self::Sleep;
}

/// One end of a link, host or device, as the loop sees it.
pub(crate) trait Side {
    type Command;

    /// A message came from the relay.
    fn handle(&mut self, now: Instant, message: &[u8]) -> Result<(), Ended>;
    /// A pipe has news; none: the conversation itself has.
    fn attend(&mut self, now: Instant, conversation: u64, pipe: Option<&Arc<Pipe>>);
    /// The application wants something.
    fn command(&mut self, now: Instant, command: Self::Command) -> Result<(), Ended>;
    /// An instant asked for has come.
    fn handle_timeout(&mut self, now: Instant) -> Result<(), Ended>;
    /// When the next timeout is due.
    fn poll_timeout(&self) -> Option<Instant>;
    /// Writes the next message into `out` and returns its length.
    fn poll_message(&mut self, now: Instant, out: &mut [u8]) -> Result<Option<usize>, Ended>;
    /// Why the link is to end, once all has been said.
    fn over(&mut self) -> Option<Ended>;
}

/// How long an end may go on at most with a relay that is about to leave: all of them at once
/// would storm the next one.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

/// When to leave a relay that says it is draining.
pub(crate) fn leave_at(now: Instant) -> Instant {
    now + jitter(LEAVE_WITHIN)
}

/// How long the close frame of a relay that refuses may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Messages heard, or said, before the other gets its turn.
const BATCH: usize = 32;

/// Runs one end of a link until it ends.
pub(crate) async fn drive<S, C, T>(
    socket: WebSocketStream<S>,
    clock: &C,
    bell: &Bell<T::Command>,
    side: &mut T,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: Clock,
    T: Side,
{
    let mut looping = Looping {
        wire: Wire::new(socket),
        clock,
        bell,
        side,
        out: vec![0; MAX_MESSAGE],
        rung: Vec::new(),
        sleep: None,
    };
    let ended = poll_fn(|cx| looping.poll(cx)).await;
    let ended = looping.heed(ended).await;
    // A goodbye to the relay, if it takes it at once.
    poll_fn(|cx| {
        let _ = looping.wire.poll_close(cx);
        Poll::Ready(())
    })
    .await;
    ended
}

struct Looping<'a, S, C: Clock, T: Side> {
    wire: Wire<S>,
    clock: &'a C,
    bell: &'a Bell<T::Command>,
    side: &'a mut T,
    out: Vec<u8>,
    rung: Vec<Rung>,
    sleep: Option<(Instant, Pin<Box<C::Sleep>>)>,
}

impl<S, C, T> Looping<'_, S, C, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: Clock,
    T: Side,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            match self.round(cx) {
                // The peer's goodbye says more than the socket that closes behind it.
                Err(ended) => return Poll::Ready(self.side.over().unwrap_or(ended)),
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
            }
        }
    }

    /// Adds to a refusal when there is use in coming back: the relay says so behind it, in its close frame.
    async fn heed(&mut self, ended: Ended) -> Ended {
        let refused = matches!(ended, Ended::Hop(Code::Busy));
        if refused {
            let mut late = pin!(self.clock.sleep_until(self.clock.now() + FAREWELL));
            let mut heard = 0..BATCH;
            poll_fn(|cx| {
                if late.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                // What else is on its way does not matter any more.
                while heard.next().is_some() {
                    match self.wire.poll_receive(cx) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Ok(_)) => {}
                        Poll::Ready(Err(_)) => break,
                    }
                }
                Poll::Ready(())
            })
            .await;
        }
        match (&ended, self.wire.told()) {
            (Ended::Hop(Code::Busy) | Ended::Wire(WireError::Closed), Some(retry_after)) => Ended::Busy { retry_after },
            _ => ended,
        }
    }

    /// One round; false where there is nothing left to do but wait.
    fn round(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        let now = self.clock.now();
        let mut busy = self.hear(now, cx)?;
        self.attend(now, cx)?;
        if self.side.poll_timeout().is_some_and(|at| now >= at) {
            self.side.handle_timeout(now)?;
        }
        let said = self.say(now, cx)?;
        busy |= said;
        let flushed = self.wire.poll_flush(cx)?.is_ready();
        if flushed
            && !said
            && let Some(ended) = self.side.over()
        {
            return Err(ended);
        }
        Ok(busy || self.poll_sleep(cx))
    }

    /// Whether more may be waiting than was heard.
    fn hear(&mut self, now: Instant, cx: &mut Context<'_>) -> Result<bool, Ended> {
        for _ in 0..BATCH {
            match self.wire.poll_receive(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(message) => self.side.handle(now, &message?)?,
            }
        }
        Ok(true)
    }

    fn attend(&mut self, now: Instant, cx: &Context<'_>) -> Result<(), Ended> {
        let mut rung = core::mem::take(&mut self.rung);
        let commands: VecDeque<_> = self.bell.answer(cx.waker(), &mut rung);
        for (conversation, pipe) in rung.drain(..) {
            self.side.attend(now, conversation, pipe.as_ref());
        }
        self.rung = rung;
        for command in commands {
            self.side.command(now, command)?;
        }
        Ok(())
    }

    /// Whether more may be waiting than was said.
    fn say(&mut self, now: Instant, cx: &mut Context<'_>) -> Result<bool, Ended> {
        for _ in 0..BATCH {
            if self.wire.poll_ready(cx)?.is_pending() {
                return Ok(false);
            }
            match self.side.poll_message(now, &mut self.out)? {
                Some(len) => self.wire.send(self.out.get(..len).unwrap_or_default())?,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Arms the timer; true where it has fired already.
    fn poll_sleep(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(at) = self.side.poll_timeout() else {
            self.sleep = None;
            return false;
        };
        // A timer that fires too early costs a round, re-arming it at each message costs more.
        if self.sleep.as_ref().is_none_or(|(armed, _)| at < *armed) {
            self.sleep = Some((at, Box::pin(self.clock.sleep_until(at))));
        }
        if let Some((_, sleep)) = &mut self.sleep
            && sleep.as_mut().poll(cx).is_ready()
        {
            self.sleep = None;
            return true;
        }
        false
    }
}
