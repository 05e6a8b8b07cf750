//! Frames of a session's first records and of its end (protocol 9.1, 9.2).

use super::cursor::{Malformed, NoSpace, Reader, Writer};

/// Bytes of a bearer token.
pub const TOKEN_LEN: usize = 40;
/// Bytes of a relay capability.
pub const CAPABILITY_LEN: usize = 45;
/// The longest name of a host or device, and the longest text of a close, in bytes of UTF-8.
pub const MAX_NAME: usize = 64;

/// What a close ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The session with all its streams.
    Session,
    /// This attachment only; the session may be resumed on another.
    Channel,
}

/// The authenticated end of a session or channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close<'a> {
    /// What ends.
    pub scope: Scope,
    /// Why: a code of protocol 15.1.
    pub code: u16,
    /// A text for people, at most [`MAX_NAME`] bytes.
    pub text: &'a str,
}

impl<'a> Close<'a> {
    pub(super) fn parse(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let scope = match r.u8()? {
            0 => Scope::Session,
            1 => Scope::Channel,
            _ => return Err(Malformed),
        };
        Ok(Self { scope, code: r.u16()?, text: r.text(MAX_NAME)? })
    }

    pub(super) fn emit(&self, w: &mut Writer<'_>) -> Result<(), NoSpace> {
        w.u8(match self.scope {
            Scope::Session => 0,
            Scope::Channel => 1,
        })?;
        w.u16(self.code)?;
        w.text(clip(self.text))
    }
}

/// First frame of a pairing: the device says what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairFinish<'a> {
    /// Kind of device: 0 unknown, 1 command line, 2 browser, 3 phone.
    pub platform: u8,
    /// What its owner calls it, at most [`MAX_NAME`] bytes.
    pub name: &'a str,
}

impl<'a> PairFinish<'a> {
    pub(super) fn parse(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self { platform: r.u8()?, name: r.text(MAX_NAME)? })
    }

    pub(super) fn emit(&self, w: &mut Writer<'_>) -> Result<(), NoSpace> {
        w.u8(self.platform)?;
        w.text(clip(self.name))
    }
}

/// The host takes the device in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PairAccept<'a> {
    /// What the host calls the device.
    pub device_id: &'a [u8; 8],
    /// The device's bearer token.
    pub token: &'a [u8; TOKEN_LEN],
    /// The host's route at the relay.
    pub route_id: &'a [u8; 16],
    /// Lets the relay admit the device.
    pub capability: &'a [u8; CAPABILITY_LEN],
    /// The host's name, at most [`MAX_NAME`] bytes.
    pub host_name: &'a str,
}

impl core::fmt::Debug for PairAccept<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PairAccept").field("host_name", &self.host_name).finish_non_exhaustive()
    }
}

impl<'a> PairAccept<'a> {
    pub(super) fn parse(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            device_id: r.array()?,
            token: r.array()?,
            route_id: r.array()?,
            capability: r.array()?,
            host_name: r.text(MAX_NAME)?,
        })
    }

    pub(super) fn emit(&self, w: &mut Writer<'_>) -> Result<(), NoSpace> {
        w.bytes(self.device_id)?;
        w.bytes(self.token)?;
        w.bytes(self.route_id)?;
        w.bytes(self.capability)?;
        w.text(clip(self.host_name))
    }
}

/// First frame of a connection: the bearer token, and the session to go on with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Auth<'a> {
    /// The bearer token.
    pub token: &'a [u8; TOKEN_LEN],
    /// The session's id and the proof of owning it; none asks for a new session.
    pub resume: Option<(&'a [u8; 16], &'a [u8; 16])>,
}

impl core::fmt::Debug for Auth<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Auth").field("resume", &self.resume.is_some()).finish_non_exhaustive()
    }
}

const ZERO: &[u8; 16] = &[0; 16];

impl<'a> Auth<'a> {
    pub(super) fn parse(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let kind = r.u8()?;
        let token = r.array()?;
        let pair = (r.array()?, r.array()?);
        match kind {
            0 if pair == (ZERO, ZERO) => Ok(Self { token, resume: None }),
            1 => Ok(Self { token, resume: Some(pair) }),
            _ => Err(Malformed),
        }
    }

    pub(super) fn emit(&self, w: &mut Writer<'_>) -> Result<(), NoSpace> {
        let (id, proof) = self.resume.unwrap_or((ZERO, ZERO));
        w.u8(u8::from(self.resume.is_some()))?;
        w.bytes(self.token)?;
        w.bytes(id)?;
        w.bytes(proof)
    }
}

/// The host's answer to [`Auth`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthOk<'a> {
    /// The host's proof of owning the resumed session; none where the session is new.
    pub resumed: Option<&'a [u8; 16]>,
}

impl<'a> AuthOk<'a> {
    pub(super) fn parse(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let kind = r.u8()?;
        let proof = r.array()?;
        match kind {
            0 if proof == ZERO => Ok(Self { resumed: None }),
            1 => Ok(Self { resumed: Some(proof) }),
            _ => Err(Malformed),
        }
    }

    pub(super) fn emit(&self, w: &mut Writer<'_>) -> Result<(), NoSpace> {
        w.u8(u8::from(self.resumed.is_some()))?;
        w.bytes(self.resumed.unwrap_or(ZERO))
    }
}

/// The longest beginning of `text` that fits into [`MAX_NAME`] bytes.
fn clip(text: &str) -> &str {
    let mut end = text.len().min(MAX_NAME);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default()
}
