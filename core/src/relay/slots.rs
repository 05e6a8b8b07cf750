//! What the switch keeps of a link and of a channel.

use core::fmt;
use core::time::Duration;

use heapless::{String, Vec};

use super::flow::Flow;
use super::list::{Hook, Hooked, List};
use crate::crypto::{Identity, Secret, same};
use crate::hop::{CapId, Capability, Code, Dial, KNOCK_TIME, MAX_NAME, RouteId, RvHash, Windows};
use crate::time::Instant;

/// Channels that one switch can hold; storage beyond that is not used.
pub const MAX_CHANNELS: u32 = 1 << SLOT_BITS;

/// Bits of a channel's number at its host that name the slot; the others tell its lives apart.
const SLOT_BITS: u32 = 20;

/// Pairing slots per host.
pub(super) const PAIR_SLOTS: usize = 4;
/// Capabilities per host that the relay remembers as denied.
const DENIED: usize = 16;
/// Capabilities per host whose dials are counted.
const RATES: usize = 8;

/// Hook of free, greeted and idle links, and of free and offered channels.
pub(super) const QUEUE: u8 = 0;
/// Hook of parked links, and of the channels of one host.
pub(super) const GROUP: u8 = 1;

/// Room for a link.
pub struct LinkSlot {
    pub(super) generation: u32,
    pub(super) role: Role,
    /// When something arrived, to the second; before that, when the link was attached.
    pub(super) heard: Instant,
    pub(super) round_trip: Duration,
    pub(super) name: String<MAX_NAME>,
    pub(super) nonce: [u8; 32],
    /// Hides from a host how many channels the relay has.
    pub(super) mask: u32,
    /// Whether its host only waits on it, to be woken.
    pub(super) waits: bool,
    /// Bytes that wait for this link, of channels that are over. They stay reserved.
    pub(super) over: u64,
    queue: Hook,
    group: Hook,
}

/// What a link is.
pub(super) enum Role {
    Free,
    Greeted {
        ephemeral: Identity,
    },
    /// Has proved its route; the caller is asked whether it may have it. In the list of the greeted.
    Asked(Door),
    Host(Host),
    /// A host that is not there, and comes when it is knocked at.
    Waiting(Waiting),
    Parked(Parked),
    Device {
        channel: u32,
    },
    /// Hung up, while bytes still wait for it.
    Leaving,
}

/// A registered host.
pub(super) struct Host {
    pub(super) door: Door,
    pub(super) channels: List<GROUP>,
    pub(super) pair_slots: Vec<PairSlot, PAIR_SLOTS>,
}

/// A host that waits to be woken.
pub(super) struct Waiting {
    pub(super) door: Door,
    /// When it was last knocked at, until it has answered.
    pub(super) knocked: Option<Instant>,
}

/// Whom a host lets in.
pub(super) struct Door {
    pub(super) route_id: RouteId,
    pub(super) keys: [Secret<32>; 2],
    denied: Vec<(CapId, u32), DENIED>,
    rates: Vec<Rate, RATES>,
}

/// A rendezvous value by which devices may dial a host.
#[derive(Clone, Copy)]
pub(super) struct PairSlot {
    pub(super) rv_hash: RvHash,
    pub(super) until: Instant,
    pub(super) dials: u8,
}

struct Rate {
    cap_id: CapId,
    since: Instant,
    dials: u8,
}

/// A dial that waits for its host.
#[derive(Clone, Copy)]
pub(super) struct Parked {
    pub(super) target: Target,
    pub(super) since: Instant,
}

#[derive(Clone, Copy)]
pub(super) enum Target {
    Route(Dial),
    Slot(RvHash),
}

impl Host {
    pub(super) const fn new(door: Door) -> Self {
        Self { door, channels: List::EMPTY, pair_slots: Vec::new() }
    }
}

impl Waiting {
    pub(super) const fn new(door: Door) -> Self {
        Self { door, knocked: None }
    }

    /// Whether a knock is due. One that is on its way counts for all dials that come with it.
    pub(super) fn knock(&mut self, now: Instant) -> bool {
        if self.knocked.is_some_and(|at| now.since(at) < KNOCK_TIME) {
            return false;
        }
        self.knocked = Some(now);
        true
    }
}

impl Door {
    pub(super) const fn new(route_id: RouteId, keys: [Secret<32>; 2]) -> Self {
        Self { route_id, keys, denied: Vec::new(), rates: Vec::new() }
    }

    /// What a dial is worth: `None` where it proves nothing, else whether it may come in, or why not.
    pub(super) fn check(
        &mut self,
        now: Instant,
        unix: u64,
        limit: u8,
        dial: &Dial,
        name: &str,
        nonce: &[u8; 32],
    ) -> Option<Result<(), Code>> {
        let proves = |key: &Secret<32>| {
            let capability = Capability::mint(key, &dial.route_id, dial.cap_id, dial.expiry, dial.class);
            same(&capability.dial_proof(name, nonce), &dial.proof)
        };
        // Who proved a capability may know that the host is there, whatever else is wrong.
        if !self.keys.iter().any(proves) {
            None
        } else if self.is_denied(&dial.cap_id, unix) {
            Some(Err(Code::Denied))
        } else if !self.may_dial(now, dial.cap_id, limit) {
            Some(Err(Code::Busy))
        } else {
            Some(Ok(()))
        }
    }

