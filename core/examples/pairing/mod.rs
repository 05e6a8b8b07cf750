//! What the examples share: a device and a host that are paired already, and the handshake that
//! `in_memory` shows in full.

use getrandom::{SysRng, rand_core::UnwrapErr};
use homing_core::Instant;
use homing_core::channel::{Channel, Config, token_hash};
use homing_core::crypto::{Identity, Psk, PublicKey};
use homing_core::handshake::{AwaitReply, Door, HELLO_MAX, Kind, Knock, REPLY_MAX, Suite, hear, host_mac1_key, start};
use homing_core::mux::{Source, Taken};
use homing_core::wire::{Params, StreamId};

/// No relay: neither a route nor a channel of its own.
const DIRECT: [u8; 16] = [0; 16];

/// What the device remembers of a pairing: its own key for this host, the host's, two secrets.
pub(crate) struct Device {
    me: Identity,
    host: PublicKey,
    psk: Psk,
    token: [u8; 40],
}

/// And what the host does.
pub(crate) struct Host {
    me: Identity,
    device: PublicKey,
    psk: Psk,
    token_hash: [u8; 32],
}

/// As if they had paired.
pub(crate) fn paired() -> (Device, Host) {
    let rng = &mut UnwrapErr(SysRng);
    let (device, host, psk, token) = (Identity::generate(rng), Identity::generate(rng), Psk::random(rng), [7; 40]);
    let known =
        Host { device: *device.public(), psk: psk.duplicate(), token_hash: token_hash(&token), me: host.duplicate() };
    (Device { me: device, host: *host.public(), psk, token }, known)
}

impl Device {
    /// The first message and what awaits its answer.
    pub(crate) fn hello(&self, suite: Suite, own: Params) -> (Vec<u8>, AwaitReply) {
        let (mut out, rng) = (vec![0; HELLO_MAX], &mut UnwrapErr(SysRng));
        let kind = Kind::Connect { route: &DIRECT, psk: &self.psk };
        let (len, state) = start(suite, kind, &DIRECT, &self.me, &self.host, own, rng, &mut out).unwrap();
        out.truncate(len);
        (out, state)
    }

    /// With the answer to it, a channel with its first stream, on which the application has something to say.
    pub(crate) fn connect(&self, state: AwaitReply, reply: &mut [u8]) -> Channel<8> {
        let (keys, _) = state.read(reply).unwrap();
        let mut channel = Channel::connect(&keys, &self.token, &Config::default(), Instant::ZERO);
        let stream = channel.open(Instant::ZERO).unwrap();
        channel.streams().wants(stream);
        channel
    }
}

impl Host {
    /// The answer to a first message and a channel; none for what the paired device did not send.
    pub(crate) fn admit(&self, hello: &mut [u8], own: Params) -> Option<(Vec<u8>, Channel<8>)> {
        let mac1_key = host_mac1_key(self.me.public());
        let door = Door { identity: &self.me, mac1_key: &mac1_key, route: &DIRECT, weakest: Suite::Classic };
        let Ok(Knock::Connect(knock)) = hear(door, [], &DIRECT, hello) else { return None };
        if *knock.peer() != self.device {
            return None;
        }
        let mut out = vec![0; REPLY_MAX];
        let (len, keys, _) = knock.reply(&self.psk, own, &mut UnwrapErr(SysRng), &mut out).ok()?;
        out.truncate(len);
        Some((out, Channel::admit(&keys, self.token_hash, &Config::default(), Instant::ZERO)))
    }
}

/// What an application has to say on its stream.
pub(crate) struct Says<'a>(pub(crate) &'a [u8]);

impl Source for Says<'_> {
    fn read(&mut self, _: StreamId, offset: u64, buf: &mut [u8]) -> Taken {
        let rest = &self.0[offset as usize..];
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Taken { len, more: len < rest.len(), fin: len == rest.len() }
    }
}
