//! Where the load goes: a relay's address, and whom to trust there.

use core::net::{Ipv4Addr, SocketAddr};
use std::io;
use std::path::Path;
use std::sync::Arc;

use homing_tokio::{ClientTls, Io, prepare};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls_pki_types::ServerName;
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

/// Source addresses that connections take in turn: one has 28,000 ports.
const SOURCES: usize = 64;

#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// What the relay is called in proofs.
    pub(crate) name: String,
    tls: Option<Arc<ClientConfig>>,
}

impl Target {
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self { address, name: address.to_string(), tls: None }
    }

    /// With TLS, trusting the authority in a PEM file. Every handshake is a full one.
    pub(crate) fn encrypted(address: SocketAddr, authority: &Path) -> Self {
        let mut config = (*ClientTls::trusting(authority).config().unwrap()).clone();
        config.resumption = Resumption::disabled();
        Self { address, name: format!("localhost:{}", address.port()), tls: Some(Arc::new(config)) }
    }

    /// The same relay behind something that listens at `address`.
    pub(crate) fn through(&self, address: SocketAddr) -> Self {
        Self { address, ..self.clone() }
    }

    /// A connection from one of the source addresses, inside TLS where the relay speaks it.
    pub(crate) async fn connect(&self, number: usize) -> io::Result<Io> {
        let socket = TcpSocket::new_v4()?;
        let last = u8::try_from(2 + number % SOURCES).unwrap_or(2);
        socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into())?;
        let tcp = socket.connect(self.address).await?;
        prepare(&tcp)?;
        let Some(config) = &self.tls else { return Ok(Io::Plain(tcp)) };
        let server = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let stream = TlsConnector::from(config.clone()).connect(server, tcp).await?;
        Ok(Io::Tls(Box::new(stream.into())))
    }
}
