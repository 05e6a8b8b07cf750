//! What a device passes on: a guest's pass, its bytes and its text form `homing://guest/…` (protocol 11.4).

use core::fmt::{self, Write};

use heapless::Vec;
use zeroize::Zeroize;

use super::base32;
use super::link::{LinkError, decode, in_fragment, strip_prefix};
use super::relay_name::RelayName;
use super::ticket::{CHECK_LEN, RELAY_MAX, TicketError};
use crate::crypto::{PROTO, PublicKey, Secret, hash, same};
use crate::handshake::{GuestChain, GuestSeed, RouteId, Suite};
use crate::wire::{CAPABILITY_LEN, Caveats, MAX_NAME, NoSpace, Reader, Writer};

/// The most bytes of a pass, its check included.
pub const GUEST_MAX: usize = 2048;
/// The longest text of a pass that is looked at.
pub const GUEST_LINK_MAX: usize = 3600;
/// The most relays that a pass names.
pub const GUEST_RELAYS: usize = 4;

const APP: &str = "homing://guest/";
const VERSION: u8 = 1;
const PLAIN: u8 = 4;

/// What a guest of a device needs to reach the device's host.
#[derive(Debug)]
pub struct GuestPass<'a> {
    /// Which primitives its connections use.
    pub suite: Suite,
    /// The relays speak `ws://`, without TLS. Guests take this for loopback names only.
    pub plain: bool,
    /// When the first of its caveats ends it, Unix seconds: a hint to the guest, the host decides.
    pub expiry: u32,
    /// The host's long-term key.
    pub host: PublicKey,
    /// What all guests of the device share.
    pub seed: GuestSeed,
    /// Where its caveats have led.
    pub chain: GuestChain,
    /// What the host calls the device.
    pub device_id: [u8; 8],
    /// The host's route at its relays.
    pub route_id: RouteId,
    /// Lets the relay admit the guest's first call.
    pub capability: Secret<CAPABILITY_LEN>,
    /// What the device calls the host, at most [`MAX_NAME`] bytes.
    pub host_name: &'a str,
    /// The relays' names, the best first; at least one.
    pub relays: Vec<RelayName, GUEST_RELAYS>,
    /// What limits it.
    pub caveats: Caveats<'a>,
}

