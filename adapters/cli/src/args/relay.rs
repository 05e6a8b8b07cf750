//! `homing relay …`

use core::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use crate::config::MAX_SECONDS;

#[derive(Debug, Subcommand)]
pub(crate) enum RelayCommand {
    /// Run a relay
    Start(Box<RelayStartArgs>),
    /// Counts of the relay that runs with this data directory
    Status,
    /// The accounts whose hosts the relay lets in, and their keys
    #[command(subcommand)]
    Keys(RelayKeysCommand),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Hosts need a key. The first start makes the account `default` and shows its key, once: only hashes are kept.\n\
`homing relay keys` makes others, replaces and revokes them, also while the relay runs. SIGHUP reads the certificate's files again. SIGTERM\n\
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
    /// A name of the relay that it gets a certificate for, by ACME; that name has to lead to it, at port 443. Agrees to the
    /// authority's terms. Repeatable [env: HOMING_RELAY_ACME, with commas]
    #[arg(long = "acme", value_name = "DOMAIN", conflicts_with = "tls_cert")]
    pub(crate) acme: Vec<String>,
    /// Where the authority may write to [env: HOMING_RELAY_ACME_EMAIL]
    #[arg(long, value_name = "ADDRESS", requires = "acme")]
    pub(crate) acme_email: Option<String>,
    /// The authority's directory [env: HOMING_RELAY_ACME_DIRECTORY] [default: Let's Encrypt's]
    #[arg(long, value_name = "URL", requires = "acme")]
    pub(crate) acme_directory: Option<String>,
    /// PEM file with authorities: hosts have to show a certificate of one of them. Needs TLS here [env:
    /// HOMING_RELAY_CLIENT_CA]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) client_ca: Option<PathBuf>,
    /// Let hosts in without a relay key; on loopback addresses only [env: HOMING_RELAY_OPEN]
    #[arg(long)]
    pub(crate) open: bool,
    /// Let hosts in without a relay key, and listen on any address: whoever finds this relay may use it, its name and its
    /// traffic [env: HOMING_RELAY_OPEN_TO_EVERYONE]
    #[arg(long)]
    pub(crate) open_to_everyone: bool,
    /// Ask this server, https:// or http:// on this machine, which hosts come in, instead of keeping accounts: by a POST
    /// of JSON, for each host and again when its answer's life is over. Nobody comes in whom it does not answer for [env:
    /// HOMING_RELAY_ADMIT_URL]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) admit_url: Option<String>,
    /// File with the token that is shown to that server, as Authorization: Bearer [env: HOMING_RELAY_ADMIT_TOKEN_FILE]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) admit_token_file: Option<PathBuf>,
    /// PEM file with the authority of that server's certificate, instead of the system's [env: HOMING_RELAY_ADMIT_CA]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) admit_ca: Option<PathBuf>,
    /// Tell that server the addresses of hosts [env: HOMING_RELAY_ADMIT_ADDRESSES]
    #[arg(long)]
    pub(crate) admit_addresses: bool,
    /// How long hosts that it let in stay, and may come back, while it does not answer [env:
    /// HOMING_RELAY_ADMIT_GRACE_SECONDS] [default: 0]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=MAX_SECONDS))]
    pub(crate) admit_grace_seconds: Option<u64>,
    /// A name, host[:port], that the relay is reached by; all others are turned away. Repeatable [env:
    /// HOMING_RELAY_NAMES, with commas]
    #[arg(long = "name", value_name = "AUTHORITY")]
    pub(crate) names: Vec<String>,
    /// Where to serve /metrics, /readyz and a page with counts; nowhere without this [env: HOMING_RELAY_METRICS]
    #[arg(long, value_name = "ADDR")]
    pub(crate) metrics: Option<SocketAddr>,
    /// A proxy in front, or its network, that is believed about whom it speaks for (X-Forwarded-For). Repeatable [env:
    /// HOMING_RELAY_TRUSTED_PROXIES, with commas]
    #[arg(long = "trusted-proxy", value_name = "NETWORK", value_parser = crate::config::parse_network)]
    pub(crate) trusted_proxies: Vec<ipnet::IpNet>,
    /// Those proxies begin each connection with the PROXY protocol, version 1 or 2 [env: HOMING_RELAY_PROXY_PROTOCOL]
    #[arg(long)]
    pub(crate) proxy_protocol: bool,
    /// Say in the log which addresses connections come from; it says none without this [env: HOMING_RELAY_LOG_ADDRESSES]
    #[arg(long)]
    pub(crate) log_addresses: bool,
    /// Links that one address may have at once; with IPv6, a /64 is one address [env: HOMING_RELAY_LINKS_PER_ADDRESS]
    /// [default: 512]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) links_per_address: Option<u32>,
    /// Links that one address may ask for in a second, in the long run; ten times as many at once [env:
    /// HOMING_RELAY_DIALS_PER_ADDRESS] [default: 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) dials_per_address: Option<u32>,
    /// Links at once, of hosts and devices together; each place takes about 1 KiB from the start [env:
    /// HOMING_RELAY_MAX_LINKS] [default: 4096]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_links: Option<u32>,
    /// MiB that may wait on the way through the relay, of all devices together. A connected device takes 1/8 MiB of it,
    /// and more while it is fast [env: HOMING_RELAY_QUEUE_MIB] [default: 256]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) queue_mib: Option<u32>,
    /// How long hosts and devices may take to move to another relay, once this one is told to stop [env:
    /// HOMING_RELAY_DRAIN_SECONDS] [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=MAX_SECONDS))]
    pub(crate) drain_seconds: Option<u64>,
    #[command(flatten)]
    pub(crate) cluster: super::cluster::ClusterArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RelayKeysCommand {
    /// Make an account; its key is shown once
    Add {
        /// A name for it: letters from a to z, digits, - . _ @
        name: String,
        /// What it may use: a plan of homing.toml ([plans.NAME]), or `unlimited`
        #[arg(long, value_name = "PLAN", default_value = homing_relay::account::UNLIMITED)]
        plan: String,
        /// When it ends, such as 30d; never without this
        #[arg(long = "for", value_name = "DURATION", value_parser = super::life)]
        life: Option<u64>,
    },
    /// Every account, without its keys
    List,
    /// Make another key for an account; it is shown once
    Rotate {
        /// The account
        name: String,
        /// How long the key before it still lets in
        #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = super::life)]
        overlap: u64,
    },
    /// End an account at once: its hosts are cut off, and none of its keys lets in any more
    Revoke {
        /// The account
        name: String,
    },
}
