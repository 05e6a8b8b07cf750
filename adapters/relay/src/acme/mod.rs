//! A certificate from an authority that speaks ACME (RFC 8555), got and renewed while the relay runs. The proof is given on
//! the relay's own port, within TLS (TLS-ALPN-01, RFC 8737): no other port and no web server is needed.

mod client;
mod kept;
mod order;

use core::convert::Infallible;
use core::time::Duration;
use std::path::PathBuf;
use std::sync::Arc;

use homing_driver::relay::{Certificates, ClientTls, TlsError};
use homing_local::clock::unix_now;
use homing_local::file::FileError;

use kept::Kept;

/// Let's Encrypt.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(300);
/// The shortest time between two attempts, and the longest after failures: authorities bound how often they are asked.
const PAUSE: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(3600);

/// What to ask for, and where.
#[derive(Clone, Debug)]
pub struct AcmeConfig {
    /// The names that the certificate is for, the first one first.
    pub names: Vec<String>,
    /// Where the authority may write to, such as before a certificate ends.
    pub email: Option<String>,
    /// The authority's directory, an `https` URL.
    pub directory: String,
    /// Where account and certificate are kept, readable for their owner alone.
    pub data: PathBuf,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcmeError {
    /// The authority cannot be reached, or refuses.
    #[error("the authority: {0}")]
    Authority(#[from] instant_acme::Error),
    /// It wants another proof than a relay can give.
    #[error("the authority takes no proof within TLS (tls-alpn-01) for {0}")]
    NoChallenge(String),
    /// It looked, and did not find the proof.
    #[error(
        "the authority does not see that this relay is {0}: that name has to lead to this relay's port, as port 443, and \
         TLS has to end here"
    )]
    Unproven(String),
    /// It took too long.
    #[error("it took longer than five minutes")]
    Slow,
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// It cannot be kept.
    #[error(transparent)]
    File(#[from] FileError),
    /// The library that makes keys and certificates refuses.
    #[error("no proof can be made: {0}")]
    Made(String),
    /// What was kept, or came, is no certificate.
    #[error("what the authority sent is no certificate")]
    NoCertificate,
}

/// Gets the certificate and renews it.
#[derive(Debug)]
pub struct Acme {
    config: AcmeConfig,
    certificates: Arc<Certificates>,
    trust: ClientTls,
}

impl Acme {
    /// Takes over the certificate that was kept, where there is one for these names.
    ///
    /// # Errors
    /// [`AcmeError::File`], [`AcmeError::Tls`] where what was kept cannot be used.
    pub fn open(mut config: AcmeConfig) -> Result<Self, AcmeError> {
        config.names.iter_mut().for_each(|name| name.make_ascii_lowercase());
        let certificates = Arc::new(Certificates::default());
        if let Some(kept) = Kept::read(&config)? {
            certificates.show(&kept.chain, &kept.key)?;
        }
        Ok(Self { config, certificates, trust: ClientTls::system() })
    }

    /// What a relay shows: nothing until there is a certificate.
    #[must_use]
    pub fn certificates(&self) -> Arc<Certificates> {
        self.certificates.clone()
    }

    /// Sees to a certificate, for ever. Runs on tokio.
    pub async fn keep(&self) -> Infallible {
        let mut pause = PAUSE;
        loop {
            let wait = match self.due_in() {
                // Looked at again and again: the clock may be set.
                Some(wait) if !wait.is_zero() => wait.min(LONGEST),
                _ => match self.renew().await {
                    Ok(()) => {
                        pause = PAUSE;
                        tracing::info!(names = self.config.names.join(", "), "there is a new certificate");
                        PAUSE
                    }
                    Err(error) => {
                        let retry = pause;
                        pause = (pause * 2).min(LONGEST);
                        tracing::error!(%error, ?retry, "no certificate");
                        retry
                    }
                },
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// How long until there has to be another certificate; none where there is none.
    fn due_in(&self) -> Option<Duration> {
        let kept = Kept::read(&self.config).ok().flatten().filter(|_| self.certificates.is_there())?;
        Some(Duration::from_secs(kept.due_at().saturating_sub(unix_now())))
    }

    async fn renew(&self) -> Result<(), AcmeError> {
        let ordered = tokio::time::timeout(ATTEMPT, order::certificate(&self.config, &self.certificates, &self.trust));
        let ordered = ordered.await;
        self.certificates.forget_proofs();
        let kept = ordered.map_err(|_| AcmeError::Slow)??;
        self.certificates.show(&kept.chain, &kept.key)?;
        kept.write(&self.config)
    }
}
