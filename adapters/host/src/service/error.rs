//! Why a service was not reached, or not to the end.

use core::net::IpAddr;
use std::io;

use super::Forbidden;

/// Why a stream ended before its time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// Nothing answers where the service should be.
    #[error("service {service} is not reachable, is it running? {source}")]
    Unreachable {
        /// The service's name.
        service: String,
        /// What the system said.
        source: io::Error,
    },
    /// The service took longer than 10 seconds to accept the connection.
    #[error("service {service} did not accept the connection in time")]
    TimedOut {
        /// The service's name.
        service: String,
    },
    /// The service is where the host does not connect to.
    #[error("service {service} is at {address}, to which the host does not connect: it is {source}")]
    Forbidden {
        /// The service's name.
        service: String,
        /// Its address.
        address: IpAddr,
        /// What speaks against it.
        source: Forbidden,
    },
    /// The service's TLS is not what the host wants.
    #[error("service {service} is not trusted: {source}{}", advice(source))]
    Tls {
        /// The service's name.
        service: String,
        /// What is wrong.
        source: rustls::Error,
    },
    /// All connections that the service may have are in use.
    #[error("service {service} is busy: all its connections are in use; `max_connections` sets how many there are")]
    Busy {
        /// The service's name.
        service: String,
    },
    /// The stream or the service broke off in the middle.
    #[error("broken off: {0}")]
    Broken(#[from] io::Error),
    /// The device's HTTP could not be read, or it left in the middle.
    #[error("http ended early: {0}")]
    Http(#[from] hyper::Error),
}

impl ServiceError {
    /// What the audit trail calls it, where somebody was turned away.
    pub(crate) const fn refusal(&self) -> Option<&'static str> {
        match self {
            Self::Forbidden { .. } => Some("forbidden address"),
            Self::Tls { .. } => Some("untrusted service"),
            _ => None,
        }
    }
}

/// What the owner can do about it.
const fn advice(error: &rustls::Error) -> &'static str {
    use rustls::CertificateError as E;
    match error {
        // A bad signature is that of another CA with the same name, such as one that was made anew.
        rustls::Error::InvalidCertificate(E::UnknownIssuer | E::BadSignature) => {
            "; name the file with its CA's certificate with `ca` in the service's section of homing.toml"
        }
        rustls::Error::InvalidCertificate(E::NotValidForName | E::NotValidForNameContext { .. }) => {
            "; say which name its certificate has with `server_name` in the service's section of homing.toml"
        }
        rustls::Error::InvalidCertificate(
            E::Expired | E::ExpiredContext { .. } | E::NotValidYet | E::NotValidYetContext { .. },
        ) => "; renew its certificate, or set this machine's clock",
        rustls::Error::InvalidMessage(_) => "; does it speak TLS? Services that do not have http:// URLs",
        _ => "",
    }
}
