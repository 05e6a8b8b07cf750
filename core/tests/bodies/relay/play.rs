//! Each step against the switch, and what the model expects of it.

use core::time::Duration;

use homing_core::crypto::Secret;
use homing_core::hop::{self, Capability, Code, DATA_HEADER_LEN, DEVICE_IDX, Dial, Frame, Register, register_mac};
use homing_core::relay::Handled;
use homing_core::wire::MAX_RECORD;
use rand_core::TryRng;

use super::model::{Channel, Over};
use super::{Bytes, LINKS, RELAY, ROUTES, Run, Step, UNIX};

impl Run {
    pub fn step(&mut self, step: Step<'_>) {
        match step {
            Step::Attach => {
                let full = self.seen.places() == LINKS;
                let link = self.switch.attach(self.now, RELAY, &mut self.rng, &mut self.seen);
                assert_eq!(link.is_err(), full);
            }
            Step::AttachWaiting => {
                let full = self.seen.places() == LINKS;
                let link = self.switch.attach_waiting(self.now, RELAY, &mut self.rng, &mut self.seen);
                assert_eq!(link.is_err(), full);
                if let Ok(link) = link {
                    self.seen.waiting.insert(link, None);
                }
            }
            Step::Register { link, host, honest } => {
                let Some((link, challenge)) = self.link(link) else { return };
                self.seen.host = host & 1;
                let (host, route) = (host & 1, &ROUTES[usize::from(host & 1)]);
                let shared = route.agree(&challenge.ephemeral).unwrap();
                let mut mac = register_mac(&shared, RELAY, &challenge.nonce, &challenge.ephemeral, route.public());
                mac[0] ^= u8::from(!honest);
                let key = [host; 32];
                let register =
                    Register { route: *route.public(), mac, current: &key, previous: &key, operator_key: b"" };
                self.say(link, 0, &Frame::Register(register));
                self.seen.may_knock = false;
            }
            Step::Dial { link, host, honest } => {
                let Some((link, challenge)) = self.link(link) else { return };
                let (host, route) = (host & 1, &ROUTES[usize::from(host & 1)]);
                let route_id = hop::route_id(route.public());
                let expiry = UNIX as u32 + 86_400;
                let mut cap_id = [0; 8];
                self.rng.try_fill_bytes(&mut cap_id).unwrap();
                let capability = Capability::mint(&Secret::new([host; 32]), &route_id, cap_id, expiry, 0);
                let mut proof = capability.dial_proof(RELAY, &challenge.nonce);
                proof[0] ^= u8::from(!honest);
                (self.seen.host, self.seen.may_knock) = (host, honest);
                let before = self.seen.joined;
                self.say(link, DEVICE_IDX, &Frame::Dial(Dial { route_id, cap_id, expiry, class: 0, proof }));
                self.seen.may_knock = false;
                assert!(honest || self.seen.joined == before, "no channel without a proof");
            }
            Step::PairSlot { link, slot, ttl } => {
                let Some((link, _)) = self.link(link) else { return };
                self.say(link, 0, &Frame::PairSlot { rv_hash: hop::rv_hash(&[slot & 1; 16]), ttl });
            }
            Step::DialPair { link, slot } => {
                let Some((link, _)) = self.link(link) else { return };
                self.say(link, DEVICE_IDX, &Frame::DialPair { rendezvous: [slot & 1; 16] });
            }
            Step::Accept { channel, credit } => {
                let Some(at) = self.channel(channel) else { return };
                let channel = &mut self.seen.channels[at];
                let (host, idx) = (channel.host, channel.idx);
                if !channel.accepted {
                    channel.accepted = true;
                    channel.up.allowed += u64::from(credit);
                }
                self.say(host, idx, &Frame::Accept { credit });
            }
            Step::Refuse { channel } => {
                let Some(at) = self.channel(channel) else { return };
                let (host, idx) = (self.seen.channels[at].host, self.seen.channels[at].idx);
                let accepted = self.seen.channels[at].accepted;
                self.say(host, idx, &Frame::Refuse { code: Code::Refused });
                assert!(accepted || self.seen.channels.iter().all(|c| (c.host, c.idx) != (host, idx)));
            }
            Step::Deny { link } => {
                let Some((link, _)) = self.link(link) else { return };
                self.say(link, 0, &Frame::CapDeny { cap_id: [0; 8], until: u32::MAX });
            }
            Step::Data { channel, up, len } => self.data(channel, up, len.into()),
            Step::Strange { link, idx, len } => {
                let Some((link, _)) = self.link(link) else { return };
                let own = |c: &Channel| (c.host, c.idx) == (link, idx) || (c.device == link && idx == DEVICE_IDX);
                if !self.seen.channels.iter().any(own) && idx != 0 {
                    let mut message = [&hop::data_header(idx)[..], &vec![0; len.into()]].concat();
                    let handled = self.switch.handle(self.now, link, &mut message, &mut self.rng, &mut self.seen);
                    assert!(!matches!(handled, Ok(Handled::Forward { .. })), "DATA of no channel goes nowhere");
                }
            }
            Step::Credit { channel, up, bytes } => {
                let Some(at) = self.channel(channel) else { return };
                let channel = &mut self.seen.channels[at];
                let (link, idx, flow) = if up {
                    (channel.host, channel.idx, &mut channel.up)
                } else {
                    (channel.device, DEVICE_IDX, &mut channel.down)
                };
                flow.allowed += u64::from(bytes);
                self.say(link, idx, &Frame::Credit { bytes });
            }
            Step::Close { channel, up } => {
                let Some(at) = self.channel(channel) else { return };
                let channel = &self.seen.channels[at];
                let (host, idx, device) = (channel.host, channel.idx, channel.device);
                let (link, number) = if up { (device, DEVICE_IDX) } else { (host, idx) };
                self.say(link, number, &Frame::Closed { code: Code::Normal });
                assert!(self.seen.channels.iter().all(|c| (c.host, c.idx) != (host, idx)));
                assert!(self.seen.links.values().all(|known| known.0 != device));
            }
            Step::Sent { channel, up, bytes } => {
                let Some(at) = self.channel(channel) else { return };
                let channel = &mut self.seen.channels[at];
                let (link, idx, flow) = if up {
                    (channel.host, channel.idx, &mut channel.up)
                } else {
                    (channel.device, DEVICE_IDX, &mut channel.down)
                };
                // A server tells no more than there was, the switch must not mind if it does.
                flow.left = flow.arrived.min(flow.left.saturating_add(bytes.into()));
                self.switch.sent(self.now, link, idx, bytes as usize, &mut self.seen);
            }
            Step::Detach { link } => {
                let Some((link, _)) = self.link(link) else { return };
                self.switch.detach(link, &mut self.seen);
                assert!(self.seen.channels.iter().all(|channel| channel.host != link && channel.device != link));
                self.seen.forget(link);
                self.seen.over.remove(&link);
                self.switch.detach(link, &mut self.seen);
            }
            Step::Late { link, bytes, gone } => self.late(link, bytes, gone),
            Step::Garbage { link, message: Bytes(message) } => {
                // Messages that fit into the model have steps of their own.
                if matches!(message.first(), Some(0x88..=0x8d)) && Frame::parse(message).is_ok() {
                    return;
                }
                let Some((link, _)) = self.link(link) else { return };
                let _ = self.switch.handle(self.now, link, &mut message.to_vec(), &mut self.rng, &mut self.seen);
            }
            Step::Wait { millis } => {
                self.now = self.now + Duration::from_millis(millis.into());
                self.switch.handle_timeout(self.now, &mut self.seen);
            }
        }
        self.check();
    }

