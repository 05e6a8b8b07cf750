//! Which certificate the relay shows: one of files, or one that it gets itself.

use core::convert::Infallible;
use core::future::pending;
use std::path::{Path, PathBuf};

use homing_relay::TlsFiles;
use homing_relay::acme::{Acme, AcmeConfig};

use crate::args::RelayStartArgs;
use crate::config::{Config, settings};
use crate::failure::Failure;

/// What the relay is to do about TLS.
pub(super) struct Tls {
    pub(super) files: Option<TlsFiles>,
    pub(super) acme: Option<AcmeConfig>,
    pub(super) client_ca: Option<PathBuf>,
}

impl Tls {
    /// What flags and settings ask for.
    pub(super) fn of(args: &RelayStartArgs, config: &Config, data: &Path) -> Result<Self, Failure> {
        let cert = config.path(&settings::RELAY_TLS_CERT, args.tls_cert.clone());
        let key = config.path(&settings::RELAY_TLS_KEY, args.tls_key.clone());
        let client_ca = config.path(&settings::RELAY_CLIENT_CA, args.client_ca.clone());
        let names = config.list(&settings::RELAY_ACME, args.acme.clone());
        let acme = (!names.is_empty()).then(|| AcmeConfig {
            names,
            email: config.text(&settings::RELAY_ACME_EMAIL, args.acme_email.clone()),
            directory: config.text(&settings::RELAY_ACME_DIRECTORY, args.acme_directory.clone()).unwrap_or_default(),
            data: data.into(),
        });
        let files = match (cert, key) {
            (Some(_), Some(_)) if acme.is_some() => {
                return Err(Failure::usage(
                    "one certificate is enough: take either --acme, or --tls-cert and --tls-key",
                ));
            }
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            (None, None) => None,
            _ => return Err(Failure::usage("a certificate needs its key: give both --tls-cert and --tls-key")),
        };
        if client_ca.is_some() && files.is_none() && acme.is_none() {
            return Err(Failure::usage("--client-ca needs TLS here: give --tls-cert and --tls-key, or --acme, too"));
        }
        if let Some(acme) = acme.as_ref().filter(|acme| !acme.directory.starts_with("https://")) {
            return Err(Failure::usage(format!("--acme-directory: {:?} is no https:// URL", acme.directory)));
        }
        Ok(Self { files, acme, client_ca })
    }
}

/// Sees to the certificate, where the relay gets it itself.
pub(super) async fn keep(acme: Option<&Acme>) -> Infallible {
    match acme {
        Some(acme) => acme.keep().await,
        None => pending().await,
    }
}
