//! The homing protocol, without I/O.
//!
//! A *host* behind any NAT dials out to a *relay*; a *device* pairs once and then reaches the
//! host's services through it. This crate holds everything about that which is not a socket, a
//! clock or a source of randomness: those are arguments. It is `no_std`, keeps no payload and
//! allocates nothing.
//!
//! | layer | does |
//! |---|---|
//! | [`wire`] | bytes to values and back |
//! | [`crypto`] | keys as types, the AEAD behind one small trait |
//! | [`handshake`] | pairing and connecting, one type per state |
//! | [`session`] | sealed records: counters, epochs |
//! | [`mux`] | streams: credit, fair turns, half-close, reset |
//! | [`channel`] | handshake, session and mux behind one type |
//! | [`pairing`] | tickets, their text form, single use |
//! | [`hop`] | the link between an endpoint and a relay |
//! | [`relay`] | the relay's switch |
//! | [`keystore`] | the sealed state file |
//!
//! Each layer knows only those above it in the table. [`guide`] is for those who embed it.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod backoff;
pub mod channel;
pub mod crypto;
pub mod guide;
pub mod handshake;
pub mod hop;
pub mod keystore;
pub mod mux;
pub mod pairing;
pub mod relay;
pub mod session;
pub mod time;
pub mod wire;

pub use time::Instant;

/// Runs the example of the project's README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
