//! Who may register and who may dial: route ids, proofs, capabilities (protocol 12.2, 12.3).

use super::limits::MAX_NAME;
use crate::crypto::{Mac, PROTO, PublicKey, Secret, Shared, extract, hash, mac16, mac32};
use crate::wire::{Malformed, NoSpace, Reader, Writer};

/// The name by which a relay knows a host; says nothing about the host's long-term key.
pub type RouteId = [u8; 16];
/// The name of a channel, chosen by the relay, part of the handshake's transcript.
pub type ChannelId = [u8; 16];
/// The name of a capability, random and new for every session.
pub type CapId = [u8; 8];
/// What a relay is told of a ticket's rendezvous value.
pub type RvHash = [u8; 16];

/// Bytes of a [`Capability`].
pub const CAPABILITY_LEN: usize = 45;

/// The route that belongs to a route key: whoever holds the key owns it, no account needed.
#[must_use]
pub fn route_id(route: &PublicKey) -> RouteId {
    first_half(hash(&[PROTO, b" route", route.as_bytes()]))
}

/// What a request for a link says of its route (protocol 12.8): a cluster finds the relay by it that serves the route, and
/// who reads along in front of the relay learns no route.
#[must_use]
pub fn blinded_route(route_id: &RouteId) -> RouteId {
    first_half(hash(&[PROTO, b" directory", route_id]))
}

/// The hash under which a host announces a rendezvous value.
#[must_use]
pub fn rv_hash(rendezvous: &[u8; 16]) -> RvHash {
    first_half(hash(&[PROTO, b" rendezvous", rendezvous]))
}

/// What a relay keeps of its operator key.
#[must_use]
pub fn operator_hash(key: &[u8]) -> [u8; 32] {
    hash(&[PROTO, b" operator", key])
}

/// Proof of the route key in REGISTER. `shared` is X25519 of that key and the relay's ephemeral
/// one; name and challenge are bound in, so that a relay cannot forward it to another.
#[must_use]
pub fn register_mac(shared: &Shared, relay: &str, nonce: &[u8; 32], ephemeral: &PublicKey, route: &PublicKey) -> Mac {
    let key = extract(nonce, &[shared.expose()]);
    let label: &[u8] = b" register";
    mac16(
        key.expose(),
        &[PROTO, label, &[name_len(relay)], relay.as_bytes(), nonce, ephemeral.as_bytes(), route.as_bytes()],
    )
}

/// Proof of the route key in ATTACH, on the second connection of a dial-in.
#[must_use]
pub fn attach_mac(shared: &Shared, nonce: &[u8; 32], channel_id: &ChannelId) -> Mac {
    let key = extract(nonce, &[shared.expose()]);
    mac16(key.expose(), &[PROTO, b" attach", channel_id])
}

/// What lets a device dial a host: minted by the host, recomputed by the relay, never sent to it.
#[derive(Debug)]
pub struct Capability {
    /// Its name.
    pub id: CapId,
    /// When it ends, Unix seconds.
    pub expiry: u32,
    /// What it may be used for; the relay's classes of service.
    pub class: u8,
    /// Its secret.
    pub key: Secret<32>,
}

impl Capability {
    /// The capability of this name, end and class on a route. Host and relay get the same.
    #[must_use]
    pub fn mint(k_cap: &Secret<32>, route_id: &RouteId, id: CapId, expiry: u32, class: u8) -> Self {
        let key = mac32(k_cap.expose(), &[PROTO, b" cap", route_id, &id, &expiry.to_le_bytes(), &[class]]);
        Self { id, expiry, class, key: Secret::new(key) }
    }

    /// Proof of the capability in DIAL, for this relay and this challenge only.
    #[must_use]
    pub fn dial_proof(&self, relay: &str, nonce: &[u8; 32]) -> Mac {
        mac16(self.key.expose(), &[PROTO, b" dial", &[name_len(relay)], relay.as_bytes(), nonce])
    }

    /// A second holder of the same capability, on purpose.
    #[must_use]
    pub const fn duplicate(&self) -> Self {
        Self { id: self.id, expiry: self.expiry, class: self.class, key: self.key.duplicate() }
    }

