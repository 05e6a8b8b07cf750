//! What the roles need of a runtime, and the two that there are.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::sync::{LazyLock, mpsc};

use async_tungstenite::WebSocketStream;
use futures_io::{AsyncRead, AsyncWrite};
use homing_driver::relay::{ClientTls, DialError, RelayUrl, Seek, endpoint_config};
use homing_driver::{Clock, Stream};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

/// A runtime with its adapter.
pub trait Runtime: 'static {
    /// What its adapter is called.
    const NAME: &'static str;

    /// The same for a relay.
    type Relay: homing_relay::Runtime;
    /// A connection to the relay.
    type Io: AsyncRead + AsyncWrite + Unpin + Send;
    /// The adapter's clock.
    type Clock: Clock<Sleep: Send> + Default + Send + Sync;
    /// The adapter's own kind of tunnel stream.
    type Tunnel: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// A TCP connection to or from a service.
    type Tcp: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// Listens for such connections.
    type Listener: Send + Sync + 'static;

    /// Opens a link's WebSocket, by the adapter.
    fn dial(
        url: &RelayUrl,
        tls: &ClientTls,
    ) -> impl Future<Output = Result<WebSocketStream<Self::Io>, DialError>> + Send;
    /// The same at the relay of a cluster that serves a route, by way of any; also which one that is.
    fn seek(
        url: &RelayUrl,
        tls: &ClientTls,
        seek: Seek,
    ) -> impl Future<Output = Result<(WebSocketStream<Self::Io>, RelayUrl), DialError>> + Send;
    /// A tunnel stream as the adapter has it.
    fn tunnel(stream: Stream) -> Self::Tunnel;
    /// Connects to a service.
    fn connect(address: SocketAddr) -> impl Future<Output = io::Result<Self::Tcp>> + Send;
    /// Listens on a free port of this machine.
    fn listen() -> impl Future<Output = io::Result<(Self::Listener, SocketAddr)>> + Send;
    /// The next connection.
    fn accept(listener: &Self::Listener) -> impl Future<Output = io::Result<Self::Tcp>> + Send;
    /// Waits.
    fn sleep(time: Duration) -> impl Future<Output = ()> + Send;
    /// Runs a future on the runtime's only thread, and waits for it on this one.
    fn run<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T;
    /// Runs a task until it ends.
    fn spawn(task: impl Future<Output = ()> + Send + 'static);
}

/// smol.
#[derive(Clone, Copy, Debug)]
pub struct Smol;

impl Runtime for Smol {
    const NAME: &'static str = "smol";

    type Relay = homing_relay::Smol;
    type Io = homing_smol::Io;
    type Clock = homing_smol::SmolClock;
    type Tunnel = homing_smol::TunnelStream;
    type Tcp = smol::net::TcpStream;
    type Listener = smol::net::TcpListener;

    async fn dial(url: &RelayUrl, tls: &ClientTls) -> Result<homing_smol::Socket, DialError> {
        homing_smol::dial(url, tls, endpoint_config()).await
    }

    async fn seek(url: &RelayUrl, tls: &ClientTls, seek: Seek) -> Result<(homing_smol::Socket, RelayUrl), DialError> {
        homing_smol::seek(url, tls, endpoint_config(), seek).await
    }

    fn tunnel(stream: Stream) -> Self::Tunnel {
        stream
    }

    async fn connect(address: SocketAddr) -> io::Result<Self::Tcp> {
        let tcp = smol::net::TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }

    async fn listen() -> io::Result<(Self::Listener, SocketAddr)> {
        let listener = smol::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    }

    async fn accept(listener: &Self::Listener) -> io::Result<Self::Tcp> {
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }

    async fn sleep(time: Duration) {
        smol::Timer::after(time).await;
    }

    fn run<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
        // Not `block_on`: a thread that waits in it takes the I/O events from the executor's, and each of them would
        // have to be handed over.
        let (tell, told) = mpsc::channel();
        let running = smol::spawn(async move { tell.send(future.await) });
        let done = told.recv().expect("no panic");
        running.detach();
        done
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(task).detach();
    }
}

/// tokio.
#[derive(Clone, Copy, Debug)]
pub struct Tokio;

impl Runtime for Tokio {
    const NAME: &'static str = "tokio";

    type Relay = homing_relay::Tokio;
    type Io = Compat<homing_tokio::Io>;
    type Clock = homing_tokio::TokioClock;
    type Tunnel = Compat<homing_tokio::TunnelStream>;
    type Tcp = Compat<tokio::net::TcpStream>;
    type Listener = tokio::net::TcpListener;

    async fn dial(url: &RelayUrl, tls: &ClientTls) -> Result<homing_tokio::Socket, DialError> {
        homing_tokio::dial(url, tls, endpoint_config()).await
    }

    async fn seek(url: &RelayUrl, tls: &ClientTls, seek: Seek) -> Result<(homing_tokio::Socket, RelayUrl), DialError> {
        homing_tokio::seek(url, tls, endpoint_config(), seek).await
    }

    fn tunnel(stream: Stream) -> Self::Tunnel {
        homing_tokio::TunnelStream::from(stream).compat()
    }

    async fn connect(address: SocketAddr) -> io::Result<Self::Tcp> {
        let tcp = tokio::net::TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        Ok(tcp.compat())
    }

    async fn listen() -> io::Result<(Self::Listener, SocketAddr)> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    }

    async fn accept(listener: &Self::Listener) -> io::Result<Self::Tcp> {
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        Ok(tcp.compat())
    }

    async fn sleep(time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn run<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
        static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
        });
        RUNTIME.block_on(RUNTIME.spawn(future)).expect("no panic")
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }
}
