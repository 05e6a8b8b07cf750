//! How a relay joins by NATS: a connection, the buckets, its own entry, and what it listens to.

use core::time::Duration;
use std::sync::Arc;

use async_nats::jetstream::kv::{Operation, Store, Watch};
use async_nats::jetstream::stream::{Config, DiscardPolicy};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, Event, ServerAddr};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::Inner;
use super::session::{Lost, PATIENCE, answer, failed};
use super::words::Peer;

/// How long an entry of a route lasts that nobody renews: a hint for the time after, no lease.
const ROUTE_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What claims are made by.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) routes: Store,
}

/// What a relay has once it has joined.
pub(super) struct Joined {
    pub(super) session: Session,
    pub(super) nodes: Store,
    /// The revision of this relay's entry.
    pub(super) revision: u64,
    pub(super) heard_nodes: Watch,
    pub(super) heard_routes: Watch,
    pub(super) told: async_nats::Subscriber,
    pub(super) gone: Arc<Notify>,
}

impl Inner {
    /// Connects, and says that this relay lives.
    pub(super) async fn join(&self) -> Result<Joined, Lost> {
        if !self.state().lease.may_join() {
            return Err(Lost::Unwell);
        }
        let gone = Arc::<Notify>::default();
        let client = self.connect(gone.clone()).await?;
        let context = jetstream::new(client.clone());
        let name = &self.config.name;
        let nodes = bucket(&context, format!("{name}-nodes"), self.config.lease).await?;
        let routes = bucket(&context, format!("{name}-routes"), ROUTE_LIFE).await?;
        let told = answer(client.subscribe(format!("{name}.*"))).await?;
        let revision = self.enter(&nodes).await?;
        let heard_nodes = answer(nodes.watch_with_history(">")).await?;
        let heard_routes = answer(routes.watch_with_history(">")).await?;
        let session = Session { client, routes };
        Ok(Joined { session, nodes, revision, heard_nodes, heard_routes, told, gone })
    }

    async fn connect(&self, gone: Arc<Notify>) -> Result<Client, Lost> {
        let mut options = self.config.access.options().map_err(failed)?;
        if let Some(ca) = &self.config.ca {
            options = options.add_root_certificates(ca.clone());
        }
        if let Some((chain, key)) = &self.config.certificate {
            options = options.add_client_certificate(chain.clone(), key.clone());
        }
        let options = options
            .name(format!("homing relay {}", self.config.me.name))
            .connection_timeout(PATIENCE)
            .request_timeout(Some(PATIENCE))
            .ping_interval(self.config.lease.min(Duration::from_secs(10)))
            .no_echo()
            .require_tls(self.servers.iter().any(ServerAddr::tls_required))
            // Others than these may go by names that their certificates do not have.
            .ignore_discovered_servers()
            // Each is tried once. A connection that is lost is another session: everything is heard anew.
            .max_reconnects(self.servers.len())
            .event_callback(move |event| {
                if matches!(event, Event::Disconnected | Event::Closed | Event::LameDuckMode) {
                    gone.notify_one();
                }
                core::future::ready(())
            });
        let connecting = options.connect(self.servers.as_slice());
        let limit = PATIENCE.saturating_mul(u32::try_from(self.servers.len()).unwrap_or(u32::MAX));
        let connected = timeout(limit, connecting).await.map_err(|_| Lost::Late)?;
        connected.map_err(|error| Lost::Failed(self.config.access.explain(&error)))
    }

    /// Says that this relay lives. The newest process of a name has it.
    async fn enter(&self, nodes: &Store) -> Result<u64, Lost> {
        let me = self.entry();
        let name = &*self.config.me.name;
        let entry = answer(nodes.entry(name)).await?;
        let known = entry.as_ref().filter(|entry| entry.operation == Operation::Put);
        let other =
            known.and_then(|entry| Peer::parse(&entry.value)).is_some_and(|peer| peer.life != self.state().life);
        if other && !self.state().lease.may_replace() {
            return Err(Lost::Named);
        }
        answer(nodes.update(name, me.into(), entry.map_or(0, |entry| entry.revision))).await
    }

    /// What this relay says of itself.
    pub(super) fn entry(&self) -> String {
        Peer { life: self.state().life, url: self.config.me.url.clone() }.emit()
    }
}

/// A bucket, made where there is none.
async fn bucket(context: &Context, name: String, max_age: Duration) -> Result<Store, Lost> {
    if let Ok(store) = answer(context.get_key_value(&name)).await {
        return Ok(store);
    }
    // By hand: the library first asks for the account in a way that servers before 2.10 do not answer as it expects.
    let config = Config {
        name: format!("KV_{name}"),
        subjects: vec![format!("$KV.{name}.>")],
        max_messages_per_subject: 1,
        max_age,
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        num_replicas: 1,
        discard: DiscardPolicy::New,
        ..Config::default()
    };
    // Where it fails, another relay may have made it meanwhile.
    let made = answer(context.create_stream(config)).await;
    let store = answer(context.get_key_value(&name)).await;
    store.map_err(|_| made.err().unwrap_or(Lost::Gone))
}
