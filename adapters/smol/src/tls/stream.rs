//! A TLS connection over any byte stream of `futures-io`: rustls decides, this carries bytes.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io::{self, IoSlice, Read, Write};

use futures_io::{AsyncRead, AsyncWrite};
use rustls::{Connection, ProtocolVersion};

/// TLS over a byte stream, either end of it.
///
/// An end of the stream below that the peer did not announce is an error, never an end of what it sent.
#[derive(Debug)]
pub struct TlsStream<S> {
    connection: Connection,
    io: S,
    closing: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// Shakes hands.
    ///
    /// # Errors
    /// Where the stream below fails or ends, or one of both ends refuses the other.
    pub async fn handshake(connection: impl Into<Connection>, io: S) -> io::Result<Self> {
        let mut stream = Self { connection: connection.into(), io, closing: false };
        poll_fn(|cx| stream.poll_handshake(cx)).await?;
        Ok(stream)
    }

    /// The stream below. What goes through it on the side breaks the connection.
    pub const fn io(&self) -> &S {
        &self.io
    }

    /// The version of TLS that both ends agreed on.
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.connection.protocol_version()
    }

    /// Whether the peer showed a certificate, which was verified.
    pub fn is_certified(&self) -> bool {
        self.connection.peer_certificates().is_some_and(|certs| !certs.is_empty())
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let sent = self.poll_send(cx)?;
            if !self.connection.is_handshaking() {
                if sent.is_ready() {
                    return Pin::new(&mut self.io).poll_flush(cx);
                }
                return if self.waits_for_nobody() { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            // Hear while something waits to be sent: the peer may be waiting for the same.
            if ready!(self.poll_hear(cx))? == 0 && self.connection.is_handshaking() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Whether what is left of the handshake is for the peer to take when it likes: a server's tickets for later
    /// connections. They leave with what follows, and waiting for a peer that only writes would hold up both.
    fn waits_for_nobody(&self) -> bool {
        matches!(self.connection, Connection::Server(_)) && self.version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// Takes what the stream below has, and returns its length; 0 at its end.
    fn poll_hear(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let len = ready!(polled(self.connection.read_tls(&mut Below { io: &mut self.io, cx })))?;
        if let Err(error) = self.connection.process_new_packets() {
            // The peer may like to hear why; whether it does changes nothing.
            let _ = self.poll_send(cx);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
        }
        Poll::Ready(Ok(len))
    }

    /// Gives the stream below all that is sealed.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.connection.wants_write() {
            if ready!(polled(self.connection.write_tls(&mut Below { io: &mut self.io, cx })))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Seals with `write` once nothing sealed waits any more, so that no more than one write ever waits here.
    fn poll_seal(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(&mut rustls::Writer<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if self.closing {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(self.poll_send(cx))?;
        let len = write(&mut self.connection.writer())?;
        // What does not leave now does so with the next write, or the flush.
        if let Poll::Ready(Err(error)) = self.poll_send(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(len))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            // It knows an announced end (0) from one that was not (an error) and from none yet.
            if let Poll::Ready(read) = polled(self.connection.reader().read(buf)) {
                return Poll::Ready(read);
            }
            ready!(self.poll_hear(cx))?;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_seal(cx, |writer| writer.write(buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_seal(cx, |writer| writer.write_vectored(bufs))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closing {
            self.closing = true;
            self.connection.send_close_notify();
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.io).poll_close(cx)
    }
}

/// The stream below as rustls wants it: blocking, were it not that it says so instead.
struct Below<'a, 'cx, S> {
    io: &'a mut S,
    cx: &'a mut Context<'cx>,
}

impl<S: AsyncRead + Unpin> Read for Below<'_, '_, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        blocking(Pin::new(&mut *self.io).poll_read(self.cx, buf))
    }
}

impl<S: AsyncWrite + Unpin> Write for Below<'_, '_, S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        blocking(Pin::new(&mut *self.io).poll_write(self.cx, buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        blocking(Pin::new(&mut *self.io).poll_write_vectored(self.cx, bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        blocking(Pin::new(&mut *self.io).poll_flush(self.cx))
    }
}

fn blocking<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

fn polled<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}
