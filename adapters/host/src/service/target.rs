//! `NAME=URL` as an operator writes it; nothing here connects.

use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;
use std::path::PathBuf;

use super::address::{self, Forbidden};
use super::options::Options;

/// A service as the operator exposed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// What devices call it: `[a-z0-9][a-z0-9-]{0,31}`.
    pub name: String,
    /// Where it lives.
    pub target: Target,
    /// How it is reached.
    pub options: Options,
}

impl Exposed {
    /// A service as the parts of its section say.
    ///
    /// # Errors
    /// [`ExposeError`], where a name is none, or an option is not for a service at such a target.
    pub fn new(name: &str, target: Target, options: Options) -> Result<Self, ExposeError> {
        options.check(&target).map_err(|error| ExposeError::Options(name.to_owned(), error.to_string()))?;
        Ok(Self { name: check_name(name)?.to_owned(), target, options })
    }

    /// Whether its credential crosses a network where others may read it.
    #[must_use]
    pub fn shows_its_credential(&self) -> bool {
        let far = match &self.target {
            Target::Http { host, .. } => {
                !host.parse().map_or_else(|_| address::is_localhost(host), |ip: IpAddr| ip.is_loopback())
            }
            _ => false,
        };
        far && self.options.credential.is_some()
    }
}

/// Where a service lives and what is spoken there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// HTTP over TCP.
    Http {
        /// Name or address, IPv6 without brackets.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// HTTP over TLS.
    Https {
        /// Name or address, IPv6 without brackets.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// Bytes over TCP.
    Tcp {
        /// Name or address, IPv6 without brackets.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// Bytes over a Unix socket.
    Unix {
        /// Absolute path of the socket.
        path: PathBuf,
    },
    /// HTTP over a Unix socket.
    HttpUnix {
        /// Absolute path of the socket.
        path: PathBuf,
    },
}

/// Why a service cannot be exposed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExposeError {
    /// There is no `=`.
    #[error("write NAME=URL, such as web=http://127.0.0.1:3000")]
    NoName,
    /// The name has a letter it may not have, or too many.
    #[error("service name {0:?}: use 1 to 32 of a-z, 0-9 and -, the first not a -")]
    Name(String),
    /// The URL has another scheme or none.
    #[error("{0:?}: start with http://, https://, tcp://, unix:/// or http+unix:///")]
    Scheme(String),
    /// The URL holds a user or password.
    #[error("{0}: leave user and password out of the URL")]
    UserInfo(&'static str),
    /// The URL goes on after the port.
    #[error("{0:?}: end after the port; path, query and fragment come from the device")]
    Path(String),
    /// Host or port cannot be read.
    #[error("{0:?}: write HOST:PORT, such as 127.0.0.1:3000 or [::1]:3000")]
    Address(String),
    /// The host does not connect to this address.
    #[error("the host does not connect to {0}: it is {1}")]
    Forbidden(IpAddr, #[source] Forbidden),
    /// The socket's path is not absolute.
    #[error("{0:?}: give the socket's absolute path, such as unix:///run/app.sock")]
    Socket(String),
    /// The name is in use already.
    #[error("service name {0:?} is given twice: rename one")]
    Twice(String),
    /// Certificates cannot be used.
    #[error("https needs the certificates of the system, or of `ca`: {0}")]
    Tls(String),
    /// It cannot be reached as wanted.
    #[error("service {0:?}: {1}")]
    Options(String, String),
}

impl FromStr for Exposed {
    type Err = ExposeError;

    fn from_str(text: &str) -> Result<Self, ExposeError> {
        let (name, url) = text.split_once('=').ok_or(ExposeError::NoName)?;
        Self::new(name, url.parse()?, Options::default())
    }
}

pub(crate) fn check_name(name: &str) -> Result<&str, ExposeError> {
    let fits = (1..=32).contains(&name.len())
        && !name.starts_with('-')
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if fits { Ok(name) } else { Err(ExposeError::Name(name.to_owned())) }
}

impl FromStr for Target {
    type Err = ExposeError;

    fn from_str(url: &str) -> Result<Self, ExposeError> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| ExposeError::Scheme(url.to_owned()))?;
        match scheme {
            "http" => parse_address(rest, Some(80)).map(|(host, port)| Self::Http { host, port }),
            "https" => parse_address(rest, Some(443)).map(|(host, port)| Self::Https { host, port }),
            "tcp" => parse_address(rest, None).map(|(host, port)| Self::Tcp { host, port }),
            "unix" => parse_socket(rest).map(|path| Self::Unix { path }),
            "http+unix" => parse_socket(rest).map(|path| Self::HttpUnix { path }),
            _ => Err(ExposeError::Scheme(format!("{scheme}://"))),
        }
    }
}

fn parse_address(rest: &str, default_port: Option<u16>) -> Result<(String, u16), ExposeError> {
    if rest.contains('@') {
        return Err(ExposeError::UserInfo("URL")); // said without repeating it: it may hold a password
    }
    let address = rest.strip_suffix('/').unwrap_or(rest);
    if address.contains(['/', '?', '#', '\\']) {
        return Err(ExposeError::Path(rest.to_owned()));
    }
    let wrong = || ExposeError::Address(address.to_owned());
    let (host, port) = if let Some(v6) = address.strip_prefix('[') {
        let (host, after) = v6.split_once(']').ok_or_else(wrong)?;
        host.parse::<core::net::Ipv6Addr>().map_err(|_| wrong())?;
        (host, if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or_else(wrong)?) })
    } else {
        let (host, port) = address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port)));
        let fits = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
        if host.is_empty() || host.len() > 253 || !fits {
            return Err(wrong());
        }
        (host, port)
    };
    let port = match port {
        // `u16::from_str` would take a sign.
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => port.parse().map_err(|_| wrong())?,
        Some(_) => return Err(wrong()),
        None => default_port.ok_or_else(wrong)?,
    };
    if port == 0 {
        return Err(wrong());
    }
    if let Ok(ip) = host.parse() {
        address::check(None, ip).map_err(|why| ExposeError::Forbidden(ip, why))?;
    }
    Ok((host.to_owned(), port))
}

