//! A relay on smol.

use core::future::poll_fn;
use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io::{self, IoSlice};

use futures_io::{AsyncRead as _, AsyncWrite as _};
use homing_driver::relay::ServerTls;
use homing_driver::{Clock as _, steady};
use homing_smol::{SmolClock, SmolSleep};
use smol::net::{TcpListener, TcpStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::runtime::Runtime;

/// smol. Links run on its global executor, the relay itself wherever it is polled: best there, too, since a thread that
/// waits in `block_on` takes the I/O events from the executor's, and has to hand each of them over.
#[derive(Clone, Copy, Debug)]
pub struct Smol;

impl Runtime for Smol {
    type Listener = TcpListener;
    type Tcp = TcpStream;
    type Io = SmolIo;
    type Sleep = SmolSleep;

    async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
        TcpListener::bind(address).await
    }

    fn adopt(socket: std::net::TcpListener) -> io::Result<TcpListener> {
        TcpListener::try_from(socket)
    }

    fn address(listener: &TcpListener) -> io::Result<SocketAddr> {
        listener.local_addr()
    }

    async fn next(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        listener.accept().await
    }

    async fn read(tcp: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| Pin::new(&mut *tcp).poll_read(cx, into)).await
    }

    async fn peek(tcp: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
        tcp.peek(into).await
    }

    async fn accept(tcp: TcpStream, tls: Option<&ServerTls>) -> io::Result<SmolIo> {
        homing_smol::accept(tcp, tls).await.map(SmolIo)
    }

    fn is_certified(io: &SmolIo) -> bool {
        io.0.is_certified()
    }

    fn sleep(time: Duration) -> SmolSleep {
        SmolClock.sleep_until(steady::now() + time)
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(task).detach();
    }
}

/// smol's connection with the traits that links and hyper read and write by.
#[derive(Debug)]
pub struct SmolIo(homing_smol::Io);

impl AsyncRead for SmolIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let len = ready!(Pin::new(&mut self.0).poll_read(cx, buf.initialize_unfilled()))?;
        buf.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SmolIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}
