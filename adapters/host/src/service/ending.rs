//! A stream that ends in order when its server is dropped, where that was wanted.

use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use std::io::{self, IoSlice};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Stream;

/// Says that all was said, from outside the server that owns the stream.
#[derive(Clone, Debug, Default)]
pub(super) struct InOrder(Arc<AtomicBool>);

impl InOrder {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The stream. A drop alone would tell the peer to forget what it has not read yet.
pub(super) struct Ending<S: Stream> {
    stream: S,
    in_order: InOrder,
}

impl<S: Stream> Ending<S> {
    pub(super) const fn new(stream: S, in_order: InOrder) -> Self {
        Self { stream, in_order }
    }
}

impl<S: Stream> Drop for Ending<S> {
    fn drop(&mut self) {
        if self.in_order.0.load(Ordering::Relaxed) {
            // Where it cannot end at once there is nobody left to wait for it.
            let _ = Pin::new(&mut self.stream).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }
}

impl<S: Stream> AsyncRead for Ending<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: Stream> AsyncWrite for Ending<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split};

    use super::*;

    /// Whether the other end heard an end though the connection itself still stands.
    async fn ends(in_order: bool) -> bool {
        let (near, mut far) = duplex(64);
        // A half that stays keeps the connection up.
        let (_kept, half) = split(near);
        let flag = InOrder::default();
        let mut stream = Ending::new(Both(half), flag.clone());
        stream.write_all(b"last words").await.unwrap();
        if in_order {
            flag.set();
        }
        drop(stream);
        let mut heard = [0; 10];
        far.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"last words");
        let soon = core::time::Duration::from_millis(50);
        matches!(tokio::time::timeout(soon, far.read(&mut heard)).await, Ok(Ok(0)))
    }

    struct Both(tokio::io::WriteHalf<DuplexStream>);

    impl AsyncRead for Both {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Both {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(cx, buf)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    #[tokio::test]
    async fn a_drop_is_an_end_only_where_that_was_said() {
        assert!(ends(true).await);
        assert!(!ends(false).await);
    }
}
