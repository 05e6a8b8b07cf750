//! The device's side of the handshake.

use core::fmt;

use ml_kem::kem::Decapsulate;
use ml_kem::{DecapsulationKey768, KeyExport};
use rand_core::CryptoRng;

use super::error::Error;
use super::message::{
    self, ChannelId, KEM_TEXT_LEN, Kind, Mode, PREFIX_LEN, Suite, bound_to_route, check_reply_prefix, host_mac1_key,
    mac1,
};
use super::schedule::{self, Exports, Keys};
use crate::crypto::{Identity, Psk, PublicKey, Secret, Transcript};
use crate::wire::{Params, Reader, TAG_LEN, Writer};

/// Writes the first message into `out` and returns its length and the state that awaits the reply.
///
/// `me` is the device's key for this host, `host` the pinned key of the host, `own` what this side
/// accepts. Takes 32 bytes of `rng` for the ephemeral key, then 64 for the KEM in the hybrid suite.
///
/// # Errors
/// [`Error::WeakKey`] for a host key of small order, [`Error::NoSpace`] where `out` is shorter
/// than [`Suite::hello_len`].
#[expect(clippy::too_many_arguments, reason = "each is a separate input of the handshake")]
pub fn start(
    suite: Suite,
    kind: Kind<'_>,
    channel: &ChannelId,
    me: &Identity,
    host: &PublicKey,
    own: Params,
    rng: &mut (impl CryptoRng + ?Sized),
    out: &mut [u8],
) -> Result<(usize, AwaitReply), Error> {
    let (mode, bound_to) = match kind {
        Kind::Pair { ticket } => (Mode::Pair, ticket.hash),
        Kind::Connect { route, .. } => (Mode::Connect, bound_to_route(route)),
    };
    let mut transcript = message::transcript(suite, mode, channel, &bound_to, host);
    let mut w = Writer::new(out);
    message::emit_hello_prefix(suite, mode, &mut w)?;

    let psk = match kind {
        Kind::Pair { ticket } => {
            transcript.mix_key_and_hash(&ticket.psk);
            None
        }
        Kind::Connect { psk, .. } => Some(psk.duplicate()),
    };
    let ephemeral = Identity::generate(rng);
    w.bytes(ephemeral.public().as_bytes())?;
    transcript.mix_ephemeral(ephemeral.public().as_bytes());
    transcript.mix_key(ephemeral.agree(host)?.expose());
    let kem = match suite {
        Suite::Classic => None,
        Suite::Hybrid => {
            let seed = Secret::<64>::random(rng);
            let key = DecapsulationKey768::from_seed((*seed.expose()).into());
            transcript.seal(&key.encapsulation_key().to_bytes(), &mut w)?;
            Some(key)
        }
    };
    transcript.seal(me.public().as_bytes(), &mut w)?;
    transcript.mix_key(me.agree(host)?.expose());
    transcript.seal(&own.to_bytes(), &mut w)?;

    let len = w.len();
    let body = out.get(..len).unwrap_or_default();
    let mac = match kind {
        Kind::Pair { ticket } => mac1(&ticket.mac1_key, body, channel),
        Kind::Connect { .. } => mac1(&host_mac1_key(host), body, channel),
    };
    let mut w = Writer::new(out);
    w.advance(len)?;
    w.bytes(&mac)?;
    let me = me.duplicate();
    Ok((w.len(), AwaitReply { suite, mode, transcript, ephemeral, me, kem, psk, own }))
}

/// The first message has been sent. Holds about 3.5 KB in the hybrid suite.
pub struct AwaitReply {
    suite: Suite,
    mode: Mode,
    transcript: Transcript,
    ephemeral: Identity,
    me: Identity,
    kem: Option<DecapsulationKey768>,
    psk: Option<Psk>,
    own: Params,
}

impl fmt::Debug for AwaitReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwaitReply").field("suite", &self.suite).field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl AwaitReply {
    /// Reads the host's reply, which proves who it is and that it is there now.
    ///
    /// # Errors
    /// Any [`Error`]; the handshake is over then, and a new one takes a new channel (protocol 6.4).
    pub fn read(mut self, reply: &mut [u8]) -> Result<(Keys, Exports), Error> {
        check_reply_prefix(reply, self.suite, self.mode)?;
        let body = reply.get_mut(PREFIX_LEN..).ok_or(Error::Length)?;
        let (e, mut body) = body.split_first_chunk_mut::<32>().ok_or(Error::Length)?;
        self.transcript.mix_ephemeral(e);
        let e = PublicKey::from_bytes(*e);
        self.transcript.mix_key(self.ephemeral.agree(&e)?.expose());
        if let Some(kem) = &self.kem {
            let (sealed, rest) = body.split_first_chunk_mut::<{ KEM_TEXT_LEN + TAG_LEN }>().ok_or(Error::Length)?;
            let text = self.transcript.open(sealed)?;
            let text = <&[u8; KEM_TEXT_LEN]>::try_from(&*text).map_err(|_| Error::Length)?;
            let mut shared = kem.decapsulate(text.into());
            self.transcript.mix_key(&shared);
            zeroize::Zeroize::zeroize(shared.as_mut_slice());
            body = rest;
        }
        self.transcript.mix_key(self.me.agree(&e)?.expose());
        if let Some(psk) = &self.psk {
            self.transcript.mix_key_and_hash(psk);
        }
        let params = self.transcript.open(body)?;
        let peer = Params::parse(&mut Reader::new(params)).map_err(|_| Error::Forged)?;
        Ok(schedule::finish(self.transcript, peer, self.own))
    }
}
