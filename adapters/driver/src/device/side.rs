//! How the loop drives a call.

use std::sync::Arc;

use homing_core::Instant;
use homing_core::channel::{self, code};
use homing_core::hop::{self, Code, DATA_HEADER_LEN};
use homing_core::wire::Scope;

use super::Caller;
use super::opener::Command;
use super::running::{Device, Phase};
use crate::LEAST_CREDIT;
use crate::drive::{Clock, Side, leave_at};
use crate::ended::Ended;
use crate::pipe::Pipe;

impl<T: Caller, C: Clock> Side for Device<'_, T, C> {
    type Command = Command;

    fn handle(&mut self, now: Instant, message: &[u8]) -> Result<(), Ended> {
        if self.ended.is_some() {
            return Ok(());
        }
        let Some(event) = self.link.handle(now, message)? else { return Ok(()) };
        match event {
            hop::device::Event::Opened { channel_id } => self.begin(now, channel_id),
            hop::device::Event::Data { body } => {
                let len = body.len();
                let result = self.handle_body(now, body);
                self.link.processed(now, len);
                self.end(result)
            }
            hop::device::Event::Closed { code } => Err(Ended::Hop(code)),
            hop::device::Event::CreditArrived => {
                self.blocked = false;
                Ok(())
            }
            hop::device::Event::Draining => {
                self.leave_at.get_or_insert_with(|| leave_at(now));
                Ok(())
            }
        }
    }

    fn attend(&mut self, now: Instant, _: u64, pipe: Option<&Arc<Pipe>>) {
        match (&mut self.phase, pipe) {
            (Phase::Talking(conversation, ..), Some(pipe)) => conversation.attend(now, pipe),
            (_, None) => self.talk(now),
            (_, Some(_)) => {}
        }
    }

    fn command(&mut self, now: Instant, command: Command) -> Result<(), Ended> {
        match (&mut self.phase, command) {
            (Phase::Talking(conversation, ..), Command::Open(pipe)) => conversation.open(now, pipe),
            (Phase::Talking(conversation, ..), Command::Close) => {
                conversation.channel().close(Scope::Session, code::NORMAL, "");
                self.ended.get_or_insert(Ended::Asked);
            }
            (_, Command::Probe) => self.link.probe(now),
            (_, Command::Close) => return Err(Ended::Asked),
            // Openers are handed out once the conversation runs.
            (_, Command::Open(pipe)) => pipe.fail_inbound(crate::StreamError::Lost),
        }
        Ok(())
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Ended> {
        self.link.handle_timeout(now).map_err(Ended::Silent)?;
        if self.deadline.is_some_and(|at| now >= at) {
            return Err(Ended::Channel(channel::Error::Timeout));
        }
        if self.leave_at.is_some_and(|at| now >= at) {
            return Err(Ended::Hop(Code::Draining));
        }
        self.kept.expire(now);
        if let Phase::Talking(conversation, ..) = &mut self.phase
            && conversation.channel().poll_timeout().is_some_and(|at| now >= at)
        {
            let result = conversation.channel().handle_timeout(now).map_err(Ended::from);
            return self.end(result);
        }
        Ok(())
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let channel = match &self.phase {
            Phase::Talking(conversation, ..) => conversation.channel_ref().poll_timeout(),
            _ => None,
        };
        [self.link.poll_timeout(), self.deadline, self.leave_at, self.kept.deadline(), channel]
            .into_iter()
            .flatten()
            .min()
    }

    fn poll_message(&mut self, now: Instant, out: &mut [u8]) -> Result<Option<usize>, Ended> {
        if let Some(len) = self.link.poll_output(now, out) {
            return Ok(Some(len));
        }
        let credit = self.link.credit();
        if let Phase::Hello(hello, _) = &self.phase {
            let len = hello.len();
            let (Some(header), Some(room)) =
                (self.link.data_header(len), out.get_mut(..DATA_HEADER_LEN.saturating_add(len)))
            else {
                return Ok(None);
            };
            room[..DATA_HEADER_LEN].copy_from_slice(&header);
            room[DATA_HEADER_LEN..].copy_from_slice(hello);
            if let Phase::Hello(_, state) = core::mem::replace(&mut self.phase, Phase::Dialling) {
                self.phase = Phase::AwaitReply(state);
            }
            return Ok(Some(DATA_HEADER_LEN.saturating_add(len)));
        }
        let Phase::Talking(conversation, ..) = &mut self.phase else { return Ok(None) };
        if self.blocked || credit < LEAST_CREDIT {
            self.blocked = true;
            return Ok(None);
        }
        let end = out.len().min(DATA_HEADER_LEN.saturating_add(credit));
        let Some(len) = conversation.poll_output(now, &mut out[DATA_HEADER_LEN..end])? else { return Ok(None) };
        let header = self.link.data_header(len).ok_or(Ended::Hop(Code::FlowControl))?;
        out[..DATA_HEADER_LEN].copy_from_slice(&header);
        Ok(Some(DATA_HEADER_LEN.saturating_add(len)))
    }

    fn over(&mut self) -> Option<Ended> {
        self.ended.take()
    }
}
