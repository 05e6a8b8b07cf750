//! One order of a certificate, from the account to the chain.

use homing_driver::relay::{Certificates, ClientTls};
use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, KeyPair};

use super::client::Client;
use super::kept::{Kept, account, keep_account};
use super::{AcmeConfig, AcmeError};

/// Orders a certificate, proving each name.
pub(super) async fn certificate(
    config: &AcmeConfig,
    certificates: &Certificates,
    trust: &ClientTls,
) -> Result<Kept, AcmeError> {
    let account = log_in(config, trust).await?;
    let identifiers: Vec<_> = config.names.iter().cloned().map(Identifier::Dns).collect();
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let name = authorization.identifier().to_string();
        let no_challenge = || AcmeError::NoChallenge(name.clone());
        let mut challenge = authorization.challenge(ChallengeType::TlsAlpn01).ok_or_else(no_challenge)?;
        let digest = challenge.key_authorization().digest();
        let (cert, key) = proof(&name, digest.as_ref()).map_err(|error| AcmeError::Made(error.to_string()))?;
        let key = rustls_pki_types::PrivatePkcs8KeyDer::from(key).into();
        certificates.prove(&name, cert, key)?;
        challenge.set_ready().await?;
    }
    if order.poll_ready(&RetryPolicy::default()).await? != OrderStatus::Ready {
        return Err(AcmeError::Unproven(config.names.join(", ")));
    }
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&RetryPolicy::default()).await?;
    Kept::new(config, chain, key)
}

async fn log_in(config: &AcmeConfig, trust: &ClientTls) -> Result<Account, AcmeError> {
    let builder = || Account::builder_with_http(Box::new(Client::new(trust.clone())));
    if let Some(credentials) = account(config)? {
        return Ok(builder().from_credentials(credentials).await?);
    }
    let contact: Vec<_> = config.email.iter().map(|email| format!("mailto:{email}")).collect();
    let contact: Vec<_> = contact.iter().map(String::as_str).collect();
    let wanted = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let (account, credentials) = builder().create(&wanted, config.directory.clone(), None).await?;
    keep_account(config, credentials)?;
    Ok(account)
}

/// A certificate that nobody but the authority looks at: it holds what proves the name. With its private key, both DER.
fn proof(name: &str, digest: &[u8]) -> Result<(Vec<u8>, Vec<u8>), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    if digest.len() == 32 {
        params.custom_extensions.push(CustomExtension::new_acme_identifier(digest));
    }
    Ok((params.self_signed(&key)?.der().to_vec(), key.serialize_der()))
}
