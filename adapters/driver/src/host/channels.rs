//! What happens on a host's channels: knocks, first messages, records, goodbyes.

use core::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use homing_core::Instant;
use homing_core::channel::{Channel, PHASE_TIME, ResumeRequest};
use homing_core::handshake::{self, ChannelId, Failure, HELLO_MAX, Knock, REPLY_MAX, emit_failure};
use homing_core::hop::{self, Code, DATA_HEADER_LEN};
use homing_core::wire::{Caveats, Params};

use super::gate::{Gate, PairRequest};
use super::session::Session;
use super::sessions::{Attachment, DeviceKey, lock};
use super::slot::{Slot, State, Talk};
use super::{CHANNELS, Host};
use crate::conversation::{Answer, Conversation, HOST_STREAMS, Notice};
use crate::drive::Clock;
use crate::ended::Ended;
use crate::{LEAST_CREDIT, random};

impl<G: Gate, C: Clock> Host<'_, G, C> {
    pub(super) fn knock(&mut self, now: Instant, idx: u32, channel_id: ChannelId) {
        if self.channels.len() >= CHANNELS || !self.turnstile.is_new(&channel_id) {
            self.link.refuse(idx, Code::Busy);
            return;
        }
        self.incarnation = self.incarnation.wrapping_add(1);
        self.link.accept(idx);
        let slot = Slot {
            key: (u64::from(self.incarnation) << 32) | u64::from(idx),
            channel_id,
            cut: Arc::default(),
            visitor: None,
            deadline: now + PHASE_TIME,
            state: State::AwaitHello,
            queued: false,
        };
        if let Some(old) = self.channels.insert(idx, slot) {
            self.farewell(now, old);
        }
        self.note_timeout(idx);
    }

    /// The first message of a channel, checked in the order of protocol 6.4.
    pub(super) fn hello(&mut self, now: Instant, idx: u32, body: &[u8]) {
        let half_open = self.channels.values().filter(|slot| slot.is_half_open()).count();
        let Some(slot) = self.channels.get_mut(&idx) else { return };
        if body.len() > HELLO_MAX {
            return self.drop_channel(now, idx, Code::Protocol);
        }
        let mut hello = body.to_vec();
        let knock = match self.gate.hear(now, &slot.channel_id, &mut hello) {
            Ok(knock) => knock,
            // Silence for those who were never given the host's key or a ticket.
            Err(handshake::Error::Mac1) => return self.drop_channel(now, idx, Code::Refused),
            Err(handshake::Error::Suite) => return self.fail(idx, Failure::Suite, 0),
            Err(_) => return self.fail(idx, Failure::Rejected, 0),
        };
        if let Err(failure) = self.turnstile.pass(now, half_open) {
            return self.fail(idx, failure, 1000);
        }
        let own = Params { max_streams: HOST_STREAMS, ..Params::default() };
        let mut out = [0; REPLY_MAX];
        let answered = match knock {
            Knock::Connect(knock) => self.gate.recognise(&knock).map(|(known, visitor)| {
                let reply = knock.reply(&known.psk, own, &mut random(), &mut out);
                reply.map(|(len, keys, exports)| {
                    let channel = match &known.guest {
                        None => Channel::admit(&keys, known.token_hash, &self.config, now),
                        Some(_) => Channel::admit_guest(&keys, &self.config, now),
                    };
                    (len, channel, exports.check, None, visitor, Some((known.token_hash, known.guest)))
                })
            }),
            Knock::Pair(knock) => self.gate.pairing(now, &knock).map(|visitor| {
                let reply = knock.reply(own, &mut random(), &mut out);
                reply.map(|(len, keys, exports)| {
                    let channel = Channel::invite(&keys, &self.config, now);
                    (len, channel, exports.check, Some(exports.device_root), visitor, None)
                })
            }),
        };
        let Some(Ok((len, channel, check, device_root, visitor, device))) = answered else {
            return self.fail(idx, Failure::Rejected, 0);
        };
        let (device, guest) = device.map_or((None, None), |(device, guest)| (Some(device), guest));
        let conversation = Conversation::new(slot.key, channel, self.bell.clone()).expecting(guest);
        let conversation = Arc::new(Mutex::new(conversation));
        let attachment = device.map(|device| Attachment::new(device, self.sessions.next_epoch()));
        let talk = Talk { conversation, attachment, check, device_root, welcome: None, established: false };
        slot.visitor = Some(visitor);
        slot.state = State::Reply(out.get(..len).unwrap_or_default().to_vec(), Box::new(talk));
        self.queue(idx);
    }

    pub(super) fn talk(&mut self, now: Instant, idx: u32, body: &[u8]) {
        let mut notices = core::mem::take(&mut self.notices);
        let Some(slot) = self.channels.get_mut(&idx) else { return };
        // A revoked device's records are not opened, whatever else waits in the queues.
        let heard = match &mut slot.state {
            State::Talking(talk) if !slot.cut.load(Ordering::SeqCst) => {
                let mut resume = |request: &ResumeRequest, guest: Option<&DeviceKey>| match &talk.attachment {
                    Some(attachment) => self.sessions.claim(request, &attachment.by(guest), &talk.conversation),
                    None => Answer::Begin,
                };
                lock(&talk.conversation).handle(now, body, &mut notices, &mut resume)
            }
            State::Talking(_) | State::Leaving(..) => Ok(()),
            State::AwaitHello | State::Reply(..) => Err(Ended::Violation(hop::Violation::Unexpected)),
        };
        for notice in notices.drain(..) {
            self.notice(idx, notice);
        }
        self.notices = notices;
        if let Err(ended) = heard {
            tracing::debug!(%ended, "channel failed");
        }
        self.queue(idx);
    }

    pub(super) fn notice(&mut self, idx: u32, notice: Notice) {
        let Some(slot) = self.channels.get_mut(&idx) else { return };
        let State::Talking(talk) = &mut slot.state else { return };
        // The gate is never called with the conversation locked: who ends sessions from outside
        // takes the two the other way round.
        let id = lock(&talk.conversation).channel_ref().resumption().map(|known| *known.session_id());
        let session = Session { id, key: slot.key, cut: slot.cut.clone(), bell: self.bell.clone() };
        let Some(visitor) = &mut slot.visitor else { return };
        match notice {
            Notice::Established | Notice::PairAcknowledged => {
                talk.established = true;
                let guest = lock(&talk.conversation).introduction();
                let caveats = guest.as_ref().and_then(|guest| Caveats::from_bytes(&guest.caveats).ok());
                let introduced = caveats.map_or(Ok(()), |caveats| self.gate.introduced(visitor, caveats));
                match introduced.and_then(|()| self.gate.established(visitor, session)) {
                    Ok(capability) => {
                        if let Some(capability) = capability {
                            // Misses only where the outbox is full, which it is not at the beginning.
                            let offered = capability.to_bytes();
                            let _ = lock(&talk.conversation).channel().offer_capability(offered.expose());
                        }
                        if let Some(attachment) = &talk.attachment {
                            let attachment = attachment.by(guest.as_ref().map(|guest| &guest.token_hash));
                            self.sessions.enter(&attachment, &talk.conversation);
                        }
                    }
                    Err(code) => {
                        slot.cut.store(true, Ordering::SeqCst);
                        lock(&talk.conversation).sever(code);
                    }
                }
            }
            Notice::PairRequested { platform, name } => {
                if let Some(device_root) = talk.device_root.take() {
                    let request = PairRequest { platform, name, check: talk.check, device_root };
                    self.gate.pair_requested(visitor, request, session);
                }
            }
            // Streams that came along with a token which was refused after all go nowhere.
            Notice::Incoming(_) if slot.cut.load(Ordering::SeqCst) => {}
            Notice::Incoming(stream) => self.gate.incoming(visitor, stream),
            Notice::Closed { .. } | Notice::PairPending { .. } | Notice::Paired(_) | Notice::Capability(_) => {}
        }
    }

    /// Tells the device that it is not answered, then closes.
    pub(super) fn fail(&mut self, idx: u32, failure: Failure, retry_ms: u32) {
        let mut out = [0; 8];
        let len = emit_failure(failure, retry_ms, &mut out).unwrap_or(0);
        if let Some(slot) = self.channels.get_mut(&idx) {
            slot.state = State::Leaving(out.get(..len).unwrap_or_default().to_vec(), Code::Refused);
        }
        self.queue(idx);
    }

    pub(super) fn drop_channel(&mut self, now: Instant, idx: u32, code: Code) {
        self.link.close(idx, code);
        if let Some(slot) = self.channels.remove(&idx) {
            self.farewell(now, slot);
        }
    }

    pub(super) fn farewell(&mut self, now: Instant, slot: Slot<G::Visitor>) {
        if let Some(talk) = slot.talk() {
            self.sessions.leave(&talk.conversation, now);
        }
        if let Some(visitor) = slot.visitor {
            self.gate.ended(visitor);
        }
    }

    /// The channel may have something to say.
    pub(super) fn queue(&mut self, idx: u32) {
        if let Some(slot) = self.channels.get_mut(&idx)
            && !core::mem::replace(&mut slot.queued, true)
        {
            self.ready.push_back(idx);
        }
        self.note_timeout(idx);
    }

    pub(super) fn note_timeout(&mut self, idx: u32) {
        if let Some(at) = self.channels.get(&idx).and_then(Slot::poll_timeout) {
            self.next_timeout = Some(self.next_timeout.map_or(at, |known| known.min(at)));
        }
    }

    /// One channel's next message.
    pub(super) fn poll_channel(&mut self, now: Instant, idx: u32, out: &mut [u8]) -> Option<usize> {
        let credit = self.link.credit(idx);
        let slot = self.channels.get_mut(&idx)?;
        match &mut slot.state {
            State::AwaitHello => None,
            State::Reply(_, talk) if lock(&talk.conversation).channel_ref().is_over() => {
                self.drop_channel(now, idx, Code::Timeout);
                None
            }
            State::Reply(message, _) | State::Leaving(message, _) => {
                let len = message.len();
                let room = out.get_mut(..DATA_HEADER_LEN.saturating_add(len))?;
                let header = self.link.data_header(idx, len)?;
                room[..DATA_HEADER_LEN].copy_from_slice(&header);
                room[DATA_HEADER_LEN..].copy_from_slice(message);
                match core::mem::replace(&mut slot.state, State::AwaitHello) {
                    State::Reply(_, talk) => slot.state = State::Talking(talk),
                    State::Leaving(_, code) => self.drop_channel(now, idx, code),
                    State::AwaitHello | State::Talking(_) => {}
                }
                Some(DATA_HEADER_LEN.saturating_add(len))
            }
            State::Talking(talk) => {
                if credit < LEAST_CREDIT {
                    if lock(&talk.conversation).channel_ref().is_over() {
                        // A relay that takes nothing cannot keep the channel alive by that.
                        self.drop_channel(now, idx, Code::Normal);
                    }
                    return None;
                }
                let end = out.len().min(DATA_HEADER_LEN.saturating_add(credit));
                let room = out.get_mut(DATA_HEADER_LEN..end)?;
                let welcomed = talk.welcome.take().and_then(|welcome| talk.welcome(&welcome, now, room));
                let polled = welcomed.or_else(|| lock(&talk.conversation).poll_output(now, room).ok().flatten());
                let Some(len) = polled else {
                    if lock(&talk.conversation).channel_ref().is_over() {
                        self.drop_channel(now, idx, Code::Normal);
                    }
                    return None;
                };
                let header = self.link.data_header(idx, len)?;
                out.get_mut(..DATA_HEADER_LEN)?.copy_from_slice(&header);
                Some(DATA_HEADER_LEN.saturating_add(len))
            }
        }
    }

    pub(super) fn by_key(&mut self, key: u64) -> Option<(u32, &mut Slot<G::Visitor>)> {
        let [a, b, c, d, ..] = key.to_le_bytes();
        let idx = u32::from_le_bytes([a, b, c, d]);
        self.channels.get_mut(&idx).filter(|slot| slot.key == key).map(|slot| (idx, slot))
    }
}
