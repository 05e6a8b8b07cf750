//! Why a handshake message was refused.

use core::fmt;

use crate::crypto::{Forged, WeakKey};
use crate::wire::{Malformed, NoSpace};

/// Why a handshake message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The message is not of this handshake.
    Type,
    /// The message has the wrong length.
    Length,
    /// The suite is unknown, or not the one expected.
    Suite,
    /// A reserved byte is not zero.
    Reserved,
    /// The sender was never given the host's key or ticket.
    Mac1,
    /// A part was not sealed with the keys expected, or its text is out of bounds.
    Forged,
    /// A public key of small order.
    WeakKey,
    /// An encapsulation key that fails the check of FIPS 203, 7.2.
    KemKey,
    /// The caller's buffer is too small.
    NoSpace,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Type => "not a message of this handshake",
            Self::Length => "handshake message of the wrong length",
            Self::Suite => "unknown or unexpected suite",
            Self::Reserved => "reserved byte is not zero",
            Self::Mac1 => "sender does not know the host's key",
            Self::Forged => "forged handshake message",
            Self::WeakKey => "public key of small order",
            Self::KemKey => "invalid encapsulation key",
            Self::NoSpace => "output buffer too small",
        })
    }
}

impl core::error::Error for Error {}

impl From<Forged> for Error {
    fn from(_: Forged) -> Self {
        Self::Forged
    }
}

impl From<WeakKey> for Error {
    fn from(_: WeakKey) -> Self {
        Self::WeakKey
    }
}

impl From<Malformed> for Error {
    fn from(_: Malformed) -> Self {
        Self::Length
    }
}

impl From<NoSpace> for Error {
    fn from(_: NoSpace) -> Self {
        Self::NoSpace
    }
}

/// What a host tells a device that it does not answer: a hint, neither secret nor authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Too many handshakes under way.
    Busy,
    /// The host does not speak this suite.
    Suite,
    /// Unknown or revoked device, used or expired ticket, or bad bytes: the host does not say which.
    Rejected,
}

impl core::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "host is busy",
            Self::Suite => "host does not support this suite",
            Self::Rejected => "host does not accept this device or ticket",
        })
    }
}
