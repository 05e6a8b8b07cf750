//! A tunnel stream, as applications hold it.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::io::{self, IoSlice};
use std::sync::Arc;

use futures_io::{AsyncRead, AsyncWrite};
use homing_core::mux::reset;

use crate::pipe::Pipe;

/// One ordered byte stream through the tunnel, both ways, each way with its own end.
///
/// Closing ends the way out; dropping lets go of both ways: what was written and closed still
/// goes out, anything else is reset, so that the other side is free at once.
#[derive(Debug)]
pub struct Stream {
    pipe: Arc<Pipe>,
    code: u16,
}

impl Stream {
    pub(crate) const fn new(pipe: Arc<Pipe>) -> Self {
        Self { pipe, code: reset::CANCELLED }
    }

    /// Lets go of the stream with this code, of [`homing_core::mux::reset`] or from 256 on. What
    /// has not left yet never does, closed or not.
    pub fn abort(mut self, code: u16) {
        self.code = code;
        self.pipe.discard();
    }

    /// From now on, dropping the stream before its end lets go of it with this code.
    pub const fn abort_with(&mut self, code: u16) {
        self.code = code;
    }

    /// Reads without pinning.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.pipe.poll_read(cx, buf)
    }

    /// Writes without pinning.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.pipe.poll_write(cx, &[IoSlice::new(buf)])
    }

    /// Writes several buffers without pinning.
    pub fn poll_write_vectored(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.pipe.poll_write(cx, bufs)
    }

    /// Ends the way out. What was written before still goes out.
    ///
    /// # Errors
    /// Where the peer wants no more, or the link is lost.
    pub fn finish(&mut self) -> io::Result<()> {
        self.pipe.finish()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.pipe.release(self.code);
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Self::poll_read(&mut self, cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Self::poll_write(&mut self, cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Self::poll_write_vectored(&mut self, cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The loop sends what it is given as soon as credit allows.
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.finish())
    }
}
