//! Keys as types, hashing, and the AEAD behind one small trait. No protocol state.

mod aead;
mod hash;
mod key;
mod transcript;
mod xchacha;

pub use aead::{Aead, Forged, Portable};
pub(crate) use hash::Prk;
pub use hash::{Mac, PROTO, expand, expand_into, extract, hash, mac16, mac32, same};
pub use key::{Identity, Psk, PublicKey, Secret, Shared, WeakKey};
pub(crate) use transcript::Transcript;
pub use xchacha::{hchacha, open_detached, seal_detached};
