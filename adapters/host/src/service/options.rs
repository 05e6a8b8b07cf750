//! How a service is reached beyond where it is: what the host adds to requests, whom it trusts, how many connections.

use core::fmt;
use core::time::Duration;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use zeroize::Zeroizing;

use super::headers;
use super::target::Target;

/// Bytes of a secret.
const MAX_SECRET: usize = 8 << 10;
/// Bytes of a file of certificates.
const MAX_PEM: u64 = 1 << 20;

/// Connections to a service at a time, in use or idle.
pub const MAX_CONNECTIONS: usize = 256;
/// Idle connections that are kept.
pub const IDLE_CONNECTIONS: usize = 64;
/// How long they are kept: less than the 5 seconds after which widespread servers close them, so that theirs rarely races
/// a request.
pub const IDLE_TIME: Duration = Duration::from_secs(4);

/// How a service is reached, besides [where it is](Target). The default is what a plain `NAME=URL` means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What the host says of itself to the service.
    pub credential: Option<Credential>,
    /// Whose certificates an `https` service may show; the system's where there is none.
    pub ca: Option<Ca>,
    /// The name that its certificate has to have, and that is asked for (SNI); the URL's where there is none.
    pub server_name: Option<ServerName<'static>>,
    /// Connections at a time, in use or idle. A request beyond waits for two seconds, and is answered with 503 then.
    pub max_connections: usize,
    /// How many idle ones are kept.
    pub idle_connections: usize,
    /// How long an idle one is kept.
    pub idle_time: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            credential: None,
            ca: None,
            server_name: None,
            max_connections: MAX_CONNECTIONS,
            idle_connections: IDLE_CONNECTIONS,
            idle_time: IDLE_TIME,
        }
    }
}

/// Why a service cannot be reached as wanted. Nothing of a secret is in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// It is not for a service of this kind.
    #[error("`{option}` is for {kinds} services only")]
    Kind {
        /// The option.
        option: &'static str,
        /// Which services can have it.
        kinds: &'static str,
    },
    /// A header that is none, or that is not the owner's to set.
    #[error("{0:?} is no header for a credential; write one such as Authorization or X-Api-Key")]
    Header(String),
    /// A secret that no header can have.
    #[error("the credential is not one line of 1 to {MAX_SECRET} visible characters")]
    Secret,
    /// A file that is not there or cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file without certificates.
    #[error("{} holds no certificates; a CA's begins with -----BEGIN CERTIFICATE-----", .0.display())]
    Pem(PathBuf),
    /// A name that no certificate has.
    #[error("{0:?} is no server name, such as app.internal")]
    ServerName(String),
    /// A number that makes no sense.
    #[error("`max_connections` is at least 1, and `idle_connections` no more than that")]
    Connections,
}

impl Options {
    /// Reads a server's name.
    ///
    /// # Errors
    /// [`OptionsError::ServerName`].
    pub fn parse_server_name(name: &str) -> Result<ServerName<'static>, OptionsError> {
        ServerName::try_from(name.to_owned()).map_err(|_| OptionsError::ServerName(name.to_owned()))
    }

    /// Whether a service with this target can be reached so.
    pub(super) fn check(&self, target: &Target) -> Result<(), OptionsError> {
        let https = matches!(target, Target::Https { .. });
        let pool = (self.max_connections, self.idle_connections, self.idle_time);
        let limited = pool != (MAX_CONNECTIONS, IDLE_CONNECTIONS, IDLE_TIME);
        for (option, set, fits, kinds) in [
            ("ca", self.ca.is_some(), https, "https"),
            ("server_name", self.server_name.is_some(), https, "https"),
            ("credential", self.credential.is_some(), target.kind() == "http", "HTTP"),
            ("max_connections, idle_connections and idle_seconds", limited, target.kind() == "http", "HTTP"),
        ] {
            if set && !fits {
                return Err(OptionsError::Kind { option, kinds });
            }
        }
        if self.max_connections == 0 || self.idle_connections > self.max_connections {
            return Err(OptionsError::Connections);
        }
        Ok(())
    }
}

/// A secret in a header, which tells a service that requests come from its host.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    header: HeaderName,
    value: HeaderValue,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("header", &self.header).finish_non_exhaustive()
    }
}

impl Credential {
    /// Checks a header's name, and its whole value, such as `Bearer …`. The end of a line behind it is left away. The
    /// value is wiped from memory with the last request that has it.
    ///
    /// # Errors
    /// [`OptionsError::Header`], [`OptionsError::Secret`].
    pub fn new(header: &str, mut secret: Zeroizing<Vec<u8>>) -> Result<Self, OptionsError> {
        let header = Self::check_header(header)?;
        while secret.pop_if(|byte| byte.is_ascii_whitespace()).is_some() {}
        let fits = secret.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
        if !fits || secret.starts_with(b" ") || !(1..=MAX_SECRET).contains(&secret.len()) {
            return Err(OptionsError::Secret);
        }
        let value = HeaderValue::from_maybe_shared(Bytes::from_owner(secret)).map_err(|_| OptionsError::Secret);
        let mut value = value?;
        value.set_sensitive(true);
        Ok(Self { header, value })
    }

