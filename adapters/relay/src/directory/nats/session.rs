//! One life of a connection to NATS after another: hears everything anew, and keeps up until it is lost.

use core::time::Duration;
use std::time::Instant;

use async_nats::Message;
use async_nats::jetstream::kv::{Entry, Operation, Store, UpdateErrorKind};
use futures_util::StreamExt as _;
use rand_core::Rng as _;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::join::{Joined, Session};
use super::words::{Peer, key, parse_account, parse_claim, parse_drain, parse_key, parse_open};
use super::{Errand, Inner, Node, SysRng, UnwrapErr};
use crate::directory::book::Audit;

/// How long the server may take over anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// Between attempts to connect, on average.
const PAUSE: Duration = Duration::from_secs(1);

/// Reasons that are told until the directory is back.
const REASONS: usize = 8;

/// Why the directory is lost.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("no answer in time")]
    Late,
    #[error("the connection is gone")]
    Gone,
    #[error("another relay goes by this name")]
    Named,
    #[error("it had forgotten this relay")]
    Forgotten,
    #[error("this relay is not well")]
    Unwell,
    #[error("{0}")]
    Failed(String),
}

pub(super) fn failed(error: impl core::fmt::Display) -> Lost {
    Lost::Failed(error.to_string())
}

/// Waits for the server, not for ever.
pub(super) async fn answer<T, E: core::fmt::Display>(asked: impl Future<Output = Result<T, E>>) -> Result<T, Lost> {
    timeout(PATIENCE, asked).await.map_err(|_| Lost::Late)?.map_err(failed)
}

impl Inner {
    /// Connects, keeps up, and begins anew, for ever.
    pub(super) async fn keep(&self, node: &dyn Node, errands: &mut mpsc::Receiver<Errand>) {
        let mut said = Vec::new();
        loop {
            let lost = match self.join().await {
                Ok(mut joined) => match self.hear_all(&mut joined, node).await {
                    Ok(()) => {
                        tracing::info!(nodes = self.state().counts(Instant::now()).nodes, "joined the cluster");
                        said.clear();
                        *self.session() = Some(joined.session.clone());
                        self.live(&mut joined, node, errands).await
                    }
                    Err(lost) => lost,
                },
                Err(lost) => lost,
            };
            *self.session() = None;
            let now = Instant::now();
            let order = {
                let mut state = self.state();
                state.lost(now);
                match lost {
                    Lost::Named => state.lease.named(),
                    Lost::Forgotten => {
                        state.lease.forgotten(now);
                        super::Order::Nothing
                    }
                    _ => super::Order::Nothing,
                }
            };
            self.obey(order, node);
            // Once for each reason, however often it is tried.
            let why = lost.to_string();
            if said.len() < REASONS && !said.contains(&why) {
                tracing::warn!(
                    error = why,
                    "the cluster's directory is lost; what is here goes on, and it is tried again"
                );
                said.push(why);
            }
            // Those who lost it together do not come back together.
            let jitter = f64::from(UnwrapErr(SysRng).next_u32()) / f64::from(u32::MAX);
            tokio::time::sleep(PAUSE.mul_f64(0.5 + jitter)).await;
        }
    }

    /// Hears everything that there is, and makes it agree with what is here.
    async fn hear_all(&self, joined: &mut Joined, node: &dyn Node) -> Result<(), Lost> {
        self.state().book.begin_anew();
        // Its own entry is there, so the first watch says something.
        loop {
            let entry = answer(async { joined.heard_nodes.next().await.ok_or(Lost::Gone)?.map_err(failed) }).await?;
            self.hear_node(&entry);
            if entry.seen_current {
                break;
            }
        }
        let mut stream = joined.session.routes.stream.clone();
        let mut empty = answer(stream.info()).await?.state.messages == 0;
        while !empty {
            let entry = answer(async { joined.heard_routes.next().await.ok_or(Lost::Gone)?.map_err(failed) }).await?;
            self.hear_route(&entry, node);
            empty = entry.seen_current;
        }
        let Audit { close, claim, release } = {
            let mut state = self.state();
            let audit = state.book.audit();
            state.joined();
            audit
        };
        self.give_up(&close, node);
        for (route, epoch) in release {
            self.take_back(&joined.session, &route, epoch).await;
        }
        for (route, link) in claim {
            if !node.has(&route) {
                self.state().book.leave(&route);
                continue;
            }
            match self.claim_by(&joined.session, route, link).await {
                Some(Ok(())) => {}
                Some(Err(_)) => {
                    self.state().book.leave(&route);
                    self.give_up(&[route], node);
                }
                None => return Err(Lost::Late),
            }
        }
        Ok(())
    }

