//! Certificates that a server gets while it runs, and shows from then on.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::tls::{TlsError, provider};

/// By which an authority asks for the proof that a server has a name (RFC 8737).
pub(super) const ACME_ALPN: &[u8] = b"acme-tls/1";

/// The certificate that a server shows, once it has one, and proofs for an authority that is to issue it.
#[derive(Debug, Default)]
pub struct Certificates {
    shown: RwLock<Option<Arc<CertifiedKey>>>,
    proofs: RwLock<HashMap<String, Arc<CertifiedKey>>>,
}

impl Certificates {
    /// Shows another certificate to new connections: its chain and its private key, both PEM.
    ///
    /// # Errors
    /// [`TlsError::Rustls`] where they are none, or do not belong together.
    pub fn show(&self, chain: &str, key: &str) -> Result<(), TlsError> {
        let unreadable = |_| rustls::Error::General("no certificate and key in PEM form".to_owned());
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(unreadable)?;
        let shown = certified(chain.map_err(unreadable)?, key)?;
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        Ok(())
    }

    /// Whether there is one to show.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Shows a proof to the authority that asks for it by this name: a certificate and its private key, both DER.
    ///
    /// # Errors
    /// [`TlsError::Rustls`] where the key is none.
    pub fn prove(&self, name: &str, cert: Vec<u8>, key: PrivateKeyDer<'static>) -> Result<(), TlsError> {
        // Unlike with other certificates nothing is checked: it is critical in it that it is a proof.
        let key = provider().key_provider.load_private_key(key)?;
        let proof = Arc::new(CertifiedKey::new(vec![cert.into()], key));
        self.proofs.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_ascii_lowercase(), proof);
        Ok(())
    }

    /// Forgets all proofs.
    pub fn forget_proofs(&self) {
        self.proofs.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asks_for_proof = hello.alpn().is_some_and(|mut offered| offered.any(|protocol| protocol == ACME_ALPN));
        if asks_for_proof {
            let name = hello.server_name()?.to_ascii_lowercase();
            return self.proofs.read().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        }
        self.shown.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn certified(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Arc<CertifiedKey>, TlsError> {
    if chain.is_empty() {
        return Err(rustls::Error::NoCertificatesPresented.into());
    }
    Ok(Arc::new(CertifiedKey::from_der(chain, key, &provider())?))
}
