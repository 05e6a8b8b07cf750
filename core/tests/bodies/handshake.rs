//! Handshake messages that are arbitrary, and valid ones that were changed: all are refused. Most
//! fall at the outer MAC, as most of what reaches a host does; a fraction carries a right one.

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use homing_core::crypto::{Secret, mac16};
use homing_core::handshake::{Suite, host_mac1_key, parse_failure};

use super::ends::{CHANNEL, Ends};

#[derive(Arbitrary, Clone, Debug)]
pub struct Input<'a> {
    pub hybrid: bool,
    pub pairs: bool,
    pub at: At,
    pub what: What<'a>,
}

/// Who hears it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The host, as it is.
    Host,
    /// The host, with an outer MAC that fits: from a device that knows the ticket or the host's key.
    HostBehindMac,
    /// The device that waits for an answer.
    Device,
}

// Agreeing on keys takes a hundred times as long as refusing a message: it is tried less often.
impl Arbitrary<'_> for At {
    fn arbitrary(u: &mut arbitrary::Unstructured<'_>) -> arbitrary::Result<Self> {
        Ok(match u8::arbitrary(u)? {
            0x40 => Self::Device,
            0x80 => Self::HostBehindMac,
            _ => Self::Host,
        })
    }

    fn size_hint(_: usize) -> (usize, Option<usize>) {
        (1, Some(1))
    }
}

#[derive(Arbitrary, Clone, Debug)]
pub enum What<'a> {
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

struct Known {
    ends: Ends,
    hello: Vec<u8>,
    reply: Vec<u8>,
}

/// The four handshakes, classic before hybrid, connecting before pairing.
static KNOWN: LazyLock<[Known; 4]> = LazyLock::new(|| {
    [(Suite::Classic, false), (Suite::Classic, true), (Suite::Hybrid, false), (Suite::Hybrid, true)].map(
        |(suite, pairs)| {
            let ends = Ends::new(suite, pairs);
            let (hello, _) = ends.hello();
            let (reply, ..) = ends.reply(ends.hear(&mut hello.clone()).expect("a valid hello"));
            Known { ends, hello, reply }
        },
    )
});

pub fn check(input: &Input<'_>) {
    let Known { ends, hello, reply } = &KNOWN[usize::from(input.hybrid) * 2 + usize::from(input.pairs)];
    if input.at == At::Device {
        let mut changed = input.what.apply(reply);
        let _ = parse_failure(&changed);
        let same = changed == *reply;
        assert_eq!(ends.hello().1.read(&mut changed).is_ok(), same);
        return;
    }
    let mut changed = input.what.apply(hello);
    let _ = parse_failure(&changed);
    if input.at == At::HostBehindMac
        && let Some((body, mac)) = changed.split_last_chunk_mut::<16>()
    {
        let key = if input.pairs { Secret::new([0x66; 32]) } else { host_mac1_key(ends.host.public()) };
        *mac = mac16(key.expose(), &[body, &CHANNEL]);
    }
    let same = changed == *hello;
    assert_eq!(ends.hear(&mut changed).is_ok(), same);
}
