//! A cluster whose relays find each other by NATS: who lives and who serves what stands in two buckets of JetStream, and a
//! few subjects tell at once what the buckets tell a moment later. A relay has two watches and one subscription, however
//! many routes there are; a host that comes costs one write. No payload.
//!
//! | where | what |
//! |---|---|
//! | bucket `NAME-nodes` | relay -> its life and URL; an entry lasts as long as a lease |
//! | bucket `NAME-routes` | blinded route -> relay, its life, the host's link; the revision is the epoch |
//! | subject `NAME.open` | a route was claimed |
//! | subject `NAME.kick` | the same, for the relay that had it |
//! | subject `NAME.revoke` | an account was cut off |
//! | subject `NAME.drain` | a relay is about to stop |

mod access;
mod claim;
mod join;
mod session;
mod state;
mod words;

use core::fmt;
use core::time::Duration;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use getrandom::SysRng;
use homing_driver::relay::Seek;
use rand_core::{Rng as _, UnwrapErr};
use tokio::sync::mpsc;

use super::lease::Order;
use super::name::is_name;
use super::{Blinded, Claiming, Counts, Directory, Node, NodeInfo, Placement, Present, Running, Standing, Unclaimed};
pub use access::{NatsAccess, NatsAccessError};
use join::Session;
use state::State;

/// What may wait to be told.
const ERRANDS: usize = 4096;

/// How a relay takes part in a cluster by NATS.
#[derive(Clone)]
pub struct NatsConfig {
    /// What the cluster is called there.
    pub name: String,
    /// This relay.
    pub me: NodeInfo,
    /// The servers, `nats://` or `tls://`. Where one is `tls://`, none is spoken to without TLS.
    pub servers: Vec<String>,
    /// How this relay shows them who it is.
    pub access: NatsAccess,
    /// PEM file with the authority of the servers' certificates.
    pub ca: Option<PathBuf>,
    /// PEM files with the certificate that this relay shows them, and its private key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// How long the others count on a relay that says nothing.
    pub lease: Duration,
}

// Whoever makes one may put passwords into URLs, before they are refused.
impl fmt::Debug for NatsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsConfig").field("name", &self.name).field("me", &self.me).finish_non_exhaustive()
    }
}

/// Why a cluster by NATS cannot be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NatsError {
    /// The name does not fit.
    #[error("{0:?} is no name for a cluster: use 1 to 32 letters from a to z, digits and -")]
    Name(String),
    /// A server's address is none.
    #[error("{0:?} is no address of a NATS server: write nats://host:4222 or tls://host:4222")]
    Server(String),
    /// A server's address holds a name or a password. Here is only what follows them.
    #[error(
        "the address of NATS at {0:?} holds a user, a password or a token: write it without, and give \
         --cluster-nats-user and --cluster-nats-password-file, or --cluster-nats-token-file"
    )]
    Userinfo(String),
    /// There is nothing to show it, or nobody to trust.
    #[error(transparent)]
    Access(#[from] NatsAccessError),
}

/// A cluster by NATS. Runs on tokio.
#[derive(Debug)]
pub struct Nats {
    inner: Arc<Inner>,
}

/// Something to be told.
#[derive(Debug)]
enum Errand {
    /// A claim is taken back.
    Release(Blinded, u64),
    Revoke(String),
    Drain,
}

