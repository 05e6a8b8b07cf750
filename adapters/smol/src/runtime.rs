//! smol's clock, and tunnel streams with the traits of `futures-io`.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use async_io::Timer;
use futures_util::future::{Either, select};
use homing_core::Instant;
use homing_driver::{Clock, Stream, steady};

/// The monotonic clock of this process, waited for by smol.
#[derive(Clone, Copy, Debug, Default)]
pub struct SmolClock;

impl Clock for SmolClock {
    type Sleep = SmolSleep;

    fn now(&self) -> Instant {
        steady::now()
    }

    fn sleep_until(&self, at: Instant) -> SmolSleep {
        SmolSleep(Timer::at(steady::system(at)))
    }
}

/// Waits for an instant.
#[derive(Debug)]
pub struct SmolSleep(Timer);

impl Future for SmolSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

/// A tunnel stream with [`AsyncRead`](futures_io::AsyncRead) and [`AsyncWrite`](futures_io::AsyncWrite), as the driver
/// has it. Closing ends the way out; dropping lets go of both ways.
pub type TunnelStream = Stream;

/// What comes of a future before a timer fires; none where the timer is first.
pub(crate) async fn before<F: Future>(timer: Timer, future: F) -> Option<F::Output> {
    match select(core::pin::pin!(future), timer).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}

/// What comes of a future in this time; none where it takes longer.
pub(crate) async fn timeout<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    before(Timer::after(limit), future).await
}
