//! How a relay shows NATS who it is, and whom it trusts there.

use std::path::{Path, PathBuf};

use async_nats::{ConnectError, ConnectErrorKind, ConnectOptions, ServerAddr};
use homing_driver::relay::{ClientTls, TlsError};
use homing_local::{FileError, file};
use zeroize::Zeroizing;

use super::NatsError;

/// How a relay shows NATS who it is. Files hold secrets, so nobody else may read them; they are read anew for each
/// connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NatsAccess {
    /// Not at all.
    #[default]
    Nobody,
    /// By a user's name, and the password in a file.
    Password {
        /// The user's name.
        user: String,
        /// The file.
        password: PathBuf,
    },
    /// By the token in a file.
    Token(PathBuf),
    /// By a key: the file holds its seed, which begins with `SU`.
    Nkey(PathBuf),
    /// By the credentials in a file, as `nsc` writes it.
    Credentials(PathBuf),
}

/// Why a relay cannot show NATS who it is, or trust it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NatsAccessError {
    /// A file that others may read, or that cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// No file.
    #[error("there is no {}, which is to hold {what} for NATS", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// A file that holds something else.
    #[error("{} does not hold {what} for NATS", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The files with the servers' authority, or with this relay's certificate.
    #[error("TLS with NATS: {0}")]
    Tls(TlsError),
}

impl NatsAccess {
    /// What the library is to show.
    pub(super) fn options(&self) -> Result<ConnectOptions, NatsAccessError> {
        let Some((path, what)) = self.file() else { return Ok(ConnectOptions::new()) };
        let other = || NatsAccessError::Other { path: path.to_owned(), what };
        let missing = || NatsAccessError::Missing { path: path.to_owned(), what };
        let bytes = file::read(path)?.ok_or_else(missing)?;
        let text = core::str::from_utf8(&bytes).map_err(|_| other())?.trim();
        let word = || {
            let is_word = !text.is_empty() && !text.contains(char::is_control);
            is_word.then(|| text.to_owned()).ok_or_else(other)
        };
        Ok(match self {
            Self::Nobody => ConnectOptions::new(),
            Self::Password { user, .. } => ConnectOptions::with_user_and_password(user.clone(), word()?),
            Self::Token(_) => ConnectOptions::with_token(word()?),
            Self::Nkey(_) if is_seed(text) => ConnectOptions::with_nkey(text.to_owned()),
            Self::Nkey(_) => return Err(other()),
            Self::Credentials(_) => {
                // The library wants the last line ended.
                let text = Zeroizing::new(format!("{text}\n"));
                ConnectOptions::with_credentials(&text).map_err(|_| other())?
            }
        })
    }

    /// The file, and what it holds.
    fn file(&self) -> Option<(&Path, &'static str)> {
        match self {
            Self::Nobody => None,
            Self::Password { password, .. } => Some((password, "the password")),
            Self::Token(path) => Some((path, "the token")),
            Self::Nkey(path) => Some((path, "the seed of a user's key")),
            Self::Credentials(path) => Some((path, "the credentials")),
        }
    }

    /// Why a connection could not be had, and what to do about it.
    pub(super) fn explain(&self, error: &ConnectError) -> String {
        let shown = match (self, self.file()) {
            (Self::Password { user, .. }, Some((path, what))) => {
                format!("check the user {user:?} and {what} in {}", path.display())
            }
            (_, Some((path, what))) => format!("check {what} in {}", path.display()),
            (_, None) => "give it a user, a token, a key or credentials (--cluster-nats-…)".to_owned(),
        };
        match error.kind() {
            ConnectErrorKind::AuthorizationViolation => format!("NATS does not let this relay in; {shown}"),
            ConnectErrorKind::Authentication => format!("NATS cannot be shown who this relay is: {error}; {shown}"),
            _ if is_about_tls(error) => format!(
                "no TLS with NATS: {error}; check the server's certificate, and for a private authority name its PEM \
                 file (--cluster-nats-ca); where it asks for one of this relay give that (--cluster-nats-cert, \
                 --cluster-nats-key)"
            ),
            _ => format!("cannot reach NATS: {error}; check its address and that it runs (--cluster-nats)"),
        }
    }
}

/// Whether this is a user's seed, as far as its form tells.
fn is_seed(text: &str) -> bool {
    text.len() == 58 && text.starts_with("SU") && text.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7'))
}

/// Whether TLS failed, which the library calls an error of I/O, too.
fn is_about_tls(error: &ConnectError) -> bool {
    let source = core::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    let inner = source.and_then(|source| source.get_ref());
    error.kind() == ConnectErrorKind::Tls || inner.is_some_and(|inner| inner.is::<async_nats::rustls::Error>())
}

