//! Commands of a machine that is a device.

use core::net::SocketAddr;
use core::str::FromStr;

use clap::{Args, Subcommand};
use homing_device::HostName;

use super::{GrantArgs, QrArgs};

#[derive(Debug, Args)]
pub(crate) struct PairArgs {
    /// The link that the host, or `homing guest` on another machine, shows; - reads it from stdin, which keeps it out of the shell's history
    pub(crate) link: String,
    /// What the host is to call this machine [env: HOMING_DEVICE_NAME] [default: the machine's name]
    #[arg(long)]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Prints a link: whoever runs `homing pair` with it reaches the host as a guest of this machine, until the time is over. A\n\
guest may do what this machine may and the flags allow, and can pass on less in turn. Nothing goes over the network, and\n\
the host keeps to it when the guest comes. Guests end with this machine: `homing host devices revoke` shuts out both.\n\
A link is good for any number of machines at once; each is the same guest.\n\n\
Example: homing guest nas --grant photos:GET:/albums/2024 --for 2d --name anna")]
#[command(group = clap::ArgGroup::new("until").required(true).args(["life"]))]
pub(crate) struct GuestArgs {
    /// A host, by name or id
    pub(crate) host: String,
    #[command(flatten)]
    pub(crate) grant: GrantArgs,
    /// What the guest is called on the host
    #[arg(long, value_parser = guest_name)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) qr: QrArgs,
}

fn guest_name(name: &str) -> Result<String, String> {
    homing_host::grant::check_guest_name(name).map(str::to_owned).map_err(|error| error.to_string())
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
#[command(after_help = "\
An HTTP service is only reached by names that nobody else can have lead here: addresses, localhost, names without a dot\n\
and those in .localhost, .homing, .local, .lan, .internal and .home.arpa (others: 421). Pages in a browser that are from\n\
neither this machine nor the name asked for cannot use it (403), though they may link to it. --allow-host lifts both for\n\
a name: that of a reverse proxy in front, or of a site whose pages are to use the service.\n\n\
Example: homing forward nas/web 127.0.0.1:9000")]
pub(crate) struct ForwardArgs {
    /// A paired host, by name or id, and one of its services
    #[arg(value_name = "HOST/SERVICE")]
    pub(crate) service: ServicePath,
    /// Where to listen; port 0 takes any free one
    #[arg(value_name = "LISTEN_ADDR")]
    pub(crate) listen: SocketAddr,
    /// A further name by which an HTTP service may be asked for, and whose pages may use it. Repeatable
    #[arg(long = "allow-host", value_name = "NAME")]
    pub(crate) allow_hosts: Vec<HostName>,
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