fn parse_socket(rest: &str) -> Result<PathBuf, ExposeError> {
    if rest.len() < 2 || !rest.starts_with('/') || rest.contains('\0') {
        return Err(ExposeError::Socket(rest.to_owned()));
    }
    Ok(PathBuf::from(rest))
}

impl Target {
    /// The kind for listings: `http`, `tcp` or `unix`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Http { .. } | Self::Https { .. } | Self::HttpUnix { .. } => "http",
            Self::Tcp { .. } => "tcp",
            Self::Unix { .. } => "unix",
        }
    }

    /// What the service finds in `Host`.
    #[must_use]
    pub fn authority(&self) -> String {
        match self {
            Self::Http { host, port: 80 } | Self::Https { host, port: 443 } => bracketed(host),
            Self::Http { host, port } | Self::Https { host, port } | Self::Tcp { host, port } => {
                format!("{}:{port}", bracketed(host))
            }
            Self::Unix { .. } | Self::HttpUnix { .. } => "localhost".to_owned(),
        }
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { .. } => write!(f, "http://{}", self.authority()),
            Self::Https { .. } => write!(f, "https://{}", self.authority()),
            Self::Tcp { .. } => write!(f, "tcp://{}", self.authority()),
            Self::Unix { path } => write!(f, "unix://{}", path.display()),
            Self::HttpUnix { path } => write!(f, "http+unix://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_scheme() {
        for (text, kind, shown, authority) in [
            ("web=http://127.0.0.1:3000", "http", "http://127.0.0.1:3000", "127.0.0.1:3000"),
            ("web=http://localhost/", "http", "http://localhost", "localhost"),
            ("w-1=https://[::1]:8443/", "http", "https://[::1]:8443", "[::1]:8443"),
            ("ssh=tcp://nas.lan:22", "tcp", "tcp://nas.lan:22", "nas.lan:22"),
            ("db=unix:///run/db.sock", "unix", "unix:///run/db.sock", "localhost"),
            ("app=http+unix:///run/app.sock", "http", "http+unix:///run/app.sock", "localhost"),
        ] {
            let exposed: Exposed = text.parse().unwrap();
            assert_eq!(exposed.target.kind(), kind, "{text}");
            assert_eq!(exposed.target.to_string(), shown);
            assert_eq!(exposed.target.authority(), authority);
            assert_eq!(exposed.target.to_string().parse::<Target>().unwrap(), exposed.target);
        }
    }

    #[test]
    fn refuses_what_it_cannot_mean() {
        for text in [
            "",
            "web",
            "=http://a:1",
            "Web=http://a:1",
            "-w=http://a:1",
            "w_w=http://a:1",
            "w=a:1",
            "w=ftp://a:1",
            "w=http://u:p@a:1",
            "w=http://a:1/app",
            "w=http://a:1?q",
            "w=http://a:1#f",
            "w=http://:1",
            "w=http://a:0",
            "w=http://a:65536",
            "w=http://a:+1",
            "w=http://a:",
            "w=http://a b:1",
            "w=http://[::1",
            "w=http://[::1]8",
            "w=http://[g]:8",
            "w=http://::1:8",
            "w=tcp://a",
            "w=unix://run/a",
            "w=unix:///",
            "w=http+unix://",
            "w=http://a\r\nX:1",
        ] {
            assert!(text.parse::<Exposed>().is_err(), "{text:?} was taken");
        }
        let long = format!("{}=http://a:1", "a".repeat(33));
        assert_eq!(long.parse::<Exposed>(), Err(ExposeError::Name("a".repeat(33))));
    }

    #[test]
    fn refuses_addresses_that_are_never_dialled() {
        for host in
            ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.1.1]", "0.0.0.0", "[::]", "224.0.0.1", "[ff02::1]"]
        {
            for scheme in ["http", "https", "tcp"] {
                let error = format!("w={scheme}://{host}:80").parse::<Exposed>().unwrap_err();
                assert!(matches!(error, ExposeError::Forbidden(..)), "{error}");
            }
        }
    }

    #[test]
    fn never_repeats_a_password() {
        let error = "w=http://user:hunter2@a:1".parse::<Exposed>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}
