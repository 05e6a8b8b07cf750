//! `homing relay …`

use core::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use crate::config::MAX_SECONDS;

#[derive(Debug, Subcommand)]
pub(crate) enum RelayCommand {
    /// Run a relay
    Start(RelayStartArgs),
    /// Counts of the relay that runs with this data directory
    Status,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Hosts need the relay's key, which is made and shown on the first start; only its hash is kept. To get another one,\n\
remove relay.key-hash from the data directory and start again. SIGHUP reads the certificate's files again. SIGTERM\n\
and Ctrl-C let hosts and devices move away before the relay ends, a second one ends it at once.")]
pub(crate) struct RelayStartArgs {
    /// Where to listen [env: HOMING_RELAY_LISTEN] [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// PEM file with the certificate chain [env: HOMING_RELAY_TLS_CERT]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) tls_cert: Option<PathBuf>,
    /// PEM file with the certificate's private key [env: HOMING_RELAY_TLS_KEY]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) tls_key: Option<PathBuf>,
    /// Let hosts in without a relay key; on loopback addresses only [env: HOMING_RELAY_OPEN]
    #[arg(long)]
    pub(crate) open: bool,
    /// A name, host[:port], that the relay is reached by; all others are turned away. Repeatable [env:
    /// HOMING_RELAY_NAMES, with commas]
    #[arg(long = "name", value_name = "AUTHORITY")]
    pub(crate) names: Vec<String>,
    /// How long hosts and devices may take to move to another relay, once this one is told to stop [env:
    /// HOMING_RELAY_DRAIN_SECONDS] [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=MAX_SECONDS))]
    pub(crate) drain_seconds: Option<u64>,
}
