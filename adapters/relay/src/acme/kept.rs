//! What is kept of an authority: the account there, and the latest certificate, in files for their owner alone.

use std::path::PathBuf;

use homing_local::file;
use instant_acme::AccountCredentials;
use serde::{Deserialize, Serialize};
use x509_parser::pem::Pem;

use super::{AcmeConfig, AcmeError};

const CERTIFICATE: &str = "acme-certificate.json";
const ACCOUNT: &str = "acme-account.json";

/// A certificate, its private key and what it was asked for.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    directory: String,
    names: Vec<String>,
    /// PEM, the relay's own certificate first.
    pub(super) chain: String,
    /// PEM.
    pub(super) key: String,
    /// In Unix seconds.
    begins: u64,
    ends: u64,
}

#[derive(Serialize, Deserialize)]
struct Account {
    directory: String,
    credentials: AccountCredentials,
}

impl Kept {
    pub(super) fn new(config: &AcmeConfig, chain: String, key: String) -> Result<Self, AcmeError> {
        let (begins, ends) = validity(&chain).ok_or(AcmeError::NoCertificate)?;
        Ok(Self { directory: config.directory.clone(), names: config.names.clone(), chain, key, begins, ends })
    }

    /// The latest, where it is what is asked for now.
    pub(super) fn read(config: &AcmeConfig) -> Result<Option<Self>, AcmeError> {
        let kept: Option<Self> = file::read_json(&path(config, CERTIFICATE))?;
        Ok(kept.filter(|kept| kept.names == config.names && kept.directory == config.directory))
    }

    pub(super) fn write(&self, config: &AcmeConfig) -> Result<(), AcmeError> {
        Ok(file::write_json(&path(config, CERTIFICATE), self)?)
    }

    /// When another one is to be got: two thirds into its life, in Unix seconds.
    pub(super) const fn due_at(&self) -> u64 {
        self.begins.saturating_add(self.ends.saturating_sub(self.begins) / 3 * 2)
    }
}

pub(super) fn account(config: &AcmeConfig) -> Result<Option<AccountCredentials>, AcmeError> {
    let kept: Option<Account> = file::read_json(&path(config, ACCOUNT))?;
    Ok(kept.filter(|kept| kept.directory == config.directory).map(|kept| kept.credentials))
}

pub(super) fn keep_account(config: &AcmeConfig, credentials: AccountCredentials) -> Result<(), AcmeError> {
    let account = Account { directory: config.directory.clone(), credentials };
    Ok(file::write_json(&path(config, ACCOUNT), &account)?)
}

fn path(config: &AcmeConfig, name: &str) -> PathBuf {
    config.data.join(name)
}

/// From when until when the first certificate of a chain is good.
fn validity(chain: &str) -> Option<(u64, u64)> {
    let pem = Pem::iter_from_buffer(chain.as_bytes()).next()?.ok()?;
    let validity = &pem.parse_x509().ok()?.validity;
    let unix = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).ok();
    Some((unix(validity.not_before)?, unix(validity.not_after)?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn config(data: PathBuf) -> AcmeConfig {
        let directory = "https://authority.example/directory".to_owned();
        AcmeConfig { names: vec!["relay.example.org".into()], email: None, directory, data }
    }

    #[test]
    fn a_certificate_is_renewed_two_thirds_into_its_life() {
        let mut params = rcgen::CertificateParams::new(vec!["relay.example.org".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2026, 1, 1), rcgen::date_time_ymd(2026, 4, 1));
        let key = rcgen::KeyPair::generate().unwrap();
        let chain = params.self_signed(&key).unwrap().pem();
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path().into());
        let kept = Kept::new(&config, chain, key.serialize_pem()).unwrap();
        let day = 86_400;
        assert_eq!((kept.ends - kept.begins, kept.due_at() - kept.begins), (90 * day, 60 * day));
        kept.write(&config).unwrap();
        let mode = std::fs::metadata(dir.path().join(CERTIFICATE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(Kept::read(&config).unwrap().is_some());
        config.names.push("other.example.org".into());
        assert!(Kept::read(&config).unwrap().is_none(), "it was for other names");
        assert!(matches!(Kept::new(&config, "junk".into(), String::new()), Err(AcmeError::NoCertificate)));
    }
}
