//! Handshake messages that are arbitrary, and valid ones that were changed: all are refused.
#![no_main]

use arbitrary::Arbitrary;
use homing_core::handshake::{Suite, parse_failure};
use homing_fuzz::ends::Ends;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    hybrid: bool,
    pairs: bool,
    reply: bool,
    what: What<'a>,
}

#[derive(Arbitrary, Debug)]
enum What<'a> {
    /// These bytes.
    Raw(&'a [u8]),
    /// These bytes behind a valid beginning of a message of the right length.
    Tail(u16, &'a [u8]),
    /// A valid message with bytes changed.
    Changed(Vec<(u16, u8)>),
    /// A valid message of another length.
    Cut(u16, &'a [u8]),
}

impl What<'_> {
    fn apply(&self, message: &[u8]) -> Vec<u8> {
        let mut out = message.to_vec();
        match *self {
            What::Raw(bytes) => out = bytes.to_vec(),
            What::Tail(place, bytes) => {
                let place = usize::from(place) % out.len();
                let tail = &mut out[place..];
                let len = tail.len().min(bytes.len());
                tail[..len].copy_from_slice(&bytes[..len]);
            }
            What::Changed(ref changes) => {
                for (place, change) in changes {
                    let place = usize::from(*place) % out.len();
                    out[place] ^= change;
                }
            }
            What::Cut(place, bytes) => {
                out.truncate(usize::from(place) % out.len());
                out.extend(bytes);
            }
        }
        out
    }
}

fuzz_target!(|input: Input<'_>| {
    let suite = if input.hybrid { Suite::Hybrid } else { Suite::Classic };
    let ends = Ends::new(suite, input.pairs);
    let (mut hello, state) = ends.hello();
    if input.reply {
        let (reply, ..) = ends.reply(ends.hear(&mut hello).expect("a valid hello"));
        let mut changed = input.what.apply(&reply);
        let _ = parse_failure(&changed);
        let same = changed == reply;
        assert_eq!(state.read(&mut changed).is_ok(), same);
    } else {
        let mut changed = input.what.apply(&hello);
        let same = changed == hello;
        assert_eq!(ends.hear(&mut changed).is_ok(), same);
    }
});
