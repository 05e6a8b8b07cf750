//! The relays that a relay works together with, by its settings.

use std::sync::Arc;

use homing_relay::directory::{Directory, Fixed, NodeInfo};

use crate::args::ClusterArgs;
use crate::config::{Config, settings};
use crate::failure::Failure;

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
    let (node, url) = match (node, url) {
        (None, None) if peers.is_empty() => return Ok(None),
        (Some(node), Some(url)) => (node, url),
        _ => {
            return Err(Failure::usage(
                "a relay of a cluster needs both a name (--cluster-node) and a URL (--cluster-url)",
            ));
        }
    };
    let me = NodeInfo::new(&node, &url).map_err(|error| Failure::usage(format!("cluster: {error}")))?;
    let authority = me.url.authority().to_owned();
    if peers.is_empty() {
        return Err(Failure::usage("a cluster needs a list of its relays: give --cluster-peer NAME=URL for each"));
    }
    let peers = peers.iter().map(|text| NodeInfo::parse(text)).collect::<Result<Vec<_>, _>>();
    let peers = peers.map_err(|error| Failure::usage(format!("--cluster-peer: {error}")))?;
    let directory = Fixed::new(me, peers).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(Some(Cluster { directory: Arc::new(directory), authority }))
}
