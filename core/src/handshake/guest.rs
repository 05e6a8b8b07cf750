//! What a device's guests connect with (protocol 11.4): all of it follows from the device's root, so that its host
//! knows it without being told.

use core::fmt;

use super::message::Suite;
use super::schedule::Exports;
use crate::crypto::{Identity, PROTO, Psk, Secret, expand, mac32};
use crate::wire::TOKEN_LEN;

/// What all guests of one device share: the key that they are known by, and the root of their calls.
pub struct GuestSeed(Secret<32>);

impl GuestSeed {
    /// That of the device with this root.
    #[must_use]
    pub fn of(device_root: &Secret<32>) -> Self {
        Self(expand(device_root, "guest", b""))
    }

    /// As it was stored, or came in a link.
    #[must_use]
    pub const fn from_secret(secret: Secret<32>) -> Self {
        Self(secret)
    }

    /// The secret, for storage or a link.
    #[must_use]
    pub const fn secret(&self) -> &Secret<32> {
        &self.0
    }

    /// The key that the device's guests are known by.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity::from_secret(&expand(&self.0, "static", b""))
    }

    /// What is to a guest as the root is to its device.
    #[must_use]
    pub fn root(&self) -> Secret<32> {
        expand(&self.0, "root", b"")
    }

    /// The pre-shared key of a guest's connections.
    #[must_use]
    pub fn psk(&self, suite: Suite) -> Psk {
        Exports::psk(&self.root(), suite)
    }
}

impl fmt::Debug for GuestSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuestSeed(..)")
    }
}

/// A secret that each caveat leads one step further, and nothing leads back: whoever holds it can narrow it, and prove
/// the caveats that led to it.
pub struct GuestChain(Secret<32>);

impl GuestChain {
    /// Where the chains of the device with this root begin.
    #[must_use]
    pub fn of(device_root: &Secret<32>) -> Self {
        Self(expand(device_root, "guest chain", b""))
    }

    /// As it was stored, or came in a link.
    #[must_use]
    pub const fn from_secret(secret: Secret<32>) -> Self {
        Self(secret)
    }

    /// The secret, for storage or a link.
    #[must_use]
    pub const fn secret(&self) -> &Secret<32> {
        &self.0
    }

    /// One caveat further.
    #[must_use]
    pub fn narrowed(&self, caveat: &[u8]) -> Self {
        Self(Secret::new(mac32(self.0.expose(), &[PROTO, b" caveat", caveat])))
    }

    /// The bearer token of the guest that holds it, of the device that its host calls so.
    #[must_use]
    pub fn token(&self, device_id: &[u8; 8]) -> Secret<TOKEN_LEN> {
        let mut token = [0; TOKEN_LEN];
        let secret = expand(&self.0, "token", b"");
        let bytes = device_id.iter().chain(secret.expose());
        token.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Secret::new(token)
    }
}

impl fmt::Debug for GuestChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuestChain(..)")
    }
}
