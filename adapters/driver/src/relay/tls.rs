//! TLS for both ends of a link: whom a client trusts, and what a server shows.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::certificates::{ACME_ALPN, Certificates};

const ALPN: &[u8] = b"http/1.1";

/// Why TLS cannot be set up.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The system has no list of certificate authorities.
    #[error(
        "this system trusts no certificate authority: install its `ca-certificates` package, or set \
         SSL_CERT_FILE to a PEM file with the authority to trust"
    )]
    NoRoots,
    /// A file that cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        error: Arc<std::io::Error>,
    },
    /// A file without what is needed from it.
    #[error("{} holds no {what} in PEM form", path.display())]
    Lacks {
        /// Which file.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
    },
    /// The private key belongs to another certificate.
    #[error("the private key in {} does not belong to the certificate", path.display())]
    KeyMismatch {
        /// The key's file.
        path: PathBuf,
    },
    /// Any other refusal by the TLS library.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}

/// Whom a client trusts. Made once and shared by all links.
#[derive(Clone, Debug, Default)]
pub struct ClientTls {
    roots: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
    // Only encrypted links need it, and a machine without authorities may well have plain ones.
    config: OnceLock<Arc<ClientConfig>>,
}

impl ClientTls {
    /// Trusts what the system trusts, or the authorities in the file that `SSL_CERT_FILE` names.
    #[must_use]
    pub const fn system() -> Self {
        Self { roots: None, identity: None, config: OnceLock::new() }
    }

    /// Trusts the authorities in a PEM file and nobody else.
    #[must_use]
    pub fn trusting(roots: impl Into<PathBuf>) -> Self {
        Self { roots: Some(roots.into()), identity: None, config: OnceLock::new() }
    }

    /// Shows a certificate to relays that ask for one: PEM files with its chain and its private key.
    #[must_use]
    pub fn showing(self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { identity: Some((cert.into(), key.into())), config: OnceLock::new(), ..self }
    }

    /// What the TLS library is to do; reads the authorities on first use.
    ///
    /// # Errors
    /// [`TlsError`] where there is nobody to trust.
    pub fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        if let Some(config) = self.config.get() {
            return Ok(config.clone());
        }
        let config = Arc::new(client_config(self.roots.as_deref(), self.identity.as_ref())?);
        Ok(self.config.get_or_init(|| config).clone())
    }
}

fn client_config(roots: Option<&Path>, identity: Option<&(PathBuf, PathBuf)>) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let builder =
        ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?.dangerous();
    let builder = if let Some(path) = roots {
        let verifier = WebPkiServerVerifier::builder_with_provider(authorities(path)?.into(), provider);
        let verifier = verifier.build().map_err(|e| rustls::Error::General(e.to_string()))?;
        builder.with_custom_certificate_verifier(verifier)
    } else {
        let verifier = rustls_platform_verifier::Verifier::new(provider).map_err(|error| match error {
            // The verifier has no kind of its own for this, and nothing else in it is general.
            rustls::Error::General(_) => TlsError::NoRoots,
            other => TlsError::Rustls(other),
        })?;
        builder.with_custom_certificate_verifier(Arc::new(verifier))
    };
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            builder.with_client_auth_cert(certificates(cert)?, private_key(key)?).map_err(|error| unfit(key, error))?
        }
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// Where a server has its certificate from.
#[derive(Debug)]
enum Source {
    Files { cert: PathBuf, key: PathBuf },
    Held(Arc<Certificates>),
}

/// The certificate that a server shows, read from files and read again on demand.
#[derive(Debug)]
pub struct ServerTls {
    source: Source,
    /// Whose certificates clients may show.
    clients: Option<PathBuf>,
    config: Mutex<Arc<ServerConfig>>,
}

impl ServerTls {
    /// Reads a PEM certificate chain and its private key.
    ///
    /// # Errors
    /// [`TlsError`] that names the file at fault.
    pub fn from_files(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, TlsError> {
        Self::new(Source::Files { cert: cert.into(), key: key.into() })
    }

    /// Shows what it is given while it runs.
    ///
    /// # Errors
    /// [`TlsError`] of the TLS library.
    pub fn holding(certificates: Arc<Certificates>) -> Result<Self, TlsError> {
        Self::new(Source::Held(certificates))
    }

    fn new(source: Source) -> Result<Self, TlsError> {
        let config = Mutex::new(server_config(&source, None)?);
        Ok(Self { source, clients: None, config })
    }

    /// Asks clients for a certificate of an authority in a PEM file. Who shows none is served, who shows another is not.
    ///
    /// # Errors
    /// [`TlsError`] that names the file at fault.
    pub fn asking(self, clients: impl Into<PathBuf>) -> Result<Self, TlsError> {
        let clients = clients.into();
        let config = Mutex::new(server_config(&self.source, Some(&clients))?);
        Ok(Self { clients: Some(clients), config, ..self })
    }

    /// Reads the files again, for new connections; those that exist go on.
    ///
    /// # Errors
    /// [`TlsError`]; the certificate read before stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let config = server_config(&self.source, self.clients.as_deref())?;
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// What the TLS library is to do with the next connection.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn server_config(source: &Source, clients: Option<&Path>) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(authorities(path)?.into(), provider());
            // Devices have none. What a host may do without is for the relay to say.
            let verifier = verifier.allow_unauthenticated().build();
            builder.with_client_cert_verifier(verifier.map_err(|e| rustls::Error::General(e.to_string()))?)
        }
    };
    let (mut config, protocols) = match source {
        Source::Files { cert, key } => {
            let (chain, secret) = (certificates(cert)?, private_key(key)?);
            (builder.with_single_cert(chain, secret).map_err(|error| unfit(key, error))?, &[ALPN][..])
        }
        Source::Held(held) => (builder.with_cert_resolver(held.clone()), &[ALPN, ACME_ALPN][..]),
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

fn unfit(key: &Path, error: rustls::Error) -> TlsError {
    match error {
        rustls::Error::InconsistentKeys(_) => TlsError::KeyMismatch { path: key.into() },
        other => TlsError::Rustls(other),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|e| file_error(path, "private key", e))
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for cert in certificates(path)? {
        store.add(cert)?;
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    const WHAT: &str = "certificate";
    let certs: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|e| file_error(path, WHAT, e))?.collect();
    let certs = certs.map_err(|e| file_error(path, WHAT, e))?;
    if certs.is_empty() {
        return Err(TlsError::Lacks { path: path.into(), what: WHAT });
    }
    Ok(certs)
}

fn file_error(path: &Path, what: &'static str, error: pem::Error) -> TlsError {
    match error {
        pem::Error::Io(error) => TlsError::Unreadable { path: path.into(), error: Arc::new(error) },
        _ => TlsError::Lacks { path: path.into(), what },
    }
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
