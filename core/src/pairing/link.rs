//! A ticket as text: `homing://pair/…` for apps, `https://RELAY/pair#…` for browsers (protocol 5.2).

use core::fmt::{self, Write};

use super::base32::{self, DecodeError};
use super::ticket::{BODY_MAX, CHECK_LEN, Ticket, TicketError};
use crate::wire::Writer;

/// The longest link that is looked at.
pub const LINK_MAX: usize = 512;

const APP: &str = "homing://pair/";
const APP_QUERY: &str = "homing://pair?t=";
const MAX: usize = BODY_MAX + CHECK_LEN;

/// Why a text is no pairing link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// Neither form of link.
    Form,
    /// Letters that are not Base32.
    Letters,
    /// The ticket inside is refused.
    Ticket(TicketError),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str(
                "not a link of homing: they start with homing://pair/, homing://guest/, https://RELAY/pair# or \
                 https://RELAY/guest#",
            ),
            Self::Letters => f.write_str("the link has letters that do not belong there: copy it again"),
            Self::Ticket(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for LinkError {}

/// Reads a pairing link of either form, in upper or lower case, with white space around it.
///
/// # Errors
/// [`LinkError`].
pub fn parse_link(text: &str) -> Result<Ticket, LinkError> {
    let text = text.trim();
    if text.len() > LINK_MAX {
        return Err(LinkError::Form);
    }
    let letters =
        strip_prefix(text, APP).or_else(|| strip_prefix(text, APP_QUERY)).or_else(|| in_fragment(text, "pair"));
    let mut bytes = [0; MAX];
    let len = decode(letters.ok_or(LinkError::Form)?, &mut bytes)?;
    let ticket = Ticket::parse(bytes.get(..len).unwrap_or_default()).map_err(LinkError::Ticket);
    zeroize::Zeroize::zeroize(&mut bytes);
    ticket
}

/// The fragment of `https://RELAY/PATH#…`.
pub(super) fn in_fragment<'t>(text: &'t str, path: &str) -> Option<&'t str> {
    let (address, letters) = text.split_once('#')?;
    let scheme = strip_prefix(address, "https://").or_else(|| strip_prefix(address, "http://"))?;
    let (_, found) = scheme.split_once('/')?;
    found.eq_ignore_ascii_case(path).then_some(letters)
}

pub(super) fn decode(letters: &str, out: &mut [u8]) -> Result<usize, LinkError> {
    base32::decode(letters, out).map_err(|error| match error {
        DecodeError::Letter => LinkError::Letters,
        DecodeError::Length => LinkError::Ticket(TicketError::Length),
    })
}

pub(super) fn strip_prefix<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

impl Ticket {
    /// Writes `homing://pair/…`.
    ///
    /// # Errors
    /// [`fmt::Error`] where `out` does not take it.
    pub fn write_link(&self, out: &mut impl Write) -> fmt::Result {
        out.write_str(APP)?;
        self.write_letters(out)
    }

    /// Writes `https://RELAY/pair#…`. The secret is in the fragment, which reaches no server.
    ///
    /// # Errors
    /// [`fmt::Error`] where `out` does not take it.
    pub fn write_web_link(&self, out: &mut impl Write) -> fmt::Result {
        let scheme = if self.flags.plain { "http" } else { "https" };
        write!(out, "{scheme}://{}/pair#", self.relay)?;
        self.write_letters(out)
    }

    /// Writes the Base32 letters alone, for a QR code's second segment.
    ///
    /// # Errors
    /// [`fmt::Error`] where `out` does not take it.
    pub fn write_letters(&self, out: &mut impl Write) -> fmt::Result {
        let mut bytes = [0; MAX];
        let mut w = Writer::new(&mut bytes);
        self.emit(&mut w).map_err(|_| fmt::Error)?;
        let len = w.len();
        base32::encode(bytes.get(..len).unwrap_or_default()).try_for_each(|letter| out.write_char(letter))?;
        zeroize::Zeroize::zeroize(&mut bytes);
        Ok(())
    }
}
