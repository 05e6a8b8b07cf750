//! Why a relay could not be dialled.

use core::time::Duration;
use std::io;

use async_tungstenite::tungstenite::Error as WsError;
use async_tungstenite::tungstenite::error::ProtocolError;
use async_tungstenite::tungstenite::http::header::{LOCATION, RETRY_AFTER};
use async_tungstenite::tungstenite::http::{HeaderValue, Response, StatusCode};

use super::tls::TlsError;
use super::upgrade::redirect;
use super::url::RelayUrl;
use super::websocket::PATH;
use crate::retry;

/// Why a relay could not be dialled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// No connection: name, network, or nobody listens.
    #[error("cannot reach {relay}: {error}; check the address and that the relay runs")]
    Unreachable {
        /// The relay's name.
        relay: Box<str>,
        /// The system's reason.
        error: io::Error,
    },
    /// TLS is not set up on this machine.
    #[error(transparent)]
    TlsSetup(#[from] TlsError),
    /// The relay's certificate was refused, or it speaks no TLS.
    #[error(
        "no TLS with {relay}: {error}; check the relay's certificate, and for a private authority set \
         SSL_CERT_FILE to its PEM file"
    )]
    Tls {
        /// The relay's name.
        relay: Box<str>,
        /// The library's reason.
        error: io::Error,
    },
    /// The relay asks for a certificate of this machine, and does not take the one it has.
    #[error(
        "{relay} does not take this machine's certificate: {error}; it has to be from the authority that the relay's \
         operator names, and still be valid"
    )]
    Certificate {
        /// The relay's name.
        relay: Box<str>,
        /// What it says of it.
        error: io::Error,
    },
    /// It speaks HTTP, yet is no relay of this protocol.
    #[error("{relay} answered {status} instead of opening a link; is it a homing relay, and its URL right?")]
    NotARelay {
        /// The relay's name.
        relay: Box<str>,
        /// The HTTP status, 101 where the upgrade came without our subprotocol, or with an extension.
        status: u16,
    },
    /// It is a relay without room, for all or for this address: later, or elsewhere.
    #[error("{relay} has no room for another link; trying again later")]
    Full {
        /// The relay's name.
        relay: Box<str>,
        /// How long there is no use in coming back, where it says so: no more than
        /// [`LONGEST_TOLD`](homing_core::backoff::LONGEST_TOLD).
        retry_after: Option<Duration>,
    },
    /// Another relay of its cluster serves the route: dial that.
    #[error("{relay} says to ask {to} instead")]
    Elsewhere {
        /// The relay's name.
        relay: Box<str>,
        /// The other's address.
        to: Box<RelayUrl>,
    },
    /// It sends endpoints where they do not go.
    #[error("{relay} sends elsewhere, {why}, which is not followed; is its cluster set up right?")]
    Misled {
        /// The relay's name.
        relay: Box<str>,
        /// What is wrong with the address.
        why: Box<str>,
    },
    /// The relays of its cluster send endpoints to each other.
    #[error("the relays behind {relay} send to each other in circles; trying again later")]
    Circle {
        /// The name of the first one.
        relay: Box<str>,
    },
    /// Its cluster has no place for this link of the host.
    #[error(
        "the cluster of {relay} has this host already, or as often as it may: name each cluster once or twice, as its operator says"
    )]
    Attached {
        /// The relay's name.
        relay: Box<str>,
    },
    /// It knows nothing of hosts that wait.
    #[error("{relay} lets no host wait; update the relay, or start this host without --on-demand")]
    NoWaiting {
        /// The relay's name.
        relay: Box<str>,
    },
    /// The answer is no HTTP.
    #[error("{relay} gave no proper WebSocket answer: {error}; is it a homing relay?")]
    Garbled {
        /// The relay's name.
        relay: Box<str>,
        /// The library's reason.
        error: Box<WsError>,
    },
    /// No answer in [`DIAL_TIMEOUT`](super::DIAL_TIMEOUT).
    #[error("{relay} did not answer in 10 s; check the network between here and there")]
    Timeout {
        /// The relay's name.
        relay: Box<str>,
    },
}

impl DialError {
    /// No connection to the relay, for the system's reason.
    #[must_use]
    pub fn unreachable(url: &RelayUrl, error: io::Error) -> Self {
        Self::Unreachable { relay: url.authority().into(), error }
    }

    /// No TLS with the relay, for the library's reason.
    #[must_use]
    pub fn tls(url: &RelayUrl, error: io::Error) -> Self {
        if is_about_ours(&error) {
            return Self::Certificate { relay: url.authority().into(), error };
        }
        Self::Tls { relay: url.authority().into(), error }
    }

    /// How long the relay said that there is no use in coming back, where it did.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Full { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// No answer in time.
    #[must_use]
    pub fn timeout(url: &RelayUrl) -> Self {
        Self::Timeout { relay: url.authority().into() }
    }

    /// What an answer means that is not what was asked for at `path`.
    #[must_use]
    pub fn answered<B>(url: &RelayUrl, answer: &Response<B>, path: &str) -> Self {
        let relay = url.authority().into();
        let said = |name| answer.headers().get(name).map(HeaderValue::as_bytes);
        match answer.status() {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                Self::Full { relay, retry_after: said(RETRY_AFTER).and_then(retry::header) }
            }
            StatusCode::CONFLICT => Self::Attached { relay },
            StatusCode::TEMPORARY_REDIRECT => redirect(url, said(LOCATION), path),
            status => Self::NotARelay { relay, status: status.as_u16() },
        }
    }

    /// What a failed WebSocket handshake says of the relay.
    pub(super) fn refusal(url: &RelayUrl, error: WsError) -> Self {
        let relay = url.authority().into();
        match error {
            WsError::Http(answer) => Self::answered(url, &answer, PATH),
            WsError::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)) => {
                Self::NotARelay { relay, status: StatusCode::SWITCHING_PROTOCOLS.as_u16() }
            }
            WsError::Io(error) if is_about_ours(&error) => Self::Certificate { relay, error },
            WsError::Io(error) => Self::Unreachable { relay, error },
            other => Self::Garbled { relay, error: Box::new(other) },
        }
    }
}

/// Whether the other end of TLS says that it does not take our certificate. It may do so after the handshake.
fn is_about_ours(error: &io::Error) -> bool {
    use rustls::AlertDescription as A;
    let said = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(
        said,
        Some(rustls::Error::AlertReceived(
            A::BadCertificate
                | A::UnsupportedCertificate
                | A::CertificateRevoked
                | A::CertificateExpired
                | A::CertificateUnknown
                | A::UnknownCA
                | A::DecryptError
                | A::CertificateRequired
        ))
    )
}
