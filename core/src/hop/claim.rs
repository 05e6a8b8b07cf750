//! A host's claim to its route, as it is made on either kind of link: the proof in REGISTER, and all that goes with it.

use heapless::{String, Vec};

use super::auth::register_mac;
use super::frame::{Hello, Register};
use super::limits::{MAX_NAME, VERSION};
use super::{TooLong, Violation};
use crate::crypto::{Identity, Mac, Secret};

/// What a host registers with.
#[derive(Debug)]
pub(super) struct Claim {
    relay: String<MAX_NAME>,
    route: Identity,
    current: Secret<32>,
    previous: Secret<32>,
    operator_key: Vec<u8, MAX_NAME>,
}

impl Claim {
    pub(super) fn new(
        relay: &str,
        route: Identity,
        current: Secret<32>,
        previous: Secret<32>,
        operator_key: Option<&str>,
    ) -> Result<Self, TooLong> {
        Ok(Self {
            relay: String::try_from(relay).map_err(|_| TooLong)?,
            route,
            current,
            previous,
            operator_key: Vec::from_slice(operator_key.unwrap_or_default().as_bytes()).map_err(|_| TooLong)?,
        })
    }

    /// The proof for this relay and this challenge only.
    pub(super) fn prove(&self, hello: &Hello) -> Result<Mac, Violation> {
        if hello.version != VERSION {
            return Err(Violation::Version);
        }
        let shared = self.route.agree(&hello.ephemeral).map_err(|_| Violation::WeakKey)?;
        Ok(register_mac(&shared, &self.relay, &hello.nonce, &hello.ephemeral, self.route.public()))
    }

    pub(super) fn register(&self, mac: Mac) -> Register<'_> {
        Register {
            route: *self.route.public(),
            mac,
            current: self.current.expose(),
            previous: self.previous.expose(),
            operator_key: &self.operator_key,
        }
    }
}
