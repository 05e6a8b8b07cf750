//! What errors say to people: something, each its own, in lower case and without a full stop, so
//! that it fits behind "cannot connect: ".

use core::fmt::Display;
use std::collections::BTreeSet;

use homing_core::pairing::{LinkError, Refused, TicketError};
use homing_core::session::{Discard, Replayed, SealError};
use homing_core::wire::{Malformed, NoSpace};
use homing_core::{channel, crypto, handshake, hop, keystore, mux, relay};

fn check<E: Display>(errors: &[E]) {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    for text in &texts {
        assert!(text.len() >= 5, "{text:?}");
        assert!(text.starts_with(|first: char| first.is_ascii_lowercase()), "{text:?}");
        assert!(!text.ends_with('.'), "{text:?}");
    }
    let own: BTreeSet<_> = texts.iter().collect();
    assert_eq!(own.len(), texts.len(), "two errors say the same: {texts:?}");
}

#[test]
fn every_error_says_something_of_its_own() {
    check(&[Discard::Malformed, Discard::Order, Discard::Epoch, Discard::Forged, Discard::Replayed, Discard::Worn]);
    check(&[SealError::Length, SealError::Exhausted]);
    check(&[Replayed]);
    check(&[Malformed]);
    check(&[NoSpace]);
    check(&[crypto::WeakKey]);
    check(&[crypto::Forged]);
    use mux::Violation as Mux;
    check(&[
        Mux::Unexpected,
        Mux::FlowControl,
        Mux::Offset,
        Mux::StreamState,
        Mux::StreamLimit,
        Mux::Acknowledgement,
        Mux::FinalSize,
        Mux::Flood,
    ]);
    use channel::Error as Channel;
    check(&[
        Channel::Discard(Discard::Forged),
        Channel::Violation(Mux::Flood),
        Channel::Protocol,
        Channel::Token,
        Channel::Timeout,
        Channel::Exhausted,
        Channel::NoSpace,
        Channel::Misuse,
        Channel::Over,
    ]);
    use handshake::{Error as Handshake, Failure};
    check(&[
        Handshake::Type,
        Handshake::Length,
        Handshake::Suite,
        Handshake::Reserved,
        Handshake::Mac1,
        Handshake::Forged,
        Handshake::WeakKey,
        Handshake::KemKey,
        Handshake::NoSpace,
    ]);
    check(&[Failure::Busy, Failure::Suite, Failure::Rejected]);
    use hop::Violation as Hop;
    check(&[Hop::Malformed, Hop::Unexpected, Hop::Version, Hop::WeakKey, Hop::Flood]);
    check(&[hop::Lost]);
    check(&[hop::TooLong]);
    check(&[hop::QueueFull]);
    check(&[hop::Exceeded]);
    check(&hop::Code::ALL);
    check(&[relay::AttachError::Full, relay::AttachError::Name]);
    check(&[
        keystore::Error::NotAKeystore,
        keystore::Error::UnknownVersion(2),
        keystore::Error::UnknownKeySource(keystore::SOURCE_PASSPHRASE),
        keystore::Error::UnknownKeySource(9),
        keystore::Error::WrongKey,
        keystore::Error::Damaged,
    ]);
    check(&[Refused::TooMany, Refused::Gone, Refused::Used]);
    check(&[
        TicketError::Length,
        TicketError::Check,
        TicketError::Version,
        TicketError::Unsupported,
        TicketError::Relay,
    ]);
    check(&[LinkError::Form, LinkError::Letters, LinkError::Ticket(TicketError::Check)]);
}
