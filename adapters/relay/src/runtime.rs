//! What a relay needs of a runtime, and hyper's timer on it. The traits of `tokio::io` and the locks of
//! `tokio::sync` are used under either: they need no runtime.

use core::marker::PhantomData;
use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;
use std::time::Instant;

use homing_driver::relay::ServerTls;
use tokio::io::{AsyncRead, AsyncWrite};

/// A runtime that a relay runs on: its sockets, its timers and its tasks.
pub trait Runtime: Send + Sync + 'static {
    /// Listens for connections.
    type Listener: Send + Sync;
    /// A connection as it comes from the listener.
    type Tcp: Send + 'static;
    /// A connection, prepared, and inside TLS where there is a certificate. Should write vectored.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// Waits for a time to pass.
    type Sleep: Future<Output = ()> + Send + Sync + 'static;

    /// Takes an address.
    fn listen(address: SocketAddr) -> impl Future<Output = io::Result<Self::Listener>> + Send;
    /// Takes over a socket that listens already, and does not block.
    ///
    /// # Errors
    /// The system's.
    fn adopt(socket: std::net::TcpListener) -> io::Result<Self::Listener>;
    /// The address that was taken.
    ///
    /// # Errors
    /// The system's.
    fn address(listener: &Self::Listener) -> io::Result<SocketAddr>;
    /// The next connection, and where it comes from.
    fn next(listener: &Self::Listener) -> impl Future<Output = io::Result<(Self::Tcp, SocketAddr)>> + Send;
    /// Reads from a connection before it is prepared; 0 at its end.
    fn read(tcp: &mut Self::Tcp, into: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;
    /// The same without taking anything away.
    fn peek(tcp: &mut Self::Tcp, into: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;
    /// Prepares a connection, and encrypts it where this end shows a certificate.
    fn accept(tcp: Self::Tcp, tls: Option<&ServerTls>) -> impl Future<Output = io::Result<Self::Io>> + Send;
    /// Whether the other end showed a certificate that was verified.
    fn is_certified(io: &Self::Io) -> bool;
    /// Waits for so long.
    fn sleep(time: Duration) -> Self::Sleep;
    /// Runs a task until it ends.
    fn spawn(task: impl Future<Output = ()> + Send + 'static);
}

/// What comes of a future in this time; none where it takes longer.
pub(crate) async fn timeout<R: Runtime, F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    tokio::select! {
        output = future => Some(output),
        () = R::sleep(limit) => None,
    }
}

/// hyper's timer.
pub(crate) struct Timer<R>(PhantomData<fn() -> R>);

impl<R> Timer<R> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<R: Runtime> hyper::rt::Timer for Timer<R> {
    fn sleep(&self, time: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Sleep::<R>(Box::pin(R::sleep(time))))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.sleep(deadline.saturating_duration_since(Instant::now()))
    }
}

struct Sleep<R: Runtime>(Pin<Box<R::Sleep>>);

impl<R: Runtime> Future for Sleep<R> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl<R: Runtime> hyper::rt::Sleep for Sleep<R> {}
