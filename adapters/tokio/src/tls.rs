//! TLS on tokio: both ends of its handshake.

use std::io;
use std::sync::Arc;

use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::socket::Io;

pub(crate) async fn connect(config: Arc<ClientConfig>, host: &str, tcp: TcpStream) -> io::Result<Io> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(config).connect(name, tcp).await?;
    Ok(Io::Tls(Box::new(stream.into())))
}

pub(crate) async fn accept(config: Arc<ServerConfig>, tcp: TcpStream) -> io::Result<Io> {
    let stream = TlsAcceptor::from(config).accept(tcp).await?;
    Ok(Io::Tls(Box::new(stream.into())))
}