struct Inner {
    config: NatsConfig,
    servers: Vec<async_nats::ServerAddr>,
    state: Mutex<State>,
    /// What claims are made by, while the directory is there.
    session: Mutex<Option<Session>>,
    errands: mpsc::Sender<Errand>,
    /// Taken by who runs this.
    waiting: Mutex<Option<mpsc::Receiver<Errand>>>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Nats {
    /// Takes part by this configuration. Connects once it runs; where that fails, it goes on trying.
    ///
    /// # Errors
    /// [`NatsError`], which says what to change.
    pub fn new(config: NatsConfig) -> Result<Self, NatsError> {
        if !is_name(&config.name) {
            return Err(NatsError::Name(config.name));
        }
        let servers =
            config.servers.iter().map(|server| access::parse_server(server)).collect::<Result<Vec<_>, _>>()?;
        if servers.is_empty() {
            return Err(NatsError::Server(String::new()));
        }
        // Now rather than in the log, later.
        config.access.options()?;
        access::check_tls(config.ca.as_deref(), config.certificate.as_ref())?;
        let life = UnwrapErr(SysRng).next_u64();
        let state = State::new(config.me.clone(), life, config.lease, Instant::now());
        let (errands, waiting) = mpsc::channel(ERRANDS);
        let inner = Inner {
            config,
            servers,
            state: Mutex::new(state),
            session: Mutex::default(),
            errands,
            waiting: Mutex::new(Some(waiting)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self) -> MutexGuard<'_, Option<Session>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the links of a route that is not this relay's any more.
    fn give_up(&self, routes: &[Blinded], node: &dyn Node) {
        self.state().gave_up(routes.len() as u64);
        for route in routes {
            let links = node.close(route);
            tracing::debug!(links, "a route is given up: another relay serves it, or this one may not");
        }
    }

    /// Carries out what the lease demands.
    fn obey(&self, order: Order, node: &dyn Node) {
        if order == Order::GiveUp {
            let routes = self.state().book.give_up();
            tracing::error!(routes = routes.len(), "this relay cannot prove what it owns: it gives its routes up");
            self.give_up(&routes, node);
        }
    }

    /// Watches over this relay, for ever.
    async fn watch(&self, node: &dyn Node) {
        let step = (self.config.lease / 8).min(Duration::from_secs(1));
        loop {
            tokio::time::sleep(step).await;
            let is_well = node.is_well();
            let (order, before, after) = {
                let mut state = self.state();
                let before = state.lease.standing();
                let order = state.lease.tick(Instant::now(), is_well);
                (order, before, state.lease.standing())
            };
            if before != after {
                tracing::warn!(
                    from = before.name(),
                    to = after.name(),
                    "this relay's place in the cluster has changed"
                );
            }
            self.obey(order, node);
        }
    }
}

impl Directory for Nats {
    fn place(&self, seek: &Seek, dialled: &str, _: Present) -> Placement {
        self.inner.state().place(seek, dialled, Instant::now())
    }

    fn claim(&self, route: Blinded, link: u8) -> Claiming {
        let inner = self.inner.clone();
        Box::pin(async move { inner.claim(route, link).await })
    }

    fn holds(&self, route: &Blinded) -> bool {
        let state = self.inner.state();
        state.book.holds(route) && state.lease.standing() != Standing::Withdrawn
    }

    fn release(&self, route: Blinded) {
        let epoch = self.inner.state().book.leave(&route);
        if let Some(epoch) = epoch {
            // Where too much waits, the next audit finds it.
            let _ = self.inner.errands.try_send(Errand::Release(route, epoch));
        }
    }

    fn revoke(&self, account: &str) {
        let _ = self.inner.errands.try_send(Errand::Revoke(account.to_owned()));
    }

    fn drain(&self) {
        self.inner.state().drain();
        let _ = self.inner.errands.try_send(Errand::Drain);
    }

    fn run(&self, node: Arc<dyn Node>) -> Running {
        let inner = self.inner.clone();
        Box::pin(async move {
            let waiting = inner.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(waiting) = waiting else { return core::future::pending().await };
            // Put back where this is dropped, for who runs it next.
            let mut waiting = Waiting { inner: &inner, errands: Some(waiting) };
            let Some(errands) = &mut waiting.errands else { return };
            tokio::join!(inner.watch(&*node), inner.keep(&*node, errands));
        })
    }

    fn counts(&self) -> Counts {
        self.inner.state().counts(Instant::now())
    }
}

struct Waiting<'a> {
    inner: &'a Inner,
    errands: Option<mpsc::Receiver<Errand>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        *self.inner.session() = None;
        *self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner) = self.errands.take();
    }
}
