//! TLS on smol: both ends of its handshake.

mod stream;
#[cfg(test)]
mod stream_tests;

use std::io;
use std::sync::Arc;

use async_net::TcpStream;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use rustls_pki_types::ServerName;

use crate::socket::Io;

pub use stream::TlsStream;

pub(crate) async fn connect(config: Arc<ClientConfig>, host: &str, tcp: TcpStream) -> io::Result<Io> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
    Ok(Io::Tls(Box::new(TlsStream::handshake(connection, tcp).await?)))
}

pub(crate) async fn accept(config: Arc<ServerConfig>, tcp: TcpStream) -> io::Result<Io> {
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    Ok(Io::Tls(Box::new(TlsStream::handshake(connection, tcp).await?)))
}