    /// Whether a header can hold a credential.
    ///
    /// # Errors
    /// [`OptionsError::Header`].
    pub fn check_header(name: &str) -> Result<HeaderName, OptionsError> {
        let wrong = || OptionsError::Header(name.to_owned());
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        if headers::is_ours_or_framing(&header) { Err(wrong()) } else { Ok(header) }
    }

    pub(super) const fn header(&self) -> &HeaderName {
        &self.header
    }

    pub(super) const fn value(&self) -> &HeaderValue {
        &self.value
    }
}

/// Authorities whose certificates a service may show.
#[derive(Clone, PartialEq, Eq)]
pub struct Ca(Vec<CertificateDer<'static>>);

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ca({} certificates)", self.0.len())
    }
}

impl Ca {
    /// Those in a PEM file. Blocks on the disk.
    ///
    /// # Errors
    /// [`OptionsError::Read`], [`OptionsError::Pem`].
    pub fn read(path: &Path) -> Result<Self, OptionsError> {
        let mut pem = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MAX_PEM).read_to_end(&mut pem));
        read.map_err(|source| OptionsError::Read { path: path.to_owned(), source })?;
        let found: Vec<_> = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect();
        if found.is_empty() { Err(OptionsError::Pem(path.to_owned())) } else { Ok(Self(found)) }
    }

    pub(super) fn roots(&self) -> Result<rustls::RootCertStore, rustls::Error> {
        let mut roots = rustls::RootCertStore::empty();
        self.0.iter().try_for_each(|certificate| roots.add(certificate.clone()))?;
        Ok(roots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(header: &str, secret: &str) -> Result<Credential, OptionsError> {
        Credential::new(header, Zeroizing::new(secret.as_bytes().to_vec()))
    }

    #[test]
    fn a_secret_is_one_line_and_shows_nowhere() {
        let credential_of = |secret| credential("Authorization", secret);
        let fine = credential_of("Bearer hunter2\r\n").unwrap();
        assert_eq!(fine.value().as_bytes(), b"Bearer hunter2");
        assert!(
            !format!(
                "{fine:?} {:?} {:#?}",
                fine.value(),
                Options { credential: Some(fine.clone()), ..Options::default() }
            )
            .contains("hunter2")
        );
        for wrong in ["", "\n", " x", "a\nb", "a\r\nX-Other: b", "é", "a\0b", &"x".repeat(MAX_SECRET + 1)] {
            let error = credential_of(wrong).unwrap_err();
            assert!(matches!(error, OptionsError::Secret), "{wrong:?}");
            assert!(wrong.trim().is_empty() || !format!("{error} {error:?}").contains(wrong));
        }
    }

    #[test]
    fn framing_and_identity_are_no_credentials() {
        for name in [
            "Host",
            "connection",
            "Content-Length",
            "Transfer-Encoding",
            "TE",
            "Trailer",
            "Upgrade",
            "Expect",
            "Homing-Device",
            "Homing-Anything",
            "homing_assertion",
            "Forwarded",
            "X-Forwarded-For",
            "X-Real-IP",
            "a b",
            "",
            "Proxy-Connection",
        ] {
            assert!(matches!(credential(name, "x"), Err(OptionsError::Header(_))), "{name}");
        }
        for name in ["Authorization", "Cookie", "X-Api-Key", "Remote-User", "X-Forwarded-User"] {
            assert!(credential(name, "x").is_ok(), "{name}");
        }
    }

    #[test]
    fn options_are_for_services_that_can_have_them() {
        let check = |url: &str, options: &Options| options.check(&url.parse().unwrap()).is_ok();
        let with_name =
            Options { server_name: Some(Options::parse_server_name("app.internal").unwrap()), ..Options::default() };
        assert!(check("https://10.0.0.1", &with_name) && !check("http://10.0.0.1", &with_name));
        let with_credential = Options { credential: Some(credential("Cookie", "x").unwrap()), ..Options::default() };
        assert!(check("http+unix:///run/a.sock", &with_credential) && !check("tcp://10.0.0.1:1", &with_credential));
        let few = Options { max_connections: 3, idle_connections: 3, ..Options::default() };
        assert!(check("http://10.0.0.1", &few) && !check("unix:///run/a.sock", &few));
        assert!(!check("http://10.0.0.1", &Options { max_connections: 3, ..Options::default() }));
        assert!(!check("http://10.0.0.1", &Options { max_connections: 0, idle_connections: 0, ..Options::default() }));
        assert!(check("tcp://10.0.0.1:1", &Options::default()));
        assert!(Options::parse_server_name("a b").is_err());
    }
}
