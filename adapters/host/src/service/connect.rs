//! Connections to services over TCP, TLS and Unix sockets.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::ServiceError;
use super::pool::Pool;
use super::target::{ExposeError, Exposed, Target};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A service behind a socket, with its connections.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) exposed: Exposed,
    pub(super) connector: Connector,
    pub(super) pool: Arc<Pool>,
}

/// What is needed besides the target to connect to it.
#[derive(Clone)]
pub(super) struct Connector {
    tls: Option<TlsConnector>,
}

impl core::fmt::Debug for Connector {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Connector").field("tls", &self.tls.is_some()).finish()
    }
}

impl Connector {
    pub(super) fn new(exposed: &Exposed) -> Result<Self, ExposeError> {
        if !matches!(exposed.target, Target::Https { .. }) {
            return Ok(Self { tls: None });
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(BuilderVerifierExt::with_platform_verifier)
            .map_err(|e| ExposeError::Tls(e.to_string()))?
            .with_no_client_auth();
        Ok(Self::with_tls(exposed, Arc::new(config)))
    }

    pub(super) fn with_tls(exposed: &Exposed, config: Arc<ClientConfig>) -> Self {
        let tls = matches!(exposed.target, Target::Https { .. }).then(|| TlsConnector::from(config));
        Self { tls }
    }
}

/// An open connection to a service.
#[derive(Debug)]
pub(super) enum Transport {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

/// Connects to a service, waiting for at most 10 seconds.
pub(super) async fn connect(service: &Remote) -> Result<Transport, ServiceError> {
    let name = || service.exposed.name.clone();
    match tokio::time::timeout(CONNECT_TIMEOUT, dial(&service.exposed.target, &service.connector)).await {
        Ok(Ok(transport)) => Ok(transport),
        Ok(Err(source)) if source.kind() == io::ErrorKind::TimedOut => Err(ServiceError::TimedOut { service: name() }),
        Ok(Err(source)) => Err(ServiceError::Unreachable { service: name(), source }),
        Err(_) => Err(ServiceError::TimedOut { service: name() }),
    }
}

async fn dial(target: &Target, connector: &Connector) -> io::Result<Transport> {
    Ok(match target {
        Target::Http { host, port } | Target::Tcp { host, port } => Transport::Tcp(dial_tcp(host, *port).await?),
        Target::Https { host, port } => {
            let tls = connector.tls.as_ref().ok_or(io::ErrorKind::Unsupported)?;
            let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
            Transport::Tls(Box::new(tls.connect(name, dial_tcp(host, *port).await?).await?))
        }
        Target::Unix { path } | Target::HttpUnix { path } => Transport::Unix(UnixStream::connect(path).await?),
    })
}

async fn dial_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect((host, port)).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

macro_rules! each {
    ($self:ident, $io:ident => $call:expr) => {
        match $self.get_mut() {
            Transport::Tcp($io) => $call,
            Transport::Tls($io) => $call,
            Transport::Unix($io) => $call,
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, io => Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, io => Pin::new(io).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, io => Pin::new(io).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => Pin::new(io).poll_shutdown(cx))
    }
}
