//! How a route is claimed: by a write that counts only if nobody wrote since.

use core::time::Duration;
use std::time::Instant;

use async_nats::jetstream::kv::{Operation, UpdateErrorKind};
use tokio::time::timeout;

use super::join::Session;
use super::words::{emit_claim, emit_open, key, parse_claim};
use super::{Blinded, Inner, Standing, Unclaimed};

/// How long a claim may take before the directory counts as lost for it.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is tried where others write at the same time.
const TRIES: usize = 5;

impl Inner {
    /// Claims a route, or takes it in without, where the directory is lost.
    pub(super) async fn claim(&self, route: Blinded, link: u8) -> Result<(), Unclaimed> {
        let session = self.session().clone();
        if let Some(session) = session
            && let Some(claimed) = self.claim_by(&session, route, link).await
        {
            return claimed;
        }
        let mut state = self.state();
        if state.lease.standing() == Standing::Withdrawn {
            return Err(Unclaimed::Elsewhere);
        }
        tracing::debug!("a host is taken in without the directory; it is claimed once that is back");
        state.book.take_in(route, link);
        Ok(())
    }

    /// None where the directory does not answer.
    pub(super) async fn claim_by(&self, session: &Session, route: Blinded, link: u8) -> Option<Result<(), Unclaimed>> {
        let life = {
            let state = self.state();
            if state.lease.standing() == Standing::Withdrawn {
                return Some(Err(Unclaimed::Elsewhere));
            }
            state.life
        };
        let node = &*self.config.me.name;
        let (name, value) = (key(&route), emit_claim(node, life, link));
        for _ in 0..TRIES {
            let entry = timeout(PATIENCE, session.routes.entry(name.clone())).await.ok()?.ok()?;
            let revision = entry.as_ref().map_or(0, |entry| entry.revision);
            let before = entry.filter(|entry| entry.operation == Operation::Put);
            let before = before.and_then(|entry| parse_claim(&entry.value, entry.revision));
            if let Some(before) = before.as_ref().filter(|before| before.link != link)
                && self.state().is_served(before.life, &before.node, &route, Instant::now())
            {
                return Some(Err(Unclaimed::Taken));
            }
            let written = session.routes.update(&name, value.clone().into(), revision);
            let epoch = match timeout(PATIENCE, written).await.ok()? {
                Ok(epoch) => epoch,
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => continue,
                Err(error) => {
                    tracing::debug!(%error, "the directory does not take a claim");
                    return None;
                }
            };
            if !self.state().book.claimed(route, link, epoch) {
                return Some(Err(Unclaimed::Elsewhere));
            }
            let told = emit_open(&route, node, life, link, epoch);
            let had = before.is_some_and(|before| *before.node != *node);
            for subject in ["open", "kick"].into_iter().take(if had { 2 } else { 1 }) {
                // The bucket tells it a moment later, too.
                let subject = format!("{}.{subject}", self.config.name);
                drop(timeout(PATIENCE, session.client.publish(subject, told.clone().into())).await);
            }
            return Some(Ok(()));
        }
        Some(Err(Unclaimed::Elsewhere))
    }
}
