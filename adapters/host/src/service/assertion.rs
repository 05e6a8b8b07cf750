//! What the host swears to a service of its caller: a JSON Web Token (RFC 7519), signed with Ed25519 (RFC 8037).
//!
//! Headers alone are believed by a service that nobody but the host can reach. One that others reach too, such as through
//! another proxy or from the same machine, checks the assertion with the host's public key.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use homing_core::crypto::Secret;
use homing_local::hex;
use http::HeaderValue;
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::Caller;
use super::headers::ascii;

/// How long an assertion is good, in seconds.
const LIFE: u64 = 60;
/// How long it is used for further requests, in seconds.
const REUSED: u64 = 20;
/// Those that are remembered.
const MAX_ISSUED: usize = 1024;

/// The host's key for assertions.
pub(crate) struct Signer {
    key: Ed25519KeyPair,
    /// Who says it.
    issuer: String,
    /// The token's first part, the same for all.
    header: String,
    /// The last ones, by device and service.
    issued: Mutex<HashMap<(String, String), Issued>>,
}

struct Issued {
    name: String,
    at: u64,
    token: HeaderValue,
}

impl core::fmt::Debug for Signer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Signer").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl Signer {
    /// None for a key that is none, which a random one never is.
    pub(crate) fn new(seed: &Secret<32>, issuer: String) -> Option<Self> {
        let key = Ed25519KeyPair::from_seed_unchecked(seed.expose()).ok()?;
        let header = json!({ "alg": "EdDSA", "typ": "JWT", "kid": key_id(&key) }).to_string();
        Some(Self { header: BASE64.encode(header), key, issuer, issued: Mutex::default() })
    }

    /// What a service checks assertions with: a JSON Web Key Set (RFC 7517), and the name that they have in `iss`.
    pub(crate) fn jwks(&self) -> Value {
        let key = json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "x": BASE64.encode(self.key.public_key()),
            "kid": key_id(&self.key),
            "use": "sig",
            "alg": "EdDSA",
        });
        json!({ "issuer": self.issuer, "keys": [key] })
    }

    /// An assertion for a request, made now or some seconds ago; `now` in Unix seconds.
    pub(super) fn assertion(&self, caller: &Caller, service: &str, now: u64) -> HeaderValue {
        let place = (caller.device_id.clone(), service.to_owned());
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        // By the time of day, as the service checks it: a clock that was set makes a new one.
        let fresh = |known: &Issued| (known.at..known.at.saturating_add(REUSED)).contains(&now);
        if let Some(known) = issued.get(&place).filter(|known| fresh(known) && known.name == caller.device_name) {
            return known.token.clone();
        }
        let token = self.sign(caller, service, now);
        if issued.len() >= MAX_ISSUED {
            issued.retain(|_, known| fresh(known));
        }
        if issued.len() < MAX_ISSUED {
            issued.insert(place, Issued { name: caller.device_name.clone(), at: now, token: token.clone() });
        }
        token
    }

    fn sign(&self, caller: &Caller, service: &str, now: u64) -> HeaderValue {
        let claims = json!({
            "iss": self.issuer,
            "aud": service,
            "sub": caller.device_id,
            "name": caller.device_name,
            "iat": now,
            "exp": now.saturating_add(LIFE),
            "jti": hex::emit(Secret::<16>::random(&mut crate::random()).expose()),
        });
        let signed = format!("{}.{}", self.header, BASE64.encode(claims.to_string()));
        let signature = BASE64.encode(self.key.sign(signed.as_bytes()));
        let mut value = ascii(format!("{signed}.{signature}"));
        value.set_sensitive(true); // whoever has it is this device for a minute
        value
    }
}

/// The key's thumbprint (RFC 7638).
fn key_id(key: &Ed25519KeyPair) -> String {
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, BASE64.encode(key.public_key()));
    BASE64.encode(digest(&SHA256, members.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn signer() -> Signer {
        // RFC 8037, A.1
        let seed = BASE64.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        Signer::new(&Secret::new(seed.try_into().unwrap()), "0011223344556677".into()).unwrap()
    }

    fn caller(id: &str, name: &str) -> Caller {
        Caller { device_id: id.into(), device_name: name.into() }
    }

    #[test]
    fn keys_are_told_as_in_the_rfcs() {
        let key = &signer().jwks()["keys"][0];
        assert_eq!(key["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "RFC 8037, A.2");
        assert_eq!(key["kid"], "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", "RFC 8037, A.3");
        assert!(key.get("d").is_none());
    }

    #[test]
    fn an_assertion_verifies_and_says_who_calls() {
        let signer = signer();
        let token = signer.assertion(&caller("aa", "Zoë's \"phone\""), "web", NOW);
        let text = token.to_str().unwrap();
        let (signed, signature) = text.rsplit_once('.').unwrap();
        let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, signer.key.public_key());
        key.verify(signed.as_bytes(), &BASE64.decode(signature).unwrap()).unwrap();
        let parts: Vec<Value> =
            signed.split('.').map(|part| serde_json::from_slice(&BASE64.decode(part).unwrap()).unwrap()).collect();
        assert_eq!(parts[0]["alg"], "EdDSA");
        let claims = &parts[1];
        assert_eq!((&claims["iss"], &claims["aud"]), (&json!("0011223344556677"), &json!("web")));
        assert_eq!((&claims["sub"], &claims["name"]), (&json!("aa"), &json!("Zoë's \"phone\"")));
        assert_eq!((&claims["iat"], &claims["exp"]), (&json!(NOW), &json!(NOW + 60)));
        assert!(!format!("{token:?}").contains(text));
    }

    #[test]
    fn one_is_used_for_some_seconds_by_the_same_device_at_the_same_service() {
        let signer = signer();
        let at = |id: &str, name: &str, service: &str, now| signer.assertion(&caller(id, name), service, now);
        let first = at("aa", "a", "web", NOW);
        assert_eq!(at("aa", "a", "web", NOW + REUSED - 1), first);
        let others = [
            at("bb", "a", "web", NOW),
            at("aa", "a", "other", NOW),
            at("aa", "renamed", "web", NOW),
            at("aa", "a", "web", NOW + REUSED),
            at("aa", "a", "web", NOW - 1),
        ];
        for (place, other) in others.iter().enumerate() {
            assert!(*other != first && !others[..place].contains(other), "{place}");
        }
        for number in 0..3 * MAX_ISSUED {
            at(&number.to_string(), "a", "web", NOW);
        }
        assert_eq!(signer.issued.lock().unwrap().len(), MAX_ISSUED);
    }
}
