//! What the benches share: a clock that other programs do not disturb, raw bounds, both ends of a
//! channel. No figures, and nothing that measures sockets.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on stops at once")]

pub mod clock;
pub mod ends;
pub mod handshakes;
pub mod program;
pub mod raw;
pub mod records;
pub mod relay;
pub mod resume;
pub mod streams;
pub mod target;
