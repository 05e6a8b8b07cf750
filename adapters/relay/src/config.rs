//! What a relay needs to be told, and why it may refuse to start.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use homing_driver::relay::{Certificates, TlsError};
use ipnet::IpNet;

use crate::account::{Admit, HostLimits};
use crate::address::AddressLimits;
use crate::directory::Directory;
use crate::hub::Tap;

/// Who may register a host.
#[derive(Clone)]
pub enum Admission {
    /// Everybody who reaches the relay; loopback only.
    Open,
    /// Everybody who reaches the relay, from anywhere: whoever finds it may use it, its name and its traffic.
    OpenToEveryone,
    /// Hosts that show this operator key, kept as its hash:
    /// [`operator_hash`](homing_core::hop::operator_hash).
    Key([u8; 32]),
    /// Hosts that this lets in.
    Ask(Arc<dyn Admit>),
}

// The hash of a key is nothing to print.
impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "Open",
            Self::OpenToEveryone => "OpenToEveryone",
            Self::Key(_) => "Key(..)",
            Self::Ask(_) => "Ask(..)",
        })
    }
}

/// A certificate chain and its private key, both PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, the relay's own certificate first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// How a relay is to run.
#[derive(Clone)]
pub struct RelayConfig {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// TLS, where no proxy in front does it.
    pub tls: Option<TlsFiles>,
    /// Certificates that the relay gets while it runs, in place of files.
    pub certificates: Option<Arc<Certificates>>,
    /// The authorities, in a PEM file, of one of which each host has to show a certificate. Nobody has to where there is
    /// none; without TLS nobody can.
    pub client_ca: Option<PathBuf>,
    /// Who may register a host.
    pub admission: Admission,
    /// The names it is dialled by, `host[:port]` in lower case; any where there are none.
    pub names: Vec<String>,
    /// Links at once; more are turned away with 503. Each place takes about 1 KiB from the start.
    pub max_links: usize,
    /// Bytes of all channels' windows together: the most that may wait in queues. A channel takes 128 KiB to begin with,
    /// and dials are refused as busy where that is not there.
    pub queues: u64,
    /// Connections at once that are no link yet, or whose link has not said who it is; more are turned away with 503, or an
    /// alert of TLS.
    pub max_handshakes: usize,
    /// How long links may take to move away, once they were told that the relay is about to stop.
    pub drain: Duration,
    /// Where to tell how the relay does, to those who watch over it: metrics, readiness, a page. Nowhere where there is none.
    pub metrics: Option<SocketAddr>,
    /// What one address may take.
    pub addresses: AddressLimits,
    /// What one host may use, where its plan does not say.
    pub hosts: HostLimits,
    /// How long a link's socket may take nothing of what waits for it.
    pub stall: Duration,
    /// Proxies in front, which are believed where they say in `X-Forwarded-For` whom they speak for.
    pub proxies: Vec<IpNet>,
    /// Whether those proxies begin each connection with the PROXY protocol, version 1 or 2. Then one of theirs that does
    /// not is dropped; others are served as they are.
    pub proxy_protocol: bool,
    /// Whether the log may say which addresses connections come from.
    pub log_addresses: bool,
    /// Which relay serves which route, where there are several; none where this one is alone.
    pub directory: Option<Arc<dyn Directory>>,
    /// Sees each forwarded record's size and direction.
    pub tap: Option<Tap>,
}

/// The time to move away, where nobody says otherwise.
pub const DRAIN_TIME: Duration = Duration::from_secs(10);

/// How long a socket may take nothing, where nobody says otherwise.
pub const STALL_TIME: Duration = Duration::from_secs(2);

impl RelayConfig {
    /// A relay for this machine, or behind a proxy on it.
    #[must_use]
    pub const fn new(listen: SocketAddr, admission: Admission) -> Self {
        Self {
            listen,
            tls: None,
            certificates: None,
            client_ca: None,
            admission,
            names: Vec::new(),
            max_links: 4096,
            queues: 256 << 20,
            max_handshakes: 1024,
            drain: DRAIN_TIME,
            metrics: None,
            addresses: AddressLimits::USUAL,
            hosts: HostLimits::USUAL,
            stall: STALL_TIME,
            proxies: Vec::new(),
            proxy_protocol: false,
            log_addresses: false,
            directory: None,
            tap: None,
        }
    }

    pub(crate) fn check(&self) -> Result<(), RelayError> {
        if matches!(self.admission, Admission::Open) && !self.listen.ip().is_loopback() {
            return Err(RelayError::OpenToAll { listen: self.listen });
        }
        if self.proxy_protocol && self.proxies.is_empty() {
            return Err(RelayError::NoProxies);
        }
        Ok(())
    }
}

impl fmt::Debug for RelayConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayConfig")
            .field("listen", &self.listen)
            .field("tls", &self.tls)
            .field("admission", &self.admission)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// Why a relay cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// Anybody could use it.
    #[error(
        "an open relay on {listen} could be used by anybody who finds it: listen on 127.0.0.1, ask for keys (without --open), or say \
         --open-to-everyone where that is what you want"
    )]
    OpenToAll {
        /// The address asked for.
        listen: SocketAddr,
    },
    /// The address is taken or not allowed.
    #[error("cannot listen on {listen}: {error}")]
    Listen {
        /// The address asked for.
        listen: SocketAddr,
        /// The system's reason.
        error: io::Error,
    },
    /// Anybody could say who they are.
    #[error("the PROXY protocol is believed from named proxies only: name their addresses (--trusted-proxy)")]
    NoProxies,
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}
