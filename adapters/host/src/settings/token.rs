//! Bearer tokens of the settings API. Only their hashes are kept.

use core::str::FromStr;

use homing_core::crypto::{Secret, hash, same};
use homing_local::clock::unix_now;
use homing_local::hex::{self, Hex};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Tokens that are valid at once.
const MAX_TOKENS: usize = 32;
const PREFIX: &str = "homing-";

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Scope {
    /// To look.
    #[serde(rename = "settings:read")]
    Read,
    /// To look and to change.
    #[serde(rename = "settings:write")]
    Write,
}

impl Scope {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "settings:read",
            Self::Write => "settings:write",
        }
    }
}

impl FromStr for Scope {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Read, Self::Write]
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or("a scope is settings:read or settings:write")
    }
}

/// What is kept of a token.
#[derive(Serialize, Deserialize)]
pub(crate) struct ApiToken {
    hash: Hex<32>,
    scope: Scope,
    expires_at: u64,
}

/// A token that was just made; it is shown once.
#[derive(Debug)]
pub struct NewToken {
    /// What to send as `Authorization: Bearer …`.
    pub token: Zeroizing<String>,
    /// What it is good for.
    pub scope: Scope,
    /// Until when, in Unix seconds.
    pub expires_at: u64,
}

/// Adds a token that lives for `life` seconds; those that have expired go, and the oldest where there are too many.
pub(crate) fn mint(tokens: &mut Vec<ApiToken>, scope: Scope, life: u64) -> NewToken {
    let now = unix_now();
    tokens.retain(|token| token.expires_at > now);
    let excess = (tokens.len() + 1).saturating_sub(MAX_TOKENS);
    tokens.drain(..excess);
    let secret = Secret::<32>::random(&mut crate::random());
    let digits = Zeroizing::new(hex::emit(secret.expose()));
    let token = Zeroizing::new(format!("{PREFIX}{}", digits.as_str()));
    let expires_at = now.saturating_add(life);
    tokens.push(ApiToken { hash: Hex::new(hash(&[token.as_bytes()])), scope, expires_at });
    NewToken { token, scope, expires_at }
}

/// What `token` is good for now. All are looked at, so that time tells nothing of which one fits.
pub(crate) fn check(tokens: &[ApiToken], token: &str) -> Option<Scope> {
    let (given, now) = (hash(&[token.as_bytes()]), unix_now());
    tokens.iter().fold(None, |found, known| {
        let fits = same(known.hash.0.expose(), &given) && known.expires_at > now;
        if fits { Some(known.scope) } else { found }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_scope_and_time_only() {
        let mut tokens = Vec::new();
        let read = mint(&mut tokens, Scope::Read, 60);
        let write = mint(&mut tokens, Scope::Write, 60);
        let late = mint(&mut tokens, Scope::Write, 0);
        assert_eq!(check(&tokens, &read.token), Some(Scope::Read));
        assert_eq!(check(&tokens, &write.token), Some(Scope::Write));
        assert_eq!(check(&tokens, &late.token), None);
        assert_eq!(check(&tokens, "homing-"), None);
        let kept = serde_json::to_string(&tokens).unwrap();
        assert!(!kept.contains(&read.token[PREFIX.len()..]));
    }

    #[test]
    fn the_oldest_make_room() {
        let mut tokens = Vec::new();
        let first = mint(&mut tokens, Scope::Read, 60);
        for _ in 0..MAX_TOKENS {
            mint(&mut tokens, Scope::Read, 60);
        }
        assert_eq!(tokens.len(), MAX_TOKENS);
        assert_eq!(check(&tokens, &first.token), None);
    }
}