/// The files with the servers' authority and with this relay's certificate can be used, where there are any.
pub(super) fn check_tls(ca: Option<&Path>, certificate: Option<&(PathBuf, PathBuf)>) -> Result<(), NatsAccessError> {
    if ca.is_none() && certificate.is_none() {
        return Ok(());
    }
    let tls = ca.map_or_else(ClientTls::system, ClientTls::trusting);
    let tls = match certificate {
        Some((chain, key)) => tls.showing(chain, key),
        None => tls,
    };
    tls.config().map(drop).map_err(NatsAccessError::Tls)
}

/// A server's address. One with a name or a password in it is refused: the library would neither use them nor keep them
/// out of its log.
pub(super) fn parse_server(text: &str) -> Result<ServerAddr, NatsError> {
    if let Some((_, host)) = text.rsplit_once('@') {
        return Err(NatsError::Userinfo(host.to_owned()));
    }
    let server = text.parse().ok();
    let server = server.filter(|server: &ServerAddr| matches!(server.scheme(), "nats" | "tls"));
    server.filter(|server| !server.host().is_empty()).ok_or_else(|| NatsError::Server(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";

    #[test]
    fn an_address_holds_no_secrets_and_errors_repeat_none() {
        for good in ["nats://127.0.0.1:4222", "tls://nats.example.org", "nats.example.org:4222"] {
            assert!(parse_server(good).is_ok(), "{good}");
        }
        assert_eq!(parse_server("tls://n").unwrap().scheme(), "tls");
        for wrong in ["", "ws://n", "wss://n", "https://n", "nats://", "nats://n:x"] {
            assert!(matches!(parse_server(wrong), Err(NatsError::Server(_))), "{wrong}");
        }
        for secret in ["nats://u:geheim@n:4222", "tls://geheim@n", "u:ge@heim@n", "nats://u:geheim@", "x y://geheim@n"]
        {
            let error = parse_server(secret).unwrap_err();
            assert!(matches!(error, NatsError::Userinfo(_)), "{secret}");
            assert!(!error.to_string().contains("heim"), "{error}");
        }
    }

    #[test]
    fn what_is_shown_comes_from_files_that_nobody_else_may_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let write = |text: &str| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        };
        let password = NatsAccess::Password { user: "relay".into(), password: path.clone() };
        let all = [
            password,
            NatsAccess::Token(path.clone()),
            NatsAccess::Nkey(path.clone()),
            NatsAccess::Credentials(path.clone()),
        ];
        for access in &all {
            let _ = std::fs::remove_file(&path);
            assert!(matches!(access.options(), Err(NatsAccessError::Missing { .. })), "{access:?}");
            for nonsense in ["", " \n", "geheim\ngeheim"] {
                write(nonsense);
                let error = access.options().unwrap_err();
                assert!(matches!(error, NatsAccessError::Other { .. }), "{access:?}: {error}");
                assert!(!error.to_string().contains("geheim"), "{error}");
            }
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            assert!(matches!(access.options(), Err(NatsAccessError::File(_))), "{access:?}");
        }
        write("geheim\n");
        assert!(all[0].options().is_ok() && all[1].options().is_ok());
        assert!(all[2].options().is_err() && all[3].options().is_err());
        write(&format!("{SEED}\n"));
        assert!(all[2].options().is_ok());
        let jwt = "-----BEGIN NATS USER JWT-----\na.b.c\n------END NATS USER JWT------";
        write(&format!("{jwt}\n-----BEGIN USER NKEY SEED-----\n{SEED}\n------END USER NKEY SEED------\n"));
        assert!(all[3].options().is_ok());
        assert!(NatsAccess::Nobody.options().is_ok());
    }

    #[test]
    fn files_for_tls_that_cannot_be_used_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let check = || check_tls(Some(&path), None).unwrap_err().to_string();
        assert!(check().contains("ca.pem"));
        std::fs::write(&path, "nothing").unwrap();
        assert!(check().contains("ca.pem"));
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&path, made.cert.pem()).unwrap();
        assert!(check_tls(Some(&path), None).is_ok() && check_tls(None, None).is_ok());
        let shown = (path.clone(), dir.path().join("key.pem"));
        assert!(check_tls(Some(&path), Some(&shown)).unwrap_err().to_string().contains("key.pem"));
        std::fs::write(&shown.1, made.signing_key.serialize_pem()).unwrap();
        assert!(check_tls(Some(&path), Some(&shown)).is_ok());
    }
}
