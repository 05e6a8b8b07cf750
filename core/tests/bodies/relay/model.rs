//! Who is joined with whom, and what each may still send: from what the switch says, nothing else.

use std::collections::{BTreeMap, HashMap};

use homing_core::crypto::PublicKey;
use homing_core::hop::{self, ChannelId, Code, DEVICE_IDX, EARLY_CREDIT, Frame};
use homing_core::relay::{LinkId, Outbox};

#[derive(Default)]
pub(super) struct Seen {
    pub(super) links: BTreeMap<usize, (LinkId, Challenge)>,
    /// Links that were attached to wait, and the host of those that were confirmed.
    pub(super) waiting: HashMap<LinkId, Option<u8>>,
    /// The host of the registration or dial that is being handled.
    pub(super) host: u8,
    /// Whether that is a dial with a good proof.
    pub(super) may_knock: bool,
    pub(super) opened: HashMap<ChannelId, LinkId>,
    pub(super) channels: Vec<Channel>,
    /// What waits on links, also on those that were hung up, of channels that are over.
    pub(super) over: HashMap<LinkId, Over>,
    pub(super) knocks: usize,
    /// Channels that had traffic, over the whole run.
    pub(super) joined: usize,
}

#[derive(Clone, Copy)]
pub(super) struct Challenge {
    pub(super) nonce: [u8; 32],
    pub(super) ephemeral: PublicKey,
}

pub(super) struct Channel {
    pub(super) host: LinkId,
    pub(super) idx: u32,
    pub(super) device: LinkId,
    pub(super) accepted: bool,
    pub(super) up: Flow,
    pub(super) down: Flow,
}

/// A channel that is over, and what waits of all such.
#[derive(Clone, Copy, Default)]
pub(super) struct Over {
    pub(super) idx: u32,
    pub(super) bytes: u64,
}

/// Sums over what was seen, nothing else.
pub(super) struct Flow {
    pub(super) granted: u64,
    pub(super) allowed: u64,
    pub(super) arrived: u64,
    pub(super) left: u64,
}

impl Flow {
    fn new() -> Self {
        let early = u64::from(EARLY_CREDIT);
        Self { granted: early, allowed: early, arrived: 0, left: 0 }
    }
}

impl Seen {
    pub(super) fn forget(&mut self, link: LinkId) {
        self.links.retain(|_, known| known.0 != link);
        self.waiting.remove(&link);
        self.close(|channel| channel.device == link || channel.host == link);
    }

    fn close(&mut self, is_over: impl Fn(&Channel) -> bool) {
        for channel in self.channels.extract_if(.., |channel| is_over(channel)) {
            let ends = [(channel.host, channel.idx, &channel.up), (channel.device, DEVICE_IDX, &channel.down)];
            for (link, idx, flow) in ends {
                let bytes = flow.arrived - flow.left;
                if bytes > 0 {
                    let over = self.over.entry(link).or_default();
                    *over = Over { idx, bytes: over.bytes + bytes };
                }
            }
        }
    }

    /// Places that are taken by links, or by what waits for those that were hung up.
    pub(super) fn places(&self) -> usize {
        let is_leaving = |link: &&LinkId| self.links.get(&link.slot()).is_none_or(|known| known.0 != **link);
        self.links.len() + self.over.keys().filter(is_leaving).count()
    }
}

impl Outbox for Seen {
    fn control(&mut self, link: LinkId, message: &[u8]) {
        assert!(message.len() <= hop::MAX_CONTROL);
        let (idx, frame) = Frame::parse(message).expect("the switch speaks the protocol");
        match frame {
            Frame::Hello(hello) => {
                let challenge = Challenge { nonce: hello.nonce, ephemeral: hello.ephemeral };
                assert!(self.links.insert(link.slot(), (link, challenge)).is_none(), "one link in a slot");
            }
            Frame::Opened { channel_id, .. } => {
                assert_eq!(idx, DEVICE_IDX);
                self.opened.insert(channel_id, link);
            }
            Frame::Incoming(incoming) => {
                let device = self.opened.remove(&incoming.channel_id).expect("OPENED comes first");
                assert!(self.channels.iter().all(|c| (c.host, c.idx) != (link, idx) && c.device != device));
                let (up, down) = (Flow::new(), Flow::new());
                self.channels.push(Channel { host: link, idx, device, accepted: false, up, down });
                self.joined += 1;
            }
            Frame::Credit { bytes } => {
                let to_host = |c: &&mut Channel| c.host == link && c.idx == idx;
                let flow = match self.channels.iter_mut().find(to_host) {
                    Some(channel) => &mut channel.down,
                    None => {
                        let to_device = |c: &&mut Channel| c.device == link && idx == DEVICE_IDX;
                        &mut self.channels.iter_mut().find(to_device).expect("credit for a live channel").up
                    }
                };
                flow.granted += u64::from(bytes);
                assert!(flow.granted <= flow.allowed, "no more than the receiver takes");
            }
            Frame::Closed { .. } if idx != 0 => {
                self.close(|c| (c.host, c.idx) == (link, idx) || (c.device == link && idx == DEVICE_IDX));
            }
            Frame::Ok { ttl } => {
                let host = self.host;
                let waits = self.waiting.get_mut(&link);
                assert_eq!(ttl == 0, waits.is_some(), "silence ends all but waiting");
                if let Some(waits) = waits {
                    assert_eq!(waits.replace(host), None, "confirmed once");
                    let same = self.waiting.values().filter(|waits| **waits == Some(host));
                    assert_eq!(same.count(), 1, "one waits for a route");
                    // Dials that were parked, good ones among them, knock now.
                    self.may_knock = true;
                }
            }
            Frame::Knock => {
                assert!(self.may_knock, "only a good dial knocks");
                assert_eq!(self.waiting.get(&link), Some(&Some(self.host)), "at its own host");
                self.knocks += 1;
            }
            Frame::Closed { .. } | Frame::Pong(_) => {}
            other => panic!("the switch never says {other:?}"),
        }
    }

    fn hang_up(&mut self, link: LinkId, _: Code) {
        assert!(self.links.get(&link.slot()).is_some_and(|known| known.0 == link), "hung up once");
        // What a dead host's channels were is told to their devices first.
        assert!(self.channels.iter().all(|channel| channel.host != link));
        self.forget(link);
    }
}
