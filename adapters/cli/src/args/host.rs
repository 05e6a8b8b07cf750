//! `homing host …`

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use homing_host::grant::{MAX_LIMIT, Rule};
use homing_host::settings::Scope;

use super::QrArgs;
use crate::config::MAX_SESSIONS;

#[derive(Debug, Subcommand)]
pub(crate) enum HostCommand {
    /// Run the host
    Start(HostStartArgs),
    /// Show a QR code and a link that let one device in
    Pair(HostPairArgs),
    /// The devices that were let in
    #[command(subcommand)]
    Devices(DevicesCommand),
    /// Guests of devices: who has come, and ending one
    #[command(subcommand)]
    Guests(GuestsCommand),
    /// What happened: pairings, connections, refusals, changes
    Audit(HostAuditArgs),
    /// Make a token for the settings page and its API; it is shown once
    Token(HostTokenArgs),
    /// Print the key that services check the header Homing-Assertion with, as a JSON Web Key Set
    Jwks,
    /// Give the host other keys; devices follow without pairing again
    Rotate(HostRotateArgs),
    /// Let devices reach the running host again
    Enable,
    /// Cut the running host off from its relays and devices
    Disable,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Sections [services.NAME] of homing.toml expose services, too, with credentials, private CAs and limits of connections:\n\
url, credential = { header, file | systemd }, ca, server_name, max_connections, idle_connections, idle_seconds.\n\
SIGHUP makes the host read them again.\n\n\
Example: homing host start --relay wss://relay.example.org --expose web=http://127.0.0.1:3000")]
pub(crate) struct HostStartArgs {
    /// A relay: wss://host[:port], or ws:// on this machine. Repeatable [env: HOMING_RELAY_SERVER, with commas]
    #[arg(long = "relay", value_name = "URL")]
    pub(crate) relays: Vec<String>,
    /// A service and where it is: http, https, tcp, unix or http+unix. Repeatable [env: HOMING_EXPOSE, with commas]
    #[arg(long = "expose", value_name = "NAME=URL")]
    pub(crate) exposed: Vec<String>,
    /// What devices call this host [env: HOMING_NAME] [default: the machine's name]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Where the settings are served, on this machine only [env: HOMING_SETTINGS_LISTEN] [default: 127.0.0.1:7466]
    #[arg(long, value_name = "ADDR")]
    pub(crate) settings: Option<String>,
    /// A file with the relay's key, mode 0600 [env: HOMING_RELAY_KEY_FILE]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) relay_key_file: Option<PathBuf>,
    /// PEM file with a certificate for relays that ask hosts for one, its chain behind it [env: HOMING_HOST_CLIENT_CERT]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) client_cert: Option<PathBuf>,
    /// PEM file with the private key of that certificate [env: HOMING_HOST_CLIENT_KEY]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) client_key: Option<PathBuf>,
    /// Keep no link while nobody needs one: wait for a device to knock, and dial the relay then [env: HOMING_ON_DEMAND]
    #[arg(long)]
    pub(crate) on_demand: bool,
    /// Sessions of devices at once, 1 to 256; one relay carries 64 of them [env: HOMING_MAX_SESSIONS] [default: 64]
    #[arg(long, value_name = "N", value_parser = sessions())]
    pub(crate) max_sessions: Option<u32>,
}

fn sessions() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(MAX_SESSIONS))
}

#[derive(Debug, Args)]
#[command(after_help = "\
Without --auto or --confirm it asks before letting the device in where stdin is a terminal, and does not ask otherwise.\n\
The link works once, for 5 minutes, and only for as long as this command runs.\n\n\
Example: homing host pair --grant web:GET+POST:/api --grant ssh --for 12h")]
pub(crate) struct HostPairArgs {
    /// Let in whoever shows the link first
    #[arg(long, conflicts_with = "confirm")]
    pub(crate) auto: bool,
    /// Ask before letting the device in; both ends show the same check words
    #[arg(long)]
    pub(crate) confirm: bool,
    #[command(flatten)]
    pub(crate) grant: GrantArgs,
    #[command(flatten)]
    pub(crate) qr: QrArgs,
}

