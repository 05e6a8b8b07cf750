//! The command line as types. What a command does is in the module of its name.

mod cluster;
mod device;
mod host;
mod relay;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

pub(crate) use cluster::ClusterArgs;
pub(crate) use device::{ForwardArgs, GuestArgs, HostsCommand, PairArgs, ProxyArgs, ServiceArgs};
pub(crate) use host::{
    AuditCommand, DeviceGrantArgs, DevicesCommand, GrantArgs, GuestsCommand, HostAuditArgs, HostCommand, HostPairArgs,
    HostRotateArgs, HostStartArgs, HostTokenArgs,
};
pub(crate) use relay::{RelayCommand, RelayKeysCommand, RelayStartArgs};

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not reachable, 4 refused, 5 expired.\n\
    Settings: flags beat HOMING_* variables, these beat homing.toml in the data directory; see `homing config show`.";

/// A private door to a machine behind any NAT, through a relay that can read nothing.
#[derive(Debug, Parser)]
#[command(name = "homing", version, propagate_version = true, after_help = EXIT_CODES, max_term_width = 100)]
#[command(disable_help_subcommand = true, arg_required_else_help = true, infer_long_args = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// The data directory [env: HOMING_DATA] [default: homing in the user's data directory]
    #[arg(long, value_name = "DIR", global = true, value_hint = ValueHint::DirPath)]
    pub(crate) data: Option<PathBuf>,
    /// Machine-readable output on stdout: JSON, one object per line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say more on stderr; twice for everything [HOMING_LOG takes a filter, such as homing_host=trace; with
    /// HOMING_LOG_FORMAT=json each line is an object]
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    pub(crate) verbose: u8,
    /// Say nothing on stderr but errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// See it work: relay, host and device on this machine, a live sample page, a QR code
    Demo(DemoArgs),
    /// Run a relay, or ask a running one
    #[command(subcommand)]
    Relay(RelayCommand),
    /// Expose services of this machine, and decide who may use them
    #[command(subcommand)]
    Host(HostCommand),
    /// Make this machine a device of the host that showed the link
    Pair(PairArgs),
    /// Pass on a part of what this machine may reach at a host, for a while; the host is not asked
    Guest(GuestArgs),
    /// The hosts this machine is paired with
    #[command(subcommand)]
    Hosts(HostsCommand),
    /// A local TCP listener onto a host's service
    Forward(ForwardArgs),
    /// A host's service on stdin and stdout, such as for ssh's ProxyCommand
    Connect(ServiceArgs),
    /// A local HTTP proxy for every service of every host: http://SERVICE.HOST.homing/
    Proxy(ProxyArgs),
    /// What runs with this data directory, and how its links do
    Status,
    /// Check this machine and the way to its relays and hosts; say what to do
    Doctor(DoctorArgs),
    /// The settings in effect
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a shell's completion script
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Write the manual pages into a directory
    Man {
        /// Where to; made if missing
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// End after the check, and tell by the exit code how it went
    #[arg(long)]
    pub(crate) once: bool,
    /// Where a browser on this machine finds the sample page, through the tunnel
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) listen: core::net::SocketAddr,
    #[command(flatten)]
    pub(crate) qr: QrArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// A paired host to reach as well, by name or id
    pub(crate) host: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print every setting
    Show {
        /// Also say where each one comes from
        #[arg(long)]
        origin: bool,
    },
    /// Say whether file and environment are in order
    Check,
    /// Lock the keys in the data directory with a passphrase, or with another one
    #[command(
        after_help = "Commands that need the keys then want HOMING_PASSPHRASE_FILE, as this one does to change or \
        take away a passphrase. What runs already is not disturbed."
    )]
    Lock {
        /// A file with the new passphrase, mode 0600
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        passphrase_file: PathBuf,
    },
    /// Take the passphrase away
    Unlock,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct QrArgs {
    /// Draw the pairing link as a QR code; `auto` does so on terminals
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(crate) qr: When,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

/// A time such as `30m`, in seconds: at least one second, at most ten years.
fn life(text: &str) -> Result<u64, &'static str> {
    let wrong = "write a time as 90s, 30m, 12h or 7d, of at most ten years";
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => return Err(wrong),
    };
    let count: u64 = text.get(..text.len() - 1).and_then(|count| count.parse().ok()).ok_or(wrong)?;
    count.checked_mul(unit).filter(|life| (1..=3650 * 86_400).contains(life)).ok_or(wrong)
}
