//! `homing relay start`, as far as it is about other relays.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::config::MAX_SECONDS;

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
    /// Instead of a list, a NATS server with JetStream that the relays find each other by; tls:// where it is on another
    /// machine. Repeatable [env: HOMING_CLUSTER_NATS, with commas]
    #[arg(long = "cluster-nats", value_name = "URL", conflicts_with = "cluster_peers")]
    pub(crate) cluster_nats: Vec<String>,
    /// Who this relay is for NATS, with --cluster-nats-password-file [env: HOMING_CLUSTER_NATS_USER]
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster_nats_user: Option<String>,
    /// File with that user's password, mode 0600 [env: HOMING_CLUSTER_NATS_PASSWORD_FILE]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) cluster_nats_password_file: Option<PathBuf>,
    /// File with a token for NATS, mode 0600 [env: HOMING_CLUSTER_NATS_TOKEN_FILE]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) cluster_nats_token_file: Option<PathBuf>,
    /// File with the seed of a user's key (nkey) for NATS, mode 0600 [env: HOMING_CLUSTER_NATS_NKEY_FILE]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) cluster_nats_nkey_file: Option<PathBuf>,
    /// File with the credentials for NATS, as `nsc` writes it, mode 0600 [env: HOMING_CLUSTER_NATS_CREDENTIALS]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) cluster_nats_credentials: Option<PathBuf>,
    /// PEM file with the authority of the certificates of NATS, where the system does not know it [env:
    /// HOMING_CLUSTER_NATS_CA]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) cluster_nats_ca: Option<PathBuf>,
    /// PEM file with a certificate to show NATS, where it asks for one [env: HOMING_CLUSTER_NATS_CERT]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) cluster_nats_cert: Option<PathBuf>,
    /// PEM file with its private key [env: HOMING_CLUSTER_NATS_KEY]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) cluster_nats_key: Option<PathBuf>,
    /// What the cluster is called in NATS, where several share a server [env: HOMING_CLUSTER_NAME] [default: homing]
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster_name: Option<String>,
    /// How long the others count on a relay that says nothing [env: HOMING_CLUSTER_LEASE_SECONDS] [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(2..=MAX_SECONDS))]
    pub(crate) cluster_lease_seconds: Option<u64>,
}
