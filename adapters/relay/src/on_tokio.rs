//! A relay on tokio.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;

use homing_driver::relay::ServerTls;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::runtime::Runtime;

/// Connections that may wait to be accepted, where the system allows as many. Those beyond are heard a second later, when
/// their ends try again.
const BACKLOG: u32 = 4096;

/// tokio, with its I/O and time enabled. Relays are run inside it.
#[derive(Clone, Copy, Debug)]
pub struct Tokio;

impl Runtime for Tokio {
    type Listener = TcpListener;
    type Tcp = TcpStream;
    type Io = homing_tokio::Io;
    type Sleep = tokio::time::Sleep;

    async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    }

    fn adopt(socket: std::net::TcpListener) -> io::Result<TcpListener> {
        TcpListener::from_std(socket)
    }

    fn address(listener: &TcpListener) -> io::Result<SocketAddr> {
        listener.local_addr()
    }

    async fn next(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        listener.accept().await
    }

    async fn read(tcp: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
        tcp.read(into).await
    }

    async fn peek(tcp: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
        tcp.peek(into).await
    }

    async fn accept(tcp: TcpStream, tls: Option<&ServerTls>) -> io::Result<homing_tokio::Io> {
        homing_tokio::accept(tcp, tls).await
    }

    fn is_certified(io: &homing_tokio::Io) -> bool {
        io.is_certified()
    }

    fn sleep(time: Duration) -> tokio::time::Sleep {
        tokio::time::sleep(time)
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }
}