    /// Remembers a denial. Where there is no room, the one that ends first makes it: the host
    /// refuses what it revoked, this only spares it the trouble.
    pub(super) fn deny(&mut self, cap_id: CapId, until: u32) {
        if let Some(known) = self.denied.iter_mut().find(|denied| denied.0 == cap_id) {
            known.1 = until;
            return;
        }
        if self.denied.is_full()
            && let Some(at) = (0..self.denied.len()).min_by_key(|at| self.denied.get(*at).map(|denied| denied.1))
        {
            self.denied.swap_remove(at);
        }
        // There is room now.
        let _ = self.denied.push((cap_id, until));
    }

    fn is_denied(&self, cap_id: &CapId, unix: u64) -> bool {
        self.denied.iter().any(|denied| denied.0 == *cap_id && unix < denied.1.into())
    }

    /// Counts a dial. False where the capability has dialled too often this minute.
    fn may_dial(&mut self, now: Instant, cap_id: CapId, limit: u8) -> bool {
        const MINUTE: Duration = Duration::from_secs(60);
        self.rates.retain(|rate| now.since(rate.since) < MINUTE);
        if let Some(rate) = self.rates.iter_mut().find(|rate| rate.cap_id == cap_id) {
            rate.dials = rate.dials.saturating_add(1);
            return rate.dials <= limit;
        }
        if self.rates.is_full() {
            self.rates.remove(0);
        }
        // There is room now.
        let _ = self.rates.push(Rate { cap_id, since: now, dials: 1 });
        limit > 0
    }
}

impl Default for LinkSlot {
    fn default() -> Self {
        Self {
            generation: 0,
            role: Role::Free,
            heard: Instant::ZERO,
            round_trip: Duration::ZERO,
            name: String::new(),
            nonce: [0; 32],
            mask: 0,
            waits: false,
            over: 0,
            queue: Hook::FREE,
            group: Hook::FREE,
        }
    }
}

impl Hooked<QUEUE> for LinkSlot {
    fn hook(&mut self) -> &mut Hook {
        &mut self.queue
    }
}

impl Hooked<GROUP> for LinkSlot {
    fn hook(&mut self) -> &mut Hook {
        &mut self.group
    }
}

impl fmt::Debug for LinkSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.role {
            Role::Free => "LinkSlot(free)",
            Role::Greeted { .. } => "LinkSlot(greeted)",
            Role::Asked(_) => "LinkSlot(asked)",
            Role::Host(_) => "LinkSlot(host)",
            Role::Waiting(_) => "LinkSlot(waiting)",
            Role::Parked(_) => "LinkSlot(parked)",
            Role::Device { .. } => "LinkSlot(device)",
            Role::Leaving => "LinkSlot(leaving)",
        })
    }
}

/// Room for a channel.
#[derive(Debug, Default)]
pub struct ChannelSlot {
    pub(super) generation: u32,
    pub(super) channel: Option<Channel>,
    queue: Hook,
    group: Hook,
}

/// A device and a host joined. Both links live as long as the channel does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channel {
    pub(super) host: u32,
    pub(super) device: u32,
    /// The channel's number on the host's link.
    pub(super) idx: u32,
    /// When it was offered to the host, until the host has accepted.
    pub(super) offered: Option<Instant>,
    /// Device to host.
    pub(super) up: Flow,
    /// Host to device.
    pub(super) down: Flow,
}

impl Channel {
    pub(super) fn new(host: u32, device: u32, idx: u32, windows: Windows, now: Instant) -> Self {
        let flow = Flow::new(windows, now);
        Self { host, device, idx, offered: Some(now), up: flow, down: flow }
    }

    pub(super) fn reserved(&self) -> u64 {
        u64::from(self.up.reserved()).saturating_add(self.down.reserved().into())
    }
}

/// The number that a channel has on the link of a host with this mask; 0 is taken.
pub(super) const fn channel_idx(slot: u32, generation: u32, mask: u32) -> u32 {
    ((generation << SLOT_BITS) | slot) ^ mask
}

/// The slot that the number may belong to.
pub(super) const fn slot_of(idx: u32, mask: u32) -> u32 {
    (idx ^ mask) & (MAX_CHANNELS - 1)
}

impl Hooked<QUEUE> for ChannelSlot {
    fn hook(&mut self) -> &mut Hook {
        &mut self.queue
    }
}

impl Hooked<GROUP> for ChannelSlot {
    fn hook(&mut self) -> &mut Hook {
        &mut self.group
    }
}

impl Default for Hook {
    fn default() -> Self {
        Self::FREE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_small() {
        assert!(size_of::<LinkSlot>() <= 1024, "{}", size_of::<LinkSlot>());
        assert!(size_of::<ChannelSlot>() <= 256, "{}", size_of::<ChannelSlot>());
    }

    #[test]
    fn the_denials_that_end_first_make_room() {
        let mut host = Door::new([0; 16], [Secret::new([0; 32]), Secret::new([1; 32])]);
        for n in 0..=DENIED as u8 {
            host.deny([n; 8], 100 + u32::from(n));
        }
        host.deny([1; 8], 500);
        assert!(!host.is_denied(&[0; 8], 0));
        assert!(host.is_denied(&[1; 8], 499) && !host.is_denied(&[1; 8], 500));
        assert!(host.is_denied(&[DENIED as u8; 8], 0));
    }

    #[test]
    fn numbers_of_channels_lead_back_to_their_slots() {
        for (slot, generation, mask) in [(0, 1, 0), (5, 4097, 0xdead_beef), (MAX_CHANNELS - 1, u32::MAX, u32::MAX)] {
            assert_eq!(slot_of(channel_idx(slot, generation, mask), mask), slot);
        }
        assert_ne!(channel_idx(5, 1, 9), channel_idx(5, 2, 9));
    }
}