impl<'a> GuestPass<'a> {
    /// Reads body and check.
    ///
    /// # Errors
    /// [`TicketError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, TicketError> {
        let (body, check) = bytes.split_last_chunk::<CHECK_LEN>().ok_or(TicketError::Length)?;
        if bytes.len() > GUEST_MAX {
            return Err(TicketError::Length);
        }
        if !same(&check_of(body), check) {
            return Err(TicketError::Check);
        }
        let mut r = Reader::new(body);
        if r.u8()? != VERSION {
            return Err(TicketError::Version);
        }
        let suite = Suite::from_byte(r.u8()?).ok_or(TicketError::Unsupported)?;
        let plain = match r.u8()? {
            0 => false,
            PLAIN => true,
            _ => return Err(TicketError::Unsupported),
        };
        let expiry = r.u32()?;
        let host = PublicKey::from_bytes(*r.array()?);
        let seed = GuestSeed::from_secret(Secret::new(*r.array()?));
        let chain = GuestChain::from_secret(Secret::new(*r.array()?));
        let (device_id, route_id, capability) = (*r.array()?, *r.array()?, Secret::new(*r.array()?));
        let host_name = r.text(MAX_NAME).map_err(|_| TicketError::Unsupported)?;
        let mut relays = Vec::new();
        for _ in 0..r.u8()? {
            let name = r.text(RELAY_MAX).map_err(|_| TicketError::Relay)?;
            let name = RelayName::try_from(name).ok().filter(|name| !name.is_empty()).ok_or(TicketError::Relay)?;
            relays.push(name).map_err(|_| TicketError::Relay)?;
        }
        if relays.is_empty() {
            return Err(TicketError::Relay);
        }
        let caveats = Caveats::parse(&mut r).map_err(|_| TicketError::Unsupported)?;
        if !r.is_empty() {
            return Err(TicketError::Length);
        }
        Ok(Self {
            suite,
            plain,
            expiry,
            host,
            seed,
            chain,
            device_id,
            route_id,
            capability,
            host_name,
            relays,
            caveats,
        })
    }

    /// Writes body and check.
    ///
    /// # Errors
    /// [`NoSpace`], also where it is longer than [`GUEST_MAX`].
    pub fn emit(&self, w: &mut Writer<'_>) -> Result<(), NoSpace> {
        let mut bytes = [0; GUEST_MAX];
        let body = self.body(&mut bytes);
        let emitted = body.and_then(|body| w.bytes(body).and_then(|()| w.bytes(&check_of(body))));
        bytes.zeroize();
        emitted
    }

    fn body<'b>(&self, out: &'b mut [u8; GUEST_MAX]) -> Result<&'b [u8], NoSpace> {
        let most = GUEST_MAX.saturating_sub(CHECK_LEN);
        let mut w = Writer::new(out.get_mut(..most).unwrap_or_default());
        w.bytes(&[VERSION, self.suite.to_byte(), if self.plain { PLAIN } else { 0 }])?;
        w.u32(self.expiry)?;
        w.bytes(self.host.as_bytes())?;
        w.bytes(self.seed.secret().expose())?;
        w.bytes(self.chain.secret().expose())?;
        w.bytes(&self.device_id)?;
        w.bytes(&self.route_id)?;
        w.bytes(self.capability.expose())?;
        w.text(self.host_name)?;
        w.u8(u8::try_from(self.relays.len()).map_err(|_| NoSpace)?)?;
        for relay in &self.relays {
            w.text(relay)?;
        }
        self.caveats.emit(&mut w)?;
        let len = w.len();
        Ok(out.get(..len).unwrap_or_default())
    }

    /// Writes `homing://guest/…`.
    ///
    /// # Errors
    /// [`fmt::Error`] where `out` does not take it, or where it is longer than [`GUEST_MAX`].
    pub fn write_link(&self, out: &mut impl Write) -> fmt::Result {
        out.write_str(APP)?;
        self.write_letters(out)
    }

    /// Writes `https://RELAY/guest#…`, with the first relay. The secrets are in the fragment, which
    /// reaches no server.
    ///
    /// # Errors
    /// As [`write_link`](Self::write_link).
    pub fn write_web_link(&self, out: &mut impl Write) -> fmt::Result {
        let scheme = if self.plain { "http" } else { "https" };
        write!(out, "{scheme}://{}/guest#", self.relays.first().map_or("", |relay| relay.as_str()))?;
        self.write_letters(out)
    }

    fn write_letters(&self, out: &mut impl Write) -> fmt::Result {
        let mut bytes = [0; GUEST_MAX];
        let mut w = Writer::new(&mut bytes);
        let emitted = self.emit(&mut w);
        let len = w.len();
        let mut letters = base32::encode(bytes.get(..len).unwrap_or_default());
        let written = emitted.map_err(|NoSpace| fmt::Error).and_then(|()| letters.try_for_each(|c| out.write_char(c)));
        drop(letters);
        bytes.zeroize();
        written
    }
}

fn letters(text: &str) -> Option<&str> {
    strip_prefix(text, APP).or_else(|| in_fragment(text, "guest"))
}

/// Whether a text has the form of a guest's link, and not of one to pair with.
#[must_use]
pub fn is_guest_link(text: &str) -> bool {
    letters(text.trim()).is_some()
}

/// Reads a guest's link of either form, in upper or lower case, with white space around it. Its
/// bytes are left in `buf`, for the caller to wipe.
///
/// # Errors
/// [`LinkError`].
pub fn parse_guest_link<'b>(text: &str, buf: &'b mut [u8; GUEST_MAX]) -> Result<GuestPass<'b>, LinkError> {
    let text = text.trim();
    if text.len() > GUEST_LINK_MAX {
        return Err(LinkError::Form);
    }
    let len = decode(letters(text).ok_or(LinkError::Form)?, buf)?;
    GuestPass::parse(buf.get(..len).unwrap_or_default()).map_err(LinkError::Ticket)
}

fn check_of(body: &[u8]) -> [u8; CHECK_LEN] {
    let [a, b, c, d, ..] = hash(&[PROTO, b" guest check", body]);
    [a, b, c, d]
}
