//! `homing relay start`, as far as it is about other relays.

use clap::Args;

#[derive(Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ClusterArgs {
    /// This relay's name among several that serve as one: letters from a to z, digits and - [env: HOMING_CLUSTER_NODE]
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster_node: Option<String>,
    /// Where hosts and devices reach this relay and no other one [env: HOMING_CLUSTER_URL]
    #[arg(long, value_name = "URL")]
    pub(crate) cluster_url: Option<String>,
    /// A relay of the cluster, this one too, as NAME=URL; the same list everywhere. Repeatable [env:
    /// HOMING_CLUSTER_PEERS, with commas]
    #[arg(long = "cluster-peer", value_name = "NAME=URL")]
    pub(crate) cluster_peers: Vec<String>,
}
