//! Sessions that outlive their channels: links that are cut at any record, in any order, also while
//! the next one begins; what both ends deliver is exact all the same (protocol 10.3).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod cuts;
mod end;
mod sessions;
#[path = "../support/mod.rs"]
mod support;
mod world;

use homing_core::channel::Channel;
use homing_core::wire::Params;

const STREAMS: usize = 16;
/// Of its streams, half are the peer's to open.
const FEW: Params =
    Params { features: 0, max_record: 16_384, max_streams: 8, session_window: 128 << 10, stream_window: 64 << 10 };
const TOKEN: [u8; 40] = [7; 40];
type Chan = Channel<STREAMS>;
