//! tokio's clock, and tunnel streams with tokio's traits.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::io::{self, IoSlice};

use homing_core::Instant;
use homing_driver::{Clock, Stream, steady};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep_until};

/// The monotonic clock of this process, waited for by tokio.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioClock;

impl Clock for TokioClock {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        steady::now()
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        sleep_until(steady::system(at).into())
    }
}

/// A tunnel stream with tokio's [`AsyncRead`] and [`AsyncWrite`]. Shutting down ends the way out;
/// dropping lets go of both ways.
#[derive(Debug)]
pub struct TunnelStream(Stream);

impl TunnelStream {
    /// Lets go of the stream with a code of [`homing_core::mux::reset`], or one from 256 on.
    pub fn abort(self, code: u16) {
        self.0.abort(code);
    }

    /// From now on, dropping the stream before its end lets go of it with this code.
    pub const fn abort_with(&mut self, code: u16) {
        self.0.abort_with(code);
    }
}

impl From<Stream> for TunnelStream {
    fn from(stream: Stream) -> Self {
        Self(stream)
    }
}

impl AsyncRead for TunnelStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read(cx, buf.initialize_unfilled()).map_ok(|len| buf.advance(len))
    }
}

impl AsyncWrite for TunnelStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.finish())
    }
}