    /// Reads the 45 bytes of a capability.
    ///
    /// # Errors
    /// [`Malformed`] where there are fewer.
    pub fn parse(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { id: *r.array()?, expiry: r.u32()?, class: r.u8()?, key: Secret::new(*r.array()?) })
    }

    /// Writes the 45 bytes of the capability, which are as secret as its key.
    ///
    /// # Errors
    /// [`NoSpace`].
    pub fn emit(&self, w: &mut Writer<'_>) -> Result<(), NoSpace> {
        w.bytes(self.to_bytes().expose())
    }

    /// The capability of 45 bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; CAPABILITY_LEN]) -> Self {
        let [i0, i1, i2, i3, i4, i5, i6, i7, e0, e1, e2, e3, class, key @ ..] = bytes;
        Self {
            id: [*i0, *i1, *i2, *i3, *i4, *i5, *i6, *i7],
            expiry: u32::from_le_bytes([*e0, *e1, *e2, *e3]),
            class: *class,
            key: Secret::new(*key),
        }
    }

    /// The 45 bytes, for storage or for the device.
    #[must_use]
    pub fn to_bytes(&self) -> Secret<CAPABILITY_LEN> {
        let mut bytes = [0; CAPABILITY_LEN];
        let mut w = Writer::new(&mut bytes);
        let done = w
            .bytes(&self.id)
            .and_then(|()| w.u32(self.expiry))
            .and_then(|()| w.u8(self.class))
            .and_then(|()| w.bytes(self.key.expose()));
        debug_assert!(done.is_ok(), "8 + 4 + 1 + 32 bytes");
        Secret::new(bytes)
    }
}

/// Names are checked to be short when they come in; a longer one could match nothing.
fn name_len(name: &str) -> u8 {
    debug_assert!(name.len() <= MAX_NAME, "a relay name has at most {MAX_NAME} bytes");
    u8::try_from(name.len()).unwrap_or(u8::MAX)
}

fn first_half(digest: [u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    for (to, from) in half.iter_mut().zip(digest) {
        *to = from;
    }
    half
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::String;
    use std::vec::Vec;

    use super::*;
    use crate::crypto::Identity;

    struct Vectors(serde_json::Value);

    impl Vectors {
        fn bytes<const N: usize>(&self, name: &str) -> [u8; N] {
            let hex = self.0[name].as_str().unwrap();
            let bytes: Vec<u8> =
                (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
            bytes.try_into().unwrap()
        }

        fn text(&self, name: &str) -> String {
            self.0[name].as_str().unwrap().into()
        }
    }

    fn vectors() -> Vectors {
        let file = include_str!("../../../testvectors/relay_token_keystore.json");
        Vectors(serde_json::from_str(file).unwrap())
    }

    #[test]
    fn route_and_proofs_match_the_vectors() {
        let v = vectors();
        let route = Identity::from_secret(&Secret::new(v.bytes("route_sk")));
        let relay = Identity::from_secret(&Secret::new(v.bytes("relay_eph_sk")));
        assert_eq!(route.public().as_bytes(), &v.bytes("route_pub"));
        assert_eq!(relay.public().as_bytes(), &v.bytes("relay_eph_pub"));
        assert_eq!(route_id(route.public()), v.bytes("route_id"));
        let (name, nonce) = (v.text("relay"), v.bytes("nonce"));
        for shared in [route.agree(relay.public()).unwrap(), relay.agree(route.public()).unwrap()] {
            let mac = register_mac(&shared, &name, &nonce, relay.public(), route.public());
            assert_eq!(mac, v.bytes("register_mac"));
            assert_eq!(attach_mac(&shared, &nonce, &v.bytes("channel_id")), v.bytes("attach_mac"));
        }
    }

    #[test]
    fn capability_matches_the_vectors() {
        let v = vectors();
        let expiry = v.0["cap_expiry"].as_u64().unwrap().try_into().unwrap();
        let class = v.0["cap_class"].as_u64().unwrap().try_into().unwrap();
        let k_cap = Secret::new(v.bytes("k_cap"));
        let capability = Capability::mint(&k_cap, &v.bytes("route_id"), v.bytes("cap_id"), expiry, class);
        assert_eq!(capability.key.expose(), &v.bytes("cap_key"));
        assert_eq!(capability.dial_proof(&v.text("relay"), &v.bytes("nonce")), v.bytes("cap_proof"));
        assert_ne!(capability.dial_proof("relay.example.org", &v.bytes("nonce")), v.bytes("cap_proof"));

        let bytes = capability.to_bytes();
        for again in [
            Capability::from_bytes(bytes.expose()),
            Capability::parse(&mut Reader::new(bytes.expose())).unwrap(),
            capability.duplicate(),
        ] {
            assert_eq!((again.id, again.expiry, again.class), (capability.id, expiry, class));
            assert!(again.key.same(&capability.key));
        }
    }

    #[test]
    fn rendezvous_hash_matches_the_vectors() {
        let file: serde_json::Value = serde_json::from_str(include_str!("../../../testvectors/ticket.json")).unwrap();
        let tickets = file["vectors"].as_array().unwrap();
        assert!(!tickets.is_empty());
        for ticket in tickets {
            let v = Vectors(ticket.clone());
            assert_eq!(rv_hash(&v.bytes("rendezvous")), v.bytes("rv_hash"));
        }
    }
}
