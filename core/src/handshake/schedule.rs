//! From the handshake's last state to the keys of a session (protocol 7).

use core::fmt;

use crate::crypto::{PROTO, Prk, Psk, Secret, Transcript, expand, extract, mac16};
use crate::wire::Params;

use super::message::Suite;

/// What a session starts with.
pub struct Keys {
    pub(crate) device_to_host: Secret<32>,
    pub(crate) host_to_device: Secret<32>,
    /// What the peer accepts.
    pub peer: Params,
    /// What this side accepts.
    pub own: Params,
    /// The final handshake hash.
    pub(crate) hash: [u8; 32],
    pub(crate) session_id: [u8; 16],
    pub(crate) resume_secret: Secret<32>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("peer", &self.peer).field("own", &self.own).finish_non_exhaustive()
    }
}

impl Keys {
    /// Keys that begin with these secrets, device to host first, and with which nothing can be
    /// resumed. Only for checking against test vectors and other implementations: a session's keys
    /// come from its handshake.
    #[must_use]
    pub fn from_secrets(secrets: [Secret<32>; 2], own: Params, peer: Params) -> Self {
        let [device_to_host, host_to_device] = secrets;
        let (hash, session_id, resume_secret) = ([0; 32], [0; 16], Secret::new([0; 32]));
        Self { device_to_host, host_to_device, peer, own, hash, session_id, resume_secret }
    }

    /// The first secrets of both directions, device to host first. Only for checking against
    /// test vectors and other implementations.
    #[must_use]
    pub const fn secrets(&self) -> [&Secret<32>; 2] {
        [&self.device_to_host, &self.host_to_device]
    }
}

/// What else both ends now share.
#[derive(Debug)]
pub struct Exports {
    /// The final handshake hash.
    pub hash: [u8; 32],
    /// After pairing: the secret that all later connections rest on.
    pub device_root: Secret<32>,
    /// Proves ownership of the session when it is resumed.
    pub resume_secret: Secret<32>,
    /// The session's name.
    pub session_id: [u8; 16],
    /// A value that an application can bind its own authentication to.
    pub binding: Secret<32>,
    /// What two people compare to know that nobody is in between.
    pub check: CheckWords,
}

impl Exports {
    /// The pre-shared key of later connections, per suite.
    #[must_use]
    pub fn psk(device_root: &Secret<32>, suite: Suite) -> Psk {
        expand(device_root, "psk", &[suite.to_byte()])
    }

    /// Proof that the sender owns the session with `resume_secret`, for the handshake with `hash`.
    #[must_use]
    pub fn resume_proof(resume_secret: &Secret<32>, from_device: bool, hash: &[u8; 32]) -> [u8; 16] {
        let label: &[u8] = if from_device { b" resume d" } else { b" resume h" };
        mac16(resume_secret.expose(), &[PROTO, label, hash])
    }
}

/// A short authentication string: six digits, or five of 64 symbols (protocol 5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckWords(u64);

impl CheckWords {
    /// Five indices into a table of 64 symbols.
    #[must_use]
    pub fn symbols(self) -> [u8; 5] {
        let mut rest = self.0;
        core::array::from_fn(|_| {
            let [low, ..] = rest.to_le_bytes();
            rest >>= 6;
            low & 63
        })
    }
}

impl fmt::Display for CheckWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0 % 1_000_000;
        write!(f, "{:03} {:03}", digits / 1000, digits % 1000)
    }
}

/// Ends the handshake: the Noise keys feed one master secret, which feeds all others.
pub(super) fn finish(transcript: Transcript, peer: Params, own: Params) -> (Keys, Exports) {
    let (hash, [k1, k2]) = transcript.split();
    let master = Prk::new(&extract(&hash, &[k1.expose(), k2.expose()]));
    let secret = |label| master.expand(label, b"");
    let session_id = *master.expand("session id", b"").expose();
    let keys = Keys {
        device_to_host: secret("d2h"),
        host_to_device: secret("h2d"),
        peer,
        own,
        hash,
        session_id,
        resume_secret: secret("resume"),
    };
    let exports = Exports {
        hash,
        device_root: secret("device root"),
        resume_secret: keys.resume_secret.duplicate(),
        session_id,
        binding: secret("bind"),
        check: CheckWords(u64::from_le_bytes(*master.expand("sas", b"").expose())),
    };
    (keys, exports)
}
