//! Connections to services over TCP, TLS and Unix sockets.

use core::net::IpAddr;
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
use super::address::{Forbidden, Names, fit};
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
    names: Names,
}

impl core::fmt::Debug for Connector {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Connector").field("tls", &self.tls.is_some()).finish()
    }
}

impl Connector {
    pub(super) fn new(exposed: &Exposed) -> Result<Self, ExposeError> {
        if !matches!(exposed.target, Target::Https { .. }) {
            return Ok(Self { tls: None, names: Names::System });
        }
        let wrong = |error: rustls::Error| ExposeError::Tls(error.to_string());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = match &exposed.options.ca {
            Some(ca) => config.map_err(wrong)?.with_root_certificates(ca.roots().map_err(wrong)?),
            None => config.and_then(BuilderVerifierExt::with_platform_verifier).map_err(wrong)?,
        };
        Ok(Self::with_tls(exposed, Arc::new(config.with_no_client_auth())))
    }

    pub(super) fn with_tls(exposed: &Exposed, config: Arc<ClientConfig>) -> Self {
        let tls = matches!(exposed.target, Target::Https { .. }).then(|| TlsConnector::from(config));
        Self { tls, names: Names::System }
    }
}

/// An open connection to a service.
#[derive(Debug)]
pub(super) enum Transport {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

/// Why there is no connection.
enum NotDialled {
    Io(io::Error),
    Forbidden(IpAddr, Forbidden),
    Tls(rustls::Error),
}

impl From<io::Error> for NotDialled {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Connects to a service, waiting for at most 10 seconds.
pub(super) async fn connect(service: &Remote) -> Result<Transport, ServiceError> {
    let name = || service.exposed.name.clone();
    match tokio::time::timeout(CONNECT_TIMEOUT, service.connector.dial(&service.exposed)).await {
        Ok(Ok(transport)) => Ok(transport),
        Ok(Err(NotDialled::Forbidden(address, why))) => {
            Err(ServiceError::Forbidden { service: name(), address, source: why })
        }
        Ok(Err(NotDialled::Tls(source))) => Err(ServiceError::Tls { service: name(), source }),
        Ok(Err(NotDialled::Io(source))) if source.kind() == io::ErrorKind::TimedOut => {
            Err(ServiceError::TimedOut { service: name() })
        }
        Ok(Err(NotDialled::Io(source))) => Err(ServiceError::Unreachable { service: name(), source }),
        Err(_) => Err(ServiceError::TimedOut { service: name() }),
    }
}

impl Connector {
    async fn dial(&self, exposed: &Exposed) -> Result<Transport, NotDialled> {
        Ok(match &exposed.target {
            Target::Http { host, port } | Target::Tcp { host, port } => {
                Transport::Tcp(self.dial_tcp(host, *port).await?)
            }
            Target::Https { host, port } => {
                let tls = self.tls.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
                let name = match &exposed.options.server_name {
                    Some(name) => name.clone(),
                    None => ServerName::try_from(host.clone()).map_err(io::Error::other)?,
                };
                let tcp = self.dial_tcp(host, *port).await?;
                Transport::Tls(Box::new(tls.connect(name, tcp).await.map_err(not_agreed)?))
            }
            Target::Unix { path } | Target::HttpUnix { path } => Transport::Unix(UnixStream::connect(path).await?),
        })
    }

    /// Resolves, checks, and connects to what was checked: a name is not asked for twice.
    async fn dial_tcp(&self, host: &str, port: u16) -> Result<TcpStream, NotDialled> {
        let addresses = fit(host, self.names.resolve(host, port).await?)?;
        let addresses = addresses.map_err(|(address, why)| NotDialled::Forbidden(address, why))?;
        let tcp = TcpStream::connect(addresses.as_slice()).await?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }
}

/// What TLS itself says, where it is the reason.
fn not_agreed(error: io::Error) -> NotDialled {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => NotDialled::Tls(tls.clone()),
        None => NotDialled::Io(error),
    }
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

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicUsize, Ordering};

    use tokio::net::TcpListener;

    use super::*;

    /// A service whose names are answered for by `answer`.
    fn remote(url: &str, answer: impl Fn(&str) -> Vec<IpAddr> + Send + Sync + 'static) -> Remote {
        let exposed: Exposed = format!("web={url}").parse().unwrap();
        let connector = Connector { tls: None, names: Names::Fixed(Arc::new(answer)) };
        let pool = Pool::new(&exposed.options);
        Remote { exposed, connector, pool }
    }

    #[tokio::test]
    async fn a_name_that_is_bound_anew_leads_nowhere() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for (ip, wanted) in [
            ("127.0.0.1", Forbidden::Loopback),
            ("::ffff:127.0.0.1", Forbidden::Loopback),
            ("169.254.169.254", Forbidden::LinkLocal),
        ] {
            for scheme in ["http", "tcp"] {
                let ip: IpAddr = ip.parse().unwrap();
                let service = remote(&format!("{scheme}://app.example:{port}"), move |_| vec![ip]);
                let error = connect(&service).await.unwrap_err();
                let ServiceError::Forbidden { address, source, .. } = &error else { panic!("{error}") };
                assert_eq!((*address, *source), (ip, wanted));
            }
        }
        let accepted = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(accepted.is_err(), "somebody connected");
    }

    #[tokio::test]
    async fn the_connection_goes_to_the_address_that_was_checked() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // Whoever asks a second time is led elsewhere.
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        let service = remote(&format!("http://localhost:{port}"), move |name| {
            assert_eq!(name, "localhost");
            let first = counter.fetch_add(1, Ordering::SeqCst) == 0;
            vec![if first { "127.0.0.1" } else { "169.254.169.254" }.parse().unwrap()]
        });
        connect(&service).await.unwrap();
        listener.accept().await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert!(matches!(connect(&service).await, Err(ServiceError::Forbidden { .. })));
    }
}