/// What a device may reach.
#[derive(Clone, Debug, Args)]
pub(crate) struct GrantArgs {
    /// Only this: a service or *, HTTP methods with + or commas between them, and a path with all below it. Repeatable
    #[arg(long = "grant", value_name = "SERVICE[:METHODS[:PREFIX]]")]
    pub(crate) rules: Vec<Rule>,
    /// HTTP requests and raw connections per second; more are answered with 429 or cut
    #[arg(long, value_name = "N", value_parser = limit())]
    pub(crate) rate: Option<u32>,
    /// How many of them may come at once after a pause [default: as many as in a second]
    #[arg(long, value_name = "N", value_parser = limit(), requires = "rate")]
    pub(crate) burst: Option<u32>,
    /// HTTP requests and raw connections at a time; more are answered with 503 or cut
    #[arg(long, value_name = "N", value_parser = limit())]
    pub(crate) concurrent: Option<u32>,
    /// For how long from now: 30m, 12h, 7d. What runs at its end is cut
    #[arg(long = "for", value_name = "DURATION", value_parser = super::life)]
    pub(crate) life: Option<u64>,
    /// Not to be passed on to guests, see `homing guest`
    #[arg(long)]
    pub(crate) no_guests: bool,
}

fn limit() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(MAX_LIMIT))
}

#[derive(Debug, Args)]
#[command(after_help = "\
The grant replaces the one before and holds at once: what the device is not granted any more is cut.\n\
Without --grant every service is granted, within the limits given. GET stands for HEAD, too. A rule with methods or a\n\
prefix grants nothing of a tcp or unix service. Paths that a service could take for others (.., //, %2f, ;) are refused\n\
below a prefix.\n\n\
Example: homing host devices grant laptop --grant web:GET:/api --rate 5 --for 7d")]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["rules", "rate", "concurrent", "life", "no_guests", "everything"]))]
pub(crate) struct DeviceGrantArgs {
    /// Its id, the beginning of it, or its name
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) grant: GrantArgs,
    /// All that is exposed, without limits, as for a device that was never granted less
    #[arg(long, conflicts_with_all = ["rules", "rate", "concurrent", "life", "no_guests"])]
    pub(crate) everything: bool,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct HostAuditArgs {
    #[command(subcommand)]
    pub(crate) command: Option<AuditCommand>,
    /// Go on with what happens from now on
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the last lines
    #[arg(short = 'n', long, value_name = "LINES", default_value_t = 50)]
    pub(crate) last: usize,
}

#[derive(Debug, Args)]
pub(crate) struct HostTokenArgs {
    /// What it is good for: settings:read to look, settings:write to change as well
    #[arg(long)]
    pub(crate) scope: Scope,
    /// How long: 30m, 12h, 7d
    #[arg(long = "for", value_name = "DURATION", default_value = "12h", value_parser = super::life)]
    pub(crate) life: u64,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Without --identity and --route both keys are made anew. For 30 days, or until every device has followed, the host is there\n\
by the old keys and by the new ones: a device that is connected follows at once, another when it comes by. `homing host\n\
devices list` shows who has. Those who come later have to pair again.\n\n\
--now ends that time; where there is none, no device follows, and all have to pair again. That is for keys that somebody\n\
else may have: who has the old ones can tell devices to follow, too.")]
pub(crate) struct HostRotateArgs {
    /// The key that devices know the host by
    #[arg(long)]
    pub(crate) identity: bool,
    /// The key of its route at relays
    #[arg(long)]
    pub(crate) route: bool,
    /// Shut out every device that has not followed
    #[arg(long)]
    pub(crate) now: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Find any line that was changed, removed or moved
    Verify,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GuestsCommand {
    /// Those that have come or were ended, and whose links are not over
    List,
    /// End one before its time, and those that it has made, at once; it may be told before it comes
    ///
    /// Whoever let it in can make another link: `homing host devices grant … --no-guests` ends all guests of a device.
    End {
        /// Its id (from `homing guest` or the list), the beginning of it, or its name
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DevicesCommand {
    /// All of them
    List,
    /// Give one another name
    Rename {
        /// Its id, or the beginning of it
        id: String,
        /// The new name
        name: String,
    },
    /// Say what one may reach, from now on
    Grant(DeviceGrantArgs),
    /// Shut one out for good, at once
    Revoke {
        /// Its id, or the beginning of it
        id: String,
    },
}
