//! Commands of a machine that is a device.

use core::net::SocketAddr;
use core::str::FromStr;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct PairArgs {
    /// The link that the host shows; - reads it from stdin, which keeps it out of the shell's history
    pub(crate) link: String,
    /// What the host is to call this machine [env: HOMING_DEVICE_NAME] [default: the machine's name]
    #[arg(long)]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HostsCommand {
    /// All of them
    List,
    /// Give one another name, here on this machine
    Rename {
        /// Its name or id
        host: String,
        /// The new name
        name: String,
    },
    /// What happened to one's devices, as it told this machine: who was added, renamed, removed
    #[command(after_help = "\
The host's log is chained by hashes and copied here as it grows, so a host whose state was put back to an older copy, or\n\
changed, is noticed: `homing status` and this command then warn until --accept says that you know why.")]
    Log {
        /// Its name or id
        host: String,
        /// End the warning that the log is not the one that was told before
        #[arg(long)]
        accept: bool,
    },
    /// Forget one: its key, its token and its name
    Forget {
        /// Its name or id
        host: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ForwardArgs {
    /// A paired host, by name or id, and one of its services
    #[arg(value_name = "HOST/SERVICE")]
    pub(crate) service: ServicePath,
    /// Where to listen; port 0 takes any free one
    #[arg(value_name = "LISTEN_ADDR")]
    pub(crate) listen: SocketAddr,
}

#[derive(Debug, Args)]
pub(crate) struct ServiceArgs {
    /// A paired host, by name or id, and one of its services
    #[arg(value_name = "HOST/SERVICE")]
    pub(crate) service: ServicePath,
}

#[derive(Debug, Args)]
pub(crate) struct ProxyArgs {
    /// Where to listen [env: HOMING_PROXY_LISTEN] [default: 127.0.0.1:8118]
    #[arg(value_name = "LISTEN_ADDR")]
    pub(crate) listen: Option<SocketAddr>,
}

/// `HOST/SERVICE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServicePath {
    pub(crate) host: String,
    pub(crate) service: String,
}

impl FromStr for ServicePath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A host's name may hold a slash, a service's may not.
        match text.rsplit_once('/') {
            Some((host, service)) if !host.is_empty() && !service.is_empty() => {
                Ok(Self { host: host.to_owned(), service: service.to_owned() })
            }
            _ => Err("write HOST/SERVICE, such as nas/web; `homing hosts list` names the hosts"),
        }
    }
}
