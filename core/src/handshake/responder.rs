//! The host's side of the handshake: hear, decide on the peer, answer.

use core::fmt;

use ml_kem::EncapsulationKey768;
use rand_core::CryptoRng;

use super::error::Error;
use super::message::{
    self, ChannelId, KEM_KEY_LEN, MAC1_LEN, Mode, PREFIX_LEN, RouteId, SEALED_KEY_LEN, Suite, Ticket, bound_to_route,
    mac1, parse_hello_prefix,
};
use super::schedule::{self, Exports, Keys};
use crate::crypto::{Identity, Psk, PublicKey, Secret, Transcript, same};
use crate::wire::{Params, Reader, TAG_LEN, Writer};

/// What a host listens with.
#[derive(Clone, Copy, Debug)]
pub struct Door<'a> {
    /// The host's long-term key.
    pub identity: &'a Identity,
    /// [`host_mac1_key`](super::host_mac1_key) of its public half, kept so that junk costs one hash.
    pub mac1_key: &'a Secret<32>,
    /// Its route at the relay; zero on a direct transport.
    pub route: &'a RouteId,
    /// The weakest suite that it takes for connecting.
    pub weakest: Suite,
}

/// Reads a first message. `tickets` are the live pairing tickets, each with its suite: a message
/// that pairs must fit one of them.
///
/// Changes nothing and promises nothing: the peer is authenticated only by its first record.
///
/// # Errors
/// Any [`Error`]. After [`Error::Mac1`] the host stays silent (protocol 6.4).
pub fn hear<'t>(
    door: Door<'_>,
    tickets: impl IntoIterator<Item = (Suite, &'t Ticket)>,
    channel: &ChannelId,
    hello: &mut [u8],
) -> Result<Knock, Error> {
    let (suite, mode) = parse_hello_prefix(hello)?;
    let (hello, mac) = hello.split_last_chunk_mut::<MAC1_LEN>().ok_or(Error::Length)?;
    match mode {
        Mode::Connect => {
            if !same(&mac1(door.mac1_key, hello, channel), mac) {
                return Err(Error::Mac1);
            }
            if suite < door.weakest {
                return Err(Error::Suite);
            }
            let transcript =
                message::transcript(suite, mode, channel, &bound_to_route(door.route), door.identity.public());
            let heard = Heard::read(suite, mode, transcript, door.identity, hello)?;
            Ok(Knock::Connect(ConnectKnock(heard)))
        }
        Mode::Pair => {
            let (index, (_, ticket)) = tickets
                .into_iter()
                .enumerate()
                .find(|(_, (_, ticket))| same(&mac1(&ticket.mac1_key, hello, channel), mac))
                .filter(|(_, (expected, _))| *expected == suite)
                .ok_or(Error::Mac1)?;
            let mut transcript = message::transcript(suite, mode, channel, &ticket.hash, door.identity.public());
            transcript.mix_key_and_hash(&ticket.psk);
            let heard = Heard::read(suite, mode, transcript, door.identity, hello)?;
            Ok(Knock::Pair(PairKnock { heard, ticket: index }))
        }
    }
}

/// Somebody is at the door.
#[derive(Debug)]
pub enum Knock {
    /// A device that holds a ticket.
    Pair(PairKnock),
    /// A device that says it is known.
    Connect(ConnectKnock),
}

/// A device that holds a ticket.
#[derive(Debug)]
pub struct PairKnock {
    heard: Heard,
    ticket: usize,
}

impl PairKnock {
    /// The key that the device will be known by.
    #[must_use]
    pub const fn peer(&self) -> &PublicKey {
        &self.heard.peer
    }

    /// Which of the tickets given to [`hear`] it holds.
    #[must_use]
    pub const fn ticket(&self) -> usize {
        self.ticket
    }

    /// Writes the reply and returns its length.
    ///
    /// # Errors
    /// [`Error::WeakKey`], [`Error::KemKey`], [`Error::NoSpace`].
    pub fn reply(
        self,
        own: Params,
        rng: &mut (impl CryptoRng + ?Sized),
        out: &mut [u8],
    ) -> Result<(usize, Keys, Exports), Error> {
        self.heard.reply(None, own, rng, out)
    }
}

