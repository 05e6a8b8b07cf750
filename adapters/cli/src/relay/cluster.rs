//! The relays that a relay works together with, by its settings.

use core::time::Duration;
use std::path::PathBuf;
use std::sync::Arc;

use homing_relay::directory::{Directory, Fixed, Nats, NatsAccess, NatsConfig, NodeInfo};

use crate::args::ClusterArgs;
use crate::config::{Config, settings};
use crate::failure::Failure;

/// The shortest lease: it is renewed three times in it.
const SHORTEST: Duration = Duration::from_secs(2);

/// A directory, and the name that it gives this relay.
pub(super) struct Cluster {
    pub(super) directory: Arc<dyn Directory>,
    pub(super) authority: String,
}

/// The cluster that the settings say; none where they say of none.
pub(super) fn cluster(config: &Config, args: &ClusterArgs) -> Result<Option<Cluster>, Failure> {
    let node = config.text(&settings::CLUSTER_NODE, args.cluster_node.clone());
    let url = config.text(&settings::CLUSTER_URL, args.cluster_url.clone());
    let peers = config.list(&settings::CLUSTER_PEERS, args.cluster_peers.clone());
    let servers = config.list(&settings::CLUSTER_NATS, args.cluster_nats.clone());
    let (node, url) = match (node, url) {
        (None, None) if peers.is_empty() && servers.is_empty() => return Ok(None),
        (Some(node), Some(url)) => (node, url),
        _ => {
            return Err(Failure::usage(
                "a relay of a cluster needs both a name (--cluster-node) and a URL (--cluster-url)",
            ));
        }
    };
    let me = NodeInfo::new(&node, &url).map_err(|error| Failure::usage(format!("cluster: {error}")))?;
    let authority = me.url.authority().to_owned();
    let directory: Arc<dyn Directory> = match (peers.is_empty(), servers.is_empty()) {
        (false, true) => {
            let peers = peers.iter().map(|text| NodeInfo::parse(text)).collect::<Result<Vec<_>, _>>();
            let peers = peers.map_err(|error| Failure::usage(format!("--cluster-peer: {error}")))?;
            Arc::new(Fixed::new(me, peers).map_err(|error| Failure::usage(error.to_string()))?)
        }
        (true, false) => {
            let lease = config.seconds(&settings::CLUSTER_LEASE, args.cluster_lease_seconds);
            if lease < SHORTEST {
                return Err(Failure::usage("--cluster-lease-seconds: a lease lasts 2 seconds or more"));
            }
            let nats = Nats::new(NatsConfig {
                name: config.text(&settings::CLUSTER_NAME, args.cluster_name.clone()).unwrap_or_default(),
                me,
                servers,
                access: access(config, args)?,
                ca: config.path(&settings::CLUSTER_NATS_CA, args.cluster_nats_ca.clone()),
                certificate: certificate(config, args)?,
                lease,
            });
            Arc::new(nats.map_err(|error| Failure::usage(format!("cluster: {error}")))?)
        }
        (true, true) => {
            let text = "a cluster needs a list of its relays, --cluster-peer NAME=URL for each, or --cluster-nats URL";
            return Err(Failure::usage(text));
        }
        (false, false) => return Err(Failure::usage("a cluster has either a list of its relays or NATS, not both")),
    };
    Ok(Some(Cluster { directory, authority }))
}

/// How the relay shows NATS who it is: in one way at most.
fn access(config: &Config, args: &ClusterArgs) -> Result<NatsAccess, Failure> {
    let path = |setting, flag: &Option<PathBuf>| config.path(setting, flag.clone());
    let user = config.text(&settings::CLUSTER_NATS_USER, args.cluster_nats_user.clone());
    let password = path(&settings::CLUSTER_NATS_PASSWORD, &args.cluster_nats_password_file);
    let by_password = match (user, password) {
        (Some(user), Some(password)) => Some(NatsAccess::Password { user, password }),
        (None, None) => None,
        _ => {
            let text =
                "NATS knows users by both a name (--cluster-nats-user) and a password (--cluster-nats-password-file)";
            return Err(Failure::usage(text));
        }
    };
    let ways = [
        by_password,
        path(&settings::CLUSTER_NATS_TOKEN, &args.cluster_nats_token_file).map(NatsAccess::Token),
        path(&settings::CLUSTER_NATS_NKEY, &args.cluster_nats_nkey_file).map(NatsAccess::Nkey),
        path(&settings::CLUSTER_NATS_CREDENTIALS, &args.cluster_nats_credentials).map(NatsAccess::Credentials),
    ];
    let mut ways = ways.into_iter().flatten();
    let way = ways.next().unwrap_or_default();
    if ways.next().is_some() {
        return Err(Failure::usage(
            "NATS takes either a user with a password, a token, an nkey, or credentials: give one",
        ));
    }
    Ok(way)
}

/// What it shows beside, where NATS asks for a certificate.
fn certificate(config: &Config, args: &ClusterArgs) -> Result<Option<(PathBuf, PathBuf)>, Failure> {
    let cert = config.path(&settings::CLUSTER_NATS_CERT, args.cluster_nats_cert.clone());
    let key = config.path(&settings::CLUSTER_NATS_KEY, args.cluster_nats_key.clone());
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some((cert, key))),
        (None, None) => Ok(None),
        _ => Err(Failure::usage(
            "a certificate for NATS goes with its key: give --cluster-nats-cert and --cluster-nats-key",
        )),
    }
}