    fn data(&mut self, channel: u8, up: bool, len: usize) {
        let Some(at) = self.channel(channel) else { return };
        let channel = &self.seen.channels[at];
        let (host, idx, device) = (channel.host, channel.idx, channel.device);
        let (from, number, to, expected, flow) = if up {
            (device, DEVICE_IDX, host, idx, &channel.up)
        } else {
            (host, idx, device, DEVICE_IDX, &channel.down)
        };
        let allowed = flow.arrived + len as u64 <= flow.granted && (up || channel.accepted);
        let mark = 1 + at as u8 * 2 + u8::from(up);
        let mut message = [&hop::data_header(number)[..], &vec![mark; len]].concat();
        let parses = (1..=MAX_RECORD).contains(&len);
        match self.switch.handle(self.now, from, &mut message, &mut self.rng, &mut self.seen) {
            Ok(Handled::Forward { to: link, idx }) => {
                assert!(allowed && parses);
                assert_eq!(message[..DATA_HEADER_LEN], hop::data_header(idx));
                assert!(message[DATA_HEADER_LEN..].iter().all(|byte| *byte == mark), "its own bytes");
                assert_eq!((link, idx), (to, expected), "DATA goes to its pair and nowhere else");
                let channel = &mut self.seen.channels[at];
                let flow = if up { &mut channel.up } else { &mut channel.down };
                flow.arrived += len as u64;
            }
            _ => {
                assert!(!allowed || !parses, "DATA within credit is forwarded");
                assert!(self.seen.channels.iter().all(|c| (c.host, c.idx) != (host, idx)), "it costs the channel");
            }
        }
    }

    pub(super) fn late(&mut self, at: u8, bytes: u32, gone: bool) {
        let mut links: Vec<_> = self.seen.over.iter().map(|(link, over)| (link.slot(), *link, *over)).collect();
        links.sort_by_key(|(slot, ..)| *slot);
        let Some(at) = usize::from(at).checked_rem(links.len()) else { return };
        let (slot, link, over) = links[at];
        let is_leaving = self.seen.links.get(&slot).is_none_or(|known| known.0 != link);
        let left = over.bytes.saturating_sub(bytes.into());
        if gone && is_leaving {
            self.seen.over.remove(&link);
            self.switch.detach(link, &mut self.seen);
        } else {
            if left == 0 {
                self.seen.over.remove(&link);
            } else {
                self.seen.over.insert(link, Over { bytes: left, ..over });
            }
            self.switch.sent(self.now, link, over.idx, bytes as usize, &mut self.seen);
        }
        if is_leaving {
            let handled = self.switch.handle(self.now, link, &mut [0; 9], &mut self.rng, &mut self.seen);
            assert_eq!(handled, Ok(Handled::Done), "who was hung up has nothing to say");
        }
    }
}