/// A device that says it is known: look its key up, then answer with its pre-shared key.
#[derive(Debug)]
pub struct ConnectKnock(Heard);

impl ConnectKnock {
    /// The device's key.
    #[must_use]
    pub const fn peer(&self) -> &PublicKey {
        &self.0.peer
    }

    /// The suite that it used, never weaker than the one on record for it.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.0.suite
    }

    /// Writes the reply and returns its length. Takes 32 bytes of `rng`, 32 more in the hybrid suite.
    ///
    /// # Errors
    /// [`Error::WeakKey`], [`Error::KemKey`], [`Error::NoSpace`].
    pub fn reply(
        self,
        psk: &Psk,
        own: Params,
        rng: &mut (impl CryptoRng + ?Sized),
        out: &mut [u8],
    ) -> Result<(usize, Keys, Exports), Error> {
        self.0.reply(Some(psk), own, rng, out)
    }
}

/// A first message that opened.
struct Heard {
    suite: Suite,
    mode: Mode,
    transcript: Transcript,
    ephemeral: PublicKey,
    kem: Option<[u8; KEM_KEY_LEN]>,
    peer: PublicKey,
    params: Params,
}

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heard").field("suite", &self.suite).field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl Heard {
    fn read(
        suite: Suite,
        mode: Mode,
        mut transcript: Transcript,
        me: &Identity,
        hello: &mut [u8],
    ) -> Result<Self, Error> {
        let body = hello.get_mut(PREFIX_LEN..).ok_or(Error::Length)?;
        let (e, mut body) = body.split_first_chunk_mut::<32>().ok_or(Error::Length)?;
        transcript.mix_ephemeral(e);
        let ephemeral = PublicKey::from_bytes(*e);
        transcript.mix_key(me.agree(&ephemeral)?.expose());
        let kem = match suite {
            Suite::Classic => None,
            Suite::Hybrid => {
                let (sealed, rest) = body.split_first_chunk_mut::<{ KEM_KEY_LEN + TAG_LEN }>().ok_or(Error::Length)?;
                body = rest;
                Some(<[u8; KEM_KEY_LEN]>::try_from(&*transcript.open(sealed)?).map_err(|_| Error::Length)?)
            }
        };
        let (sealed, body) = body.split_first_chunk_mut::<SEALED_KEY_LEN>().ok_or(Error::Length)?;
        let peer = <[u8; 32]>::try_from(&*transcript.open(sealed)?).map_err(|_| Error::Length)?;
        let peer = PublicKey::from_bytes(peer);
        transcript.mix_key(me.agree(&peer)?.expose());
        let params = transcript.open(body)?;
        let params = Params::parse(&mut Reader::new(params)).map_err(|_| Error::Forged)?;
        Ok(Self { suite, mode, transcript, ephemeral, kem, peer, params })
    }

    fn reply(
        mut self,
        psk: Option<&Psk>,
        own: Params,
        rng: &mut (impl CryptoRng + ?Sized),
        out: &mut [u8],
    ) -> Result<(usize, Keys, Exports), Error> {
        let mut w = Writer::new(out);
        message::emit_reply_prefix(self.suite, self.mode, &mut w)?;
        let e = Identity::generate(rng);
        w.bytes(e.public().as_bytes())?;
        self.transcript.mix_ephemeral(e.public().as_bytes());
        self.transcript.mix_key(e.agree(&self.ephemeral)?.expose());
        if let Some(key) = &self.kem {
            let key = EncapsulationKey768::new(key.into()).map_err(|_| Error::KemKey)?;
            let coins = Secret::<32>::random(rng);
            let (text, mut shared) = key.encapsulate_deterministic(&(*coins.expose()).into());
            self.transcript.seal(&text, &mut w)?;
            self.transcript.mix_key(&shared);
            zeroize::Zeroize::zeroize(shared.as_mut_slice());
        }
        self.transcript.mix_key(e.agree(&self.peer)?.expose());
        if let Some(psk) = psk {
            self.transcript.mix_key_and_hash(psk);
        }
        self.transcript.seal(&own.to_bytes(), &mut w)?;
        let (keys, exports) = schedule::finish(self.transcript, self.params, own);
        Ok((w.len(), keys, exports))
    }
}