    async fn live(&self, joined: &mut Joined, node: &dyn Node, errands: &mut mpsc::Receiver<Errand>) -> Lost {
        let mut beat = interval(self.config.lease / 3);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renewed = Instant::now();
        loop {
            tokio::select! {
                entry = joined.heard_nodes.next() => match entry {
                    Some(Ok(entry)) => self.hear_node(&entry),
                    Some(Err(error)) => return failed(error),
                    None => return Lost::Gone,
                },
                entry = joined.heard_routes.next() => match entry {
                    Some(Ok(entry)) => self.hear_route(&entry, node),
                    Some(Err(error)) => return failed(error),
                    None => return Lost::Gone,
                },
                message = joined.told.next() => match message {
                    Some(message) => self.hear_word(&message, node),
                    None => return Lost::Gone,
                },
                Some(errand) = errands.recv() => self.run_errand(&joined.session, &joined.nodes, joined.revision, errand).await,
                () = joined.gone.notified() => return Lost::Gone,
                _ = beat.tick() => {
                    if let Err(lost) = self.renew(joined, &mut renewed).await {
                        return lost;
                    }
                    self.look_for_leftovers(node);
                }
            }
        }
    }

    async fn renew(&self, joined: &mut Joined, renewed: &mut Instant) -> Result<(), Lost> {
        if !self.state().lease.may_renew() {
            // It joins anew, and proves what it owns.
            return Err(if self.state().lease.may_join() { Lost::Forgotten } else { Lost::Unwell });
        }
        let name = &*self.config.me.name;
        let asked = joined.nodes.update(name, self.entry().into(), joined.revision);
        match timeout(PATIENCE, asked).await {
            Ok(Ok(revision)) => (joined.revision, *renewed) = (revision, Instant::now()),
            Ok(Err(error)) if error.kind() == UpdateErrorKind::WrongLastRevision => {
                let entry = answer(joined.nodes.entry(name)).await?;
                let peer = entry.filter(|entry| entry.operation == Operation::Put);
                let peer = peer.and_then(|entry| Some((Peer::parse(&entry.value)?, entry.revision)));
                match peer {
                    // The answer to a write had been lost.
                    Some((peer, revision)) if peer.life == self.state().life => joined.revision = revision,
                    Some(_) => return Err(Lost::Named),
                    None => return Err(Lost::Forgotten),
                }
            }
            Ok(Err(error)) => return Err(failed(error)),
            Err(_) if renewed.elapsed() > self.config.lease => return Err(Lost::Late),
            Err(_) => {}
        }
        Ok(())
    }

    /// Routes that were claimed for a host that had gone by then.
    fn look_for_leftovers(&self, node: &dyn Node) {
        let own = self.state().book.own();
        for route in own.into_iter().filter(|route| !node.has(route)) {
            // One that is about to be let in is claimed anew where this was too early.
            let epoch = self.state().book.leave(&route);
            if let Some(epoch) = epoch {
                let _ = self.errands.try_send(Errand::Release(route, epoch));
            }
        }
    }

    async fn run_errand(&self, session: &Session, nodes: &Store, revision: u64, errand: Errand) {
        let (subject, words) = match errand {
            Errand::Release(route, epoch) => return self.take_back(session, &route, epoch).await,
            Errand::Revoke(account) => ("revoke", account),
            Errand::Drain => {
                let words = format!("{} {}", self.config.me.name, self.state().life);
                let left = nodes.delete_expect_revision(&*self.config.me.name, Some(revision));
                drop(timeout(PATIENCE, left).await);
                ("drain", words)
            }
        };
        let subject = format!("{}.{subject}", self.config.name);
        let told = async {
            session.client.publish(subject, words.into()).await.map_err(failed)?;
            session.client.flush().await.map_err(failed)
        };
        if answer(told).await.is_err() {
            tracing::warn!("the other relays could not be told");
        }
    }

    async fn take_back(&self, session: &Session, route: &[u8; 16], epoch: u64) {
        let taken = session.routes.delete_expect_revision(key(route), Some(epoch));
        if !matches!(timeout(PATIENCE, taken).await, Ok(Ok(()))) {
            // Somebody has claimed it since, or the next audit finds it.
            tracing::debug!("a claim was not taken back");
        }
    }

    fn hear_node(&self, entry: &Entry) {
        let mut state = self.state();
        match Peer::parse(&entry.value).filter(|_| entry.operation == Operation::Put) {
            Some(peer) => state.hear(&entry.key, peer, Instant::now()),
            None => state.forget(&entry.key),
        }
    }

    fn hear_route(&self, entry: &Entry, node: &dyn Node) {
        let Some(route) = parse_key(&entry.key) else { return };
        let claim = parse_claim(&entry.value, entry.revision).filter(|_| entry.operation == Operation::Put);
        let lost = match claim {
            Some(claim) => self.state().book.hear(route, claim),
            None => {
                self.state().book.forget(&route, entry.revision);
                false
            }
        };
        if lost {
            self.give_up(&[route], node);
        }
    }

    fn hear_word(&self, message: &Message, node: &dyn Node) {
        let word = message.subject.strip_prefix(&*self.config.name).unwrap_or_default();
        match word {
            ".open" | ".kick" => {
                let Some((route, claim)) = parse_open(&message.payload) else { return };
                let lost = self.state().book.hear(route, claim);
                if lost {
                    self.give_up(&[route], node);
                }
            }
            ".revoke" => {
                if let Some(account) = parse_account(&message.payload) {
                    node.cut(account);
                }
            }
            ".drain" => {
                if let Some((name, life)) = parse_drain(&message.payload) {
                    self.state().hear_drain(name, life);
                }
            }
            _ => {}
        }
    }
}
